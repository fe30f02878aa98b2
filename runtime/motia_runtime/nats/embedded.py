"""The private nats-server of an app: a child on loopback, its data under `.motia/nats`, gone when we are gone.

lock        held by us and by the child as long as either lives: NATS itself would let two servers share a store
server.conf written at every start
run.json    url, token and pid, readable by the owner only: other commands of the same project find the server by it
server.pid  its process
server.log  what the server has to say
store/      JetStream's data
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from motia_runtime.nats import binary
from motia_runtime.nats.connect import Settings
from motia_runtime.nats.damage import left_out
from motia_runtime.nats.link import LOG
from motia_runtime.nats.stuck import read, size_of, stuck

if sys.platform != "win32":
    import fcntl

READY = 10.0  # seconds a start may take
STOP = 5.0  # seconds a stop may take before the server is killed
RESTART = (0.05, 2.0)  # seconds before a restart after a crash, first and longest
POLL = 0.005  # seconds between looks for the ports file
SPARE = 256 << 20  # bytes of disk never used: a full disk hangs publishers, a full store answers at once

SYNC = {"strict": "always", "balanced": '"100ms"', "fast": '"2m"'}

# Where the kernel can't tell a child that its parent died: a shell that reads a pipe which we hold and never write to.
WATCHDOG = '"$@" & p=$!; trap "kill $p" TERM INT; read _; kill $p; wait $p'


class StoreBusy(RuntimeError):
    """Another process runs a server on this store. Stop it, or use it: `motia` commands find it by themselves."""


class StartFailed(RuntimeError):
    """nats-server did not start. Its own words are in the message; `.motia/nats/server.log` has more."""


class Running(msgspec.Struct, frozen=True):
    """A server that answers."""

    url: str
    token: str
    pid: int  # of the process that started it

    @property
    def settings(self) -> Settings:
        return Settings(url=self.url, token=self.token)

    def __repr__(self) -> str:
        return f"Running({self.url}, pid={self.pid})"


def folder(root: Path) -> Path:
    """Where the server of the project at `root` keeps everything."""
    return root / ".motia" / "nats"


def find_running(root: Path) -> Running | None:
    """The server that another process started for this project, if that process lives and the server answers."""
    try:
        running = msgspec.json.decode((folder(root) / "run.json").read_bytes(), type=Running)
        if not _alive(str(running.pid)):  # its server is about to end: it greets who connects, and answers nothing
            return None
        with socket.create_connection(_address(running.url), timeout=1.0) as connection:
            return running if connection.recv(5) == b"INFO " else None
    except (OSError, ValueError, msgspec.DecodeError):
        return None


class EmbeddedServer:
    """See the module. Restarted with its data, on the same port, whenever it ends before `stop`, and when its disk was full and has room again."""

    def __init__(self, root: Path, *, port: int, durability: Literal["strict", "balanced", "fast"]) -> None:
        self.folder = folder(root)
        self.store = self.folder / "store"
        self.url = ""
        self.token = secrets.token_urlsafe(24)
        self.pid = 0  # of nats-server, or of its watchdog
        self._port = port
        self._durability = durability
        self._lock = -1
        self._pipe = -1
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._logged = 0  # bytes of its log that are of earlier starts

    @classmethod
    async def start(
        cls, root: Path, *, port: int = 0, durability: Literal["strict", "balanced", "fast"] = "balanced"
    ) -> EmbeddedServer:
        """Start and wait until it answers; `port` 0 is any. Raises `StoreBusy`, `StartFailed` or `binary.NoServer`."""
        server = cls(root, port=port, durability=durability)
        server.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        await server._take_lock()
        try:
            await server._launch()
        except BaseException:
            await server._kill()
            server._release()
            raise
        server._watcher = asyncio.get_running_loop().create_task(server._watch())
        return server

    @property
    def settings(self) -> Settings:
        return Settings(url=self.url, token=self.token)

    async def stop(self) -> None:
        """End the server; its data stays. Twice is harmless."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        await self._kill()
        with contextlib.suppress(OSError):
            (self.folder / "run.json").unlink()
        self._release()

    # -- one server per store --

    async def _take_lock(self) -> None:
        path = self.folder / "lock"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if sys.platform == "win32":
            return
        orphaned = time.monotonic()
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
                # A killed owner's server holds the lock until it has ended, which takes milliseconds, or for ever when
                # somebody connects to it in that time.
                waited = time.monotonic() - orphaned
                if waited > STOP / 2 and not _alive(holder):
                    self._kill_orphan()
                if _alive(holder) or waited > STOP:
                    os.close(self._lock)
                    self._lock = -1
                    raise StoreBusy(
                        f"process {holder or 'unknown'} runs a nats-server on {self.store}: stop it first, "
                        "or set NATS_URL to share a server"
                    ) from None
                await asyncio.sleep(POLL)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, str(os.getpid()).encode(), 0)

    def _kill_orphan(self) -> None:
        """End the server whose owner died, where we can be sure that it is the one."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.folder / "server.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes() if sys.platform == "linux" else b""
            if os.fsencode(self.folder / "server.conf") in command.split(b"\0"):
                LOG.warning("nats-server %d outlived its app: killing it", pid)
                os.kill(pid, signal.SIGKILL)

    def _release(self) -> None:
        for fd in (self._pipe, self._lock):
            if fd >= 0:
                os.close(fd)
        self._pipe = self._lock = -1

    # -- one start --

    async def _launch(self) -> None:
        executable = await asyncio.to_thread(binary.find)
        self.store.mkdir(exist_ok=True, mode=0o700)
        for stale in self.folder.glob("*.ports"):
            stale.unlink()
        conf = self.folder / "server.conf"
        _write_private(conf, self._config())
        command = [str(executable), "-c", str(conf)]
        environ = {**os.environ, "ZONEINFO": str(resources.files("tzdata") / "zoneinfo")}
        self._logged = size_of(self.folder / "server.log")
        log = os.open(self.folder / "server.out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self._process = await self._spawn(command, environ, log)
        finally:
            os.close(log)
        self.pid = self._process.pid
        self.url = await self._ready()
        if damaged := left_out(read(self.folder / "server.log", self._logged)):
            raise StartFailed(
                f"the data in {self.store} is damaged, and nothing goes on before it is mended, or the app would begin anew in its place: "
                f"restore the folder from a backup, or move it away to begin with nothing. nats-server says: {'; '.join(damaged[:3])}"
            )
        self._port = _address(self.url)[1]
        _write_private(
            self.folder / "run.json", msgspec.json.encode(Running(self.url, self.token, os.getpid())).decode()
        )

    async def _spawn(self, command: list[str], environ: dict[str, str], log: int) -> asyncio.subprocess.Process:
        spawn = asyncio.create_subprocess_exec
        if sys.platform == "win32":
            return await spawn(*command, env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log)
        # A session of its own, so that ^C reaches us alone and we can finish what is under way before the server goes.
        if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
            return await spawn(
                *command,
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._lock,),
                preexec_fn=_DieWithParent(),
            )
        if self._pipe >= 0:
            os.close(self._pipe)
        reader, self._pipe = os.pipe()
        try:
            return await spawn(
                "/bin/sh",
                "-c",
                WATCHDOG,
                "motia-nats",
                *command,
                env=environ,
                stdin=reader,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(self._lock,),
            )
        finally:
            os.close(reader)

    def _config(self) -> str:
        free = shutil.disk_usage(self.store).free
        used = sum(f.stat().st_size for f in self.store.rglob("*") if f.is_file())
        room = used + max(free - max(SPARE, free // 20), free // 2)
        return "\n".join(
            [
                "server_name: motia-embedded",
                f'listen: "127.0.0.1:{self._port or -1}"',
                f"ports_file_dir: {_quoted(self.folder)}",
                f"authorization {{ token: {json.dumps(self.token)} }}",
                f"pid_file: {_quoted(self.folder / 'server.pid')}",
                f"log_file: {_quoted(self.folder / 'server.log')}",
                "logfile_size_limit: 4MB",
                "logfile_max_num: 2",
                "lame_duck_duration: 30s",
                'ping_interval: "10s"',  # who stands still is cut off before anything of its plans goes (`sweep.HELD`)
                "ping_max: 2",
                "jetstream {",
                f"  store_dir: {_quoted(self.store)}",
                f"  sync_interval: {SYNC[self._durability]}",
                f"  max_file: {room}",
                "  max_mem: 67108864",
                "}",
                "",
            ]
        )

    async def _ready(self) -> str:
        assert self._process is not None
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            if self._process.returncode is not None:
                break
            for ports in self.folder.glob("*.ports"):
                with contextlib.suppress(OSError, ValueError, KeyError, IndexError):  # half written
                    return str(json.loads(ports.read_text())["nats"][0])
            await asyncio.sleep(POLL)
        raise StartFailed(f"nats-server did not start: {self._last_words()}")

    def _last_words(self) -> str:
        lines: list[str] = []
        for name in ("server.out", "server.log"):
            with contextlib.suppress(OSError):
                lines += (self.folder / name).read_text(errors="replace").splitlines()[-5:]
        grave = [line.partition("] ")[2] for line in lines if "[FTL]" in line or "[ERR]" in line]
        return " | ".join(grave[-1:] or lines) or f"it said nothing within {READY:g} s"

    # -- while it runs --

    async def _watch(self) -> None:
        first, longest = RESTART
        wait = first
        while True:
            assert self._process is not None
            began = time.monotonic()
            mending = asyncio.create_task(self._mend())
            try:
                code = await self._process.wait()
            finally:
                mending.cancel()
                await asyncio.wait([mending])
            wait = first if time.monotonic() - began > 10 else min(wait * 2, longest)
            LOG.warning("nats-server ended with code %s, starting it again", code)
            await asyncio.sleep(wait)
            try:
                await self._launch()
            except (StartFailed, binary.NoServer, OSError) as error:
                LOG.error("%s", error)

    async def _mend(self) -> None:
        """End it when its store is stuck, so that it is started again."""
        await stuck(self.folder / "server.log", self.store, self._logged)
        LOG.warning(
            "the disk of %s was full and has room again: ending nats-server, which takes nothing before", self.store
        )
        await self._kill()

    async def _kill(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class _DieWithParent:
    """Run in the child before exec: have the kernel end it with SIGTERM when its parent dies. prctl(2), PR_SET_PDEATHSIG = 1."""

    def __init__(self) -> None:
        import ctypes

        self._prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork
        self._parent = os.getpid()

    def __call__(self) -> None:
        self._prctl(1, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != self._parent:  # died in between
            os._exit(1)


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("nats://").rpartition(":")
    return host, int(port)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _quoted(path: Path) -> str:
    return json.dumps(str(path.absolute()))


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    os.replace(temporary, path)
