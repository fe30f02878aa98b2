"""A link with its own hot path on nats-py's connection; tests/benchmarks/bench_log.py has what it gains.

nats-py keeps what is hard to get right (handshake, TLS, credentials, discovery, reconnecting); we replace its parser by one that hands
messages of our own subscriptions to plain functions, and write whatever one turn of the event loop produced in one piece. This touches
private names of nats-py; `usable` says whether this version has them, else `plain.PlainLink` does the same work more slowly.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client
from nats.errors import ProtocolError

from motia_runtime.nats.link import LOG, Link, Receive
from motia_runtime.nats.wire import NO_HEAD, Head, decode_head, encode_head

MAX_LINE = 1 << 20  # bytes of a protocol line; only INFO of a large cluster is long
FIRST_SID = 1 << 30  # nats-py counts its own subscriptions from 1

_NEEDED = (
    "_ps",
    "_transport",
    "_process_msg",
    "_process_err",
    "_process_ping",
    "_process_pong",
    "_process_info",
)


def usable(client: Client) -> bool:
    """Whether this version of nats-py has what is built on here."""
    return (
        all(hasattr(client, name) for name in _NEEDED) and hasattr(client._ps, "parse") and hasattr(client._ps, "reset")
    )


class Parser:
    """Stands in for nats-py's parser. Messages of our subscriptions go to `receivers`, all else to the client as before."""

    def __init__(
        self, client: Any, receivers: dict[bytes, tuple[Receive, bytes]], refused: Callable[[str], None]
    ) -> None:
        self._client = client
        self._receivers = receivers
        self._refused = refused
        self._rest = b""
        self._epoch = 0

    def reset(self) -> None:
        """Forget half a message: the connection it came on is gone."""
        self._rest = b""
        self._epoch += 1

    async def parse(self, data: bytes = b"") -> None:
        buffer = self._rest + data if self._rest else data
        self._rest = b""
        epoch = self._epoch
        receivers = self._receivers
        find = buffer.find
        end = len(buffer)
        at = 0
        while at < end:
            eol = find(b"\r\n", at)
            if eol < 0:
                if end - at > MAX_LINE:
                    raise ProtocolError
                break
            kind = buffer[at]
            if kind == 0x4D or kind == 0x48:  # MSG subject sid [reply] size, HMSG subject sid [reply] head size
                words = buffer[at:eol].split()
                start = eol + 2
                try:
                    stop = start + int(words[-1])
                    body = start + int(words[-2]) if kind == 0x48 else start
                except (ValueError, IndexError):
                    raise ProtocolError from None
                if stop + 2 > end:
                    break
                at = stop + 2
                reply = words[3] if len(words) == (6 if kind == 0x48 else 5) else b""
                receiver = receivers.get(words[2])
                if receiver is None:
                    head = buffer[start:body] if kind == 0x48 else None
                    await self._client._process_msg(int(words[2]), words[1], reply, buffer[body:stop], head)
                else:
                    try:
                        receive, until = receiver
                        status, fields = decode_head(buffer[start:body], until) if kind == 0x48 else (0, NO_HEAD)
                        receive(words[1].decode(), reply.decode(), status, fields, buffer[body:stop])
                    except Exception:
                        LOG.exception("a message could not be handled")
                    continue
            else:
                line = buffer[at:eol]
                at = eol + 2
                if line.startswith(b"PING"):
                    await self._client._process_ping()
                elif line.startswith(b"PONG"):
                    await self._client._process_pong()
                elif line.startswith(b"-ERR"):
                    text = line[4:].strip().decode("utf-8", "replace")
                    if "permissions violation" in text.lower():  # nats-py would make small letters of the subject
                        self._refused(text)
                    else:
                        await self._client._process_err(text.lower())
                elif line.startswith(b"INFO "):
                    await self._client._process_info(json.loads(line[5:]))
                elif not line.startswith(b"+OK"):
                    raise ProtocolError
            if self._epoch != epoch:  # reconnected while awaiting: what is left belongs to the old connection
                return
        self._rest = buffer[at:]


class FastLink(Link):
    """See the module. Lives on one event loop; callers are sequential, so no lock."""

    def __init__(self) -> None:
        self._receivers: dict[bytes, tuple[Receive, bytes]] = {}
        self._out: list[bytes] = []
        self._out_size = 0
        super().__init__()

    def prepare(self, client: Client) -> None:
        client._ps = Parser(client, self._receivers, self.refused)  # type: ignore[assignment]  # the same two methods

    def _send(self, subject: str, reply: str, head: Head | None, data: bytes, tail: str = "") -> None:
        size = len(data)
        if head:
            block = encode_head(head, tail)
            line = f"HPUB {subject} {reply} {len(block)} {len(block) + size}\r\n".encode() + block
        else:
            line = f"PUB {subject} {reply} {size}\r\n".encode()
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(line)
        out.append(data)
        out.append(b"\r\n")
        self._out_size += len(line) + size

    def _write(self, line: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(line)
        self._out_size += len(line)

    def _flush(self) -> None:
        out, self._out, self._out_size = self._out, [], 0
        client: Any = self._client
        if out and self.up and client.is_connected and client._transport:
            writer = getattr(client._transport, "_io_writer", None)
            # closed by the other side, and nats-py has not heard of it yet: what was written is lost as if it had been on its way
            if writer is None or not writer.transport.is_closing():
                client._transport.write(b"".join(out))

    def _unsent(self) -> int:
        client: Any = self._client
        writer = getattr(client._transport, "_io_writer", None)
        return self._out_size + (writer.transport.get_write_buffer_size() if writer is not None else 0)

    def listen(self, subject: str, receive: Receive, *, queue: str = "", until: bytes = b"") -> int:
        sid = super().listen(subject, receive, queue=queue)
        self._receivers[b"%d" % (FIRST_SID + sid)] = receive, until
        return sid

    def forget(self, sid: int) -> None:
        super().forget(sid)
        self._receivers.pop(b"%d" % (FIRST_SID + sid), None)

    def _listen(self, sid: int, subject: str, queue: str = "") -> None:
        self._write(f"SUB {subject} {queue} {FIRST_SID + sid}\r\n".encode())

    def _unlisten(self, sid: int) -> None:
        self._write(f"UNSUB {FIRST_SID + sid}\r\n".encode())

    def _relisten(self, *, new_client: bool) -> None:
        self._out.clear()  # meant for the connection before; whoever asked was told that it is lost
        self._out_size = 0
        for sid, (subject, queue, _) in self._listening.items():
            self._listen(sid, subject, queue)
