"""M412: a cron step that never fires. M414: one that fires every second."""

from collections.abc import Iterator

from motia_spec import cron
from motia_spec.diagnostics import Diagnostic, error, warning
from motia_spec.model import CronStep
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    for step in checking.project.steps.values():
        if not isinstance(step, CronStep):
            continue
        at = checking.step(step.name)
        schedule = cron.parse(step.cron, step.timezone)
        if schedule.never:
            yield error(
                "M412",
                at.place("cron"),
                f"{at.text('cron')!r} never fires: no day is like that",
                hint="check the day of month against the months; L is the last day of a month",
                path=at.at("cron"),
            )
        elif schedule.every_second:
            yield warning(
                "M414",
                at.place("cron"),
                f"{at.text('cron')!r} fires every second: with six fields the first is the second",
                hint='for every minute write "* * * * *"',
                path=at.at("cron"),
            )
