from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from motia_types import DailyReport, ReportRequestedData


async def handler(ctx: DailyReport.Context) -> None:
    due = datetime.fromtimestamp(ctx.trigger.due or 0, ZoneInfo("Europe/Berlin"))
    await ctx.emit("report.requested", ReportRequestedData(day=(due - timedelta(days=1)).date().isoformat()))
