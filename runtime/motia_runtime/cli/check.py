"""`motia check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from motia_runtime.cli.group import SPEC, Settings, project_options, settings

LARGEST = 64 << 20  # bytes read from stdin; the language refuses far smaller specs with a diagnostic of its own


@click.command("check")
@click.argument("path", required=False, metavar="[PATH|-]", type=click.Path())
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "github", "sarif"]), default="text", show_default=True
)
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@project_options
@click.pass_context
def command(ctx: click.Context, path: str | None, form: str, strict: bool) -> None:
    """Prove the spec: all findings with place, caret and remedy.

    PATH is a motia.yaml or its folder; - reads the spec from stdin, and files it names from the project's folder.
    Exits with 1 when there are errors (with --strict: or warnings).
    """
    shared = settings(ctx)
    folder, text = _which(shared, path)

    from motia_runtime.cli.console import say
    from motia_runtime.cli.project import read_dotenv
    from motia_spec import compile_project, render
    from motia_spec.diagnostics import Severity

    read_dotenv(folder if folder.is_dir() else folder.parent)
    compiled = compile_project(folder, overlay=shared.env, text=text)
    found = compiled.diagnostics
    if form == "text":
        from motia_runtime.logs import wants_color

        if found:
            click.echo(render.render_text(found, compiled.sources, color=wants_color(sys.stdout)).rstrip(), color=True)
    else:
        shape = {"json": render.render_json, "github": render.render_github, "sarif": render.render_sarif}[form]
        if output := shape(found, compiled.sources).rstrip():
            click.echo(output)
    errors = sum(d.severity is Severity.ERROR for d in found)
    warnings = sum(d.severity is Severity.WARNING for d in found)
    if form == "text" and not errors and not warnings and compiled.project is not None:
        project = compiled.project
        counts = {"step": len(project.steps), "topic": len(project.topics), "flow": len(project.flows)}
        say(f"ok: {', '.join(f'{n} {what}' + ('' if n == 1 else 's') for what, n in counts.items())}", color="32")
    ctx.exit(1 if errors or (strict and warnings) else 0)


def _which(shared: Settings, path: str | None) -> tuple[Path, str | None]:
    """Where the spec is, and its text when it came by stdin."""
    if path is None:
        return shared.root(), None
    if path == "-":
        return Path(shared.folder or "."), _stdin()
    found = Path(path)
    if not found.exists():
        raise click.UsageError(f"{path}: no such file or folder")
    if found.is_dir() and not (found / SPEC).is_file():
        raise click.UsageError(f"{path}: no {SPEC} in this folder")
    return found, None


def _stdin() -> str:
    raw = sys.stdin.buffer.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise click.UsageError(f"more than {LARGEST >> 20} MiB on stdin")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"stdin is not UTF-8 (byte {error.start})") from error
