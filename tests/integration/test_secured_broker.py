"""Brokers that don't let in everybody: certificates, nkeys, credentials of an operator. The ways of most clusters."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import nkeys
import pytest

from motia_runtime.nats.connect import Settings, connect
from motia_runtime.ports import LogUnavailable
from support.process import motia, running_app, write_project
from support.secured import Key, Operator, OwnServer, certify
from support.waiting import wait_for

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, to make certificates")

SPEC = """\
topics: { said: {} }
state: { words: {} }
steps:
  Say: { type: api, method: POST, path: /say, emits: [said] }
  Hear: { type: event, subscribes: [said] }
"""
SAY = """\
async def handler(request, ctx):
    await ctx.emit("said", request.body)
    return {"ok": True}
"""
HEAR = """\
async def handler(said, ctx):
    await ctx.state.set("words", said["word"], said)
"""


@pytest.fixture
def by_nkey(tmp_path: Path) -> Iterator[dict[str, str]]:
    """TLS, and one nkey: the environment that is let in."""
    certify(tmp_path, "ca")
    certify(tmp_path, "server", by="ca")
    user = Key(nkeys.PREFIX_BYTE_USER)
    (tmp_path / "user.nk").write_bytes(user.seed)
    server = OwnServer(
        tmp_path,
        'tls { cert_file: "server.pem", key_file: "server.key" }\n'
        f"authorization {{ users: [ {{ nkey: {user.public} }} ] }}",
    )
    server.start()
    yield {
        "NATS_URL": f"tls://127.0.0.1:{server.port}",
        "NATS_CA": str(tmp_path / "ca.pem"),
        "NATS_NKEY": str(tmp_path / "user.nk"),
    }
    server.stop()


@pytest.fixture
def by_certificate(tmp_path: Path) -> Iterator[tuple[OwnServer, dict[str, str]]]:
    """TLS in both directions: whoever has a certificate of the authority is let in."""
    certify(tmp_path, "ca")
    certify(tmp_path, "server", by="ca")
    certify(tmp_path, "client", by="ca", usage="clientAuth")
    certify(tmp_path, "strangers")
    certify(tmp_path, "stranger", by="strangers", usage="clientAuth")
    server = OwnServer(
        tmp_path, 'tls { cert_file: "server.pem", key_file: "server.key", ca_file: "ca.pem", verify: true }'
    )
    server.start()
    yield (
        server,
        {
            "NATS_URL": f"tls://127.0.0.1:{server.port}",
            "NATS_CA": str(tmp_path / "ca.pem"),
            "NATS_CERT": str(tmp_path / "client.pem"),
            "NATS_KEY": str(tmp_path / "client.key"),
        },
    )
    server.stop()


@pytest.fixture
def by_operator(tmp_path: Path) -> Iterator[tuple[OwnServer, dict[str, str]]]:
    """Accounts and users by signed JWTs, as `nsc` makes them."""
    operator = Operator()
    (tmp_path / "user.creds").write_text(operator.credentials())
    (tmp_path / "stranger.creds").write_text(operator.credentials(known=False))
    server = OwnServer(tmp_path, operator.configuration)
    server.start()
    yield server, {"NATS_URL": f"nats://127.0.0.1:{server.port}", "NATS_CREDS": str(tmp_path / "user.creds")}
    server.stop()


async def refused(environ: dict[str, str], words: str) -> None:
    """An error at once, not a hang."""
    began = time.monotonic()
    with pytest.raises(LogUnavailable, match=words):
        await connect(Settings.from_environ(environ["NATS_URL"], environ), name="test")
    assert time.monotonic() - began < 15


def works(folder: Path, server: OwnServer, environ: dict[str, str]) -> None:
    """`motia start` on this broker, through a restart of it, and a command."""
    project = write_project(folder / "project", SPEC, say=SAY, hear=HEAR)

    def heard(word: str) -> bool:
        return motia(project, "state", "get", "words", word, env=environ).stdout.strip() not in ("", "null")

    def said(word: str) -> bool:
        return httpx.post(f"{app.url}/say", json={"word": word}, timeout=10).status_code == 200

    with running_app(project, env=environ) as app:
        assert said("one")
        wait_for(lambda: heard("one"))
        server.stop()
        server.start()
        wait_for(lambda: said("two"), "the app did not come back")
        wait_for(lambda: heard("two"))
        assert app.stop() == 0
    assert "Traceback" not in app.output
    assert "SEED" not in app.output


@needs_openssl
@pytest.mark.filterwarnings("ignore")  # asyncio and nats-py on the end of a TLS connection
@pytest.mark.parametrize(
    ("left_out", "words"), [("", ""), ("NATS_CA", "CERTIFICATE_VERIFY_FAILED"), ("NATS_NKEY", "Authorization")]
)
async def test_who_is_let_in_by_nkey(by_nkey: dict[str, str], left_out: str, words: str) -> None:
    environ = {name: value for name, value in by_nkey.items() if name != left_out}
    if left_out:
        await refused(environ, words)
    else:
        link = await connect(Settings.from_environ(environ["NATS_URL"], environ), name="test")
        await link.close()


@needs_openssl
@pytest.mark.filterwarnings("ignore")
async def test_who_is_refused_for_the_certificate(by_certificate: tuple[OwnServer, dict[str, str]]) -> None:
    server, environ = by_certificate
    await refused({k: v for k, v in environ.items() if k not in ("NATS_CERT", "NATS_KEY")}, "NATS at")
    stranger = {"NATS_CERT": str(server.folder / "stranger.pem"), "NATS_KEY": str(server.folder / "stranger.key")}
    await refused(environ | stranger, "NATS at")
    with pytest.raises(ValueError, match="NATS_KEY can't be used"):
        await connect(Settings.from_environ(environ["NATS_URL"], environ | {"NATS_KEY": "/nowhere"}), name="test")


async def test_who_is_refused_for_the_credentials(by_operator: tuple[OwnServer, dict[str, str]]) -> None:
    server, environ = by_operator
    await refused(environ | {"NATS_CREDS": str(server.folder / "stranger.creds")}, "Authorization")
    await refused(environ | {"NATS_CREDS": ""}, "Authorization")
    with pytest.raises(ValueError, match=r"NATS_CREDS: No such file .*nowhere"):
        await connect(Settings.from_environ(environ["NATS_URL"], environ | {"NATS_CREDS": "/nowhere"}), name="test")


@needs_openssl
def test_an_app_with_a_client_certificate(tmp_path: Path, by_certificate: tuple[OwnServer, dict[str, str]]) -> None:
    works(tmp_path, *by_certificate)


def test_an_app_with_credentials_of_an_operator(tmp_path: Path, by_operator: tuple[OwnServer, dict[str, str]]) -> None:
    works(tmp_path, *by_operator)
