"""Have what nats-server writes once, and never syncs, on the disk: the descriptions of new streams and consumers, and where consumers begin.

Its `sync_interval` is for records. A description reaches the disk when the kernel thinks fit, half a minute later; when the power goes before, it is
an empty file, and a server that finds one leaves its stream or its consumer out.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

RECORDS = ".blk"  # synced by the server


def settle(store: Path) -> None:
    """Until all but the records is on the disk. Cheap when it is. What is removed meanwhile does no harm; raises `OSError` when the disk fails."""
    if sys.platform == "win32":  # folders can't be synced there
        return
    for folder, _, names in os.walk(store):
        for path in [*(Path(folder, name) for name in names if not name.endswith(RECORDS)), Path(folder)]:
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
