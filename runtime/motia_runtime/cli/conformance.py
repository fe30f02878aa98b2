"""`motia conformance`."""

from __future__ import annotations

import click

from motia_runtime.cli.group import project_options


@click.command("conformance")
@click.option("--worker", "worker", required=True, metavar="CMD", help="Command that starts the worker.")
@click.option(
    "--handlers", type=click.Choice(["node", "python"]), default="node", show_default=True,
    help="Which of the kit's own handlers to lay out for it.",
)  # fmt: skip
@click.option("--only", metavar="TEXT", help="Cases whose name holds it.")
@project_options
@click.pass_context
def command(ctx: click.Context, worker: str, handlers: str, only: str | None) -> None:
    """Try whether a worker keeps the worker protocol.

    Starts a broker and an engine, and CMD in a folder of its own with NATS_URL and NATS_TOKEN set; needs no project. docs/conformance.md says what the
    worker has to serve.
    """
    from motia_runtime.cli.loop import run_loop
    from motia_runtime.cli.trying import run

    ctx.exit(run_loop(run(worker, handlers, only)))
