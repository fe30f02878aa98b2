from __future__ import annotations

from motia_types import CreateOrder, Order


async def handler(request: CreateOrder.Request, ctx: CreateOrder.Context) -> CreateOrder.Response:
    wanted = request.body
    order = Order(
        id=ctx.new_id(),
        customer_id=wanted.customer_id,
        items=wanted.items,
        total=sum(item.qty * item.price for item in wanted.items),
        status="new",
        card=wanted.card,
    )
    await ctx.state.orders.set(order.id, order)
    await ctx.emit("order.created", order)
    return CreateOrder.Created(order)
