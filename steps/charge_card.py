from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from motia_runtime.handler import NonRetryable
from motia_types import ChargeCard, Decision, Rejection
from steps.bank import CardDeclined, charge


async def handler(decision: Decision, ctx: ChargeCard.Context) -> None:
    order = await ctx.state.orders.get(decision.order_id)
    if order is None:
        raise NonRetryable(f"there is no order {decision.order_id}")
    reason = "" if decision.approved else "not approved"
    if decision.approved:
        try:
            # the bank ignores a repeated key, so an attempt that is repeated charges once
            await charge(order.card, order.total, key=ctx.idempotency_key, attempt=ctx.attempt)
        except CardDeclined as declined:
            reason = str(declined)
    order.status = "rejected" if reason else "paid"
    if reason:
        await ctx.emit("order.rejected", Rejection(order_id=order.id, reason=reason))
    else:
        order.paid_on = datetime.now(ZoneInfo("Europe/Berlin")).date().isoformat()
        await ctx.emit("order.paid", order)
    await ctx.state.orders.set(order.id, order)
