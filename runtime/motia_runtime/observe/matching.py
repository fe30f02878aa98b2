"""Whether a record that has just come is one of those looked for: filters without the index."""

from __future__ import annotations

import re

from motia_runtime.observe.store import text_of
from motia_runtime.observe.view import Filter
from motia_runtime.records import RunRecord

WORD = re.compile(r"\w+")


def fits(record: RunRecord, wanted: Filter) -> bool:
    """As `TraceIndex.runs` has it, but that words may be found within others."""
    if not record.trace_id.startswith(wanted.trace):
        return False
    if (wanted.steps and record.step not in wanted.steps) or (
        wanted.outcomes and record.outcome not in wanted.outcomes
    ):
        return False
    if (wanted.since is not None and record.started < wanted.since) or (
        wanted.until is not None and record.started >= wanted.until
    ):
        return False
    if (wanted.longer is not None and record.duration < wanted.longer) or (
        wanted.shorter is not None and record.duration >= wanted.shorter
    ):
        return False
    return not wanted.text or has_words(text_of(record), wanted.text)


def has_words(text: str, words: str) -> bool:
    """Whether all of the words are in the text."""
    lowered = text.lower()
    return all(word.lower() in lowered for word in WORD.findall(words))
