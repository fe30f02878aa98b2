"""Dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from motia_runtime.cli.reach.broker import Broker
from motia_runtime.cli.reach.http import Gone, Http, NotThere
from motia_runtime.cli.reach.way import Way
from motia_runtime.deadletters import DeadLetter, DeadLetters, Story, Wanted

PAGE = 500  # letters asked for, or sent, at a time

T = TypeVar("T")


class Dead(Protocol):
    async def find(self, wanted: Wanted, limit: int | None) -> Sequence[DeadLetter]:
        """Newest first; all, without a limit."""
        ...

    async def get(self, id: int) -> DeadLetter | None: ...

    async def is_redriven(self, id: int) -> bool:
        """For one that is not there."""
        ...

    async def redrive(self, letters: Sequence[DeadLetter]) -> tuple[int, Sequence[str]]:
        """In that order. How many were, and what was wrong with others."""
        ...

    async def purge(self, letters: Sequence[DeadLetter]) -> int: ...


def dead_of(way: Way) -> Dead:
    return HttpDead(way) if isinstance(way, Http) else BrokerDead(way)


class BrokerDead:
    def __init__(self, way: Broker) -> None:
        self._dead = DeadLetters(way.log)

    async def find(self, wanted: Wanted, limit: int | None) -> Sequence[DeadLetter]:
        return await (self._dead.every(wanted) if limit is None else self._dead.list(wanted=wanted, limit=limit))

    async def get(self, id: int) -> DeadLetter | None:
        return await self._dead.get(id)

    async def is_redriven(self, id: int) -> bool:
        return await self._dead.is_redriven(id)

    async def redrive(self, letters: Sequence[DeadLetter]) -> tuple[int, Sequence[str]]:
        done, failed = 0, []
        for letter in letters:
            try:
                done += await self._dead.redrive(letter)
            except LookupError as error:
                failed.append(str(error))
        return done, failed

    async def purge(self, letters: Sequence[DeadLetter]) -> int:
        return sum([await self._dead.purge(letter) for letter in letters])


class _Letter(Story, kw_only=True, frozen=True):
    """As the API shows it."""

    id: int
    data: msgspec.Raw = msgspec.Raw()
    data_base64: bytes = b""

    def letter(self) -> DeadLetter:
        story = Story(**{name: getattr(self, name) for name in Story.__struct_fields__})
        return DeadLetter(id=self.id, story=story, data=bytes(self.data) or self.data_base64)


class _Letters(msgspec.Struct):
    letters: list[_Letter]
    next: int | None


class _Failed(msgspec.Struct):
    problem: str


class _Redriven(msgspec.Struct):
    redriven: int
    failed: list[_Failed]


class _Purged(msgspec.Struct):
    purged: int


class HttpDead:
    def __init__(self, way: Http) -> None:
        self._way = way

    async def find(self, wanted: Wanted, limit: int | None) -> Sequence[DeadLetter]:
        query: dict[str, Any] = msgspec.structs.asdict(wanted)
        found: list[DeadLetter] = []
        before: int | None = None
        while limit is None or len(found) < limit:
            count = PAGE if limit is None else min(PAGE, limit - len(found))
            page = await self._way.get(_Letters, "dead", **query, limit=count, before=before)
            found += [each.letter() for each in page.letters]
            before = page.next
            if before is None:
                break
        return found

    async def get(self, id: int) -> DeadLetter | None:
        try:
            return (await self._way.get(_Letter, "dead", id)).letter()
        except NotThere:
            return None

    async def is_redriven(self, id: int) -> bool:
        try:
            await self._way.get(_Letter, "dead", id)
        except Gone:
            return True
        except NotThere:
            pass
        return False

    async def redrive(self, letters: Sequence[DeadLetter]) -> tuple[int, Sequence[str]]:
        answers = await self._send(_Redriven, "redrive", [letter.id for letter in letters])
        failed = [each.problem for answer in answers for each in answer.failed]
        return sum(answer.redriven for answer in answers), failed

    async def purge(self, letters: Sequence[DeadLetter]) -> int:
        return sum(answer.purged for answer in await self._send(_Purged, "purge", [letter.id for letter in letters]))

    async def _send(self, kind: type[T], what: str, ids: list[int]) -> list[T]:
        answers: list[T] = []
        for start in range(0, len(ids), PAGE):
            part = ids[start : start + PAGE]
            try:
                answers.append(await self._way.send(kind, "POST", "dead", what, body={"ids": part}))
            except NotThere:  # somebody else was faster with one of them
                if len(part) > 1:
                    answers += [answer for one in part for answer in await self._send(kind, what, [one])]
        return answers
