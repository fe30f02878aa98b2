"""The power goes while orders come in: of the store, only what has reached the disk is there after it (R5).

The store is on a file system inside of an image. nats-server is stopped, the image is copied as it is, without what the kernel still holds back, and
the app is started on the copy. Disks that lie about what they have written are another matter.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.process import running_app, write_project
from support.stored import records
from support.waiting import wait_for

SIZE = 1 << 30  # bytes of the image, most of them never written
IMAGES = 30
CLIENTS = 4
APART = 2.0  # seconds of load before each image
BALANCED = (
    1.5  # seconds: the newest that may be lost is no older; 0.1 s by the spec, and the slowness of a busy machine
)
SPEC = """
name: power
nats: {{prefix: power, durability: {durability}}}
topics: {{order: {{}}, paid: {{}}}}
state: {{orders: {{}}}}
steps:
  Put: {{type: api, method: POST, path: /orders, emits: [order]}}
  Pay: {{type: event, subscribes: [order], emits: [paid]}}
"""
PUT = """
async def handler(request, ctx):
    await ctx.state.orders.set(str(request.body["n"]), 1)
    await ctx.emit("order", request.body)
    return {"status": 202, "body": {}}
"""
PAY = """
async def handler(data, ctx):
    await ctx.emit("paid", data)
"""


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    done = subprocess.run(["mount", "-o", "loop", str(image), str(at)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no image can be mounted here: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The image, and where it is mounted."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting an image takes root")
    image = tmp_path / "image"
    with image.open("wb") as made:
        made.truncate(SIZE)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mkfs.ext4")
    with mounted(image, tmp_path / "disk") as at:
        yield image, at


@dataclass
class Cut:
    """What the disk held at one moment."""

    image: Path
    at: float  # `time.monotonic()`
    accepted: dict[int, float]  # number of each order that was answered 202 until then -> when


class Orders:
    """Clients that order one after the other, for as long as the block lasts."""

    def __init__(self, url: str) -> None:
        self.accepted: dict[int, float] = {}
        self._url = url
        self._next = iter(range(10**9))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._order, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> Orders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _order(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._stop.is_set():
                with self._lock:
                    n = next(self._next)
                if client.post(self._url + "/orders", json={"n": n}).status_code == 202:
                    with self._lock:
                        self.accepted[n] = time.monotonic()

    def so_far(self) -> dict[int, float]:
        with self._lock:
            return dict(self.accepted)


def project(at: Path, durability: str) -> Path:
    folder = write_project(at / "app", SPEC.format(durability=durability), put=PUT, pay=PAY)
    subprocess.run(["sync", "-f", str(at)], check=True)  # the project was written long ago; the store is the app's own
    return folder


@contextmanager
def stopped(folder: Path) -> Iterator[None]:
    """nats-server writes nothing for as long as the block lasts."""
    server = int((folder / ".motia" / "nats" / "server.pid").read_text())
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


def copied(image: Path, number: int) -> Path:
    """The disk as it was at one instant: copied anew when the kernel has written to it meanwhile, which no loss of power looks like."""
    copy = image.parent / f"copy{number}"
    for _ in range(50):
        before = image.stat().st_mtime_ns
        subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
        if image.stat().st_mtime_ns == before:
            return copy
    raise AssertionError("the disk does not come to rest")


def cut_off(disk: tuple[Path, Path], durability: str) -> list[Cut]:
    image, at = disk
    folder = project(at, durability)
    cuts = []
    with running_app(folder) as app, Orders(app.url) as orders:
        for number in range(IMAGES):
            have, began = len(orders.so_far()), time.monotonic()
            wait_for(
                lambda have=have, began=began: len(orders.so_far()) > have + 50 and time.monotonic() > began + APART,
                f"too little is accepted\n{app.output}",
            )
            with stopped(folder):
                now, accepted = time.monotonic(), orders.so_far()
                copy = copied(image, number)
            cuts.append(Cut(copy, now, {n: when for n, when in accepted.items() if when < now}))
    return cuts


def after(cut: Cut, durability: str) -> tuple[set[int], dict[str, Any]]:
    """Orders that the app has once it is up again on what the disk held, and has worked off; of each kind of record, how many. With `strict` each one that is
    there reaches its step; else its event may have been lost behind what says that it was handled."""
    with ExitStack() as stack:
        at = stack.enter_context(mounted(cut.image, cut.image.with_suffix(".disk")))
        stack.enter_context(running_app(at / "app"))
        found = {part: records(at / "app", part) for part in ("ev.order", "st.orders.>")}
        there = {int(json.loads(record.data)["n"]) for record in found["ev.order"]}
        paid: list[set[int]] = [set(), set()]

        def worked_off() -> bool:
            time.sleep(1.0)
            paid.append({json.loads(record.data)["n"] for record in records(at / "app", "ev.paid")})
            return there <= paid[-1] or (durability != "strict" and paid[-1] == paid[-3] != set())

        wait_for(worked_off, f"{len(there)} orders are there, and not all reach their step")
    state = {int(record.subject.rpartition(".")[2]) for record in found["st.orders.>"]}
    counts = {"events": len(there), "state": len(state), "apart": len(there ^ state), "unpaid": len(there - paid[-1])}
    return there & state & paid[-1], counts


def descriptions(folder: Path) -> dict[Path, bytes]:
    """Of streams and consumers."""
    store = folder / ".motia" / "nats" / "store"
    return {file.relative_to(store): file.read_bytes() for file in store.rglob("meta.*")}


def test_a_new_app_is_on_the_disk_as_soon_as_it_is_ready(disk: tuple[Path, Path]) -> None:
    """Whatever durability says: nats-server itself leaves new streams and consumers to the kernel, and can't take back half of one."""
    image, at = disk
    folder = project(at, "fast")
    with running_app(folder):
        with stopped(folder):
            copy, written = copied(image, 0), descriptions(folder)
        with mounted(copy, copy.with_suffix(".disk")) as there:
            assert len(written) > 10
            assert descriptions(there / "app") == written


@pytest.mark.long
@pytest.mark.parametrize("durability", ["strict", "balanced", "fast"])
def test_what_was_accepted_is_on_the_disk_as_far_as_durability_says(disk: tuple[Path, Path], durability: str) -> None:
    """`fast`, which promises nothing for two minutes, is the control: it has to lose what was accepted."""
    told = []
    for cut in cut_off(disk, durability):
        there, counts = after(cut, durability)
        lost = {n: cut.at - when for n, when in cut.accepted.items() if n not in there}
        oldest = max(lost.values(), default=0.0)
        told.append((len(lost), oldest))
        print(
            f"{durability}: {len(lost)} of {len(cut.accepted)} lost, the oldest accepted {oldest:.2f} s before; {counts}"
        )
        if durability == "strict":
            assert not lost
        elif durability == "balanced":
            assert oldest <= BALANCED
    if durability == "fast":
        assert max(oldest for _, oldest in told) > BALANCED, "the control: nothing that was accepted earlier is lost"
