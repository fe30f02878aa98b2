"""What an exception looks like to people: one line that says what happened and what to do, and the exit code."""

from __future__ import annotations

import errno
import sys

import click

from motia_runtime.cli.console import printable, say


class Failure(Exception):
    """A command could not do its work; exit code 1. The message is the whole line."""


class Refusal(Exception):
    """A command refuses what was asked; exit code 2, as for wrong usage. The message is the whole line."""


def show(error: Exception) -> int:
    """Print it to stderr and return the exit code."""
    if isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        return show(error.exceptions[0])
    if isinstance(error, click.exceptions.Abort):
        if isinstance(error.__context__, EOFError):
            say("aborted: no more input")
            return 1
        return 130  # Ctrl-C needs no words
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        sys.stderr.close()
        return 1
    message, code = _explain(error)
    say(f"error: {printable(message)}", color="31")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        say(f"try `{error.ctx.command_path} --help`")
    return code


def _explain(error: Exception) -> tuple[str, int]:
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--url", "--token"):
        from motia_runtime.cli.root import COMMANDS

        there = ", ".join(COMMANDS["Look and touch"])
        return (
            f"{error.option_name} is not for `{error.ctx.command_path if error.ctx else 'motia'}`, but for commands that ask a running app: {there}",
            error.exit_code,
        )
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, Refusal):
        return str(error), 2
    if isinstance(error, OSError):
        if not error.strerror:
            return str(error), 1
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror, 1
    return (str(error) or type(error).__name__) if _is_known(error) else _internal(error), 1


# Exceptions whose message is written for people, by module and name: a module that was never imported has raised nothing.
KNOWN = {
    "motia_runtime.bind": ("HandlerError",),
    "motia_runtime.byhand": ("NotRunnable",),
    "motia_runtime.cli.errors": ("Failure",),
    "motia_runtime.conformance.kit": ("Broken",),
    "motia_runtime.dotenv": ("DotenvError",),
    "motia_runtime.handler": ("InvalidKey", "InvalidTopic", "ValidationFailed"),
    "motia_runtime.nats.binary": ("NoServer",),
    "motia_runtime.nats.connect": ("Unsupported",),
    "motia_runtime.nats.embedded": ("StartFailed", "StoreBusy"),
    "motia_runtime.nats.reconcile": ("ReconcileFailed",),
    "motia_runtime.ports": ("Conflict", "LogUnavailable", "TooLarge"),
    "motia_runtime.remote.child": ("WorkerFailed",),
    "motia_runtime.remote.node": ("NoNode",),
    "motia_runtime.standings": ("NotPausable",),
    "motia_runtime.supervise": ("WorkerEnded",),
    "motia_runtime.tasks": ("NoTask", "TaskEnded", "WhichTopic"),
}


def _is_known(error: Exception) -> bool:
    return any(kind.__name__ in KNOWN.get(kind.__module__, ()) for kind in type(error).__mro__)


def _internal(error: Exception) -> str:
    text = str(error).strip().split("\n", 1)[0][:300]
    return f"this should not happen: {type(error).__name__}: {text}; run it with --debug for the traceback"
