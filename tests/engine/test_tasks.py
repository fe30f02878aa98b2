"""Tasks of noop steps with `manual`: opened, completed, expired; by the engine and by HTTP, without a broker, on a clock that the test turns."""

from __future__ import annotations

import asyncio

import pytest

from motia_runtime.handler import ValidationFailed
from motia_runtime.http.tasks import Access, access
from motia_runtime.tasks import ENDED_KEPT, NoTask, TaskEnded, WhichTopic
from motia_runtime.templates import NothingThere, filled

SPEC = """
name: t
schemas:
  Decision:
    type: object
    required: [orderId, approved]
    properties: {orderId: {type: string}, approved: {type: boolean}}
topics:
  review: {external: in, schema: {type: object, required: [id], properties: {id: {type: string}, total: {type: integer}}}}
  decided: {schema: {$ref: "#/schemas/Decision"}}
  rejected: {external: out, schema: {type: object, required: [orderId, total], properties: {orderId: {type: string}, total: {type: integer}}}}
  yes: {external: out}
  no: {external: out}
state: {done: {}}
steps:
  Approve:
    type: noop
    subscribes: [review]
    emits: [decided]
    manual:
      input: {$ref: "#/schemas/Decision"}
      timeout: 48h
      onTimeout: {topic: rejected, data: {orderId: "{data.id}", total: "{data.total}", why: "no answer for {data.id}"}}
  Choose: {type: noop, subscribes: [review], emits: ["yes", "no"], manual: {}}
  Sign: {type: noop, subscribes: [review], emits: ["yes"], manual: {timeout: 1h}}
  Late: {type: noop, subscribes: [review], emits: ["yes"], manual: {timeout: 2h, onTimeout: {topic: rejected, data: {orderId: "{data.total}", total: 1}}}}
  Charge: {type: event, subscribes: [decided], uses: {state: [done]}}
  Review: {type: api, method: POST, path: /review, emits: [review]}
  Wide: {type: api, method: GET, path: "/{a}/{b}"}
"""
CHARGE = """
async def handler(data, ctx):
    await ctx.state.set("done", data.order_id if hasattr(data, "order_id") else data["orderId"], ctx.trace_id)
"""
REVIEW = """
async def handler(request, ctx):
    await ctx.emit("review", request.body)
    return {"trace": ctx.trace_id}
"""
WIDE = """
async def handler(request, ctx):
    return request.path_params
"""
STEPS = {"charge": CHARGE, "review": REVIEW, "wide": WIDE}
YES = {"orderId": "o-1", "approved": True}
HOUR = 3600.0


async def _open(app, step="Approve", **more):
    await app.emit("review", {"id": "o-1", "total": 7, **more})
    await app.settle()
    (task,) = await app.tasks(step)
    return task


async def test_an_answer_becomes_the_event_in_the_trace_of_the_one_that_asked(make_app):
    async with make_app(SPEC, **STEPS) as app:
        trace = (await app.request("POST", "/review", json={"id": "o-1", "total": 7})).json()["trace"]
        await app.settle()
        (task,) = await app.tasks("Approve")
        assert task.due == task.opened + 48 * HOUR
        await app.advance(2 * HOUR)
        done = await app.complete("Approve", task.id, YES)
        await app.settle()
        assert (done.ended.outcome, done.ended.by, done.ended.topic) == ("completed", "test", "decided")
        assert await app.events("decided") == [YES]
        assert await app.state.get("done", "o-1") == trace
        assert await app.tasks("Approve") == []
        runs = await app.runs(trace)
        review, opened, ended, charge = (
            next(r for r in runs if (r.step, r.outcome) == which)
            for which in (("Review", "ok"), ("Approve", "waiting"), ("Approve", "completed"), ("Charge", "ok"))
        )
        assert opened.parent_id == ended.parent_id == review.span_id
        assert charge.parent_id == ended.span_id
        assert (ended.queued, ended.trigger.type, ended.emits[0].topic) == (2 * HOUR, "manual", "decided")
        await app.advance(50 * HOUR)
        assert await app.events("rejected") == []


async def test_the_second_answer_is_told_what_was_decided(make_app):
    async with make_app(SPEC, **STEPS) as app:
        task = await _open(app)
        await app.complete("Approve", task.id, YES)
        with pytest.raises(TaskEnded, match="completed by test already") as told:
            await app.complete("Approve", task.id, {"orderId": "o-1", "approved": False})
        assert bytes(told.value.task.ended.data) == b'{"orderId":"o-1","approved":true}'
        await app.settle()
        assert await app.events("decided") == [YES]
        await app.advance(ENDED_KEPT + 1)
        with pytest.raises(NoTask):
            await app.complete("Approve", task.id, YES)
        assert await app.events("decided") == [YES]


