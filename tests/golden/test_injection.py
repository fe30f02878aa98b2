"""Hostile texts stay data: the code generated for them is the code generated for a harmless text, but for constants and names."""

from __future__ import annotations

import importlib
import keyword
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from motia_generator import generate, stubs
from motia_generator.names import class_name, field_name
from motia_generator.shapes import is_wire_name
from motia_runtime.types import load_types
from motia_spec.model import (
    ApiStep,
    CronStep,
    Emit,
    EventStep,
    Handler,
    Project,
    Schema,
    StateGroup,
    Stream,
    Subscription,
    Topic,
)
from support.code_shape import shape

# The codegen kinds of the corpus of hostile inputs, and what other generators fell for. CANARY is a path that must not come to be.
PAYLOADS = {
    "closes the docstring": '"""\nimport os; os.system("touch CANARY")\n"""',
    "splits the triple quote": 'a""\\""" + __import__("os").system("touch CANARY") + """',
    "carriage return ends a comment": 'x\r__import__("os").system("touch CANARY")',
    "newline ends a comment": '# x\n__import__("os").system("touch CANARY")',
    "other line ends": 'x\x0b\x0c\x1c\x85\u2028\u2029__import__("os").system("touch CANARY")',
    "ends a string": "a'); __import__('os').system('touch CANARY'); ('",
    "ends a double-quoted string": 'a"); __import__("os").system("touch CANARY"); ("',
    "ends a bracket": '"]]; open("CANARY", "w"); [["',
    "is code": '__import__("os").system("touch CANARY")',
    "jinja": '{{ cycler.__init__.__globals__.os.popen("touch CANARY").read() }}{% raw %}',
    "format": "{0.__class__.__mro__}",
    "f-string": "{open('CANARY', 'w')}",
    "percent": "%s%(x)s%n",
    "odd name": "1-a b😀",
    "self": "self",
    "cls": "cls",
    "a directive": "type: ignore # noqa",
    "pyright directive": "pyright: basic, strict=false",
    "encoding": "-*- coding: utf-7 -*-",
    "template literal": '${require("child_process").execSync("touch CANARY")}`',
    "triple slash": '/// <reference path="/etc/passwd" />',
    "unicode escape": "\\u0061lert",
    "ends with a backslash": "d\\",
    "ends with many": "d\\\\\\",
    "named escape": "\\N{LATIN SMALL LETTER A}\\x41",
    "dot escapes": "a\\Nb\\Gc",
    "url": "javascript:alert(1)",
    "script": "</text><script>alert(1)</script>",
    "mermaid": 'A"]\nclick A call alert(1)\nB["',
    "mermaid image": 'A@{ img: "http://127.0.0.1:9/x.png" }',
    "markdown": "[x](javascript:alert(1)) ![](http://127.0.0.1:9/leak)",
    "shell": "$(touch CANARY)`id`",
    "log": "a\n2026-01-01 INFO forged line",
    "null": "a\x00b",
    "right to left": "a\u202eb\u2066c",
    "only quotes": '"""',
    "only a quote": '"',
    "only space": " \t ",
    "nothing": "",
    "dunder": "__class__",
    "init": "__init__",
    "struct fields": "__struct_fields__",
    "mro": "mro",
    "keyword": "import",
    "soft keyword": "match",
    "prototype": "__proto__",
    "compatibility letters": "ﬁＡ",
    "path": "../../etc/cron.d/x",
    "absolute path": "/etc/cron.d/x",
    "very long": "x" * 5_000,
}
SLOTS = (
    *("project", "description", "title", "enum", "const", "default", "pattern", "property", "tag", "definition"),
    *("schema name", "step", "topic", "state", "stream", "cron", "comment"),
)


def project(texts: Mapping[str, str], root: Path) -> Project:
    """A project with given texts at places where a spec takes any, by slot; elsewhere with harmless ones."""

    def at(name: str, harmless: str = "benign") -> str:
        return texts.get(name, harmless)

    a = {
        "type": "object",
        "title": at("title"),
        "description": at("description"),
        "$comment": at("comment"),
        "required": ["c"],
        "properties": {
            "c": {"enum": [at("enum"), "x"]},
            "k": {"const": at("const")},
            "d": {"type": "string", "default": at("default")},
            "e": {"type": "array", "items": {"type": "string"}, "default": [at("default")]},
            "p": {"type": "string", "pattern": at("pattern")},
            at("property"): {"type": "integer", "description": at("description")},
        },
    }
    tagged = {
        "oneOf": [
            {"type": "object", "required": ["kind"], "properties": {"kind": {"const": at("tag")}}},
            {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "other"}}},
        ]
    }
    key = at("definition", "Key")
    ref = {"$ref": "#/$defs/" + key.replace("~", "~0").replace("/", "~1")}
    topic, state, stream, step = at("topic"), at("state"), at("stream"), at("step")
    return Project(
        root=root,
        files=(),
        name=at("project"),
        description=at("description"),
        defs={key: a, "Tagged": tagged},
        schemas={at("schema name"): Schema(id="def:1", value=ref), "T": Schema(id="def:2", value={"$ref": "#/$defs/Tagged"})},
        topics={topic: Topic(name=topic, schema=Schema(id=f"topic:{topic}", value=ref), description=at("description"))},
        state={state: StateGroup(name=state, schema=Schema(id=f"state:{state}", value=ref))},
        streams={stream: Stream(name=stream, schema=Schema(id=f"stream:{stream}", value=ref))},
        steps={
            step: ApiStep(
                name=step,
                description=at("description"),
                handler=Handler(path="steps/a.py"),
                methods=("POST",),
                path="/a/{id}",
                body=Schema(id=f"step:{step}:body", value=ref),
                query=Schema(id=f"step:{step}:query", value=a),
                responses={200: Schema(id=f"step:{step}:response:200", value=ref)},
                emits=(Emit(topic=topic),),
                uses_state=(state,),
                uses_streams=(stream,),
            ),
            "Second": EventStep(name="Second", handler=Handler(path="steps/b.py"), subscribes=(Subscription(kind="topic", name=topic), Subscription(kind="state", name=state))),
            "Third": CronStep(name="Third", handler=Handler(path="steps/c.py"), cron=at("cron"), timezone=at("cron"), uses_state=(state, "other")),
        },
    )  # fmt: skip


