"""Handlers of the project `shop` with one mistake on each marked line."""

from collections.abc import AsyncIterator

from motia_types import CreateOrder, GetOrder, NightlyReport, NotifyCustomer, Order, ReportRequestedData, ScreenOrder
from motia_types import Missing  # wrong: no such type


async def create_order(request: CreateOrder.Request, ctx: CreateOrder.Context) -> CreateOrder.Response:
    order = Order(id="1", customer_id=request.body.customer_id, items=request.body.items, total=1)
    Order(id="1", items=[], total=1)  # wrong: a required field is missing
    Order(id="1", customerId="c", customer_id="c", items=[], total=1)  # wrong: the wire name is no argument
    await ctx.emit("order.creatd", order)  # wrong: no such topic
    await ctx.emit("order.paid", order)  # wrong: a topic of other steps
    await ctx.emit("order.created", ReportRequestedData())  # wrong: another payload
    await ctx.emit("order.created", {"id": "1"})  # wrong: a dict is not the type
    await ctx.emit("order.created")  # wrong: no payload
    await ctx.emit({"topic": "order.created", "data": 5})  # wrong: another payload
    await ctx.state.orders.set(order.id, 5)  # wrong: another value
    await ctx.state.carts.get("1")  # wrong: a group the step does not use
    await ctx.state.get("carts", "1")  # wrong: a group the step does not use
    await ctx.state["carts"].get("1")  # wrong: a group the step does not use
    await ctx.state.set("orders", order.id, "x")  # wrong: another value
    await ctx.streams.orders.get("a", "b")  # wrong: no such stream
    print(request.body.nothing)  # wrong: no such field
    print(request.body.note.upper())  # wrong: it may be unset
    print(request.query_params["dry"])  # wrong: no such parameter
    print(request.path_params["id"] + 1)  # wrong: text
    CreateOrder.Created(5)  # wrong: another body
    CreateOrder.NotFound({})  # wrong: a status that is not declared
    if order.id == "2":
        return ReportRequestedData()  # wrong: no response of this step
    if order.id == "3":
        return {"status": 200, "body": order}  # wrong: a status that is not declared
    if order.id == "4":
        return {"status": 201, "body": request.body}  # wrong: another body
    return {"status": 201}  # wrong: no body


async def get_order(request: GetOrder.Request, ctx: GetOrder.Context) -> GetOrder.Response:
    order = await ctx.state.orders.get(request.path_params["name"])  # wrong: no such path parameter
    await ctx.emit("order.created", order)  # wrong: the step emits nothing
    return order  # wrong: it may be None


async def screen_order(data: ScreenOrder.Input, ctx: ScreenOrder.Context) -> None:
    ctx.emit("order.paid", data).upper()  # wrong: a coroutine
    await ctx.emit("order.created", data)  # wrong: a topic of other steps
    return data  # wrong: nothing is returned


async def notify(data: NotifyCustomer.Input, ctx: NotifyCustomer.Context) -> None:
    print(data.total)  # wrong: only one of the two has it


async def nightly(ctx: NightlyReport.Context) -> None:
    await ctx.emit("report.requested", ReportRequestedData(day=5))  # wrong: text


handler: GetOrder.Handler = create_order  # wrong: the handler of another step


async def stream_order(request: CreateOrder.Request, ctx: CreateOrder.Context) -> AsyncIterator[str]:
    yield request.body.customer_id


async def count_orders(request: GetOrder.Request, ctx: GetOrder.Context) -> AsyncIterator[int]:
    yield 1


kept: CreateOrder.Handler = stream_order  # wrong: an answer that is kept can't be streamed
counted: GetOrder.Handler = count_orders  # wrong: numbers are no pieces
