"""What all commands share: the options that say which project, and did-you-mean for a mistyped command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

SPEC = "motia.yaml"

F = TypeVar("F", bound=Callable[..., Any])


class Settings:
    """The shared options, as far as given. Lives as long as the command."""

    def __init__(self) -> None:
        self.folder: str | None = None  # -C
        self.env: str | None = None  # --env: the overlay motia.<env>.yaml
        self.url: str | None = None  # --url: a running app, rather than the broker of the project
        self.token: str | None = None  # --token
        self.token_given = False  # on the command line, not by the environment

    def root(self) -> Path:
        """The folder of the nearest motia.yaml, from -C or the working directory upwards. UsageError when there is none."""
        start = Path(self.folder or ".")
        if self.folder is not None and not start.exists():
            raise click.UsageError(f"-C {self.folder}: no such folder")
        start = start.absolute()
        if start.is_file():
            return start.parent
        for folder in (start, *start.parents):
            if (folder / SPEC).is_file():
                return Path(os.path.relpath(folder)) if folder.is_relative_to(Path.cwd()) else folder
        raise click.UsageError(f"no {SPEC} in {start} or above it; `motia create` starts a project, -C DIR names one")


def settings(ctx: click.Context) -> Settings:
    found = ctx.find_root().obj
    if not isinstance(found, Settings):
        found = ctx.find_root().obj = Settings()
    return found


def project_options(function: F) -> F:
    """-C, --env and --debug, before or after the command's name."""

    def folder(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            settings(ctx).folder = value

    def env(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            settings(ctx).env = value

    options = [
        click.option(
            "-C", "--project", metavar="DIR", type=click.Path(), expose_value=False, callback=folder,
            help="Folder of the project.",
        ),
        click.option(
            "--env", metavar="NAME", envvar="MOTIA_ENV", expose_value=False, callback=env,
            help="Lay motia.NAME.yaml over the spec.",
        ),
        click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks; also MOTIA_DEBUG=1."),
        click.help_option("-h", "--help"),
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def app_options(function: F) -> F:
    """--url and --token, and `project_options`: for commands that look at an app, or change what it has."""

    def url(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
        if value and (_is_given(ctx, option) or settings(ctx).url is None):
            settings(ctx).url = value

    def token(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
        given = _is_given(ctx, option)
        if value and (given or settings(ctx).token is None):
            settings(ctx).token = value
            settings(ctx).token_given |= given

    options = [
        click.option(
            "--url", metavar="URL", envvar="MOTIA_URL", expose_value=False, callback=url,
            help="Ask the running app there, by the API of its Workbench, rather than the broker; also MOTIA_URL.",
        ),
        click.option(
            "--token", metavar="TOKEN", envvar="MOTIA_TOKEN", expose_value=False, callback=token,
            help="The token that it wants; better in MOTIA_TOKEN, which nobody else sees.",
        ),
    ]  # fmt: skip
    function = project_options(function)
    for option in reversed(options):
        function = option(function)
    return function


def _is_given(ctx: click.Context, option: click.Parameter) -> bool:
    """Whether the command line has the option; a group has it, and each of its commands."""
    return ctx.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE


class Group(click.Group):
    """A group that knows what was probably meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            from difflib import get_close_matches

            known = self.list_commands(ctx)
            close = get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean `{ctx.command_path} {close[0]}`?" if close else f"there are: {', '.join(known)}"
            raise click.UsageError(f"no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


def _set_metrics(ctx: click.Context, option: click.Parameter, value: str | None) -> None:
    """Where the environment says it, for this process and those that it starts."""
    if value is not None:
        from motia_runtime.metrics.server import SETTING

        os.environ[SETTING] = value


node_option = click.option(
    "--node-workers", type=click.IntRange(1, 256), metavar="N",
    help="Processes for steps in TypeScript and JavaScript, beside each process of the app.  [default: 1]",
)  # fmt: skip
metrics_option = click.option(
    "--metrics", metavar="[HOST:]PORT", expose_value=False, callback=_set_metrics,
    help="Serve metrics for Prometheus there, at /metrics.  [default: MOTIA_METRICS; none]",
)  # fmt: skip
