"""A step's two ways in, our own server's short one and ASGI, answer alike."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from motia_runtime.handler import Problem, Response
from motia_runtime.http.server import Limits
from motia_spec.model import Cors
from motia_spec.model import Server as ServerSpec

ORDER = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
TYPED = {"content-type": "application/json"}
FAR = {"origin": "https://shop.example"}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def _pieces() -> Any:
    yield b'{"id":'
    yield b' "a"}'


def _show(request: Any) -> Any:
    if request.query_params.get("fail") == "problem":
        raise Problem(409, "taken")
    if request.query_params.get("fail") == "bug":
        raise ZeroDivisionError
    if request.query_params.get("fail") == "header":
        return Response(None, headers={"x-a": "1\r\nx-b: 2"})
    if request.query_params.get("as") == "none":
        return None
    if request.query_params.get("as") == "text":
        return Response("ü", 202, headers={"X-Own": "1", "Content-Length": "7"})
    return {"body": request.body, "params": request.path_params, "agent": request.headers["user-agent"]}


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/o/1", {}),
        ("GET", "/o/1/", {"headers": FAR}),
        ("HEAD", "/o/1", {}),
        ("OPTIONS", "/o/1", {"headers": FAR | {"access-control-request-method": "POST"}}),
        ("DELETE", "/o/1", {}),
        ("GET", "/o/%C3%BC", {}),
        ("GET", "/o/%ff", {}),
        ("GET", "/o/1?as=none", {}),
        ("GET", "/o/1?as=text", {}),
        ("HEAD", "/o/1?as=text", {}),
        ("GET", "/o/1?fail=problem", {}),
        ("GET", "/o/1?fail=bug", {}),
        ("GET", "/o/1?fail=header", {}),
        ("GET", "/o/1?q=%ff", {}),
        ("GET", "/o/1", {"headers": {"host": "evil.example"}}),
        ("GET", "/o/1", {"headers": {"traceparent": PARENT}}),
        ("POST", "/p", {"json": {"id": "a"}}),
        ("POST", "/p", {"content": _pieces, "headers": TYPED}),
        ("POST", "/p", {"content": b"", "headers": TYPED}),
        ("POST", "/p", {"content": b'{"id": 1}', "headers": TYPED}),
        ("POST", "/p", {"content": b'{"id": "a", "id": "b"}', "headers": TYPED}),
        ("POST", "/p", {"content": b'{"id": "a"}'}),
        ("POST", "/p", {"content": b'{"id": "a"}', "headers": TYPED | {"content-encoding": "br"}}),
        ("POST", "/p", {"content": b'{"id": "' + b"a" * 100 + b'"}', "headers": TYPED}),
    ],
)
async def test_both_ways_answer_alike(site: Any, step: Any, method: str, path: str, options: Any) -> None:
    app = await site(
        (step("Show", "/o/{id}"), _show),
        (step("Post", "/p", "POST", body=ORDER, body_limit=64), _show),
        server=ServerSpec(cors=Cors(origins=("https://shop.example",))),
    )
    by_asgi = httpx.AsyncClient(transport=httpx.ASGITransport(app=app.switch), base_url=app.client.base_url)
    answers = []
    for client in (app.client, by_asgi):
        made: dict[str, Any] = {k: v() if callable(v) else v for k, v in options.items()}
        answers.append(await client.request(method, path, **made))
    await by_asgi.aclose()
    shown = []
    for answer in answers:
        trace = answer.headers.get("x-trace-id", "")
        headers = {
            k: v for k, v in answer.headers.items() if k not in ("date", "connection", "content-length", "x-trace-id")
        }
        body = answer.text.replace(trace, "TRACE") if trace else answer.text
        shown.append(
            (answer.status_code, headers, trace == PARENT[3:35] or len(trace), body if method != "HEAD" else "")
        )
    assert shown[0] == shown[1]


async def test_a_client_that_does_not_read_gets_all_answers_once_it_does(site: Any, step: Any) -> None:
    """While the socket is full, a whole answer waits, and the next request with it."""
    size = 3_000_000
    app = await site((step("Big", "/big"), lambda request: b"x" * size), limits=Limits(write_timeout=30.0))
    reader, writer = await asyncio.open_connection("127.0.0.1", app.server.port, limit=1024)
    one = b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    writer.write(one + one + last)
    async with asyncio.timeout(20):
        data = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    assert data.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert data.count(b"x" * size) == 3
