"""What the server does not let us do, and what would have to be allowed: told once of each right that is missing, since it may be missing a
thousand times a second."""

from __future__ import annotations

import logging
import re
from typing import Literal

import msgspec

TOLD = 100  # rights that are told of

_VIOLATION = re.compile(r"permissions violation for (publish|subscription) to \"([^\"]+)\"", re.IGNORECASE)
_log = logging.getLogger("motia.nats")


class Right(msgspec.Struct, frozen=True):
    """A line of a user's permissions in nats-server's configuration."""

    kind: Literal["publish", "subscribe"]
    subject: str  # may end in `.>`


def worker_rights(prefix: str) -> tuple[Right, ...]:
    """What a worker needs (docs/worker-protocol.md). `prefix`: `nats.prefix` of the spec."""
    return (
        Right("publish", f"{prefix}.work.to.>"),
        Right("publish", "_INBOX.>"),
        Right("subscribe", f"{prefix}.work.run.>"),
        Right("subscribe", f"{prefix}.work.cancel.>"),
        Right("subscribe", "$SRV.>"),
        Right("subscribe", "_INBOX.>"),
    )


class Rights:
    """Of one connection. `needed`: rights by name, where they are known; of others the subject is told."""

    def __init__(self, needed: tuple[Right, ...] = ()) -> None:
        self._needed = needed
        self._told: set[Right] = set()

    def refused(self, text: str) -> None:
        """`text`: the server's words."""
        found = _VIOLATION.search(text)
        if found is None:
            _log.error("NATS: %s", text)
            return
        kind: Literal["publish", "subscribe"] = "publish" if found[1].lower() == "publish" else "subscribe"
        subject = found[2]
        missing = Right(kind, subject)
        for right in self._needed:
            if right.kind == kind and subject.lower().startswith(right.subject.removesuffix(">").lower()):
                missing = right
        if missing in self._told or len(self._told) >= TOLD:
            return
        self._told.add(missing)
        _log.error(
            'NATS does not let us %s "%s": have its user\'s permissions allow to %s "%s"',
            "publish to" if kind == "publish" else "subscribe to", subject, kind, missing.subject,
        )  # fmt: skip
