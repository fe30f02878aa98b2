"""Specs as text in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from motia_spec.diagnostics import Diagnostic
from motia_spec.load import Loaded, load_spec
from motia_spec.validate import validate_spec

Findings = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Loaded]:
    """Load a spec from its text, with further files and variables."""

    def run(
        text: str | bytes, files: Mapping[str, str | bytes] = {}, environ: Mapping[str, str] = {}, **more: str
    ) -> Loaded:
        for name, content in {"motia.yaml": text, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_spec(tmp_path, environ, **more)

    return run


@pytest.fixture
def check(load: Callable[..., Loaded]) -> Callable[..., list[Diagnostic]]:
    """All findings of reading and of the schema."""

    def run(text: str | bytes, *args: Mapping[str, str], **more: Mapping[str, str]) -> list[Diagnostic]:
        loaded = load(text, *args, **more)
        return loaded.diagnostics + (validate_spec(loaded.node) if loaded.node is not None else [])

    return run


@pytest.fixture
def found(check: Callable[..., list[Diagnostic]]) -> Findings:
    """Findings as ("CODE line:column", message)."""

    def run(text: str | bytes, *args: Mapping[str, str], **more: Mapping[str, str]) -> list[tuple[str, str]]:
        return [(f"{d.code} {d.place.line}:{d.place.column}", d.message) for d in check(text, *args, **more)]

    return run
