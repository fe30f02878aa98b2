"""The broker is made to fit the spec, step by step, and says what it would change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
import pytest_asyncio

from motia_runtime.naming import durable, state_subject
from motia_runtime.nats.connect import connect
from motia_runtime.nats.embedded import EmbeddedServer
from motia_runtime.nats.link import Link
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.reconcile import Difference, ReconcileFailed, durables, plan, reconcile
from motia_spec.model import CronStep, EventStep, Handler, Nats, Project, StateGroup, Subscription


def project(prefix: str, *, steps: tuple[str, ...] = (), history: int = 1, **nats_options: Any) -> Project:
    return Project(
        root=Path("/"),
        files=(),
        name="test",
        state={"orders": StateGroup(name="orders", history=history)},
        steps={
            name: EventStep(
                name=name, handler=Handler(path="steps/x.py"), subscribes=(Subscription(kind="topic", name="a"),)
            )
            for name in steps
        },
        nats=Nats(prefix=prefix, **nats_options),
    )


@pytest_asyncio.fixture
async def link(nats_server: EmbeddedServer) -> AsyncIterator[Link]:
    link = await connect(nats_server.settings, name="test")
    yield link
    await link.close()


async def config(link: Link, stream: str) -> dict[str, Any]:
    _, _, data = await link.request(f"$JS.API.STREAM.INFO.{stream}")
    found: dict[str, Any] = msgspec.json.decode(data)["config"]
    return found


async def consumers(link: Link, stream: str) -> list[str]:
    _, _, data = await link.request(f"$JS.API.CONSUMER.NAMES.{stream}")
    return sorted(msgspec.json.decode(data)["consumers"] or [])


async def test_everything_is_made_once(link: Link, nats_server: EmbeddedServer) -> None:
    shop = project("r1")
    planned = await plan(link, shop, embedded=True)
    assert [str(difference) for difference in planned] == [
        "create stream r1_events",
        "create stream r1_tx",
        "create stream r1_in",
        "create stream r1_cron",
        "create stream KV_r1_state",
        "create stream KV_r1_rt",
        "create stream r1_dlq",
        "create stream r1_runs",
    ]
    assert await reconcile(link, shop, store=nats_server.store) == planned
    assert await plan(link, shop, embedded=True) == []
    assert await reconcile(link, shop, store=nats_server.store) == []
    events = await config(link, "r1_events")
    assert events["max_age"] == 7 * 86400 * 10**9
    assert events["retention"] == "limits"
    assert events["duplicate_window"] == 120 * 10**9
    assert events["allow_msg_schedules"]
    plans = await config(link, "r1_tx")
    assert (plans["max_msgs_per_subject"], plans["max_age"]) == (1, 7 * 86400 * 10**9)
    assert (plans["storage"], plans["compression"]) == ("file", "none")


async def test_what_changes_is_said_and_changed_in_place(link: Link) -> None:
    await reconcile(link, project("r2"))
    log = NatsLog(link, Nats(prefix="r2"))
    await log.append(state_subject("orders", "k"), b"kept")
    changed = project("r2", history=5, max_age=3600.0)
    assert [str(difference) for difference in await plan(link, changed)] == [
        "update stream r2_events: max_age 604800s -> 3600s",
        "update stream r2_tx: max_age 604800s -> 3600s",
        "update stream r2_in: max_age 604800s -> 3600s",
        "update stream KV_r2_state: max_msgs_per_subject 1 -> 5",
    ]
    await reconcile(link, changed)
    assert await plan(link, changed) == []
    assert (await config(link, "r2_events"))["max_age"] == 3600 * 10**9
    record = await log.last(state_subject("orders", "k"))
    assert record is not None
    assert record.data == b"kept"


async def test_what_a_person_added_stays(link: Link) -> None:
    await reconcile(link, project("r3"))
    found = await config(link, "r3_dlq")
    found |= {"description": "mine", "metadata": {**found["metadata"], "team": "a"}}
    await link.request("$JS.API.STREAM.UPDATE.r3_dlq", msgspec.json.encode(found))
    assert await plan(link, project("r3")) == []
    await reconcile(link, project("r3", max_age=60.0))
    found = await config(link, "r3_dlq")
    assert (found["description"], found["metadata"]["team"]) == ("mine", "a")


async def test_what_can_not_change_is_said_and_nothing_is_touched(link: Link) -> None:
    body = {"name": "r4_events", "subjects": ["r4.ev.>"], "storage": "memory"}
    await link.request("$JS.API.STREAM.CREATE.r4_events", msgspec.json.encode(body))
    planned = await plan(link, project("r4"))
    assert planned[0] == Difference("blocked", "stream r4_events", "storage memory -> file")
    with pytest.raises(ReconcileFailed, match=r"stream r4_events: storage memory -> file.*nats.prefix"):
        await reconcile(link, project("r4"))
    assert (await config(link, "r4_events"))["subjects"] == ["r4.ev.>"]
    _, _, data = await link.request("$JS.API.STREAM.INFO.r4_cron")
    assert b"stream not found" in data


async def test_a_refusal_of_the_server_is_passed_on(link: Link) -> None:
    with pytest.raises(ReconcileFailed, match=r"create stream r5_events: the server refuses: .*replicas"):
        await reconcile(link, project("r5", replicas=3))


async def test_consumers_of_steps_that_are_gone_are_removed_and_no_others(link: Link) -> None:
    await reconcile(link, project("r6", steps=("One", "Two.b")))
    log = NatsLog(link, Nats(prefix="r6"))
    for step in ("One", "Two.b"):
        await (await log.consume(durable(step), ["ev.a"], lambda delivery: delivery.ack(), credit=1)).stop()
    own = {"stream_name": "r6_events", "config": {"durable_name": "mine", "ack_policy": "explicit"}}
    await link.request("$JS.API.CONSUMER.CREATE.r6_events.mine", msgspec.json.encode(own))
    assert await plan(link, project("r6", steps=("One", "Two.b"))) == []
    assert [str(d) for d in await reconcile(link, project("r6", steps=("One",)))] == [
        "remove consumer Two_2Eb: no step of stream r6_events needs it"
    ]
    assert await consumers(link, "r6_events") == ["One", "mine"]


async def test_a_step_that_changes_its_kind_leaves_no_consumer_behind(link: Link) -> None:
    events = project("r8", steps=("One",))
    await reconcile(link, events)
    log = NatsLog(link, Nats(prefix="r8"))
    await (await log.consume(durable("One"), ["ev.a"], lambda delivery: delivery.ack(), credit=1)).stop()
    cron = msgspec.structs.replace(
        events, steps={"One": CronStep(name="One", handler=Handler(path="steps/x.py"), cron="@daily")}
    )
    both = durables(events) | durables(cron)
    assert await reconcile(link, cron, keep=both) == [], "while the old version still ends what it has begun"
    await (await log.consume(durable("One"), ["cron.One"], lambda delivery: delivery.ack(), credit=1)).stop()
    assert [str(d) for d in await reconcile(link, cron)] == [
        "remove consumer One: no step of stream r8_events needs it"
    ]
    assert await consumers(link, "r8_events") == []
    assert await consumers(link, "r8_cron") == ["One"]
    assert await plan(link, cron) == []


async def test_state_is_a_bucket_that_any_nats_client_can_use(link: Link, nats_server: EmbeddedServer) -> None:
    await reconcile(link, project("r7", history=3))
    log = NatsLog(link, Nats(prefix="r7"))
    client = await nats.connect(nats_server.url, token=nats_server.token)
    bucket = await client.jetstream().key_value("r7_state")
    seq = await log.append(state_subject("orders", "o.1"), b'{"id":1}')
    entry = await bucket.get("orders.o=2E1")
    assert (entry.value, entry.revision) == (b'{"id":1}', seq)
    await bucket.update("orders.o=2E1", b"2", last=seq)
    record = await log.last(state_subject("orders", "o.1"))
    assert record is not None
    assert record.data == b"2"
    await bucket.delete("orders.o=2E1")
    record = await log.last(state_subject("orders", "o.1"))
    assert record is not None
    assert record.headers == {"KV-Operation": "DEL"}
    await bucket.purge("orders.o=2E1")
    await client.close()
