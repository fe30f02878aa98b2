"""`motia gen`."""

from __future__ import annotations

import click

from motia_runtime.cli.group import project_options


@click.command("gen")
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit with 1 when something is out of date.")
@click.option(
    "--diff", "only_diff", is_flag=True, help="Write nothing; show what would change, exit with 1 if anything."
)
@project_options
@click.pass_context
def command(ctx: click.Context, only_check: bool, only_diff: bool) -> None:
    """Write the generated types, and stubs for handlers that are missing.

    motia_types/ is always rewritten; a stub is written once and is yours from then on. Nothing else is touched, and nothing at all
    is written when the spec has errors.
    """
    from motia_runtime.cli.console import paint, say
    from motia_runtime.cli.errors import Refusal
    from motia_runtime.cli.project import load

    project = load(ctx)

    from motia_generator import generate, stubs, writer

    generated = generate(project)
    try:
        if only_diff:
            shown = writer.diff(project.root, generated)
            click.echo(
                "".join(paint(line, _color(line)) for line in shown.splitlines(keepends=True)), nl=False, color=True
            )
            ctx.exit(1 if shown else 0)
        changes = (
            writer.check(project.root, generated)
            if only_check
            else writer.write(project.root, generated, stubs(project))
        )
    except writer.WriteError as error:
        raise Refusal(str(error)) from error
    for verb, paths in (("write", changes.written), ("remove", changes.removed), ("stub", changes.stubs)):
        for path in paths:
            click.echo(f"{verb:<6} {path}")
    if only_check and changes:
        say("out of date; run `motia gen`", color="31")
        ctx.exit(1)
    if not changes:
        say("up to date", color="32")


def _color(line: str) -> str:
    return {"+": "32", "-": "31", "@": "36"}.get(line[:1], "")
