"""`motia dev` and `motia start` as programs: where they listen, what they print, how they take their settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from support.process import motia, running_app, write_project
from support.waiting import wait_for

SPEC = """
motia: "1"
name: serving
secrets: [API_KEY]
steps:
  Hello: { type: api, method: GET, path: /hello }
"""
HELLO = """
import os

async def handler(request, ctx):
    ctx.logger.info("key is " + os.environ.get("API_KEY", "unset"))
    return {"key": os.environ.get("API_KEY", "unset")}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path, SPEC, hello=HELLO)


def listening(group: int) -> set[str]:
    """Addresses, in hex as the kernel has them, on which processes of a process group listen for TCP."""
    inodes = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if os.getpgid(int(process.name)) == group:
                for entry in (process / "fd").iterdir():
                    with suppress(OSError):  # that file was closed meanwhile
                        inodes.add(os.readlink(entry))
    found = set()
    for name in ("tcp", "tcp6"):
        table = Path("/proc/net", name)
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            field = line.split()
            if field[3] == "0A" and f"socket:[{field[9]}]" in inodes:
                found.add(field[1].partition(":")[0])
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000"}  # 127.0.0.1, ::1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
@pytest.mark.parametrize("command", ["dev", "start"])
def test_nothing_listens_but_on_loopback(command: str, folder: Path) -> None:
    with running_app(folder, command) as app:
        addresses = listening(os.getpgid(app.process.pid))
    assert "0100007F" in addresses
    assert addresses <= LOOPBACK


def test_dev_reads_dotenv_and_masks_secrets_in_the_log(folder: Path) -> None:
    (folder / ".env").write_text("API_KEY=sesame-open\n")
    with running_app(folder, "dev") as app:
        assert httpx.get(app.url + "/hello").json() == {"key": "sesame-open"}
        line = app.wait_for("key is")
    assert "key is ***" in line
    assert "sesame-open" not in app.output
    assert "Hello" in line.split()
    assert "serving ready in" in app.output


def test_dev_reloads_a_saved_dotenv(folder: Path) -> None:
    dotenv = folder / ".env"
    dotenv.write_text("API_KEY=sesame-open\nFROM_SHELL=file\n")
    hello = HELLO.replace('"unset")}', '"unset") + " " + os.environ["FROM_SHELL"]}')
    (folder / "steps" / "hello.py").write_text(hello)

    def says(key: str) -> bool:
        return bool(httpx.get(app.url + "/hello").json() == {"key": f"{key} shell"})

    with running_app(folder, "dev", env={"FROM_SHELL": "shell"}) as app:
        assert says("sesame-open")
        dotenv.write_text("API_KEY=sesame-shut\nFROM_SHELL=other\n")
        wait_for(lambda: says("sesame-shut"))
        assert "reloaded in" in app.wait_for(".env changed")
        seen = len(app.lines)
        dotenv.write_text("API_KEY='sesame-lost\n")
        assert ".env:1: API_KEY: the ' is never closed" in app.wait_for("the last good version", after=seen)
        assert says("sesame-shut")
        spec, seen = folder / "motia.yaml", len(app.lines)
        good = spec.read_text()
        spec.write_text(good + "nonsense: 1\n")
        app.wait_for("the last good version", after=seen)
        dotenv.write_text("API_KEY=sesame-late\n")  # what still serves sees it, too
        wait_for(lambda: says("sesame-late"))
        spec.write_text(good)
        seen = len(app.lines)
        dotenv.write_text("NATS_URL=nats://127.0.0.1:1\n")
        app.wait_for("NATS_URL changed: the broker is chosen at the start", after=seen)
        wait_for(lambda: says("unset"))
    assert "sesame" not in app.output


def test_start_takes_no_dotenv_and_logs_json(folder: Path) -> None:
    (folder / ".env").write_text("API_KEY=sesame-open\n")
    with running_app(folder, "start", env={"API_KEY": "from-outside"}) as app:
        assert httpx.get(app.url + "/hello").json() == {"key": "from-outside"}
        line = json.loads(app.wait_for("key is"))
        code = app.stop()
    assert code == 0
    assert line["message"] == "key is ***"
    assert (line["level"], line["step"]) == ("info", "Hello")
    assert len(line["trace_id"]) == 32
    assert "from-outside" not in app.output


def test_a_spec_with_errors_does_not_start(folder: Path) -> None:
    (folder / "motia.yaml").write_text(SPEC.replace("method:", "methd:"))
    for command in ("dev", "start"):
        done = motia(folder, command, "--port", "0")
        assert done.returncode == 1
        assert "motia.yaml:6:" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_handler_that_can_not_be_imported_is_one_line(folder: Path) -> None:
    (folder / "steps" / "hello.py").write_text("import nowhere_to_be_found\n\nasync def handler(request, ctx): ...\n")
    done = motia(folder, "start", "--port", "0")
    assert done.returncode == 1
    assert "nowhere_to_be_found" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_one_line(folder: Path) -> None:
    with running_app(folder, "dev") as app:
        port = app.url.rpartition(":")[2]
        other = write_project(folder / "other", SPEC, hello=HELLO)
        done = motia(other, "start", "--port", port)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_dev_quietly(folder: Path) -> None:
    import signal

    with running_app(folder, "dev") as app:
        app.process.send_signal(signal.SIGINT)
        assert app.process.wait(20) == 0
    assert "Traceback" not in app.output


def test_python_m_is_the_command(folder: Path) -> None:
    shown = subprocess.run(
        [Path(sys.executable).parent / "motia", "--version"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert shown.stdout == motia(folder, "--version").stdout