def twin(slot: str, text: str) -> str:
    """A harmless text that gives code of the same shape: a name that needs renaming, or can't be used, where the hostile one does."""
    first = "a" if text < "other" else "x"  # groups are sorted
    if slot in ("state", "stream"):
        plain = text.isidentifier() and text.isascii() and not text.startswith("_") and not keyword.iskeyword(text)
        return f"{first}z" if plain else f"{first}-z"
    if slot in ("property", "tag") and not is_wire_name(text):
        return 'a"b'
    if slot == "property" and field_name(text) != text:
        return "y" * 100 if re.fullmatch(r"[a-z][a-z0-9_]*", text) and not keyword.iskeyword(text) else "x-y"
    if slot == "pattern":
        try:
            re.compile(text)
        except re.error:
            return "("
    if slot == "schema name":
        return "Benign" if class_name(text) != text else "Other"
    return "benign"


def only(files: dict[str, str], paths: set[str]) -> dict[str, str]:
    return {path: text for path, text in files.items() if path in paths}


def difference(slots: Sequence[str], text: str, root: Path) -> str:
    """How the code differs from harmless code when a text is in all of these slots; empty when it does not."""
    hostile = project(dict.fromkeys(slots, text), root)
    harmless = project({slot: twin(slot, text) for slot in slots}, root)
    generated, benign = generate(hostile), generate(harmless)
    if not all(path.isascii() and ".." not in path and path.startswith("motia_types/") for path in generated):
        return f"files {sorted(generated)}"
    changed = {path for path in {*generated, *benign} if generated.get(path) != benign.get(path)}
    if shape(only(generated, changed)) != shape(only(benign, changed)):
        return "the shape of the package"
    if shape(stubs(hostile)) != shape(stubs(harmless)):
        return "the shape of the stubs"
    return ""


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of patterns with [[
@pytest.mark.parametrize("what", PAYLOADS)
def test_hostile_texts_give_the_code_of_harmless_ones(what: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    text = PAYLOADS[what].replace("CANARY", str(canary))
    if difference(SLOTS, text, tmp_path):
        found = {slot: difference([slot], text, tmp_path) for slot in SLOTS}
        alone = {slot: how for slot, how in found.items() if how}
        pytest.fail(f"differs: {alone or 'only when the text is in several slots'}")
    hostile = project(dict.fromkeys(SLOTS, text), tmp_path)
    types = load_types(hostile, generate)
    for schema in hostile.all_schemas():
        types.codec(schema)
    for path in generate(hostile):
        if path.endswith(".py"):
            importlib.import_module(path.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
    for path, source in stubs(hostile).items():
        compile(source, path, "exec")
    assert not canary.exists()


@pytest.mark.parametrize("slot", SLOTS)
def test_a_text_of_every_slot_is_compared(slot: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a text of this slot to become code, the comparison would see it."""
    made, marker = generate, "leaked-text"

    def leaky(project: Project) -> dict[str, str]:
        found = made(project)
        text = "a = open" if marker in repr(project) else "a = 1"
        return {**found, "motia_types/events.py": found["motia_types/events.py"] + f"{text}\n"}

    monkeypatch.setitem(globals(), "generate", leaky)
    assert difference([slot], marker, tmp_path)


@pytest.mark.parametrize("word", ["customTypePath", "customBasePath", "x-python-type", "tsType", "$dynamicRef"])
def test_words_of_other_generators_mean_nothing(word: str, tmp_path: Path) -> None:
    made = Project(
        root=tmp_path,
        files=(),
        name="x",
        defs={
            "A": {
                "type": "object",
                "properties": {"a": {"type": "string", word: "os.PathLike"}},
                word: "os.PathLike",
            }
        },
    )
    assert "PathLike" not in "".join(generate(made).values())
