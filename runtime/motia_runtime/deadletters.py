"""Dead letters: events whose last attempt failed. Kept 30 days with error, attempts and trace; redriven or purged by people.

A letter is the event's own data as record, its story in the header `Motia-Dead` (JSON of `Story`). It is committed as the effects of a run are
(`commit`), before the event is ended, so a crash in between leaves one letter, not two or none."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import msgspec

from motia_runtime.naming import dead_subject, in_subject, retry_subject
from motia_runtime.plans import Emitted
from motia_runtime.ports import Log, Record
from motia_runtime.records import ErrorInfo
from motia_runtime.trace import format_parent

STORY = "Motia-Dead"
MESSAGE_LENGTH = 2_000  # characters kept of an error's message
STACK_LENGTH = 6_000  # characters kept of an error's stack

_log = logging.getLogger("motia.deadletters")


class Story(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    step: str  # empty: it came from outside and was not taken in
    topic: str
    event_id: str
    attempts: int
    failed_at: float  # seconds since the epoch
    error: ErrorInfo
    trace_id: str
    span_id: str  # of the last attempt; a redriven run hangs below it
    redrives: int = 0  # how often it has been redriven before
    flushed: int = 0  # early commits (`ctx.flush`) that its attempts have made
    data_left_out: bool = False  # event and story together were too large; the event is record `event_id` of the events


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One letter, as listed. `id` is what redrive and purge take."""

    id: int
    story: Story
    data: bytes

    def plain(self) -> dict[str, Any]:
        """As JSON: the story's fields, and `data` (JSON) or `data_base64` (anything else)."""
        fields: dict[str, Any] = {"id": self.id, **msgspec.to_builtins(self.story)}
        try:
            fields["data"] = msgspec.json.decode(self.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fields["data_base64"] = base64.b64encode(self.data).decode()
        return fields


def letter_of(story: Story, data: bytes) -> Emitted:
    """A letter as the effect of a run that has failed for good."""
    error = story.error
    short = ErrorInfo(error.type, error.message[:MESSAGE_LENGTH], error.stack[-STACK_LENGTH:])
    story = msgspec.structs.replace(story, error=short, data_left_out=story.data_left_out)
    return Emitted(dead_subject(story.step), b"" if story.data_left_out else data, None, _headers(story))


class DeadLetters:
    """Lists, redrives and purges. Raises `LogUnavailable`."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def list(self, *, step: str | None = None, limit: int = 100, before: int | None = None) -> list[DeadLetter]:
        """Newest first."""
        pattern = "dlq.>" if step is None else dead_subject(step)
        records = await self._log.scan(pattern, limit=limit, before=before)
        return [letter for letter in map(_read, records) if letter is not None]

    async def get(self, id: int) -> DeadLetter | None:
        record = await self._log.get("dlq", id)
        return None if record is None else _read(record)

    async def redrive(self, letter: DeadLetter) -> None:
        """Hand the event to its step again, with all its attempts; the letter goes. Twice at once has the effect of once."""
        story, data = letter.story, letter.data
        once, trace = f"redrive:{letter.id}", {"traceparent": format_parent(story.trace_id, story.span_id)}
        if story.data_left_out:
            event = (
                await self._log.get("ev" if story.step else "in", int(story.event_id))
                if story.event_id.isdigit()
                else None
            )
            if event is None:
                raise LookupError(f"the event of dead letter {letter.id} is no longer kept; it can't be redriven")
            data = event.data
        if not story.step:  # it never was an event of the app
            await self._log.append(in_subject(story.topic), data, headers=trace, id=once)
            await self._log.delete("dlq", letter.id)
            return
        headers = {
            "Motia-Event": story.event_id,
            "Motia-Topic": story.topic,
            "Motia-Attempt": "1",
            "Motia-Redrives": str(story.redrives + 1),
            "Motia-Flushed": str(story.flushed),
            **trace,
        }
        await self._log.append(retry_subject(story.step), data, headers=headers, id=once)
        await self._log.delete("dlq", letter.id)

    async def purge(self, letter: DeadLetter) -> bool:
        return await self._log.delete("dlq", letter.id)


def _headers(story: Story) -> dict[str, str]:
    # a header holds ASCII only, which msgspec can't be told to keep to
    return {STORY: json.dumps(msgspec.to_builtins(story), ensure_ascii=True, separators=(",", ":"))}


def _read(record: Record) -> DeadLetter | None:
    try:
        story = msgspec.json.decode(record.headers.get(STORY, ""), type=Story)
    except msgspec.DecodeError as problem:
        _log.warning("dead letter %s can't be read: %s", record.seq, problem)
        return None
    return DeadLetter(id=record.seq, story=story, data=record.data)
