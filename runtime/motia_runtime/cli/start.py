"""`motia start`."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

import click

from motia_runtime.cli.group import metrics_option, node_option, project_options, settings

if TYPE_CHECKING:
    from motia_runtime.engine import Role

MOST = 256  # workers


@click.command("start")
@click.option("--port", type=click.IntRange(0, 65535), help="[default: server.port of the spec]")
@click.option("--host", help="Address to listen on.  [default: server.host of the spec, 127.0.0.1]")
@click.option("--nats", "url", metavar="URL", help="The broker, rather than nats.url of the spec.")
@click.option(
    "--workers", type=click.IntRange(1, MOST), default=1, show_default=True, help="Processes that share the port."
)
@click.option(
    "--role", type=click.Choice(["all", "http", "engine"]), default="all", show_default=True,
    help="http: api steps only; engine: event and cron steps only.",
)  # fmt: skip
@click.option(
    "--remote", multiple=True, type=click.Choice(["node", "python"]),
    help="Languages whose handlers run in `motia worker`s of yours: start none here.",
)  # fmt: skip
@node_option
@click.option(
    "--grace", type=click.FloatRange(0, 3600), metavar="SECONDS", default=25, show_default=True,
    help="How long what has begun may take after SIGTERM.",
)  # fmt: skip
@click.option(
    "--notice", type=click.FloatRange(0, 600), metavar="SECONDS", default=0, show_default=True,
    help="How much of the grace to go on working with /readyz at 503, for a load balancer to hear of it.",
)  # fmt: skip
@click.option(
    "--workbench", is_flag=True, help="Serve the Workbench, to those who know the token in MOTIA_ADMIN_TOKEN."
)
@metrics_option
@click.option("--logs", "form", type=click.Choice(["json", "text"]), default="json", show_default=True)
@click.option("--verbose", "-v", is_flag=True, help="Log debug lines.")
@click.option("--worker", type=int, hidden=True)  # set by the supervisor: number of this process
@click.option("--tether", "line", type=int, hidden=True)  # and the file descriptor of the line to it
@project_options
@click.pass_context
def command(
    ctx: click.Context,
    port: int | None,
    host: str | None,
    url: str | None,
    workers: int,
    role: Role,
    remote: tuple[str, ...],
    node_workers: int | None,
    grace: float,
    notice: float,
    workbench: bool,
    form: str,
    verbose: bool,
    worker: int | None,
    line: int | None,
) -> None:
    """Run the app in production.

    No reload, no .env, JSON logs. SIGTERM drains: what has begun is finished, what waits is given back.
    """
    began = time.perf_counter()
    if workers > 1 and sys.platform != "linux":
        raise click.UsageError(
            f"--workers {workers} needs Linux, whose kernel spreads connections over processes that share a port; "
            "start one with --role http and as many as you like with --role engine, each with a --port of its own"
        )
    if node_workers is not None and "node" in remote:
        raise click.UsageError(
            "--node-workers says how many to start, --remote node to start none; give the number to `motia worker --language node --workers N`"
        )
    if workbench:
        _check_workbench(role)
    tether = None
    if line is not None:
        from motia_runtime.tether import Tether

        tether = Tether(line, grace=grace)

    import msgspec

    from motia_runtime.cli.project import load
    from motia_runtime.logs import setup

    project = load(ctx, handlers=True, dotenv=False)
    if url is not None:
        project = msgspec.structs.replace(project, nats=msgspec.structs.replace(project.nats, url=url))
    setup(project, json=form == "json", level=logging.DEBUG if verbose else logging.INFO, worker=worker)
    host = project.server.host if host is None else host
    port = project.server.port if port is None else port

    from motia_runtime.cli.loop import run_loop

    if workers > 1:
        from motia_runtime.cli.workers import run_workers

        options = ["--role", role, "--grace", str(grace), "--notice", str(notice), "--logs", form]
        options += [word for language in remote for word in ("--remote", language)]
        options += ["--node-workers", str(node_workers)] if node_workers is not None else []
        options += [*(["--nats", url] if url is not None else []), *(["--verbose"] if verbose else [])]
        options += ["--workbench"] if workbench else []
        options += ["--project", str(project.root)]
        if (overlay := settings(ctx).env) is not None:
            options += ["--env", overlay]
        clean = run_loop(run_workers(project, options, workers, host, port, role=role, grace=grace, began=began))
        ctx.exit(0 if clean else 1)

    from motia_runtime.app import Place
    from motia_runtime.cli.serve import run_start

    place = Place(
        host=host,
        port=port,
        workbench=workbench,
        role=role,
        shared=tether is not None,
        grace=grace,
        notice=notice,
        elsewhere=frozenset(remote),
        node_workers=node_workers or 1,
        overlay=settings(ctx).env,
    )
    run_loop(run_start(project, place, began=began, tether=tether))


def _check_workbench(role: Role) -> None:
    """Nobody shall open it to the world by a flag alone."""
    import os

    from motia_runtime.http.tasks import SHORTEST, TOKEN

    if role == "engine":
        raise click.UsageError("--workbench needs a server for requests: start it with --role all or --role http")
    if len(os.environ.get(TOKEN, "")) < SHORTEST:
        raise click.UsageError(
            f"--workbench shows and changes everything of the app, so it needs a token: set {TOKEN} to {SHORTEST} characters or "
            "more that nobody can guess, such as the output of `openssl rand -hex 24`"
        )
