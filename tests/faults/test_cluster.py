"""A three-node NATS cluster with three copies of everything, whose nodes are killed under load: what was accepted ends in the ledger once."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from motia_runtime.nats.connect import Settings, connect
from motia_runtime.nats.log import NatsLog
from motia_runtime.nats.reconcile import reconcile
from motia_runtime.ports import Conflict, Record
from motia_spec.model import Nats, Project
from support.cluster import Cluster, Node, running_cluster
from support.ledger import Orders, check_ledger, ledger_project, ordering
from support.process import AppProcess, running_app
from support.waiting import wait_for

EVENTS = "ledger_events"
FEW = 8.0  # seconds within which a client hears that nothing can be stored


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def app(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppProcess]:
    """One app for all tests here: it has to live through all of it."""
    folder = ledger_project(tmp_path_factory.mktemp("app"), replicas=3)
    with running_app(folder, env={"NATS_URL": cluster.url}) as app:
        yield app
        assert "Traceback" not in app.output


def follower(cluster: Cluster) -> Node:
    leaders = {cluster.meta_leader(), cluster.await_stream_leader(EVENTS)}
    return next(node for node in cluster.nodes if node not in leaders)


def stream_leader(cluster: Cluster) -> Node:
    return cluster.await_stream_leader(EVENTS)


def meta_leader(cluster: Cluster) -> Node:
    wait_for(lambda: cluster.meta_leader() is not None, "there is no meta leader")
    found = cluster.meta_leader()
    assert found is not None
    return found


def only_503(orders: Orders) -> None:
    """Nothing else is ever said to a client, and always when to come again."""
    assert {status for _, status, _ in orders.refused} <= {503}
    assert all(headers.get("retry-after") for _, _, headers in orders.refused)
    slowest = max((took for took, _, _ in orders.refused), default=0.0)
    assert slowest < FEW, f"a client waited {slowest:.1f} s for its refusal"


@pytest.mark.parametrize(
    "pick",
    [stream_leader, pytest.param(follower, marks=pytest.mark.long), pytest.param(meta_leader, marks=pytest.mark.long)],
)
def test_a_node_is_killed(cluster: Cluster, app: AppProcess, pick: Callable[[Cluster], Node]):
    cluster.wait_well()
    with ordering(lambda: [app.url]) as orders:
        orders.await_more(50, "before")
        node = pick(cluster)
        node.kill()
        orders.await_more(100, f"without {node.name}")
        node.start()
        cluster.wait_well()
        orders.await_more(50, "with all nodes again")
    only_503(orders)
    check_ledger(app.url, orders.accepted)


def test_two_of_three_are_killed(cluster: Cluster, app: AppProcess):
    """Nothing can be stored then, and every client hears so soon; afterwards all goes on."""
    cluster.wait_well()
    with ordering(lambda: [app.url]) as orders:
        orders.await_more(50, "before")
        two = cluster.nodes[:2]
        for node in two:
            node.kill()
        wait_for(lambda: orders.refused, "nobody was told that nothing can be stored", FEW)
        first = len(orders.refused)
        have = len(orders.accepted)
        wait_for(lambda: len(orders.refused) >= first + 8, "refusals did not come sooner once it was known", FEW)
        assert len(orders.accepted) == have, "something was accepted that one node of three holds"
        assert min(took for took, _, _ in orders.refused) < 2
        for node in two:
            node.start()
        cluster.wait_well()
        orders.await_more(100, "with all nodes again")
    only_503(orders)
    check_ledger(app.url, orders.accepted)


@pytest.mark.long
def test_all_are_restarted_one_by_one(cluster: Cluster, app: AppProcess):
    cluster.wait_well()
    with ordering(lambda: [app.url]) as orders:
        for node in cluster.nodes:
            orders.await_more(50, f"before {node.name}")
            node.stop()
            orders.await_more(20, f"without {node.name}")
            node.start()
            cluster.wait_well()
        orders.await_more(50, "afterwards")
    only_503(orders)
    check_ledger(app.url, orders.accepted)


@pytest.mark.long
def test_an_app_starts_with_one_node_down_and_says_what_is_wrong_with_two(
    cluster: Cluster, app: AppProcess, tmp_path: Path
):
    cluster.wait_well()
    folder = ledger_project(tmp_path, replicas=3)
    first, second, _ = cluster.nodes
    first.kill()
    try:
        with running_app(folder, env={"NATS_URL": cluster.url}) as other:
            assert other.stop(30) == 0
        second.kill()
        failing = AppProcess(folder, "start", (), {"NATS_URL": cluster.url})
        try:
            assert failing.process.wait(90) == 1
            failing.wait_for("error: ")
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it neither starts nor ends\n{failing.output}") from None
        finally:
            failing.stop()
            assert failing.process.stdout is not None
            failing.process.stdout.close()
        said = ("has no leader", "did not answer", "temporarily unavailable", "nobody to answer")
        assert any(words in failing.output for words in said), failing.output
    finally:
        for node in (first, second):
            if not node.runs:
                node.start()
        cluster.wait_well()


async def _followed(cluster: Cluster) -> None:
    cluster.wait_well()
    project = Project(root=Path("/"), files=(), name="live", nats=Nats(prefix="live", replicas=3))
    links = [await connect(Settings(url=node.url), name="test") for node in cluster.nodes]
    try:
        await reconcile(links[0], project)
        logs = [NatsLog(link, project.nats) for link in links]
        seen: list[list[Record | None]] = [[] for _ in logs]
        for log, records in zip(logs, seen, strict=True):
            log.feed.follow(records.append)
            await log.feed.position()
        refused = 0
        for _ in range(5):
            writes = [logs[n % 3].append(f"rt.s.g.i{n % 7}", b"%d" % n) for n in range(200)]
            late = [logs[n % 3].append("rt.s.g.i0", b"", expect=99_999) for n in range(9)]
            ends = await asyncio.gather(*writes, *late, return_exceptions=True)
            refused += sum(isinstance(end, Conflict) for end in ends)
        assert refused == 45
        async with asyncio.timeout(30):
            while any(len(records) < 1000 for records in seen):
                await asyncio.sleep(0.01)
        assert seen[0] == seen[1] == seen[2], "each node tells the same, with the same times, and none is missing"
        told = [record for record in seen[0] if record is not None]
        assert len(told) == 1000
        assert all(a.seq < b.seq and a.time <= b.time for a, b in pairwise(told))
        for n in range(100):
            await logs[n % 3].append("rt.s.late.a", b"%d" % n)
            snapshot = await logs[(n + 1) % 3].feed.snapshot("rt.s.late.*")
            assert [record.data for record in snapshot.records] == [b"%d" % n], "a server that lags behind has answered"
    finally:
        for link in links:
            await link.close()


def test_items_are_followed_from_every_node(cluster: Cluster):
    asyncio.run(_followed(cluster))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_nodes_are_killed_at_random(cluster: Cluster, app: AppProcess, seed: int):
    """Ten times one or two nodes, wherever the leaders are, for a moment or for longer than an election."""
    chance = random.Random(seed)
    with ordering(lambda: [app.url], clients=8) as orders:
        for turn in range(10):
            cluster.wait_well(60)
            orders.await_more(100, f"turn {turn}")
            victims = chance.sample(cluster.nodes, chance.choice([1, 1, 2]))
            for node in victims:
                node.kill()
            time.sleep(chance.uniform(0, 12))  # how long the fault lasts
            for node in victims:
                node.start()
        cluster.wait_well(60)
        orders.await_more(100, "afterwards")
    only_503(orders)
    check_ledger(app.url, orders.accepted, 120)
