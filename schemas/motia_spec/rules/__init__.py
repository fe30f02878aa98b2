"""The rules about what a spec means. One rule, one file, one line here."""

from __future__ import annotations

from motia_spec.diagnostics import Diagnostic
from motia_spec.rules import (
    cycle,
    handler_fits,
    idle_manual,
    key_path,
    loose_topic,
    name_clash,
    not_yet,
    odd_schedule,
    retry_budget,
    route_clash,
    too_many_edges,
    undeclared_topic,
    unfit_payload,
    unfit_sample,
    unknown_data,
    unknown_policy,
    unknown_step,
    unreachable_step,
    unset_secret,
)
from motia_spec.rules.base import Checking, Rule

RULES: tuple[Rule, ...] = (
    undeclared_topic.check,
    loose_topic.check,
    unreachable_step.check,
    cycle.check,
    unfit_payload.check,
    route_clash.check,
    name_clash.check,
    unknown_policy.check,
    unknown_data.check,
    unknown_step.check,
    unset_secret.check,
    key_path.check,
    odd_schedule.check,
    retry_budget.check,
    idle_manual.check,
    unfit_sample.check,
    not_yet.check,
)


def check(checking: Checking, *, handlers: bool = True) -> list[Diagnostic]:
    """Every finding of every rule, in no order. `handlers`: look at handler files too."""
    found = list(too_many_edges.check(checking))
    if found:
        return found  # the others would walk the graph
    for rule in RULES:
        found += rule(checking)
    if handlers:
        found += handler_fits.check(checking)
    return found


__all__ = ["RULES", "Checking", "Rule", "check"]
