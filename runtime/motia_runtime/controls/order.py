"""The controls of an event step, in the order in which an arrival meets them. docs/controls.md shows it to users.

1  pause              nothing is delivered (the broker holds it)
2  cancelled          its run or its trace was cancelled: dropped
3  delay              not before its time
4  committed          its effects are true already: they are completed, nothing runs (`commit`)
5  dedupe             the same key within the window: dropped
6  join               waits for the other topics
7  debounce           a later one takes its place
8  condition          false: dropped
9  concurrency        over the whole cluster, per key: waits in hand
10 orderBy, priority  which of those that wait in this engine goes next (`worker`)
11 batch              several become one run (`worker`)
12 timeout, retry     around the run itself (`events`)
"""

from __future__ import annotations

from motia_runtime.controls.cancelled import Cancelled
from motia_runtime.controls.concurrency import AtMost
from motia_runtime.controls.condition import Condition
from motia_runtime.controls.control import Control
from motia_runtime.controls.debounce import NewestOfBurst
from motia_runtime.controls.dedupe import FirstOfKey
from motia_runtime.controls.delay import Delay
from motia_runtime.controls.join import AllOfKey
from motia_runtime.runs import Plan, Runs
from motia_spec.model import EventStep


def controls_of(plan: Plan, step: EventStep, runs: Runs) -> tuple[Control, ...]:
    """Those that the step asks for, after the one that all have."""
    log, clock = runs.services.log, runs.services.clock
    found: list[Control] = [Cancelled(step.name, runs.cancels)]
    if step.delay:
        found.append(Delay(step.delay))
    if step.dedupe:
        found.append(FirstOfKey(step.name, step.dedupe, log))
    if step.join:
        found.append(AllOfKey(step, step.join, runs))
    if step.debounce:
        found.append(NewestOfBurst(step.name, step.debounce, log, clock))
    if plan.bound.condition:
        found.append(Condition(plan.bound.condition))
    limited = step.concurrency
    # with `orderBy` one engine has all runs, and counts them itself; a batch has one slot for its list
    if limited and (limited.key or not (step.order_by or step.batch)):
        found.append(AtMost(step.name, limited, step.priority, log, clock))
    return tuple(found)
