"""What happens once happens once, while instances and broker are killed: equal requests, ticks, delayed emits, redriven letters, replays, compare-and-set."""

from __future__ import annotations

import asyncio
import json
import math
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import nats
import pytest

from motia_runtime.context import new_id
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.log import NatsLog
from motia_runtime.ports import Record
from motia_spec.model import Project
from support.chaos import oracle, siege
from support.chaos.entry import Naive
from support.chaos.faults import World
from support.chaos.killing import Killing, killing
from support.chaos.run import HURRIED, world
from support.chaos.siege import Load, Size
from support.linear import Op, linearizable
from support.process import clean_environ, look, motia
from support.waiting import wait_for

SHORT = Size(seconds=4, keys=20, delays=40, letters=20, cells=2, interrupted=0, instances=2, clients=8)
LONG = Size(seconds=120, keys=200, delays=600, letters=500, cells=16, interrupted=5)
FULL = Size(seconds=600, keys=1_000, delays=10_000, letters=500, cells=16, interrupted=5)
WAITS = {**HURRIED, "motia_runtime.controls.idempotency:LEASE": 4.0, "motia_runtime.controls.idempotency:RENEWED": 1.0}
SETTLED = 120.0  # seconds in which all that was begun has ended
EARLY = 0.05  # seconds by which a delay may be short: clocks of one machine, read by two processes


@dataclass
class Outcome:
    size: Size
    load: Load
    kills: Killing
    events: dict[str, list[Record]]  # by topic, oldest first
    timers: set[str]  # of those that were accepted, the ones that have gone off
    chosen: set[str]  # bills whose letters were to be redriven
    commands: int  # that were given, most of them killed

    def ids(self, topic: str) -> Counter[str]:
        return Counter(str(json.loads(record.data)["id"]) for record in self.events[topic])


def events(made: World) -> dict[str, list[Record]]:
    async def use(log: NatsLog, project: Project) -> dict[str, list[Record]]:
        return {topic: (await log.scan(f"ev.{topic}", limit=100_000))[::-1] for topic in project.topics}

    return oracle.with_broker(made.broker.url, home(made), use)


def home(made: World) -> Path:
    return made.instances[0].log.parent.parent / "app0"


class Command(threading.Thread):
    """A `motia` command that is killed in the middle, given again, and so on; then until it has done its work."""

    def __init__(self, made: World, interrupted: int, *args: str) -> None:
        super().__init__(daemon=True)
        self.given = 0
        self._args = args
        self._interrupted = interrupted
        self._rng = random.Random(str(args))
        self._folder = home(made)
        self._environ = clean_environ() | {"NATS_URL": made.broker.url}
        self._said = b""

    def run(self) -> None:
        while not self._go(self._rng.uniform(0.6, 1.5) if self.given < self._interrupted else 60.0):
            time.sleep(0.1)

    def _go(self, seconds: float) -> bool:
        self.given += 1
        command = [sys.executable, "-m", "motia_runtime", *self._args]
        try:
            done = subprocess.run(command, cwd=self._folder, env=self._environ, capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        self._said = done.stderr
        return done.returncode == 0 and self.given > self._interrupted

    def finish(self) -> None:
        self.join(SETTLED)
        assert not self.is_alive(), f"{' '.join(self._args)[:200]} does not go through: {self._said.decode()}"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(SHORT, id="short"),
        pytest.param(LONG, id="long", marks=pytest.mark.long),
        pytest.param(FULL, id="full", marks=pytest.mark.long),
    ],
)
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    size: Size = request.param
    orders = {"constants": WAITS} if size.hurried else {}
    with world(
        tmp_path_factory.mktemp("siege"), instances=size.instances, hurried=size.hurried, orders=orders,
        specs=[siege.SPEC], write=siege.write_siege,
    ) as made:  # fmt: skip
        yield besiege(made, size)


