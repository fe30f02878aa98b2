"""Who may connect (`server.streamAuth`), and who may follow what (`access` of a stream). Whatever goes wrong in these functions, the answer is no."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from motia_runtime.bind import Bindings, Bound
from motia_runtime.execute import Executor
from motia_runtime.handler import InvalidKey
from motia_runtime.naming import check_group, check_key
from motia_runtime.runlog import in_words
from motia_spec.model import Project

TIMEOUT = 10.0  # seconds that one of the functions may take

_log = logging.getLogger("motia.streams")


class Unauthenticated(Exception):  # reads as the fact it states
    """`streamAuth` did not let the client in. Its log line has the reason; the client is not told."""


class Denied(Exception):  # reads as the fact it states
    """The client may not follow this; `unknown`: there is no such stream."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class Door:
    """Lives as long as the engine."""

    def __init__(self, project: Project, bindings: Bindings, executor: Executor) -> None:
        self._streams = frozenset(project.streams)
        self._auth = bindings.stream_auth
        self._access = bindings.access
        self._executor = executor

    async def authenticate(self, headers: Mapping[str, str], query: Mapping[str, Any]) -> Any:
        """Who the client is, as `access` will be told; None: anybody. `headers` by lower-case name. Raises `Unauthenticated`."""
        if self._auth is None:
            return None
        try:
            return await self._executor.ask(self._auth, (dict(headers), dict(query)), TIMEOUT)
        except Exception as error:
            _log.warning("a client was refused by %s: %s", _name(self._auth), _why(error))
            raise Unauthenticated("the client was not let in") from None

    async def check(self, stream: str, group: str, id: str | None, auth: Any) -> None:
        """Raises `Denied` unless the client may follow the group, or the item."""
        if stream not in self._streams:
            raise Denied(f"Stream {stream[:100]} not found", unknown=True)
        try:
            check_group(group)
            if id is not None:
                check_key(id)
        except InvalidKey as error:
            raise Denied(str(error)) from None
        access = self._access.get(stream)
        if access is None:
            return
        try:
            allowed = await self._executor.ask(access, (group, id, auth), TIMEOUT)
        except Exception as error:
            _log.error("%s failed, so the client may not follow %s: %s", _name(access), stream, _why(error))
            raise Denied("Access denied") from None
        if allowed is not True:
            if allowed is not False:
                _log.error("%s returned %.80r; it must return True or False", _name(access), allowed)
                if hasattr(allowed, "close"):
                    allowed.close()  # a coroutine that nobody awaited
            raise Denied("Access denied")


def _name(bound: Bound) -> str:
    return f"{bound.handler.path}:{bound.handler.function}"


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {in_words(error)[:200]}"
