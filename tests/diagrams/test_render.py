"""The renderer: the bundled one with nothing else on the machine, an installed one when asked, clear words when neither does."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from motia_generator.render import RenderError, render

DOT = 'digraph { "a" -> "b" }'


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose Python has no renderer beside it, and an empty folder as its PATH."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_svg_and_png_need_nothing_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert b"<svg" in render(DOT, "svg")
    assert render(DOT, "png").startswith(b"\x89PNG\r\n\x1a\n")


def test_without_any_renderer_the_remedy_is_named(bare: Path) -> None:
    with pytest.raises(RenderError, match="pip install graphviz-pure"):
        render(DOT, "svg")
    with pytest.raises(RenderError, match="graphviz-pure is not installed here: pip install graphviz-pure"):
        render(DOT, "svg", renderer="graphviz-pure")
    with pytest.raises(RenderError, match="apt install graphviz"):
        render(DOT, "pdf")


def test_an_installed_dot_is_the_fallback_and_the_way_to_pdf(bare: Path) -> None:
    program(bare, "dot", 'echo "$@"; while read -r line; do echo "$line"; done')
    assert render(DOT + "\n", "svg") == b"-Tsvg\n" + DOT.encode() + b"\n"
    assert render(DOT + "\n", "pdf").startswith(b"-Tpdf\n")
    assert render(DOT + "\n", "png", renderer="dot").startswith(b"-Tpng")


def test_pdf_by_the_bundled_renderer_is_refused() -> None:
    with pytest.raises(RenderError, match="graphviz-pure can't write pdf"):
        render(DOT, "pdf", renderer="graphviz-pure")


def test_unknown_words_are_answered_with_the_known_ones() -> None:
    with pytest.raises(RenderError, match="unknown picture format 'gif'; allowed: svg, png, pdf"):
        render(DOT, "gif")
    with pytest.raises(RenderError, match="unknown renderer 'magic'; allowed: auto, graphviz-pure, dot"):
        render(DOT, "svg", renderer="magic")


def test_a_graph_that_is_none_is_the_renderer_s_own_words() -> None:
    with pytest.raises(RenderError, match=r"graphviz-pure failed with exit code 1: .*syntax error"):
        render("digraph {", "svg")


def test_a_slow_renderer_is_stopped(bare: Path) -> None:
    program(bare, "dot", "while :; do :; done")
    with pytest.raises(RenderError, match=r"dot took longer than 0.2 s; draw one flow at a time"):
        render(DOT, "svg", timeout=0.2)
