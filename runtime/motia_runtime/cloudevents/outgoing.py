"""What an event says of itself to whoever reads the stream with another program: headers in the binary mode of CloudEvents.

They stand last in the headers and nothing of ours reads them, so that deliveries to steps need not parse them. The trace is not repeated there: it is in
`traceparent` and `tracestate`, as W3C has them. Most of the bytes are the same for all events of a topic, and are made once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from motia_runtime.cloudevents.attributes import ATTRIBUTE, JSON, VERSION, encode_value, is_plain
from motia_runtime.naming import topic_of

FIRST_NAME = f"{ATTRIBUTE}specversion"
FIRST_LINE = f"\r\n{FIRST_NAME}: ".encode()  # with the end of the line before it
SUBJECT = f"{ATTRIBUTE}subject"
LONGEST_ID = 300  # bytes of a header; a longer one is hashed
TOPICS = 10_000  # whose bytes are kept


class Tails:
    """Of one app. Lives as long as its log."""

    def __init__(self, prefix: str) -> None:
        """`prefix`: of the app's subjects. Ids of events are unique within it, so it is their `source`."""
        self._source = f"/{prefix}"
        self._topics: dict[str, str] = {}
        self._millisecond = -1
        self._time = ""

    def tail(self, subject: str, id: str, time: float) -> str:
        """Lines for an event. `subject`: in the log; `time`: when it happens, seconds since the epoch."""
        millisecond = int(time * 1000)
        if millisecond != self._millisecond:
            self._tell(millisecond)
        lines = self._topics.get(subject) or self._lines(subject)
        shown = id if is_plain(id) else encode_value(id)
        if len(shown) > LONGEST_ID:
            shown = sha256(id.encode()).hexdigest()
        return f"{lines}ce-id: {shown}{self._time}"

    def _tell(self, millisecond: int) -> None:
        seconds, rest = divmod(millisecond, 1000)
        shown = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
        self._millisecond, self._time = millisecond, f"\r\nce-time: {shown}.{rest:03d}Z\r\n"

    def _lines(self, subject: str) -> str:
        if len(self._topics) >= TOPICS:
            self._topics.clear()
        constant = {
            FIRST_NAME: VERSION,
            "ce-source": encode_value(self._source),
            "ce-type": encode_value(topic_of(subject)),
            "ce-datacontenttype": JSON,
        }
        lines = self._topics[subject] = "".join(f"{name}: {value}\r\n" for name, value in constant.items())
        return lines
