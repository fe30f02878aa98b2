"""Each code of ours is documented, used, and its example gives it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import motia_spec
from motia_spec.code import Code
from motia_spec.codes import CODES
from motia_spec.codes_rules import RULE_CODES
from motia_spec.codes_schemas import SCHEMA_CODES

OURS = (*SCHEMA_CODES, *RULE_CODES)


def test_every_code_in_the_source_is_documented_and_the_other_way_round() -> None:
    package = Path(motia_spec.__file__).parent
    sources = [p for p in package.rglob("*.py") if not p.name.startswith("codes")]
    used = {code for path in sources for code in re.findall(r'"(M\d{3})"', path.read_text())}
    used |= set(re.findall(r'"(M\d{3})"', (package / "motia.schema.json").read_text()))
    assert used == set(CODES), "codes in the source and codes that are documented"


def test_codes_are_unique_and_say_something() -> None:
    codes = [code.code for code in OURS]
    assert codes == sorted(set(codes))
    for code in OURS:
        assert len(code.explanation) > 40
        assert not code.title.endswith(".")


@pytest.mark.parametrize("code", OURS, ids=lambda code: code.code)
def test_the_example_gives_the_code(code: Code, check: Callable[..., Any]) -> None:
    spec, *others = re.split(r"^# file: (.+)\n", code.example, flags=re.MULTILINE)
    files = dict(zip(others[::2], others[1::2], strict=True))
    found = check(f'motia: "1"\nname: example\n{spec}', files, handlers=code.code.startswith("M50"))
    assert code.code in found.codes, found.describe()
