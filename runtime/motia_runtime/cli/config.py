"""`motia config`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from motia_runtime.cli.group import Group, project_options, settings

if TYPE_CHECKING:
    from motia_spec.node import Node


@click.group("config", cls=Group)
@project_options
def command() -> None:
    """Show the spec as it is understood."""


@command.command("show")
@click.option("--origins", is_flag=True, help="List every value with the place it comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@project_options
@click.pass_context
def show(ctx: click.Context, origins: bool, as_json: bool) -> None:
    """Print the whole spec: includes and overlays merged, variables filled in.

    Credentials in URLs are masked.
    """
    shared = settings(ctx)
    root = shared.root()

    import os

    from motia_runtime.cli.console import emit_json, table
    from motia_runtime.cli.project import fail, read_dotenv
    from motia_runtime.logs import Mask
    from motia_spec.load import load_spec

    read_dotenv(root)
    loaded = load_spec(root, os.environ, shared.env, None)
    if loaded.node is None:
        fail(ctx, loaded.diagnostics, loaded.sources)
    mask = Mask()
    if origins:
        rows = [(path, mask.value(value), place) for path, value, place in _values(loaded.node, "")]
        if as_json:
            emit_json([{"path": path, "value": value, "origin": place} for path, value, place in rows])
        else:
            table(("PATH", "VALUE", "FROM"), [(p, _shown(v), place) for p, v, place in rows], empty="an empty spec")
        return
    plain = mask.value(loaded.node.plain(), -SPARE)
    if as_json:
        emit_json(plain)
    else:
        import yaml

        click.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120), nl=False)


@command.command("schema")
@project_options
def schema() -> None:
    """Print the JSON Schema of motia.yaml.

    For editors: `motia config schema > motia.schema.json`, and this as the first line of motia.yaml:

    \b
    # yaml-language-server: $schema=./motia.schema.json
    """
    from importlib.resources import files

    click.echo((files("motia_spec") / "motia.schema.json").read_text("utf-8"), nl=False)


SPARE = 1_000  # levels more than a log line may have; the language has its own bound


def _values(node: Node, path: str) -> Iterator[tuple[str, object, str]]:
    from motia_spec.node import ListNode, MapNode

    if isinstance(node, MapNode) and node.entries:
        for key, _, value in node.items():
            yield from _values(value, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(node, ListNode) and node.items:
        for index, item in enumerate(node.items):
            yield from _values(item, f"{path}/{index}")
    else:
        yield path or "/", node.plain(), str(node.place)


def _shown(value: object) -> str:
    import msgspec

    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
