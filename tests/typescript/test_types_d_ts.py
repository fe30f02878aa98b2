"""`types.d.ts` and the stubs under `tsc --strict`: right handlers pass, each wrong line is an error, hostile texts stay data."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from motia_generator import generate, stubs, writer
from motia_generator.typescript import declarations
from motia_spec import compile_project
from motia_spec.model import ApiStep, Handler, NoopStep, Project

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "projects"
FOLDERS = [*(f"{path.name}.ts" for path in sorted(GOLDEN.iterdir())), "odd.js", "shop.js"]
Finding = tuple[str, int, int, str]
Compile = Callable[..., dict[Path, list[Finding]]]


def in_script(project: Project, ending: str) -> Project:
    """The project with every handler in TypeScript or JavaScript."""

    def moved(handler: Handler) -> Handler:
        return msgspec.structs.replace(handler, path=f"{handler.path.rpartition('.')[0]}{ending}")

    steps: dict[str, Any] = {}
    for name, step in project.steps.items():
        if not isinstance(step, NoopStep):
            step = msgspec.structs.replace(step, handler=moved(step.handler))
        if isinstance(step, ApiStep):
            step = msgspec.structs.replace(step, middleware=tuple(map(moved, step.middleware)))
        steps[name] = step
    return msgspec.structs.replace(project, steps=steps)


def golden(name: str) -> Project:
    return compile_project(GOLDEN / name, handlers=False, environ={}).require()


def injections() -> ModuleType:
    """The hostile texts and where they go, of the tests of generated Python."""
    spec = importlib.util.spec_from_file_location("golden_injections", HERE.parent / "golden" / "test_injection.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def findings(tsc: Compile, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    """What the compiler says of each folder: types and stubs of the golden projects in both languages, handlers written for one of them, and
    projects that are made of hostile texts."""
    root = tmp_path_factory.mktemp("typescript")
    for name in FOLDERS:
        stem, _, ending = name.partition(".")
        project = msgspec.structs.replace(in_script(golden(stem), f".{ending}"), root=root)
        writer.write(root / name, {"motia_types/types.d.ts": declarations(project)}, stubs(project))
    shutil.copytree(HERE / "handlers" / "shop", root / "shop.ts" / "written")
    hostile = injections()
    for number, text in enumerate(hostile.PAYLOADS.values()):
        project = in_script(hostile.project(dict.fromkeys(hostile.SLOTS, text), root), ".ts")
        texts = {"motia_types/types.d.ts": declarations(project), **stubs(project)}
        renamed = {path: source.replace('"motia"', f'"motia-{number}"') for path, source in texts.items()}
        writer.write(root / "hostile" / str(number), {}, renamed)  # in one program, so each is a module of its own
    (root / "schemas").mkdir()
    (root / "schemas" / "types.d.ts").write_text(declarations(schemas_project(root)))
    (root / "schemas" / "values.ts").write_text(values())
    page = (HERE.parents[1] / "docs" / "typescript.md").read_text()
    for path, text in re.findall(r"^```\w+ ([\w./-]+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        (root / "page" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "page" / path).write_text(text)
    shown = compile_project(root / "page", environ={}).require()
    writer.write(root / "page", generate(shown), stubs(shown))
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    return {folder.name: found for folder, found in tsc(*folders).items()}


@pytest.mark.parametrize("name", FOLDERS)
def test_types_stubs_and_right_handlers_pass(name: str, findings: dict[str, list[Finding]]) -> None:
    assert [f for f in findings[name] if not f[0].endswith("bad.ts")] == []


def test_what_the_page_shows_compiles(findings: dict[str, list[Finding]]) -> None:
    assert findings["page"] == []


def test_each_wrong_line_is_an_error(findings: dict[str, list[Finding]]) -> None:
    lines = (HERE / "handlers" / "shop" / "bad.ts").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "// wrong" in line}
    assert len(wrong) > 30
    found = {line: message for file, line, _, message in findings["shop.ts"] if file.endswith("bad.ts")}
    assert {line: found[line] for line in found if line not in wrong} == {}
    assert [lines[line - 1] for line in wrong if line not in found] == []


def test_hostile_texts_compile_and_stay_data(findings: dict[str, list[Finding]], tmp_path: Path) -> None:
    hostile = injections()
    payloads = list(hostile.PAYLOADS.items())
    assert findings["hostile"] == []
    calm = skeleton(declarations(hostile.project(dict.fromkeys(hostile.SLOTS, "benign"), tmp_path)))
    for what, text in payloads:
        made = declarations(hostile.project(dict.fromkeys(hostile.SLOTS, text), tmp_path))
        assert set(skeleton(made)) - set(calm) == set(), what


def skeleton(source: str) -> list[str]:
    """The words and marks of a TypeScript text that are neither comment, nor string, nor a name with a text in it."""
    bare = re.sub(r'/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|//[^\n]*', " ", source, flags=re.DOTALL)
    known = set(
        re.findall(r"[A-Za-z]+", (HERE.parents[1] / "generator/motia_generator/typescript/library.d.ts").read_text())
    )
    words = re.findall(r"[A-Za-z_$][\w$]*|[^\sA-Za-z_$]", bare)
    return ["NAME" if w[0] in "_$" or (w[0].isalpha() and w not in known) else w for w in words if not w.isdigit()]


# Schemas, values that fit (also for TypeScript), and values that TypeScript refuses. Values are TypeScript source.
SCHEMAS: list[tuple[Any, list[str], list[str]]] = [
    (True, ["1", "null", "{ a: 1 }"], []),
    (False, [], ["1", "null"]),
    ({"type": "string", "minLength": 1, "format": "email"}, ['"a"'], ["1", "null"]),
    ({"type": "integer"}, ["1"], ['"a"']),
    ({"type": ["string", "null"]}, ['"a"', "null"], ["1", "undefined"]),
    ({"const": "a"}, ['"a"'], ['"b"']),
    ({"const": {"a": [1, None]}}, ["{ a: [1, null] }"], ["{ a: [2, null] }", "{ a: [1] }"]),
    ({"enum": ["a", 1, None, True]}, ['"a"', "1", "null", "true"], ["2", "false"]),
    ({"type": "string", "enum": ["a", 1]}, ['"a"'], ["1"]),
    ({"enum": [1e400, -2.5, 2**60, 1.0]}, ["7", "-2.5"], ['"a"']),
    ({"type": "object"}, ["{}", "{ a: 1 }"], ["1", "[1].length"]),
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, ['{ a: "x" }', '{ a: "x", b: 1 }'], ["{}", "{ a: 1 }", '{ a: "x", c: 1 }']),
    ({"type": "object", "required": ["a"]}, ["{ a: 1 }"], ["{}"]),
    ({"type": "object", "properties": {"a": {"type": "string", "default": "x"}, "b": {"type": "string"}}}, ['{ a: "y" }'], ["{}", '{ b: "x" }']),
    ({"type": "object", "properties": {"a": {"type": "string", "default": 1}}}, ["{}"], ["{ a: 1 }"]),
    ({"type": "object", "properties": {"a": {"type": "string", "default": "x"}, "b": {}}, "dependentRequired": {"a": ["b"]}}, ["{}"], ["{ a: 1 }"]),
    ({"type": "object", "properties": {"in": {"type": "object", "properties": {"a": {"type": "string", "default": "x"}}}}}, ["{ in: {} }"], ["{ in: 1 }"]),
    ({"type": "object", "additionalProperties": False}, ["{}"], ["{ a: 1 }"]),
    ({"type": "object", "additionalProperties": {"type": "number"}}, ["{}", "{ a: 1 }"], ['{ a: "x" }']),
    ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "number"}}, ['{ a: "x", b: 1 }'], ["{ b: true }"]),
    ({"type": "object", "properties": {"a": False}}, ["{}"], ["{ a: 1 }"]),
    ({"type": "object", "patternProperties": {"^x": {"type": "number"}}, "additionalProperties": False}, ["{ x: 1 }"], ['{ x: "a" }']),
    ({"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "number"}}, ["{ a: 1 }"], ["{ c: 1 }", '{ a: "x" }']),
    ({"type": "object", "properties": {"__proto__": {"type": "string"}, "x-y": {"type": "number"}, "class": {}}}, ['{ "x-y": 1, class: 2 }'], ['{ "x-y": "a" }']),
    ({"type": "array"}, ["[]", '[1, "a"]'], ["1"]),
    ({"type": "array", "items": {"type": ["string", "null"]}, "minItems": 1}, ['["a", null]'], ["[1]"]),
    ({"type": "array", "items": False}, ["[]"], ["[1]"]),
    ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2, "items": False}, ['["a", 1]'], ['["a"]', '["a", 1, 2]', '[1, "a"]']),
    ({"type": "array", "prefixItems": [{"type": "string"}, {"type": ["number", "null"]}], "minItems": 1, "items": {"type": "boolean"}}, ['["a"]', '["a", null, true]'], ["[]", '["a", 1, 2]']),
    ({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, ['"a"', '["a"]'], ["1", "[1]"]),
    ({"oneOf": [{"type": "object", "required": ["k"], "properties": {"k": {"const": "a"}, "n": {"type": "number"}}}, {"type": "object", "required": ["k"], "properties": {"k": {"const": "b"}}}]}, ['{ k: "a", n: 1 }', '{ k: "b" }'], ['{ k: "c" }', '{ k: "b", n: 1 }']),
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, ['{ a: "x" }', '{ b: "x" }'], ["{}", "{ a: 1 }"]),
    ({"allOf": [{"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}, {"type": "object", "properties": {"b": {"type": "number"}}}]}, ['{ a: "x", b: 1 }'], ["{ b: 1 }", '{ a: "x", b: "y" }']),
    ({"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "object"}, True]}, ['{ a: "x" }'], ["{ a: 1 }"]),
    ({"type": "string", "allOf": [{"minLength": 1}], "not": {"const": "x"}, "if": {"const": "y"}, "then": False}, ['"x"'], ["1"]),
    ({"required": ["a"]}, ["{ a: 1 }", "5"], []),
    ({"$ref": "#/$defs/Tree"}, ["{ value: 1, children: [{ value: 2 }] }"], ["{ value: 1, children: [{}] }"]),
    ({"$ref": "#/$defs/Json"}, ['[1, { a: ["x", null] }]'], ["undefined", "[undefined]"]),
    ({"$ref": "#/$defs/Loop"}, ["1", '"a"'], []),
    ({"$ref": "#/$defs/Ping"}, ["1"], []),
    ({"$ref": "#/$defs/Tree", "required": ["name"], "properties": {"name": {"type": "string"}}}, ['{ value: 1, name: "x" }'], ["{ value: 1 }", '{ name: "x" }']),
    ({"type": ["object", "array", "string"], "properties": {"a": {"type": "number"}}, "items": {"type": "number"}}, ["{ a: 1 }", "[1]", '"a"'], ["null", '["x"]', '{ a: "x" }']),
    ({"type": "object", "properties": {"a": {"type": "number"}}, "allOf": [{"anyOf": [{"properties": {f"p{n}": {"type": "number"}}, "required": [f"p{n}"]}, {"properties": {f"q{n}": {"type": "number"}}, "required": [f"q{n}"]}]} for n in range(30)]}, ["{ a: 1, " + ", ".join(f"p{n}: 1" for n in range(30)) + " }"], ['{ a: "x" }']),
]  # fmt: skip
DEFS: dict[str, Any] = {
    "Tree": {"type": "object", "required": ["value"], "properties": {"value": {"type": "number"}, "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}},
    "Json": {"anyOf": [{"type": ["string", "number", "boolean", "null"]}, {"type": "array", "items": {"$ref": "#/$defs/Json"}}, {"type": "object", "additionalProperties": {"$ref": "#/$defs/Json"}}]},
    "Loop": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Loop"}]},
    "Ping": {"allOf": [{"$ref": "#/$defs/Pong"}]},
    "Pong": {"oneOf": [{"type": "number"}, {"$ref": "#/$defs/Ping"}]},
    "Map": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Map"}},
}  # fmt: skip


def schemas_project(root: Path) -> Project:
    from motia_spec.model import Schema, Topic

    topics = {
        f"t{n}": Topic(name=f"t{n}", schema=Schema(id=f"topic:t{n}", value=s)) for n, (s, _, _) in enumerate(SCHEMAS)
    }
    from motia_spec.model import EventStep, Subscription

    steps = {
        name: EventStep(
            name=name, handler=Handler(path="steps/a.ts"), subscribes=(Subscription(kind="topic", name=name),)
        )
        for name in topics
    }
    return Project(root=root, files=(), name="schemas", defs=DEFS, topics=topics, steps=dict(steps))


def values() -> str:
    """A line for each value: `type v3 = ...` is what step t3 gets. Lines of values that don't fit end with "wrong"."""
    lines = ['import type { Handlers } from "motia";']
    for n, (_, fits, refused) in enumerate(SCHEMAS):
        lines.append(f'type v{n} = Parameters<Handlers["t{n}"]>[0];')
        lines += [f"export const f{n}_{i}: v{n} = {value};" for i, value in enumerate(fits)]
        lines += [f"export const r{n}_{i}: v{n} = {value}; // wrong" for i, value in enumerate(refused)]
    return "\n".join(lines) + "\n"


