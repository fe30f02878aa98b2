"""The top of the command line: which commands there are, and what every error looks like.

Each command is a module with a `command`, imported when it is used: `motia --help` costs click and nothing else (a test holds it).
"""

from __future__ import annotations

import keyword
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from motia_runtime.cli.group import Group, project_options

COMMANDS: dict[
    str, dict[str, str]
] = {  # section -> command -> its one-line help (a test compares it with the command's own)
    "Project": {
        "create": "Start a new project from a template.",
        "import": "Make a motia.yaml of a project of the original.",
        "check": "Prove the spec: all findings with place, caret and remedy.",
        "gen": "Write the generated types, and stubs for handlers that are missing.",
        "graph": "Draw the flows.",
        "explain": "Say what a diagnostic code means.",
        "config": "Show the spec as it is understood.",
    },
    "Run": {
        "dev": "Run the app with hot reload.",
        "start": "Run the app in production.",
        "worker": "Run the handlers of one language, for the engines of the app.",
        "plan": "Show what the next start would change on the broker.",
        "doctor": "Examine the broker and all that it stores, from end to end.",
    },
    "Look and touch": {
        "emit": "Emit an event.",
        "run": "Run a step now.",
        "state": "Read and write state.",
        "dlq": "List, redrive and purge dead letters.",
        "delayed": "List and cancel emits that wait for their time.",
        "tasks": "List, show and complete tasks of noop steps.",
        "trace": "Show what happened, run by run.",
        "logs": "Show what runs have logged.",
        "replay": "Publish stored events anew.",
        "cancel": "Cancel a trace, or an event for one step.",
        "steps": "Show how the steps stand with their work.",
        "pause": "Pause an event or cron step, over all instances.",
        "resume": "End the pause of a step.",
    },
    "Workers": {
        "conformance": "Try whether a worker keeps the worker protocol.",
    },
    "Shell": {
        "completion": "Print the completion script of a shell.",
    },
}


def module_of(command: str) -> str:
    """The module of a command: of its name, with an underscore behind it where Python has that word for itself."""
    return f"motia_runtime.cli.{command}" + ("_" if keyword.iskeyword(command) else "")


class Root(Group):
    """The group `motia`: commands by name from COMMANDS, errors as one clear line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = import_module(module_of(cmd_name)).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in COMMANDS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, text in commands.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(arguments, prog_name or "motia", complete_var, False, **extra)
        except Exception as error:
            if "--debug" in arguments or os.environ.get("MOTIA_DEBUG"):
                import traceback

                traceback.print_exc()
            from motia_runtime.cli import errors

            sys.exit(errors.show(error))
        sys.exit(code if isinstance(code, int) else 0)


def _version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from motia_runtime.version import __version__

        click.echo(f"motia {__version__} (Python {'.'.join(map(str, sys.version_info[:3]))})")
        ctx.exit()


@click.group(cls=Root)
@project_options
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def motia() -> None:
    """A backend declared in one file: HTTP, events, schedules and state, on NATS JetStream.

    Looks for motia.yaml here and in the folders above.
    """
