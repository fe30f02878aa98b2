"""Dead letters: events whose last attempt failed. Kept 30 days with error, attempts and trace; redriven or purged by people.

A letter is the event's own data as record, its story in the header `Motia-Dead` (JSON of `Story`). It is committed as the effects of a run are
(`commit`), before the event is ended, so a crash in between leaves one letter, not two or none.

Who redrives a letter first claims it, `rt.=l.<id>`. So it is redriven once, also by several commands, and by one that died and is given again long after: who
finds a claim looks first whether the event is stored. What a letter tells goes along in the header `Motia-History`, to the next one."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from motia_runtime.cancels import is_cancelled
from motia_runtime.cloudevents.incoming import told
from motia_runtime.naming import dead_subject, in_subject, retry_subject
from motia_runtime.plans import Emitted
from motia_runtime.ports import Conflict, Log, Record
from motia_runtime.records import ErrorInfo
from motia_runtime.seen import REMEMBERED, SKEW, is_there
from motia_runtime.trace import format_parent, headers_of

STORY = "Motia-Dead"
HISTORY = "Motia-History"  # header of what is redriven: JSON of its rounds, the oldest first
ROUNDS = 10  # rounds that are remembered, the newest
ROUND_LENGTH = 200  # characters kept of an error's message in a round
KEPT = 30 * 86_400.0  # seconds that a claim stays: as long as letters
PAGE = 1_000  # letters read at a time
MESSAGE_LENGTH = 2_000  # characters kept of an error's message
STACK_LENGTH = 6_000  # characters kept of an error's stack

_log = logging.getLogger("motia.deadletters")


class Round(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a redriven event went through before: its attempts until it was a letter."""

    attempts: int
    failed_at: float  # seconds since the epoch
    error: ErrorInfo  # without its stack


class Story(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    step: str  # empty: it came from outside and was not taken in
    topic: str
    event_id: str
    attempts: int
    failed_at: float  # seconds since the epoch
    error: ErrorInfo
    trace_id: str
    span_id: str  # of the last attempt; a redriven run hangs below it
    tracestate: str = ""
    redrives: int = 0  # how often it has been redriven before
    flushed: int = 0  # early commits (`ctx.flush`) that its attempts have made
    history: list[Round] = []  # of earlier letters of this event, the oldest first; `ROUNDS` at most
    headers: dict[
        str, str
    ] = {}  # of an event from outside: what it says of itself as a CloudEvent, put back by a redrive
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


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters are meant. None: whatever it is. Times are seconds since the epoch."""

    step: str | None = None
    topic: str | None = None
    error: str | None = None  # class of the error, by its name
    since: float | None = None  # failed then or later
    until: float | None = None  # failed before

    def fits(self, story: Story) -> bool:
        return (
            self.step in (None, story.step)
            and self.topic in (None, story.topic)
            and self.error in (None, story.error.type)
            and (self.since is None or story.failed_at >= self.since)
            and (self.until is None or story.failed_at < self.until)
        )


ANY = Wanted()

_decode_history = msgspec.json.Decoder(list[Round]).decode


def rounds_of(history: str) -> list[Round]:
    """The rounds in a header `Motia-History`; none for one that nobody of us has written."""
    if not history:
        return []
    try:
        return _decode_history(history)[-ROUNDS:]
    except msgspec.DecodeError as problem:
        _log.warning("a history can't be read and is left out: %s", problem)
        return []


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

    async def list(
        self, *, step: str | None = None, wanted: Wanted = ANY, limit: int = 100, before: int | None = None
    ) -> list[DeadLetter]:
        """The newest `limit` that are wanted, newest first."""
        step = wanted.step if step is None else step
        pattern = "dlq.>" if step is None else dead_subject(step)
        found: list[DeadLetter] = []
        while page := await self._log.scan(pattern, limit=max(limit, PAGE) if wanted != ANY else limit, before=before):
            letters = [letter for letter in map(_read, page) if letter is not None]
            found += [letter for letter in letters if wanted.fits(letter.story)]
            before = page[-1].seq
            if len(found) >= limit or (wanted.since is not None and page[-1].time < wanted.since - SKEW):
                break
        return found[:limit]

    async def every(self, wanted: Wanted) -> Sequence[DeadLetter]:
        """All that are wanted, newest first."""
        found: list[DeadLetter] = []
        before: int | None = None
        while page := await self.list(wanted=wanted, limit=PAGE, before=before):
            found += page
            before = page[-1].id
        return found

    async def get(self, id: int) -> DeadLetter | None:
        record = await self._log.get("dlq", id)
        return None if record is None else _read(record)

    async def is_redriven(self, id: int) -> bool:
        """Whether somebody has redriven it, or has begun to: while it is there it may have to be redriven again."""
        return await self._log.last(_claim(id)) is not None

    async def redrive(self, letter: DeadLetter) -> bool:
        """Hand the event to its step again, with all its attempts; the letter goes. False: somebody else has, or it was purged. Raises `LookupError` when its
        event is no longer kept, or was cancelled."""
        subject, data, headers = await self._again(letter)
        once = f"redrive:{letter.id}"
        began = time.monotonic()
        since = letter.story.failed_at
        try:
            await self._log.append(_claim(letter.id), b"", expect=0, ttl=KEPT)
            first = True
        except Conflict:
            first = False
        if await self.get(letter.id) is None:
            return False
        late = (
            not first or time.monotonic() - began > REMEMBERED
        )  # somebody may have stored it, longer ago than ids are known
        if not (late and await is_there(self._log, subject, once, since)):
            await self._log.append(subject, data, headers=headers, id=once)
        return await self._log.delete("dlq", letter.id)

    async def _again(self, letter: DeadLetter) -> tuple[str, bytes, dict[str, str]]:
        """The record that a redrive stores."""
        story, data, outside = letter.story, letter.data, letter.story.headers
        if story.step and await is_cancelled(self._log, story.trace_id, story.step, story.event_id):
            raise LookupError(f"dead letter {letter.id} can't be redriven: its run was cancelled")
        if story.data_left_out:
            part = "ev" if story.step else "in"
            event = await self._log.get(part, int(story.event_id)) if story.event_id.isdigit() else None
            if event is None:
                raise LookupError(f"the event of dead letter {letter.id} is no longer kept; it can't be redriven")
            data, outside = event.data, told(event.headers)
        error = ErrorInfo(story.error.type, story.error.message[:ROUND_LENGTH])
        history = [*story.history, Round(story.attempts, story.failed_at, error)][-ROUNDS:]
        headers = {
            **headers_of(format_parent(story.trace_id, story.span_id), story.tracestate),
            HISTORY: json.dumps(msgspec.to_builtins(history), ensure_ascii=True, separators=(",", ":")),
        }
        if not story.step:  # it never was an event of the app
            return in_subject(story.topic), data, outside | headers
        headers |= {
            "Motia-Event": story.event_id,
            "Motia-Topic": story.topic,
            "Motia-Attempt": "1",
            "Motia-Redrives": str(story.redrives + 1),
            "Motia-Flushed": str(story.flushed),
        }
        return retry_subject(story.step), data, headers

    async def purge(self, letter: DeadLetter) -> bool:
        return await self._log.delete("dlq", letter.id)


def _claim(id: int) -> str:
    return f"rt.=l.{id}"


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
