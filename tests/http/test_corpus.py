"""Every hostile HTTP input gets a clear answer, nothing leaks, and the server goes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from motia_runtime.handler import Problem
from motia_runtime.http.server import Limits

INPUTS = yaml.safe_load((Path(__file__).parent / "corpus.yaml").read_text())
ORDER = {
    "type": "object",
    "required": ["id", "qty"],
    "additionalProperties": False,
    "properties": {"id": {"type": "string", "pattern": "^[a-z]{1,40}$"}, "qty": {"type": "integer"}},
}
HEALTHY = b"GET /q?n=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def boom(request: Any) -> None:
    raise RuntimeError("the secret of the house")


def static(request: Any) -> str:
    if request.path_params["rest"] != "a.txt":
        raise Problem(404, "No such file")
    return "a"


@pytest.fixture
async def app(site: Any, step: Any) -> Any:
    def echo(request: Any) -> Any:
        return {"status": 201, "body": request.body}

    return await site(
        (step("Order", "/order", "POST", body=ORDER), echo),
        (step("Any", "/any", "POST"), echo),
        (step("Raw", "/raw", "POST"), lambda request: len(request.raw_body)),
        (step("Form", "/form", "POST"), echo),
        (step("Q", "/q"), lambda request: request.query_params),
        (step("Items", "/items/{id}"), lambda request: request.path_params),
        (step("Boom", "/boom"), boom),
        (step("Static", "/static/{rest:path}"), static),
        limits=Limits(header_timeout=1.0),
    )


def input_bytes(entry: dict[str, Any]) -> bytes:
    if "payload" in entry:
        return str(entry["payload"]).encode()
    return bytes(eval(entry["gen"]))  # written by us, in corpus.yaml


@pytest.mark.parametrize("entry", INPUTS, ids=lambda entry: entry["id"])
async def test_hostile_input(app: Any, entry: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    expect = entry["expect"]
    deadline = min(expect.get("max_seconds", 5), 10)
    answer = await app.raw(input_bytes(entry), deadline=deadline, end="count" in expect)

    statuses = [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
    if expect["status"] == [None]:
        assert answer == b""  # closed without a word
        assert Limits().header_timeout < expect["closed_within_s"]
    else:
        assert len(statuses) == expect.get("count", 1)
        assert set(statuses) <= set(expect["status"]), answer[:500]
        if statuses[-1] >= 400:
            assert b"content-type: application/problem+json\r\n" in answer
    if "no_header" in expect:
        assert expect["no_header"].encode() not in answer.lower()
    assert b"Traceback" not in answer
    assert b"secret of the house" not in answer
    assert "Traceback" not in caplog.text

    assert (await app.raw(HEALTHY)).startswith(b"HTTP/1.1 200 "), "the server no longer answers"
