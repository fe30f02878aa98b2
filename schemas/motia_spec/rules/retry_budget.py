"""M415: retries that go on for longer than events are kept: the event would vanish before its last attempt."""

from collections.abc import Iterator

from motia_spec import durations
from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import EventStep, Retry
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    kept = checking.project.nats.max_age
    for step in checking.project.steps.values():
        if not isinstance(step, EventStep):
            continue
        needed = budget(step.retry, step.timeout) + step.delay
        if needed > kept:
            at = checking.step(step.name)
            place = at.place("retry") if "retry" in at else at.place("timeout") if "timeout" in at else step.place
            yield error(
                "M415",
                place,
                f"the {step.retry.attempts} attempts of {step.name} may take {durations.spell(needed)}, "
                f"and events are kept {durations.spell(kept)} (nats.maxAge)",
                hint="fewer attempts, shorter delays or timeout, or a longer nats.maxAge",
                path=at.at("retry"),
            )


def budget(retry: Retry, timeout: float) -> float:
    """Seconds from the first attempt's start to the last one's end, at most."""
    waits = 0.0
    for attempt in range(1, min(retry.attempts, 64)):
        if retry.backoff == "exponential":
            wait = retry.delay * 2.0 ** (attempt - 1)
        else:
            wait = retry.delay * (attempt if retry.backoff == "linear" else 1)
        waits += min(wait, retry.max)
    waits += max(retry.attempts - 64, 0) * retry.max
    return waits + retry.attempts * timeout
