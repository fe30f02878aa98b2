"""The rules about what a spec means. One rule, one file, one line here."""

from __future__ import annotations

from itertools import islice

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

MOST_FINDINGS = 200  # of one rule; nobody reads more, and some take a search for what was meant

WIRING: tuple[Rule, ...] = (  # only when every topic is declared: a misspelt one would make its right name look unused
    loose_topic.check,
    unreachable_step.check,
)
RULES: tuple[Rule, ...] = (
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
    """The findings of every rule, at most MOST_FINDINGS of each, in no order. `handlers`: look at handler files too."""
    found = list(too_many_edges.check(checking))
    if found:
        return found  # the others would walk the graph
    found += islice(undeclared_topic.check(checking), MOST_FINDINGS)
    for rule in RULES if found else (*WIRING, *RULES):
        found += islice(rule(checking), MOST_FINDINGS)
    if handlers:
        found += islice(handler_fits.check(checking), MOST_FINDINGS)
    return found


__all__ = ["RULES", "WIRING", "Checking", "Rule", "check"]
