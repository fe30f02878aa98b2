"""A small shop with one of everything that can be drawn, made by hand: these tests are about pictures, not about reading specs."""

from __future__ import annotations

from pathlib import Path

import pytest

from motia_spec.model import (
    ApiStep,
    CronStep,
    Emit,
    EventStep,
    Flow,
    Handler,
    Manual,
    NoopStep,
    Project,
    StateGroup,
    Stream,
    Subscription,
    Topic,
)


def on(*topics: str) -> tuple[Subscription, ...]:
    return tuple(Subscription(kind="topic", name=topic) for topic in topics)


@pytest.fixture
def shop() -> Project:
    steps = (
        ApiStep(
            name="Create",
            handler=Handler(path="steps/create.py"),
            methods=("POST",),
            path="/orders/{id}",
            emits=(Emit(topic="created"),),
            uses_state=("orders",),
            uses_streams=("live",),
        ),
        EventStep(
            name="Screen",
            handler=Handler(path="steps/screen.js"),
            subscribes=on("created"),
            emits=(Emit(topic="paid"), Emit(topic="review", label="over 1000", conditional=True)),
        ),
        NoopStep(
            name="Approve",
            subscribes=on("review"),
            emits=(Emit(topic="decided"),),
            virtual_emits=(Emit(topic="asked"),),
            manual=Manual(timeout=7200.0),
        ),
        EventStep(
            name="Charge",
            handler=Handler(path="steps/charge.ts"),
            subscribes=on("decided"),
            emits=(Emit(topic="paid"), Emit(topic="refused"), Emit(topic="billed")),
            delay=5.0,
        ),
        EventStep(name="Notify", handler=Handler(path="steps/notify.py"), subscribes=on("paid", "refused")),
        EventStep(
            name="Audit",
            handler=Handler(path="steps/audit.py"),
            subscribes=(Subscription(kind="state", name="orders"),),
        ),
        CronStep(
            name="Nightly",
            handler=Handler(path="steps/nightly.py"),
            cron="0 2 * * *",
            timezone="Europe/Berlin",
            emits=(Emit(topic="report"),),
        ),
        EventStep(name="Report", handler=Handler(path="steps/report.py"), subscribes=on("report", "stock")),
        NoopStep(name="Sign"),
    )
    topics = ("created", "paid", "review", "decided", "refused", "report")
    return Project(
        root=Path("."),
        files=("motia.yaml",),
        name="shop",
        description="Orders and reports",
        topics={
            **{name: Topic(name=name) for name in topics},
            "stock": Topic(name="stock", external="in", description="From the warehouse"),
            "billed": Topic(name="billed", external="out"),
        },
        state={"orders": StateGroup(name="orders", description="By id")},
        streams={"live": Stream(name="live")},
        steps={step.name: step for step in steps},
        flows={
            "orders": Flow(
                name="orders", description="To paid", steps=("Create", "Screen", "Approve", "Charge", "Notify")
            ),
            "reports": Flow(name="reports", steps=("Nightly", "Report")),
            "flow-1": Flow(name="flow-1", steps=("Audit",), explicit=False),
            "flow-2": Flow(name="flow-2", steps=("Sign",), explicit=False),
        },
    )
