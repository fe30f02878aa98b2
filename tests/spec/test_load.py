"""Files of a spec: what is read, included and laid over; variables."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from motia_spec import globs
from motia_spec.interpolate import EnvScalar
from motia_spec.load import Loaded, load_spec

Load = Callable[..., Loaded]


def codes(loaded: Loaded) -> list[str]:
    return [f"{d.code} {d.place}" for d in loaded.diagnostics]


def plain(loaded: Loaded) -> object:
    assert loaded.node is not None, loaded.diagnostics
    return loaded.node.plain()


def test_a_missing_spec_says_what_to_do(tmp_path: Path) -> None:
    loaded = load_spec(tmp_path, {})
    assert codes(loaded) == ["M001 motia.yaml:1:1"]
    assert "no such file" in loaded.diagnostics[0].message
    (tmp_path / "motia.yml").write_text("name: a")
    assert "motia.yml" in load_spec(tmp_path, {}).diagnostics[0].hint
    assert plain(load_spec(tmp_path / "motia.yml", {})) == {"name": "a"}


@pytest.mark.parametrize("name", ["a\0b/motia.yaml", "x" * 5000, "motia.yaml/motia.yaml"])
def test_a_path_that_is_none_is_a_finding(tmp_path: Path, name: str) -> None:
    (tmp_path / "motia.yaml").write_text("name: a")
    assert [d.code for d in load_spec(f"{tmp_path}/{name}", {}).diagnostics] == ["M001"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "motia.yaml")
    assert codes(load_spec(tmp_path, {})) == ["M001 motia.yaml:1:1"]


def test_text_stands_for_the_file(load: Load, tmp_path: Path) -> None:
    loaded = load_spec(tmp_path, {}, text="name: b")
    assert (plain(loaded), loaded.root, loaded.files) == ({"name": "b"}, tmp_path, ("motia.yaml",))


def test_included_files_add_by_key(load: Load) -> None:
    loaded = load(
        "motia: '1'\ninclude: [flows/*.yaml, more.yaml]\nsecrets: [A]\nsteps: {a: {type: noop}}\nserver: {port: 1}\nx-a: 1",
        {
            "flows/b.yaml": "motia: '1'\nsteps: {b: {type: noop}}\nsecrets: [A, B]\nx-a: 2",
            "flows/a.yaml": "steps: {c: {type: noop}}\ninclude: [deep/d.yaml]\npolicies: {retry: {p: {attempts: 1}}}",
            "flows/deep/d.yaml": "topics: {t: {}}\npolicies: {retry: {q: {attempts: 2}}}",
            "flows/.hidden.yaml": "steps: {x: {type: noop}}",
            "more.yaml": "server: {host: h}\ninclude: [flows/*.yaml]",
        },
    )
    assert not loaded.diagnostics
    assert plain(loaded) == {
        "motia": "1",
        "secrets": ["A", "B"],
        "steps": {"a": {"type": "noop"}, "c": {"type": "noop"}, "b": {"type": "noop"}},
        "server": {"port": 1, "host": "h"},
        "x-a": 1,
        "policies": {"retry": {"p": {"attempts": 1}, "q": {"attempts": 2}}},
        "topics": {"t": {}},
    }
    assert loaded.files == ("motia.yaml", "flows/a.yaml", "flows/deep/d.yaml", "flows/b.yaml", "more.yaml")


@pytest.mark.parametrize("text", ["steps: {a: {type: noop}}", "server: {port: 2}", "name: b", "steps: 1"])
def test_a_name_in_two_files_is_an_error_that_names_both(load: Load, text: str) -> None:
    loaded = load("name: a\ninclude: [b.yaml]\nserver: {port: 1}\nsteps: {a: {type: noop}}", {"b.yaml": text})
    [found] = loaded.diagnostics
    assert (found.code, found.place.file, found.related[0][0].file) == ("M025", "b.yaml", "motia.yaml")
    assert "both motia.yaml and b.yaml" in found.message
    assert loaded.node is None


@pytest.mark.parametrize(
    "pattern", ["../x.yaml", "/etc/passwd", "~/x.yaml", "a\\\\b.yaml", "C:/x", "http://x/y.yaml", "out/x.yaml", "out/*.yaml", "link.yaml", "../*/x.yaml", ""]
)  # fmt: skip
def test_an_include_stays_inside_the_project(tmp_path: Path, pattern: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "x.yaml").write_text("name: outside")
    (root / "out").symlink_to(outside)
    (root / "link.yaml").symlink_to(outside / "x.yaml")
    (root / "motia.yaml").write_text(f'include: ["{pattern}"]')
    assert codes(load_spec(root, {})) == ["M022 motia.yaml:1:11"]


def test_a_wildcard_takes_neither_the_spec_nor_overlays(load: Load) -> None:
    loaded = load("include: ['*.yaml']\nname: a", {"motia.prod.yaml": "name: b", "b.yaml": "description: c"})
    assert plain(loaded) == {"name": "a", "description": "c"}


def test_a_pattern_that_matches_nothing_is_a_warning(load: Load) -> None:
    loaded = load("include: [flow/*.yaml]\nname: a")
    assert codes(loaded) == ["M023 motia.yaml:1:11"]
    assert plain(loaded) == {"name": "a"}


def test_two_stars_reach_every_folder_but_those_of_tools(load: Load) -> None:
    files = {
        f"{folder}/x.yaml": f"steps: {{{name}: {{type: noop}}}}"
        for name, folder in (("a", "p/q"), ("b", "p"), ("c", "p/node_modules"))
    }
    loaded = load("include: ['**/*.yaml']", files)
    assert plain(loaded) == {"steps": {"b": {"type": "noop"}, "a": {"type": "noop"}}}


def test_bounds_of_including(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = {f"{n}.yaml": f"include: [{n + 1}.yaml]" for n in range(9)}
    assert codes(load("include: [0.yaml]", chain)) == ["M024 3.yaml:1:11"]
    monkeypatch.setattr("motia_spec.load.MAX_FILES", 2)
    assert codes(load("include: [0.yaml, 1.yaml]", {"0.yaml": "name: a"})) == ["M024 motia.yaml:1:19"]
    monkeypatch.setattr(globs, "MAX_GLOB_ENTRIES", 3)
    assert codes(load("include: ['*.yaml']")) == ["M024 motia.yaml:1:11"]


@pytest.mark.parametrize("value", ["flows/*.yaml", "[1]", "{a: b}", "[[a]]", "[null]"])
def test_include_in_another_form_is_refused(load: Load, value: str) -> None:
    assert codes(load(f"include: {value}")) == ["M027 motia.yaml:1:1"]


def test_a_file_that_includes_itself_is_read_once(load: Load) -> None:
    loaded = load("include: [motia.yaml, a.yaml]\nname: a", {"a.yaml": "include: [a.yaml, motia.yaml]"})
    assert plain(loaded) == {"name": "a"}


OVERLAID = "name: a\nnats: {url: embedded, prefix: p}\nsecrets: [A, B]\nserver: {port: 1}"


def test_an_overlay_merges_replaces_and_removes(load: Load) -> None:
    over = {"motia.prod.yaml": "nats: {url: 'nats://x', replicas: 3}\nsecrets: [C]\nserver: null\nstate: {a: {}}"}
    expected = {
        "name": "a",
        "nats": {"url": "nats://x", "prefix": "p", "replicas": 3},
        "secrets": ["C"],
        "state": {"a": {}},
    }
    assert plain(load(OVERLAID, over, overlay="prod")) == expected
    assert plain(load(OVERLAID, over, {"MOTIA_ENV": "prod"})) == expected
    assert load(OVERLAID, over, {"MOTIA_ENV": "prod"}).files == ("motia.yaml", "motia.prod.yaml")
    assert plain(load(OVERLAID, over, {"MOTIA_ENV": "prod"}, overlay=""))["name"] == "a"  # type: ignore[index]  # a map


def test_a_finding_in_an_overlay_is_shown_there(load: Load) -> None:
    loaded = load(OVERLAID, {"motia.prod.yaml": "nats:\n  url: ${NOT_SET}"}, overlay="prod")
    assert codes(loaded) == ["M020 motia.prod.yaml:2:8"]


def test_an_overlay_that_is_not_there(load: Load) -> None:
    asked = load(OVERLAID, overlay="prod")
    assert (codes(asked), asked.node) == (["M026 motia.yaml:1:1"], None)
    by_environment = load(OVERLAID, {}, {"MOTIA_ENV": "prod"})
    assert [(d.code, d.severity) for d in by_environment.diagnostics] == [("M026", "warning")]
    assert by_environment.node is not None
    assert codes(load(OVERLAID, overlay="../../etc/passwd")) == ["M026 motia.yaml:1:1"]
    assert codes(load(OVERLAID, {"motia.prod.yaml": "include: [a.yaml]"}, overlay="prod")) == [
        "M027 motia.prod.yaml:1:1"
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "one"),
        ("x${A}y${A}", "xoneyone"),
        ("${N}", 3000),
        ("p${N}", "p3000"),
        ("${T}", True),
        ("${ZERO}", "007"),
        ("${FLOAT}", "1.5"),
        ("${NONE:-d e}", "d e"),
        ("${NONE:-4}", 4),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY}", ""),
        ("${NONE:-}", ""),
        ("${A:?why}", "one"),
        ("$${A}", "${A}"),
        ("$$", "$"),
        ("$$$${A}", "$${A}"),
        ("a $ b $A", "a $ b $A"),
        ("${CODE}", "${A}"),
    ],
)
def test_variables(load: Load, text: str, value: object) -> None:
    environ = {"A": "one", "N": "3000", "T": "true", "EMPTY": "", "ZERO": "007", "FLOAT": "1.5", "CODE": "${A}"}
    result = plain(load(f'description: "{text}"', {}, environ))
    assert result == {"description": value}
    assert type(result["description"]) is type(value)


@pytest.mark.parametrize(
    ("text", "found", "words"),
    [
        ("${NONE}", "M020 motia.yaml:1:8", "NONE is not set"),
        ("x ${NONE:?set it, please}", "M020 motia.yaml:1:10", "set it, please"),
        ("${EMPTY:?why}", "M020 motia.yaml:1:8", "EMPTY is empty: why"),
        ("${}", "M021 motia.yaml:1:8", "${}"),
        ("${A-b}", "M021 motia.yaml:1:8", "${A-b}"),
        ("${A B}", "M021 motia.yaml:1:8", "${A B}"),
        ("${1A}", "M021 motia.yaml:1:8", "${1A}"),
        ("a ${A", "M021 motia.yaml:1:10", "${A"),
        ("${A:-${B}}", "M021 motia.yaml:1:8", "${A:-${B}}"),
    ],
)
def test_what_is_no_variable_or_not_set(load: Load, text: str, found: str, words: str) -> None:
    loaded = load(f'name: "{text}"', {}, {"A": "x", "EMPTY": ""})
    assert codes(loaded) == [found]
    assert words in loaded.diagnostics[0].message
    assert loaded.node is None


def test_keys_and_schemas_are_left_as_they_are(load: Load) -> None:
    schema = "{const: '${A}'}"
    text = (
        f"schemas: {{S: {schema}}}\ntopics: {{t: {{schema: {schema}, description: '${{A}}'}}}}\n"
        f"state: {{g: {{schema: {schema}}}}}\nstreams: {{s: {{schema: {schema}}}}}\nx-a: '${{A}}'\n"
        f"steps: {{'${{A}}': {{body: {schema}, query: {schema}, responses: {{200: {schema}}}, manual: {{input: {schema}, timeout: '${{A}}'}}}}}}"
    )
    kept = {"const": "${A}"}
    assert plain(load(text, {}, {"A": "1h"})) == {
        "schemas": {"S": kept},
        "topics": {"t": {"schema": kept, "description": "1h"}},
        "state": {"g": {"schema": kept}},
        "streams": {"s": {"schema": kept}},
        "x-a": "${A}",
        "steps": {
            "${A}": {
                "body": kept,
                "query": kept,
                "responses": {"200": kept},
                "manual": {"input": kept, "timeout": "1h"},
            }
        },
    }


def test_variables_can_not_multiply_without_bound(load: Load) -> None:
    loaded = load("name: '" + "${A}" * 2000 + "'", {}, {"A": "x" * 1000})
    assert [d.code for d in loaded.diagnostics] == ["M002"]


def test_a_value_from_the_environment_says_so(load: Load) -> None:
    loaded = load("name: ${A}", {}, {"A": "x"})
    assert loaded.node is not None
    node = loaded.node.get("name")
    assert isinstance(node, EnvScalar)
    assert node.source == "${A}"