def besiege(made: World, size: Size) -> Outcome:
    urls = [instance.url for instance in made.instances]
    bills = [f"bill{n}" for n in range(size.letters + 5)]
    notes = [f"note{n}" for n in range(size.letters)]
    for start in range(0, len(bills), 200):
        body = {"bills": bills[start : start + 200], "notes": notes[start : start + 200]}
        assert httpx.post(urls[0] + "/fill", json=body, timeout=30).status_code == 202
    environ = {"NATS_URL": made.broker.url}

    def letters() -> dict[str, str]:
        return {
            each["data"]["id"]: str(each["id"])
            for each in look(home(made), "dlq", "ls", "--limit", "10000", env=environ)
        }

    wait_for(lambda: len(letters()) == len(bills), "the bills are no dead letters", SETTLED)
    wait_for(lambda: len(events(made)["noted"]) == len(notes), "the notes are not done", SETTLED)
    (made.instances[0].log.parent / "mended").touch()
    by_bill, chosen = letters(), set(bills[: size.letters])
    load = Load(urls, size, seed=29)
    commands = [
        Command(made, size.interrupted, "dlq", "redrive", *(by_bill[bill] for bill in sorted(chosen))),
        Command(made, size.interrupted, "replay", "--topic", "note", "--yes", "--id", new_id()),
    ]
    with killing(made, seed=15) as kills:
        load.start()
        for command in commands:
            command.start()
        load.join()
        wait_for(lambda: kills.apps > 1 and kills.brokers, "too few die")
        for command in commands:
            command.finish()
    accepted = {one for one, made in load.reminders.items() if made.outcome == "ok"}
    found: dict[str, list[Record]] = {}

    def settled() -> bool:
        found.update(events(made))
        here = Outcome(size, load, kills, found, set(), chosen, 0)
        return (
            accepted <= here.ids("due").keys()
            and chosen <= here.ids("paid").keys()
            and sum(here.ids("noted").values()) >= 2 * len(notes)
            and load.answers.keys() <= here.ids("booked").keys()
        )

    wait_for(settled, "what was accepted has not happened", SETTLED)
    oracle.wait_quiet(made.broker.url, home(made), SETTLED)
    scratch = made.instances[0].log.parent
    timers = {one for one in load.timers if (scratch / f"timer-{one}").exists()}
    given = sum(command.given for command in commands)
    return Outcome(size, load, kills, events(made), timers, chosen, given)


def test_enough_was_killed(outcome: Outcome) -> None:
    assert outcome.kills.apps > 1
    assert outcome.kills.brokers > 0
    print(f"{outcome.kills.apps} kills of apps, {outcome.kills.brokers} of the broker, {outcome.commands} commands")


def test_equal_requests_with_a_key_have_one_effect_and_one_answer(outcome: Outcome) -> None:
    load, booked = outcome.load, outcome.ids("booked")
    assert len(load.answers) == outcome.size.keys
    assert {key: booked[key] for key in load.answers if booked[key] != 1} == {}
    assert {key: answers for key, answers in load.answers.items() if len(set(answers)) != 1} == {}
    assert all(booked[bare] >= siege.AT_ONCE for bare in load.bare), "the control: without a key each has its effect"
    print(f"{len(load.answers)} keys, {siege.AT_ONCE} requests each")


def test_each_second_has_one_tick(outcome: Outcome) -> None:
    ticks = outcome.ids("ticked")
    times = sorted(map(int, ticks))
    assert len(times) > outcome.size.seconds
    assert times == list(range(times[0], times[-1] + 1))
    assert set(ticks.values()) == {1}
    late = sorted(record.time - json.loads(record.data)["id"] for record in outcome.events["ticked"])
    print(f"{len(times)} ticks, {spread(late)}")


def test_delayed_emits_come_once_and_not_early_and_timers_of_a_process_do_not(outcome: Outcome) -> None:
    load, due = outcome.load, outcome.ids("due")
    assert {one for one, made in load.reminders.items() if made.outcome == "ok" and due[one] != 1} == set()
    assert {one for one, made in load.reminders.items() if made.outcome == "fail" and due[one]} == set()
    assert max(due.values()) == 1
    late = []  # seconds, of those that were accepted in time
    for record in outcome.events["due"]:
        made = load.reminders[json.loads(record.data)["id"]]
        assert record.time > made.at - EARLY
        if made.answered < made.at:
            late.append(record.time - made.at)
    if outcome.size is LONG:
        assert len(load.timers) > len(outcome.timers), "the control: timers of a process that is killed never go off"
    print(
        f"{len(due)} delayed emits, {spread(sorted(late))}; of {len(load.timers)} timers {len(outcome.timers)} went off"
    )


def test_each_chosen_letter_is_redriven_once_and_each_note_replayed_once(outcome: Outcome) -> None:
    assert outcome.ids("paid") == dict.fromkeys(outcome.chosen, 1)
    assert set(outcome.ids("note").values()) == {2}
    assert set(outcome.ids("noted").values()) == {2}
    print(f"{len(outcome.chosen)} letters, {len(outcome.ids('note'))} notes")


