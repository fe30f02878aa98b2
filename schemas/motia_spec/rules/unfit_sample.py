"""M215: a default or an example that does not fit the schema it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from motia_spec import shapes
from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.node import JSON
from motia_spec.rules.base import Checking
from motia_spec.schemas import Sample

MOST_SAMPLES = 2_000  # of one project that are held against their schemas

_NOTES = frozenset(["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"])


def check(checking: Checking) -> Iterator[Diagnostic]:
    defs = checking.project.defs
    for sample in checking.samples[:MOST_SAMPLES]:
        reason = _reason(sample, defs)
        if reason is not None:
            yield warning(
                "M215",
                sample.place,
                f"the {sample.keyword.removesuffix('s')} does not fit its schema: {reason}",
                hint="change it, or the schema",
            )


def _reason(sample: Sample, defs: dict[str, JSON]) -> str | None:
    if not sample.schema.keys() - _NOTES - {"type", "enum", "const"}:
        return shapes.refused(sample.value, _bare(sample), defs) if not isinstance(sample.value, str) else _text(sample)
    return _validate(sample, defs)


def _bare(sample: Sample) -> dict[str, JSON]:
    return {key: value for key, value in sample.schema.items() if key not in _NOTES}


def _text(sample: Sample) -> str | None:
    """Strings by themselves: `shapes.refused` would take {…} in them for a template."""
    schema = _bare(sample)
    if "string" not in shapes.types(schema, {}):
        return "it is string, and the schema takes another type"
    for keyword in ("enum", "const"):
        allowed = schema.get(keyword)
        if keyword in schema and sample.value not in (allowed if isinstance(allowed, list) else [allowed]):
            return f"it is {sample.value!r}, which {keyword} does not allow"
    return None


def _validate(sample: Sample, defs: dict[str, JSON]) -> str | None:
    """By the reference validator, with nothing to fetch references from."""
    from jsonschema import Draft202012Validator  # 100 ms; only specs with samples pay
    from referencing import Registry

    registry: Registry[Any] = Registry()
    validator = Draft202012Validator({**_bare(sample), "$defs": defs}, registry=registry)
    fault = next(iter(validator.iter_errors(sample.value)), None)
    if fault is None:
        return None
    where = f"in /{'/'.join(map(str, fault.absolute_path))}: " if fault.absolute_path else ""
    return where + (fault.message if len(fault.message) <= 200 else f"{fault.message[:197]}...")
