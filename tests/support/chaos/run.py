"""One chaos run: an app of several instances, load, a seeded schedule of faults, then the count."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from motia_runtime.orphans import STALE
from motia_runtime.ports import ACK_WAIT
from motia_runtime.sweep import EVERY
from support.chaos import oracle, shop
from support.chaos.broker import Broker
from support.chaos.entry import Naive
from support.chaos.faults import ALL, Fault, FullDisk, World
from support.chaos.instance import Instance
from support.chaos.load import Batch, Load, make_batches
from support.chaos.oracle import Verdict
from support.chaos.proxy import Proxy
from support.waiting import wait_for

DISK = 512 << 20  # bytes of the small file system

# A quarter of the product's own waits, in the proportions that they have; for runs that have no time. `entry.Orders.constants`
HURRIED = {
    "motia_runtime.ports:ACK_WAIT": 3.0,
    "motia_runtime.commit:LEASE": 7.5,
    "motia_runtime.nats.link:STILL": 7.5,
    "motia_runtime.orphans:RENEWED": 1.25,
    "motia_runtime.orphans:STALE": 11.25,
    "motia_runtime.sweep:EVERY": 7.5,
    "motia_runtime.leading:EXPIRES": 3.0,
    "motia_runtime.leading:RENEWED": 0.75,
    "motia_runtime.leading:VALID": 2.5,
    "motia_runtime.leading:ASKED": 0.5,
}  # the first before those that are made from them
SETTLE = (
    STALE + 2 * EVERY + 10.0
)  # seconds until what a dead process left half done has surely been completed by another


@dataclass(frozen=True)
class Settings:
    seed: int
    events: int
    faults: int
    seconds: float  # of load and faults
    instances: int = 2
    hurried: bool = False  # with shorter waits
    naive: Naive = ""  # the control run
    kinds: tuple[type[Fault], ...] = ALL
    drain: float = 60.0  # seconds without progress after which the rest counts as lost


@dataclass
class Result:
    settings: Settings
    verdict: Verdict
    outcomes: Counter[str]
    faults: Counter[str]
    deaths: int  # of app processes
    hits: Counter[str]  # of crash points
    slowest: float  # seconds, of an answer
    drained: float  # seconds from the last fault until all was quiet
    took: float
    schedule: list[str] = field(default_factory=list)

    def row(self) -> str:
        v = self.verdict
        return (
            f"| {self.settings.seed} | {self.settings.events:,} | {sum(self.faults.values())} | {self.deaths} | "
            f"{self.outcomes['ok']}/{self.outcomes['fail']}/{self.outcomes['unknown']} | {v.lost} | {v.doubled} | {v.torn} | {v.disorder} | "
            f"{v.letters} | {self.slowest:.1f} s | {self.drained:.0f} s | {self.took:.0f} s |"
        )

    def report(self) -> str:
        lines = [
            HEADING,
            self.row(),
            "",
            "faults: " + _counted(self.faults),
            "crash points hit: " + _counted(self.hits),
        ]
        return "\n".join([*lines, *self.verdict.notes, *self.verdict.told])


HEADING = (
    "| seed | events | faults | deaths | requests ok/fail/unknown | lost | doubled | torn | disorder | letters | slowest answer | drained in | took |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def schedule(rng: random.Random, settings: Settings, world: World) -> list[tuple[float, Fault]]:
    """Start times, in order, spread over the run. A target has one fault at a time; several targets may well have theirs together."""
    kinds = [kind for kind in settings.kinds if kind is not FullDisk or world.disk is not None]
    assert kinds or not settings.faults
    free: dict[int | None, float] = {}
    planned = []
    deck: list[type[Fault]] = []
    for number in range(settings.faults):
        if not deck:
            deck = rng.sample(kinds, len(kinds))
        kind = deck.pop()
        target = None if kind.on_broker else rng.randrange(len(world.instances))
        fault = kind(rng, world, target)
        due = settings.seconds * (number + 0.5) / settings.faults
        start = max(due, free.get(target, 0.0))
        free[target] = start + fault.seconds + 1.0
        planned.append((start, fault))
    return sorted(planned, key=lambda entry: entry[0])


def torment(planned: Sequence[tuple[float, Fault]], world: World) -> None:
    """Inject and heal, each at its time."""
    due = [(start, 0, number) for number, (start, _) in enumerate(planned)]
    due += [(start + fault.seconds, 1, number) for number, (start, fault) in enumerate(planned)]
    began = time.monotonic()
    for when, heals, number in sorted(due):
        time.sleep(max(0.0, began + when - time.monotonic()))
        fault = planned[number][1]
        if heals:
            fault.heal(world)
        else:
            fault.inject(world)


@contextmanager
def small_disk(folder: Path, size: int = DISK) -> Iterator[Path | None]:
    """A file system of its own in memory. None where we may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@contextmanager
