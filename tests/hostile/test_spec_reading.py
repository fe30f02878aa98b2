"""Hostile specs, read and held against the schema: a finding or none, never an exception, in bounded time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from motia_spec.load import load_spec
from motia_spec.render import render_text
from motia_spec.validate import validate_spec
from support.corpus import Entry, corpus, inputs, raw

# What reading and the schema alone can know; the others are references, patterns, paths, schedules: found by the rules.
FOUND_HERE = {
    "SPEC-001": "M008", "SPEC-003": "M008", "SPEC-005": "M009", "SPEC-007": "M014", "SPEC-009": "M014", "SPEC-011": "M014",
    "SPEC-013": "M007", "SPEC-015": "M002", "SPEC-017": "M013", "SPEC-019": "M028", "SPEC-021": "M107", "SPEC-023": "M016",
    "SPEC-025": "M016", "SPEC-027": "M101", "SPEC-029": "M011", "SPEC-031": "M012", "SPEC-033": "M004", "SPEC-035": "M003",
    "SPEC-039": "M004", "SPEC-041": "M108", "SPEC-043": "M006", "SPEC-057": "M104", "SPEC-065": "M002", "SPEC-067": "M106",
    "SPEC-069": "M101", "SPEC-071": "M107", "SPEC-073": "M107", "SPEC-075": "M107", "SPEC-077": "M107", "SPEC-097": "M008",
    "SPEC-099": "M020",
}  # fmt: skip


@inputs("spec")
def test_it_is_answered(entry: Entry, tmp_path: Path) -> None:
    (tmp_path / "motia.yaml").write_bytes(raw(entry))
    start = time.process_time()
    loaded = load_spec(tmp_path, {})
    found = loaded.diagnostics + (validate_spec(loaded.node) if loaded.node is not None else [])
    text = render_text(found, loaded.sources)
    assert time.process_time() - start < 10
    expected = FOUND_HERE.get(entry["id"])
    assert {d.code for d in found} == ({expected} if expected else set())
    assert all(d.place.line >= 1 and d.place.column >= 1 and d.place.width >= 1 for d in found)
    assert "Traceback" not in text


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured as Linux counts it")
def test_all_of_it_in_bounded_memory(tmp_path: Path) -> None:
    """The peak of one process that reads the whole corpus, one after the other."""
    for entry in corpus()["spec"]:
        (tmp_path / f"{entry['id']}.yaml").write_bytes(raw(entry))
    program = (
        "import pathlib, re, sys\n"
        "from motia_spec.load import load_spec\n"
        "from motia_spec.validate import validate_spec\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    node = load_spec(path, {}).node\n"
        "    node is None or validate_spec(node)\n"
        # not ru_maxrss, which begins with what the parent had when it forked
        "print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, env=os.environ
    )
    assert int(done.stdout) < 256 * 1024