def test_schemas_admit_and_refuse_what_they_should(findings: dict[str, list[Finding]]) -> None:
    lines = values().splitlines()
    wrong = {line for number, line in enumerate(lines, 1) if line.endswith("// wrong")}
    found = findings["schemas"]
    assert [f for f in found if f[0] != "values.ts"] == []
    assert {lines[number - 1] for _, number, _, _ in found} == wrong


def test_an_app_without_such_handlers_has_no_such_types(tmp_path: Path) -> None:
    (tmp_path / "motia.yaml").write_text("steps:\n  A: { type: api, method: GET, path: /a, handler: steps/a.py }\n")
    python = compile_project(tmp_path, handlers=False).require()
    assert not [path for path in (*generate(python), *stubs(python)) if not path.endswith((".py", ".typed"))]
    script = in_script(python, ".ts")
    assert "motia_types/types.d.ts" in generate(script)
    assert list(stubs(script)) == ["steps/a.ts", "tsconfig.json"]
    assert list(stubs(in_script(python, ".js"))) == ["steps/a.js"]


def test_stale_types_are_removed_and_foreign_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "motia.yaml").write_text("steps:\n  A: { type: api, method: GET, path: /a, handler: steps/a.ts }\n")
    project = compile_project(tmp_path, handlers=False).require()
    writer.write(tmp_path, generate(project), {})
    (tmp_path / "motia_types" / "own.d.ts").write_text("export {};\n")
    changes = writer.write(tmp_path, generate(in_script(project, ".py")), {})
    assert changes.removed == ("motia_types/types.d.ts",)
    assert (tmp_path / "motia_types" / "own.d.ts").exists()
