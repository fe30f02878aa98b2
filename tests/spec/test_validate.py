"""The schema layer: every fault, at its place, with what is allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from motia_spec.diagnostics import Diagnostic
from motia_spec.limits import MAX_FINDINGS

Check = Callable[..., list[Diagnostic]]
Findings = Callable[..., list[tuple[str, str]]]

API = "steps:\n  A: {type: api, method: GET, path: /a, %s}\n"


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        ("stepz: {}", "M101 1:1", 'unknown key "stepz"', 'did you mean "steps"?'),
        ("steps: {}\nstepz: {}", "M101 2:1", 'unknown key "stepz"', '"steps" is here already: join the two'),
        ("zzz: 1", "M101 1:1", 'unknown key "zzz"', "allowed here: $schema, motia, name"),
        ("1: x", "M101 1:1", 'unknown key "1"', "allowed here"),
        ("steps: {A: {typ: api}}", "M102 1:9", '"A" has no "type", which it needs', 'did you mean "type" by "typ"?'),
        ("steps: {A: {}}", "M102 1:9", '"A" has no "type", which it needs', "for example `type: event`"),
        (
            "steps: {A: {type: evnt}}",
            "M104 1:19",
            '"evnt" is not one of api, event, cron, noop',
            'did you mean "event"?',
        ),
        ("steps: {A: {type: 1}}", "M103 1:19", '"type" takes text, not the number 1', "put it in quotes"),
        ("steps: {A: [x]}", "M103 1:9", '"A" takes a map, not a list', ""),
        ("steps: {A: }", "M103 1:9", '"A" takes a map, not nothing', "write a value, or remove the key"),
        ("steps: {A: {type: api, path: /a}}", "M102 1:9", '"A" has no "method", which it needs', "`method: POST`"),
        (API % "retry: x", "M101 2:41", 'unknown key "retry"', "event and cron steps have it"),
        (API % "methods: x", "M101 2:41", 'unknown key "methods"', '"method" is here already'),
        ("steps: {A: {type: api, methd: GET, path: /a}}", "M101 1:24", 'unknown key "methd"', 'did you mean "method"?'),
        (API.replace("GET", "get") % "", "M104 2:26", '"get" is not one of GET, POST', 'did you mean "GET"?'),
        (API.replace("GET", "[GET, GET]") % "", "M109 2:32", '"method" has text "GET" twice', "remove one"),
        (API.replace("GET", "[]") % "", "M106 2:18", '"method" has 0 items; at least 1 are allowed', ""),
        (
            API.replace("GET", "5") % "",
            "M103 2:26",
            '"method" takes a list or text, not the number 5',
            "put it in quotes",
        ),
        (API % "responses: {99: {}}", "M101 2:53", '"99" is not a status from 200 to 599', ""),
        (API % "timeout: 30", "M103 2:50", '"timeout" takes text, not the number 30', "a duration is a number with ms"),
        (API % "timeout: 30x", "M105 2:50", '"30x" is not allowed: a duration is a number with ms', ""),
        (API % "rateLimit: {limit: 0, per: 1s}", "M106 2:60", '"limit" must be at least 1, not the number 0', ""),
        (API % "rateLimit: {limit: 1}", "M102 2:41", '"rateLimit" has no "per", which it needs', "`per: 1s`"),
        (API % "emits: [a b]", "M107 2:49", '"a b" is not allowed: a topic is 1 to 16 words', ""),
        (API % "emits: [{label: x}]", "M102 2:49", 'item 1 of "emits" has no "topic"', "`topic: order.review`"),
        (API % "allowCycle: yes", "M103 2:53", '"allowCycle" takes true or false, not text "yes"', "write true"),
        (
            "steps: {A: {type: event, subscribes: x}}",
            "M103 1:38",
            '"subscribes" takes a list, not text "x"',
            "write a list: [x]",
        ),
        ("steps: {A: {type: event, subscribes: []}}", "M106 1:26", '"subscribes" has 0 items; at least 1', ""),
        (
            "steps: {A: {type: event, subscribes: [{state: a, stream: b}]}}",
            "M106 1:39",
            'item 1 of "subscribes" has 2 keys; it takes one of state, stream',
            "",
        ),
        ("motia: '2'", "M104 1:8", 'the version of the spec\'s language is "1"', ""),
        ("motia: 1", "M103 1:8", '"motia" takes text, not the number 1', 'the version of the spec\'s language is "1"'),
        (
            "server: {port: '3000'}",
            "M103 1:16",
            '"port" takes a whole number, not text "3000"',
            "write it without quotes",
        ),
        ("server: {port: 3000.0}", "M103 1:16", '"port" takes a whole number, not the number 3000.0', ""),
        ("server: {port: 70000}", "M106 1:16", '"port" must be at most 65,535, not the number 70000', ""),
        ("schemas: {A: {type: strin}}", "M104 1:21", '"strin" is not one of string, number', 'did you mean "string"?'),
        ("schemas: {A: {nullable: true}}", "M101 1:15", 'unknown key "nullable"', 'write `type: [string, "null"]`'),
        ("schemas: {A: {multipleOf: 0}}", "M106 1:27", '"multipleOf" must be more than 0', ""),
        ("schemas: {A: {properties: {__class__: true}}}", "M107 1:28", "property names with `__` on both sides", ""),
        ("schemas: {A: {items: {items: {typ: 1}}}}", "M101 1:31", 'unknown key "typ"', 'did you mean "type"?'),
        ("steps: {a/b: {type: noop}}", "M107 1:9", '"a/b" is not allowed: a name is letters and digits', ""),
        ("steps: {__a: {type: noop}}", "M107 1:9", "names that begin with `__`", ""),
        ("steps: {prototype: {type: noop}}", "M107 1:9", "`constructor` and `prototype`, are reserved", ""),
        (f"steps: {{{'a' * 65}: {{type: noop}}}}", "M107 1:9", "has 65 characters; at most 64 are allowed", ""),
        ("steps: {a b : {type: noop}, 'a  b': {type: noop}}", "M107 1:29", '"a  b" is not allowed', ""),
        ("steps: {a€b: {type: noop}}", "M107 1:9", '"a€b" is not allowed', ""),
        (
            "steps: {Pay: {type: noop}, pay: {type: noop}}",
            "M108 1:28",
            '"pay" and "Pay" differ only by case',
            "rename one",
        ),
        ('steps: {"é": {type: noop}, "e\\u0301": {type: noop}}', "M108 1:28", "differ only by case", "rename one"),
        ("topics: {_motia.x: {}}", "M107 1:10", "topics that begin with `_motia`", ""),
        ("secrets: [A, A]", "M109 1:14", '"secrets" has text "A" twice', "remove one"),
        ("name: 1:30", "M107 1:7", '"1:30" is not allowed', ""),
    ],
)
def test_a_fault_is_said_where_it_is(check: Check, text: str, code: str, message: str, hint: str) -> None:
    [found] = check(text)
    assert f"{found.code} {found.place.line}:{found.place.column}" == code
    assert message in found.message
    assert hint in found.hint
    assert hint or not found.hint


@pytest.mark.parametrize(
    "text",
    [
        "name: a\nsteps: {}",
        "name: My shop 2",
        "x-anything: [1, {a: null}]",
        "steps: {Prüfung: {type: noop}, 注文: {type: noop}, 'नमस्ते': {type: noop}, a.b-c_d: {type: noop}, 1st: {type: noop}}",
        "topics: {order.created: {}, A-b_c.d: {}}",
        "nats: {maxAge: 1h30m, replicas: 3}\nserver: {bodyLimit: 1000, port: 0, cors: {origins: ['*'], methods: [GET], maxAge: 10m}}",
        "schemas: {A: true, B: {$ref: '#/schemas/A'}, C: {$defs: {D: {type: [string, 'null']}}, x-note: 1}}",
        API % "allowCycle: true",
    ],
)
def test_what_fits_has_no_findings(check: Check, text: str) -> None:
    assert check(text) == []


def test_all_faults_come_at_once_in_order(found: Findings) -> None:
    text = "steps:\n  B: {type: cron}\n  A: {type: api, path: 1, foo: 2}\nname: [x]\n"
    assert [code for code, _ in found(text)] == ["M102 2:3", "M102 3:3", "M103 3:24", "M101 3:27", "M103 4:1"]


def test_a_path_is_a_json_pointer(check: Check) -> None:
    assert [d.path for d in check("steps: {a/b~c: {type: noop}}\nsecrets: [A, A]")] == ["/steps/a~1b~0c", "/secrets/1"]


def test_a_fault_behind_an_alias_is_reported_once(found: Findings) -> None:
    text = "x-a: &a {type: event, subscribes: [x], timeout: 1}\nsteps: {A: *a, B: *a}"
    assert [code for code, _ in found(text)] == ["M103 1:49"]


def test_a_value_from_the_environment_is_not_shown(check: Check) -> None:
    text = "nats: {url: '${URL}'}\nserver: {port: '${URL}'}\nname: '${URL}'\nsteps: {A: {type: '${URL}'}}"
    found = check(text, {}, {"URL": "nats://me:hunter2@host with space"})
    assert len(found) == 4
    assert "hunter2" not in repr(found)
    assert all("${URL}" in d.message for d in found)


def test_findings_are_bounded(check: Check) -> None:
    found = check("".join(f"k{i}: 1\n" for i in range(MAX_FINDINGS + 500)))
    assert len(found) == MAX_FINDINGS + 1
    assert (found[-1].code, found[-1].message) == ("M110", "500 more findings are left out")
