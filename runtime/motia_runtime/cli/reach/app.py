"""An app that a command is about, and the names in it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from motia_runtime.cli.reach.way import Way


class StepNames(msgspec.Struct, frozen=True):
    kind: str  # api, event, cron, noop
    topics: tuple[str, ...]  # that it subscribes to, ordered


class Names(msgspec.Struct, frozen=True):
    """What options and arguments may name."""

    steps: Mapping[str, StepNames]
    topics: frozenset[str]
    flows: Mapping[str, tuple[str, ...]]  # name -> its steps


class App(Protocol):
    @property
    def names(self) -> Names: ...

    def open(self) -> AbstractAsyncContextManager[Way]: ...
