"""Topics with `external: in`: what other programs publish to `<prefix>.in.<topic>` is validated here, once, and becomes an event of the app, or a dead letter.

They have a part of the log to themselves, in which NATS' control headers do nothing, so an outside account needs the right to that part alone. An event is taken over under an
id made from where it stood, once however often this is tried.
"""

from __future__ import annotations

import msgspec

from motia_runtime.codec import Codec
from motia_runtime.commit import Claim
from motia_runtime.deadletters import HISTORY, Story, letter_of, rounds_of
from motia_runtime.handler import ValidationFailed
from motia_runtime.naming import INGRESS, event_subject, plan_subject, topic_of
from motia_runtime.plans import Planned
from motia_runtime.ports import Delivery, TooLarge
from motia_runtime.records import ErrorInfo
from motia_runtime.runlog import in_words
from motia_runtime.runs import Runs
from motia_runtime.trace import format_parent, headers_in, new_span_id, new_trace, read
from motia_runtime.worker import Worker
from motia_spec.model import Project

AT_ONCE = 256  # events taken over at once in one process


class IngressWorker(Worker):
    """For all external topics of the app, in one engine."""

    def __init__(self, project: Project, runs: Runs) -> None:
        super().__init__(INGRESS, runs, AT_ONCE)
        self.runs = runs
        self._codecs: dict[str, Codec] = {
            t.name: runs.topic(t.name) for t in project.topics.values() if t.external == "in"
        }

    async def start(self) -> None:
        log = self.runs.services.log
        self._consumer = await log.consume(INGRESS, ["in.>"], self._deliver, credit=2 * AT_ONCE)

    async def declare(self) -> None:
        """As `EventWorker.declare`."""
        consumer = await self.runs.services.log.consume(INGRESS, ["in.>"], self._deliver, credit=0)
        await consumer.stop()

    async def _work(self, delivery: Delivery) -> None:
        record = delivery.record
        topic = topic_of(record.subject)
        problem = self._problem(topic, record.data)
        if problem is not None:
            await self._bury(delivery, topic, problem)
        elif not await self._taken_before(delivery, topic):
            headers = headers_in(read(record.headers) or new_trace())
            await self.runs.services.log.append(
                event_subject(topic), record.data, headers=headers, id=f"in:{record.seq}"
            )
        delivery.ack()

    def _problem(self, topic: str, data: bytes) -> Exception | None:
        codec = self._codecs.get(topic)
        if codec is None:
            known = ", ".join(sorted(self._codecs)) or "none"
            return LookupError(f"the app takes in no topic {topic!r} (`external: in`: {known})")
        try:
            codec.decode(data)
        except ValidationFailed as fault:
            return fault
        return None

    async def _taken_before(self, delivery: Delivery, topic: str) -> bool:
        """The broker may have forgotten the id; the events themselves tell."""
        if delivery.delivered == 1:
            return False
        emitted = self.runs.services.commits.emitted(event_subject(topic))
        return await emitted.has(f"in:{delivery.record.seq}", delivery.record.time)

    async def _bury(self, delivery: Delivery, topic: str, problem: Exception) -> None:
        services, record = self.runs.services, delivery.record
        trace = read(record.headers) or new_trace()
        history = rounds_of(record.headers.get(HISTORY, ""))
        story = Story(
            step="",
            topic=topic,
            event_id=str(record.seq),
            attempts=1,
            failed_at=services.clock.time(),
            error=ErrorInfo(type(problem).__name__, in_words(problem)),
            trace_id=trace.trace_id,
            span_id=new_span_id(),
            tracestate=trace.tracestate,
            redrives=len(history),
            history=history,
        )
        claim = Claim(f"in:{record.seq}", plan_subject("", str(record.seq)), services.clock.steady())
        parent = format_parent(trace.trace_id, story.span_id)
        for left_out in (False, True):
            story = msgspec.structs.replace(story, data_left_out=left_out)
            try:
                await services.commits.commit(claim, "", Planned("", parent, [], [letter_of(story, record.data)]), ())
                return
            except TooLarge:
                if left_out:
                    raise
