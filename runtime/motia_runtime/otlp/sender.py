"""One request to a collector, and what its answer means. Blocks: it is for the exporter's thread."""

from __future__ import annotations

import gzip
import http.client
import ssl
import time
from email.utils import parsedate_to_datetime

import msgspec

from motia_runtime.otlp.settings import Settings

AGAIN = frozenset((429, 502, 503, 504))  # OTLP has these, and no others, tried again
ANSWER = 64 * 1024  # bytes read of an answer
LONGEST_WAIT = 60.0  # seconds, whatever a collector asks for


class Result(msgspec.Struct, frozen=True):
    """`problem` empty: it was taken in."""

    problem: str = ""
    again: bool = False  # worth another try
    after: float | None = None  # seconds until then, when the collector says so
    rejected: int = 0  # spans or log records that it did not take


class _Partial(msgspec.Struct, rename="camel"):
    rejected_spans: int = 0
    rejected_log_records: int = 0
    error_message: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    partial_success: _Partial | None = None


_read = msgspec.json.Decoder(_Answer, strict=False).decode


class Sender:
    """Keeps one connection. Lives as long as its exporter. Raises OSError when the file of certificates can't be read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: http.client.HTTPConnection | None = None
        self._headers = {**settings.headers, "Content-Type": "application/json", "User-Agent": "motia-otlp"}
        if settings.gzip:
            self._headers["Content-Encoding"] = "gzip"
        secure = settings.url.scheme == "https"
        self._tls = ssl.create_default_context(cafile=settings.certificate) if secure else None
        url = settings.url
        self._target = (url.path or "/") + (f"?{url.query}" if url.query else "")

    def post(self, body: bytes, timeout: float) -> Result:
        """`timeout` in seconds, for connecting and for each piece of the answer."""
        if self._settings.gzip:
            body = gzip.compress(body, 1)
        kept = self._connection is not None
        try:
            return self._post(body, timeout)
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            if not kept:
                return Result(_words(problem), again=True)
        try:
            return self._post(body, timeout)  # the collector had closed the connection that we kept
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            return Result(_words(problem), again=True)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes, timeout: float) -> Result:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect(timeout)
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request("POST", self._target, body, self._headers)
        answer = connection.getresponse()
        told = answer.read(ANSWER)
        if not answer.isclosed():  # there is more than anybody needs
            self.close()
        if 200 <= answer.status < 300:
            return _taken(told)
        problem = f"it answered {answer.status} {answer.reason}".rstrip()
        return Result(problem, answer.status in AGAIN, wait_of(answer.headers.get("Retry-After")))

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._settings.url.hostname or "", self._settings.url.port
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=timeout)


def wait_of(after: str | None) -> float | None:
    """What `Retry-After` says, in seconds from now; None when it says nothing that makes sense."""
    if after is None:
        return None
    text = after.strip()
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return min(float(text), LONGEST_WAIT)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT)


def _taken(told: bytes) -> Result:
    try:
        partial = _read(told).partial_success if told else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Result()  # a success in other words
    return (
        Result() if partial is None else Result(rejected=max(0, partial.rejected_spans, partial.rejected_log_records))
    )


def _words(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__
