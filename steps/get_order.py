from __future__ import annotations

from motia_runtime.handler import Problem
from motia_types import GetOrder


async def handler(request: GetOrder.Request, ctx: GetOrder.Context) -> GetOrder.Response:
    order = await ctx.state.orders.get(request.path_params["id"])
    if order is None:
        raise Problem(404, "no such order")
    return GetOrder.Ok(order)
