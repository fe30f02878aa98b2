"""`idempotency` and `rateLimit` of api steps: what they mean, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from motia_spec.model import ApiStep, Idempotency, RateLimit

Check = Callable[..., Any]


def spec(keys: str) -> str:
    return f'steps:\n  A: {{ type: api, method: POST, path: "/a/{{id}}", {keys} }}\n'


def step(check: Check, keys: str) -> ApiStep:
    found = check(spec(keys))
    assert found.errors == [], found.describe()
    made = found.compiled.require().steps["A"]
    assert isinstance(made, ApiStep)
    return made


def test_what_they_mean(check: Check) -> None:
    assert step(check, "idempotency: {}").idempotency == Idempotency(header="Idempotency-Key", window=86400.0)
    assert step(check, "idempotency: { header: X-Key, window: 1h }").idempotency == Idempotency(
        header="X-Key", window=3600.0
    )
    assert step(check, "rateLimit: { limit: 5, per: 1m }").rate_limit == RateLimit(limit=5, per=60.0, key="ip")
    for key in ("ip", "global", "header:X-Api-Key", "query:user id", "path:id"):
        limited = step(check, f'rateLimit: {{ limit: 5, per: 500ms, key: "{key}" }}')
        assert limited.rate_limit == RateLimit(limit=5, per=0.5, key=key)


@pytest.mark.parametrize("key", ["", "cookie:a", "header:", "header:a b", "path:", "ip ", "IP", "header:a\\nb"])
def test_a_key_that_is_none_is_an_error_of_form(check: Check, key: str) -> None:
    found = check(spec(f'rateLimit: {{ limit: 1, per: 1s, key: "{key}" }}'))
    assert found.errors
    assert {d.path for d in found.compiled.diagnostics if d.severity == "error"} == {"/steps/A/rateLimit/key"}


def test_a_parameter_that_the_path_does_not_have(check: Check) -> None:
    found = check(spec('rateLimit: { limit: 1, per: 1s, key: "path:idd" }')).only("M410")
    assert found.path == "/steps/A/rateLimit/key"
    assert "has no 'idd'; there is: id" in found.message


def test_a_window_of_nothing(check: Check) -> None:
    assert check(spec("idempotency: { window: 0s }")).only("M416").path == "/steps/A/idempotency/window"
    assert check(spec("rateLimit: { limit: 1, per: 0s }")).only("M416").path == "/steps/A/rateLimit/per"
