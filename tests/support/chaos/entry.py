"""`motia`, started with a saboteur inside: `python -m support.chaos.entry start ...` with its orders as JSON in CHAOS.

The product has no hooks for tests. What a test wants to happen inside of the process is wrapped around the adapter to NATS from here, before
the command line is read; without orders this is `motia` and nothing else.
"""

from __future__ import annotations

import importlib
import os
from typing import Literal

import msgspec

# A control run, which must double effects. "plans": a repeated run finds no plan, and only the broker's dedupe ids keep it from doubling anything.
# "all": nor are there ids that repeat, and each instance makes ticks of its own.
Naive = Literal["", "plans", "all"]


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the process is to do to itself."""

    folder: str  # where it finds further orders (`NAME.arm`) and notes how it died (`NAME.hits`)
    name: str
    crash: str = ""  # a point (`sabotage.POINTS`), from the start on
    times: int = 1  # the k-th time that the point is reached
    naive: Naive = ""
    clock: float = 0.0  # seconds that its wall clock is ahead
    constants: dict[
        str, float
    ] = {}  # "module:NAME" of the product -> value, for tests that can't wait for the real ones


def main() -> None:
    orders = msgspec.json.decode(os.environ.pop("CHAOS", '{"folder": "", "name": ""}'), type=Orders)
    for place, value in orders.constants.items():
        module, name = place.split(":")
        there = importlib.import_module(module)
        assert isinstance(getattr(there, name), int | float), f"{place} is no number any more"
        setattr(there, name, value)
    if orders.name:
        from support.chaos import sabotage

        sabotage.install(orders)
    from motia_runtime.cli import main as motia

    motia()


if __name__ == "__main__":
    main()
