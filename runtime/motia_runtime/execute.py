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
from typing import Any, ClassVar, NoReturn

from motia_runtime.bind import Bound
from motia_runtime.context import Context, SyncContext

THREADS = 64  # plain functions that run at once in a process
PULSE = 0.25  # seconds between signs of life of the loop
PRECISE = 5.0  # seconds; a longer timeout may be late by PULSE


class HandlerTimeout(TimeoutError):
    """The handler ran longer than its step's `timeout`. Raise the timeout in the spec, or make the handler faster."""


class HandlerExited(RuntimeError):
    """The handler called `sys.exit`, or raised what ends a program or a task. Return or raise an `Exception` instead: the process belongs to all steps."""


class Executor:
    """Lives as long as the engine. Create it in the loop it serves."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="motia-step")
        self.watchdog = Watchdog.of(asyncio.get_running_loop())

    async def run(self, bound: Bound, args: tuple[Any, ...], ctx: Context, timeout: float) -> Any:
        """The function's result. Raises what it raises, or `HandlerTimeout`."""
        if not bound.is_async:
            if bound.elsewhere is not None:
                return await bound.elsewhere(args, ctx, timeout)
            return await self.run_in_thread(bound.function, args, ctx, timeout)
        task = self.watchdog.watch(timeout)
        try:
            return await bound.function(*args, ctx)
        except BaseException as problem:
            self.watchdog.explain(problem, task, timeout)
        finally:
            self.watchdog.forget(task)

    async def run_in_thread(
        self, function: Callable[..., Any], args: tuple[Any, ...], ctx: Context, timeout: float
    ) -> Any:
        loop = asyncio.get_running_loop()
        return await self._in_thread(partial(function, *args, SyncContext(ctx, loop)), timeout)

    async def ask(self, bound: Bound, args: tuple[Any, ...], timeout: float) -> Any:
        """As `run`, of a function that has no context."""
        if not bound.is_async:
            return await self._in_thread(partial(bound.function, *args), timeout)
        task = self.watchdog.watch(timeout)
        try:
            return await bound.function(*args)
        except BaseException as problem:
            self.watchdog.explain(problem, task, timeout)
        finally:
            self.watchdog.forget(task)

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
        self._threads.shutdown(wait=False, cancel_futures=True)


class Watchdog:
    """Cancels handlers that run past their timeout, and interrupts one that blocks the loop for longer than its own.

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
        self._watched: dict[asyncio.Task[Any], tuple[float, float]] = {}  # deadline by the loop's clock, timeout
        self._expired: set[asyncio.Task[Any]] = set()
        self._beat = time.monotonic()
        loop.call_later(PULSE, self._sign_of_life)
        threading.Thread(target=self._watch, name="motia-watchdog", daemon=True).start()

    def watch(self, timeout: float, task: asyncio.Task[Any] | None = None) -> asyncio.Task[Any]:
        """Begin to watch the current task, which is returned, until `forget`."""
        loop = self._loop
        if task is None:
            task = asyncio.current_task(loop)
            assert task is not None
        watch = self._watched[task] = (loop.time() + timeout, timeout)
        if timeout < PRECISE:
            loop.call_at(watch[0], self._expire, task, watch)
        return task

    def explain(self, problem: BaseException, task: asyncio.Task[Any], timeout: float) -> NoReturn:
        """Raise what has come out of a handler, as what it means: all that is no `Exception` as one, unless it is somebody else's
        who cancels the task, or closes it when nobody drives it any more."""
        if isinstance(problem, asyncio.CancelledError):
            if task in self._expired and task.uncancel() == 0:
                raise HandlerTimeout(f"no result after {timeout:g} s") from None
            if not task.cancelling():  # it awaited something that was cancelled
                raise HandlerExited("the handler raised CancelledError, and nobody had cancelled it") from None
        elif not isinstance(problem, Exception) and asyncio.current_task(self._loop) is task:
            raise exited(problem) from problem
        raise problem

    def forget(self, task: asyncio.Task[Any]) -> None:
        del self._watched[task]
        if self._expired:
            self._expired.discard(task)

    def _sign_of_life(self) -> None:
        self._beat = time.monotonic()
        now = self._loop.time()
        for task, watch in list(self._watched.items()):
            if watch[0] <= now:
                self._expire(task, watch)
        self._loop.call_later(PULSE, self._sign_of_life)

    def _expire(self, task: asyncio.Task[Any], watch: tuple[float, float]) -> None:
        if task not in self._expired and self._watched.get(task) is watch:
            self._expired.add(task)
            task.cancel()

    def _watch(self) -> None:
        while not self._loop.is_closed():
            time.sleep(PULSE)
            blocked = time.monotonic() - self._beat
            if blocked < 4 * PULSE:
                continue
            task = asyncio.current_task(self._loop)  # a plain dict lookup, also from here
            watch = self._watched.get(task) if task is not None else None
            if watch is not None and blocked > watch[1]:
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
