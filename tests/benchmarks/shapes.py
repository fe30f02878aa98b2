"""The payload of the benchmarks: an order of about 290 bytes of JSON."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

SCHEMA = """
type: object
required: [id, customer, items]
properties:
  id: {type: string, minLength: 1, maxLength: 40}
  customer: {type: string, minLength: 1}
  note: {type: string}
  items:
    type: array
    minItems: 1
    items:
      type: object
      required: [sku, qty, price]
      properties:
        sku: {type: string, minLength: 1}
        qty: {type: integer, minimum: 1}
        price: {type: number, minimum: 0}
"""


class Item(msgspec.Struct):
    sku: Annotated[str, Meta(min_length=1)]
    qty: Annotated[int, Meta(ge=1)]
    price: Annotated[float, Meta(ge=0)]


class Order(msgspec.Struct):
    id: Annotated[str, Meta(min_length=1, max_length=40)]
    customer: Annotated[str, Meta(min_length=1)]
    items: Annotated[list[Item], Meta(min_length=1)]
    note: str = ""


def order(number: int) -> dict[str, object]:
    return {
        "id": f"o-{number:08d}",
        "customer": f"customer-{number % 997:04d}",
        "note": "please ring twice, the bell is broken and the dog is friendly",
        "items": [{"sku": f"sku-{number % 31 + n:04d}", "qty": n + 1, "price": 12.5 * (n + 1)} for n in range(3)],
    }
