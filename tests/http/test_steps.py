"""A step over HTTP: what its handler gets, and what its result becomes."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest

from motia_runtime.handler import Problem, Response
from motia_runtime.http.page import Page
from motia_runtime.ports import LogUnavailable
from motia_spec.model import Cors
from motia_spec.model import Server as ServerSpec

ORDER = {
    "type": "object",
    "required": ["id", "qty"],
    "additionalProperties": False,
    "properties": {"id": {"type": "string"}, "qty": {"type": "integer", "minimum": 1}},
}
JSON = {"content-type": "application/json"}


def show(request: Any) -> Any:
    return {name: getattr(request, name) for name in ("body", "path_params", "query_params", "method", "path")}


async def test_request_parts(site: Any, step: Any) -> None:
    app = await site((step("Show", "/orders/{id}/items/{item}", "PUT"), show))
    answer = await app.client.put("/orders/a%2Fb/items/%C3%BC?x=1&y=2&y=3&z=&q=a+b%21", json={"a": [1]})
    assert answer.json() == {
        "body": {"a": [1]},
        "path_params": {"id": "a/b", "item": "ü"},
        "query_params": {"x": "1", "y": ["2", "3"], "z": "", "q": "a b!"},
        "method": "PUT",
        "path": "/orders/a/b/items/ü",
    }


async def test_headers_are_lower_case_and_joined(site: Any, step: Any) -> None:
    app = await site((step("Headers", "/h"), lambda request: request.headers))
    answer = await app.client.get("/h", headers=[("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"), ("Cookie", "b=2")])
    assert answer.json()["x-a"] == "1, 2"
    assert answer.json()["cookie"] == "a=1; b=2"


@pytest.mark.parametrize(
    ("content", "content_type", "body"),
    [
        (b"", None, None),
        (b"", "application/json", None),
        (b'{"a": 1}', "application/vnd.x+json; charset=UTF-8", {"a": 1}),
        (b"caf\xc3\xa9", "text/plain", "café"),
        (b"caf\xe9", "text/plain; charset=iso-8859-1", "café"),
        (b"a=1&a=2&b=%C3%A9", "application/x-www-form-urlencoded", {"a": ["1", "2"], "b": "é"}),
        (b"\x00\xff", "application/octet-stream", None),
        (b"\x00\xff", None, None),
        (b"--b--", "multipart/form-data; boundary=b", None),
    ],
)
async def test_bodies_by_media_type(site: Any, step: Any, content: bytes, content_type: str | None, body: Any) -> None:
    app = await site(
        (step("Any", "/any", "POST"), lambda request: {"body": request.body, "size": len(request.raw_body)})
    )
    answer = await app.client.post(
        "/any", content=content, headers={"content-type": content_type} if content_type else {}
    )
    assert answer.json() == {"body": body, "size": len(content)}


@pytest.mark.parametrize(
    ("content", "content_type", "status", "detail"),
    [
        (b"{}", "text/plain", 415, "'text/plain'"),
        (b"id=a&qty=1", "application/x-www-form-urlencoded", 415, "application/json"),
        (b"--b--", "multipart/form-data; boundary=b", 415, "application/json"),
        (b"{}", "application/json; charset=utf-16", 415, "UTF-8"),
        (b'{"id": "a", "id": "b", "qty": 1}', "application/json", 400, "twice"),
        (b'{"id": "a", "\\u0069d": "b", "qty": 1}', "application/json", 400, "twice"),
        (b'{"id": "a", "qty": 1} x', "application/json", 400, "JSON"),
        (b'{"id": "a", "qty": Infinity}', "application/json", 400, "JSON"),
        (b'{"id": "\xff", "qty": 1}', "application/json", 400, "UTF-8"),
        (b"[" * 129 + b"]" * 129, "application/json", 400, "128 levels"),
        (b"", "application/json", 400, "fault"),
    ],
)
async def test_bodies_a_schema_refuses(
    site: Any, step: Any, content: bytes, content_type: str, status: int, detail: str
) -> None:
    app = await site((step("Order", "/orders", "POST", body=ORDER), show))
    answer = await app.client.post("/orders", content=content, headers={"content-type": content_type})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]
    assert app.runner.requests == []


async def test_no_duplicate_keys_are_seen_where_there_are_none(site: Any, step: Any) -> None:
    app = await site((step("Any", "/any", "POST"), lambda request: {"status": 200, "body": request.body}))
    value = {
        "a": [{"k": 'x":"', "l": "\\"}, {"k": "\u2028", "l": '{"k":1,"k":2}'}],
        "b": {"k": {"k": []}},
        "": "\\u0022",
    }
    answer = await app.client.post("/any", json=value)
    assert answer.json() == value
    deep = b"[" * 128 + b'"[[[["' + b"]" * 128
    assert (await app.client.post("/any", content=deep, headers=JSON)).status_code == 200


async def test_every_fault_has_a_pointer(site: Any, step: Any) -> None:
    app = await site((step("Order", "/orders", "POST", body=ORDER), show))
    answer = await app.client.post("/orders", json={"id": 1, "qty": 0, "admin": True})
    problem = answer.json()
    assert answer.status_code == 400
    assert problem["title"] == "The body does not fit its schema"
    assert {(e["pointer"], e["keyword"]) for e in problem["errors"]} == {
        ("/id", "type"),
        ("/qty", "minimum"),
        ("", "additionalProperties"),
    }
    assert problem["traceId"] == answer.headers["x-trace-id"]


async def test_query_schema(site: Any, step: Any) -> None:
    schema = {
        "type": "object",
        "properties": {
            "limit": {"type": "integer", "default": 10, "maximum": 100},
            "deep": {"type": "boolean"},
            "tag": {"type": "array", "items": {"type": "string"}},
        },
    }
    app = await site((step("List", "/list", query=schema), lambda r: r.query_params))
    assert (await app.client.get("/list?deep=true&tag=a")).json() == {"deep": True, "tag": ["a"], "limit": 10}
    answer = await app.client.get("/list?limit=1000&deep=maybe")
    assert answer.status_code == 400
    assert answer.json()["title"] == "The query does not fit its schema"
    assert {e["pointer"] for e in answer.json()["errors"]} == {"/limit", "/deep"}


@pytest.mark.parametrize(
    "target", ["/list?a=%ff", "/items/%ff", "/items/%00", "/items/%zz", "/files/../x", "/files//x", "/files/a%2f..%2fb"]
)
async def test_malformed_targets(site: Any, step: Any, target: str) -> None:
    app = await site(
        (step("List", "/list"), show), (step("Item", "/items/{id}"), show), (step("File", "/files/{rest:path}"), show)
    )
    answer = await app.raw(b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % target.encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert app.runner.requests == []


async def test_routes(site: Any, step: Any) -> None:
    def tell(name: str) -> Any:
        return step(name, name), lambda request: [name, request.path_params]

    names = ["/", "/a/{x}/c", "/a/b/{y}/d", "/files/{rest:path}", "/files/new", "/größe"]
    app = await site(*map(tell, names))
    for path, name, params in [
        ("/", "/", {}),
        ("/a/b/c", "/a/{x}/c", {"x": "b"}),  # steps back from the literal "b"
        ("/a/b/c/d", "/a/b/{y}/d", {"y": "c"}),
        ("/a/z/c/", "/a/{x}/c", {"x": "z"}),
        ("/files/new", "/files/new", {}),
        ("/files/new/x%2Ey", "/files/{rest:path}", {"rest": "new/x.y"}),
        ("/gr%C3%B6%C3%9Fe", "/größe", {}),
        ("/gr%c3%b6%c3%9fe", "/größe", {}),
    ]:
        assert (await app.client.get(path)).json() == [name, params], path
    for path in ("/a", "/a/b", "/a//c", "/files", "/files/", "/nowhere"):
        answer = await app.client.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_methods(site: Any, step: Any) -> None:
    app = await site(
        (step("Get", "/x/{id}"), lambda r: r.method), (step("Put", "/x/{key}", "PUT"), lambda r: r.path_params)
    )
    head = await app.client.head("/x/1")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "4")
    assert (await app.client.put("/x/1")).json() == {"key": "1"}
    options = await app.client.options("/x/1")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PUT")
    refused = await app.client.delete("/x/1")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, PUT")
    assert refused.json()["title"] == "Method Not Allowed"


@pytest.mark.parametrize(
    ("result", "responses", "status", "content_type", "content"),
    [
        ({"a": 1}, {}, 200, "application/json", b'{"a":1}'),
        (None, {}, 204, None, b""),
        ("text ü", {}, 200, "text/plain; charset=utf-8", "text ü".encode()),
        (b"\x00", {}, 200, "application/octet-stream", b"\x00"),
        (Response({"id": "a", "qty": 1}, 201), {201: ORDER}, 201, "application/json", b'{"id":"a","qty":1}'),
        ({"id": "a", "qty": 1}, {201: ORDER, 404: True}, 201, "application/json", b'{"id":"a","qty":1}'),
        ({"status": 202, "body": [1]}, {}, 202, "application/json", b"[1]"),
        ({"status": 202}, {}, 202, None, b""),
        ({"status": "paid", "body": 1}, {}, 200, "application/json", b'{"status":"paid","body":1}'),
        ({"status": 7, "total": 1}, {}, 200, "application/json", b'{"status":7,"total":1}'),
        (Response("<b>", headers={"Content-Type": "text/html"}), {}, 200, "text/html", b"<b>"),
        ("s", {200: {"type": "string"}}, 200, "application/json", b'"s"'),
        (Response(None, 404), {}, 404, None, b""),
    ],
)
async def test_results(
    site: Any, step: Any, result: Any, responses: Any, status: int, content_type: str | None, content: bytes
) -> None:
    app = await site((step("R", "/r", responses=responses), lambda request: result))
    answer = await app.client.get("/r")
    assert (answer.status_code, answer.headers.get("content-type"), answer.content) == (status, content_type, content)
    assert len(answer.headers["x-trace-id"]) == 32


async def test_header_lists_and_framing(site: Any, step: Any) -> None:
    headers = {"Set-Cookie": ["a=1", "b=2"], "Content-Length": "999", "Transfer-Encoding": "chunked", "X-N": 5}
    app = await site((step("R", "/r"), lambda request: {"status": 200, "headers": headers, "body": "x"}))
    answer = await app.client.get("/r")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["x-n"] == "5"
    assert answer.headers["content-length"] == "1"
    assert "transfer-encoding" not in answer.headers


def raising(error: Exception) -> Any:
    def handler(request: Any) -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    ("function", "status", "logged"),
    [
        (raising(Problem(409, "Taken", "somebody was first", type="https://x/taken", by="bob")), 409, None),
        (raising(Problem(200, "no problem")), 500, "status 200"),
        (raising(TimeoutError()), 504, "longer than its timeout"),
        (raising(LogUnavailable("broker down at 10.0.0.1")), 503, "broker down"),
        (raising(RuntimeError("the secret")), 500, "the secret"),
        (lambda request: {"id": 5}, 500, "/id"),
        (lambda request: Response("x", 200, {"X-A": "a\r\nSet-Cookie: b=c"}), 500, "control character"),
        (lambda request: Response("x", 200, {"X A": "a"}), 500, "not a token"),
        (lambda request: Response("x", 99), 500, "status 99"),
        (lambda request: Response("x", 204), 500, "with a body"),
        (lambda request: {"status": 200, "body": object()}, 500, "object"),
    ],
)
async def test_failures(
    site: Any, step: Any, caplog: pytest.LogCaptureFixture, function: Any, status: int, logged: str | None
) -> None:
    schema = {"properties": {"id": {"type": "string"}}}
    app = await site((step("Fail", "/fail", responses={200: schema}), function))
    answer = await app.client.get("/fail")
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["traceId"] == answer.headers["x-trace-id"]
    assert "set-cookie" not in answer.headers
    if logged is None:
        assert (problem["detail"], problem["by"]) == ("somebody was first", "bob")
        assert caplog.records == []
    else:
        assert logged not in answer.text
        assert logged in caplog.text
        assert problem["traceId"] in caplog.text
    if status == 503:
        assert answer.headers["retry-after"] == "1"


async def test_traceparent_is_continued_when_valid(site: Any, step: Any) -> None:
    app = await site((step("T", "/t"), lambda request: None))
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    answer = await app.client.get("/t", headers={"traceparent": f"00-{trace}-{parent}-01"})
    assert answer.headers["x-trace-id"] == trace
    assert (app.runner.traces[0].trace_id, app.runner.traces[0].parent_id) == (trace, parent)
    for bad in (f"00-{trace}-{parent}", f"ff-{trace}-{parent}-01", f"00-{'0' * 32}-{parent}-01", "00-zz"):
        answer = await app.client.get("/t", headers={"traceparent": bad})
        assert answer.status_code == 204
        assert answer.headers["x-trace-id"] not in (trace, "0" * 32)


async def test_cors(site: Any, step: Any) -> None:
    cors = Cors(origins=("https://web.example",), credentials=True, expose=("x-trace-id",))
    app = await site((step("C", "/c", "PUT"), lambda r: None), server=ServerSpec(cors=cors))
    ask = {"origin": "https://web.example", "access-control-request-method": "PUT"}
    preflight = await app.client.options("/c", headers=ask)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "https://web.example"
    assert preflight.headers["access-control-allow-methods"] == "OPTIONS, PUT"
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    answer = await app.client.put("/c", headers={"origin": "https://web.example"})
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-expose-headers"] == "x-trace-id"
    assert answer.headers["vary"] == "Origin"
    for origin in ("https://web.example.evil", "null", "http://web.example"):
        for other in (
            await app.client.put("/c", headers={"origin": origin}),
            await app.client.options("/c", headers=ask | {"origin": origin}),
        ):
            assert "access-control-allow-origin" not in other.headers
            assert other.headers["vary"] == "Origin"
    assert app.runner.requests[0].headers["origin"] == "https://web.example"


async def test_cors_for_all_never_with_credentials(site: Any, step: Any) -> None:
    cors = Cors(origins=("*",), credentials=True)
    app = await site((step("C", "/c"), lambda r: None), server=ServerSpec(cors=cors))
    answer = await app.client.get("/c", headers={"origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


async def test_pages_and_health(site: Any, step: Any) -> None:
    state = {"ready": False}
    made: list[int] = []

    def make() -> Page:
        made.append(1)
        return Page("application/json", b"{}")

    pages = {"/schema": Page("text/html; charset=utf-8", b"<p>"), "/schema/openapi.json": make}
    app = await site((step("X", "/x"), show), pages=pages, ready=lambda: state["ready"])
    assert (await app.client.get("/healthz")).status_code == 200
    assert (await app.client.get("/readyz")).status_code == 503
    state["ready"] = True
    assert (await app.client.get("/readyz")).status_code == 200
    page = await app.client.get("/schema")
    assert (page.content, page.headers["content-type"]) == (b"<p>", "text/html; charset=utf-8")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    for _ in range(2):
        assert (await app.client.get("/schema/openapi.json")).json() == {}
    assert made == [1, 1]
    assert (await app.client.post("/schema")).status_code == 405
    assert (await app.client.head("/healthz")).content == b""


async def test_a_client_that_leaves_does_not_stop_the_run(site: Any, step: Any) -> None:
    started, left, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(request: Any) -> str:
        started.set()
        await left.wait()
        done.set()
        return "nobody hears this"

    app = await site((step("Long", "/long", "POST"), handler))
    _, writer = await app.connect()
    writer.write(b"POST /long HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    async with asyncio.timeout(5):
        await started.wait()
        # a reset, not a polite end: that could be a client that sends no more but listens
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        while app.server.connections:
            await asyncio.sleep(0.01)
        left.set()
        await done.wait()
