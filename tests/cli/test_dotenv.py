"""`.env`: what the comments of the module promise, and an error that names the line for everything else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motia_runtime.dotenv import Dotenv, DotenvError, parse_dotenv


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\nB = two words \n", {"A": "1", "B": "two words"}),
        ("\ufeffexport A=1\r\n# comment\r\n\r\n  B=2\r\n", {"A": "1", "B": "2"}),
        ("A=abc # comment\nB=a#b\nC=# nothing\n", {"A": "abc", "B": "a#b", "C": ""}),
        ('A="two\\nlines \\"q\\" \\$x \\z" # c', {"A": 'two\nlines "q" $x \\z'}),
        ("A='as $is \\n # all'\nB=\"\nspan\n\"", {"A": "as $is \\n # all", "B": "\nspan\n"}),
        ("A=1\nA=2", {"A": "2"}),
        ("URL=postgres://u:p@h/d?x=1&y=$z", {"URL": "postgres://u:p@h/d?x=1&y=$z"}),
        ("", {}),
        ("   ", {}),
        ("# only", {}),
        ("A=", {"A": ""}),
    ],
)
def test_reads(text: str, expected: dict[str, str]) -> None:
    assert parse_dotenv(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\n\nwhat is this\n", ".env:3: expected KEY=VALUE, a comment or an empty line, found 'what is this'"),
        ("1A=x", ".env:1: expected KEY=VALUE"),
        ("A='x\nB=2", ".env:1: A: the ' is never closed"),
        ('A=1\nB="x" y', '.env:2: B: only a comment may follow the closing "'),
        ("A=a\0b", ".env:1: A holds a NUL byte"),
    ],
)
def test_an_error_names_the_line(text: str, message: str) -> None:
    with pytest.raises(DotenvError) as caught:
        parse_dotenv(text)
    assert str(caught.value).startswith(message)


def test_an_error_does_not_show_a_value() -> None:
    with pytest.raises(DotenvError) as caught:
        parse_dotenv("API KEY=hunter2")
    assert "hunter2" not in str(caught.value)


def test_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\n")
    environ = {"A": "shell"}
    assert Dotenv(tmp_path / ".env", environ).load() == {"B"}
    assert environ == {"A": "shell", "B": "file"}


def test_no_file_is_no_error(tmp_path: Path) -> None:
    assert Dotenv(tmp_path / ".env", {}).load() == set()


def test_loaded_again_the_environment_is_as_the_file_says_now(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    environ = {"SHELL": "real"}
    dotenv = Dotenv(file, environ)
    file.write_text("SHELL=file\nGOES=1\nCHANGES=1\nSTAYS=1\nTAKEN=1\n")
    assert dotenv.load() == {"GOES", "CHANGES", "STAYS", "TAKEN"}
    environ["TAKEN"] = "by the app"
    file.write_text("SHELL=other\nCHANGES=2\nSTAYS=1\nTAKEN=2\nNEW=1\n")
    assert dotenv.load() == {"GOES", "CHANGES", "NEW"}
    assert environ == {"SHELL": "real", "CHANGES": "2", "STAYS": "1", "TAKEN": "by the app", "NEW": "1"}
    file.write_text("not a line")
    with pytest.raises(DotenvError):
        dotenv.load()
    assert environ["NEW"] == "1"
    file.unlink()
    assert dotenv.load() == {"CHANGES", "STAYS", "NEW"}
    assert environ == {"SHELL": "real", "TAKEN": "by the app"}


def test_not_utf8_names_the_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=1\nB=\xff\n")
    with pytest.raises(DotenvError, match=r"\.env:2: not UTF-8"):
        Dotenv(tmp_path / ".env", {}).load()


@given(st.text())
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    message = ""
    try:
        parse_dotenv(text)
    except DotenvError as error:
        message = str(error)
    assert message == "" or re.match(r"\.env:[0-9]+: ", message)


@given(st.text(st.characters(exclude_characters="'\0\r", exclude_categories=["Cs"])))
def test_single_quotes_keep_a_value_as_it_is(value: str) -> None:
    assert parse_dotenv(f"A='{value}'\nB=1") == {"A": value, "B": "1"}
