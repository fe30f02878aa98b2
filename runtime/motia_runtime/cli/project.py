"""The project a command works on: its spec, compiled, or its findings printed and the command ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from motia_runtime.cli.group import settings

if TYPE_CHECKING:
    from motia_spec.diagnostics import Diagnostic
    from motia_spec.model import Project
    from motia_spec.sources import Sources


def load(ctx: click.Context, *, handlers: bool = False, dotenv: bool = True) -> Project:
    """Prints the errors to stderr and exits with 1 when the spec has any; warnings are the business of `motia check`."""
    shared = settings(ctx)
    root = shared.root()
    if dotenv:
        read_dotenv(root)

    from motia_spec import compile_project

    compiled = compile_project(root, overlay=shared.env, handlers=handlers)
    if compiled.project is None or not compiled.ok:
        fail(ctx, compiled.diagnostics, compiled.sources)
    return compiled.project


def fail(ctx: click.Context, diagnostics: Sequence[Diagnostic], sources: Sources) -> NoReturn:
    """Print the errors and exit with 1."""
    from motia_runtime.logs import wants_color
    from motia_spec.diagnostics import Severity
    from motia_spec.render import render_text

    errors = [d for d in diagnostics if d.severity is Severity.ERROR]
    click.echo(render_text(errors, sources, color=wants_color(sys.stderr)).rstrip(), err=True, color=True)
    ctx.exit(1)


def read_dotenv(folder: Path) -> None:
    """`.env` beside the spec, below the environment."""
    from motia_runtime.dotenv import Dotenv

    Dotenv(folder / ".env", os.environ).load()


def known(what: str, name: str | None, names: Collection[str]) -> None:
    """UsageError with a did-you-mean when there is no step, topic or flow (`what`) of that name. None is nobody's name."""
    if name is not None and name not in names:
        raise click.UsageError(f"no {what} {name!r}; {meant(name, names)}")


def meant(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not among those known."""
    from difflib import get_close_matches

    names = sorted(known)
    close = get_close_matches(name, names, 1, 0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names)}" if names else "the spec has none"
