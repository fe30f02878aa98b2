from datetime import UTC, datetime

import pytest

from motia_spec import cron


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()  # type: ignore[arg-type]  # year, month, day, ...


def spell(times: list[float]) -> list[str]:
    return [datetime.fromtimestamp(t, UTC).strftime("%d %H:%M:%S") for t in times]


def test_five_fields() -> None:
    nightly = cron.parse("0 2 * * *", "UTC")
    assert nightly.next_after(at(2026, 1, 1, 2)) == at(2026, 1, 2, 2), "the moment itself is not after it"
    assert nightly.next_after(at(2026, 1, 1, 1, 59)) == at(2026, 1, 1, 2)
    assert nightly.previous(at(2026, 1, 1, 2)) == at(2025, 12, 31, 2)


def test_six_fields_begin_with_seconds() -> None:
    assert spell(cron.parse("*/20 * * * * *").between(at(2026, 1, 1), at(2026, 1, 1, 0, 1), 10)) == [
        "01 00:00:20",
        "01 00:00:40",
        "01 00:01:00",
    ]


@pytest.mark.parametrize(("alias", "expression"), sorted(cron.ALIASES.items()))
def test_aliases_are_expanded(alias: str, expression: str) -> None:
    assert cron.parse(alias).expression == expression
    assert cron.parse(alias.upper()).expression == expression


def test_between_is_bounded() -> None:
    every_second = cron.parse("* * * * * *")
    assert len(every_second.between(0, 1e9, 5)) == 5
    assert every_second.between(10, 10, 5) == []


def test_the_spring_jump_fires_once_right_after_it() -> None:
    times = cron.parse("30 2 * * *", "Europe/Berlin").between(at(2026, 3, 28), at(2026, 3, 31), 9)
    assert spell(times) == ["28 01:30:00", "29 01:00:00", "30 00:30:00"]


def test_the_autumn_jump_fires_once() -> None:
    times = cron.parse("30 2 * * *", "Europe/Berlin").between(at(2026, 10, 24), at(2026, 10, 27), 9)
    assert spell(times) == ["24 00:30:00", "25 00:30:00", "26 01:30:00"]


def test_half_hours_go_on_through_the_repeated_hour() -> None:
    times = cron.parse("*/30 * * * *", "Europe/Berlin").between(at(2026, 10, 25, 0), at(2026, 10, 25, 2), 9)
    assert spell(times) == ["25 00:30:00", "25 01:00:00", "25 01:30:00", "25 02:00:00"]


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 */31 2 1#5"])
def test_days_that_never_come(expression: str) -> None:
    schedule = cron.parse(expression, "Europe/Berlin")
    assert schedule.never
    assert schedule.next_after(at(2026, 1, 1)) is None
    assert schedule.previous(at(2026, 1, 1)) is None
    assert schedule.between(0, 1e12, 5) == []


@pytest.mark.parametrize("expression", ["0 0 29 2 *", "0 0 31 2 1", "0 0 L * *", "0 0 * * 5L"])
def test_days_that_come_seldom(expression: str) -> None:
    assert not cron.parse(expression).never


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("61 0 31 2 *", "'61' can't be the minute: allowed is 0-59"),
        ("0 0 0 * *", "'0' can't be the day of month"),
        ("0 0 0", "has 3 fields"),
        ("@sometimes", "@annually, @daily"),
        ("*/0 * * * *", "can't be the minute"),
        ("9" * 300, "at most 256"),
        ("9" * 200 + " * * * *", "can't be the minute"),
        ("", "has 0 fields"),
    ],
)
def test_bad_expressions_name_the_field(expression: str, words: str) -> None:
    with pytest.raises(cron.BadCron, match=words.replace("*", r"\*")):
        cron.parse(expression)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/localtime", "Europe", "", "Europe/Berln", "a/b/c/d", "UTC\0", "x" * 99]
)
def test_bad_zones(name: str) -> None:
    with pytest.raises(cron.BadZone, match="Europe/Berlin"):
        cron.parse("0 0 * * *", name)


@pytest.mark.parametrize("expression", ["* * * * * *", "*/1 * * * * *", "0-59 * * * * *"])
def test_every_second(expression: str) -> None:
    assert cron.parse(expression).every_second
    assert not cron.parse("* * * * *").every_second
