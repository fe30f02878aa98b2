"""What every log keeps: each sentence of `motia_runtime.ports.Log`, on every adapter."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from motia_runtime.handler import InvalidHeader
from motia_runtime.memory import MemoryLog
from motia_runtime.naming import event_subject, retry_subject, state_pattern, state_subject
from motia_runtime.ports import Backlog, Conflict, Delivery, Entry, Log, Record, TooLarge
from motia_spec.model import Nats, Project, StateGroup

NUMBERS = itertools.count(1)
ACK_WAIT = 1.5  # seconds


@pytest_asyncio.fixture(params=["memory", "fast", "plain"])
async def log(request: pytest.FixtureRequest, nats_log: Callable[..., Awaitable[Log]]) -> Any:
    if request.param == "memory":
        memory = MemoryLog(history=3, ack_wait=ACK_WAIT)
        yield memory
        memory.close()
        return
    project = Project(
        root=Path("/"),
        files=(),
        name="contract",
        state={"g": StateGroup(name="g", history=3)},
        nats=Nats(prefix=f"contract{next(NUMBERS)}"),
    )
    yield await nats_log(fast=request.param == "fast", project=project, ack_wait=ACK_WAIT)


class Inbox:
    """Deliveries as they come, to be awaited one by one."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Delivery] = asyncio.Queue()

    def __call__(self, delivery: Delivery) -> None:
        self.queue.put_nowait(delivery)

    async def next(self, within: float = 5.0) -> Delivery:
        return await asyncio.wait_for(self.queue.get(), within)

    async def nothing(self, within: float = 0.3) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.queue.get(), within)


