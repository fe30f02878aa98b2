"""Cron expressions: five fields, six with seconds first, or an alias (`@daily`). Time zones are IANA names.

Daylight saving as Debian's cron does it: a time that the spring jump skips fires right after the jump, one that the autumn
jump repeats fires once; expressions whose minutes or hours are `*` follow the wall clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from cronsim.cronsim import Field

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_LONGEST = 256  # characters of an expression
_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
_ALLOWED = ("0-59", "0-59", "0-23", "1-31 or L", "1-12 or JAN-DEC", "0-7 or SUN-SAT")


class BadCron(ValueError):
    """The expression can't be read. The message says which field and what it may hold."""


class BadZone(ValueError):
    """There is no such time zone. Use an IANA name such as Europe/Berlin, or UTC."""


def expand(expression: str) -> str:
    """The expression with an alias replaced and blanks made single."""
    text = " ".join(expression.split())
    if text.startswith("@"):
        found = ALIASES.get(text.lower())
        if found is None:
            raise BadCron(f"{expression!r} is not an alias: use one of {', '.join(sorted(ALIASES))}")
        return found
    return text


def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name. BadZone when there is none; the name never reaches the file system unchecked."""
    if len(name) > 64 or not _ZONE.fullmatch(name):
        raise BadZone(f"{name!r} is not a time zone: use an IANA name such as Europe/Berlin, or UTC")
    try:
        return ZoneInfo(name)
    except (
        OSError,
        ValueError,
    ):  # ZoneInfoNotFoundError is a KeyError, below; a directory such as "Europe" is an OSError
        raise BadZone(f"{name!r} is not a time zone: use an IANA name such as Europe/Berlin, or UTC") from None
    except KeyError:
        raise BadZone(f"there is no time zone {name!r}: use an IANA name such as Europe/Berlin, or UTC") from None


@lru_cache(maxsize=4096)
def parse(expression: str, tz: str = "UTC") -> Cron:
    """The schedule of an expression in a zone. BadCron, BadZone."""
    if len(expression) > _LONGEST:
        raise BadCron(f"the expression has {len(expression)} characters; at most {_LONGEST} are allowed")
    return Cron(expand(expression), zone(tz))


class Cron:
    """When something is due. Immutable, so that many may share it. Times are seconds since the epoch."""

    def __init__(self, expression: str, tz: ZoneInfo) -> None:
        self.expression = expression
        self.tz = tz
        self.impossible = False  # a day that none of its months has: 31 February
        fields = expression.upper().split()
        if len(fields) not in (5, 6):
            raise BadCron(
                f"{expression!r} has {len(fields)} fields: write minute hour day month weekday, or seconds before them"
            )
        try:
            CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
        except (CronSimError, ValueError, AssertionError, TypeError) as fault:
            self._explain(fields, fault)
        self.seconds = fields[0] if len(fields) == 6 else "0"

    def _explain(self, fields: list[str], fault: Exception) -> None:
        """Which field is wrong; or, when each is right by itself, that the day never comes."""
        for index, text in enumerate(fields, start=6 - len(fields)):
            try:
                Field(index).parse(text)
            except (CronSimError, ValueError, AssertionError, TypeError):
                raise BadCron(
                    f"{text!r} can't be the {_FIELDS[index]}: allowed is {_ALLOWED[index]}, with * , - and /"
                ) from None
        if not isinstance(fault, CronSimError):
            raise BadCron(f"{self.expression!r} can't be read: L stands alone and only for a day") from None
        self.impossible = True

    @property
    def never(self) -> bool:
        """It fires at no time in the next 50 years."""
        return self.next_after(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) is None

    @property
    def every_second(self) -> bool:
        return self.seconds in ("*", "*/1", "0-59", "0/1", "0-59/1")

    def next_after(self, when: float) -> float | None:
        """The first time after `when` (not `when` itself), or None when it never fires again."""
        return next(self._from(when, reverse=False), None)

    def previous(self, when: float) -> float | None:
        """The last time before `when` (not `when` itself), or None."""
        return next(self._from(when, reverse=True), None)

    def between(self, after: float, until: float, limit: int) -> list[float]:
        """The first `limit` times t with after < t <= until, oldest first."""
        found = []
        for due in islice(self._from(after, reverse=False), limit):
            if due > until:
                break
            found.append(due)
        return found

    def _from(self, when: float, *, reverse: bool) -> Iterator[float]:
        if self.impossible:
            return
        times = CronSim(self.expression, datetime.fromtimestamp(when, self.tz), reverse=reverse)
        last = when
        for due in times:
            stamp = due.timestamp()
            if (stamp < last) if reverse else (stamp > last):  # the hour repeated in autumn must not go back
                last = stamp
                yield stamp
