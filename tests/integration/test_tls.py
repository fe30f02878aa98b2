"""A broker behind TLS that lets in one nkey: the way of most clusters."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import nkeys
import pytest

from motia_runtime.nats import binary
from motia_runtime.nats.connect import Settings, connect
from motia_runtime.ports import LogUnavailable

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, to make a certificate")


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings that are let in, by their names in the environment."""
    san = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost -addext"
    subprocess.run([*make.split(), san], cwd=tmp_path, check=True, capture_output=True)
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    (tmp_path / "user.nk").write_bytes(seed)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    (tmp_path / "server.conf").write_text(
        f'host: 127.0.0.1\nport: -1\nports_file_dir: "{tmp_path}"\njetstream {{ store_dir: "{tmp_path}/js" }}\n'
        'tls { cert_file: "cert.pem", key_file: "key.pem" }\n'
        f"authorization {{ users: [ {{ nkey: {public} }} ] }}\n"
    )
    server = subprocess.Popen([str(binary.find()), "-c", "server.conf", "-l", "server.log"], cwd=tmp_path)
    try:
        deadline = time.monotonic() + 10
        while not (files := list(tmp_path.glob("*.ports"))) or not files[0].read_text().strip().endswith("}"):
            assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.01)
        port = files[0].read_text().partition("127.0.0.1:")[2].partition('"')[0]
        yield {
            "url": f"tls://127.0.0.1:{port}",
            "NATS_CA": str(tmp_path / "cert.pem"),
            "NATS_NKEY": str(tmp_path / "user.nk"),
        }
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.filterwarnings("ignore")  # asyncio and nats-py on the end of a TLS connection
@pytest.mark.parametrize(
    ("left_out", "words"), [("", ""), ("NATS_CA", "CERTIFICATE_VERIFY_FAILED"), ("NATS_NKEY", "Authorization")]
)
async def test_who_is_let_in(tls_server, left_out, words):
    """A refusal is an error at once, not a hang."""
    environ = {name: value for name, value in tls_server.items() if name != left_out}
    settings = Settings.from_environ(tls_server["url"], environ)
    began = time.monotonic()
    if not left_out:
        link = await connect(settings, name="test")
        await link.close()
        return
    with pytest.raises(LogUnavailable, match=words):
        await connect(settings, name="test")
    assert time.monotonic() - began < 8
