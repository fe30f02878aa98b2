"""Where types come from: the files of `motia gen` when they are this spec's, else memory."""

from __future__ import annotations

import gc
import importlib
import logging
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from json_schemas import project

from motia_generator import generate, writer
from motia_runtime.types import load_types
from motia_spec.model import Project
from motia_spec.stamp import REGISTRY, stamp

ORDER = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    path, modules = list(sys.meta_path), {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "motia_types"}
    yield
    for name in [n for n in sys.modules if n.partition(".")[0] == "motia_types"]:
        del sys.modules[name]
    sys.modules.update(modules)
    sys.meta_path[:] = path


@pytest.fixture
def made(tmp_path: Path) -> Project:
    """A project whose files are current."""
    found = stamped(project({"$ref": "#/$defs/Order"}, {"Order": ORDER}, tmp_path), "1")
    writer.write(tmp_path, generate(found), {})
    return found


def stamped(found: Project, fingerprint: str, **changed: Any) -> Project:
    return msgspec.structs.replace(found, fingerprint=fingerprint, **changed)


def never(_: Project) -> dict[str, str]:
    raise AssertionError("the files on disk are current")


def loaded_from() -> str:
    return str(importlib.import_module("motia_types.schemas").__file__)


def test_current_files_are_used(made: Project) -> None:
    types = load_types(made, never)
    assert loaded_from() == str(made.root / "motia_types/schemas.py")
    import motia_types

    order = types.codec(made.topics["t"].schema).decode(b'{"id": "a"}')
    assert isinstance(order, motia_types.Order)


def test_files_of_another_spec_are_not_used(made: Project) -> None:
    ORDER_2 = {**ORDER, "required": ["id", "more"]}
    other = stamped(made, "2", defs={"Order": ORDER_2})
    types = load_types(other, generate)
    with pytest.raises(ValueError, match="more"):
        types.codec(other.topics["t"].schema).decode(b'{"id": "a"}')
    assert (made.root / REGISTRY).read_text() == generate(made)[REGISTRY]  # nothing is written


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("motia_types/schemas.py", "class Order(:\n"),
        ("motia_types/schemas.py", "import no_such_module\n"),
        ("motia_types/schemas.py", None),
        ("motia_types/__init__.py", "raise RuntimeError('broken')\n"),
        (REGISTRY, 'FINGERPRINT = "STAMP"\n'),
        (REGISTRY, 'FINGERPRINT = "STAMP"\nTYPES = GAPS = 1\n'),
    ],
)
def test_files_that_are_broken_are_made_in_memory_and_it_is_said(
    made: Project, path: str, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    if text is None:
        (made.root / path).unlink()
    else:
        (made.root / path).write_text(text.replace("STAMP", stamp(made)))
    with caplog.at_level(logging.WARNING, "motia.types"):
        types = load_types(made, generate)
    assert "run `motia gen`" in caplog.text
    assert types.codec(made.topics["t"].schema).decode(b'{"id": "a"}').id == "a"
    assert "in memory" in importlib.import_module("motia_types").__spec__.origin  # type: ignore[union-attr,operator]  # set


def test_a_generator_that_fails_leaves_what_was_loaded(made: Project) -> None:
    load_types(made, never)
    before, path = sys.modules["motia_types.schemas"], list(sys.meta_path)
    with pytest.raises(SyntaxError):
        load_types(stamped(made, "2"), lambda p: {**generate(p), "motia_types/schemas.py": "class Order(:\n"})
    assert sys.modules["motia_types.schemas"] is before
    assert sys.meta_path == path


def test_reloads_do_not_keep_old_classes(made: Project) -> None:
    """Classes of old versions go when nothing holds them. msgspec 0.22 itself keeps an annotations dict of each."""
    types = load_types(made, generate)
    order = types.codec(made.topics["t"].schema).decode(b'{"id": "a"}')
    assert order["id"] == "a"
    old = weakref.ref(type(order))
    del types, order
    load_types(stamped(made, "2"), generate)
    gc.collect()
    assert old() is None


def test_the_stamp_is_written_last(made: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of `motia gen` that dies half-way leaves files that are taken for stale."""
    done: list[str] = []
    real = writer._replace

    def replace(path: Path, text: str) -> None:
        done.append(path.name)
        real(path, text)

    monkeypatch.setattr(writer, "_replace", replace)
    writer.write(made.root, generate(stamped(made, "3", defs={"Order": {**ORDER, "required": []}})), {})
    assert done[-1] == "_registry.py"
    assert "schemas.py" in done[:-1]


def test_the_tag_of_a_member_can_be_read_like_any_property(tmp_path: Path) -> None:
    members = {
        name: {
            "type": "object",
            "required": ["kind"],
            "properties": {"n": {"type": "integer"}, "kind": {"const": name}},
        }
        for name in ("cat", "dog")
    }
    made = project({"oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}]}, members, tmp_path)
    codec = load_types(made, generate).codec(made.topics["t"].schema)
    cat = codec.decode(b'{"kind": "cat", "n": 1}')
    assert (cat["kind"], cat.kind, "kind" in cat, cat.get("kind")) == ("cat", "cat", True, "cat")
    assert dict(cat) == msgspec.json.decode(codec.encode(cat)) == {"kind": "cat", "n": 1}
    assert list(codec.decode(b'{"kind": "dog"}').keys()) == ["kind"]
