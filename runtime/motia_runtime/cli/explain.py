"""`motia explain`."""

from __future__ import annotations

import click

from motia_runtime.cli.console import json_option
from motia_runtime.cli.group import project_options


def _complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from motia_spec.codes import CODES

    return [code for code in CODES if code.startswith(incomplete.upper())]


@click.command("explain")
@click.argument("code", required=False, shell_complete=_complete)
@json_option
@project_options
def command(code: str | None, as_json: bool) -> None:
    """Say what a diagnostic code means.

    Without CODE: list all of them.
    """
    from motia_runtime.cli.console import emit_json, paint, table
    from motia_spec.codes import CODES

    if code is None:
        if as_json:
            emit_json([CODES[key] for key in sorted(CODES)])
            return
        table(("CODE", "MEANING"), [(key, CODES[key].title) for key in sorted(CODES)], empty="no codes")
        return
    found = CODES.get(code.upper())
    if found is None:
        from difflib import get_close_matches

        close = get_close_matches(code.upper(), CODES, 3, 0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "`motia explain` lists all codes"
        raise click.UsageError(f"no diagnostic code {code!r}; {hint}")
    if as_json:
        emit_json(found)
        return
    click.echo(f"{paint(found.code, '1')} {found.title}\n\n{found.explanation.strip()}\n\nFor example:\n", color=True)
    click.echo("\n".join(f"    {line}" for line in found.example.strip("\n").split("\n")))
