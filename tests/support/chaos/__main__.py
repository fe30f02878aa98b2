"""`python -m support.chaos`: the long form, a table row a seed. Exit code 1 when any seed found a violation; its folder is kept then."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from support.chaos import faults
from support.chaos.run import HEADING, Settings, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=150.0, help="of load and faults")
    parser.add_argument("--hurried", action="store_true", help="with a quarter of the product's waits")
    parser.add_argument(
        "--naive", choices=("", "plans", "all"), default="", help="a control: without plans, or ids either"
    )
    kinds = sorted({kind.kind for kind in faults.ALL})
    parser.add_argument("--without", action="append", default=[], choices=kinds, help="a kind of fault to leave out")
    parser.add_argument("--keep", type=Path, help="where folders of seeds go that found something")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process stays behind
    keep = asked.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    found = False
    print(HEADING, flush=True)
    for seed in asked.seeds:
        folder = keep / f"seed{seed}"
        shutil.rmtree(folder, ignore_errors=True)
        result = run(
            folder,
            Settings(
                seed,
                asked.events,
                asked.faults,
                asked.seconds,
                hurried=asked.hurried,
                naive=asked.naive,
                kinds=tuple(kind for kind in faults.ALL if kind.kind not in asked.without),
            ),
        )
        print(result.row(), flush=True)
        print("\n".join(f"    {line}" for line in result.report().splitlines()[3:]), flush=True)
        if result.verdict.clean:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            found = True
            print(f"    logs, schedule, store: {folder}", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