async def test_of_many_answers_at_once_one_counts(make_app):
    async with make_app(SPEC, **STEPS) as app:
        task = await _open(app)
        answers = [{"orderId": f"o-{n}", "approved": True} for n in range(8)]
        told = await asyncio.gather(
            *(app.complete("Approve", task.id, answer) for answer in answers), return_exceptions=True
        )
        (won,) = [n for n, one in enumerate(told) if not isinstance(one, BaseException)]
        assert all(isinstance(one, TaskEnded) for n, one in enumerate(told) if n != won)
        await app.settle()
        assert await app.events("decided") == [answers[won]]


async def test_an_answer_that_does_not_fit_changes_nothing(make_app):
    async with make_app(SPEC, **STEPS) as app:
        task = await _open(app)
        with pytest.raises(ValidationFailed) as failed:
            await app.complete("Approve", task.id, {"orderId": 1})
        assert {fault.pointer for fault in failed.value.faults} == {"", "/orderId"}
        with pytest.raises(NoTask, match="no step 'Charge' has tasks"):
            await app.complete("Charge", task.id, YES)
        with pytest.raises(NoTask, match="has no task '77'"):
            await app.complete("Approve", "77", YES)
        assert [t.id for t in await app.tasks("Approve")] == [task.id]
        assert await app.events("decided") == []


async def test_who_answers_a_step_of_several_topics_names_one(make_app):
    async with make_app(SPEC, **STEPS) as app:
        task = await _open(app, "Choose")
        assert task.due is None
        for topic in (None, "decided"):
            with pytest.raises(WhichTopic, match="no, yes"):
                await app.complete("Choose", task.id, 1, topic=topic)
        await app.complete("Choose", task.id, 1, topic="no")
        assert (await app.events("yes"), await app.events("no")) == ([], [1])


async def test_a_task_whose_time_is_over_says_so_in_an_event(make_app):
    async with make_app(SPEC, **STEPS) as app:
        trace = await app.emit("review", {"id": "o-1", "total": 7})
        await app.settle()
        (task,) = await app.tasks("Approve")
        await app.advance(48 * HOUR - 1)
        assert await app.events("rejected") == []
        await app.advance(2)
        assert await app.events("rejected") == [{"orderId": "o-1", "total": 7, "why": "no answer for o-1"}]
        assert await app.tasks("Approve") == []
        with pytest.raises(TaskEnded, match="is over") as told:
            await app.complete("Approve", task.id, YES)
        assert told.value.expired
        (ended,) = [r for r in await app.runs(trace) if r.outcome == "expired"]
        assert ended.queued == 48 * HOUR
        assert not [d for d in await app.dead_letters() if d.story.step == "Approve"]


async def test_without_an_event_for_it_the_task_becomes_a_dead_letter_and_redriven_a_new_task(make_app):
    async with make_app(SPEC, **STEPS) as app:
        task = await _open(app, "Sign")
        await app.advance(HOUR)
        (letter,) = await app.dead_letters("Sign")
        assert (letter.story.error.type, letter.story.topic) == ("Expired", "review")
        assert letter.plain()["data"] == {"id": "o-1", "total": 7}
        await app.redrive(letter)
        await app.settle()
        (again,) = await app.tasks("Sign")
        assert (again.id, again.due) == (f"{task.id}-1", app.clock.time() + HOUR)
        await app.complete("Sign", again.id, "signed")
        assert await app.events("yes") == ["signed"]


async def test_an_event_on_timeout_that_can_not_be_made_is_a_dead_letter(make_app):
    async with make_app(SPEC, **STEPS) as app:
        await app.emit("review", {"id": "o-1"})
        await app.advance(48 * HOUR)
        (letter,) = await app.dead_letters("Approve")
        assert (letter.story.error.type, "{data.total}" in letter.story.error.message) == ("NothingThere", True)
        assert await app.events("rejected") == []


async def test_an_event_on_timeout_that_does_not_fit_its_topic_is_a_dead_letter(make_app):
    async with make_app(SPEC, **STEPS) as app:
        await _open(app)
        await app.advance(2 * HOUR)
        (letter,) = await app.dead_letters("Late")
        assert (letter.story.error.type, "/orderId" in letter.story.error.message) == ("ValidationFailed", True)
        assert (await app.events("rejected"), await app.tasks("Late")) == ([], [])


async def test_an_event_that_can_not_be_read_opens_no_task(make_app):
    async with make_app(SPEC, **STEPS) as app:
        await app._log.append("ev.review", b'{"id": 5}')
        await app.settle()
        assert await app.tasks() == []
        assert {d.story.step for d in await app.dead_letters()} == {"Approve", "Choose", "Late", "Sign"}