def test_cells_are_linearizable(outcome: Outcome) -> None:
    histories = outcome.load.histories
    assert len(histories) == outcome.size.cells
    assert {key for key, ops in histories.items() if not linearizable(ops)} == set()
    every = [op for ops in histories.values() for op in ops]
    wrote = sum(op.writes and op.returned < math.inf for op in every)
    unknown = sum(op.writes and op.returned == math.inf for op in every)
    assert wrote > 0
    print(f"{len(every)} operations on {len(histories)} cells: {wrote} wrote, {unknown} unknown")


def spread(late: Sequence[float]) -> str:
    if not late:
        return "none in time"
    at = {
        name: late[min(len(late) - 1, int(part * len(late)))]
        for name, part in (("p50", 0.5), ("p99", 0.99), ("max", 1))
    }
    return "late by " + ", ".join(f"{name} {value:.2f} s" for name, value in at.items())


# -- controls


async def test_a_store_without_compare_and_set_is_found_out(nats_server: EmbeddedServer) -> None:
    """The same clients on a plain bucket: read, then write, and say that it was one step."""
    client = await nats.connect(nats_server.url, token=nats_server.token)
    js = client.jetstream()
    bucket = await js.create_key_value(bucket="plain", history=1)
    await bucket.put("cell", b"first")
    history: list[Op] = []

    async def use(number: int) -> None:
        for turn in range(5):
            called = time.monotonic()
            saw = (await bucket.get("cell")).value
            put = b"%d.%d" % (number, turn)
            await bucket.put("cell", put)
            history.append(Op(called, time.monotonic(), saw, put, writes=True))

    await asyncio.gather(*map(use, range(16)))
    await js.delete_key_value("plain")
    await client.close()
    assert not linearizable(history, b"first")


@pytest.mark.parametrize(
    ("ops", "fits"),
    [
        ([Op(0, 1, None, "a", True), Op(2, 3, "a")], True),
        ([Op(0, 1, None, "a", True), Op(2, 3, None)], False),
        ([Op(0, 3, None, "a", True), Op(1, 2, None)], True),
        ([Op(0, 3, None, "a", True), Op(1, 2, "a"), Op(2.5, 4, None)], False),
        ([Op(0, 3, None, "a", True), Op(1, 2, None, "b", True)], False),
        ([Op(0, math.inf, None, "a", True), Op(1, 2, None), Op(3, 4, "a")], True),
        ([Op(0, math.inf, None, "a", True), Op(1, 2, "a"), Op(3, 4, None)], False),
        ([Op(0, math.inf, None, "a", True), Op(1, 2, None, "b", True), Op(3, 4, "b")], True),
        ([Op(0, 1, None, "a", True), Op(0, 1, "a", "b", True), Op(0, 1, "b", "c", True), Op(2, 3, "c")], True),
    ],
)  # fmt: skip
def test_what_a_register_could_have_answered(ops: list[Op], fits: bool) -> None:
    assert linearizable(ops) is fits


@pytest.mark.long
def test_without_compare_and_set_and_plans_there_are_ticks_twice(tmp_path: Path) -> None:
    """A plan is that of a due time, so either of them would do."""
    naive: Naive = "all"
    with world(
        tmp_path, instances=2, hurried=True, orders={"naive": naive}, specs=[siege.SPEC], write=siege.write_siege
    ) as made:
        wait_for(lambda: len(events(made)["ticked"]) > 10, "nothing ticks")
        ids = Counter(json.loads(record.data)["id"] for record in events(made)["ticked"])
    assert max(ids.values()) > 1


@pytest.mark.long
def test_a_replay_that_is_given_again_without_its_id_is_another(tmp_path: Path) -> None:
    with world(tmp_path, instances=1, hurried=True, specs=[siege.SPEC], write=siege.write_siege) as made:
        body = {"bills": [], "notes": ["n1", "n2"]}
        assert httpx.post(made.instances[0].url + "/fill", json=body, timeout=30).status_code == 202
        for _ in range(2):
            done = motia(home(made), "replay", "--topic", "note", "--yes", env={"NATS_URL": made.broker.url})
            assert done.returncode == 0, done.stderr
        found = Counter(json.loads(record.data)["id"] for record in events(made)["note"])
    assert min(found.values()) > 2
