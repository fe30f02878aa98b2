"""CloudEvents from other programs at the door of an app: taken in once, in their trace, or dead letters that can be redriven."""

from __future__ import annotations

import json

import pytest

from motia_runtime.cloudevents.incoming import LARGEST
from motia_runtime.deadletters import letter_of

SPEC = """
name: in
topics:
  stock: {external: in, schema: {type: object, required: [sku], properties: {sku: {type: string}}}}
  other: {external: in}
  own: {}
steps:
  Take: {type: event, subscribes: [stock], emits: [own]}
  Other: {type: event, subscribes: [other]}
  Own: {type: event, subscribes: [own]}
"""
HANDLERS = {
    "take": """
async def handler(data, ctx):
    await ctx.emit("own", {"sku": data.sku})
""",
    "other": "async def handler(data, ctx): pass",
    "own": "async def handler(data, ctx): pass",
}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
STRUCTURED = {"content-type": "application/cloudevents+json"}


def binary(id: str = "1", **attributes: str) -> dict[str, str]:
    told = {"specversion": "1.0", "id": id, "source": "/till", "type": "com.example.stock", **attributes}
    return {f"ce-{name}": value for name, value in told.items()}


def structured(id: str = "1", sku: object = "book", **attributes: object) -> bytes:
    told = {"specversion": "1.0", "id": id, "source": "/till", "type": "com.example.stock"}
    return json.dumps({**told, **attributes, "data": {"sku": sku}}).encode()


async def taken(app, topic="stock"):
    return await app._log.scan(f"ev.{topic}", limit=100)


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_it_becomes_an_event_with_its_data_and_its_attributes_in_its_trace(make_app, mode):
    told = {"time": "2026-11-22T10:00:00Z", "subject": "a b", "traceparent": PARENT, "tracestate": "vendor=1"}
    async with make_app(SPEC, **HANDLERS) as app:
        if mode == "binary":
            headers = {name.upper(): value for name, value in binary(**{**told, "subject": "a%20b"}).items()}
            await app.publish("stock", b'{"sku": "book"}', headers=headers)
        else:
            await app.publish("stock", structured(**told), headers=STRUCTURED)
        await app.settle()
        assert await app.events("stock") == await app.events("own") == [{"sku": "book"}]
        runs = await app.runs(TRACE)
        assert [run.step for run in runs] == ["Take", "Own"]
        assert (runs[0].parent_id, runs[0].tracestate) == (SPAN, "vendor=1")
        [event] = await taken(app)
        assert event.headers == {
            "traceparent": PARENT,
            "tracestate": "vendor=1",
            **binary(**{**told, "subject": "a%20b"}),
            "ce-datacontenttype": "application/json",
        }


async def test_the_header_of_the_last_hop_goes_before_the_attribute_of_the_first(make_app):
    other = "1" * 32
    async with make_app(SPEC, **HANDLERS) as app:
        headers = {**binary(traceparent=PARENT), "traceparent": f"00-{other}-{SPAN}-01"}
        await app.publish("stock", b'{"sku": "book"}', headers=headers)
        await app.settle()
        assert [run.step for run in await app.runs(other)] == ["Take", "Own"]
        [event] = await taken(app)
        assert event.headers["ce-traceparent"] == PARENT


async def test_the_same_id_from_the_same_source_is_the_same_event(make_app):
    async with make_app(SPEC, **HANDLERS) as app:
        await app.publish("stock", b'{"sku": "book"}', headers=binary("1"))
        await app.publish("stock", b'{"sku": "book"}', headers={**binary("1"), "Nats-Msg-Id": "another"})
        await app.publish("stock", structured("1"), headers=STRUCTURED)
        await app.publish("stock", b'{"sku": "pen"}', headers=binary("1", source="/web"))
        await app.publish("stock", b'{"sku": "cup"}', headers=binary("2"))
        await app.publish("other", b"{}", headers=binary("1"))
        await app.settle()
        assert [each["sku"] for each in await app.events("stock")] == ["book", "pen", "cup"]
        assert await app.events("other") == [{}]
        assert await app.dead_letters() == []


@pytest.mark.parametrize(
    ("data", "headers", "error", "words"),
    [
        (b"<xml/>", STRUCTURED, "InvalidCloudEvent", "is not valid JSON"),
        (b'{"sku": "book"}', STRUCTURED, "InvalidCloudEvent", "it lacks specversion, id, source, type"),
        (b'{"sku": "book"}', {"ce-id": "1"}, "InvalidCloudEvent", "it lacks specversion, source, type"),
        (structured(sku=7), STRUCTURED, "ValidationFailed", "/sku"),
        (b'{"sku": 7}', binary(), "ValidationFailed", "/sku"),
        (b'{"sku": "book"}', binary(note="x" * LARGEST), "InvalidCloudEvent", "at most 4,096"),
        (b'{"sku": "book"}', binary(note="x" * 500_000), "InvalidCloudEvent", "at most 4,096"),
    ],
)
async def test_what_is_not_what_it_says_is_one_dead_letter_also_when_redriven(make_app, data, headers, error, words):
    async with make_app(SPEC, **HANDLERS) as app:
        await app.publish("stock", data, headers=headers)
        for _ in range(2):
            await app.settle()
            [letter] = await app.dead_letters()
            assert (letter.story.step, letter.story.topic) == ("", "stock")
            assert letter.story.error.type == error
            assert words in letter.story.error.message
            assert letter.story.data_left_out == (sum(map(len, headers.values())) > LARGEST)
            assert await app.events("stock") == []
            await app.redrive(letter)


async def test_when_the_schema_is_mended_a_redriven_one_is_the_cloudevent_that_it_was(make_app):
    async with make_app(SPEC, **HANDLERS) as app:
        await app.publish("stock", structured(sku=7, traceparent=PARENT, till="left"), headers=STRUCTURED)
        await app.publish("stock", b'{"sku": 8}', headers={"CE-ID": "2", **binary("2")})
        await app.settle()
        letters = await app.dead_letters()
    mended = SPEC.replace("sku: {type: string}", "sku: {}")
    async with make_app(mended, **HANDLERS) as app:
        for letter in letters:
            emitted = letter_of(letter.story, letter.data)
            await app._log.append(emitted.subject, emitted.data, headers=emitted.headers)
        for letter in await app.dead_letters():
            await app.redrive(letter)
        await app.settle()
        assert await app.dead_letters() == []
        events = {event.headers["ce-id"]: event for event in await taken(app)}
        assert {each: json.loads(event.data) for each, event in events.items()} == {"1": {"sku": 7}, "2": {"sku": 8}}
        assert events["1"].headers["ce-till"] == "left"
        assert events["1"].headers["traceparent"][3:35] == letters[1].story.trace_id
