"""A NATS cluster on loopback: several real nats-server processes with JetStream, killed and started again one by one."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from motia_runtime.nats import binary
from support.waiting import wait_for

READY = 30.0  # seconds that a cluster may take to have a leader and to be up to date


class Node:
    """One server. Its ports and its store stay the same over restarts."""

    def __init__(self, name: str, folder: Path, ports: tuple[int, int, int]) -> None:
        self.name = name
        self.folder = folder
        self.client, self.route, self.monitor = ports
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.client}"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def write_config(self, cluster: str, routes: list[int]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        listed = ", ".join(f"nats://127.0.0.1:{port}" for port in routes)
        (self.folder / "server.conf").write_text(
            f"""
            server_name: {self.name}
            listen: "127.0.0.1:{self.client}"
            http: "127.0.0.1:{self.monitor}"
            log_file: {json.dumps(str(self.folder / "server.log"))}
            jetstream {{ store_dir: {json.dumps(str(self.folder / "store"))}, max_mem: 64MB, max_file: 1GB }}
            cluster {{ name: {cluster}, listen: "127.0.0.1:{self.route}", routes: [{listed}] }}
            """
        )

    def start(self) -> None:
        assert not self.runs
        out = (self.folder / "server.out").open("ab")
        with out:
            self.process = subprocess.Popen(
                [binary.find(), "-c", self.folder / "server.conf"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        """SIGTERM, as an operator would, and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)

    def ask(self, path: str) -> dict[str, Any]:
        """What the server says of itself; empty when it does not answer or is not well."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}/{path}", timeout=2) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, ValueError):
            return {}

    @property
    def well(self) -> bool:
        """Up to date with the cluster and with every stream and consumer that it has a copy of."""
        return self.runs and self.ask("healthz").get("status") == "ok"


class Cluster:
    """See the module. Made by `running_cluster`."""

    def __init__(self, folder: Path, size: int) -> None:
        ports = free_ports(3 * size)
        self.nodes = [
            Node(f"n{number + 1}", folder / f"n{number + 1}", (ports.pop(), ports.pop(), ports.pop()))
            for number in range(size)
        ]
        for node in self.nodes:
            node.write_config("tests", [other.route for other in self.nodes])

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            if not node.runs:
                node.start()
        self.wait_well()

    def wait_well(self, seconds: float = READY) -> None:
        """Until every node runs, a meta leader is known, and each is up to date."""
        wait_for(
            lambda: all(node.well for node in self.nodes) and self.meta_leader() is not None,
            f"the cluster is not well: {[node.ask('healthz') for node in self.nodes]}",
            seconds,
        )

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def meta_leader(self) -> Node | None:
        """Who assigns streams and consumers, as the nodes that run see it."""
        return self._leader(lambda node: node.ask("jsz").get("meta_cluster"))

    def stream_leader(self, stream: str) -> Node | None:
        """Who takes what is written to a stream."""

        def cluster_of(node: Node) -> Any:
            for account in node.ask("jsz?streams=true").get("account_details", ()):
                for detail in account.get("stream_detail", ()):
                    if detail["name"] == stream:
                        return detail.get("cluster")
            return None

        return self._leader(cluster_of)

    def _leader(self, look: Any) -> Node | None:
        for node in self.nodes:
            name = (look(node) or {}).get("leader") if node.runs else None
            if name and self.node(name).runs:
                return self.node(name)
        return None

    def await_stream_leader(self, stream: str) -> Node:
        wait_for(lambda: self.stream_leader(stream) is not None, f"{stream} has no leader", READY)
        leader = self.stream_leader(stream)
        assert leader is not None
        return leader


@contextmanager
def running_cluster(folder: Path, size: int = 3) -> Iterator[Cluster]:
    """A cluster that is ready; killed at the end of the block."""
    cluster = Cluster(folder, size)
    with ExitStack() as stack:
        for node in cluster.nodes:
            stack.callback(lambda node=node: node.kill() if node.runs else None)
        cluster.start()
        yield cluster


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, all different, and none of those that the system gives to whoever asks for any: one of
    these could be somebody else's by the time a node comes back."""
    found: list[int] = []
    for port in random.sample(range(10_240, 32_000), 2_000):
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"there are no {count} free ports")
