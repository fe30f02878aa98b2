"""Handlers of the project `shop` that a type checker has nothing to say about."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from motia_runtime.handler import Piece, Response, ServerSentEvent
from motia_types import (
    AuditOrders,
    BuildReport,
    CreateOrder,
    Decision,
    GetOrder,
    Handlers,
    Item,
    NightlyReport,
    NotifyCustomer,
    Order,
    Rejected,
    ReportRequestedData,
    ScreenOrder,
)


async def create_order(request: CreateOrder.Request, ctx: CreateOrder.Context) -> CreateOrder.Response:
    body = request.body
    items = [Item(sku=item.sku, qty=item.qty, price=item.price) for item in body.items]
    order = Order(id=ctx.new_id(), customer_id=body.customer_id, items=items, total=sum(i.price for i in items))
    await ctx.state.orders.set(order.id, order)
    await ctx.state.set("orders", order.id, order, ttl=60)
    again = await ctx.state["orders"].get(order.id)
    if again is not None and again.total > 5:
        return CreateOrder.Conflict(Rejected(order_id=order.id, reason="too much"))
    item = await ctx.streams.orderStatus.get("orders", order.id)
    if item is not None and item.status == "paid" and item.progress > 3:
        return {"status": 409, "body": Rejected(order_id=order.id, reason="paid")}
    await ctx.emit("order.created", order)
    await ctx.emit("order.created", order, delay=5)
    await ctx.emit({"topic": "order.created", "data": order})
    if request.query_params["dryRun"]:
        return {"status": 201, "body": order, "headers": {"x-dry": "1"}}
    return CreateOrder.Created(order, headers={"location": request.path})


def create_order_plain(request: CreateOrder.Request, ctx: CreateOrder.SyncContext) -> CreateOrder.Response:
    order = ctx.state.orders.get("1") or ctx.state.get("orders", "2")
    assert order is not None
    ctx.emit("order.created", order)
    for one in ctx.state.list("orders"):
        print(one.customer_id)
    return order


async def get_order(request: GetOrder.Request, ctx: GetOrder.Context) -> GetOrder.Response:
    order = await ctx.state.orders.get(request.path_params["id"])
    return order if order is not None else GetOrder.NotFound({"error": "no such order"})


async def follow_order(request: GetOrder.Request, ctx: GetOrder.Context) -> AsyncIterator[Piece]:
    yield Response(status=202, headers={"x-own": "1"})
    yield ServerSentEvent(await ctx.state.orders.get("1"), event="order")


def print_order(request: GetOrder.Request, ctx: GetOrder.SyncContext) -> Iterator[str]:
    for order in ctx.state.orders.list():
        yield order.id


async def screen_order(data: ScreenOrder.Input, ctx: ScreenOrder.Context) -> None:
    def change(order: Order | None) -> Order:
        return order or data

    changed = await ctx.state.orders.update(data.id, change)
    if changed.total > 1000:
        await ctx.emit("order.review", changed)
    else:
        await ctx.emit("order.paid", changed)


async def charge_card(data: Decision, ctx: Any) -> None:
    print(data.approved, data.by)


async def notify(data: NotifyCustomer.Input, ctx: NotifyCustomer.Context) -> None:
    if isinstance(data, Order):
        print(data.total, ctx.topic)
    else:
        print(data.reason)
    await ctx.state.set("anything", "key", 5)


async def audit(data: AuditOrders.Input, ctx: AuditOrders.Context) -> None:
    if data.value is not None:
        print(data["key"], data.key, data.value.total)


async def nightly(ctx: NightlyReport.Context) -> None:
    await ctx.emit("report.requested", ReportRequestedData(day="2026-11-22"))


def report(data: BuildReport.Input, ctx: BuildReport.SyncContext) -> None:
    print(data.day, ctx.state.orders.items())


handlers: Handlers = {
    "CreateOrder": create_order,
    "GetOrder": get_order,
    "ScreenOrder": screen_order,
    "ChargeCard": charge_card,
    "NotifyCustomer": notify,
    "AuditOrders": audit,
    "NightlyReport": nightly,
    "BuildReport": report,
}
plain: Handlers = {**handlers, "CreateOrder": create_order_plain}
streamed: Handlers = {**handlers, "GetOrder": follow_order}
streamed_plain: Handlers = {**handlers, "GetOrder": print_order}
