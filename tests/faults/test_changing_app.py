"""The app changes while it works: edits under `motia dev`, half of them broken, and two versions side by side on one broker."""

from __future__ import annotations

import json
import time
from pathlib import Path

from support.chaos import shop
from support.chaos.load import Load, make_batches
from support.chaos.oracle import Stored, read
from support.chaos.run import Settings, count, world
from support.waiting import wait_for

SETTINGS = Settings(seed=0, events=0, faults=0, seconds=0, hurried=True)
EDITS = 4

# Version 2 has a step more, which keeps what it has seen
NEWER = shop.SPEC.replace("turns: {}}", "turns: {}, audits: {}}").replace(
    "  Turn:", "  Audit: {type: event, subscribes: [paid]}\n  Turn:"
)
AUDIT = """
async def handler(data, ctx):
    await ctx.state.audits.update(data["id"], lambda old: (old or 0) + 1)
"""


def test_edits_in_mid_load_lose_and_double_nothing(tmp_path: Path) -> None:
    sent = make_batches(6, 200, kinds=("plain", "flaky"))
    with world(tmp_path, instances=1, hurried=True, command="dev") as made:
        app = made.instances[0]
        handler = tmp_path / "app0" / "steps" / "book.py"
        good = handler.read_text()
        load = Load(sent, [app.url], 60.0)
        load.start()
        for edit in range(EDITS):
            before = app.log.read_text()
            broken = edit % 2 == 1
            handler.write_text("async def handler(data, ctx\n" if broken else f"{good}\nEDIT = {edit}\n")
            expected = "goes on serving" if broken else "reloaded in"
            wait_for(
                lambda before=before, expected=expected: expected in app.log.read_text()[len(before) :],  # type: ignore[misc]
                f"edit {edit} had no effect\n{app.last_words()}",
                20,
            )
        assert load.sending, "the edits came after the load, and prove nothing"
        load.hurry()
        load.wait(60)
        handler.write_text(good)
        verdict = count(made, tmp_path / "app0", sent, SETTINGS)
    assert not app.exits
    assert {batch.outcome for batch in sent} == {"ok"}, "a reload refuses no request"
    assert verdict.clean, "\n".join(verdict.told)


def audited(stored: Stored) -> bool:
    return stored.state["audits"] == dict.fromkeys(stored.ids("paid"), 1)


def test_two_versions_side_by_side_share_the_work_and_restart_as_they_like(tmp_path: Path) -> None:
    """The older one knows nothing of the newer one's step, and must not take its consumer away."""
    sent = make_batches(8, 300, kinds=("plain", "flaky"))
    shop.write_shop(tmp_path / "app1", NEWER)
    (tmp_path / "app1" / "steps" / "audit.py").write_text(AUDIT)
    with world(tmp_path, instances=2, hurried=True, specs=(shop.SPEC, NEWER)) as made:
        old, new = made.instances
        load = Load(sent, [old.url, new.url], 6.0)
        load.start()
        for one in (old, new, old):
            one.kill()
            time.sleep(1.0)  # of load without it
            one.wait_ready()
        load.wait(60)
        verdict = count(made, tmp_path / "app1", sent, SETTINGS)
        stored = read(made.broker.url, tmp_path / "app1")
    assert verdict.clean, "\n".join(verdict.told)
    missing = sorted(set(stored.ids("paid")) - set(stored.state["audits"]))
    assert audited(stored), f"{len(missing)} of {len(stored.ids('paid'))} are not audited: {json.dumps(missing[:20])}"
