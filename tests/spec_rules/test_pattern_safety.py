import re
import time

import pytest

from motia_spec import patterns


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a|a)*$",
        "(a+)+",
        "(a*)*",
        "((a+)b?)+$",
        "^(.{1,32000}){1,32000}$",
        "^(.*,)*$",
        r"(\s*\w+\s*)*",
        r"(\w|\d)*$",
        "(a|ab)*",
        "x" * 300,
        r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}$",
        "((a{0,100}){0,100}){0,100}",
        "(?:(?:a|b)+)+",
        "a{20000}",
    ],
)
def test_unsafe(pattern: str) -> None:
    found = patterns.check(pattern)
    assert found is not None
    assert found.startswith("unsafe: ")


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("^[a-z]+(-[a-z]+)*$", "a" * 60 + "!"),
        (r"^([a-z]+\.)+[a-z]{2,}$", "a." * 40 + "!"),
        (r"^\d{3}-\d{4}$", "1" * 99),
        ("^(foo|far)*$", "foo" * 30 + "!"),
        (r"^(\d{1,3}\.){3}\d{1,3}$", "1." * 30),
        (r"^(\d{1,3}\.?){4}$", "1" * 60 + "!"),
        ("^#([0-9a-f]{3}|[0-9a-f]{6})$", "#" + "f" * 60),
        (r"^[^@\s]+@[^@\s]+\.[^@\s]+$", "a" * 60),
        ("^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$", "a" * 61),
        ("^(a|b)+$", "ab" * 30 + "!"),
        (r"^v?\d+(\.\d+)*(-[a-z0-9]+)?$", "1." * 40 + "!"),
        ("^(?!x)(ab?c)*$", "abc" * 30 + "!"),
        (r"^\S+( \S+)*$", "a " * 40),
    ],
)
def test_what_is_accepted_ends_soon(pattern: str, value: str) -> None:
    assert patterns.check(pattern) is None
    start = time.perf_counter()
    re.search(pattern, value)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "pattern", [r"^\p{L}+$", "(", "[z-a]", "a**", "(?<n>a)", r"\1", "(" * 120 + ")" * 120 + "+" * 3]
)
def test_invalid(pattern: str) -> None:
    found = patterns.check(pattern)
    assert found is not None
    assert found.startswith("invalid: ")


def test_unicode_classes_get_a_remedy() -> None:
    assert "[A-Za-z]" in str(patterns.check(r"\p{L}"))
