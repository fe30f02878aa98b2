"""Several appends to one stream that become true together: an atomic batch (ADR-50).

The server makes a staging folder per batch, about 5 ms with one replica on a file system; a batch of one is a plain append.
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
    MARKER,
    MSG_ID,
    PATIENCE,
    PAUSE,
    ask_last,
    ask_seen,
    decode_ack,
    decode_get,
    refused,
)
from motia_runtime.nats.link import BUSY, CLOSED, Answer, Link, explain, problem
from motia_runtime.ports import Conflict, LogUnavailable

LARGEST = 1000  # messages
AT_ONCE = 40  # batches under way; the server takes 50 on a stream

Message: TypeAlias = tuple[str, bytes, dict[str, str]]  # subject in NATS, data, headers


class Batches:
    """Commits batches of one connection. Every message has an id, so that a commit can be tried again safely."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._places = asyncio.Semaphore(AT_ONCE)

    async def commit(self, stream: str, messages: list[Message]) -> None:
        """Store all or none. Raises `Conflict`, `TooLarge`, `LogUnavailable`. Nothing happens when any of the ids is known already."""
        if len(messages) > LARGEST:
            raise ValueError(f"{len(messages):,} records can't be stored together: {LARGEST:,} at most")
        messages = [(subject, data, {MSG_ID: secrets.token_hex(10), **head}) for subject, data, head in messages]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        async with self._places:
            while True:
                status, data = await self._try(messages)
                if status in (BUSY, CLOSED):
                    raise problem(status)
                why = explain(status)
                if status == 0:
                    ack = decode_ack(data)
                    if ack.error is None or ack.error.err_code == DUPLICATE_IN_BATCH:
                        return
                    why = ack.error.description
                    refusal = refused(ack.error)
                    if isinstance(refusal, Conflict):
                        changed = await self._whose(stream, messages, refusal)
                        if changed is None:
                            return
                        messages = changed
                        continue
                    if refusal is not None:
                        raise refusal
                if loop.time() + PAUSE > deadline:
                    raise LogUnavailable(why)
                await asyncio.sleep(PAUSE)

    async def _try(self, messages: list[Message]) -> tuple[int, bytes]:
        batch = secrets.token_hex(10)
        for number, (subject, data, head) in enumerate(messages[:-1], start=1):
            self._link.publish(subject, data, {**head, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)})
        subject, data, head = messages[-1]
        last = {**head, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(len(messages)), "Nats-Batch-Commit": "1"}
        return await self._answer(lambda answer: self._link.ask(subject, data, answer, head=last))

    async def _whose(self, stream: str, messages: list[Message], conflict: Exception) -> list[Message] | None:
        """After a conflict: None when the batch is there already, the messages as they must be when the mark of an expired record was in
        the way. All of a batch is there or nothing, so its first id tells."""
        subject, _, head = messages[0]
        status, data = await self._answer(partial(ask_seen, self._link, subject, head[MSG_ID]))
        if status:
            raise problem(status)
        if decode_ack(data).error is None:
            return None
        changed: list[Message] = []
        for subject, data, head in messages:
            if head.get(EXPECT) == "0":
                status, found = await self._answer(partial(ask_last, self._link, stream, subject))
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
