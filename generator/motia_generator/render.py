"""DOT to pictures, by a Graphviz program outside this process: the bundled `graphviz-pure`, or an installed `dot`.

Both get the graph on standard input and nothing else from us: no shell, no files, no names from the spec in the arguments.
"""

from __future__ import annotations

import os
import shutil
import subprocess  # the only place that starts a renderer
import sys
from pathlib import Path
from typing import Literal, get_args

from motia_generator.dot import FACE

Format = Literal["svg", "png", "pdf"]
Renderer = Literal["auto", "graphviz-pure", "dot"]
FORMATS: tuple[str, ...] = get_args(Format)
RENDERERS: tuple[str, ...] = get_args(Renderer)
TIMEOUT = 60.0  # seconds; 500 steps take about two
WIDE = "DejaVu Sans"  # what SVG is measured with, since viewers bring their own sans-serif: none in use is wider
SEEN = b"Helvetica,Arial,system-ui,sans-serif"  # what SVG is shown with
DPI = 144  # of PNG: sharp on high-density screens, still readable in a page


class RenderError(RuntimeError):
    """The picture could not be made. The message says why and what to do."""


def render(dot: str, format: str, *, renderer: str = "auto", timeout: float = TIMEOUT) -> bytes:
    """The picture of a DOT graph, as the bytes of an SVG, PNG or PDF file. Needs no network and no installed Graphviz, except for PDF.

    `renderer` "auto" takes `graphviz-pure` from beside the running Python, then from PATH, then `dot`. Raises `RenderError`.
    """
    if format not in FORMATS:
        raise RenderError(f"unknown picture format {format!r}; allowed: {', '.join(FORMATS)}")
    if renderer not in RENDERERS:
        raise RenderError(f"unknown renderer {renderer!r}; allowed: {', '.join(RENDERERS)}")
    program = find_renderer(format, renderer)
    arguments = [str(program), f"-T{format}", *([f"-Gdpi={DPI}"] if format == "png" else [])]
    if format == "svg":
        dot = dot.replace(FACE, f'fontname="{WIDE}"')
    try:
        done = subprocess.run(arguments, input=dot.encode(), capture_output=True, timeout=timeout, check=False)  # noqa: S603  # no shell; a fixed program
    except subprocess.TimeoutExpired:
        raise RenderError(
            f"{program.name} took longer than {timeout:g} s; draw one flow at a time, or ask for the format dot"
        ) from None
    except OSError as fault:
        raise RenderError(
            f"{program} can't be run: {fault.strerror}; reinstall it: pip install graphviz-pure"
        ) from fault
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise RenderError(
            f"{program.name} failed with exit code {done.returncode}: {said[-1] if said else 'it said nothing'}"
        )
    return done.stdout.replace(b'font-family="%s"' % WIDE.encode(), b'font-family="%s"' % SEEN)


def find_renderer(format: str = "svg", renderer: str = "auto") -> Path:
    """The program that draws. Raises `RenderError`."""
    if format == "pdf":
        if renderer == "graphviz-pure":
            raise RenderError(
                "graphviz-pure can't write pdf; use --renderer dot with Graphviz installed, or the format svg"
            )
        found = shutil.which("dot")
        if not found:
            raise RenderError(
                "pdf needs Graphviz's own `dot` on PATH (Debian: apt install graphviz; macOS: brew install graphviz); svg and png do not"
            )
        return Path(found)
    if renderer != "dot":
        beside = str(Path(sys.executable).parent)  # where pip puts it, also when the environment is not activated
        found = shutil.which("graphviz-pure", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))
        if found:
            return Path(found)
        if renderer == "graphviz-pure":
            raise RenderError("graphviz-pure is not installed here: pip install graphviz-pure")
    found = shutil.which("dot")
    if not found:
        raise RenderError(
            "no Graphviz renderer found: pip install graphviz-pure, or install Graphviz so that `dot` is on PATH; the formats dot, mermaid and json need none"
        )
    return Path(found)
