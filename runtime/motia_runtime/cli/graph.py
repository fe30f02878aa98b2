"""`motia graph`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from motia_runtime.cli.group import project_options

FORMATS = ("svg", "png", "pdf", "dot", "mermaid", "json")
ENDINGS = {".svg": "svg", ".png": "png", ".pdf": "pdf", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".json": "json"}
BINARY = ("png", "pdf")


@click.command("graph")
@click.option("--flow", metavar="NAME", help="Only this flow.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="[default: by the ending of FILE, else dot]")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False), help="Write to FILE rather than stdout."
)
@click.option("--state", is_flag=True, help="Draw the state groups that steps use.")
@click.option("--streams", is_flag=True, help="Draw the live streams that steps use.")
@click.option("--renderer", type=click.Choice(["auto", "graphviz-pure", "dot"]), default="auto", show_default=True)
@project_options
@click.pass_context
def command(
    ctx: click.Context,
    flow: str | None,
    form: str | None,
    output: str | None,
    state: bool,
    streams: bool,
    renderer: str,
) -> None:
    """Draw the flows.

    \b
    motia graph -o flows.svg
    motia graph --flow orders --format mermaid
    """
    from motia_runtime.cli.console import say
    from motia_runtime.cli.errors import Failure
    from motia_runtime.cli.project import load

    if form is None:
        form = ENDINGS.get(Path(output).suffix.lower()) if output else "dot"
        if form is None:
            raise click.UsageError(f"{output}: no format goes by this ending; give --format ({', '.join(FORMATS)})")
    if form in BINARY and output is None and sys.stdout.isatty():
        raise click.UsageError(f"{form} is no text for a terminal; give -o FILE")
    project = load(ctx)

    from motia_generator.diagram import TEXT_FORMATS, NoSuchFlow, diagram
    from motia_generator.render import RenderError, render

    try:
        text = diagram(project, form if form in TEXT_FORMATS else "dot", flow=flow, state=state, streams=streams)
        data = text.encode() if form in TEXT_FORMATS else render(text, form, renderer=renderer)
    except NoSuchFlow as error:
        raise click.UsageError(str(error)) from error
    except RenderError as error:
        raise Failure(str(error)) from error
    if output is None:
        sys.stdout.buffer.write(data)
    else:
        Path(output).write_bytes(data)
        say(f"wrote {output} ({len(data):,} bytes)")
