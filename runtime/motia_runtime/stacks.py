"""What is kept of an error: where in the user's own files it came from."""

from __future__ import annotations

import linecache
from pathlib import Path

MESSAGE_LENGTH = 10_000  # characters kept of an error's message
STACK_FRAMES = 20  # of the user's code, innermost last


def user_stack(problem: BaseException, root: Path) -> str:
    """A line a frame, "steps/pay.py:7 in handler: raise Declined(card)", innermost last; empty when no frame is the project's."""
    frames: list[str] = []
    walk = problem.__traceback__
    while walk is not None:
        file = Path(walk.tb_frame.f_code.co_filename)
        if file.is_relative_to(root) and "site-packages" not in file.parts:
            code = linecache.getline(str(file), walk.tb_lineno).strip()
            name = walk.tb_frame.f_code.co_name
            frames.append(f"{file.relative_to(root).as_posix()}:{walk.tb_lineno} in {name}: {code}")
        walk = walk.tb_next
    return "\n".join(frames[-STACK_FRAMES:])
