"""`motia conformance`, from its first line to its last."""

from __future__ import annotations

import logging
import os
import tempfile
import time
import traceback
from pathlib import Path
from typing import cast

import click

from motia_runtime.conformance.cases import CASES
from motia_runtime.conformance.kit import Broken, Kit, open_kit
from motia_runtime.conformance.project import Language


async def run(worker: str, handlers: str, only: str | None) -> int:
    """The exit code: 0 when every case went well."""
    logging.disable(logging.ERROR)  # runs are meant to fail here
    chosen = [(what, case) for what, case in CASES if only is None or only.lower() in what.lower()]
    if not chosen:
        raise click.UsageError(f"no case holds {only!r}; there are: " + "; ".join(what for what, _ in CASES))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="motia-conformance-") as folder:
        async with open_kit(Path(folder) / "app", worker, cast(Language, handlers), os.environ) as kit:
            await kit.start()
            for what, case in chosen:
                began = time.monotonic()
                problem = await _try(kit, case)
                mark = "ok    " if problem is None else "FAILED"
                click.echo(f"{mark}  {what}  ({time.monotonic() - began:.1f} s)")
                if problem is not None:
                    failed += 1
                    click.echo("        " + problem.replace("\n", "\n        "))
    click.echo(f"{len(chosen) - failed} of {len(chosen)} cases passed")
    return 1 if failed else 0


async def _try(kit: Kit, case: object) -> str | None:
    try:
        await case(kit)  # type: ignore[operator]  # a Case
    except Broken as problem:
        return str(problem)
    except Exception:
        return traceback.format_exc()
    return None
