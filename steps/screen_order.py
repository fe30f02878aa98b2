from __future__ import annotations

from motia_types import Decision, Order, ScreenOrder

LARGE = 1000


async def handler(order: Order, ctx: ScreenOrder.Context) -> None:
    if order.total > LARGE:
        order.status = "review"
        await ctx.state.orders.set(order.id, order)
        await ctx.emit("order.review", order)
    else:
        await ctx.emit("order.cleared", Decision(order_id=order.id, approved=True))
