"""Names from users as NATS has them: one injective encoding, so that no two names meet and none reaches another's subjects.

A *token* is one level of a subject or KV key: bytes (UTF-8) outside `[A-Za-z0-9_-]` become `=XX` in upper-case hex, the dot too, so that
every name is exactly one token; the empty name is `=`. A *durable* is a consumer's name, which can't hold `=`, so `_` escapes there.
Names longer than NATS takes in one line are hashed (`=h...`, `_h...`); hex digits are upper case, so a hash meets no other name. Names
that pass the checks below are never hashed in a token and always decode.

    encode("a.b c")   "a=2Eb=20c"        durable("a.b_c")   "a_2Eb__c"
"""

from __future__ import annotations

import re
from hashlib import sha256

from motia_runtime.handler import InvalidKey, InvalidTopic

MAX_TOPIC = 200  # characters
MAX_GROUP = 128  # bytes of UTF-8
MAX_KEY = 512  # bytes of UTF-8
MAX_TOKEN = (
    3 * MAX_KEY
)  # a key of nothing but escapes; group, key and the rest of a protocol line stay below NATS' 4,096
MAX_DURABLE = 160  # NATS takes 255, and file systems 255 for a path that has more in it

INGRESS = (
    "_in"  # consumer of what comes from outside; no step's durable: there "_" is followed by "_", "h" or hex digits
)

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_SUBJECT = re.compile(r"[A-Za-z0-9_=-]+\.[A-Za-z0-9_=.-]*[A-Za-z0-9_=-]")  # and no empty level
_PATTERN = re.compile(r"[A-Za-z0-9_=-]+(\.([A-Za-z0-9_=-]+|\*))*(\.>)?")
_ESCAPED_TOKEN = re.compile(r"=([0-9A-F]{2})|([A-Za-z0-9_-])")

_TOKEN = [chr(b) if _PLAIN.fullmatch(chr(b)) else f"={b:02X}" for b in range(256)]
_DURABLE = ["__" if b == 0x5F else s.replace("=", "_") for b, s in enumerate(_TOKEN)]


def encode(name: str) -> str:
    """One token for any string at all."""
    if len(name) <= MAX_TOKEN and _PLAIN.fullmatch(name):
        return name
    raw = name.encode("utf-8", "surrogatepass")
    token = "".join([_TOKEN[b] for b in raw]) or "="
    return token if len(token) <= MAX_TOKEN else "=h" + sha256(raw).hexdigest()


def decode(token: str) -> str:
    """The name behind a token. `ValueError` for what `encode` does not give, or gives as a hash."""
    if token == "=":  # noqa: S105  # no secret: one level of a subject
        return ""
    raw = bytearray()
    end = 0
    for part in _ESCAPED_TOKEN.finditer(token):
        if part.start() != end:
            break
        end = part.end()
        raw.append(int(part[1], 16) if part[1] else ord(part[2]))
    name = raw.decode("utf-8", "surrogatepass")
    if end != len(token) or not token or encode(name) != token:
        raise ValueError(f"{token!r} is not an encoded name")
    return name


def durable(step: str) -> str:
    """A consumer name for a step: `[A-Za-z0-9_-]`, different for different steps."""
    raw = step.encode("utf-8", "surrogatepass")
    name = "".join([_DURABLE[b] for b in raw]) or "_"
    return name if len(name) <= MAX_DURABLE else "_h" + sha256(raw).hexdigest()


def change_durable(step: str, part: str) -> str:
    """Of the consumer that hands the changes of state ("st") or streams ("rt") over to a step. No step's own: "_" is never followed by "s" or "r" there."""
    return f"{durable(step)}_{part}"


def event_subject(topic: str) -> str:
    """Dots of a topic stay levels of the subject, so that NATS users can subscribe to `order.*`."""
    return "ev." + ".".join([encode(level) for level in topic.split(".")])


def in_subject(topic: str) -> str:
    """Where other programs publish events of a topic with `external: in`."""
    return "in." + event_subject(topic)[3:]


def topic_of(subject: str) -> str:
    """The topic of a subject made by `event_subject` or `in_subject`."""
    part, _, rest = subject.partition(".")
    if part not in ("ev", "in"):
        raise ValueError(f"{subject!r} is not the subject of a topic")
    return ".".join(decode(level) for level in rest.split("."))


