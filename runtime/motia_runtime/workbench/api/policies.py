"""How a step is treated: every policy in force for it, and which line of which file says so."""

from __future__ import annotations

from typing import Any

from motia_spec.durations import spell
from motia_spec.model import AnyStep, ApiStep, CronStep, EventStep, NoopStep, Retry
from motia_spec.node import MapNode, Node, ScalarNode

Line = dict[str, Any]


class _Origins:
    """Where keys are written: at the step, among the defaults, or nowhere."""

    def __init__(self, step: AnyStep, node: Node | None) -> None:
        root = node if isinstance(node, MapNode) else None
        steps = _map(root, "steps")
        self._step = _map(steps, step.name)
        self._defaults = _map(root, "defaults")
        self._kind = _map(self._defaults, "api") if isinstance(step, ApiStep) else None
        self._retries = _map(_map(root, "policies"), "retry")

    def line(self, name: str, key: str, value: str) -> Line:
        for where, found in (("step", self._step), ("defaults", self._kind), ("defaults", self._defaults)):
            if found is not None and key in found.entries:
                place = found.entries[key][0]
                return {"name": name, "value": value, "from": where, "place": {"file": place.file, "line": place.line}}
        return {"name": name, "value": value, "from": "built in", "place": None}

    def retry(self, value: str) -> Line:
        """A retry policy may have a name; then its own lines are the origin."""
        line = self.line("retry", "retry", value)
        for found in (self._step, self._defaults):
            word = None if found is None else found.get("retry")
            if isinstance(word, ScalarNode) and self._retries is not None and str(word.value) in self._retries.entries:
                place = self._retries.entries[str(word.value)][0]
                return {**line, "policy": str(word.value), "place": {"file": place.file, "line": place.line}}
            if word is not None:
                break
        return line


def _map(node: MapNode | None, key: str) -> MapNode | None:
    found = None if node is None else node.get(key)
    return found if isinstance(found, MapNode) else None


def policies(step: AnyStep, node: Node | None) -> list[Line]:
    """`node`: the spec's tree, for the places; without it everything counts as built in."""
    at = _Origins(step, node)
    if isinstance(step, NoopStep):
        manual = step.manual
        return (
            []
            if manual is None
            else [at.line("timeout", "manual", spell(manual.timeout) if manual.timeout else "never")]
        )
    lines = [at.line("timeout", "timeout", spell(step.timeout))]
    match step:
        case ApiStep():
            if step.middleware:
                names = ", ".join(f"{each.path}:{each.function}" for each in step.middleware)
                lines.append(at.line("middleware", "middleware", names))
            lines.append(at.line("body limit", "bodyLimit", f"{step.body_limit:,} bytes"))
            if step.idempotency:
                value = f"{step.idempotency.header}, kept {spell(step.idempotency.window)}"
                lines.append(at.line("idempotency", "idempotency", value))
            if step.rate_limit:
                value = f"{step.rate_limit.limit} per {spell(step.rate_limit.per)} and {step.rate_limit.key}"
                lines.append(at.line("rate limit", "rateLimit", value))
        case EventStep():
            lines += _event(step, at)
        case CronStep():
            lines.append(at.retry(_retry(step.retry)))
            lines.append(at.line("overlap", "overlap", step.overlap))
            lines.append(at.line("catch up", "catchUp", spell(step.catch_up) if step.catch_up else "no"))
    return lines


def _event(step: EventStep, at: _Origins) -> list[Line]:
    lines = [at.retry(_retry(step.retry)), at.line("dead letter", "deadLetter", "yes" if step.dead_letter else "no")]
    if step.delay:
        lines.append(at.line("delay", "delay", spell(step.delay)))
    if step.order_by:
        value = step.order_by + ("" if step.order_blocks else ", goes on after a failure")
        lines.append(at.line("order by", "orderBy", value))
    if step.priority:
        lines.append(at.line("priority", "priority", step.priority))
    if step.concurrency:
        value = f"{step.concurrency.limit}" + (f" for each {step.concurrency.key}" if step.concurrency.key else "")
        lines.append(at.line("concurrency", "concurrency", value))
    if step.dedupe:
        lines.append(at.line("dedupe", "dedupe", f"{step.dedupe.key} within {spell(step.dedupe.window)}"))
    if step.debounce:
        most = f", {spell(step.debounce.max)} at most" if step.debounce.max else ""
        lines.append(at.line("debounce", "debounce", spell(step.debounce.wait) + most))
    if step.batch:
        lines.append(at.line("batch", "batch", f"{step.batch.size} events or {spell(step.batch.wait)}"))
    if step.join:
        wait = f" within {spell(step.join.timeout)}" if step.join.timeout else ""
        lines.append(at.line("join", "join", f"{' + '.join(step.join.topics)} by {step.join.by}{wait}"))
    if step.condition:
        lines.append(at.line("condition", "condition", f"{step.condition.path}:{step.condition.function}"))
    if step.isolation != "none":
        lines.append(at.line("isolation", "isolation", step.isolation))
    return lines


def _retry(retry: Retry) -> str:
    if retry.attempts == 1:
        return "never"
    skipped = f", not {', '.join(retry.skip)}" if retry.skip else ""
    jitter = ", with jitter" if retry.jitter else ""
    return (
        f"{retry.attempts} attempts, {retry.backoff} from {spell(retry.delay)} to {spell(retry.max)}{jitter}{skipped}"
    )


def guarantees(step: AnyStep) -> list[str]:
    """What is promised for runs of this step; docs/guarantees.md has the whole of it."""
    if isinstance(step, NoopStep):
        return ["Each event opens one task; its answer is taken once"] if step.opens_tasks else []
    found = ["Effects come true once: all of a run, or none"]
    match step:
        case ApiStep():
            found.append("A 2xx answer is sent after its effects are stored")
            if step.idempotency:
                found.append(f"Requests with the same {step.idempotency.header} get the first answer")
        case EventStep():
            found.append(
                "Each event is handled, or becomes a dead letter" if step.dead_letter else "Each event is tried"
            )
            if step.order_by:
                found.append(f"In order for each {step.order_by}, one at a time")
        case CronStep():
            found.append("One tick for each due time, over all instances")
    return found
