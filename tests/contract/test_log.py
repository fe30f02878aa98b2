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


async def test_ttl_makes_a_record_vanish(log: Log) -> None:
    key = state_subject("g", "k")
    await log.append(key, b"old")
    await log.append(key, b"short", ttl=1)
    assert data(await log.history(key)) == [b"short"]  # what it replaced must not come back afterwards
    await until(lambda: _gone(log, key))
    assert await log.history(key) == []
    assert await log.lasts("st.g.*") == []
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
    assert await log.backlog("c") == Backlog(waiting=7, in_flight=3)
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
        return await log.backlog("c") == Backlog(0, 0)

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
    assert await log.backlog("c") == Backlog(0, 0)


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
