"""Log lines: aligned for people, JSON for machines, without secrets and without control characters."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from motia_runtime.logs import JsonFormatter, Mask, PeopleFormatter, announce, banner, setup, wants_color
from motia_spec.model import ApiStep, EventStep, Handler, Project


def record(
    message: str, level: int = logging.INFO, error: BaseException | None = None, **extra: Any
) -> logging.LogRecord:
    made = logging.LogRecord("motia.step", level, "x.py", 1, message, (), None)
    if error is not None:
        made.exc_info = (type(error), error, error.__traceback__)
    made.__dict__["motia"] = extra
    return made


def project(**more: Any) -> Project:
    return Project(root=Path("/app"), files=("motia.yaml",), name="shop", **more)


def test_people_read_aligned_lines() -> None:
    form = PeopleFormatter(Mask(), color=False, steps=["CreateOrder", "Pay"])
    short = form.format(record("paid", step="Pay", trace_id="4f2a91c0" * 4, fields={"total": 12.5, "note": "a b"}))
    long = form.format(record("made", step="CreateOrder", trace_id="0" * 32, attempt=2))
    assert short[13:] == 'info  Pay         4f2a91c0  paid  total=12.5  note="a b"'
    assert long[13:] == "info  CreateOrder 00000000  made  attempt=2"
    assert short.index("4f2a91c0") == long.index("00000000")


def test_colour_only_when_asked() -> None:
    plain = PeopleFormatter(Mask(), color=False).format(record("hi", fields={"k": 1}))
    painted = PeopleFormatter(Mask(), color=True).format(record("hi", fields={"k": 1}))
    assert "\x1b" not in plain
    assert "\x1b[32minfo" in painted


def test_a_hostile_message_can_not_forge_a_line_or_move_the_cursor() -> None:
    line = PeopleFormatter(Mask(), color=False).format(record("a\n10:00:00.000 error  fake\r\x1b[2Jb\u202e"))
    first, second = line.split("\n")
    assert first.endswith("a")
    assert second.startswith("    10:00")
    assert "\\x0d\\x1b[2Jb\\u202e" in second


def test_machines_read_one_object_a_line() -> None:
    line = JsonFormatter(Mask()).format(
        record(
            "two\nlines",
            logging.ERROR,
            ValueError("bad"),
            step="Pay",
            trace_id="ab",
            attempt=3,
            fields={"n": 1, "message": "x"},
        )
    )
    read = json.loads(line)
    assert "\n" not in line
    assert read["message"] == "two\nlines"
    assert (read["level"], read["step"], read["trace_id"], read["attempt"], read["n"], read["message_"]) == (
        "error", "Pay", "ab", 3, 1, "x",
    )  # fmt: skip
    assert read["error"].endswith("ValueError: bad\n")


@pytest.mark.parametrize("form", [JsonFormatter, lambda mask: PeopleFormatter(mask, color=False)])
def test_secrets_and_credentials_are_masked_everywhere(form: Any) -> None:
    class Inner(msgspec.Struct):
        note: str

    key = 'k"9\\x'
    mask = Mask.of(project(secrets=("API_KEY", "UNSET")), {"API_KEY": key, "NATS_PASSWORD": "hunter2"})
    try:
        raise ValueError(f"refused {key}")
    except ValueError as error:
        line = form(mask).format(
            record(
                'key k"9\\x to nats://user:hunter3@h:4222', logging.ERROR, error,
                fields={"deep": {"list": ['k"9\\x', "hunter2"]}, "struct": Inner('k"9\\x'), 'k"9\\x': 1},
            )
        )  # fmt: skip
    assert "hunter" not in line
    assert '"9' not in line
    assert "nats://***@h:4222" in line


@pytest.mark.parametrize("form", [JsonFormatter, lambda mask: PeopleFormatter(mask, color=False)])
def test_a_secret_that_changes_is_hidden_as_it_was_and_as_it_is(form: Any) -> None:
    environ = {"API_KEY": "first-key", "NATS_TOKEN": "of-the-broker"}
    mask = Mask.of(project(secrets=("API_KEY", "OTHER")), environ, hidden=["of-before"])
    log = form(mask)
    known = mask.look()
    assert mask.look() is known
    environ |= {"API_KEY": "second-key", "OTHER": "other-key"}
    line = log.format(record("first-key second-key other-key of-the-broker of-before", fields={"key": "second-key"}))
    assert [word for word in ("key ", "first", "second", "other", "broker", "before") if word in line] == []
    del environ["API_KEY"]
    assert "second" not in log.format(record("second-key"))
    assert mask.look() == known | {"second-key", "other-key"}


def test_a_short_secret_is_left_alone_lest_ordinary_words_vanish() -> None:
    assert Mask(["a", ""]).text("banana") == "banana"


@pytest.mark.parametrize("form", [JsonFormatter, lambda mask: PeopleFormatter(mask, color=False)])
def test_no_field_breaks_a_line(form: Any) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    line = form(Mask()).format(
        record("x", fields={"loop": loop, "lone": "\ud800", "nan": float("nan"), "odd": object()})
    )
    assert line.encode()


def test_setup_replaces_itself_and_follows_the_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "very-secret")
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    out = io.StringIO()
    try:
        setup(project(), json=False, stream=io.StringIO())
        setup(project(secrets=("API_KEY",)), json=True, stream=out)
        assert len(root.handlers) == len(before) + 1
        logging.getLogger("motia.step").info("key very-secret", extra={"motia": {"step": "Pay"}})
        logging.getLogger("motia.step").debug("not shown")
        logging.getLogger("library").info("not shown")
    finally:
        for handler in set(root.handlers) - set(before):
            root.removeHandler(handler)
        root.setLevel(level)
        logging.getLogger("motia").setLevel(logging.NOTSET)
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["message"] == "key ***"


def test_the_banner_says_where_everything_is() -> None:
    steps = {
        "A": ApiStep(name="A", handler=Handler(path="steps/a.py"), methods=("GET",), path="/a"),
        "B": EventStep(name="B", handler=Handler(path="steps/b.py"), subscribes=()),
        "C": EventStep(name="C", handler=Handler(path="steps/c.py"), subscribes=()),
    }
    text = banner(project(steps=steps), "http://127.0.0.1:3000", None, "nats://u:hunter2@h:4222", 0.412)
    assert "shop ready in 412 ms" in text
    assert "API        http://127.0.0.1:3000" in text
    assert "Workbench" not in text
    assert "nats://***@h:4222" in text
    assert "3 (1 api, 2 event)" in text


def test_the_start_is_announced_in_the_manner_of_the_logs(capsys: pytest.CaptureFixture[str]) -> None:
    setup(project(), json=True, stream=(out := io.StringIO()))
    announce(project(), "http://127.0.0.1:3000", None, "nats://u:hunter2@h:4222", 0.4)
    assert capsys.readouterr().out == ""
    read = json.loads(out.getvalue())
    assert (read["message"], read["api"], read["nats"]) == ("ready", "http://127.0.0.1:3000", "nats://***@h:4222")
    assert "workbench" not in read

    setup(project(), json=False, stream=(out := io.StringIO()))
    announce(project(), "http://127.0.0.1:3000", "http://127.0.0.1:3000/w", "nats://h:4222", 0.4)
    assert out.getvalue() == ""
    assert "Workbench  http://127.0.0.1:3000/w" in capsys.readouterr().out


def test_no_color_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert wants_color(Terminal())
    assert not wants_color(io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert wants_color(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_color(Terminal())
