"""The exposition format by hand, and what a setting means."""

from __future__ import annotations

import socket

import pytest

from motia_runtime.http.listen import CannotListen
from motia_runtime.memory import MemoryLog
from motia_runtime.metrics.server import metrics_of
from motia_runtime.metrics.text import BOUNDS, Histogram, family, histogram


def test_labels_are_escaped_and_whole_numbers_have_no_point() -> None:
    lines = list(family("gauge", "m", "What.", ("a", "b"), {('x"\\\n', "y"): 3.0, ("", "z"): 0.25}))
    assert lines == [
        "# HELP m What.\n",
        "# TYPE m gauge\n",
        'm{a="x\\"\\\\\\n",b="y"} 3\n',
        'm{a="",b="z"} 0.25\n',
    ]
    assert list(family("gauge", "m", "What.", (), {(): 1})) == ["# HELP m What.\n", "# TYPE m gauge\n", "m 1\n"]
    assert list(family("gauge", "m", "What.", ("a",), {})) == []


def test_buckets_count_all_up_to_their_bound() -> None:
    seen = Histogram()
    for seconds in (0.0, BOUNDS[0], 0.02, 0.02, 1_000.0):
        seen.observe(seconds)
    lines = list(histogram("h", "What.", ("step",), {("S",): seen}))
    assert lines[1] == "# TYPE h histogram\n"
    assert lines[2] == 'h_bucket{step="S",le="0.001"} 2\n'
    assert 'h_bucket{step="S",le="0.025"} 4\n' in lines
    assert 'h_bucket{step="S",le="300"} 4\n' in lines
    assert lines[-3:] == ['h_bucket{step="S",le="+Inf"} 5\n', 'h_sum{step="S"} 1000.041\n', 'h_count{step="S"} 5\n']


@pytest.mark.parametrize("setting", ["", " "])
def test_without_a_setting_there_are_no_metrics(setting: str) -> None:
    assert metrics_of({"MOTIA_METRICS": setting}, MemoryLog(), shared=False) is None


@pytest.mark.parametrize("setting", ["x", "70000", "localhost:", ":-1", "9464/metrics"])
def test_a_setting_that_is_no_address_is_quoted(setting: str) -> None:
    with pytest.raises(CannotListen, match="PORT or HOST:PORT") as refused:
        metrics_of({"MOTIA_METRICS": setting}, MemoryLog(), shared=False)
    assert repr(setting) in str(refused.value)


async def test_processes_with_one_setting_take_ports_from_there_on() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        setting = {"MOTIA_METRICS": str(port)}
        alone = metrics_of(setting, MemoryLog(), shared=False)
        assert alone is not None
        with pytest.raises(CannotListen, match=f"MOTIA_METRICS: port {port} on 127.0.0.1 is already in use"):
            await alone.start()
        both = [metrics_of(setting, MemoryLog(), shared=True) for _ in range(2)]
        ports = set()
        for metrics in both:
            assert metrics is not None
            await metrics.start()
            ports.add(metrics.port)
        assert len(ports) == 2
        assert port not in ports
        for metrics in (alone, *both):
            assert metrics is not None
            await metrics.stop()
