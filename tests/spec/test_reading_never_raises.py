"""Whatever the bytes: findings with places inside the text, in every format; never an exception."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from motia_spec.load import load_spec
from motia_spec.render import render_github, render_json, render_sarif, render_text
from motia_spec.validate import validate_spec

WHOLE = Path(__file__).with_name("whole.yaml").read_bytes()
PIECES = [
    b"{", b"}", b"[", b"]", b":", b" ", b"\n", b"- ", b"? ", b"&a ", b"*a", b"!x ", b"|", b">", b"'", b'"', b"#", b"<<: *heavy", b"${", b"$$", b"\t",
    b"\xff", b"\xe2\x80\xae", b"\r", b"%", b"@", b"...", b"---\n", b"0644", b".inf", b"null", b"1e999", b"\\", b"\x00", b"\xc2\x85", b"\xc3\xa9", b"x-",
]  # fmt: skip


def damaged(dice: random.Random) -> bytes:
    text = bytearray(WHOLE if dice.random() < 0.6 else b"")
    for _ in range(dice.choice((1, 2, 5, 40))):
        at = dice.randrange(len(text) + 1)
        if dice.random() < 0.3:
            del text[at : at + dice.randrange(1, 30)]
        else:
            text[at:at] = dice.choice(PIECES)
    return bytes(text)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_specs(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    for _ in range(100):
        (tmp_path / "motia.yaml").write_bytes(damaged(dice))
        loaded = load_spec(tmp_path, {})
        found = loaded.diagnostics + (validate_spec(loaded.node) if loaded.node is not None else [])
        assert found or loaded.node is not None
        for place in [d.place for d in found] + [place for d in found for place, _ in d.related]:
            line = loaded.sources.line(place.file, place.line)
            assert line is None or 1 <= place.column < place.column + place.width <= max(len(line), 1) + 1
        for render in (render_text, render_json, render_github, render_sarif):
            render(found, loaded.sources)
