"""Two versions of an app side by side on one broker."""

from __future__ import annotations

from motia_spec.model import Nats


async def test_a_start_leaves_a_consumer_alone_that_another_version_consumes_from(nats_log):
    nats = Nats(prefix="versions")
    newer = await nats_log(nats=nats)
    consumer = await newer.consume("OnlyInNewer", ["ev.a"], lambda delivery: None, credit=1)
    older = await nats_log(nats=nats)  # fits the broker to a spec without that step
    assert "OnlyInNewer" in await older.backlogs()
    await consumer.stop()
    again = await nats_log(nats=nats)
    assert "OnlyInNewer" not in await again.backlogs()
