"""Streamed answers of api steps: the handler's generator driven, each piece sent before the next one is made.

So nothing piles up: a handler waits while its client reads too slowly, and is ended when the client goes away. It runs within the step's timeout,
which counts to the end of the answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing
from typing import Any

from motia_runtime.context import SyncContext
from motia_runtime.execute import Executor
from motia_runtime.runlog import in_words
from motia_runtime.runner import Answer, Gone, Recipient, Streamed
from motia_runtime.runs import Attempt

CLOSING = 5.0  # seconds that a generator may take to end when nobody wants its pieces any more

_log = logging.getLogger("motia.engine")


class Streaming:
    """The streamed answer of one request. Lives through all tries of its run; only one of them can send."""

    def __init__(self, step: str, executor: Executor, stream_to: Callable[[], Recipient], timeout: float) -> None:
        self._step = step
        self._executor = executor
        self._recipient = stream_to()
        self._timeout = timeout
        self._over = False
        task = asyncio.current_task()
        assert task is not None
        self.task = task  # that serves the request

    async def drive(self, streamed: Streamed, attempt: Attempt) -> Answer | None:
        """Send all pieces. The whole answer, when there is nothing to stream. Raises what the handler raises, `HandlerTimeout`, `Gone`, and
        what `Streamed.encode` raises."""
        task = self.task
        gone = False
        self._over = False

        def interrupt(_: object) -> None:
            nonlocal gone
            gone = True
            task.cancel()

        watcher = asyncio.create_task(self._recipient.until_gone())
        watcher.add_done_callback(interrupt)
        left = max(0.0, self._timeout - (time.perf_counter() - attempt.start))
        try:
            pieces = streamed.pieces
            if isinstance(pieces, AsyncGenerator):
                await self._pull(streamed, pieces, attempt, left)
            else:
                await self._pump(streamed, pieces, attempt, left)
        except asyncio.CancelledError:
            if gone and task.uncancel() == 0:
                raise Gone from None
            raise
        finally:
            self._over = True
            watcher.remove_done_callback(interrupt)
            watcher.cancel()
        return streamed.whole() if attempt.streamed is None else None

    async def close(self) -> None:
        """All is sent, and what the run has done is stored."""
        await self._recipient.close()

    async def _send(self, streamed: Streamed, piece: Any, attempt: Attempt) -> None:
        data = streamed.encode(piece)
        if self._over:
            raise Gone
        if data is None:
            return
        assert streamed.head is not None
        attempt.status = streamed.head.status
        attempt.streamed = (attempt.streamed or 0) + len(data)
        await self._recipient.send(streamed.head, data)

    async def _pull(self, streamed: Streamed, pieces: AsyncGenerator[Any, Any], attempt: Attempt, left: float) -> None:
        watchdog = self._executor.watchdog
        task = self.task
        watchdog.watch(attempt, left)
        try:
            async for piece in pieces:
                await self._send(streamed, piece, attempt)
                await asyncio.sleep(
                    0
                )  # it leaves before the next is made, and a handler that never waits lets others run
                if task.cancelling():  # the handler has caught it and goes on
                    raise asyncio.CancelledError
            if task.cancelling():
                raise asyncio.CancelledError
        except BaseException as problem:
            watchdog.explain(problem, attempt, self._timeout)
        finally:
            watchdog.forget(attempt)
            await self._close(pieces)

    async def _close(self, pieces: AsyncGenerator[Any, Any]) -> None:
        """Have an async generator run its `finally`, if it is not at its end."""
        try:
            async with asyncio.timeout(CLOSING):
                await pieces.aclose()
        except Exception as problem:
            _log.error("%s: the handler failed while it was ended: %s", self._step, in_words(problem), exc_info=problem)

    async def _pump(self, streamed: Streamed, pieces: Generator[Any, Any, Any], attempt: Attempt, left: float) -> None:
        """A plain generator runs in one thread from its first piece to its last."""

        def run(ctx: SyncContext) -> None:
            with closing(pieces):
                for piece in pieces:
                    ctx._call(self._send(streamed, piece, attempt))

        await self._executor.run_in_thread(run, (), attempt.ctx, left)
