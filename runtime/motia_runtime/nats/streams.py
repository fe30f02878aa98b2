"""The streams and buckets of an app, and where each part of the log lives in them.

    <prefix>_events    ev, retry and what is due later     `nats.max_age`
    <prefix>_tx        tx                              `nats.max_age`, the last of a subject
    <prefix>_in        in                                  `nats.max_age`
    <prefix>_cron      cron                                the newest 1,000 ticks of a step
    KV_<prefix>_state  st                                  a KV bucket: `nats kv get <prefix>_state GROUP.KEY`
    KV_<prefix>_rt     rt                                  a KV bucket
    <prefix>_dlq       dlq                                 30 days
    <prefix>_runs      run                                 256 MiB, 7 days

Limits retention throughout: a work queue forgets dedupe ids over a restart. `discard: old` on events loses nothing but what is older than
max_age, since there is no limit of size or number (and schedules rule out `discard: new`); want of room is refused by the server as a whole.
"""

from __future__ import annotations

from typing import Any

from motia_spec.model import Nats

Config = dict[str, Any]  # as in the JetStream API: durations in nanoseconds

# Seconds: well beyond what one append is tried again for; what is completed later looks for what is there (`seen`). It is dear: nats-server has every id of the
# window in memory, and lets those go that are older only when they are two thirds of what it has, so up to three windows of them
DEDUPE_WINDOW = 120.0
PLAN_WINDOW = 20.0  # seconds, for tx, where `expect` tells who came first: beyond what one append is tried again for
DEAD_AGE = 30 * 86400.0
RUN_AGE = 7 * 86400.0
RUN_BYTES = 256 << 20
CRON_KEPT = 1000  # ticks of a step
MARKER_TTL = (
    1.0  # seconds that a record which outlived its TTL leaves a marker; the server stretches any shorter TTL to this
)

PARTS = {
    "ev": "events",
    "in": "in",
    "retry": "events",
    "sched": "events",
    "tx": "tx",
    "cron": "cron",
    "dlq": "dlq",
    "run": "runs",
}
BUCKETS = {"st": "state", "rt": "rt"}


class Layout:
    """Translates subjects of the log to those of NATS and back, for one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._streams = {part: f"{prefix}_{name}" for part, name in PARTS.items()}
        self._streams |= {part: f"KV_{prefix}_{name}" for part, name in BUCKETS.items()}
        self._wire = {part: f"{prefix}.{part}." for part in PARTS}
        self._wire |= {part: f"$KV.{prefix}_{name}." for part, name in BUCKETS.items()}
        self._places = {part: (stream, self._wire[part]) for part, stream in self._streams.items()}
        self._back = {wire: f"{part}." for part, wire in self._wire.items()}

    def stream(self, part: str) -> str:
        try:
            return self._streams[part]
        except KeyError:
            raise ValueError(f"{part!r} is no part of the log: there are {', '.join(sorted(self._streams))}") from None

    def wire(self, subject: str) -> tuple[str, str]:
        """(stream, subject in NATS)."""
        part, _, rest = subject.partition(".")
        place = self._places.get(part)
        if place is None:
            return self.stream(part), ""  # raises
        return place[0], place[1] + rest

    def back(self, wire: str) -> str:
        """The subject in the log of a subject in NATS."""
        first, _, rest = wire.partition(".")
        second, _, rest = rest.partition(".")
        return self._back[f"{first}.{second}."] + rest

    @property
    def consumed(self) -> list[str]:
        """The streams that may have consumers of ours."""
        return [self._streams[part] for part in ("ev", "in", "cron", "st", "rt", "dlq")]


def desired(nats: Nats, *, history: int, items: int, replicas: int) -> list[Config]:
    """What the broker should have. `history` and `items`: revisions of a state key and of a stream's item, the most that anything wants."""
    p = nats.prefix
    everywhere: Config = {
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "allow_direct": True,
        "duplicate_window": _ns(DEDUPE_WINDOW),
        "metadata": {"motia": p},
    }
    log: Config = {**everywhere, "discard": "old", "compression": "s2"}
    bucket: Config = {
        **everywhere,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "allow_msg_ttl": True,
        "allow_atomic": True,
        "deny_delete": False,
        "subject_delete_marker_ttl": _ns(MARKER_TTL),
    }
    return [
        {
            **log,
            "name": f"{p}_events",
            "subjects": [f"{p}.ev.>", f"{p}.retry.>", f"{p}.sched.>"],
            "max_age": _ns(nats.max_age),
            "duplicate_window": _ns(min(DEDUPE_WINDOW, nats.max_age)),
            "allow_msg_ttl": True,
            "allow_msg_schedules": True,
            "allow_atomic": True,
        },
        {
            **everywhere,
            "name": f"{p}_tx",
            "subjects": [f"{p}.tx.>"],
            "max_msgs_per_subject": 1,
            "max_age": _ns(nats.max_age),
            "discard": "old",
            "duplicate_window": _ns(min(PLAN_WINDOW, nats.max_age)),
            "allow_rollup_hdrs": True,
            "allow_msg_ttl": True,
            "allow_atomic": True,
        },
        {
            **log,
            "name": f"{p}_in",
            "subjects": [f"{p}.in.>"],
            "max_age": _ns(nats.max_age),
            "duplicate_window": _ns(min(DEDUPE_WINDOW, nats.max_age)),
        },
        {**log, "name": f"{p}_cron", "subjects": [f"{p}.cron.>"], "max_msgs_per_subject": CRON_KEPT},
        {
            **bucket,
            "name": f"KV_{p}_state",
            "subjects": [f"$KV.{p}_state.>"],
            "max_msgs_per_subject": history,
        },
        {
            **bucket,
            "name": f"KV_{p}_rt",
            "subjects": [f"$KV.{p}_rt.>"],
            "max_msgs_per_subject": items,
            # each record once more, as it was stored: a consumer would miss what is overwritten before it is delivered
            "republish": {"src": f"$KV.{p}_rt.>", "dest": f"{p}.rt.>"},
        },
        {**log, "name": f"{p}_dlq", "subjects": [f"{p}.dlq.>"], "max_age": _ns(DEAD_AGE)},
        {
            **log,
            "name": f"{p}_runs",
            "subjects": [f"{p}.run.>"],
            "max_age": _ns(RUN_AGE),
            "max_bytes": RUN_BYTES,
            "duplicate_window": _ns(1),  # nothing there has an id
            # acknowledged before it is written, since nobody waits for it; a stream with copies can't have it
            **({"persist_mode": "async"} if replicas == 1 else {}),
        },
    ]


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