def world(
    folder: Path,
    *,
    instances: int,
    hurried: bool = False,
    disk: bool = False,
    orders: dict[str, Any] | None = None,
    command: str = "start",
    specs: Sequence[str] = (shop.SPEC,),
    write: Callable[[Path, str], Path] = shop.write_shop,
) -> Iterator[World]:
    """A broker and an app of so many instances on it, ready. `disk`: the store is on a small file system. `specs`: of the first instances; the
    last one is that of all others."""
    logs = folder / "logs"
    logs.mkdir(parents=True)
    if hurried:
        orders = {"constants": HURRIED, **(orders or {})}
    with ExitStack() as stack:
        small = stack.enter_context(small_disk(folder / "disk")) if disk else None
        broker = Broker(folder / "broker", store=small and small / "store")
        broker.start()
        stack.callback(broker.kill)
        made = World(broker, [], [], HURRIED["motia_runtime.ports:ACK_WAIT"] if hurried else ACK_WAIT, small)
        for number in range(instances):
            proxy = Proxy(broker.port)
            stack.callback(proxy.close)
            home = write(folder / f"app{number}", specs[min(number, len(specs) - 1)])
            instance = Instance(f"app{number}", home, proxy.url, logs, command=command, orders=orders)
            instance.start()
            stack.callback(instance.stop)
            made.proxies.append(proxy)
            made.instances.append(instance)
        for instance in made.instances:
            instance.wait_ready()
        yield made


def count(made: World, home: Path, batches: Sequence[Batch], settings: Settings) -> Verdict:
    """When all is quiet. What is missing then is given the time that other processes may take to complete what a dead one has begun."""
    oracle.wait_quiet(made.broker.url, home, settings.drain)
    deadline = time.monotonic() + SETTLE / (4 if settings.hurried else 1)
    while True:
        verdict = oracle.judge(batches, oracle.read(made.broker.url, home))
        if verdict.clean or settings.naive or time.monotonic() > deadline:
            return verdict
        time.sleep(1.0)


def run(folder: Path, settings: Settings) -> Result:
    """Raises nothing for what the app does wrong: that is in the verdict."""
    began = time.monotonic()
    rng = random.Random(settings.seed)
    batches = make_batches(settings.seed, settings.events)
    with world(
        folder, instances=settings.instances, hurried=settings.hurried, disk=FullDisk in settings.kinds,
        orders={"naive": settings.naive},
    ) as made:  # fmt: skip
        planned = schedule(rng, settings, made)
        (folder / "schedule.txt").write_text("".join(f"{start:7.2f} {fault}\n" for start, fault in planned))
        load = Load(batches, [instance.url for instance in made.instances], settings.seconds)
        load.start()
        torment(planned, made)
        load.wait(settings.seconds + 60)
        ended = time.monotonic()
        for instance in made.instances:
            wait_for(instance.ready, f"{instance.name} is not back\n{instance.last_words()}", 60)
        verdict = count(made, folder / "app0", batches, settings)
        drained = time.monotonic() - ended
        if not verdict.clean and made.disk is not None:
            made.broker.stop()  # what it has stored tells what happened, and would be gone with its disk
            shutil.copytree(made.disk / "store", folder / "store")
    hits = Counter(hit for instance in made.instances for hit in instance.hits)
    return Result(
        settings=settings,
        verdict=verdict,
        outcomes=Counter(batch.outcome for batch in batches),
        faults=Counter(fault.kind for _, fault in planned),
        deaths=sum(len(instance.exits) for instance in made.instances),
        hits=hits,
        slowest=max(batch.took for batch in batches),
        drained=drained,
        took=time.monotonic() - began,
        schedule=[f"{start:.2f} {fault}" for start, fault in planned],
    )
