"""`motia create`. Templates are folders under `templates/`; `-tpl` at the end of a file's name is dropped (so that tools leave them alone)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from motia_runtime.cli.group import project_options

TEMPLATES = {
    "hello": "one endpoint: the smallest app there is",
    "events": "an endpoint, an event handler with retries, state and a schedule",
    "typescript": "the same with handlers in TypeScript, beside one in Python",
}
SCHEMA = "motia.schema.json"  # beside the spec, so that editors complete and explain its keys
NAME = "__name__"  # in the text of a template: the project's name


@click.command("create")
@click.argument("name", required=False)
@click.option("-t", "--template", type=click.Choice(list(TEMPLATES)), help="What to start from.  [default: hello]")
@click.option("-i", "--interactive", is_flag=True, help="Ask for name and template.")
@project_options
def command(name: str | None, template: str | None, interactive: bool) -> None:
    """Start a new project from a template.

    NAME becomes a folder here; . takes this folder, when it is empty.
    """
    from motia_runtime.cli.console import say, table

    if interactive:
        name = name or click.prompt("Name of the project (a folder)", default="my-app", err=True)
        if template is None:
            table(("TEMPLATE", "WHAT IT IS"), list(TEMPLATES.items()), empty="")
            template = click.prompt("Template", type=click.Choice(list(TEMPLATES)), default="hello", err=True)
    if not name:
        raise click.UsageError("name the project: `motia create NAME`, or let it ask: `motia create -i`")
    target = Path(name)
    app = _app_name(target)
    _refuse_unless_empty(target)
    written = _copy(template or "hello", target, app)
    for path in written:
        click.echo(path)
    here = "" if name == "." else f"cd {shlex.quote(name)} && "
    say(f"created {app} from the template {template or 'hello'}; next: {here}motia dev", color="32")


def _app_name(target: Path) -> str:
    """The folder's name as the spec's `name`, which becomes part of subjects."""
    shown = target.absolute().name
    app = re.sub(r"[^A-Za-z0-9_-]+", "-", shown).strip("-")[:32]
    if not app:
        raise click.UsageError(f"{shown!r} can't name an app: use letters, digits, - and _")
    return app


def _refuse_unless_empty(target: Path) -> None:
    if target.is_dir():
        there = sorted(p.name for p in target.iterdir())
        if there:
            more = f" and {len(there) - 1} more" if len(there) > 1 else ""
            raise click.UsageError(f"{target} is not empty (it has {there[0]}{more}); name a new or an empty folder")
    elif target.exists() or target.is_symlink():
        raise click.UsageError(f"{target} is there already and is not a folder")


def _copy(template: str, target: Path, app: str) -> list[str]:
    source = files("motia_runtime.cli") / "templates" / template
    texts = {path: file.read_text("utf-8").replace(NAME, app) for path, file in _walk(source, "")}
    texts[SCHEMA] = (files("motia_spec") / SCHEMA).read_text("utf-8")
    for path, text in sorted(texts.items()):
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return [str(target / path) for path in sorted(texts)]


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name.removesuffix("-tpl"), entry
