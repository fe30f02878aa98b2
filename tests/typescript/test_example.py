"""The TypeScript of the example app fits the types that `motia gen` writes for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from motia_generator import generate
from motia_generator.writer import write
from motia_spec import compile_project

ROOT = Path(__file__).parents[2]


def test_the_example_compiles_strictly(tsc: Callable[..., Any], tmp_path: Path) -> None:
    shutil.copy(ROOT / "motia.yaml", tmp_path)
    shutil.copytree(ROOT / "steps", tmp_path / "steps", ignore=shutil.ignore_patterns("__pycache__"))
    write(tmp_path, generate(compile_project(tmp_path, environ={}).require()), {})
    # a tsconfig.json without `lib`, as the example's, has this of the browser's
    (tmp_path / "timer.d.ts").write_text(
        "declare function setTimeout(done: (value?: any) => void, ms: number): unknown\n"
    )
    assert tsc(tmp_path) == {tmp_path: []}
    handler = tmp_path / "steps" / "charge_card.ts"
    handler.write_text(handler.read_text().replace('"order.paid"', '"order.payed"'))
    assert [file for file, *_ in tsc(tmp_path)[tmp_path]] == ["steps/charge_card.ts"]
