"""What a spec lowers to: defaults, policies, flows, the graph, the fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import motia_spec
from motia_spec import SpecError, compile_project
from motia_spec.graph import Edge, build_graph
from motia_spec.model import ApiStep, CronStep, EventStep, Handler, NoopStep, Retry

Check = Callable[..., Any]


def test_defaults_reach_every_step_and_step_keys_win(check: Check) -> None:
    found = check(
        """\
        name: My Shop
        defaults:
          timeout: 10s
          retry: slow
          api: { middleware: [steps/m.py:outer], bodyLimit: 2KiB }
        policies: { retry: { slow: { attempts: 7, delay: 2m } } }
        topics: { a: { external: in } }
        steps:
          Api: { type: api, method: GET, path: "/x/:id", middleware: [steps/m.py:inner] }
          Big: { type: api, method: [POST, PUT], path: /big, bodyLimit: 1MiB, timeout: 1m }
          Event: { type: event, subscribes: [a] }
          Once: { type: event, subscribes: [a], retry: { attempts: 1 }, deadLetter: false, delay: 5s }
          Cron: { type: cron, cron: "@hourly", timezone: Europe/Berlin, catchUp: 1h }
        """
    )
    project = found.compiled.require()
    api, big, event, once, cron = project.steps.values()
    assert isinstance(api, ApiStep)
    assert isinstance(big, ApiStep)
    assert isinstance(event, EventStep)
    assert isinstance(once, EventStep)
    assert isinstance(cron, CronStep)
    assert [m.function for m in api.middleware] == ["outer", "inner"]
    assert (api.path, api.path_params, api.methods, api.timeout, api.body_limit) == (
        "/x/{id}",
        ("id",),
        ("GET",),
        10.0,
        2048,
    )
    assert (big.methods, big.timeout, big.body_limit) == (("POST", "PUT"), 60.0, 1 << 20)
    assert event.retry == Retry(name="slow", attempts=7, delay=120.0, max=120.0)
    assert (once.retry.attempts, once.dead_letter, once.delay) == (1, False, 5.0)
    assert (cron.cron, cron.timezone, cron.catch_up, cron.retry.name) == ("0 * * * *", "Europe/Berlin", 3600.0, "slow")
    assert project.nats.prefix == "My-Shop"


def test_an_empty_spec_means_something(check: Check) -> None:
    project = check("name: tiny\n").compiled.require()
    assert (project.name, project.steps, project.server.port, project.nats.url) == ("tiny", {}, 3000, "embedded")


def test_handlers_and_schemas_carry_their_places(check: Check) -> None:
    project = check(
        """\
        steps:
          Get:
            type: api
            method: GET
            path: /
            handler: steps/get.py:fetch
            responses: { 200: { type: object }, 404: true }
          Ask: { type: noop, manual: { input: { type: object } } }
        """
    ).compiled.require()
    get, ask = project.steps.values()
    assert isinstance(get, ApiStep)
    assert isinstance(ask, NoopStep)
    assert get.handler == Handler(path="steps/get.py", function="fetch", explicit=True, place=get.handler.place)
    assert (str(get.handler.place), get.handler.place.width) == ("motia.yaml:6:14", 18)
    assert [s.id for s in project.all_schemas()] == [
        "step:Get:response:200",
        "step:Get:response:404",
        "step:Ask:manual",
    ]
    assert get.responses[404].value is True


FLOWS = """\
topics: {{ a: {{ external: out }}, b: {{}}, c: {{}} }}
steps:
  Api: {{ type: api, method: GET, path: /, emits: [a] }}
  Named: {{ type: event, subscribes: [a], flows: [other] }}
  First: {{ type: event, subscribes: [b], emits: [c] }}
  Second: {{ type: event, subscribes: [c], emits: [b] }}
  Tick: {{ type: cron, cron: "@daily", emits: [a] }}
  Alone: {{ type: noop }}
{flows}
"""


def test_connected_parts_are_flows(check: Check) -> None:
    flows = check(FLOWS.format(flows="")).compiled.require().flows
    assert {name: (flow.steps, flow.explicit) for name, flow in flows.items()} == {
        "other": (("Named",), True),
        "Api": (("Api", "Tick"), False),
        "flow-1": (("First", "Second"), False),
        "flow-2": (("Alone",), False),
    }


def test_steps_that_only_listen_to_the_same_topic_from_outside_are_no_flow(check: Check) -> None:
    flows = (
        check(
            """\
        topics: { a: { external: in }, b: {} }
        steps:
          One: { type: event, subscribes: [a], emits: [b] }
          Two: { type: event, subscribes: [a] }
          Three: { type: event, subscribes: [b] }
        """
        )
        .compiled.require()
        .flows
    )
    assert {name: flow.steps for name, flow in flows.items()} == {"flow-1": ("One", "Three"), "flow-2": ("Two",)}


def test_named_flows_come_first_and_keep_their_words(check: Check) -> None:
    found = check(FLOWS.format(flows="flows:\n  Api: { description: All of it, steps: [Tick, First] }"))
    flows = found.compiled.require().flows
    assert list(flows) == ["Api", "other", "Api2", "flow-1", "flow-2"]
    assert (flows["Api"].description, flows["Api"].steps) == ("All of it", ("Tick", "First"))


def test_the_graph(check: Check) -> None:
    project = check(
        """\
        topics: { in: { external: in }, mid: {}, out: { external: out }, ask: {}, done: {} }
        state: { orders: {} }
        streams: { live: {} }
        steps:
          A: { type: event, subscribes: [in], emits: [{ topic: mid, label: big, conditional: true }, out] }
          B: { type: event, subscribes: [mid, { state: orders }], uses: { state: [orders], streams: [live] }, emits: [ask] }
          C: { type: noop, subscribes: [ask], emits: [done], virtualEmits: [word] }
          D: { type: event, subscribes: [done], virtualSubscribes: [word] }
        """
    ).compiled.require()
    graph = build_graph(project)
    assert {node.id: node.kind for node in graph.nodes.values()} == {
        "step:A": "event",
        "step:B": "event",
        "step:C": "noop",
        "step:D": "event",
        "topic:in": "topic",
        "topic:out": "topic",
    }
    assert graph.edges == (
        Edge("step:A", "step:B", "event", "mid", "big", True),
        Edge("step:A", "topic:out", "event", "out"),
        Edge("step:B", "step:C", "virtual", "ask"),
        Edge("step:C", "step:D", "virtual", "done"),
        Edge("step:C", "step:D", "virtual", "word"),
        Edge("topic:in", "step:A", "event", "in"),
    )
    whole = build_graph(project, state=True, streams=True)
    assert set(whole.edges) - set(graph.edges) == {
        Edge("step:B", "state:orders", "state"),
        Edge("state:orders", "step:B", "state"),
        Edge("step:B", "stream:live", "stream"),
    }
    assert whole.nodes["state:orders"].kind == "state"


FINGERPRINTED = "topics: {{ a: {{ external: in, schema: {{ type: {type} }} }} }}\nsteps:\n  A: {{ type: event, subscribes: [a]{more} }}\n"


def test_the_fingerprint_follows_what_code_depends_on(check: Check, tmp_path: Path) -> None:
    def fingerprint(type: str = "object", more: str = "", before: str = "") -> str:
        return str(check(before + FINGERPRINTED.format(type=type, more=more)).compiled.require().fingerprint)

    plain = fingerprint()
    assert len(plain) == 64
    assert plain == fingerprint(before="# moved down\n\n"), "places do not count"
    assert plain == fingerprint(more=", timeout: 5s, retry: { attempts: 2 }"), "timings do not count"
    others = [
        fingerprint("array"),
        fingerprint(more=", emits: [a]"),
        fingerprint(more=", description: x"),
        fingerprint(before="name: x\n"),
    ]
    assert len({plain, *others}) == 5


def test_require_raises_with_the_errors_only(check: Check) -> None:
    compiled = check("secrets: [A]\nsteps:\n  A: { type: event, subscribes: [x] }\n").compiled
    with pytest.raises(SpecError) as caught:
        compiled.require()
    assert [d.code for d in caught.value.diagnostics] == ["M301"]


def test_a_spec_from_text_and_an_overlay(tmp_path: Path) -> None:
    (tmp_path / "motia.prod.yaml").write_text("server: { port: 80 }\n")
    compiled = compile_project(tmp_path, text="name: piped\n", environ={}, overlay="prod")
    assert (compiled.require().name, compiled.require().server.port) == ("piped", 80)
    assert compile_project(tmp_path / "motia.yaml", text="name: piped\n", environ={}).require().server.port == 3000


def test_a_missing_spec_is_a_finding(tmp_path: Path) -> None:
    compiled = compile_project(tmp_path / "nowhere", environ={})
    assert (compiled.project, compiled.ok, [d.code for d in compiled.diagnostics]) == (None, False, ["M001"])


def test_every_exported_name_is_there() -> None:
    assert sorted(motia_spec.__all__) == motia_spec.__all__
    for name in motia_spec.__all__:
        assert getattr(motia_spec, name).__name__ == name
