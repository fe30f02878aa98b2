"""Generated types as handlers without types use them: by wire name, like a dict."""

from __future__ import annotations

SPEC = """
name: t
schemas:
  Order:
    type: object
    required: [orderId, status]
    properties:
      orderId: {type: string}
      status: {enum: [new, paid]}
      note: {type: string}
state:
  orders: {schema: {$ref: "#/schemas/Order"}}
steps:
  Put: {type: api, method: POST, path: /orders, body: {$ref: "#/schemas/Order"}}
  Pay: {type: api, method: POST, path: "/orders/{id}/pay"}
"""
PUT = """
async def handler(req, context):
    body = req.body
    assert body["orderId"] == body.get("orderId") == body.order_id
    assert "note" not in body and body.get("note", "none") == "none"
    assert dict(body) == {"orderId": body["orderId"], "status": "new"}
    await context.state.set("orders", body["orderId"], {**body, "note": "copied"})
    return {"status": 201, "body": body}
"""
PAY = """
async def handler(req, context):
    order = await context.state.get("orders", req.path_params["id"])
    order["status"] = req.body["status"]
    await context.state.set("orders", order["orderId"], order)
    try:
        order["nothing"] = 1
    except KeyError as refused:
        return {"status": 200, "body": {"order": order, "refused": str(refused)}}
"""


async def test_handlers_may_treat_generated_types_as_dicts(make_app):
    async with make_app(SPEC, put=PUT, pay=PAY) as app:
        answer = await app.request("POST", "/orders", json={"orderId": "o-1", "status": "new"})
        assert (answer.status, answer.json()) == (201, {"orderId": "o-1", "status": "new"})
        answer = await app.request("POST", "/orders/o-1/pay", json={"status": "paid"})
        assert answer.json()["order"] == {"orderId": "o-1", "status": "paid", "note": "copied"}
        assert "'nothing'" in answer.json()["refused"]
        assert "note, orderId, status" in answer.json()["refused"]
        answer = await app.request("POST", "/orders/o-1/pay", json={"status": "lost"})
        assert answer.status == 500, "what is stored is judged however it was made"
        assert (await app.state.get("orders", "o-1"))["status"] == "paid"
