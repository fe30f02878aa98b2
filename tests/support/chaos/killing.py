"""kill -9 of apps and broker, one at a time, again and again, from a thread beside the test."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from support.chaos.faults import World
from support.waiting import wait_for

REST = (0.5, 2.0)  # seconds between a recovery and the next kill
AWAY = (0.05, 0.5)  # seconds that the broker is away
BROKER = 2  # every so many-th kill is one of the broker


class Killing:
    """The apps by turns, each of them back before the next; every second kill is one of the broker."""

    def __init__(self, made: World, seed: int) -> None:
        self.apps = 0
        self.brokers = 0
        self._made = made
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._kill, name="killing", daemon=True)
        self._failed: list[BaseException] = []

    @property
    def kills(self) -> int:
        return self.apps + self.brokers

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Until all are back. Raises what went wrong."""
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the apps do not come back"
        if self._failed:
            raise self._failed[0]
        for instance in self._made.instances:
            instance.wait_ready()

    def _kill(self) -> None:
        try:
            while not self._stop.wait(self._rng.uniform(*REST)):
                if self.kills % BROKER == BROKER - 1:
                    self._made.broker.kill()
                    self._stop.wait(self._rng.uniform(*AWAY))
                    self._made.broker.start()
                    self.brokers += 1
                else:
                    victim = self._made.instances[self.apps % len(self._made.instances)]
                    lives = len(victim.exits)
                    victim.kill()
                    self.apps += 1
                    wait_for(lambda victim=victim, lives=lives: len(victim.exits) > lives, f"{victim.name} lives on")
                    victim.wait_ready()
        except BaseException as error:
            self._failed.append(error)


@contextmanager
def killing(made: World, seed: int) -> Iterator[Killing]:
    """For as long as the block lasts; when it ends all are ready."""
    kills = Killing(made, seed)
    kills.start()
    try:
        yield kills
    finally:
        kills.stop()
