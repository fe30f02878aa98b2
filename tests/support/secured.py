"""A nats-server of a test's own with its own configuration, and what it takes to be let in: certificates, nkeys, signed JWTs."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path

import nkeys

from motia_runtime.nats import binary

START = 10.0  # seconds


class OwnServer:
    """Runs `configuration` in `folder`, with JetStream, on a free port of 127.0.0.1. Stop it in the end."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self.folder = folder
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None
        self.port = -1

    def start(self) -> None:
        """The port stays the same when started again."""
        for old in self.folder.glob("*.ports"):
            old.unlink()
        (self.folder / "server.conf").write_text(
            f'host: 127.0.0.1\nport: {self.port}\nports_file_dir: "{self.folder}"\n'
            f'jetstream {{ store_dir: "{self.folder}/js" }}\n{self._configuration}\n'
        )
        self._process = subprocess.Popen(
            [str(binary.find()), "-c", "server.conf", "-l", "server.log"], cwd=self.folder, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + START
        while not (files := list(self.folder.glob("*.ports"))) or not files[0].read_text().strip().endswith("}"):
            assert time.monotonic() < deadline, self.log
            assert self._process.poll() is None, self.log + self._process.communicate()[1].decode()
            time.sleep(0.01)
        self.port = int(files[0].read_text().partition("127.0.0.1:")[2].partition('"')[0])

    @property
    def log(self) -> str:
        file = self.folder / "server.log"
        return file.read_text() if file.exists() else ""

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=10)
            self._process = None


def certify(folder: Path, name: str, *, by: str | None = None, usage: str = "serverAuth") -> None:
    """NAME.pem and NAME.key in `folder`: signed by the authority `by`, or an authority itself."""
    if by is None:
        extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign", "subjectKeyIdentifier=hash"]
        signed = ""
    else:
        extensions = [
            "basicConstraints=CA:FALSE",
            "authorityKeyIdentifier=keyid",
            f"extendedKeyUsage={usage}",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ]
        signed = f"-CA {by}.pem -CAkey {by}.key"
    settings = ["[req]", "distinguished_name=dn", "x509_extensions=ext", "[dn]", "[ext]", *extensions]
    (folder / "openssl.cnf").write_text("\n".join(settings) + "\n")
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -config openssl.cnf -keyout {name}.key -out {name}.pem "
        f"-days 2 -subj /CN={name} {signed}"
    )
    done = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Key:
    """A new key pair of nkeys: `seed`, `public`, and what it signs."""

    def __init__(self, prefix: int) -> None:
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), prefix))
        self.public = self._pair().public_key.decode()

    def _pair(self) -> nkeys.KeyPair:
        return nkeys.from_seed(bytearray(self.seed))

    def claim(self, subject: Key, kind: str, **body: object) -> str:
        """A JWT of NATS about `subject`, signed by this key."""
        header = {"typ": "JWT", "alg": "ed25519-nkey"}
        claims = {
            "jti": os.urandom(16).hex(),
            "iat": int(time.time()) - 1,
            "iss": self.public,
            "name": kind,
            "sub": subject.public,
            "nats": {"type": kind, "version": 2, **body},
        }
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_base64(self._pair().sign(signed.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Operator:
    """An operator with an account that has JetStream: `configuration` of a server, and credentials of its users."""

    def __init__(self) -> None:
        self._operator = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        system = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        free = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
        own = self._operator.claim(self._operator, "operator", system_account=system.public)
        app = self._operator.claim(self._account, "account", limits={**free, **stored, "wildcards": True})
        of_system = self._operator.claim(system, "account", limits={**free, "wildcards": True})
        self.configuration = (
            f"operator: {own}\nsystem_account: {system.public}\nresolver: MEMORY\n"
            f"resolver_preload {{ {self._account.public}: {app}\n {system.public}: {of_system} }}"
        )

    def credentials(self, *, known: bool = True) -> str:
        """What a .creds file of a new user holds; `known=False`: of an account that the operator never signed."""
        user = Key(nkeys.PREFIX_BYTE_USER)
        account = self._account if known else Key(nkeys.PREFIX_BYTE_ACCOUNT)
        jwt = account.claim(user, "user", subs=-1, data=-1, payload=-1)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
