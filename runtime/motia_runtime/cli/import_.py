"""`motia import`. (`import` can't be the name of a module that Python code imports.)"""

from __future__ import annotations

from pathlib import Path

import click

from motia_runtime.cli.group import SPEC, project_options


@click.command("import")
@click.argument("path", default=".", type=click.Path(exists=True, file_okay=False))
@click.option("--dry-run", is_flag=True, help="Write nothing; print the spec.")
@click.option("--force", is_flag=True, help="Write over a motia.yaml that is there.")
@project_options
@click.pass_context
def command(ctx: click.Context, path: str, dry_run: bool, force: bool) -> None:
    """Make a motia.yaml of a project of the original.

    PATH is its folder, by default this one. Its step and stream files, in TypeScript, JavaScript and Python, are read as text and never
    run; handlers stay where and as they are. What could not be carried over is listed with file and line.
    """
    from motia_generator.importing import NotAProject, read_project
    from motia_runtime.cli.console import say
    from motia_runtime.cli.errors import Refusal

    root = Path(path)
    target = root / SPEC
    if not dry_run and not force and (target.exists() or target.is_symlink()):
        raise click.UsageError(
            f"{target} is there already; --force writes over it, --dry-run shows what would be written"
        )
    try:
        found = read_project(root)
    except NotAProject as problem:
        raise Refusal(str(problem)) from problem
    if dry_run:
        click.echo(found.text, nl=False)
    else:
        if target.is_symlink():
            target.unlink()
        target.write_text(found.text, encoding="utf-8")
    for note in found.notes:
        where = f"{note.file}:{note.line}: " if note.file else ""
        click.echo(f"{where}{note.text}", err=dry_run)
    read = ((found.steps, "step"), (found.topics, "topic"), (found.streams, "stream"))
    counts = ", ".join(f"{n} {what}" + ("" if n == 1 else "s") for n, what in read)
    rest = f"not carried over: {len(found.notes)}, listed above" if found.notes else "nothing was left out"
    say(
        f"{'read' if dry_run else f'{target}:'} {counts}; {rest}; next: motia gen, motia check",
        color="33" if found.notes else "32",
    )
