"""Each code of reading and of the schema is documented, is used, and its example gives it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import motia_spec
from motia_spec.code import Code
from motia_spec.codes_reading import READING_CODES
from motia_spec.diagnostics import Diagnostic

# What an example can't hold: size, bytes, the caller's environment, a thousand findings. Their tests are elsewhere in this folder.
NOT_AS_TEXT = {"M002", "M003", "M026", "M110"}


@pytest.mark.parametrize(
    "code", [code for code in READING_CODES if code.code not in NOT_AS_TEXT], ids=lambda code: code.code
)
def test_the_example_gives_the_code(code: Code, check: Callable[..., list[Diagnostic]]) -> None:
    spec, *others = re.split(r"^# file: (.+)\n", code.example, flags=re.MULTILINE)
    found = check(spec, dict(zip(others[::2], others[1::2], strict=True)))
    assert {d.code for d in found} == {code.code}


def test_codes_are_unique_ordered_and_explained() -> None:
    codes = [code.code for code in READING_CODES]
    assert codes == sorted(set(codes))
    assert all(re.fullmatch(r"M[01]\d\d", code) for code in codes)
    assert all(len(code.explanation) > 60 and code.title and not code.title.endswith(".") for code in READING_CODES)


def test_each_code_is_given_somewhere_and_each_given_one_is_documented() -> None:
    sources = [
        p.read_text()
        for p in Path(motia_spec.__file__).parent.iterdir()
        if p.suffix in (".py", ".json") and "codes" not in p.name
    ]
    given = set(re.findall(r'"(M[01]\d\d)"', "".join(sources)))
    assert given == {code.code for code in READING_CODES}
