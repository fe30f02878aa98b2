"""Topics with `external: in`: what other programs publish to `<prefix>.in.<topic>` is validated here, once, and becomes an event of the app, or a dead letter.

They have a part of the log to themselves, in which NATS' control headers do nothing, so an outside account needs the right to that part alone. An event is taken over under an
id made from where it stood, or of a CloudEvent from its own id and source: once, however often this is tried.
"""

from __future__ import annotations

import msgspec

from motia_runtime.cloudevents.incoming import LARGEST, CloudEvent, InvalidCloudEvent, read_cloudevent, told
from motia_runtime.codec import Codec
from motia_runtime.commit import Claim
from motia_runtime.deadletters import HISTORY, Story, letter_of, rounds_of
from motia_runtime.handler import ValidationFailed
from motia_runtime.naming import INGRESS, event_subject, plan_subject, topic_of
from motia_runtime.plans import Planned
from motia_runtime.ports import Delivery, Record, TooLarge
from motia_runtime.records import ErrorInfo
from motia_runtime.runlog import in_words
from motia_runtime.runner import TraceContext
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
        topic = topic_of(delivery.record.subject)
        try:
            await self._take_in(delivery, topic)
        except (LookupError, ValidationFailed, InvalidCloudEvent, TooLarge) as problem:
            await self._bury(delivery, topic, problem)
        delivery.ack()

    async def _take_in(self, delivery: Delivery, topic: str) -> None:
        """Raises what is wrong with it."""
        record = delivery.record
        codec = self._codecs.get(topic)
        if codec is None:
            known = ", ".join(sorted(self._codecs)) or "none"
            raise LookupError(f"the app takes in no topic {topic!r} (`external: in`: {known})")
        event = read_cloudevent(record.headers, record.data)
        data = record.data if event is None else event.data
        codec.decode(data)
        once = f"in:{record.seq}" if event is None else event.identity(topic)
        if await self._taken_before(delivery, topic, once):
            return
        headers = headers_in(_trace_of(record, event))
        if event is not None:
            headers |= event.headers
        await self.runs.services.log.append(event_subject(topic), data, headers=headers, id=once)

    async def _taken_before(self, delivery: Delivery, topic: str, once: str) -> bool:
        """The broker may have forgotten the id; the events themselves tell."""
        if delivery.delivered == 1:
            return False
        emitted = self.runs.services.commits.emitted(event_subject(topic))
        return await emitted.has(once, delivery.record.time)

    async def _bury(self, delivery: Delivery, topic: str, problem: Exception) -> None:
        services, record = self.runs.services, delivery.record
        trace = _trace_of(record, None)
        headers = told(record.headers)
        unwieldy = sum(len(name) + len(value) for name, value in headers.items()) > LARGEST
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
            headers={} if unwieldy else headers,
        )
        claim = Claim(f"in:{record.seq}", plan_subject("", str(record.seq)), services.clock.steady())
        parent = format_parent(trace.trace_id, story.span_id)
        for left_out in (True,) if unwieldy else (False, True):
            story = msgspec.structs.replace(story, data_left_out=left_out)
            try:
                await services.commits.commit(claim, "", Planned("", parent, [], [letter_of(story, record.data)]), ())
                return
            except TooLarge:
                if left_out:
                    raise


def _trace_of(record: Record, event: CloudEvent | None) -> TraceContext:
    """By the header before the attribute: that is of the last hop, this of the first."""
    return read(record.headers) or (None if event is None else event.trace) or new_trace()
