from __future__ import annotations

from motia_types import ListOrders


async def handler(request: ListOrders.Request, ctx: ListOrders.Context) -> ListOrders.Response:
    status = request.query_params.get("status")
    orders = await ctx.state.orders.list()
    return ListOrders.Ok([order for order in orders if not status or order.status == status])
