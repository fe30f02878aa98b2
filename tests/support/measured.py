"""A command as a process of its own, with what it has cost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from support.process import clean_environ

HANG = 60.0  # seconds after which a process counts as hanging, on a machine that is busy with other things

# The process is started from a small one: the kernel counts the memory of the process that forks as the child's own peak.
_LAUNCH = """
import os, sys
child = os.fork()
if not child:
    os.execv(sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(child, 0)
peak = used.ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.waitstatus_to_exitcode(status)} {used.ru_utime + used.ru_stime} {peak}")
"""


class Measured(NamedTuple):
    """`code` is the negative number of the signal for a process that was killed by one."""

    code: int
    stdout: str
    stderr: str
    cpu: float  # seconds
    peak_mib: int


def measured_motia(folder: Path, scratch: Path, *args: str) -> Measured:
    """`motia ARGS` in a folder. `scratch`: an existing folder outside of it. Fails the test when it does not end."""
    report = scratch / "cost"
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LAUNCH, str(report), sys.executable, "-m", "motia_runtime", *args],
        cwd=folder,
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = launcher.communicate(timeout=HANG)
    except subprocess.TimeoutExpired:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.communicate()
        raise AssertionError(f"`motia {' '.join(args)}` hangs: not ended after {HANG:g} s") from None
    code, cpu, peak = report.read_text().split()
    return Measured(int(code), stdout, stderr, float(cpu), int(peak))
