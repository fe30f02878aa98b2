"""The two ways of a command to an app: straight to its broker, by the project's spec, whether the app runs or not; and with `--url` by the HTTP API of its
Workbench (docs/workbench-api.md), from anywhere, without a project.

    app = reach(ctx)
    known_step(app.names.steps, name)
    found = ask(app, lambda way: state_of(way).read_group("orders"))

A command is written once: what it asks for has one module here, with both ways in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from motia_runtime.cli.group import settings

if TYPE_CHECKING:
    from motia_runtime.cli.reach.app import App
    from motia_runtime.cli.reach.way import Way

T = TypeVar("T")


def reach(ctx: click.Context) -> App:
    """The app that the command is about, not connected yet. Without `--url` the spec is compiled, and its findings end the command; with it the app is
    asked what it consists of. Raises `UsageError`, `Failure`."""
    given = settings(ctx)
    if given.url is None:
        if given.token_given:
            raise click.UsageError("--token goes with --url: without it the command talks to the broker")
        from motia_runtime.cli.project import load
        from motia_runtime.cli.reach.broker import BrokerApp

        return BrokerApp(load(ctx))
    from motia_runtime.cli.reach.http import HttpApp

    return HttpApp(given.url, given.token)


def ask(app: App, question: Callable[[Way], Awaitable[T]]) -> T:
    """Connect, ask, close."""

    async def go() -> T:
        async with app.open() as way:
            return await question(way)

    return asyncio.run(go())
