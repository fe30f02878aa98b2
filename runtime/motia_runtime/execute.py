"""Calling users' functions: async ones in the loop, plain ones in threads, all of them within their timeout.

A plain function that runs past its timeout is interrupted in its thread; an async one that never awaits would stop the whole loop, so a watchdog
thread interrupts it there. Both work for Python code; a call into C that does not return can't be interrupted, and costs its thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar, NoReturn, Protocol

import msgspec

from motia_runtime.bind import Bound
from motia_runtime.context import Context, SyncContext

THREADS = 64  # plain functions that run at once in a process
PULSE = 0.25  # seconds between signs of life of the loop
PRECISE = 5.0  # seconds; a longer timeout may be late by PULSE
NEVER = float("inf")


class HandlerTimeout(TimeoutError):
    """The handler ran longer than its step's `timeout`. Raise the timeout in the spec, or make the handler faster."""


class HandlerExited(RuntimeError):
    """The handler called `sys.exit`, or raised what ends a program or a task. Return or raise an `Exception` instead: the process belongs to all steps."""


class Watched(Protocol):
    """Who has a user's function at work in a task: an attempt of a run, or a `Watch`."""

    task: asyncio.Task[Any] | None
    deadline: float  # by `time.perf_counter()`; NEVER: none is at work
    timeout: float  # seconds
    expired: bool  # its task was cancelled at the deadline


class Watch(msgspec.Struct, eq=False):
    """One call."""

    task: asyncio.Task[Any] | None
    deadline: float = NEVER
    timeout: float = 0.0
    expired: bool = False


class Executor:
    """Lives as long as the engine. Create it in the loop it serves."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="motia-step")
        self.watchdog = Watchdog.of(asyncio.get_running_loop())
        # attempts, from before their handler's call to the end of their commit, in the order in which they began
        self.under_way: dict[Any, None] = {}
        self.watchdog.follow(self.under_way)

    async def run(self, bound: Bound, args: tuple[Any, ...], ctx: Context, timeout: float) -> Any:
        """The function's result. Raises what it raises, or `HandlerTimeout`."""
        if not bound.is_async:
            if bound.elsewhere is not None:
                return await bound.elsewhere(args, ctx, timeout)
            return await self.run_in_thread(bound.function, args, ctx, timeout)
        watch = self.watchdog.begin(timeout)
        try:
            return await bound.function(*args, ctx)
        except BaseException as problem:
            self.watchdog.explain(problem, watch)
        finally:
            self.watchdog.end(watch)

    async def run_in_thread(
        self, function: Callable[..., Any], args: tuple[Any, ...], ctx: Context, timeout: float
    ) -> Any:
        loop = asyncio.get_running_loop()
        return await self._in_thread(partial(function, *args, SyncContext(ctx, loop)), timeout)

    async def ask(self, bound: Bound, args: tuple[Any, ...], timeout: float) -> Any:
        """As `run`, of a function that has no context."""
        if not bound.is_async:
            return await self._in_thread(partial(bound.function, *args), timeout)
        watch = self.watchdog.begin(timeout)
        try:
            return await bound.function(*args)
        except BaseException as problem:
            self.watchdog.explain(problem, watch)
        finally:
            self.watchdog.end(watch)

    async def _in_thread(self, function: Callable[[], Any], timeout: float) -> Any:
        loop = asyncio.get_running_loop()
        started: list[int] = []
        finished = threading.Event()

        def call() -> Any:
            started.append(threading.get_ident())
            try:
                return function()
            except StopIteration as problem:  # no future can hold one
                raise RuntimeError("the handler raised StopIteration") from problem
            except BaseException as problem:
                if isinstance(problem, Exception):
                    raise
                raise exited(problem) from problem
            finally:
                finished.set()

        def give_up() -> None:
            future.cancel()  # when it never started; otherwise its result, should it come, is ignored
            future.add_done_callback(lambda f: f.cancelled() or f.exception())
            if started and not finished.is_set():
                interrupt(started[0])

        future = loop.run_in_executor(self._threads, call)
        try:
            done, _ = await asyncio.wait((future,), timeout=timeout)
        except asyncio.CancelledError:  # the run was cancelled, or the engine stops
            give_up()
            raise
        if done:
            return future.result()
        give_up()
        raise HandlerTimeout(f"no result after {timeout:g} s")

    def close(self) -> None:
        self.watchdog.unfollow(self.under_way)
        self._threads.shutdown(wait=False, cancel_futures=True)


