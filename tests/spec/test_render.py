"""Diagnostics in each format; hostile text can't forge or hide one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from motia_spec.diagnostics import Diagnostic, Severity, error
from motia_spec.place import Place
from motia_spec.render import WIDTH, Sources, render_github, render_json, render_sarif, render_text, summary

Check = Callable[..., list[Diagnostic]]

TEXT = "name: shop\nsteps:\n  A: {type: evnt}\nname: store\n"


def sources(text: str) -> Sources:
    result = Sources()
    result.add("motia.yaml", text)
    return result


def one(text: str, column: int, width: int = 1, message: str = "m") -> str:
    found = error("M101", Place("motia.yaml", 1, column, width), message)
    return render_text([found], sources(text))


def test_text_shows_line_carets_hint_and_related_places(check: Check) -> None:
    assert render_text(check(TEXT), sources(TEXT)) == (
        "motia.yaml:4:1: error: M013 duplicate key 'name'; only one of them can count\n"
        "    4 | name: store\n"
        "      | ^^^^\n"
        "  hint: rename or remove one\n"
        "  motia.yaml:1:1: first here\n"
        "    1 | name: shop\n"
        "      | ^^^^\n"
        "\n"
        "1 error\n"
    )


def test_nothing_to_say_is_nothing() -> None:
    assert render_text([], Sources()) == ""


def test_color_changes_nothing_else(check: Check) -> None:
    found = check(TEXT)
    colored = render_text(found, sources(TEXT), color=True)
    assert "\x1b[31m" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == render_text(found, sources(TEXT))


def test_carets_stand_under_wide_and_combining_characters() -> None:
    _, line, carets, *_ = one("注文: e\u0301 x", 5, 2).split("\n")
    assert line == "    1 | 注文: e\u0301 x"
    assert carets == "      | " + " " * 6 + "^"


def test_a_span_never_leaves_its_line() -> None:
    _, _, carets, *_ = one("ab", 2, 50).split("\n")
    assert carets == "      |  ^"
    assert one("", 7, 3).split("\n")[1:3] == ["    1 |", "      | ^"]


def test_a_long_line_shows_the_part_that_counts() -> None:
    text = "a" * 5000 + "HERE" + "b" * 5000
    _, line, carets, *_ = one(text, 5001, 4).split("\n")
    assert len(line) < WIDTH + 20
    start = carets.index("^")
    assert line[start : start + 4] == "HERE"
    assert carets.count("^") == 4
    assert line.startswith("    1 | ...a")
    assert line.endswith("b...")


def test_the_text_of_an_unknown_file_is_left_out() -> None:
    assert render_text([error("M001", Place("gone.yaml", 1, 1), "gone")], Sources()) == (
        "gone.yaml:1:1: error: M001 gone\n\n1 error\n"
    )


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\n0 errors", "\r", "\u202e", "\u2028", "\x9b31m", "\x00", "\u200b", "\t\x7f"]
)
def test_hostile_text_is_shown_escaped(evil: str) -> None:
    place = Place(f"a{evil}.yaml", 1, 1)
    known = Sources()
    known.add(place.file, f"x{evil}y")
    found = error("M101", place, f"message {evil}", hint=f"hint {evil}", related=((place, f"text {evil}"),))
    rendered = render_text([found], known)
    assert not any((ord(c) < 32 and c != "\n") or c in "\x7f\x9b\u202e\u2028\u200b" for c in rendered)
    assert "\n0 errors" not in rendered
    github = render_github([found], known)
    assert github.count("\n") == 1
    assert github.count("::") == 2
    for text in (render_json([found], known), render_sarif([found], known)):
        json.loads(text)
        assert not any((ord(c) < 32 and c != "\n") or c in "\x7f\x9b\u202e\u2028" for c in text)


def test_json_has_everything(check: Check) -> None:
    assert json.loads(render_json(check(TEXT), sources(TEXT))) == [
        {
            "code": "M013",
            "severity": "error",
            "message": "duplicate key 'name'; only one of them can count",
            "hint": "rename or remove one",
            "path": "",
            "file": "motia.yaml",
            "line": 4,
            "column": 1,
            "width": 4,
            "related": [{"file": "motia.yaml", "line": 1, "column": 1, "width": 4, "message": "first here"}],
        }
    ]
    assert json.loads(render_json([], Sources())) == []


def test_github_gets_one_command_for_each() -> None:
    found = error("M101", Place("a,b:c.yaml", 3, 5, 4), "50% of\nit", hint="do")
    assert render_github([found], Sources()) == (
        "::error file=a%2Cb%3Ac.yaml,line=3,col=5,endColumn=9,title=motia M101::M101 50%25 of\\u000ait (do)\n"
    )


def test_sarif_names_rules_and_regions(check: Check) -> None:
    run = json.loads(render_sarif(check(TEXT), sources(TEXT)))["runs"][0]
    [rule], [result] = run["tool"]["driver"]["rules"], run["results"]
    assert (rule["id"], rule["shortDescription"]["text"]) == ("M013", "duplicate key")
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("M013", 0, "error")
    region = {"startLine": 4, "startColumn": 1, "endColumn": 5}
    assert result["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "motia.yaml"}, "region": region}}]
    assert result["relatedLocations"][0]["message"] == {"text": "first here"}


def test_a_note_is_one_in_every_format() -> None:
    found = [Diagnostic("M509", Severity.NOTE, Place("a", 1, 1), "said")]
    nothing = sources("")
    assert render_text(found, nothing).startswith("a:1:1: note: M509 said")
    assert summary(found) == "1 note"
    assert json.loads(render_json(found, nothing))[0]["severity"] == "note"
    assert render_github(found, nothing).startswith("::notice file=a,")
    assert json.loads(render_sarif(found, nothing))["runs"][0]["results"][0]["level"] == "note"


def test_the_summary_counts() -> None:
    place = Place("a", 1, 1)
    found = [Diagnostic("M1", severity, place, "") for severity in (Severity.WARNING, Severity.ERROR, Severity.ERROR)]
    assert summary(found) == "2 errors, 1 warning"
