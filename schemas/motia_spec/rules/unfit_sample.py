"""M215: a default or an example that does not fit the schema it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.node import JSON
from motia_spec.rules.base import Checking
from motia_spec.schemas import Sample
from motia_spec.shapes import Shapes

MOST_SAMPLES = 2_000  # of one project that are held against their schemas

_NOTES = frozenset(
    ["title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "x-sensitive"]
)


def check(checking: Checking) -> Iterator[Diagnostic]:
    for sample in checking.samples[:MOST_SAMPLES]:
        reason = _reason(sample, checking.project.defs, checking.shapes)
        if reason is not None:
            yield warning(
                "M215",
                sample.place,
                f"the {sample.keyword.removesuffix('s')} does not fit its schema: {reason}",
                hint="change it, or the schema",
            )


def _reason(sample: Sample, defs: dict[str, JSON], shapes: Shapes) -> str | None:
    if sample.schema.keys() - _NOTES - {"type", "enum", "const"} or isinstance(sample.value, list | dict):
        return _validate(sample, defs)
    return shapes.refused(sample.value, sample.schema)


def _validate(sample: Sample, defs: dict[str, JSON]) -> str | None:
    """By the reference validator, with nothing to fetch references from."""
    from jsonschema import Draft202012Validator  # 100 ms; only specs with samples pay
    from referencing import Registry

    registry: Registry[Any] = Registry()
    bare = {key: value for key, value in sample.schema.items() if key not in _NOTES}
    validator = Draft202012Validator({**bare, "$defs": defs}, registry=registry)
    fault = next(iter(validator.iter_errors(sample.value)), None)
    if fault is None:
        return None
    where = f"in /{'/'.join(map(str, fault.absolute_path))}: " if fault.absolute_path else ""
    return where + (fault.message if len(fault.message) <= 200 else f"{fault.message[:197]}...")
