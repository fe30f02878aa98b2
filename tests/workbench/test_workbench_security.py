"""Who may look and who may not: the threats of a server on a developer's machine, one by one."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import urlsplit

import httpx
import pytest

from motia_runtime.workbench.assets import load_assets
from support.process import motia, running_app, write_project
from workbench.conftest import MARK, Api

TOKEN = "a-token-that-nobody-guesses"
UI = Path(__file__).parent.parent.parent / "runtime" / "motia_runtime" / "workbench" / "ui"
SMALL = """
    motia: "1"
    name: small
    steps:
      Hello: { type: api, method: GET, path: /, handler: steps/hello.py }
"""
HELLO = "async def handler(request, ctx):\n    return {'status': 200, 'body': 'hello'}\n"


def raw(url: str, head: str) -> int:
    """The status of a request that is sent as it is written."""
    place = urlsplit(url)
    with socket.create_connection(("127.0.0.1", place.port or 0), timeout=10) as wire:
        wire.sendall(head.replace("\n", "\r\n").encode("latin-1"))
        return int(wire.makefile("rb").readline().split()[1])


def lines(
    *headers: str, path: str = "/__workbench/api/app", method: str = "GET", mark: str = "X-Motia-Workbench: 1"
) -> str:
    return "\n".join([f"{method} {path} HTTP/1.1", *headers, *([mark] if mark else []), "Connection: close", "", ""])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:1", 200),
        ("evil.example", 421),
        ("127x0x0x1", 421),
        ("0.0.0.0:3000", 421),
        ("localhost.evil.example", 421),
        ("[::1", 400),
    ],
)
@pytest.mark.parametrize(
    "path", ["/__workbench/api/app", "//__workbench/api/app", "/__workbench/api/spec", "/__workbench"]
)
def test_a_foreign_host_is_refused(api: Api, host: str, status: int, path: str) -> None:
    found = raw(api.app.url, lines(f"Host: {host}", path=path))
    assert found == (404 if status == 200 and path.startswith("//") else status)


@pytest.mark.parametrize(
    "header",
    ["Origin: null", "Origin: http://evil.example", "Origin: http://localhost:1", "Sec-Fetch-Site: cross-site"],
)
@pytest.mark.parametrize("path", ["/__workbench/api/app", "/__workbench/api/live", "/__workbench/api/emit"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_another_sites_page_is_refused_whatever_the_method(api: Api, header: str, path: str, method: str) -> None:
    assert raw(api.app.url, lines("Host: localhost", header, path=path, method=method)) == 403


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["app", "emit", "live", "dead/purge", "state/orders/x"])
def test_what_any_page_could_send_is_refused(api: Api, method: str, path: str) -> None:
    """A form or an image of another port of localhost sends no Origin that tells, and can't set the header."""
    headers = {"content-type": "text/plain"}
    answer = httpx.request(method, f"{api.app.url}/__workbench/api/{path}", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_nobody_is_allowed_the_header(api: Api) -> None:
    headers = {
        "origin": api.app.url,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-motia-workbench",
    }
    answer = httpx.request("OPTIONS", f"{api.app.url}/__workbench/api/emit", headers=headers)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_body_is_json_or_refused(api: Api) -> None:
    wrong = api.client.post("/__workbench/api/emit", content=b"{}", headers={"content-type": "text/plain"})
    assert wrong.status_code == 415
    deep = api.client.post(
        "/__workbench/api/emit", content=b"[" * 200_000, headers={"content-type": "application/json"}
    )
    assert deep.status_code == 400
    large = api.client.post(
        "/__workbench/api/emit", content=b"1" * (5 << 20), headers={"content-type": "application/json"}
    )
    assert large.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/__workbench/ui/%2e%2e/site.py",
        "/__workbench/ui/..%2fsite.py",
        "/__workbench/ui/%252e%252e/site.py",
        "/__workbench/ui//etc/passwd",
        "/__workbench/ui/../site.py",
        "/__workbench/ui/vendor/README.md",
        "/__workbench/ui/nothing.js",
    ],
)
def test_only_the_files_of_the_page_are_served(api: Api, path: str) -> None:
    assert raw(api.app.url, lines("Host: localhost", path=path)) in (400, 404)


