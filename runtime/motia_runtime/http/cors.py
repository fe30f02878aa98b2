"""Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol). Nothing is allowed that `server.cors` does not name."""

from __future__ import annotations

from motia_runtime.http.problems import Header
from motia_spec.model import Cors

VARY: Header = (b"vary", b"Origin")


class CorsPolicy:
    """Answers for one project. "*" allows every origin, and then never with credentials."""

    def __init__(self, cors: Cors) -> None:
        self._any = "*" in cors.origins
        self._origins = frozenset(origin.rstrip("/").lower() for origin in cors.origins)
        self._methods = ", ".join(cors.methods)
        self._headers = ", ".join(cors.headers)
        self._max_age = b"%d" % cors.max_age
        always: list[Header] = [] if self._any else [VARY]
        allowed: list[Header] = []
        if cors.credentials and not self._any:
            allowed.append((b"access-control-allow-credentials", b"true"))
        self._credentials = tuple(allowed)
        if cors.expose:
            allowed.append((b"access-control-expose-headers", ", ".join(cors.expose).encode("latin-1")))
        self._always = tuple(always)
        self._allowed = tuple(allowed)

    def _origin(self, origin: str | None) -> Header | None:
        if origin is None:
            return None
        if self._any:
            return (b"access-control-allow-origin", b"*")
        if origin.lower() in self._origins:
            return (b"access-control-allow-origin", origin.encode("latin-1"))
        return None

    def headers(self, origin: str | None) -> tuple[Header, ...]:
        """For the answer to a request itself."""
        allowed = self._origin(origin)
        return self._always if allowed is None else (allowed, *self._allowed, *self._always)

    def preflight(self, origin: str | None, methods: str) -> tuple[Header, ...]:
        """For the answer to a preflight. `methods`: those of the route, allowed when the spec lists none."""
        allowed = self._origin(origin)
        if allowed is None:
            return self._always
        return (
            allowed,
            *self._credentials,
            (b"access-control-allow-methods", (self._methods or methods).encode("latin-1")),
            (b"access-control-allow-headers", self._headers.encode("latin-1")),
            (b"access-control-max-age", self._max_age),
            *self._always,
        )
