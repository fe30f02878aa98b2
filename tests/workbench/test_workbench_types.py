"""The front end holds what its names and comments promise: the TypeScript compiler reads it as it is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from typescript.conftest import HERE, node  # noqa: F401  # a fixture

UI = Path(__file__).parent.parent.parent / "runtime" / "motia_runtime" / "workbench" / "ui"
OTHERS = ("vendor/", "shared/")  # libraries, and the modules of the API page
FLAGS = (
    "--allowJs", "--checkJs", "--noEmit", "--noUnusedLocals", "--skipLibCheck", "--target", "es2023", "--module", "esnext",
    "--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable", "--pretty", "false",
)  # fmt: skip


def test_the_compiler_finds_nothing(node: str, tmp_path: Path) -> None:  # noqa: F811  # as pytest has it
    ui = tmp_path / "ui"
    shutil.copytree(UI, ui)
    shutil.copytree(
        UI.parent.parent / "http" / "pages", ui / "shared", ignore=shutil.ignore_patterns("*.py", "__pycache__")
    )
    command = [node, str(HERE / "node_modules" / "typescript" / "bin" / "tsc"), *FLAGS, "main.js"]
    done = subprocess.run(command, cwd=ui, capture_output=True, text=True, timeout=120, check=False)
    lines = [line for line in done.stdout.splitlines() if "error TS" in line]
    assert [line for line in lines if not line.startswith(OTHERS)] == []
    assert lines, "the libraries of others are read too, and have some: nothing was read"
