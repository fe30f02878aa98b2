"""`motia state`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from motia_runtime.cli.group import Group, app_options

if TYPE_CHECKING:
    from motia_runtime.cli.reach.state import State

T = TypeVar("T")


@click.group("state", cls=Group)
@app_options
def command() -> None:
    """Read and write state."""


@command.command("get")
@click.argument("group")
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="Print null when there is no value, rather than fail.")
@app_options
@click.pass_context
def get(ctx: click.Context, group: str, key: str, as_json: bool) -> None:
    """Print the value of a key as JSON.

    Exits with 1 when there is none, with --json prints null instead.
    """
    from motia_runtime.cli.console import emit_json
    from motia_runtime.cli.errors import Failure

    data = _run(ctx, lambda state: state.get(group, key))
    if data is None and not as_json:
        raise Failure(f"no value in {group}/{key}")
    emit_json(_plain(data))


@command.command("set")
@click.argument("group")
@click.argument("key")
@click.argument("value", metavar="JSON")
@app_options
@click.pass_context
def set_(ctx: click.Context, group: str, key: str, value: str) -> None:
    """Store JSON under a key.

    - reads it from stdin. It is checked against the schema of the group.
    """
    from motia_runtime.cli.jsonarg import read_json

    plain = read_json(value)

    _run(ctx, lambda state: state.set(group, key, plain))


@command.command("ls")
@click.argument("group", required=False)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON: an object of keys and values, or an array of groups."
)
@app_options
@click.pass_context
def ls(ctx: click.Context, group: str | None, as_json: bool) -> None:
    """List groups, or the keys and values of a GROUP."""
    from motia_runtime.cli.console import emit_json, table

    if group is None:
        sizes = _run(ctx, lambda state: state.groups())
        if as_json:
            emit_json(sizes)
        else:
            rows = [(s.group, str(s.keys), str(s.bytes)) for s in sizes]
            table(("GROUP", "KEYS", "BYTES"), rows, empty="no groups")
        return
    found = _run(ctx, lambda state: state.values(group))
    if as_json:
        emit_json({key: _plain(data) for key, data in found.items()})
    else:
        pairs = [(key, data.decode(errors="replace")) for key, data in found.items()]
        table(("KEY", "VALUE"), pairs, empty=f"nothing in {group}")


@command.command("rm")
@click.argument("group")
@click.argument("keys", metavar="KEY...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Delete every key of the group.")
@app_options
@click.pass_context
def rm(ctx: click.Context, group: str, keys: tuple[str, ...], every: bool) -> None:
    """Delete keys."""
    from motia_runtime.cli.console import say
    from motia_runtime.cli.errors import Failure

    if every == bool(keys):
        raise click.UsageError("name the keys, or give --all")

    async def remove(state: State) -> list[str]:
        names = list(await state.values(group)) if every else list(keys)
        return [name for name in names if not await state.delete(group, name)]

    missing = _run(ctx, remove)
    if missing and not every:
        raise Failure(f"no value in {', '.join(f'{group}/{name}' for name in missing)}")
    if every:
        say(f"{group} is empty")


def _run(ctx: click.Context, work: Callable[[State], Awaitable[T]]) -> T:
    from motia_runtime.cli.reach import ask, reach

    app = reach(ctx)

    from motia_runtime.cli.reach.state import state_of

    return ask(app, lambda way: work(state_of(way)))


def _plain(data: bytes | None) -> Any:
    """Stored JSON as it is: what an older schema allowed is shown all the same."""
    import msgspec

    return None if data is None else msgspec.Raw(data)
