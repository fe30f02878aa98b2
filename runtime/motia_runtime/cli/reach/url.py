"""Where an app is, as people write it."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

import click
import msgspec


class Base(msgspec.Struct, frozen=True):
    """The address of an app."""

    secure: bool
    host: str
    port: int
    path: str  # in front of /__workbench, behind a proxy that has the app below a path; without a slash at its end
    token: str | None = None  # that the address brought along

    @property
    def shown(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == (443 if self.secure else 80) else f":{self.port}"
        return f"{'https' if self.secure else 'http'}://{host}{port}{self.path}"

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        """Not connected yet. With TLS the certificate is looked at."""
        if self.secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)


def parse_url(text: str) -> Base:
    """`https://shop.example`, `127.0.0.1:3000`, or `:3000` for this machine; also the Workbench's own address, with the token that `motia dev` prints.
    Raises `UsageError`."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError as problem:
        raise _wrong(text, str(problem)) from None
    if parts.scheme not in ("http", "https"):
        raise _wrong(text, f"{parts.scheme}:// is not among http:// and https://")
    if parts.username is not None:
        raise _wrong(text, "it holds a user; who you are is said by --token or MOTIA_TOKEN")
    word, _, token = parts.fragment.partition("=")
    if parts.query or word not in ("", "token") or not (text.isascii() and text.isprintable()) or " " in text:
        raise _wrong(text, "it holds more than host, port and path")
    path = parts.path.rstrip("/").removesuffix("/__workbench")
    secure = parts.scheme == "https"
    return Base(secure, parts.hostname or "127.0.0.1", port or (443 if secure else 80), path, token or None)


def _wrong(text: str, why: str) -> click.UsageError:
    return click.UsageError(f"--url {text[:80]!r}: {why}; such as http://127.0.0.1:3000")
