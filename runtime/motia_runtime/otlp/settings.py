"""The standard variables of OpenTelemetry, as far as they are about sending traces and logs by HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

TIMEOUT = 10.0  # seconds
JSON = "http/json"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


class BadSetting(ValueError):
    """A variable can't be understood. The message names it; it quotes no header's value."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    url: SplitResult  # http or https, with a host
    headers: dict[str, str]  # of each request; may be credentials
    timeout: float  # seconds of a request
    gzip: bool
    certificate: str | None  # file of the authorities that are trusted
    resource: dict[str, str]  # attributes of who sends
    protocol: str  # that was asked for, if any

    @property
    def shown(self) -> str:
        """Where it goes, for people."""
        return f"{self.url.netloc}{self.url.path}"


def settings_of(environ: Mapping[str, str], signal: str) -> Settings | None:
    """`signal`: "traces" or "logs". None: none are to be sent. Raises `BadSetting`."""
    own = signal.upper()

    def get(name: str) -> tuple[str, str]:
        """The variable for this signal, or the one for everything; its name and value."""
        for full in (f"OTEL_EXPORTER_OTLP_{own}_{name}", f"OTEL_EXPORTER_OTLP_{name}"):
            if value := environ.get(full, "").strip():
                return full, value
        return "", ""

    name, endpoint = get("ENDPOINT")
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not endpoint or disabled or environ.get(f"OTEL_{own}_EXPORTER", "").strip() == "none":
        return None
    url = _url(name, endpoint)
    if name == "OTEL_EXPORTER_OTLP_ENDPOINT":
        url = url._replace(path=url.path.rstrip("/") + f"/v1/{signal}")
    protocol_name, protocol = get("PROTOCOL")
    if protocol not in ("", JSON, "http/protobuf"):
        raise BadSetting(
            f"{protocol_name} is {protocol!r}; {signal} are sent by HTTP: set it to {JSON}, and the endpoint to the "
            f"collector's port for HTTP, which is 4318 as a rule"
        )
    compression_name, compression = get("COMPRESSION")
    if compression not in ("", "none", "gzip"):
        raise BadSetting(f"{compression_name} is {compression!r}, and should be gzip or none")
    resource = _pairs("OTEL_RESOURCE_ATTRIBUTES", environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    if service := environ.get("OTEL_SERVICE_NAME", "").strip():
        resource["service.name"] = service
    return Settings(
        url=url,
        headers=_headers(*get("HEADERS")),
        timeout=_seconds(*get("TIMEOUT")),
        gzip=compression == "gzip",
        certificate=get("CERTIFICATE")[1] or None,
        resource=resource,
        protocol=protocol,
    )


def _url(name: str, text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        wrong = url.scheme not in ("http", "https") or not url.hostname or url.port == 0
    except ValueError:
        wrong, url = True, urlsplit("")
    if wrong or not text.isascii() or any(character <= " " or character == "\x7f" for character in text):
        raise BadSetting(f"{name} should be a URL such as http://localhost:4318")
    if "@" in url.netloc:
        raise BadSetting(f"{name} holds a user or a password; put credentials into OTEL_EXPORTER_OTLP_HEADERS")
    return url


def _headers(name: str, text: str) -> dict[str, str]:
    found = _pairs(name, text)
    for header, value in found.items():
        if not _TOKEN.fullmatch(header) or not _VALUE.fullmatch(value):
            raise BadSetting(f"{name}: {header!r} is no header that can be sent; write NAME=VALUE, percent-encoded")
    return found


def _seconds(name: str, text: str) -> float:
    if not text:
        return TIMEOUT
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 10**9):
        raise BadSetting(f"{name} is {text!r}, and should be a number of milliseconds")
    return int(text) / 1000


def _pairs(name: str, text: str) -> dict[str, str]:
    """`key=value,key2=value2`, percent-encoded, as W3C Baggage has it."""
    found = {}
    for number, each in enumerate(text.split(","), start=1):
        key, equals, value = each.strip().partition("=")
        if not each.strip():
            continue
        if not equals or not key.strip():
            raise BadSetting(f"{name}: part {number} is not NAME=VALUE")
        found[unquote(key.strip())] = unquote(value.strip())
    return found
