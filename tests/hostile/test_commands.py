"""The hostile inputs for the command line. Where `motia dev` and its broker listen is proven beside the other tests of serving, in tests/cli."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from motia_runtime.cli.root import motia as root
from motia_runtime.nats.binary import find
from support.corpus import named
from support.process import motia, running_app, write_project
from support.waiting import wait_for

SPEC = """
name: hostile-cli
steps:
  Hello: { type: api, method: GET, path: /hello }
"""
HELLO = """
async def handler(request, ctx):
    return "hello"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path / "app", SPEC, hello=HELLO)


def test_gen_leaves_a_file_that_it_has_not_made(folder: Path) -> None:
    expect = named("cli", "CLI-005")["expect"]
    theirs = folder / expect["setup"].split(" ", 1)[0]
    theirs.parent.mkdir()
    theirs.write_text("mine = 1\n")
    before = sorted(folder.rglob("*"))
    ran = motia(folder, "gen")
    assert ran.returncode == expect["exit"]
    assert "motia_types/__init__.py" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert theirs.read_text() == "mine = 1\n"
    assert sorted(folder.rglob("*")) == before


def test_create_leaves_a_folder_that_holds_something(tmp_path: Path) -> None:
    entry = named("cli", "CLI-007")
    (tmp_path / "README.md").write_text("mine\n")
    ran = motia(tmp_path, *entry["payload"].split()[1:])
    assert ran.returncode == entry["expect"]["exit"]
    assert "README.md" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine\n"


def test_a_spec_comes_over_a_pipe(folder: Path) -> None:
    entry = named("cli", "CLI-009")
    ran = motia(folder, *entry["payload"].rpartition("| motia ")[2].split(), input=(folder / "motia.yaml").read_text())
    assert ran.returncode == entry["expect"]["exit"], ran.stderr


def test_credentials_of_a_broker_are_in_no_line(folder: Path, tmp_path: Path) -> None:
    """Neither when it answers, nor when it does not, nor when it refuses them, and not in what the API or a record shows."""
    entry = named("cli", "CLI-011")
    secret = entry["expect"]["log_not_contains"]
    url = entry["payload"].rpartition(" ")[2]
    with nats_server(tmp_path, "user", secret) as port, ThreadPoolExecutor(2) as pool:
        refused = pool.submit(motia, folder, "start", "--nats", url.replace("PORT", port).replace("user:", "other:"))
        away = pool.submit(motia, folder, "start", "--nats", url.replace("PORT", "1"))
        with running_app(folder, "start", "--nats", url.replace("PORT", port), "--verbose") as app:
            assert httpx.get(app.url + "/hello").text == "hello"
            shown = httpx.get(app.url + "/readyz").text + httpx.get(app.url + "/schema/openapi.json").text
        assert secret not in app.output + shown
        assert "127.0.0.1" in app.output
    for ran in (refused.result(), away.result()):
        assert ran.returncode == 1
        assert secret not in ran.stdout + ran.stderr
        assert "this should not happen" not in ran.stderr
        assert "Traceback" not in ran.stderr
    broken = CliRunner().invoke(root, ["-C", str(folder), "start", "--nats", f"nats://user:{secret}@127.0.0.1:x"])
    assert broken.exit_code in (1, 2)
    assert secret not in broken.output


@contextmanager
def nats_server(scratch: Path, user: str, password: str) -> Iterator[str]:
    """A server of somebody else's, with one user. Gives its port."""
    config = scratch / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:-1"\nports_file_dir: "{scratch}"\njetstream {{ store_dir: "{scratch}/store" }}\n'
        f'authorization {{ user: "{user}", password: "{password}" }}\n'
    )
    log = scratch / "nats.log"
    server = subprocess.Popen([find(), "-c", str(config), "-l", str(log)])
    try:
        wait_for(lambda: log.exists() and "Server is ready" in log.read_text(), "nats-server did not start")
        yield log.read_text().rpartition("Listening for client connections on 127.0.0.1:")[2].split(maxsplit=1)[0]
    finally:
        server.terminate()
        server.wait(10)