def test_places_in_texts_of_the_spec() -> None:
    data = {"a": {"b": [1, {"c": None}]}, "t": "x"}
    template = {"whole": "{data.a}", "in": ["{data.a.b.0} of {data.t}, {data.a.b.1}"], "other": "{x} {} {data", "n": 5}
    assert filled(template, data) == {
        "whole": {"b": [1, {"c": None}]},
        "in": ['1 of x, {"c":null}'],
        "other": "{x} {} {data",
        "n": 5,
    }
    assert filled("{data}", [1]) == [1]
    for path in ("{data.z}", "{data.t.u}", "{data.a.b.2}"):
        with pytest.raises(NothingThere, match=path.replace("{", r"\{")):
            filled(f"no {path}", data)


async def test_tasks_by_http(make_app):
    async with make_app(SPEC, **STEPS) as app:
        task = await _open(app)
        path = f"/__motia/tasks/Approve/{task.id}"
        listed = (await app.request("GET", "/__motia/tasks?step=Approve&limit=5")).json()["tasks"]
        assert [(one["id"], one["status"], one["data"]["id"]) for one in listed] == [(task.id, "open", "o-1")]
        assert len((await app.request("GET", "/__motia/tasks")).json()["tasks"]) == 4
        shown = await app.request("GET", path)
        assert (shown.status, shown.json()) == (200, listed[0])
        wrong = await app.request("POST", path, json={"orderId": 1, "approved": True})
        assert (wrong.status, [e["pointer"] for e in wrong.json()["errors"]]) == (422, ["/orderId"])
        assert wrong.headers["content-type"] == "application/problem+json"
        done = await app.request("POST", path + "?by=Ann", json=YES)
        assert (done.status, done.json()["status"], done.json()["by"], done.json()["answer"]) == (
            200,
            "completed",
            "Ann",
            YES,
        )
        again = await app.request("POST", path, json=YES)
        assert (again.status, again.json()["task"]["answer"]) == (409, YES)
        assert await app.events("decided") == [YES]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/__motia/tasks/Approve/77", None, 404),
        ("POST", "/__motia/tasks/Approve/77", b"{}", 404),
        ("POST", "/__motia/tasks/Charge/1", b"{}", 404),
        ("GET", "/__motia/tasks?step=Charge", None, 404),
        ("GET", "/__motia/tasks?limit=0", None, 400),
        ("GET", "/__motia/tasks?limit=%C2%B2", None, 400),
        ("GET", "/__motia/tasks?sort=up", None, 400),
        ("DELETE", "/__motia/tasks/Approve/77", None, 405),
        ("POST", "/__motia/tasks/Approve/77", b"{", 400),
        ("POST", "/__motia/tasks/Approve/%2A", b"{}", 404),
        ("POST", "/__motia/tasks", b"{}", 405),
    ],
)
async def test_what_is_wrong_with_a_request_is_said(make_app, method, path, body, status):
    async with make_app(SPEC, **STEPS) as app:
        headers = {"content-type": "application/json"} if body else {}
        answer = await app.request(method, path, body=body, headers=headers)
        assert (answer.status, answer.json()["status"]) == (status, status)


async def test_by_http_a_late_answer_is_gone_and_a_form_is_not_taken(make_app):
    async with make_app(SPEC, **STEPS) as app:
        task = await _open(app)
        path = f"/__motia/tasks/Approve/{task.id}"
        form = await app.request("POST", path, body=b"approved=1", headers={"content-type": "text/plain"})
        assert form.status in (415, 422)
        await app.advance(48 * HOUR)
        late = await app.request("POST", path, json=YES)
        assert (late.status, late.json()["task"]["status"]) == (410, "expired")
        choice = (await app.tasks("Choose"))[0]
        assert (await app.request("POST", f"/__motia/tasks/Choose/{choice.id}", json=1)).status == 400
        taken = await app.request("POST", f"/__motia/tasks/Choose/{choice.id}?topic=yes", json=1)
        assert taken.json()["emitted"] == {"topic": "yes"}


async def test_no_step_of_the_app_gets_what_is_for_tasks(make_app):
    async with make_app(SPEC, **STEPS) as app:
        assert (await app.request("GET", "/a/b")).json() == {"a": "a", "b": "b"}
        assert "tasks" in (await app.request("GET", "/__motia/tasks")).json()
        assert "tasks" in (await app.request("GET", "/%5F_motia/tasks")).json()


@pytest.mark.parametrize(
    ("token", "host", "dev", "allowed"),
    [
        (None, "127.0.0.1", True, Access(None)),
        ("", "localhost", True, Access(None)),
        (None, "::1", True, Access(None)),
        (None, "0.0.0.0", True, None),
        (None, "192.0.2.1", True, None),
        (None, "127.0.0.1", False, None),
        ("short", "127.0.0.1", True, None),
        ("x" * 16, "0.0.0.0", False, Access("x" * 16)),
        ("x" * 16, "127.0.0.1", True, Access("x" * 16)),
    ],
)
def test_who_may_ask(token, host, dev, allowed):
    assert access(token, host, dev=dev) == allowed
