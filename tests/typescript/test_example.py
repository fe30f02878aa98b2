"""The TypeScript of the example app, and of the template for one's own, fits the types that `motia gen` writes for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from motia_generator import generate
from motia_generator.writer import write
from motia_runtime.cli.root import motia
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


def test_what_create_makes_compiles_strictly(tsc: Callable[..., Any], tmp_path: Path) -> None:
    app = tmp_path / "app"
    for args in (["create", str(app), "-t", "typescript"], ["-C", str(app), "gen"]):
        done = CliRunner().invoke(motia, args)
        assert done.exit_code == 0, done.output
    (app / "crypto.d.ts").write_text("declare const crypto: { randomUUID(): string }\n")  # of the browser's, as above
    assert tsc(app) == {app: []}
    handler = app / "steps" / "count_words.step.ts"
    handler.write_text(handler.read_text().replace("...note, words", "...note, words: `${words}`"))
    assert [file for file, *_ in tsc(app)[app]] == ["steps/count_words.step.ts"]
