"""Each rule: what it finds, where it points, what it advises, and what silences it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Check = Callable[..., Any]


def test_an_undeclared_topic(check: Check) -> None:
    found = check(
        """\
        topics: { order.created: {}, order.paid: {} }
        steps:
          A:
            type: api
            method: POST
            path: /a
            emits:
              - order.created
              - { topic: order.piad, label: x }
          B: { type: event, subscribes: [order.created, stock], virtualEmits: [drawn], virtualSubscribes: [drawn.too] }
          C: { type: noop, manual: { timeout: 1h, onTimeout: { topic: late } } }
        """
    )
    emitted, subscribed, late = found.all("M301")
    assert (emitted.place.line, emitted.place.column, emitted.path) == (9, 18, "/steps/A/emits/1")
    assert "A emits 'order.piad'" in emitted.message
    assert "declared: order.created, order.paid" in emitted.message
    assert emitted.hint == 'did you mean "order.paid"?'
    assert (subscribed.place.line, subscribed.place.column, subscribed.path) == (10, 49, "/steps/B/subscribes/1")
    assert subscribed.hint == "add it under topics: stock: {}"
    assert (late.place.line, late.path) == (11, "/steps/C/manual/onTimeout/topic")
    assert found.compiled.project is None
    assert "M302" not in found.codes, "order.paid is only misspelt"


def test_topics_with_one_end(check: Check) -> None:
    found = check(
        """\
        topics:
          lonely: {}
          unheard: {}
          unsaid: {}
          sent: { external: out }
          taken: { external: in }
          drawn: {}
        steps:
          A: { type: api, method: GET, path: /a, emits: [unheard, sent] }
          B: { type: event, subscribes: [unsaid, taken] }
          C: { type: noop, virtualEmits: [drawn] }
          D: { type: noop, virtualSubscribes: [drawn] }
        """
    )
    assert [(d.code, d.place.line, d.severity) for d in found.compiled.diagnostics if d.code < "M900"] == [
        ("M302", 2, "warning"),
        ("M302", 3, "warning"),
        ("M303", 4, "warning"),
    ]
    assert found.compiled.ok


def test_unreachable_steps(check: Check) -> None:
    found = check(
        """\
        topics: { a: {}, b: {}, c: {}, d: {}, e: { external: in }, f: {}, g: {} }
        steps:
          Api: { type: api, method: GET, path: /, emits: [a] }
          FromApi: { type: event, subscribes: [a], emits: [b] }
          FromEvent: { type: event, subscribes: [b] }
          Loop1: { type: event, subscribes: [c], emits: [d] }
          Loop2: { type: event, subscribes: [d], emits: [c] }
          FromOutside: { type: event, subscribes: [e] }
          Person: { type: noop, emits: [f] }
          FromPerson: { type: event, subscribes: [f] }
          Never: { type: event, subscribes: [g] }
        """
    )
    assert [d.message for d in found.all("M304")] == [
        "Loop1 never runs: only unreachable steps emit 'c'",
        "Loop2 never runs: only unreachable steps emit 'd'",
        "Never never runs: nothing emits 'g'",
    ]
    assert found.all("M304")[0].path == "/steps/Loop1"


LOOP = """\
topics: {{ a: {{}}, b: {{{topic}}}, c: {{}} }}
steps:
  Start: {{ type: cron, cron: "@daily", emits: [a] }}
  One: {{ type: event, subscribes: [a, c], emits: [b]{step} }}
  Two: {{ type: event, subscribes: [b], emits: [c, a] }}
