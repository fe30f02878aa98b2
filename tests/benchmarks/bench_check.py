"""Time of checking a large spec: `python tests/benchmarks/bench_check.py [STEPS]`. Medians of five, layer by layer, and in a new process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from big_spec import write_big_spec

from motia_spec import compile_project, validate
from motia_spec.load import load_spec

_ROUNDS = 5


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        spec = write_big_spec(Path(folder), steps)
        compiled = compile_project(spec)
        if not compiled.ok:
            raise SystemExit("\n".join(f"{d.place} {d.code} {d.message}" for d in compiled.diagnostics[:10]))
        node = load_spec(spec).node
        assert node is not None
        code = f"from motia_spec import compile_project; assert compile_project({str(spec)!r}).ok"
        rows = [
            ("read", _median(lambda: load_spec(spec))),
            ("validate", _median(lambda: validate.validate_spec(node))),
            ("compile_project without handlers", _median(lambda: compile_project(spec, handlers=False))),
            ("compile_project", _median(lambda: compile_project(spec))),
            ("a new process", _median(lambda: subprocess.run([sys.executable, "-c", code], check=True))),
        ]
    print(f"{steps} steps, {len(compiled.diagnostics)} findings; seconds, median of {_ROUNDS}")
    for name, seconds in rows:
        print(f"  {name:34}{seconds:8.3f}")


if __name__ == "__main__":
    main()
