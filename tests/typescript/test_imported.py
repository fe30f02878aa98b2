"""TypeScript files of imported projects compile against the generated types as they are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from motia_generator import generate, stubs, writer
from motia_generator.importing import read_project
from motia_spec import compile_project

HERE = Path(__file__).parent
PROJECTS = HERE.parent / "importing" / "projects"
Compile = Callable[..., dict[Path, list[tuple[str, int, int, str]]]]


def test_imported_handlers_compile(tsc: Compile, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")  # zod
    folders = []
    for name in ("tutorial", "mixed"):
        root = tmp_path / name
        shutil.copytree(PROJECTS / name, root)
        (root / "motia.yaml").write_text(read_project(root).text)
        (root / "motia.config.ts").unlink(missing_ok=True)  # it imports a plugin of the original's Workbench
        project = compile_project(root, environ={}, handlers=False).require()
        writer.write(root, generate(project), stubs(project))
        folders.append(root)
    found = tsc(*folders)
    assert [
        f for folder in folders for f in found[folder] if not f[0].endswith(".js")
    ] == []  # its JavaScript has no types