"""


def test_a_cycle_is_told_as_a_path(check: Check) -> None:
    finding = check(LOOP.format(topic="", step="")).only("M305")
    assert "One -> b -> Two -> c -> One" in finding.message or "One -> b -> Two -> a -> One" in finding.message
    assert (finding.place.line, finding.path, finding.severity) == (4, "/steps/One", "warning")
    assert "allowCycle: true in One" in finding.hint


@pytest.mark.parametrize(("topic", "step"), [("allowCycle: true", ""), ("", ", allowCycle: true")])
def test_a_cycle_can_be_allowed(topic: str, step: str, check: Check) -> None:
    assert "M305" not in check(LOOP.format(topic=topic, step=step)).codes


def test_a_step_on_its_own_topic_is_a_cycle_and_a_drawn_edge_is_not(check: Check) -> None:
    found = check(
        """\
        topics: { a: {}, b: {} }
        steps:
          Self: { type: event, subscribes: [a], emits: [a] }
          Drawn: { type: event, subscribes: [b], virtualEmits: [b] }
          Person: { type: noop, subscribes: [b], emits: [b] }
        """
    )
    assert "Self -> a -> Self" in found.only("M305").message


def test_changes_that_a_step_may_make_itself_are_a_cycle(check: Check) -> None:
    spec = """\
        topics: {{ a: {{ external: in }} }}
        state: {{ s: {{}} }}
        streams: {{ t: {{}} }}
        steps:
          Self: {{ type: event, subscribes: [{{ state: s }}], uses: {{ state: [s] }}{more} }}
          First: {{ type: event, subscribes: [a, {{ stream: t }}], emits: [a], allowCycle: true }}
          Second: {{ type: event, subscribes: [{{ state: s }}], uses: {{ streams: [t] }} }}
        """
    assert "Self -> s -> Self" in check(spec.format(more="")).only("M305").message
    assert "M305" not in check(spec.format(more=", allowCycle: true")).codes


def test_route_clashes(check: Check) -> None:
    found = check(
        """\
        steps:
          A: { type: api, method: [GET, POST], path: "/x/{id}" }
          B: { type: api, method: [GET, POST], path: "/x/:name" }
          C: { type: api, method: PUT, path: "/x/{id}" }
          D: { type: api, method: GET, path: "/x/{rest:path}" }
          E: { type: api, method: GET, path: /x/id }
        """
    )
    finding = found.only("M401")
    assert (finding.place.line, finding.path) == (3, "/steps/B/path")
    assert "GET /x/{name} belongs to A already" in finding.message
    assert finding.related[0][0].line == 2


@pytest.mark.parametrize(
    ("path", "code"),
    [("x?y=1#z", "M402"), ("/a/../__motia/admin", "M402"), ("/__motia/admin", "M403"), ("/schema", "M403")],
)
def test_paths(path: str, code: str, check: Check) -> None:
    found = check(f'steps:\n  a: {{ type: api, method: GET, path: "{path}" }}\n')
    assert found.quoted(code).strip('"') == path
    assert found.only(code).path == "/steps/a/path"


def test_steps_with_equal_files_or_types(check: Check) -> None:
    found = check(
        """\
        schemas: { Order: { type: object } }
        steps:
          create-order: { type: noop }
          createOrder: { type: noop }
          Order: { type: noop }
        """
    )
    alike, schema = found.all("M404")
    assert "'create-order' and 'createOrder' would both have the types of CreateOrder" in alike.message
    assert "the step 'Order' and the schema 'Order'" in schema.message
    assert schema.related[0][0].line == 1


def test_unknown_policy(check: Check) -> None:
    found = check(
        """\
        policies: { retry: { standard: {} } }
        defaults: { retry: standrad }
        topics: { a: { external: in } }
        steps:
          A: { type: event, subscribes: [a], retry: paymnt }
          B: { type: event, subscribes: [a], retry: { attempts: 2 } }
        """
    )
    default, step = found.all("M406")
    assert default.hint == 'did you mean "standard"?'
    assert (step.place.line, step.path) == (5, "/steps/A/retry")
    assert "policies.retry has: standard" in step.message


def test_unknown_data(check: Check) -> None:
    found = check(
        """\
        state: { orders: {} }
        streams: { status: {} }
        steps:
          A: { type: api, method: GET, path: /, uses: { state: [order], streams: [status, stats] } }
          B: { type: event, subscribes: [{ state: ordres }, { stream: nope }] }
        """
    )
    assert [(d.path, d.hint) for d in found.all("M407")] == [
        ("/steps/A/uses/state/0", 'did you mean "orders"?'),
        ("/steps/A/uses/streams/1", 'did you mean "status"?'),
        ("/steps/B/subscribes/0", 'did you mean "orders"?'),
        ("/steps/B/subscribes/1", "add it under streams: nope: {}"),
    ]


def test_unknown_step_in_a_flow(check: Check) -> None:
    found = check("steps:\n  Ask: { type: noop }\nflows:\n  main: { steps: [Ask, Aks] }\n")
    assert found.quoted("M408") == "Aks"
    assert found.only("M408").hint == 'did you mean "Ask"?'


def test_secrets(check: Check) -> None:
    text = "secrets: [KEY_A, KEY_B]\n"
    assert check(text, environ={"KEY_A": "1", "KEY_B": "2"}).codes == []
    finding = check(text, environ={"KEY_A": "1", "KEY_B": ""}).only("M409")
    assert "KEY_B" in finding.message
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("data.id", None),
        ("data.customer.name", None),
        ("data.free.anything.at.all", None),
        ("data.one.a", None),
        ("data.map.some.deep", None),
        ("data.custmer.name", "'a' have no 'custmer'; there is: customer, free, id, map, one"),
        ("data.customer.nam", "have no 'nam'"),
        ("data.id.x", "have no 'x'"),
        ("data.one.c", "have no 'c'; there is: a, b"),
        ("customer.id", "starts with data"),
        ("data", "starts with data"),
        ("data.", "starts with data"),
    ],
)
def test_key_paths(key: str, words: str | None, check: Check) -> None:
    found = check(
        f"""\
        schemas:
          Customer: {{ type: object, properties: {{ name: {{ type: string }} }}, additionalProperties: false }}
        topics:
          a:
            external: in
            schema:
              type: object
              properties:
                id: {{ type: string }}
                customer: {{ $ref: "#/schemas/Customer" }}
                free: {{ type: object }}
                map: {{ type: object, additionalProperties: {{ type: object }} }}
                one: {{ anyOf: [ {{ type: object, properties: {{ a: {{ }} }} }}, {{ type: object, properties: {{ b: {{ }} }} }} ] }}
          any: {{ external: in }}
        steps:
          S: {{ type: event, subscribes: [a, any], orderBy: "{key}" }}
        """
    )
    if words is None:
        assert found.errors == []
    else:
        finding = found.only("M410")
        assert words in finding.message
        assert (finding.place.line, finding.path) == (16, "/steps/S/orderBy")


def test_keys_of_dedupe_and_concurrency(check: Check) -> None:
    found = check(
        """\
        topics: { a: { external: in, schema: { type: object, properties: { id: { type: string } } } } }
        steps:
          S:
            type: event
            subscribes: [a]
            dedupe: { key: data.ID, window: 1h }
            concurrency: { limit: 2, key: data.xx }
        """
    )
    assert [d.path for d in found.all("M410")] == ["/steps/S/dedupe/key", "/steps/S/concurrency/key"]
    assert found.all("M410")[0].hint == 'did you mean "id"?'


@pytest.mark.parametrize(
    ("cron", "code", "severity"),
    [
        ("61 0 31 2 *", "M411", "error"),
        ("0 0 31 2 *", "M412", "error"),
        ("* * * * * *", "M414", "warning"),
    ],
)
def test_schedules(cron: str, code: str, severity: str, check: Check) -> None:
    found = check(f'steps:\n  a: {{ type: cron, cron: "{cron}" }}\n')
    assert found.only(code).severity == severity
    assert found.quoted(code) == f'"{cron}"'


def test_time_zones(check: Check) -> None:
    found = check('steps:\n  a: { type: cron, cron: "0 0 * * *", timezone: "../../etc/passwd" }\n')
    assert "is not a time zone" in found.only("M413").message
    assert found.errors == ["M413"]


def test_retry_budget(check: Check) -> None:
    found = check(
        """\
        nats: { maxAge: 1h }
        defaults: { timeout: 1m }
        topics: { a: { external: in } }
        steps:
          Fits: { type: event, subscribes: [a], retry: { attempts: 10, delay: 1s, max: 5m } }
          Long: { type: event, subscribes: [a], retry: { attempts: 10, delay: 10m, max: 10m, backoff: fixed } }
          Slow: { type: event, subscribes: [a], timeout: 30m }
        """
    )
    long, slow = found.all("M415")
    assert "the 10 attempts of Long may take 1h40m, and events are kept 1h" in long.message
    assert (slow.place.line, "1h30m" in slow.message) == (7, True)


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("{ type: string }", "{ type: object }", "it is string, and the topic takes object"),
        ("{ type: integer }", "{ type: number }", None),
        ("{ type: number }", "{ type: integer }", None),
        ("{ const: a }", "{ enum: [b, c] }", "it is one of 'a', and the topic takes 'b', 'c'"),
        (
            "{ type: object, additionalProperties: false }",
            "{ type: object, required: [id] }",
            "requires 'id', which it never has",
        ),
        ("{ type: object }", "{ type: object, required: [id] }", None),
        (
            "{ type: object, required: [id], properties: { id: { type: string } } }",
            "{ type: object, required: [id], properties: { id: { type: integer } } }",
            "in 'id': it is string",
        ),
        (
            "{ type: object, required: [x] }",
            "{ type: object, properties: { y: {} }, additionalProperties: false }",
            "it always has 'x', which the topic refuses",
        ),
        ("{ $ref: '#/schemas/Text' }", "{ anyOf: [ { type: object }, { type: 'null' } ] }", "it is string"),
        ("{ $ref: '#/schemas/Text' }", "{ anyOf: [ { type: object }, { type: string } ] }", None),
        ("true", "{ type: object }", None),
    ],
)
def test_input_that_never_fits_its_topic(source: str, target: str, words: str | None, check: Check) -> None:
    found = check(
        f"""\
        schemas: {{ Text: {{ type: string }} }}
        topics: {{ done: {{ external: out, schema: {target} }} }}
        steps:
          Ask: {{ type: noop, emits: [done], manual: {{ input: {source} }} }}
        """
    )
    if words is None:
        assert found.errors == []
    else:
        finding = found.only("M306")
        assert words in finding.message
        assert (finding.path, finding.related[0][0].line) == ("/steps/Ask/manual/input", 2)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ('{ id: "{data.id}", n: "{data.n}" }', None),
        ("{ id: x, n: 1 }", None),
        ("{ id: x }", "lacks 'n'"),
        ("{ id: x, n: many }", "in 'n': it is string"),
        ("{ id: x, n: 1, m: 1 }", "it has 'm'"),
        ("[1]", "it is array"),
        ("{ id: y, n: 1 }", "in 'id': it is 'y'"),
    ],
)
def test_data_that_never_fits_its_topic(data: str, words: str | None, check: Check) -> None:
    found = check(
        f"""\
        topics:
          late:
            external: out
            schema:
              type: object
              required: [id, n]
              additionalProperties: false
              properties: {{ id: {{ const: x }}, n: {{ type: integer }} }}
        steps:
          Ask: {{ type: noop, manual: {{ timeout: 1h, onTimeout: {{ topic: late, data: {data} }} }} }}
        """
    )
    if words is None:
        assert found.errors == []
    else:
        assert words in found.only("M306").message
        assert found.only("M306").path == "/steps/Ask/manual/onTimeout/data"


def test_manual_steps_that_lead_nowhere(check: Check) -> None:
    found = check(
        """\
        topics: { a: { external: out } }
        steps:
          Ask: { type: noop, manual: {} }
          Wait: { type: noop, emits: [a], manual: { onTimeout: { topic: a } } }
        """
    )
    assert [d.path for d in found.all("M417")] == ["/steps/Ask/manual", "/steps/Wait/manual/onTimeout"]


def test_findings_come_by_place(check: Check) -> None:
    found = check(
        """\
        topics: { a: {} }
        steps:
          A: { type: event, subscribes: [x], retry: y, uses: { state: [z] } }
          B: { type: api, method: GET, path: /, emits: [x] }
        """
    )
    places = [d.place for d in found.compiled.diagnostics]
    assert places == sorted(places)
    assert found.errors == ["M301", "M406", "M407", "M301"]


def test_layers_stop_at_errors(check: Check) -> None:
    found = check(
        'topics: { a: { schema: { $ref: "#/schemas/X" } } }\nsteps:\n  A: { type: event, subscribes: [nope] }\n'
    )
    assert found.codes == ["M203"]
