"""Is a history of reads and compare-and-sets of one key what a single register could have answered? The search of Wing and Gong, with the memory of Lowe."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Op:
    """Took effect at one instant between `called` and `returned` (seconds, one clock). Found `saw` there, and with `writes` put `put` in its place."""

    called: float
    returned: float  # `math.inf`: its outcome is unknown, so it may have taken effect at any time since, or never
    saw: Hashable
    put: Hashable = None
    writes: bool = False


def linearizable(history: Sequence[Op], first: Hashable = None) -> bool:
    """Whether the operations can be put into one order that agrees with their times and with what they saw, `first` being there before all of them.
    Fast for values that are written once each."""
    ops = sorted((op for op in history if op.writes or op.returned < math.inf), key=lambda op: op.called)
    wanted = sum(1 << n for n, op in enumerate(ops) if op.returned < math.inf)
    seen: set[tuple[int, Hashable]] = set()
    stack = [(0, first)]
    while stack:
        done, value = stack.pop()
        while True:  # a read that fits changes nothing, so it may as well come now
            ready = _ready(ops, done)
            reads = sum(1 << n for n in ready if not ops[n].writes and ops[n].saw == value)
            if not reads:
                break
            done |= reads
        if done & wanted == wanted:
            return True
        if (done, value) not in seen:
            seen.add((done, value))
            stack += [(done | 1 << n, ops[n].put) for n in ready if ops[n].writes and ops[n].saw == value]
    return False


def _ready(ops: Sequence[Op], done: int) -> list[int]:
    """What may come next: called before any other that is left has returned."""
    left = [n for n in range(len(ops)) if not done >> n & 1]
    soonest = min((ops[n].returned for n in left), default=math.inf)
    return [n for n in left if ops[n].called <= soonest]
