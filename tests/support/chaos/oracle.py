"""Counts, when all is quiet, whether every accepted order had its effects exactly once. Reads the broker past the app and past every proxy."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from motia_runtime.deadletters import DeadLetter, DeadLetters
from motia_runtime.naming import durable, event_subject, state_names, state_pattern
from motia_runtime.nats.connect import Settings, connect
from motia_runtime.nats.log import NatsLog
from motia_runtime.ports import Record
from motia_runtime.state import is_deleted
from motia_spec import compile_project
from motia_spec.model import EventStep, Project
from support.chaos.load import Batch

T = TypeVar("T")

SCAN = 200_000  # records
QUIET = 3.0  # seconds without work anywhere: longer than any retry delay of the shop
LISTED = 15  # violations of a kind told in full


@dataclass
class Stored:
    """All that the app has left behind."""

    events: dict[str, list[dict[str, Any]]]  # by topic, in the order of the log
    state: dict[str, dict[str, Any]]  # by group and key
    letters: list[DeadLetter]

    def ids(self, topic: str) -> Counter[str]:
        return Counter(event["id"] for event in self.events[topic])


@dataclass
class Verdict:
    lost: int = 0
    doubled: int = 0
    torn: int = 0
    disorder: int = 0
    letters: int = 0  # dead letters that should not be, or are missing, or are there twice
    told: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.torn or self.disorder or self.letters)

    def say(self, kind: str, text: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        if getattr(self, kind) <= LISTED:
            self.told.append(f"{kind}: {text}")


def judge(batches: Sequence[Batch], stored: Stored) -> Verdict:
    verdict = Verdict()
    _judge_batches(verdict, batches, stored)
    kinds = {order["id"]: order["kind"] for batch in batches for order in batch.orders}
    orders = stored.ids("order")
    poison = {one for one in orders if kinds[one] == "poison"}
    for topic, group, wanted in (
        ("paid", "pays", {one for one in orders if one not in poison}),
        ("booked", "books", {one for one in orders if one not in poison}),
        ("bumped", None, set(orders)),
        ("paired", None, set(stored.ids("pair"))),
        ("turned", None, set(stored.ids("turn"))),
    ):
        found, counts = stored.ids(topic), None if group is None else stored.state[group]
        for one in wanted | set(found):
            _judge_once(verdict, f"{topic} {one} ({kinds.get(one, '')})", found[one], 1 if one in wanted else 0)
            if counts is not None and counts.get(one, 0) != found[one]:
                verdict.say("torn", f"{one} is {counts.get(one, 0)} times in {group}, {found[one]} times in {topic}")
    _judge_sums(verdict, batches, stored)
    _judge_order(verdict, stored)
    _judge_letters(verdict, stored, poison)
    return verdict


def _judge_once(verdict: Verdict, what: str, found: int, wanted: int) -> None:
    if found < wanted:
        verdict.say("lost", what)
    elif found > wanted:
        verdict.say("doubled", f"{what}: {found} times, not {wanted}")


def _judge_batches(verdict: Verdict, batches: Sequence[Batch], stored: Stored) -> None:
    """A request that was answered 202 is stored once; one that failed is not; an unknown one is wholly there or not at all."""
    counts = {"order": stored.ids("order"), "pair": stored.ids("pair"), "turn": stored.ids("turn")}
    for batch in batches:
        parts = [("order", batch.orders), ("pair", batch.pairs), ("turn", batch.turns)]
        there = [counts[topic][item["id"]] for topic, items in parts for item in items]
        kept = 1 if batch.id in stored.state["batches"] else 0
        what = f"request {batch.id}, {batch.outcome} ({batch.status})"
        if len({kept, *(min(count, 1) for count in there)}) > 1:
            verdict.say("torn", f"{what}: {kept} in state, {sum(map(bool, there))} of {len(there)} events")
        if max(there) > 1:
            verdict.say("doubled", f"{what}: its events {max(there)} times")
        if batch.outcome == "ok" and (not kept or not all(there)):
            verdict.say("lost", what)
        if batch.outcome == "fail" and (kept or any(there)):
            verdict.say("doubled", f"{what}, yet it took effect")


def _judge_sums(verdict: Verdict, batches: Sequence[Batch], stored: Stored) -> None:
    hot = {order["id"]: order["hot"] for batch in batches for order in batch.orders}
    bumps = Counter(hot[event["id"]] for event in stored.events["bumped"])
    for key in bumps.keys() | stored.state["hot"].keys():
        count = stored.state["hot"].get(key, 0)
        if count != bumps[key]:
            verdict.say("torn", f"hot {key} is {count}, and {bumps[key]} runs have bumped it")
    keys = {pair["id"]: pair["key"] for batch in batches for pair in batch.pairs}
    pairs = Counter(keys[event["id"]] for event in stored.events["paired"])
    for key in pairs.keys() | stored.state["left"].keys() | stored.state["right"].keys():
        left, right = stored.state["left"].get(key, 0), stored.state["right"].get(key, 0)
        if not left == right == pairs[key]:
            verdict.say("torn", f"pair {key}: left {left}, right {right}, {pairs[key]} runs")


def _judge_order(verdict: Verdict, stored: Stored) -> None:
    wanted, found = defaultdict(list), defaultdict(list)
    for event in stored.events["turn"]:
        wanted[event["key"]].append(event["n"])
    for event in stored.events["turned"]:
        found[event["key"]].append(event["n"])
    swapped = [key for key, turns in wanted.items() if found[key] != turns]
    for key in swapped:
        at = next((n for n, (a, b) in enumerate(zip(wanted[key], found[key], strict=False)) if a != b), -1)
        verdict.say("disorder", f"{key} from turn {at} on: {found[key][at : at + 6]}, not {wanted[key][at : at + 6]}")
    for key, turns in wanted.items():
        if key not in swapped and stored.state["turns"].get(key) != turns[-1]:
            verdict.say("torn", f"turns {key} is {stored.state['turns'].get(key)}, the last turn was {turns[-1]}")


def _judge_letters(verdict: Verdict, stored: Stored, poison: set[str]) -> None:
    found: Counter[str] = Counter()
    for letter in stored.letters:
        data = json.loads(letter.data) if letter.data else {}
        if letter.story.step == "Pay" and data.get("id") in poison:
            found[data["id"]] += 1
        else:
            error = letter.story.error
            verdict.say("letters", f"{letter.story.step} {data.get('id')}: {error.type}: {error.message[:200]}")
    for one in poison:
        if found[one] != 1:
            verdict.say("letters", f"poison {one} has {found[one]} dead letters")


# -- reading


def with_broker(url: str, folder: Path, use: Callable[[NatsLog, Project], Awaitable[T]]) -> T:
    async def run() -> T:
        project = compile_project(folder).require()
        link = await connect(Settings(url=url), name="oracle")
        try:
            return await use(NatsLog(link, project.nats), project)
        finally:
            await link.close()

    return asyncio.run(run())


def read(url: str, folder: Path) -> Stored:
    async def use(log: NatsLog, project: Project) -> Stored:
        everything = await log.scan("ev.>", limit=SCAN)
        events: dict[str, list[dict[str, Any]]] = {topic: [] for topic in project.topics}
        subjects = {event_subject(topic): topic for topic in project.topics}
        for record in reversed(everything):
            events[subjects[record.subject]].append(_without_pad(record))
        groups = {}
        for group in project.state:
            held = [record for record in await log.lasts(state_pattern(group)) if not is_deleted(record)]
            groups[group] = {state_names(record.subject)[1]: json.loads(record.data) for record in held}
        return Stored(events, groups, await DeadLetters(log).list(limit=SCAN))

    return with_broker(url, folder, use)


def _without_pad(record: Record) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(record.data)
    event.pop("pad", None)
    return event


def wait_quiet(url: str, folder: Path, seconds: float) -> float:
    """Until no step has anything before it or in hand for `QUIET` seconds; gives how long that took. Gives up when for `seconds` there has not been
    less of it than ever before: what is still under way then counts as lost."""

    async def use(log: NatsLog, project: Project) -> float:
        steps = [durable(step.name) for step in project.steps.values() if isinstance(step, EventStep)]
        began = time.monotonic()
        quiet_since: float | None = None
        least, since = sys.maxsize, began
        while (now := time.monotonic()) - since < seconds:
            backlogs = [await log.backlog(step) for step in steps]
            left = sum(backlog.waiting + backlog.in_flight for backlog in backlogs)
            if left < least:
                least, since = left, now
            if left:
                quiet_since = None
            elif quiet_since is None:
                quiet_since = now
            elif now - quiet_since >= QUIET:
                break
            await asyncio.sleep(0.2)
        return time.monotonic() - began

    return with_broker(url, folder, use)
