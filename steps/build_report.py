from __future__ import annotations

from motia_types import BuildReport, Report, ReportRequestedData


async def handler(wanted: ReportRequestedData, ctx: BuildReport.Context) -> None:
    paid = [order for order in await ctx.state.orders.list() if order.paid_on == wanted.day]
    report = Report(day=wanted.day, orders=len(paid), total=sum(order.total for order in paid))
    await ctx.state.reports.set(report.day, report)
    ctx.logger.info("report", day=report.day, orders=report.orders, total=report.total)