class Watchdog:
    """Cancels handlers that run past their timeout, and interrupts one that is past it and blocks the loop.

    A timer per run would cost more than a short handler; one look at all of them every `PULSE` costs nothing, and a timeout of less than
    `PRECISE` gets a timer of its own. There is one for each loop, whatever engines come and go in it; it lives until the loop is closed."""

    _all: ClassVar[dict[asyncio.AbstractEventLoop, Watchdog]] = {}

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Watchdog:
        """To be asked for in the loop's own thread."""
        watchdog = cls._all.get(loop)
        if watchdog is None:
            watchdog = cls._all[loop] = cls(loop)
        return watchdog

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._calls: dict[Watched, None] = {}
        self._followed: dict[int, dict[Any, None]] = {}
        self.follow(self._calls)
        self._beat = time.monotonic()
        loop.call_later(PULSE, self._sign_of_life)
        threading.Thread(target=self._watch, name="motia-watchdog", daemon=True).start()

    def follow(self, registry: dict[Any, None]) -> None:
        """Have an eye on all `Watched` in it, whoever comes and goes."""
        self._followed[id(registry)] = registry

    def unfollow(self, registry: dict[Any, None]) -> None:
        """Nobody new comes. Those that are in it are watched to their end."""
        if not registry:
            self._followed.pop(id(registry), None)

    def begin(self, timeout: float) -> Watch:
        """Watch the current task until `end`."""
        watch = Watch(asyncio.current_task(self._loop))
        self._calls[watch] = None
        self.watch(watch, timeout)
        return watch

    def end(self, watch: Watch) -> None:
        self.forget(watch)
        del self._calls[watch]

    def watch(self, watched: Watched, timeout: float) -> None:
        """A function is called in its task, which is the current one and in a registry, until `forget`."""
        watched.timeout = timeout
        deadline = watched.deadline = time.perf_counter() + timeout
        if timeout < PRECISE:
            self._loop.call_later(timeout, self._expire, watched, deadline)

    def forget(self, watched: Watched) -> None:
        watched.deadline = NEVER

    def explain(self, problem: BaseException, watched: Watched, timeout: float | None = None) -> NoReturn:
        """Raise what has come out of a handler, as what it means: all that is no `Exception` as one, unless it is somebody else's
        who cancels the task, or closes it when nobody drives it any more. `timeout` that is spoken of, when it is not the one it was watched for."""
        task = watched.task
        assert task is not None
        if isinstance(problem, asyncio.CancelledError):
            if watched.expired and task.uncancel() == 0:
                raise HandlerTimeout(f"no result after {watched.timeout if timeout is None else timeout:g} s") from None
            if not task.cancelling():  # it awaited something that was cancelled
                raise HandlerExited("the handler raised CancelledError, and nobody had cancelled it") from None
        elif not isinstance(problem, Exception) and asyncio.current_task(self._loop) is task:
            raise exited(problem) from problem
        raise problem

    def _sign_of_life(self) -> None:
        self._beat = time.monotonic()
        now = time.perf_counter()
        for watched in self._all_watched():
            if watched.deadline <= now:
                self._expire(watched, watched.deadline)
        self._loop.call_later(PULSE, self._sign_of_life)

    def _all_watched(self) -> list[Watched]:
        return [watched for registry in list(self._followed.values()) for watched in list(registry)]

    def _expire(self, watched: Watched, deadline: float) -> None:
        if watched.deadline == deadline and not watched.expired and watched.task is not None:
            watched.expired = True
            watched.task.cancel()

    def _watch(self) -> None:
        while not self._loop.is_closed():
            time.sleep(PULSE)
            if time.monotonic() - self._beat < 4 * PULSE:
                continue
            task = asyncio.current_task(self._loop)  # a plain dict lookup, also from here
            now = time.perf_counter()
            if task is not None and any(each.task is task and each.deadline <= now for each in self._all_watched()):
                self._beat = time.monotonic()  # one interrupt, then a new chance
                interrupt(self._loop_thread)
        self._all.pop(self._loop, None)


def exited(problem: BaseException) -> HandlerExited:
    """What is said of a handler that raised something which is no `Exception`. The class is the user's own, so its name is all we take from it."""
    if isinstance(problem, SystemExit):
        return HandlerExited(f"the handler called sys.exit({problem.code!r})")
    return HandlerExited(f"the handler raised {type(problem).__name__}, which is no Exception")


def interrupt(thread: int) -> None:
    """Have `HandlerTimeout` raised in a thread at its next step of Python code."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(HandlerTimeout))
