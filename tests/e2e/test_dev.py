"""`motia dev` as a person uses it: edits take effect while connections, the broker and the data stay."""

from __future__ import annotations

import json
import socket
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.process import motia, running_app, write_project

SPEC = """
name: devtest
topics: {ping: {}}
state: {pings: {}}
steps:
  Hello: {type: api, method: GET, path: /hello}
  Send: {type: api, method: POST, path: /send, emits: [ping]}
  Note: {type: event, subscribes: [ping]}
"""
HELLO = """
async def handler(request, ctx):
    return {"greeting": "one"}
"""
SEND = """
async def handler(request, ctx):
    await ctx.emit("ping", request.body)
    return {"status": 202, "body": {"trace": ctx.trace_id}}
"""
NOTE = """
async def handler(data, ctx):
    await ctx.state.pings.set(str(data["n"]), data)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path, SPEC, hello=HELLO, send=SEND, note=NOTE)


def _until(check, timeout: float = 10.0):
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout:g} s"
        time.sleep(0.01)


def _nats_pid(project: Path) -> int:
    return json.loads((project / ".motia" / "nats" / "run.json").read_text())["url"]


def test_an_edit_of_a_handler_takes_effect_on_the_same_connection(project):
    with running_app(project, "dev") as app, httpx.Client(base_url=app.url) as client:
        broker = _nats_pid(project)
        assert client.get("/hello").json() == {"greeting": "one"}
        (project / "steps" / "hello.py").write_text(HELLO.replace("one", "two"))
        _until(lambda: client.get("/hello").json() == {"greeting": "two"})
        assert "reloaded in" in app.wait_for("reloaded in")
        assert _nats_pid(project) == broker


def test_an_edit_of_the_spec_adds_a_route_and_a_stub(project):
    with running_app(project, "dev") as app, httpx.Client(base_url=app.url) as client:
        assert client.get("/new").status_code == 404
        spec = (project / "motia.yaml").read_text()
        (project / "motia.yaml").write_text(spec + "  Brand New: {type: api, method: GET, path: /new}\n")
        _until(lambda: client.get("/new").status_code == 501)
        assert (project / "steps" / "brand_new.py").is_file()
        app.wait_for("wrote steps/brand_new.py")
        _until(lambda: "/new" in client.get("/schema/openapi.json").json()["paths"])


@pytest.mark.parametrize(
    ("file", "broken", "words"),
    [
        ("motia.yaml", SPEC.replace("method: GET", "methd: GET"), 'did you mean "method"'),
        ("motia.yaml", "steps: [", "motia.yaml:"),
        ("steps/hello.py", "async def handler(request, ctx:\n", "steps/hello.py"),
        (
            "steps/hello.py",
            "import nothing_of_this_name\nasync def handler(request, ctx): ...\n",
            "nothing_of_this_name",
        ),
    ],
)
def test_a_broken_edit_leaves_the_last_good_version_serving(project, file, broken, words):
    with running_app(project, "dev") as app, httpx.Client(base_url=app.url) as client:
        assert client.get("/hello").json() == {"greeting": "one"}
        good = (project / file).read_text()
        (project / file).write_text(broken)
        app.wait_for("goes on serving")
        assert words in app.output
        assert client.get("/hello").json() == {"greeting": "one"}
        assert client.post("/send", json={"n": 1}).status_code == 202
        heard = len(app.lines)
        (project / file).write_text(good.replace('"one"', '"three"'))
        app.wait_for("reloaded in", after=heard)
        assert client.get("/hello").json() == {"greeting": "three" if file.endswith(".py") else "one"}


def test_events_in_hand_survive_a_reload(project):
    slow = """
    import asyncio

    async def handler(data, ctx):
        await asyncio.sleep(0.3)
        await ctx.state.pings.set(str(data["n"]), {"by": "VERSION"})
    """
    write_project(project, SPEC, note=slow.replace("VERSION", "old"))
    with running_app(project, "dev") as app, httpx.Client(base_url=app.url) as client:
        for n in range(20):
            client.post("/send", json={"n": n})
        write_project(project, SPEC, note=slow.replace("VERSION", "new"))
        app.wait_for("reloaded in")
        for n in range(20, 30):
            client.post("/send", json={"n": n})
        pings = _until(
            lambda: len(p := json.loads(motia(project, "state", "ls", "pings", "--json").stdout)) == 30 and p
        )
        assert {pings[str(n)]["by"] for n in range(20, 30)} == {"new"}


@contextmanager
def _taken_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_a_taken_port_moves_dev_on_aloud_and_stops_start(project):
    with _taken_port() as port:
        with running_app(project, "dev", "--port", str(port)) as app:
            assert app.url != f"http://127.0.0.1:{port}"
            assert f"{port} is taken" in app.output
            assert httpx.get(app.url + "/hello").status_code == 200
        failed = motia(project, "start", "--port", str(port))
        assert failed.returncode == 1
        assert str(port) in failed.stderr
        assert "Traceback" not in failed.stderr


def test_a_second_app_on_the_same_project_says_who_has_the_broker(project):
    with running_app(project, "dev") as first:
        second = motia(project, "start", "--port", "0")
        assert second.returncode == 1
        assert f"process {first.process.pid} " in second.stderr
        assert "Traceback" not in second.stderr


def test_the_whole_way_by_hand(project):
    """What the README shows: send, see it handled, read the state, look at the trace."""
    with running_app(project, "dev") as app:
        trace = httpx.post(app.url + "/send", json={"n": 7}).json()["trace"]
        assert _until(lambda: json.loads(motia(project, "state", "get", "pings", "7", "--json").stdout)) == {"n": 7}
        traces = _until(
            lambda: [t for t in json.loads(motia(project, "trace", "ls", "--json").stdout) if t["runs"] == 2]
        )
        assert traces[0]["trace_id"] == trace
        shown = motia(project, "trace", "show", trace).stdout
        assert shown.index("Send") < shown.index("Note")
        emitted = motia(project, "emit", "ping", '{"n": 8}')
        assert emitted.returncode == 0
        _until(lambda: json.loads(motia(project, "state", "get", "pings", "8", "--json").stdout))
    # with the app gone the data is still there
    assert json.loads(motia(project, "state", "get", "pings", "7", "--json").stdout) == {"n": 7}
    assert motia(project, "state", "get", "pings", "nothing", "--json").stdout.strip() == "null"


def test_sigterm_drains(project):
    slow = """
    import asyncio

    async def handler(request, ctx):
        print("it waits", flush=True)
        await asyncio.sleep(0.5)
        return {"done": True}
    """
    write_project(project, SPEC, hello=slow)
    import threading

    with running_app(project, "start") as app:
        answers = []
        asking = threading.Thread(target=lambda: answers.append(httpx.get(app.url + "/hello", timeout=10)))
        asking.start()
        app.wait_for("it waits")
        assert app.stop() == 0
        asking.join()
        assert answers[0].json() == {"done": True}
        with pytest.raises(httpx.TransportError):
            httpx.get(app.url + "/hello")
    lines = [json.loads(line) for line in app.lines if line.startswith("{")]
    assert any(line["message"] == "stopped" for line in lines), "production logs are JSON"
