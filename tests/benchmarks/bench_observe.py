"""(e) of `make bench`: what observability costs, and how soon the index answers.

The pipeline of `bench_pipeline.py` with every run recorded and with MOTIA_TRACING=off, in turns, each on a fresh nats-server. Then an index of so many runs, made from a stream of records: the time to make it, and of each kind of search the worst of five.
`python tests/benchmarks/bench_observe.py [--events N] [--rounds N] [--runs N]`
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import bench_pipeline
import msgspec

from motia_runtime.handler import Trigger
from motia_runtime.memory import MemoryLog
from motia_runtime.observe.index import TraceIndex, open_index
from motia_runtime.observe.view import Filter
from motia_runtime.records import SUBJECT, ErrorInfo, RunRecord
from motia_runtime.redaction import NOTHING
from motia_runtime.runlog import LogLine

FAILED = 0.02  # share of runs
SEARCHES = {
    "all": Filter(),
    "one step": Filter(steps=("Step3",)),
    "what failed": Filter(outcomes=("failed",)),
    "one second": Filter(since=1e9 + 100, until=1e9 + 101),
    "slower than 0.99 s": Filter(longer=0.99),
    "a word of one run": Filter(text="ord-777"),
    "words of all runs": Filter(text="order accepted"),
    "words of all runs, failed, of one step": Filter(text="order accepted", outcomes=("failed",), steps=("Step3",)),
    "words of all runs, but none fits": Filter(text="order accepted", longer=60.0),
}


async def overhead(events: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {"on": [], "off": []}
    clean = bench_pipeline.clean_environ
    for number in range(rounds):
        for how in ("on", "off") if number % 2 == 0 else ("off", "on"):
            bench_pipeline.clean_environ = lambda how=how: {**clean(), "MOTIA_TRACING": how}
            rates[how].append(events / (await bench_pipeline.one("motia", events))[0])
    bench_pipeline.clean_environ = clean
    print(f"pipeline of {events:,} events, {rounds} rounds in turns, events/s")
    print(f"{'records':8} {'median':>8} {'min':>8} {'max':>8}")
    for how, found in rates.items():
        print(f"{how:8} {statistics.median(found):8,.0f} {min(found):8,.0f} {max(found):8,.0f}")
    ratios = [on / off for on, off in zip(rates["on"], rates["off"], strict=True)]
    print(f"on / off: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def write_records(log: MemoryLog, runs: int) -> None:
    chance = random.Random(1)
    encode = msgspec.json.Encoder().encode_lines
    for first in range(0, runs, 100):
        log.note(SUBJECT, encode([_record(number, chance) for number in range(first, min(first + 100, runs))]))


def _record(number: int, chance: random.Random) -> RunRecord:
    failed = chance.random() < FAILED
    began = 1e9 + number * 0.01
    lines = [LogLine(began, "info", f"order ord-{number} accepted", {"customer": f"c-{number % 1000}"})]
    data = msgspec.Raw(msgspec.json.encode({"id": f"ord-{number}", "total": number})) if number % 2 else NOTHING
    return RunRecord(
        trace_id=f"{number // 2 * 7919:032x}",
        span_id=f"{number:016x}",
        step=f"Step{chance.randrange(20)}",
        trigger=Trigger(type="event", topic="order.created", event_id=str(number)),
        started=began,
        duration=chance.random(),
        outcome="failed" if failed else "ok",
        error=ErrorInfo("Declined", f"card {number % 977} declined") if failed else None,
        input=data,
        logs=tuple(lines),
    )


async def search(runs: int) -> None:
    log = MemoryLog()
    write_records(log, runs)
    with tempfile.TemporaryDirectory() as folder:
        async with open_index(log, Path(folder)) as index:
            began = time.perf_counter()
            await index.catch_up()
            took = time.perf_counter() - began
            size = sum(path.stat().st_size for path in Path(folder).rglob("*.sqlite*"))
            print(f"\nindex of {runs:,} runs: made in {took:.1f} s ({runs / took:,.0f}/s), {size / 1e6:.0f} MB")
            print(f"{'worst of five, ms':40} {'traces':>8} {'runs':>8} {'logs':>8}")
            for name, wanted in SEARCHES.items():
                print(
                    f"{name:40}", *[f"{await _worst(index, what, wanted):8.1f}" for what in ("traces", "runs", "logs")]
                )
    log.close()


async def _worst(index: TraceIndex, what: str, wanted: Filter) -> float:
    ask: Any = getattr(index, what)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        await ask(wanted)
        times.append((time.perf_counter() - began) * 1000)
    return max(times)


async def main(events: int, rounds: int, runs: int) -> None:
    if events and rounds:
        await overhead(events, rounds)
    if runs:
        await search(runs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=100_000)
    asked = parser.parse_args()
    asyncio.run(main(asked.events, asked.rounds, asked.runs))
