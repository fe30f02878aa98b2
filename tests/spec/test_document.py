"""YAML to nodes: what scalars mean, where everything stands, what is refused."""

from __future__ import annotations

import pytest
import yaml

from motia_spec import document
from motia_spec.diagnostics import Diagnostic
from motia_spec.document import Budget, read_document
from motia_spec.node import ListNode, MapNode
from motia_spec.sources import Sources


def read(text: str | bytes, values: int = 1000) -> tuple[MapNode | None, list[Diagnostic]]:
    found: list[Diagnostic] = []
    node = read_document(text, "a.yaml", sources=Sources(), budget=Budget(values), diagnostics=found)
    return node, found


def plain(text: str) -> object:
    node, found = read(text)
    assert not found, found
    assert node is not None
    return node.plain()


def codes(text: str | bytes, values: int = 1000) -> list[str]:
    return [f"{d.code} {d.place.line}:{d.place.column}+{d.place.width}" for d in read(text, values)[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("+7", 7),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("99999999999999999999", 99999999999999999999),
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("1.2.3", "1.2.3"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("nullable", "nullable"),
        ("0.5", 0.5),
        ("<<", "<<"),
    ],
)
def test_a_plain_scalar_reads_as_in_yaml_1_2(text: str, value: object) -> None:
    result = plain(f"a: {text}")
    assert result == {"a": value}
    assert type(result["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0644", "M015"),
        ("-007", "M015"),
        ("007.5", "M015"),
        ("0x1F", "M015"),
        ("0o17", "M015"),
        (".inf", "M016"),
        ("-.INF", "M016"),
        (".nan", "M016"),
        ("1e999", "M016"),
        ("1" * 21, "M016"),
        ("9" * 5000, "M016"),
    ],
)
def test_a_number_without_one_meaning_is_refused(text: str, code: str) -> None:
    assert codes(f"a: {text}") == [f"{code} 1:4+{len(text)}"]


def test_each_key_and_value_has_its_place() -> None:
    node, _ = read("name: shop\nsteps:\n  'A b':   [x, {y: 1}]\n  C:\n    - |\n      text\n    - \n  D:\n")
    assert node is not None
    steps = node.get("steps")
    assert isinstance(steps, MapNode)
    assert str(node.key_place("name")) == "a.yaml:1:1"
    assert str(steps.key_place("A b")) == "a.yaml:3:3"
    assert steps.key_place("A b").width == 5
    items = steps.get("A b")
    assert isinstance(items, ListNode)
    assert (items.place.column, items.place.width) == (12, 11)
    assert (items.items[1].place.column, items.items[1].place.width) == (16, 6)
    block = steps.get("C")
    assert isinstance(block, ListNode)
    assert [(i.place.line, i.place.column, i.place.width) for i in block.items] == [(5, 7, 1), (5, 5, 1)]
    assert steps.get("D").place == steps.key_place("D"), "an empty value is shown at its key"  # type: ignore[union-attr]  # it is there


def test_a_column_counts_characters() -> None:
    node, _ = read('"😀é": äö\n')
    assert node is not None
    value = node.get("😀é")
    assert value is not None
    assert (value.place.column, value.place.width) == (7, 2)


