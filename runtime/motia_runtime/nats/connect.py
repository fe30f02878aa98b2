"""Which broker, with which credentials, and the way there. Credentials appear in no message and no log.

NATS_URL       nats://host:4222, several joined by ","; tls:// and wss:// work as well
NATS_CREDS     path of a .creds file          NATS_NKEY   path of a file with an nkey seed
NATS_USER, NATS_PASSWORD, NATS_TOKEN
NATS_CA, NATS_CERT, NATS_KEY                  paths of PEM files
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
from nats import errors
from nats.aio.client import Client

from motia_runtime.nats.appends import NOT_LEADER
from motia_runtime.nats.fast import FastLink, usable
from motia_runtime.nats.link import ELECTION, Link
from motia_runtime.nats.plain import PlainLink
from motia_runtime.nats.reads import patiently
from motia_runtime.ports import LogUnavailable

API_LEVEL = 4  # of JetStream, nats-server 2.14: schedules, atomic batches, TTL per message
TIMEOUT = 10.0  # seconds until the first connection is given up
CLOSE = 1.0  # seconds that a failed connection may take to end
RECONNECT_WAIT = 0.2  # seconds between attempts

_USERINFO = re.compile(r"([a-z+]+://)[^/@\s]+@")

logging.getLogger("nats").setLevel(
    logging.CRITICAL
)  # it logs tracebacks of what it then recovers from; we report what matters


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach a broker. `repr` shows no secret."""

    url: str
    creds: str = ""
    nkey: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    @classmethod
    def from_environ(cls, url: str, environ: Mapping[str, str]) -> Settings:
        """`url` from the spec, everything else from the environment; NATS_URL is used where the spec says so."""
        names = ("creds", "nkey", "user", "password", "token", "ca", "cert", "key")
        return cls(url=url, **{name: environ.get(f"NATS_{name.upper()}", "") for name in names})

    def environ(self) -> dict[str, str]:
        """The variables that lead another process there."""
        names = ("url", "creds", "nkey", "user", "password", "token", "ca", "cert", "key")
        return {f"NATS_{name.upper()}": getattr(self, name) for name in names if getattr(self, name)}

    @property
    def urls(self) -> list[str]:
        return [part.strip() for part in self.url.split(",") if part.strip()]

    def __repr__(self) -> str:
        return f"Settings({self.shown})"

    @property
    def shown(self) -> str:
        """The URL without what is secret in it."""
        return mask(self.url)


def mask(text: str) -> str:
    """Text with the credentials in its URLs hidden."""
    return _USERINFO.sub(r"\1***@", text)


class Unsupported(RuntimeError):
    """The broker can't do what an app needs. Use nats-server 2.14 or newer, with JetStream enabled."""


class _Account(msgspec.Struct):
    class Api(msgspec.Struct):
        level: int = 0

    class Error(msgspec.Struct):
        code: int = 0
        err_code: int = 0
        description: str = ""

    api: Api = msgspec.field(default_factory=Api)
    error: Error | None = None


async def connect(
    settings: Settings, *, name: str, fast: bool = True, timeout: float = TIMEOUT, jetstream: bool = True
) -> Link:
    """A link that stays connected until closed. Raises `LogUnavailable` when there is no connection within `timeout` seconds or
    the credentials are refused, `Unsupported` when the server is too old or has no JetStream, `ValueError` for unusable settings.
    Without `jetstream` for who stores nothing, and may not."""
    websocket = any(url.startswith(("ws://", "wss://")) for url in settings.urls)
    link: Link = FastLink() if fast and not websocket and usable(Client()) else PlainLink()
    options = _options(settings)

    async def dial() -> Client:
        return await _dial(settings, options, link, name, timeout)

    await link.open(dial)
    if not jetstream:
        return link
    try:
        await _check(link, settings)
    except BaseException:
        await link.close()
        raise
    return link


async def _dial(settings: Settings, options: dict[str, Any], link: Link, name: str, timeout: float) -> Client:
    client = Client()
    link.prepare(client)
    last: list[str] = []

    async def on_error(error: Exception) -> None:
        last[:] = [str(error) or type(error).__name__]
        if "permissions violation" in last[0]:
            link.refused(last[0].removeprefix("nats: "))

    try:
        async with asyncio.timeout(timeout):
            await client.connect(
                settings.urls,
                name=name,
                error_cb=on_error,
                disconnected_cb=link.on_disconnected,
                reconnected_cb=link.on_reconnected,
                closed_cb=link.on_closed,
                allow_reconnect=False,  # a refusal shall be an error now, not a loop
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # passed to asyncio.sleep
                ping_interval=5,
                pending_size=1 << 26,
                **options,
            )
    except TimeoutError:
        why = f": {mask(last[0])}" if last else ""
        await _close(client)
        raise LogUnavailable(f"no connection to NATS at {settings.shown} within {timeout:g} s{why}") from None
    except (errors.Error, OSError, ssl.SSLError) as error:
        await _close(client)
        raise LogUnavailable(f"NATS at {settings.shown} refuses the connection: {mask(str(error))}") from None
    client.options["allow_reconnect"] = True
    return client


async def _close(client: Client) -> None:
    """nats-py waits for ever for the end of a connection whose TLS handshake has failed."""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(CLOSE):
            await client.close()


def _options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if settings.creds:
        options["user_credentials"] = settings.creds
    if settings.nkey:
        options["nkeys_seed"] = settings.nkey
    if settings.user:
        options |= {"user": settings.user, "password": settings.password}
    if settings.token:
        options["token"] = settings.token
    if settings.ca or settings.cert or any(url.startswith(("tls://", "wss://")) for url in settings.urls):
        try:
            context = ssl.create_default_context(cafile=settings.ca or None)
            if settings.cert:
                context.load_cert_chain(settings.cert, settings.key or None)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"NATS_CA, NATS_CERT or NATS_KEY can't be used: {error}") from None
        options["tls"] = context
    for variable, path in (("NATS_CREDS", settings.creds), ("NATS_NKEY", settings.nkey)):
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ValueError(f"{variable}: {error.strerror}: {path!r}") from None
    return options


def version_of(link: Link) -> str:
    """Of the server: "2.14.1"."""
    version = link.client.connected_server_version
    return f"{version.major}.{version.minor}.{version.patch}"


async def _check(link: Link, settings: Settings) -> None:
    """JetStream is there and new enough. Older servers store schedules and batches as ordinary messages without a word."""
    version = version_of(link)
    account = await patiently(partial(_account, link, settings, version), ELECTION)
    if account.error is not None:
        raise Unsupported(f"NATS at {settings.shown} refuses JetStream to this account: {account.error.description}")
    if account.api.level < API_LEVEL:
        raise Unsupported(
            f"NATS at {settings.shown} is nats-server {version} with JetStream API level {account.api.level}: "
            f"level {API_LEVEL} is needed, which is nats-server 2.14 or newer"
        )


async def _account(link: Link, settings: Settings, version: str) -> _Account:
    status, _, data = await link.request("$JS.API.INFO")
    if status == 503:
        raise Unsupported(f"NATS at {settings.shown} (nats-server {version}) has no JetStream: start it with -js")
    account = msgspec.json.decode(data, type=_Account)
    if account.error is not None and account.error.err_code in NOT_LEADER:
        raise LogUnavailable(
            f"the NATS cluster at {settings.shown} has no leader ({account.error.description}): do most of its servers run?"
        )
    return account