def state_subject(group: str, key: str) -> str:
    return f"st.{encode(group)}.{encode(key)}"


def state_pattern(group: str) -> str:
    """Matches every key of this group and nothing of any other."""
    return f"st.{encode(group)}.*"


def state_names(subject: str) -> tuple[str, str]:
    """(group, key) of a subject made by `state_subject`."""
    part, group, key = subject.split(".")
    if part != "st":
        raise ValueError(f"{subject!r} is not the subject of a state key")
    return decode(group), decode(key)


def stream_subject(stream: str, group: str, id: str) -> str:
    return f"rt.{encode(stream)}.{encode(group)}.{encode(id)}"


def stream_pattern(stream: str, group: str) -> str:
    """Matches every item of this group of this stream and nothing else."""
    return f"rt.{encode(stream)}.{encode(group)}.*"


def items_pattern(stream: str) -> str:
    """Matches every item of this stream, and no record of our own: the token after "rt" is no encoded name there."""
    return f"rt.{encode(stream)}.*.*"


def item_names(subject: str) -> tuple[str, str, str]:
    """(stream, group, id) of a subject made by `stream_subject`."""
    part, stream, group, item = subject.split(".")
    if part != "rt":
        raise ValueError(f"{subject!r} is not the subject of a stream's item")
    return decode(stream), decode(group), decode(item)


def live_subject(stream: str, group: str, id: str | None) -> str:
    """Where events of a group, or of one item, are told."""
    return f"live.{encode(stream)}.{encode(group)}" + ("" if id is None else f".{encode(id)}")


def live_names(subject: str) -> tuple[str, str, str | None]:
    """(stream, group, id) of a subject made by `live_subject`."""
    part, stream, group, *item = subject.split(".")
    if part != "live" or len(item) > 1:
        raise ValueError(f"{subject!r} is not the subject of a stream's event")
    return decode(stream), decode(group), decode(item[0]) if item else None


def retry_subject(step: str) -> str:
    return f"retry.{encode(step)}"


def cron_subject(step: str) -> str:
    return f"cron.{encode(step)}"


def dead_subject(step: str) -> str:
    return f"dlq.{encode(step)}"


def check_topic(topic: object) -> str:
    """The topic, or `InvalidTopic`."""
    if not isinstance(topic, str):
        raise InvalidTopic(f"a topic is a string, not {type(topic).__name__}")
    if len(topic) > MAX_TOPIC:
        raise InvalidTopic(f"a topic has at most {MAX_TOPIC} characters, this one has {len(topic):,}")
    if not _TOPIC.fullmatch(topic):
        raise InvalidTopic(
            f"{topic!r} is no topic: allowed are letters, digits, '_' and '-' of ASCII in parts joined by single dots, "
            "such as 'order.created'"
        )
    return topic


def check_group(group: object) -> str:
    """The name of a state group, or `InvalidKey`."""
    return _check_name(group, "a state group", MAX_GROUP)


def check_key(key: object) -> str:
    """A state key, or `InvalidKey`."""
    return _check_name(key, "a state key", MAX_KEY)


def _check_name(name: object, what: str, longest: int) -> str:
    if not isinstance(name, str):
        raise InvalidKey(f"{what} is a string, not {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidKey(f"{what} is valid Unicode; {name[:40]!r} holds half of a surrogate pair") from None
    if not 1 <= size <= longest:
        raise InvalidKey(f"{what} has 1 to {longest} bytes of UTF-8, this one has {size:,}")
    return name


def check_subject(subject: str) -> str:
    """A subject of the log, as the functions above make them. `ValueError` for anything else: a mistake of ours, not of a user."""
    if not _SUBJECT.fullmatch(subject) or ".." in subject:
        raise ValueError(f"{subject[:80]!r} is no subject of the log: names are encoded first")
    return subject


def check_pattern(pattern: str) -> str:
    """A subject in which "*" stands for a level, and ">" at the end for one or more."""
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(f"{pattern[:80]!r} is no pattern of the log")
    return pattern


def plan_subject(step: str, run: str, part: str = "") -> str:
    """Where the plan of a run's commit is. `part`: of an early commit (`ctx.flush`), "f1"."""
    return f"tx.{encode(step)}.{encode(run)}" + (f".{part}" if part else "")