def test_editing_source_is_not_offered(api: Api) -> None:
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        for path in ("steps/ChargeCard", "files/steps%2Fcharge_card.py", "spec", "flows/orders"):
            answer = api.client.request(method, f"/__workbench/api/{path}", json={"source": "import os"})
            assert answer.status_code in (404, 405), (method, path)


def test_source_stays_inside_the_project(api: Api) -> None:
    step = api.app.folder / "steps" / "hello.py"
    outside = api.app.folder.parent / "outside.py"
    outside.write_text(step.read_text() + "# not yours\n")
    kept = step.read_text()
    step.unlink()
    step.symlink_to(outside)
    try:
        assert api.get("steps", "Hello")["handler"]["source"] is None
    finally:
        step.unlink()
        step.write_text(kept)


def test_the_page_runs_nothing_but_its_own_files(api: Api) -> None:
    answer = api.client.get("/__workbench")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert api.client.get("/").text == answer.text
    assert not re.search(r"<style|style=|\son\w+=|<script>", answer.text)


def test_the_front_end_never_makes_markup_and_fetches_nothing_from_elsewhere() -> None:
    markup = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"
    )
    own = {name: asset.body.decode() for name, asset in load_assets().items() if not name.startswith("vendor/")}
    assert "main.js" in own
    for name, text in own.items():
        assert not markup.search(text.replace("dangerouslySetInnerHTML", "innerHTML")), name
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), name
        for asked in re.findall(r'from "(\.[^"]+)"', text):
            assert normpath(join(dirname(name), asked)) in load_assets(), f"{name} asks for {asked}"


def test_libraries_of_others_are_listed_with_licences() -> None:
    listed = (UI / "vendor" / "README.md").read_text()
    for file in (UI / "vendor").glob("*.mjs"):
        assert f"| {file.name} |" in listed
        assert file.name in (UI / "vendor" / "LICENSES.txt").read_text()


def test_beyond_loopback_a_token_is_needed(tmp_path: Path) -> None:
    with running_app(write_project(tmp_path, SMALL, hello=HELLO), "dev", "--host", "0.0.0.0") as app:
        printed = re.search(r"/__workbench#token=(\S+)", app.wait_for("__workbench"))
        assert printed
        url = f"{app.url}/__workbench/api/app"
        assert httpx.get(url, headers=MARK).status_code == 401
        assert httpx.get(url, headers={**MARK, "authorization": "Bearer wrong"}).status_code == 401
        assert httpx.get(f"{url}?token={printed[1]}", headers=MARK).status_code == 401
        assert httpx.get(f"{app.url}/__workbench/api/live", headers=MARK).status_code == 401
        right = {**MARK, "authorization": f"Bearer {printed[1]}"}
        assert httpx.get(url, headers=right).json()["name"] == "small"
        assert httpx.get(url, headers={"authorization": right["authorization"]}).status_code == 403
        assert httpx.get(url, headers={**right, "host": "evil.example"}).status_code == 421
        # the app has a route at / here, which goes before
        assert httpx.get(app.url + "/").text == "hello"


def test_start_has_a_workbench_only_when_told_and_with_a_token(tmp_path: Path) -> None:
    folder = write_project(tmp_path, SMALL, hello=HELLO)
    for env in ({}, {"MOTIA_ADMIN_TOKEN": "short"}):
        refused = motia(folder, "start", "--port", "0", "--workbench", env=env)
        assert refused.returncode == 2
        assert "MOTIA_ADMIN_TOKEN" in refused.stderr
    with running_app(folder, "start", env={"MOTIA_ADMIN_TOKEN": TOKEN}) as app:
        assert httpx.get(app.url + "/__workbench").status_code == 404
        assert httpx.get(app.url + "/__workbench/api/app", headers=MARK).status_code == 404
    with running_app(folder, "start", "--workbench", env={"MOTIA_ADMIN_TOKEN": TOKEN}) as app:
        url = f"{app.url}/__workbench/api"
        assert httpx.get(f"{url}/app", headers=MARK).status_code == 401
        right = {**MARK, "authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}/app", headers=right).json()["dev"] is False
        kept = httpx.put(f"{url}/flows/Hello/positions", headers=right, json={"positions": {}})
        assert kept.status_code == 403
        assert TOKEN not in app.output
