"""Small apps for engine tests: a spec and handlers as text, run on the in-memory log with a clock that the test turns."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from motia_runtime.testing import AppUnderTest, run_app

MakeApp = Callable[..., AbstractAsyncContextManager[AppUnderTest]]


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    @asynccontextmanager
    async def make(spec: str, start: float = 1_700_000_000.0, **handlers: str) -> AsyncIterator[AppUnderTest]:
        (tmp_path / "motia.yaml").write_text(textwrap.dedent(spec))
        (tmp_path / "steps").mkdir(exist_ok=True)
        for name, source in handlers.items():
            (tmp_path / "steps" / f"{name}.py").write_text(textwrap.dedent(source))
        async with run_app(tmp_path, environ={}, start=start) as app:
            yield app

    return make
