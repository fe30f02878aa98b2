"""What a worker process prints, in the app's log, and what of it tells where a crash in native code came from."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from pathlib import Path

from motia_runtime.runlog import LINE_LENGTH
from motia_runtime.stacks import STACK_FRAMES

CHUNK = 64 * 1024  # bytes read at a time
LINES_PER_CHUNK = 500  # lines logged of each; a handler that prints without end shall not take the app's time
KEPT = 200  # lines kept for when the process dies

_log = logging.getLogger("motia.run")
_FRAME = re.compile(r'\s+File "(?P<file>.+)", line (?P<line>\d+) in (?P<name>.+)')


class Output:
    """Lives as long as the process. `trace_id` is that of the run that prints."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._last: deque[str] = deque(maxlen=KEPT)
        self.trace_id = ""

    async def follow(self, stream: asyncio.StreamReader) -> None:
        """Log each line until the stream ends."""
        rest = b""
        while chunk := await stream.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > CHUNK:
                lines, rest = [*lines, rest], b""
            for line in lines[:LINES_PER_CHUNK]:
                self._tell(line)
            if len(lines) > LINES_PER_CHUNK:
                self._tell(b"... and %d lines more" % (len(lines) - LINES_PER_CHUNK))
        if rest:
            self._tell(rest)

    def _tell(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace").rstrip("\r")[:LINE_LENGTH]
        self._last.append(text)
        if text.strip():
            _log.info("%s", text, extra={"motia": {"step": self._step, "trace_id": self.trace_id}})

    def stack(self, root: Path) -> str:
        """The user's frames of the thread that crashed, innermost last, as `faulthandler` has told them; empty when it has not."""
        frames: list[str] = []
        inside = False
        for line in self._last:
            if "(most recent call first)" in line:
                inside = not line.startswith("Thread ")  # one of the others
            elif inside and (found := _FRAME.fullmatch(line)) and Path(found["file"]).is_relative_to(root):
                frames.append(f"{Path(found['file']).relative_to(root).as_posix()}:{found['line']} in {found['name']}")
        return "\n".join(reversed(frames[:STACK_FRAMES]))
