"""Bytes of the NATS client protocol: header blocks and the reply subjects of JetStream deliveries."""

from __future__ import annotations

from collections.abc import Mapping

from motia_runtime.handler import InvalidHeader

Head = Mapping[str, str]
NO_HEAD: dict[str, str] = {}
FIRST_LINE = "NATS/1.0\r\n"


def encode_head(head: Head, tail: str = "") -> bytes:
    """A header block. `tail`: whole lines that stand last in it, and break out of nothing. `InvalidHeader` when a name or value would break out of its line."""
    lines = [FIRST_LINE]
    for name, value in head.items():
        lines.append(f"{name}: {value}\r\n")
    block = "".join(lines)
    breaks = len(head) + 1
    if block.count("\n") != breaks or block.count("\r") != breaks or "\x00" in block:
        raise InvalidHeader("a header holds a line break or NUL")
    return f"{block}{tail}\r\n".encode()


def decode_head(block: bytes, until: bytes = b"") -> tuple[int, dict[str, str]]:
    """(status, headers): the status is 0 for an ordinary message; its text is the header "Description". From `until` on nothing is read."""
    if until and (cut := block.find(until)) >= 0:
        block = block[:cut]
    lines = block.decode("utf-8", "replace").split("\r\n")
    head: dict[str, str] = {}
    status = 0
    first = lines[0]
    if len(first) > 8:  # "NATS/1.0 404 No Messages"
        _, _, rest = first.partition(" ")
        code, _, description = rest.strip().partition(" ")
        if code.isdigit():
            status = int(code)
            head["Description"] = description
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            head[name] = value.strip()
    return status, head


def ack_fields(reply: str) -> tuple[int, int, int, float] | None:
    """(delivered, stream sequence, number of the delivery, stored at) from "$JS.ACK..."; None for any other subject. ADR-15 has both forms."""
    parts = reply.split(".")
    if len(parts) < 9 or parts[0] != "$JS" or parts[1] != "ACK":
        return None
    at = 4 if len(parts) == 9 else 6  # the longer form names domain and account first
    return int(parts[at]), int(parts[at + 1]), int(parts[at + 2]), int(parts[at + 3]) / 1e9
