"""What is done to a running app from outside. Each fault is injected, lasts for some seconds, and is healed."""

from __future__ import annotations

import random
import shutil
import signal
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from support.chaos.broker import Broker
from support.chaos.instance import Instance
from support.chaos.proxy import Mode, Proxy

# Points that the shop comes by often. Of letters there are few, of ticks none.
OFTEN = (
    *(f"{moment}-{kind}" for kind in ("plan", "state", "emit", "retry") for moment in ("before", "during", "after")),
    "before-handler",
    "after-handler",
    "before-ack",
    "after-ack",
)
SELDOM = ("before-letter", "during-letter", "after-letter")


@dataclass
class World:
    """What there is to break. `proxies` stand between the instances of the same number and the broker."""

    broker: Broker
    instances: list[Instance]
    proxies: list[Proxy]
    ack_wait: float  # seconds
    disk: Path | None = None  # the small file system on which the broker's store is


class Fault(ABC):
    """`target`: the number of an instance; None: the broker."""

    kind: ClassVar[str]
    on_broker: ClassVar[bool] = False

    def __init__(self, rng: random.Random, world: World, target: int | None) -> None:
        self.target = target
        self.seconds = self.lasts(rng, world)
        self.pick(rng)

    def lasts(self, rng: random.Random, world: World) -> float:
        """Seconds until it is healed."""
        return rng.uniform(0.2, 2.0)

    def pick(self, rng: random.Random) -> None:  # noqa: B027  # most have nothing else to choose
        """What else is random about it."""

    @abstractmethod
    def inject(self, world: World) -> None: ...

    def heal(self, world: World) -> None:  # noqa: B027  # a supervisor does it
        """Undo it."""

    def instance(self, world: World) -> Instance:
        assert self.target is not None
        return world.instances[self.target]

    def proxy(self, world: World) -> Proxy:
        assert self.target is not None
        return world.proxies[self.target]

    def __str__(self) -> str:
        where = "broker" if self.target is None else f"instance {self.target}"
        return f"{self.kind} of {where} for {self.seconds:.1f} s"


class KillApp(Fault):
    """kill -9 of engine and HTTP; a supervisor starts them again."""

    kind = "kill app"

    def inject(self, world: World) -> None:
        self.instance(world).kill()


class StopApp(Fault):
    """SIGTERM, as a deployment does."""

    kind = "stop app"

    def inject(self, world: World) -> None:
        self.instance(world).signal(signal.SIGTERM)


class PauseApp(Fault):
    """SIGSTOP for longer than the ack wait: its events are given to others, then it wakes up and goes on as if nothing had been."""

    kind = "pause app"

    def lasts(self, rng: random.Random, world: World) -> float:
        return world.ack_wait * rng.uniform(1.2, 1.6)

    def inject(self, world: World) -> None:
        self.instance(world).signal(signal.SIGSTOP)

    def heal(self, world: World) -> None:
        self.instance(world).signal(signal.SIGCONT)


class CrashPoint(Fault):
    """Death at a named instant of the commit protocol."""

    kind = "crash point"

    def pick(self, rng: random.Random) -> None:
        self.point = rng.choice((*OFTEN, *SELDOM))
        self.times = 1 if self.point in SELDOM else rng.randint(1, 30)

    def inject(self, world: World) -> None:
        if self.instance(world).ready():  # a process that is starting can't be told anything yet
            self.instance(world).tell(crash=self.point, times=self.times)

    def __str__(self) -> str:
        return f"{self.kind} {self.point} of instance {self.target}, the {self.times}. time"


class ClockStep(Fault):
    """The wall clock of an app jumps, and jumps back."""

    kind = "clock step"

    def pick(self, rng: random.Random) -> None:
        self.step = rng.choice((-86_400.0, -3_600.0, -30.0, 30.0, 3_600.0, 86_400.0))

    def inject(self, world: World) -> None:
        self._set(world, self.step)

    def heal(self, world: World) -> None:
        self._set(world, 0.0)

    def _set(self, world: World, offset: float) -> None:
        if self.instance(world).ready():
            self.instance(world).tell(clock=offset)

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.step:+g} s"


class Wire(Fault):
    """What happens to the connection of one instance."""

    mode: ClassVar[Mode]

    def inject(self, world: World) -> None:
        self.proxy(world).turn(self.mode)

    def heal(self, world: World) -> None:
        self.proxy(world).turn("pass")


class Cut(Wire):
    kind, mode = "connection cut", "cut"


class Hole(Wire):
    kind, mode = "half open", "hole"

    def lasts(self, rng: random.Random, world: World) -> float:
        return rng.uniform(1.0, 8.0)


class Stall(Wire):
    kind, mode = "stalled", "stall"

    def lasts(self, rng: random.Random, world: World) -> float:
        return rng.uniform(0.5, 6.0)


class Drip(Wire):
    kind, mode = "slow connection", "drip"


class KillBroker(Fault):
    """kill -9 of nats-server."""

    kind, on_broker = "kill broker", True

    def inject(self, world: World) -> None:
        world.broker.kill()

    def heal(self, world: World) -> None:
        world.broker.start()


class StopBroker(KillBroker):
    """SIGTERM to nats-server, as an upgrade does."""

    kind, on_broker = "stop broker", True

    def inject(self, world: World) -> None:
        world.broker.stop()


class LoseConsumer(KillBroker):
    """kill -9 of nats-server, whose disk has lost a consumer when it comes back: it would not be missed by anybody else."""

    kind, on_broker = "lose consumer", True

    def pick(self, rng: random.Random) -> None:
        self.which = rng.random()

    def inject(self, world: World) -> None:
        world.broker.kill()
        there = sorted(world.broker.store.glob("jetstream/*/streams/*/obs/*"))
        shutil.rmtree(there[int(self.which * len(there))])


class FreezeBroker(Fault):
    kind, on_broker = "freeze broker", True

    def lasts(self, rng: random.Random, world: World) -> float:
        return rng.uniform(0.3, 6.0)

    def inject(self, world: World) -> None:
        world.broker.signal(signal.SIGSTOP)

    def heal(self, world: World) -> None:
        world.broker.signal(signal.SIGCONT)


class FullDisk(Fault):
    """Not one byte left where the broker has its store. Once there is room again nats-server is started anew: it does not recover by itself."""

    kind, on_broker = "full disk", True

    def inject(self, world: World) -> None:
        assert world.disk is not None
        fill(world.disk)

    def heal(self, world: World) -> None:
        assert world.disk is not None
        (world.disk / BALLAST).unlink()
        world.broker.kill()
        world.broker.start()


BALLAST = "ballast"


def fill(disk: Path) -> None:
    """Leave no room."""
    piece = bytes(1 << 20)
    with (disk / BALLAST).open("wb", buffering=0) as ballast:
        for size in (len(piece), 4096, 1):
            try:
                while ballast.write(piece[:size]) == size:
                    continue
            except OSError:
                continue


ALL: tuple[type[Fault], ...] = (
    KillApp, StopApp, PauseApp, CrashPoint, CrashPoint, CrashPoint, ClockStep, Cut, Hole, Stall, Drip, KillBroker, KillBroker,
    LoseConsumer, StopBroker, FreezeBroker, FullDisk,
)  # fmt: skip
