"""`motia worker`."""

from __future__ import annotations

import logging
import os
import sys
import time

import click

from motia_runtime.cli.errors import Failure
from motia_runtime.cli.group import project_options, settings

MOST = 256  # processes


@click.command("worker")
@click.option("--language", type=click.Choice(["node", "python"]), required=True, help="Whose handlers to run.")
@click.option("--nats", "url", metavar="URL", help="The broker, rather than NATS_URL or nats.url of the spec.")
@click.option("--workers", type=click.IntRange(1, MOST), default=1, show_default=True, help="Processes.")
@click.option(
    "--capacity", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Runs at once in a process."
)
@click.option(
    "--grace", type=click.FloatRange(0, 3600), metavar="SECONDS", default=25, show_default=True,
    help="How long what has begun may take after SIGTERM.",
)  # fmt: skip
@click.option("--logs", "form", type=click.Choice(["json", "text"]), default="json", show_default=True)
@click.option("--verbose", "-v", is_flag=True, help="Log debug lines.")
@click.option("--worker", type=int, hidden=True)  # set by the supervisor: number of this process
@click.option("--tether", "line", type=int, hidden=True)  # and the file descriptor of the line to it
@project_options
@click.pass_context
def command(
    ctx: click.Context,
    language: str,
    url: str | None,
    workers: int,
    capacity: int,
    grace: float,
    form: str,
    verbose: bool,
    worker: int | None,
    line: int | None,
) -> None:
    """Run the handlers of one language, for the engines of the app.

    Needs the project's folder and a way to the broker (NATS_URL, or the embedded one of an app that runs in the same folder). SIGTERM drains: what has
    begun is finished, the rest goes to other workers.
    """
    began = time.perf_counter()
    if workers > 1 and language == "python" and sys.platform == "win32":
        raise click.UsageError("--workers above 1 needs Linux or macOS for Python; start the command several times")
    tether = None
    if line is not None:
        from motia_runtime.tether import Tether

        tether = Tether(line, grace=grace)

    from motia_runtime.broker import broker_settings
    from motia_runtime.cli.loop import run_loop
    from motia_runtime.cli.project import load
    from motia_runtime.cli.serving import Options, run_node, run_python, supervise
    from motia_runtime.logs import setup
    from motia_spec.model import NoopStep

    project = load(ctx, handlers=True, dotenv=False)
    served = [s.name for s in project.steps.values() if not isinstance(s, NoopStep) and s.handler.language == language]
    if not served:
        raise Failure(
            f"no step of {project.name} has its handler in {'Python' if language == 'python' else 'TypeScript or JavaScript'}"
        )
    reach = broker_settings(project, {**os.environ, **({"NATS_URL": url} if url else {})})
    if reach is None:
        raise Failure("no broker to work for: set NATS_URL, or start the app in this folder first")
    setup(project, json=form == "json", level=logging.DEBUG if verbose else logging.INFO, worker=worker)
    options = Options(settings=reach, workers=workers, capacity=capacity, grace=grace, steps=len(served), began=began)
    if language == "node":
        run_loop(run_node(project, options))
    elif workers > 1:
        again = ["--language", language, "--capacity", str(capacity), "--grace", str(grace), "--logs", form]
        again += [*(["--nats", url] if url else []), *(["--verbose"] if verbose else [])]
        again += ["--project", str(project.root)]
        if (overlay := settings(ctx).env) is not None:
            again += ["--env", overlay]
        ctx.exit(0 if run_loop(supervise(again, options)) else 1)
    else:
        run_loop(run_python(project, options, tether))