async def until(check: Callable[[], Awaitable[bool]], within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while not await check():
            await asyncio.sleep(0.01)


def data(records: list[Record]) -> list[bytes]:
    return [record.data for record in records]


# -- appending --


async def test_what_is_appended_is_there_as_it_was(log: Log) -> None:
    before = time.time()
    headers = {"x-tenant": "ä😀", "Traceparent": "00-a:b-c", "KV-Operation": "DEL", "Empty": ""}
    seq = await log.append("ev.order.created", b"\x00\r\n{}", headers=headers, id="a")
    record = await log.last("ev.order.created")
    assert record is not None
    assert (record.subject, record.seq, record.data, record.headers) == (
        "ev.order.created",
        seq,
        b"\x00\r\n{}",
        headers,
    )
    assert before - 2 < record.time < time.time() + 2
    assert await log.last("ev.order") is None


async def test_what_an_event_says_of_itself_is_for_others_to_read(log: Log) -> None:
    """On NATS it is a CloudEvent, however it is read; deliveries do not even parse that."""
    inbox = Inbox()
    consumer = await log.consume("Reader", ["ev.a"], inbox, credit=10)
    alone = await log.consume("Alone", ["ev.a"], other := Inbox(), credit=10, alone=lambda: False)
    given = {"traceparent": "00-a-b-01", "x": "y"}
    seq = await log.append("ev.a", b"1", headers=given, id="Take:7:e0")
    await log.append("ev.a", b"2", headers=given, id="later", at=time.time() + 1)
    for deliveries in (inbox, other):
        for _ in range(2):
            delivery = await deliveries.next(within=10)
            assert delivery.record.headers == given
            delivery.ack()
    for record in (await log.last("ev.a"), await log.get("ev", seq), *await log.scan("ev.a", limit=2)):
        assert record is not None
        assert record.headers == given
    await consumer.stop()
    await alone.stop()


async def test_seqs_grow_in_call_order_while_appends_overlap(log: Log) -> None:
    seqs = await asyncio.gather(*[log.append("ev.a", b"%d" % n) for n in range(300)])
    assert list(seqs) == sorted(set(seqs))
    assert data(await log.history("ev.a")) == [b"%d" % n for n in range(300)]


async def test_an_id_seen_before_changes_nothing(log: Log) -> None:
    first = await log.append("ev.a", b"1", id="x")
    await log.append("ev.a", b"2", id="y")
    assert await log.append("ev.a", b"3", id="x") == first
    assert await log.append("ev.b", b"4", id="x") == first
    assert data(await log.history("ev.a")) == [b"1", b"2"]
    assert await log.last("ev.b") is None


async def test_expect_is_compare_and_set(log: Log) -> None:
    key = state_subject("g", "k")
    first = await log.append(key, b"1", expect=0)
    with pytest.raises(Conflict):
        await log.append(key, b"x", expect=0)
    second = await log.append(key, b"2", expect=first)
    with pytest.raises(Conflict):
        await log.append(key, b"x", expect=first)
    await log.append(state_subject("g", "other"), b"o", expect=0)
    assert await log.append(key, b"3", expect=second) > second
    record = await log.last(key)
    assert record is not None
    assert record.data == b"3"
    assert record.headers == {}


async def test_of_twenty_at_once_one_wins(log: Log) -> None:
    key = state_subject("g", "k")
    seq = await log.append(key, b"0")
    results = await asyncio.gather(*[log.append(key, b"x", expect=seq) for _ in range(20)], return_exceptions=True)
    assert sum(isinstance(r, int) for r in results) == 1
    assert sum(isinstance(r, Conflict) for r in results) == 19


async def test_the_id_is_looked_at_before_expect(log: Log) -> None:
    key = state_subject("g", "k")
    first = await log.append(key, b"1", expect=0, id="w1")
    assert await log.append(key, b"1", expect=0, id="w1") == first
    await log.append(key, b"2", expect=first, id="w2")
    assert await log.append(key, b"1", expect=0, id="w1") == first
    assert data(await log.history(key)) == [b"1", b"2"]


async def test_what_is_due_later_appears_then(log: Log) -> None:
    due = time.time() + 1.2
    await log.append("ev.a", b"late", headers={"x": "1"}, at=due, id="later")
    await log.append("ev.a", b"late", headers={"x": "1"}, at=due, id="later")
    await log.append("ev.a", b"at once", at=time.time() - 5)
    assert data(await log.history("ev.a")) == [b"at once"]
    inbox = Inbox()
    await log.consume("c", ["ev.a"], inbox, credit=5)
    delivery = await inbox.next()
    assert time.time() >= due - 0.01
    assert (delivery.record.data, delivery.record.headers, delivery.record.subject) == (b"late", {"x": "1"}, "ev.a")
    await inbox.nothing(0.5)


async def test_only_events_can_be_due_later(log: Log) -> None:
    with pytest.raises(ValueError, match="at"):
        await log.append("st.g.k", b"", at=time.time() + 5)


@pytest.mark.parametrize("key", ["st.g.k", "rt.s.g.k", "tx.S.k"])
async def test_ttl_makes_a_record_vanish(log: Log, key: str) -> None:
    await log.append(key, b"old")
    await log.append(key, b"short", ttl=1)
    assert data(await log.history(key)) == [b"short"]  # what it replaced must not come back afterwards
    await until(lambda: _gone(log, key))
    assert await log.history(key) == []
    assert await log.lasts(key[:-1] + "*") == []
    await log.append(key, b"new", expect=0)
    record = await log.last(key)
    assert record is not None
    assert record.data == b"new"


async def test_a_batch_can_follow_what_vanished(log: Log) -> None:
    key = state_subject("g", "k")
    await log.append(key, b"short", ttl=1)
    await until(lambda: _gone(log, key))
    await log.append_all([Entry(subject=key, data=b"new", expect=0), Entry(subject="st.g.l", data=b"", expect=0)])
    assert data(await log.lasts("st.g.*")) == [b"new", b""]


async def _gone(log: Log, subject: str) -> bool:
    return await log.last(subject) is None


async def test_too_large_says_so_and_leaves_the_connection_usable(log: Log) -> None:
    assert log.max_size > 900_000
    await log.append("ev.a", b"x" * log.max_size, id="i" * 64)
    with pytest.raises(TooLarge, match="larger than"):
        await log.append("ev.a", b"x" * (log.max_size + 1))
    with pytest.raises(TooLarge):
        await log.append("ev.a", b"x" * log.max_size, headers={"a": "b"})
    with pytest.raises(TooLarge):
        await log.append_all([Entry(subject="st.a.b", data=b"x" * (log.max_size + 1))])
    log.note("run.t", b"x" * (log.max_size + 1))
    assert await log.append("ev.a", b"ok") > 0
    assert log.connected()


async def test_a_header_never_breaks_out_of_its_line(log: Log) -> None:
    for headers in ({"a": "b\r\nNats-Rollup: all"}, {"a\nb": "c"}, {"a": "\x00"}):
        with pytest.raises(InvalidHeader):
            await log.append("ev.a", b"", headers=headers)
        good = [Entry(subject="st.g.good", data=b"", id=repr(headers)), Entry(subject="st.g.fine", data=b"")]
        bad = [Entry(subject="st.g.bad", data=b"", headers=headers), Entry(subject="st.g.worse", data=b"")]
        outcomes = await asyncio.gather(log.append_all(good), log.append_all(bad), return_exceptions=True)
        assert outcomes[0] is None
        assert isinstance(outcomes[1], InvalidHeader)
    assert await log.history("ev.a") == []
    assert [record.subject for record in await log.lasts("st.g.*")] == ["st.g.fine", "st.g.good"]


@pytest.mark.parametrize("subject", ["nonsense.a", "ev", "ev.a b", "ev.a\r\nPUB x 0", "ev.*", "", "$JS.API.X"])
async def test_only_subjects_of_the_log(log: Log, subject: str) -> None:
    with pytest.raises(ValueError, match="log"):
        await log.append(subject, b"")


# -- what waits in slots --


async def test_what_waits_can_be_listed_replaced_and_cancelled(log: Log) -> None:
    soon, later = time.time() + 1.0, time.time() + 3600
    await log.append("ev.a", b"1", at=later, slot="emit.x", id="1")
    first = (await log.scheduled("emit.*", limit=9))[0]
    await log.append("ev.b", b"2", headers={"x": "ä"}, at=later + 5, slot="emit.x", id="2")
    await log.append("ev.a", b"soon", at=soon, slot="emit.y")
    await log.append("retry.S", b"own", at=later - 5, id="own")
    await log.append("ev.a", b"other", at=later, slot="other.x.y")
    found = await log.scheduled("emit.*", limit=9)
    assert [(each.slot, each.subject, each.data, each.headers) for each in found] == [
        ("emit.y", "ev.a", b"soon", {}),
        ("emit.x", "ev.b", b"2", {"x": "ä"}),
    ]
    assert found[1].at == pytest.approx(later + 5, abs=0.001)
    assert found[1].seq > first.seq > 0
    assert [each.data for each in await log.scheduled(">", limit=3)] == [b"soon", b"own", b"other"]
    assert await log.scheduled("none.>", limit=9) == []

    assert await log.cancel("emit.x") is True
    assert await log.cancel("emit.x") is False
    assert await log.cancel("emit.none") is False
    await until(lambda: _there(log, "ev.a", b"soon"))
    assert time.time() >= soon - 0.01
    assert await log.cancel("emit.y") is False
    assert [each.slot for each in await log.scheduled("emit.>", limit=9)] == []
    assert len(await log.scheduled(">", limit=9)) == 2


async def test_of_one_slot_only_the_last_comes(log: Log) -> None:
    inbox = Inbox()
    await log.consume("c", ["ev.>"], inbox, credit=9)
    due = time.time() + 0.8
    await asyncio.gather(*[log.append("ev.a", b"%d" % n, at=due, slot="emit.x") for n in range(50)])
    await log.append("ev.b", b"cancelled", at=due, slot="emit.y")
    assert await log.cancel("emit.y") is True
    delivery = await inbox.next()
    assert (delivery.record.data, delivery.record.id) == (b"49", None)
    await inbox.nothing(0.5)


async def test_what_is_due_at_once_replaces_what_waits(log: Log) -> None:
    inbox = Inbox()
    await log.consume("c", ["ev.>"], inbox, credit=9)
    await log.append("ev.a", b"later", at=time.time() + 1.5, slot="emit.x")
    await log.append("ev.a", b"now", at=time.time() - 5, slot="emit.x")
    delivery = await inbox.next(1.0)
    assert delivery.record.data == b"now"
    delivery.ack()
    assert await log.scheduled(">", limit=9) == []
    await inbox.nothing(1.8)


async def test_an_id_seen_before_leaves_the_slot_as_it_is(log: Log) -> None:
    due = time.time() + 60
    seq = await log.append("ev.a", b"1", at=due, slot="emit.x", id="same")
    assert await log.append("ev.a", b"2", at=due + 60, slot="emit.x", id="same") == seq
    assert await log.append("ev.a", b"3", at=due, slot="emit.y", id="same") == seq
    assert [(each.slot, each.data) for each in await log.scheduled(">", limit=9)] == [("emit.x", b"1")]


async def test_a_thousand_and_more_can_wait(log: Log) -> None:
    due = time.time() + 3600
    await asyncio.gather(*[log.append("ev.a", b"%d" % n, at=due - n, slot=f"emit.{n}") for n in range(1100)])
    assert [each.data for each in await log.scheduled("emit.*", limit=2)] == [b"1099", b"1098"]
    assert len(await log.scheduled("emit.*", limit=5000)) == 1100


async def test_a_slot_is_made_of_tokens_and_needs_a_time(log: Log) -> None:
    for slot in ("emit.*", ">", "", "a b", "a..b"):
        with pytest.raises(ValueError, match="log"):
            await log.append("ev.a", b"", at=time.time() + 60, slot=slot)
        with pytest.raises(ValueError, match="log"):
            await log.cancel(slot)
    with pytest.raises(ValueError, match="slot"):
        await log.append("ev.a", b"", slot="emit.x")
    with pytest.raises(ValueError, match="log"):
        await log.scheduled("a b", limit=1)


async def _there(log: Log, subject: str, data: bytes) -> bool:
    record = await log.last(subject)
    return record is not None and record.data == data


# -- plans --


async def test_a_plan_is_written_once(log: Log) -> None:
    results = await asyncio.gather(
        *[log.append("tx.S.r1", b"%d" % n, expect=0) for n in range(20)], return_exceptions=True
    )
    [seq] = [result for result in results if isinstance(result, int)]
    assert sum(isinstance(result, Conflict) for result in results) == 19
    assert await log.append("tx.S.r1", b"next", expect=seq) > seq
    assert data(await log.history("tx.S.r1")) == [b"next"]
    await log.append("tx.S.r2", b"2", expect=0)
    assert data(await log.lasts("tx.S.*")) == [b"next", b"2"]


async def test_plans_are_stored_all_or_none(log: Log) -> None:
    seq = await log.append("tx.S.r1", b"1", expect=0)
    with pytest.raises(Conflict):
        await log.append_all(
            [Entry(subject="tx.S.r2", data=b"", expect=0), Entry(subject="tx.S.r1", data=b"", expect=0)]
        )
    assert await log.last("tx.S.r2") is None
    await log.append_all(
        [Entry(subject="tx.S.r2", data=b"2", expect=0, id="i"), Entry(subject="tx.S.r1", data=b"2", expect=seq)]
    )
    stored = await log.lasts("tx.>")
    assert [(record.subject, record.data, record.id) for record in stored] == [
        ("tx.S.r1", b"2", None),
        ("tx.S.r2", b"2", "i"),
    ]


async def test_purge_takes_what_fits_up_to_a_seq(log: Log) -> None:
    assert await log.purge("tx.>", through=0) == 0
    assert await log.purge("tx.>", through=1000) == 0
    seqs = [await log.append(f"tx.{step}.r{n}", b"", expect=0) for n in range(10) for step in "ST"]
    assert await log.purge("tx.S.*", through=seqs[9]) == 5
    assert await log.purge("tx.S.*", through=seqs[9]) == 0
    assert len(await log.lasts("tx.T.*")) == 10
    assert await log.purge("tx.S.r5", through=seqs[10] - 1) == 0
    assert await log.purge("tx.S.r5", through=seqs[10]) == 1
    assert await log.purge("tx.>", through=seqs[13]) == 8
    assert sorted(record.seq for record in await log.lasts("tx.>")) == seqs[14:]
    assert await log.purge("tx.>", through=seqs[-1] + 1000) == 6
    assert await log.lasts("tx.>") == []
    assert await log.append("tx.S.r1", b"", expect=0) == seqs[-1] + 1
    with pytest.raises(ValueError, match="plans"):
        await log.purge("st.g.*", through=5)


async def test_counts_tell_how_many_records_a_subject_has(log: Log) -> None:
    assert await log.counts("dlq.>") == {}
    seqs = [await log.append(subject, b"x") for subject in ("dlq.A", "dlq.A", "dlq.=41.2", "dlq.A")]
    assert await log.counts("dlq.>") == {"dlq.A": 3, "dlq.=41.2": 1}
    assert await log.counts("dlq.A") == {"dlq.A": 3}
    for seq in (seqs[0], seqs[2]):
        assert await log.delete("dlq", seq)
    assert await log.counts("dlq.>") == {"dlq.A": 2}


async def test_newest_is_the_highest_seq_of_a_part(log: Log) -> None:
    assert [await log.newest(part) for part in ("ev", "tx", "st", "cron", "dlq", "run", "rt")] == [0] * 7
    first = await log.append("ev.a", b"")
    assert await log.newest("ev") == first
    await log.append("retry.S", b"")
    last = await log.append("ev.b", b"")
    assert await log.newest("ev") == await log.newest("retry") == last
    assert await log.newest("tx") == 0
    seq = await log.append("tx.S.r", b"")
    await log.purge("tx.>", through=seq)
    assert await log.newest("tx") == seq


# -- several at once --


async def test_all_or_none(log: Log) -> None:
    a, b = state_subject("g", "a"), state_subject("g", "b")
    await log.append_all([])
    await log.append_all([Entry(subject=a, data=b"1", expect=0), Entry(subject=b, data=b"1", headers={"x": "y"})])
    assert data(await log.lasts("st.g.*")) == [b"1", b"1"]
    last = await log.last(b)
    assert last is not None
    assert last.headers == {"x": "y"}
    with pytest.raises(Conflict):
        await log.append_all([Entry(subject=a, data=b"2"), Entry(subject=b, data=b"2", expect=last.seq + 100)])
    assert data(await log.lasts("st.g.*")) == [b"1", b"1"]
    await log.append_all([Entry(subject=a, data=b"3"), Entry(subject=b, data=b"3", expect=last.seq)])
    assert data(await log.lasts("st.g.*")) == [b"3", b"3"]
    await log.append_all([Entry(subject=a, data=b"4", id="one")])
    assert data(await log.history(a)) == [b"1", b"3", b"4"]


async def test_many_batches_at_once_are_each_all_or_none(log: Log) -> None:
    def batch(n: int, expect: int | None = None) -> list[Entry]:
        mine = [Entry(subject=f"st.g.{key}{n}", data=b"%d" % n, id=f"{key}{n}", expect=expect) for key in "ab"]
        return [*mine, Entry(subject="st.g.shared", data=b"%d" % n)] if n % 10 == 0 else mine

    await log.append_all(batch(7))
    outcomes = await asyncio.gather(
        *[log.append_all(batch(n, expect=99999 if n in (13, 20) else 0)) for n in range(60)], return_exceptions=True
    )
    assert {n for n, outcome in enumerate(outcomes) if isinstance(outcome, Conflict)} == {13, 20}
    assert [outcome for outcome in outcomes if outcome is not None and not isinstance(outcome, Conflict)] == []
    stored = {record.subject: record.data for record in await log.lasts("st.g.*")}
    expected = {f"st.g.{key}{n}": b"%d" % n for key in "ab" for n in range(60) if n not in (13, 20)}
    assert stored == {**expected, "st.g.shared": b"50"}
    assert data(await log.history("st.g.shared")) == [b"30", b"40", b"50"]
    assert len(await log.history("st.g.a7")) == 1


async def test_a_batch_that_is_there_already_changes_nothing(log: Log) -> None:
    a, b = state_subject("g", "a"), state_subject("g", "b")
    batch = [Entry(subject=a, data=b"1", id="1", expect=0), Entry(subject=b, data=b"1", id="2", expect=0)]
    await log.append_all(batch)
    await log.append_all(batch)
    assert data(await log.history(a) + await log.history(b)) == [b"1", b"1"]


async def test_a_batch_has_distinct_subjects_of_state(log: Log) -> None:
    with pytest.raises(ValueError, match="distinct"):
        await log.append_all([Entry(subject="st.a.b", data=b"")] * 2)
    with pytest.raises(ValueError, match="state"):
        await log.append_all([Entry(subject="ev.a", data=b""), Entry(subject="st.a.b", data=b"")])
    with pytest.raises(ValueError, match="state"):
        await log.append_all([Entry(subject="tx.S.a", data=b""), Entry(subject="st.a.b", data=b"")])
    with pytest.raises(ValueError, match="state"):
        await log.append_all([Entry(subject="ev.a", data=b"")])


# -- reading --


async def test_state_keeps_its_history(log: Log) -> None:
    key = state_subject("g", "k")
    for n in range(5):
        await log.append(key, b"%d" % n)
    assert data(await log.history(key)) == [b"2", b"3", b"4"]
    assert await log.history(state_subject("g", "none")) == []


async def test_lasts_is_exact_and_ordered(log: Log) -> None:
    for group, key in [("a", "k2"), ("a", "k1"), ("ab", "k"), ("a.b", "k"), ("a", "x.y"), ("*", ">"), ("a", "k1")]:
        await log.append(state_subject(group, key), f"{group}/{key}".encode())
    assert data(await log.lasts(state_pattern("a"))) == [b"a/k1", b"a/k2", b"a/x.y"]
    assert data(await log.lasts(state_pattern("*"))) == [b"*/>"]
    assert await log.lasts(state_pattern("none")) == []
    assert len(await log.lasts("st.>")) == 6


async def test_the_longest_names_are_stored_and_found(log: Log) -> None:
    key = state_subject("\x00" * 128, "\x01" * 512)
    other = state_subject("\x00" * 128, "\x01" * 511 + "\x02")
    seq = await log.append(key, b"1", expect=0)
    await log.append_all([Entry(subject=key, data=b"2", expect=seq), Entry(subject=other, data=b"3", expect=0)])
    assert data(await log.history(key)) == [b"1", b"2"]
    assert data(await log.lasts(state_pattern("\x00" * 128))) == [b"2", b"3"]


async def test_lasts_gives_more_than_one_answer_holds(log: Log) -> None:
    keys = [f"k{n:04}" for n in range(1500)]
    await asyncio.gather(*[log.append(state_subject("many", key), key.encode()) for key in keys])
    assert data(await log.lasts(state_pattern("many"))) == [key.encode() for key in keys]


async def test_scan_gives_the_newest_first(log: Log) -> None:
    for n in range(700):
        log.append("dlq.a" if n % 100 == 0 else "dlq.b", b"%d" % n)
    await log.append("dlq.a", b"700")
    assert data(await log.scan("dlq.>", limit=3)) == [b"700", b"699", b"698"]
    assert data(await log.scan("dlq.a", limit=4)) == [b"700", b"600", b"500", b"400"]
    assert len(await log.scan("dlq.a", limit=100)) == 8
    newest = (await log.scan("dlq.a", limit=2))[-1]
    assert data(await log.scan("dlq.a", limit=2, before=newest.seq)) == [b"500", b"400"]
    assert await log.scan("dlq.a", limit=2, before=1) == []
    assert await log.scan("dlq.none", limit=2) == []
    assert await log.scan("run.>", limit=2) == []


async def test_since_gives_what_is_newer_the_oldest_first(log: Log) -> None:
    await asyncio.gather(*[log.append("run.a" if n % 100 == 0 else "run.b", b"%d" % n) for n in range(300)])
    assert data(await log.since("run.>", after=0, limit=3)) == [b"0", b"1", b"2"]
    found = await log.since("run.a", after=1, limit=9)
    assert data(found) == [b"100", b"200"]
    assert await log.since("run.a", after=found[-1].seq, limit=9) == []
    assert await log.since("run.>", after=300, limit=9) == []
    assert await log.since("run.none", after=0, limit=9) == []
    for n in range(20):
        await log.append("run.c", b"%d" % n + b"x" * 900_000)
    after, seen = 0, []
    while page := await log.since("run.c", after=after, limit=50):
        after = page[-1].seq
        seen += [record.data[:2] for record in page]
    assert seen == [(b"%dx" % n)[:2] for n in range(20)]


async def test_a_watch_is_told_of_what_is_appended(log: Log) -> None:
    seen: list[str | None] = []
    stop = log.watch("rt.=x.>", seen.append)
    await until(lambda: _appended_and(log, "rt.=x.t.1", lambda: "rt.=x.t.1" in seen))
    await log.append("rt.other.t.1", b"")
    await log.append("rt.=x.e.a=2Eb.c", b"1", ttl=60)
    await until(lambda: _appended_and(log, "rt.other", lambda: "rt.=x.e.a=2Eb.c" in seen))
    assert {*seen} == {"rt.=x.t.1", "rt.=x.e.a=2Eb.c"}
    stop()
    seen.clear()
    await log.append("rt.=x.t.2", b"")
    await log.append("rt.=x.t.3", b"")
    assert await log.last("rt.=x.t.3") is not None
    assert seen in ([], ["rt.=x.t.2"])  # one may have been on its way


async def _appended_and(log: Log, subject: str, check: Callable[[], bool]) -> bool:
    await log.append(subject, b"")
    return check()


async def test_get_and_delete_one(log: Log) -> None:
    seq = await log.append("dlq.a", b"1", headers={"x": "y"})
    await log.append("dlq.a", b"2")
    record = await log.get("dlq", seq)
    assert record is not None
    assert (record.data, record.headers, record.seq) == (b"1", {"x": "y"}, seq)
    assert await log.delete("dlq", seq) is True
    assert await log.delete("dlq", seq) is False
    assert await log.get("dlq", seq) is None
    assert await log.get("dlq", 10_000) is None
    assert await log.get("dlq", 0) is None
    assert data(await log.history("dlq.a")) == [b"2"]


async def test_a_record_tells_the_id_it_was_appended_with(log: Log) -> None:
    key, other = state_subject("g", "k"), state_subject("g", "l")
    inbox = Inbox()
    await log.consume("c", ["st.g.*"], inbox, credit=9)
    seq = await log.append(key, b"", id="one", expect=0)
    plain = await log.append(other, b"", expect=0)
    for found in (
        await log.last(key),
        await log.get("st", seq),
        (await log.history(key))[0],
        (await log.lasts(key))[0],
    ):
        assert found is not None
        assert (found.id, found.headers) == ("one", {})
    assert [record.id for record in await log.scan("st.>", limit=9)] == [None, "one"]
    assert [(await inbox.next()).record.id for _ in range(2)] == ["one", None]
    await log.append_all([Entry(subject=key, data=b"", id="two"), Entry(subject=other, data=b"", expect=plain)])
    assert [(record.id, record.headers) for record in await log.lasts("st.g.*")] == [("two", {}), (None, {})]


async def test_get_knows_its_part(log: Log) -> None:
    seq = await log.append(retry_subject("S"), b"1")
    assert await log.get("ev", seq) is None
    assert (await log.get("retry", seq)) is not None


async def test_notes_arrive(log: Log) -> None:
    for n in range(100):
        log.note("run.t1", b"%d" % n)

    async def all_there() -> bool:
        return len(await log.history("run.t1")) == 100

    await until(all_there)
    assert data(await log.scan("run.t1", limit=1)) == [b"99"]


# -- consuming --


async def test_a_new_consumer_starts_with_what_comes_after_its_creation(log: Log) -> None:
    await log.append("ev.a", b"before")
    inbox = Inbox()
    await log.consume("c", [event_subject("a"), retry_subject("S")], inbox, credit=10)
    before = time.time()
    seq = await log.append("ev.a", b"1", headers={"x": "y"})
    await log.append("ev.other", b"not mine")
    await log.append("retry.S", b"2")
    await log.append("ev.a.b", b"not mine")
    one, two = await inbox.next(), await inbox.next()
    record = one.record
    assert (record.subject, record.seq, record.data, record.headers) == ("ev.a", seq, b"1", {"x": "y"})
    assert before - 2 < record.time < time.time() + 2
    assert one.delivered == 1
    assert (two.record.subject, two.record.data) == ("retry.S", b"2")
    one.ack()
    two.ack()
    await inbox.nothing()


async def test_a_consumer_continues_where_it_left_off(log: Log) -> None:
    inbox = Inbox()
    consumer = await log.consume("c", ["ev.a"], inbox, credit=10)
    await log.append("ev.a", b"1")
    (await inbox.next()).ack()
    await consumer.stop()
    await log.append("ev.a", b"2")
    await inbox.nothing(0.1)
    await log.consume("c", ["ev.a", "ev.b"], inbox, credit=10)
    await log.append("ev.b", b"3")
    assert [(await inbox.next()).record.data for _ in range(2)] == [b"2", b"3"]


async def test_each_consumer_gets_each_record_and_instances_share(log: Log) -> None:
    one, two, other = Inbox(), Inbox(), Inbox()
    await log.consume("c", ["ev.a"], one, credit=5)
    await log.consume("c", ["ev.a"], two, credit=5)
    await log.consume("d", ["ev.a"], other, credit=10)
    for n in range(10):
        await log.append("ev.a", b"%d" % n)
    mine = [await one.next() for _ in range(5)] + [await two.next() for _ in range(5)]
    assert sorted(d.record.data for d in mine) == [b"%d" % n for n in range(10)]
    assert [(await other.next()).record.data for _ in range(10)] == [b"%d" % n for n in range(10)]


async def test_credit_bounds_what_is_out(log: Log) -> None:
    inbox = Inbox()
    consumer = await log.consume("c", ["ev.a"], inbox, credit=3)
    for n in range(10):
        await log.append("ev.a", b"%d" % n)
    first = [await inbox.next() for _ in range(3)]
    await inbox.nothing()
    backlog = await log.backlog("c")
    assert (backlog.waiting, backlog.in_flight) == (7, 3)
    for delivery in first:
        delivery.ack()
    await inbox.nothing()
    consumer.resume(1)
    consumer.resume(1)
    assert [(await inbox.next()).record.data for _ in range(2)] == [b"3", b"4"]
    await inbox.nothing()


async def test_a_thousand_with_little_credit(log: Log) -> None:
    done: list[bytes] = []
    finished = asyncio.Event()

    def deliver(delivery: Delivery) -> None:
        done.append(delivery.record.data)
        delivery.ack()
        consumer.resume(1)
        if len(done) == 1000:
            finished.set()

    consumer = await log.consume("c", ["ev.a"], deliver, credit=8)
    await asyncio.gather(*[log.append("ev.a", b"%d" % n) for n in range(1000)])
    await asyncio.wait_for(finished.wait(), 20)
    assert done == [b"%d" % n for n in range(1000)]

    async def idle() -> bool:
        backlog = await log.backlog("c")
        return (backlog.waiting, backlog.in_flight) == (0, 0)

    await until(idle)


async def test_given_back_it_comes_again_and_counts(log: Log) -> None:
    inbox = Inbox()
    await log.consume("c", ["ev.a"], inbox, credit=10)
    await log.append("ev.a", b"1")
    first = await inbox.next()
    first.nak(0)
    second = await inbox.next()
    assert (second.delivered, second.record.data) == (2, b"1")
    given = time.time()
    second.nak(0.6)
    await inbox.nothing(0.3)
    third = await inbox.next()
    assert third.delivered == 3
    assert [second.nth, third.nth] == [first.nth + 1, first.nth + 2]
    assert time.time() - given >= 0.55
    third.ack()
    third.nak(0)  # it has been ended: nothing happens
    await inbox.nothing()


async def test_unended_it_comes_again_after_the_ack_wait(log: Log) -> None:
    inbox = Inbox()
    await log.consume("c", ["ev.a"], inbox, credit=10)
    began = time.time()
    await log.append("ev.a", b"1")
    first = await inbox.next()
    await asyncio.sleep(ACK_WAIT * 0.6)
    first.touch()
    second = await inbox.next(ACK_WAIT * 3)
    assert time.time() - began >= ACK_WAIT * 1.5
    assert second.delivered == 2
    first.ack()  # late, but done is done
    await inbox.nothing(ACK_WAIT * 1.5)
    assert (await log.backlog("c")).in_flight == 0


async def test_terminated_it_does_not_come_again(log: Log) -> None:
    inbox = Inbox()
    consumer = await log.consume("c", ["ev.a"], inbox, credit=10)
    await log.append("ev.a", b"1")
    (await inbox.next()).term("no\r\nuse")

    async def ended() -> bool:
        return (await log.backlog("c")).in_flight == 0

    await until(ended)
    await consumer.stop()
    await log.consume("c", ["ev.a"], inbox, credit=10)
    await inbox.nothing()


async def test_exclusive_is_one_at_a_time_in_order_over_instances(log: Log) -> None:
    one, two = Inbox(), Inbox()
    await log.consume("c", ["ev.a"], one, credit=10, exclusive=True)
    await log.consume("c", ["ev.a"], two, credit=10, exclusive=True)
    for n in range(6):
        await log.append("ev.a", b"%d" % n)
    seen = []
    for n in range(6):
        done, rest = await asyncio.wait(
            [asyncio.create_task(one.next(6)), asyncio.create_task(two.next(6))], return_when="FIRST_COMPLETED"
        )
        await asyncio.sleep(0.02)
        for task in rest:
            assert not task.done()
            task.cancel()
        delivery = done.pop().result()
        seen.append(delivery.record.data)
        if n == 2 and delivery.delivered == 1:
            delivery.nak(0.2)
        else:
            delivery.ack()
    assert seen == [b"0", b"1", b"2", b"2", b"3", b"4"]


async def test_nothing_arrives_after_stop_and_the_rest_goes_back(log: Log) -> None:
    inbox, other = Inbox(), Inbox()
    consumer = await log.consume("c", ["ev.a"], inbox, credit=50)
    for n in range(100):
        log.append("ev.a", b"%d" % n)
    first = await inbox.next()
    await consumer.stop()
    taken = inbox.queue.qsize() + 1
    assert taken <= 50
    await consumer.stop()
    await log.append("ev.a", b"last")
    await inbox_stays(inbox, taken - 1)
    await log.consume("c", ["ev.a"], other, credit=200)
    got = {(await other.next()).record.data for _ in range(101 - taken)}
    mine = {first.record.data} | {inbox.queue.get_nowait().record.data for _ in range(taken - 1)}
    assert got | mine == {b"%d" % n for n in range(100)} | {b"last"}
    assert not got & mine
    first.ack()  # what was taken can still be ended


async def inbox_stays(inbox: Inbox, size: int) -> None:
    await asyncio.sleep(0.2)
    assert inbox.queue.qsize() == size


async def test_state_can_be_consumed(log: Log) -> None:
    inbox = Inbox()
    await log.consume("watch", [state_pattern("g")], inbox, credit=10)
    await log.append(state_subject("g", "k"), b"1")
    await log.append(state_subject("other", "k"), b"2")
    await log.append(state_subject("g", "l"), b"3")
    assert [(await inbox.next()).record.subject for _ in range(2)] == ["st.g.k", "st.g.l"]


async def test_a_consumer_reads_one_part(log: Log) -> None:
    with pytest.raises(ValueError, match="one part"):
        await log.consume("c", ["ev.a", "st.g.k"], Inbox(), credit=1)
    with pytest.raises(ValueError, match="one part"):
        await log.consume("c", [], Inbox(), credit=1)


async def test_the_backlog_of_nobody_is_empty(log: Log) -> None:
    assert await log.backlog("nobody") == Backlog(0, 0)


async def test_the_backlog_tells_how_far_all_has_ended(log: Log) -> None:
    await log.append("ev.a", b"before")
    inbox = Inbox()
    consumer = await log.consume("c", ["ev.a"], inbox, credit=3)
    started = await log.backlog("c")
    assert started.delivered == started.ended == await log.newest("ev")
    seqs = [await log.append("ev.a", b"%d" % n) for n in range(4)]
    await log.append("ev.other", b"not mine")
    one, two, three = [await inbox.next() for _ in range(3)]

    async def ended(seq: int) -> None:
        async def so_far() -> bool:
            return (await log.backlog("c")).ended == seq

        await until(so_far)

    assert (await log.backlog("c")).delivered == seqs[2]
    two.ack()
    await ended(seqs[0] - 1)
    one.ack()
    await ended(seqs[1])
    three.nak(0.5)
    consumer.resume(1)
    four = await inbox.next()
    four.term("done")

    async def delivered() -> bool:
        return (await log.backlog("c")).delivered == seqs[3]

    await until(delivered)
    assert (await log.backlog("c")).ended == seqs[1]
    consumer.resume(1)
    (await inbox.next()).ack()
    await ended(seqs[3])
    assert await log.backlog("c") == Backlog(0, 0, seqs[3], seqs[3])


async def test_backlogs_are_those_of_all_consumers(log: Log) -> None:
    assert await log.backlogs() == {}
    await log.consume("events", ["ev.a", "retry.S"], Inbox(), credit=1)
    await log.consume("ticks", ["cron.S"], Inbox(), credit=1, exclusive=True)
    await log.consume("watch", ["st.g.*"], Inbox(), credit=1)
    for n in range(300):
        await log.consume(f"many{n}", ["ev.many"], Inbox(), credit=1)
    for subject in ("ev.a", "ev.a", "cron.S", "st.g.k", "st.other.k"):
        await log.append(subject, b"")

    async def delivered() -> bool:
        return all([(await log.backlog(name)).in_flight == 1 for name in ("events", "ticks", "watch")])

    await until(delivered)
    await log.pause("watch", time.time() + 60)

    async def as_one_by_one() -> bool:
        together = await log.backlogs()
        assert set(together) == {"events", "ticks", "watch", *[f"many{n}" for n in range(300)]}
        return all([together[name] == await log.backlog(name) for name in ("events", "ticks", "watch")])

    await until(as_one_by_one)
    together = await log.backlogs()
    assert [together[name].in_flight for name in ("events", "ticks", "watch", "many7")] == [1, 1, 1, 0]
    assert [together[name].waiting for name in ("events", "ticks", "watch")] == [1, 0, 0]
    assert together["watch"].paused_until > time.time() + 50
    assert together["events"].paused_until == 0


async def test_a_paused_consumer_gets_nothing_more(log: Log) -> None:
    inbox = Inbox()
    consumer = await log.consume("c", ["ev.a"], inbox, credit=10)
    await log.append("ev.a", b"1")
    first = await inbox.next()
    until_then = time.time() + 3600
    await log.pause("c", until_then)
    assert (await log.backlog("c")).paused_until == pytest.approx(until_then, abs=0.001)
    await log.append("ev.a", b"2")
    first.nak(0)
    await inbox.nothing()
    await consumer.stop()
    await log.consume("c", ["ev.a", "ev.b"], inbox, credit=10)  # another instance, with another wish
    await log.append("ev.b", b"3")
    await inbox.nothing()
    backlog = await log.backlog("c")
    assert (backlog.waiting, backlog.in_flight, backlog.redelivered) == (2, 1, 0)
    assert backlog.paused_until == pytest.approx(until_then, abs=0.001)
    await log.pause("c", 0)
    assert (await log.backlog("c")).paused_until == 0
    assert sorted([(await inbox.next(1.0)).record.data for _ in range(3)]) == [b"1", b"2", b"3"]
    backlog = await log.backlog("c")
    assert (backlog.waiting, backlog.in_flight, backlog.redelivered) == (0, 3, 1)


async def test_what_was_delivered_before_a_pause_can_be_ended_in_it(log: Log) -> None:
    inbox = Inbox()
    await log.consume("c", ["ev.a"], inbox, credit=10)
    await log.append("ev.a", b"1")
    first = await inbox.next()
    await log.pause("c", time.time() + 3600)
    first.ack()

    async def ended() -> bool:
        return (await log.backlog("c")).in_flight == 0

    await until(ended)
    await log.pause("c", 0)
    await inbox.nothing()


async def test_a_pause_ends_by_itself(log: Log) -> None:
    inbox = Inbox()
    await log.consume("c", ["ev.a"], inbox, credit=10)
    resumes = time.time() + 1.0
    await log.pause("c", resumes)
    await log.append("ev.a", b"1")
    assert (await inbox.next()).record.data == b"1"
    assert time.time() >= resumes - 0.01
    assert (await log.backlog("c")).paused_until == 0


async def test_nobody_can_not_be_paused(log: Log) -> None:
    with pytest.raises(LookupError, match="nobody"):
        await log.pause("nobody", time.time() + 60)


async def test_alone_only_who_began_last_gets_deliveries(log: Log) -> None:
    """Also when the one before goes on asking, and keeps what it has in hand until that comes again."""
    first, second = Inbox(), Inbox()
    turn = 1
    one = await log.consume("Alone", ["ev.alone"], first, credit=10, alone=lambda: turn == 1)
    await log.append("ev.alone", b"1")
    held = await first.next()
    declared = await log.consume("Alone", ["ev.alone"], Inbox(), credit=0, alone=lambda: True)  # takes nothing over
    await declared.stop()
    await log.append("ev.alone", b"2")
    (await first.next()).ack()
    turn = 2
    two = await log.consume("Alone", ["ev.alone"], second, credit=10, alone=lambda: turn == 2)
    one.resume(5)
    for n in range(3, 9):
        await log.append("ev.alone", b"%d" % n)
    got = [await second.next() for _ in range(6)]
    assert [d.record.data for d in got] == [b"%d" % n for n in range(3, 9)]
    for delivery in got:
        delivery.ack()
    again = await second.next(within=ACK_WAIT + 5)
    assert (again.record.data, again.record.seq, again.delivered) == (b"1", held.record.seq, 2)
    again.ack()
    await first.nothing()
    await one.stop()
    await two.stop()
    three = await log.consume("Alone", ["ev.alone"], first, credit=10, alone=lambda: True)
    await log.append("ev.alone", b"9")
    (await first.next()).ack()
    await three.stop()


async def test_the_end_of_a_ttl_is_told_to_consumers(log: Log) -> None:
    """By a marker that stays for a moment, so only to those who are there."""
    inbox = Inbox()
    consumer = await log.consume("w", ["st.g.*"], inbox, credit=4, exclusive=True)
    await log.append("st.g.k", b"1", ttl=1)
    first = await inbox.next()
    assert first.record.data == b"1"
    first.ack()
    marker = await inbox.next(8)
    assert (marker.record.subject, marker.record.data) == ("st.g.k", b"")
    assert "Nats-Marker-Reason" in marker.record.headers
    marker.ack()
    await inbox.nothing()
    await consumer.stop()
