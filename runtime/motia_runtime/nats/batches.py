"""Several appends to one stream that become true together: an atomic batch (ADR-50).

The server makes and syncs a staging folder per batch, 5 to 10 ms with one replica, one batch after the other whatever their size. So
commits that come while one is under way are stored as one batch (group commit). When that is refused, nothing of it is stored, and each
is tried by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from motia_runtime.nats.appends import (
    DUPLICATE_IN_BATCH,
    EXPECT,
    GIVEN,
    MARKER,
    MSG_ID,
    PAUSE,
    TRY_AGAIN,
    ask_last,
    ask_seen,
    decode_ack,
    decode_get,
    refused,
)
from motia_runtime.nats.link import BUSY, CLOSED, TIMEOUT, Answer, Link, explain, problem
from motia_runtime.ports import Conflict, LogUnavailable

LARGEST = 1000  # messages of a batch; the server takes no more
HEAVIEST = 4 << 20  # bytes of a batch made of several commits

Message: TypeAlias = tuple[str, bytes, dict[str, str]]  # subject in NATS, data, headers


class _Commit:
    """One caller's messages, and the future it waits for."""

    __slots__ = ("future", "messages", "size", "subjects")

    def __init__(self, messages: list[Message]) -> None:
        self.messages = messages
        self.subjects = {subject for subject, _, _ in messages}
        self.size = sum(len(data) for _, data, _ in messages)
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, error: BaseException | None = None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class Batches:
    """Commits batches to one stream over one connection. Every message has an id, so that a commit can be tried again safely."""

    def __init__(self, link: Link, stream: str) -> None:
        self._link = link
        self._stream = stream
        self._waiting: list[_Commit] = []
        self._worker: asyncio.Task[None] | None = None

    async def commit(self, messages: list[Message]) -> None:
        """Store all or none. Raises `Conflict`, `TooLarge`, `LogUnavailable`. Nothing happens when any of the ids is known already."""
        if len(messages) > LARGEST:
            raise ValueError(f"{len(messages):,} records can't be stored together: {LARGEST:,} at most")
        commit = _Commit(
            [(subject, data, {MSG_ID: GIVEN + secrets.token_hex(10), **head}) for subject, data, head in messages]
        )
        self._waiting.append(commit)
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
        await commit.future

    async def _work(self) -> None:
        try:
            while self._waiting:
                group = self._next_group()
                if len(group) == 1 or not await self._together(group):
                    await asyncio.gather(*map(self._alone, group))
        finally:
            self._worker = None

    def _next_group(self) -> list[_Commit]:
        """As many as fit in a batch, subjects distinct. A commit never overtakes an earlier one that writes the same subject."""
        group: list[_Commit] = []
        rest: list[_Commit] = []
        taken: set[str] = set()
        count = size = 0
        for commit in self._waiting:
            fits = not group or (count + len(commit.messages) <= LARGEST and size + commit.size <= HEAVIEST)
            if fits and taken.isdisjoint(commit.subjects):
                group.append(commit)
                count += len(commit.messages)
                size += commit.size
            else:
                rest.append(commit)
            taken |= commit.subjects
        self._waiting = rest
        return group

    async def _together(self, group: list[_Commit]) -> bool:
        """False when the batch was refused and each must be tried by itself."""
        try:
            if not await self._store([message for commit in group for message in commit.messages]):
                return False
        except LogUnavailable as error:
            for commit in group:
                commit.settle(error)
        except Exception:  # a conflict, or something wrong with one of them: each shall hear its own
            return False
        for commit in group:
            commit.settle()
        return True

    async def _alone(self, commit: _Commit) -> None:
        messages = commit.messages
        try:
            while True:
                try:
                    await self._store(messages)  # known already is as good as stored
                    break
                except Conflict as conflict:
                    changed = await self._whose(messages, conflict)
                    if changed is None:
                        break
                    messages = changed
            commit.settle()
        except Exception as error:
            commit.settle(error)

    async def _store(self, messages: list[Message]) -> bool:
        """True: stored. False: one of the ids is known, nothing was stored. Outcomes that are unknown or may change are tried again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._link.patience(self._stream)
        while True:
            status, data = await self._try(messages, min(TIMEOUT, max(deadline - loop.time(), PAUSE)))
            if status in (BUSY, CLOSED):
                raise problem(status)
            why = explain(status)
            if status == 0:
                ack = decode_ack(data)
                if ack.error is None:
                    self._link.spoke(self._stream)
                    return True
                if ack.error.err_code == DUPLICATE_IN_BATCH:
                    return False
                why = ack.error.description
                refusal = refused(ack.error)
                if refusal is not None:
                    raise refusal
            if loop.time() + 2 * PAUSE > deadline:
                if self._link.up:
                    self._link.fell_mute(self._stream)
                raise LogUnavailable(why)
            await asyncio.sleep(PAUSE)

    async def _try(self, messages: list[Message], timeout: float) -> tuple[int, bytes]:
        batch = secrets.token_hex(10)
        for number, (subject, data, head) in enumerate(messages[:-1], start=1):
            self._link.publish(subject, data, {**head, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)})
        subject, data, head = messages[-1]
        last = {**head, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(len(messages)), "Nats-Batch-Commit": "1"}
        return await self._answer(lambda answer: self._link.ask(subject, data, answer, head=last, timeout=timeout))

    async def _whose(self, messages: list[Message], conflict: Exception) -> list[Message] | None:
        """After a conflict: None when the batch is there already, the messages as they must be when the mark of an expired record was in
        the way. All of a batch is there or nothing, so its first id tells."""
        subject, _, head = messages[0]
        status, data = await self._answer(partial(ask_seen, self._link, subject, head[MSG_ID]))
        if status:
            raise problem(status)
        refusal = decode_ack(data).error
        if refusal is None:
            return None
        if refusal.err_code in TRY_AGAIN:
            raise LogUnavailable(refusal.description)
        changed: list[Message] = []
        for subject, data, head in messages:
            if head.get(EXPECT) == "0":
                status, found = await self._answer(partial(ask_last, self._link, self._stream, subject))
                if status:
                    raise problem(status)
                there = decode_get(found).message
                if there is not None and MARKER in there.head:
                    head = {**head, EXPECT: str(there.seq)}
            changed.append((subject, data, head))
        if changed == messages:
            raise conflict
        return changed

    async def _answer(self, ask: Callable[[Answer], None]) -> tuple[int, bytes]:
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()

        def answer(status: int, _head: dict[str, str], data: bytes) -> None:
            if not future.done():
                future.set_result((status, data))

        ask(answer)
        return await future
