import pytest

from motia_spec import durations


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800), ("1h30m", 5400), ("1.5s", 1.5), ("0s", 0)],
)
def test_durations_are_go_style(text: str, expected: float) -> None:
    assert durations.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "30", "30 s", "s", "-1s", "1w", "1h30", "٣s", "1e3s", "99999999d", "1.s"])
def test_other_durations_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"30s|ten years"):
        durations.seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("1MiB", 1048576), ("512KiB", 524288), ("10MB", 10_000_000), ("77", 77), ("5B", 5)]
)
def test_sizes(text: str, expected: int) -> None:
    assert durations.size(text) == expected


@pytest.mark.parametrize("text", ["", "1 MiB", "MiB", "-1", "1.5MiB", "1mb"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="1MiB"):
        durations.size(text)


@pytest.mark.parametrize("seconds", [0.5, 30, 5400, 86400 * 3 + 1.25])
def test_spelling_round_trips(seconds: float) -> None:
    assert durations.seconds(durations.spell(seconds)) == seconds


def test_nothing_is_spelled_with_a_unit() -> None:
    assert durations.spell(0) == "0s"