def test_a_duplicate_key_names_both_places() -> None:
    _, found = read("a: 1\nb: 2\na: 3\n")
    assert [str(d.place) for d in found] == ["a.yaml:3:1"]
    assert [(str(place), text) for place, text in found[0].related] == [("a.yaml:1:1", "first here")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: !!str x", ["M014 1:4+7"]),
        ("a: !x {b: 1}", ["M014 1:4+4"]),
        ("a: !!set [1]", ["M014 1:4+7"]),
        ("!x a: 1", ["M014 1:1+4"]),
        ("%TAG !a! x\n---\na: 1", ["M014 1:1+1"]),
        ("a: 1\n---\nb: 2", ["M011 2:1+3"]),
        ("# nothing\n", ["M012 1:1+1"]),
        ("", ["M012 1:1+1"]),
        ("---\n", ["M012 2:1+1"]),
        ("- a", ["M019 1:1+1"]),
        ("text", ["M019 1:1+4"]),
        ("a: *b", ["M010 1:4+2"]),
        ("a: &b [*b]", ["M009 1:8+2"]),
        ("a: &b\n  <<: *b", ["M009 2:7+2"]),
        ("true: 1", ["M017 1:1+4"]),
        ("1.5: 1", ["M017 1:1+3"]),
        ("null: 1", ["M017 1:1+4"]),
        ("? \n: 1", ["M017 1:2+1"]),
        ("{a: 1}: 2", ["M017 1:1+1"]),
        ("? [a]\n: 2", ["M017 1:3+1"]),
        ("a: &x b\n*x : 2", ["M017 2:1+2"]),
        ("012: 1", ["M015 1:1+3"]),
        ("<<: 1", ["M018 1:1+2"]),
        ("<<: [1]", ["M018 1:1+2"]),
        ("<<: {a: 1}\n<<: {b: 1}", ["M013 2:1+2"]),
        ("a: [1", ["M005 1:4+1"]),
        ('a: 1\nb: "x\n\n', ["M005 2:4+1"]),
        ("a: b: c", ["M005 1:5+1"]),
        ("a:\n\t- b", ["M005 2:1+1"]),
        ("a: {p: /x/{id}}", ["M005 1:11+1"]),
        ("<<<<<<< HEAD\na: 1\n", ["M006 1:1+1"]),
        ("a: 1\n=======\nb: 1\n", ["M006 2:1+1"]),
        ("a: x\0y", ["M004 1:5+1"]),
        ("a: x\u202ey", ["M004 1:5+1"]),
        ("a: x\u2028y", ["M004 1:5+1"]),
        ("a: x\ry", ["M004 1:5+1"]),
        ("a: 1\nb: \ufeff", ["M004 2:4+1"]),
        ('"a\\u202e": 1', ["M004 1:1+9"]),
        ("on: 1", ["M028 1:1+2"]),
        (b"a: \xe9", ["M003 1:4+1"]),
        ("a: 1".encode("utf-16"), ["M003 1:1+1"]),
        ("a: \ud800", ["M003 1:1+1"]),
        ("a: " + "[" * 64 + "]" * 64, ["M007 1:67+1"]),
        ("?" + " ?" * 70, ["M007 1:129+1"]),
        ("-" + " -" * 70, ["M007 1:129+1"]),
        ("k" * 1025 + ": 1", ["M005 1:1026+1"]),
        ("? " + "k" * 1025 + "\n: 1", ["M017 1:3+1025"]),
    ],
)
def test_what_is_refused_and_where(text: str | bytes, found: list[str]) -> None:
    assert codes(text) == found


def test_several_faults_of_one_file_come_at_once() -> None:
    assert [d.code for d in read("a: 01\nb: !x 1\nb: .nan\n")[1]] == ["M015", "M014", "M016", "M013"]


def test_a_byte_order_mark_and_crlf_are_fine() -> None:
    assert plain("\ufeffa: 1\r\nb:\r\n  - x\r\n") == {"a": 1, "b": ["x"]}


def test_whole_numbers_are_keys_and_words_stay_words() -> None:
    node, found = read("201: a\n'on': b\nyes: c\n")
    assert node is not None
    assert node.plain() == {"201": "a", "on": "b", "yes": "c"}
    assert [d.severity for d in found] == ["warning"]


def test_a_number_and_its_text_are_one_key() -> None:
    assert codes("201: a\n'201': b\n") == ["M013 2:1+5"]


def test_merge_keys_add_what_is_not_there() -> None:
    assert plain("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {c: 3, <<: [*x, *y]}\nw: {<<: *x, a: 9}") == {
        "x": {"a": 1, "b": 1},
        "y": {"b": 2, "c": 2},
        "z": {"c": 3, "a": 1, "b": 1},
        "w": {"a": 9, "b": 1},
    }


def test_a_quoted_merge_key_is_a_key() -> None:
    assert plain('"<<": 1') == {"<<": 1}


def test_aliases_count_as_what_they_stand_for() -> None:
    text = "a: &a [1, 2, 3]\nb: [*a, *a]\n"  # root, list a with 3, list b, 2 times 4
    assert codes(text, values=14) == []
    assert codes(text, values=13) == ["M008 2:9+2"]


def test_aliases_count_towards_the_depth() -> None:
    text = "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40
    assert codes(text) == ["M007 2:44+2"]


def test_a_nested_alias_counts_what_is_below_it() -> None:
    text = "a: &a " + "[" * 30 + "]" * 30 + "\nb: &b " + "[" * 30 + "*a" + "]" * 30 + "\nc: [[[*b]]]\nd: [[[[*b]]]]"
    assert codes(text) == ["M007 4:8+2"]


def test_the_pure_python_loader_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "x: &x {a: 1}\ny: [*x, 'q', \"r\\n\", on, 0.5,]\nz:\n  <<: *x\n  t: |\n    text\n"
    expected, _ = read(text)
    monkeypatch.setattr(document, "_Loader", yaml.SafeLoader)
    again, found = read(text)
    assert not found
    assert expected is not None
    assert again is not None
    assert again.plain() == expected.plain()
    assert codes("a: " + "[" * 70 + "]" * 70) == ["M007 1:67+1"]
    assert codes("a: [1") == ["M005 1:4+1"]
