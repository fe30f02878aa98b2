"""The WebSocket protocol without a network: whatever a client sends is messages or a violation, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motia_runtime.http.rfc6455 import (
    BINARY,
    CONTINUATION,
    PING,
    TEXT,
    Decoder,
    Violation,
    accept_key,
    close_frame,
    closing,
    frame,
    subprotocols,
)
from support.sockets import masked

LARGEST = 1000


def decoded(data: bytes, *, pieces: int = 1 << 20) -> list[tuple[int, bytes]]:
    decoder, found = Decoder(LARGEST), []
    for start in range(0, len(data), pieces):
        decoder.feed(data[start : start + pieces])
        while (message := decoder.next()) is not None:
            found.append(message)
    return found


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), st.text(max_size=300), st.integers(1, 5))), st.integers(1, 400)
)
def test_messages_come_out_as_they_were_however_they_are_cut(messages: list[tuple[int, str, int]], pieces: int) -> None:
    data = b""
    for kind, text, parts in messages:
        payload = text.encode()[:LARGEST].decode("utf-8", "ignore").encode()
        size = len(payload) // parts + 1
        cut = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
        for n, part in enumerate(cut):
            data += masked(kind if n == 0 else CONTINUATION, part, final=n == len(cut) - 1)
            data += masked(PING, b"p")
    wanted = [(kind, text.encode()[:LARGEST].decode("utf-8", "ignore").encode()) for kind, text, _ in messages]
    assert [message for message in decoded(data, pieces=pieces) if message[0] != PING] == wanted


@given(st.binary(max_size=400), st.integers(1, 50))
def test_anything_else_is_a_violation_and_never_more(data: bytes, pieces: int) -> None:
    found: list[tuple[int, bytes]] = []
    code = 0
    try:
        found = decoded(data, pieces=pieces)
    except Violation as violation:
        code = violation.code
    assert code in (0, 1002, 1007, 1009)
    assert {kind for kind, _ in found} <= {TEXT, BINARY, 8, 9, 10}
    assert max((len(payload) for _, payload in found), default=0) <= LARGEST


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\xfe\x00\x05\0\0\0\0hello", 1002),  # a length that is longer than it must be
        (b"\x81\xff" + (200).to_bytes(8, "big"), 1002),
        (masked(TEXT, b"a", final=False) + masked(TEXT, b"b"), 1002),
        (masked(3, b""), 1002),
        (masked(TEXT, b"x" * (LARGEST + 1))[:10], 1009),  # before it is there
        (masked(TEXT, "ü".encode()[:1]), 1007),
    ],
)
def test_violations(data: bytes, code: int) -> None:
    with pytest.raises(Violation) as found:
        decoded(data)
    assert found.value.code == code


def test_a_character_may_be_cut_between_fragments() -> None:
    ue = "ü".encode()
    assert decoded(masked(TEXT, ue[:1], final=False) + masked(CONTINUATION, ue[1:])) == [(TEXT, ue)]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_of_the_server_have_the_shortest_length(size: int) -> None:
    made = frame(BINARY, b"x" * size)
    assert len(made) - size == (2 if size < 126 else 4 if size < 65536 else 10)


def test_the_example_of_the_rfc() -> None:
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert accept_key(b"dGhlIHNhbXBsZSBub25j") is None
    assert accept_key(b"!") is None


def test_subprotocols() -> None:
    assert subprotocols([b"Authorization, a.b-c", b"x"]) == ["Authorization", "a.b-c", "x"]
    assert subprotocols([]) == []
    for bad in (b"a b", b"a,,b", b'"a"', b"a\xff"):
        assert subprotocols([bad]) is None


def test_closing() -> None:
    assert closing(b"") == 1005
    assert closing(close_frame(1001, "ö" * 100)[2:]) == 1001
    for bad in (b"x", b"\x03\xed", b"\x00\x01", b"\xff\xff"):
        with pytest.raises(Violation):
            closing(bad)
