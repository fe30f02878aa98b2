"""The rules about what a spec means. One rule, one file, one line here."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from motia_spec.diagnostics import Diagnostic
from motia_spec.rules import (
    clashing_controls,
    cycle,
    foreign_function,
    handler_fits,
    idle_manual,
    key_path,
    limit_key,
    loose_topic,
    name_clash,
    odd_schedule,
    retry_budget,
    route_clash,
    too_many_edges,
    undeclared_topic,
    unfit_join,
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
    limit_key.check,
    unfit_join.check,
    clashing_controls.check,
    odd_schedule.check,
    retry_budget.check,
    idle_manual.check,
    unfit_sample.check,
    foreign_function.check,
)


def check(checking: Checking, *, handlers: bool = True) -> list[Diagnostic]:
    """The findings of every rule, at most MOST_FINDINGS of each, in no order. `handlers`: look at handler files too."""
    found = list(too_many_edges.check(checking))
    if found:
        return found  # the others would walk the graph
    found += _some(undeclared_topic.check(checking))
    for rule in RULES if found else (*WIRING, *RULES):
        found += _some(rule(checking))
    if handlers:
        found += _some(handler_fits.check(checking))
    return found


def _some(findings: Iterator[Diagnostic]) -> list[Diagnostic]:
    """The first findings of a rule; when there are more, a last one says so."""
    some = list(islice(findings, MOST_FINDINGS + 1))
    if len(some) > MOST_FINDINGS:
        message = f"more than {MOST_FINDINGS} findings of one rule; the rest is left out"
        some[-1] = Diagnostic("M110", some[-1].severity, some[-1].place, message, "mend these first", some[-1].path)
    return some


__all__ = ["RULES", "WIRING", "Checking", "Rule", "check"]
