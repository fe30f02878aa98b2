"""Listening sockets: which addresses a host means, a free port, and who holds one that is taken."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

TRIES = 100  # ports tried upwards before any free one is taken
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class PortTaken(OSError):
    """Another program listens on the port. Stop it, or choose another port."""

    def __init__(self, host: str, port: int, holder: str) -> None:
        by = f" by {holder}" if holder else ""
        super().__init__(
            errno.EADDRINUSE, f"port {port} on {host} is already in use{by}; stop it, or choose another with --port"
        )
        self.port = port
        self.holder = holder


class CannotListen(OSError):
    """The address can't be listened on: it is not one of this machine, or the port needs more rights."""


def listen(host: str, port: int, *, find_free: bool, share: bool = False) -> list[socket.socket]:
    """Sockets on `port` (0: any free one) of every address that `host` means; loopback names mean IPv4 and IPv6.

    `find_free`: when the port is taken, the next free one. `share`: other processes of this user may share the port, and the kernel spreads
    connections over those that listen; the sockets are bound and don't listen yet. Raises `PortTaken`, `CannotListen`.
    """
    candidates = [port]
    if find_free and port:
        candidates += range(port + 1, min(port + TRIES, 65536))
        candidates.append(0)
    taken: OSError | None = None
    for candidate in candidates:
        try:
            return _bind_all(host, candidate, share)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise CannotListen(
                    error.errno, f"cannot listen on {host}:{candidate}: {error.strerror or error}"
                ) from error
            taken = taken or error
    raise PortTaken(host, port, holder_of(port)) from taken


def reserve(host: str, port: int) -> list[socket.socket]:
    """As `listen` with `share`, for who takes no connections and keeps the port for processes that will. Raises `PortTaken` also when others
    share the port already: they are another app, or this one, started twice."""
    alone = listen(host, port, find_free=False)
    chosen: int = alone[0].getsockname()[1]
    for sock in alone:
        sock.close()
    return listen(host, chosen, find_free=False, share=True)


def shown_url(host: str, port: int) -> str:
    """Where a server that listens on `host` is asked from this machine."""
    host = {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}.get(host, host)  # noqa: S104  # names, not bound to
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _bind_all(host: str, port: int, share: bool) -> list[socket.socket]:
    if host in LOOPBACK_NAMES:
        for _ in range(10 if port == 0 else 1):
            first = _bind(socket.AF_INET, "127.0.0.1", port, share)
            try:
                second = _bind(socket.AF_INET6, "::1", first.getsockname()[1], share)
            except OSError as error:
                # Without IPv6 there is nothing to listen on; a port taken there only would answer some of our clients.
                if error.errno != errno.EADDRINUSE:
                    return [first]
                first.close()
            else:
                return [first, second]
        raise OSError(errno.EADDRINUSE, f"port {port} is in use on ::1")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(errno.EADDRNOTAVAIL, f"{host!r} is not an address of this machine ({error.strerror})") from error
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(_bind(family, str(address[0]), chosen, share))
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(family: socket.AddressFamily, address: str, port: int, share: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere the option lets two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address, port))
        if not share:
            sock.listen(2048)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def holder_of(port: int) -> str:
    """Who listens on a port, as "process 4711 (python -m http.server)". Empty when this system or the rights we have do not tell."""
    inodes = {f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _listeners(Path("/proc/net") / table, port)}
    if not inodes:
        return ""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                command = " ".join(word for word in words if word)
                return f"process {process.name} ({command[:80]})"
        except OSError:
            continue  # it ended, or it is not ours to look at
    return ""


def _listeners(table: Path, port: int) -> list[str]:
    """Inodes of the sockets that listen on the port (proc_pid_net(5): local address, state 0A, inode)."""
    try:
        rows = table.read_text().splitlines()[1:]
    except OSError:
        return []
    fields = (row.split() for row in rows)
    return [f[9] for f in fields if f[3] == "0A" and int(f[1].rpartition(":")[2], 16) == port]
