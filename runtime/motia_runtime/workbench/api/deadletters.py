"""Dead letters: looked through, redriven, purged; as `motia dlq`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from motia_runtime.deadletters import DeadLetter, DeadLetters, Wanted
from motia_runtime.http.problems import Refused
from motia_runtime.workbench.bench import Gone, Missing
from motia_runtime.workbench.call import Call, moment, number

SHOWN = 1_000  # letters in a list


async def get_letters(call: Call) -> Any:
    """Newest first. `next`: what `before` is for those that follow."""
    query = call.query("step", "topic", "error", "since", "until", "limit", "before")
    wanted = Wanted(
        step=query.get("step"),
        topic=query.get("topic"),
        error=query.get("error"),
        since=moment(query.get("since"), "since"),
        until=moment(query.get("until"), "until"),
    )
    limit = number(query.get("limit"), 100, SHOWN)
    before = number(query["before"], 1, 1 << 53, "before") if "before" in query else None
    found = await DeadLetters(call.bench.log).list(wanted=wanted, limit=limit, before=before)
    return {"letters": [letter.plain() for letter in found], "next": found[-1].id if len(found) == limit else None}


async def get_letter(call: Call) -> Any:
    return (await _letter(DeadLetters(call.bench.log), number(call.values[0], 1, 1 << 53, "id"))).plain()


async def _letter(dead: DeadLetters, id: int) -> DeadLetter:
    found = await dead.get(id)
    if found is None:
        if await dead.is_redriven(id):
            raise Gone(f"dead letter {id} was redriven")
        raise Missing(f"there is no dead letter {id}; it was purged, or is older than 30 days")
    return found


class Chosen(msgspec.Struct, frozen=True):
    """Letters by id, by filter, or all. Nobody shall choose all by leaving something out."""

    ids: list[int] | None = None
    where: Wanted | None = None
    all: bool = False

    async def letters(self, dead: DeadLetters, *, again: bool = False) -> Sequence[DeadLetter]:
        """In the order in which they failed. Raises `Refused`, `Missing`, and `Gone` for one that was redriven unless `again`, which leaves it out."""
        filtered = self.where is not None and self.where != Wanted()
        if (self.ids is not None) + filtered + self.all != 1:
            raise Refused(400, "Choose letters by one of ids, where (with a filter in it) and all: true.")
        if self.ids is not None:
            if len(self.ids) > SHOWN:
                raise Refused(400, f"Name {SHOWN:,} letters at most, not {len(self.ids):,}; or choose them by where.")
            found = []
            for each in self.ids:
                try:
                    found.append(await _letter(dead, each))
                except Gone:
                    if not again:
                        raise
            return found
        return list(reversed(await dead.every(self.where if self.where is not None and filtered else Wanted())))


async def redrive(call: Call) -> Any:
    """Hand events to their steps again. Each letter is redriven once, also when others do it at the same time, or when it is asked for again."""
    dead = DeadLetters(call.bench.log)
    done, failed = 0, []
    for letter in await (await call.body(Chosen)).letters(dead, again=True):
        try:
            done += await dead.redrive(letter)
        except LookupError as problem:
            failed.append({"id": letter.id, "problem": str(problem)})
    return {"redriven": done, "failed": failed}


async def purge(call: Call) -> Any:
    """Delete them for good."""
    dead = DeadLetters(call.bench.log)
    letters = await (await call.body(Chosen)).letters(dead)
    return {"purged": sum([await dead.purge(letter) for letter in letters])}


ROUTES = {
    "dead": {"GET": get_letters},
    "dead/redrive": {"POST": redrive},
    "dead/purge": {"POST": purge},
    "dead/{id}": {"GET": get_letter},
}
