"""A project of the original: which of its files are steps and streams, and the motia.yaml that they become."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from motia_generator.importing.configs import ACCESS, LONGEST, Steps
from motia_generator.importing.python import Pythons
from motia_generator.importing.scripts import Scripts
from motia_generator.importing.values import Note, Value
from motia_spec.names import slug

FOLDERS = ("steps", "src")
MOST_FILES = 20_000

_STEP = re.compile(r".+(?:\.step\.(?:ts|js|py|rb|tsx|jsx)|_step\.(?:ts|js|py|rb))")
_STREAM = re.compile(r".+[._]stream\.(?:ts|js|py)")
_SKIPPED = frozenset({"node_modules", "python_modules", ".motia", "dist", "__pycache__", ".venv", "venv", ".git"})
_APP_KEYS = {
    "plugins": "plugins are not carried over",
    "adapters": "state, streams, events and schedules are on NATS here",
    "redis": "there is no Redis here",
    "app": "the hook of Express is not carried over",
}


class NotAProject(Exception):
    """The folder can't be imported. The message says why."""


class Imported(msgspec.Struct, frozen=True):
    """What a project becomes."""

    text: str  # of motia.yaml
    steps: int
    streams: int
    topics: int
    notes: tuple[Note, ...]  # what is not carried over, by file and line


def read_project(root: Path) -> Imported:
    """Read a project. Nothing of it is run, and nothing is written. Raises `NotAProject` when the folder has no steps."""
    files = _files(root)
    step_files = [f for f in files if _STEP.fullmatch(Path(f).name)]
    stream_files = [f for f in files if _STREAM.fullmatch(Path(f).name)]
    if not step_files:
        raise NotAProject(
            f"{root} has no step of the original: none of *.step.ts, *.step.js, *_step.ts, *_step.js, *_step.py below {' or '.join(FOLDERS)}/"
        )
    notes: list[Note] = []
    scripts = Scripts(root, notes)
    pythons = Pythons(root, notes, scripts.shared)
    steps = Steps(notes)
    for file in step_files:
        _step(root, file, scripts, pythons, steps)
    for file in stream_files:
        config, line, fault = _config(file, scripts, pythons)
        if fault is None:
            steps.stream(file, config, line)
        else:
            notes.append(fault)
    steps.topic_schemas()
    spec = _spec(root, steps, scripts.shared)
    _app_config(root, scripts, spec, steps)
    text = _HEAD + "\n".join(_dump({key: value}) for key, value in spec.items())
    return Imported(text, len(steps.steps), len(steps.streams), len(steps.topics), tuple(sorted(set(notes))))


_HEAD = """\
# Written once by `motia import`; it is yours from here on. `motia check` proves it, `motia gen` writes types for the handlers.
"""


def _files(root: Path) -> list[str]:
    """The files of the folders in which the original looks for steps, in a fixed order. Links are not followed."""
    found = []
    for top in FOLDERS:
        for folder, folders, names in os.walk(root / top):
            folders[:] = sorted(f for f in folders if f not in _SKIPPED and not f.startswith("."))
            for name in sorted(names):
                path = Path(folder, name)
                if not path.is_symlink():
                    found.append(path.relative_to(root).as_posix())
                if len(found) > MOST_FILES:
                    raise NotAProject(
                        f"{root} has more than {MOST_FILES:,} files below {' and '.join(FOLDERS)}/; is it the right folder?"
                    )
    return found


def _config(file: str, scripts: Scripts, pythons: Pythons) -> tuple[Value, int, Note | None]:
    """The `config` of a file and its line, or why there is none."""
    if file.endswith(".py"):
        python = pythons.module(file)
        node = python.values.get("config")
        line = node.lineno if node is not None else 1
        value = None if python.fault else pythons.exported(file, "config")
        fault = python.fault
    else:
        script = scripts.module(file)
        local = script.constants.get(script.exports.get("config", ""))
        line = local.line if local is not None else 1
        value = None if script.fault else scripts.exported(file, "config")
        fault = script.fault
    if fault is None and value is None:
        fault = Note(file, 1, "the file is left out: it exports no `config`")
    return value, line, fault


def _step(root: Path, file: str, scripts: Scripts, pythons: Pythons, steps: Steps) -> None:
    if file.endswith((".rb", ".tsx", ".jsx")):
        what = (
            "steps in Ruby do not run here"
            if file.endswith(".rb")
            else "own nodes of the Workbench are not carried over"
        )
        steps.tell(file, 1, f"the file is left out: {what}")
        return
    value, line, fault = _config(file, scripts, pythons)
    if fault is not None:
        steps.tell(fault.file, fault.line, fault.text)
        return
    has = (
        "handler" in pythons.module(file).functions or "handler" in pythons.module(file).values
        if file.endswith(".py")
        else "handler" in scripts.module(file).exports
    )
    steps.add(file, value, line, has_handler=has, emitting=_emits(root, file))


def _emits(root: Path, file: str) -> bool:
    """Does a file call `emit`, as far as words tell?"""
    return re.search(rb"\bemit\b", (root / file).read_bytes()) is not None


def _spec(root: Path, steps: Steps, shared: dict[str, object]) -> dict[str, Any]:
    name = slug(root.absolute().name)
    spec: dict[str, Any] = {"motia": "1", "name": name, "defaults": {"timeout": LONGEST}}
    used = _referred([steps.steps, steps.topics, steps.streams], shared)
    if used:
        spec["schemas"] = {key: value for key, value in shared.items() if key in used}
    sections = {"topics": steps.topics, "streams": steps.streams, "steps": steps.steps}
    return spec | {key: section for key, section in sections.items() if section}


def _referred(values: Any, shared: dict[str, object]) -> set[str]:
    """The shared schemas that are referred to, by those among them as well."""
    found: set[str] = set()
    todo = [values]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            ref = value.get("$ref")
            name = ref.removeprefix("#/schemas/") if isinstance(ref, str) else ""
            if name in shared and name not in found:
                found.add(name)
                todo.append(shared[name])
            todo += value.values()
        elif isinstance(value, list):
            todo += value
    return found


def _app_config(root: Path, scripts: Scripts, spec: dict[str, Any], steps: Steps) -> None:
    """What motia.config.ts says of the app."""
    file = next((f for f in ("motia.config.ts", "motia.config.js", "motia.config.mjs") if (root / f).is_file()), None)
    if file is None:
        return
    module = scripts.module(file)
    value = scripts.exported(file, "default") if "default" in module.exports else scripts.exported(file, "config")
    if module.fault is not None or not isinstance(value, dict):
        steps.tell(file, module.fault.line if module.fault else 1, "the file is not read")
        return
    local = module.constants.get(module.exports.get("default", ""))
    line = local.line if local is not None else 1
    for key in value:
        if key == "streamAuth":
            spec["server"] = {"streamAuth": f"{ACCESS}:authenticate"}
            steps.tell(
                file,
                line,
                f"`streamAuth` is not carried over: `motia gen` writes {ACCESS}, whose authenticate knows nobody until you write it",
            )
        else:
            steps.tell(file, line, f"`{key}`: {_APP_KEYS.get(key, 'it is not carried over')}")


class _Dumper(yaml.SafeDumper):
    """Short collections in one line, the rest in blocks; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _flow_if_short(dumper: _Dumper, data: dict[str, Any]) -> yaml.Node:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=_short(data))
    return node


def _list_if_short(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=_short(data))


def _short(data: Any) -> bool:
    return len(repr(data)) <= 80 and not (
        isinstance(data, dict) and "type" in data and any(k in data for k in ("handler", "properties"))
    )


_Dumper.add_representer(dict, _flow_if_short)
_Dumper.add_representer(list, _list_if_short)


def _dump(section: dict[str, Any]) -> str:
    [(key, value)] = section.items()
    if isinstance(value, dict) and key not in ("defaults", "server"):
        inner = "".join(f"  {line}\n" for line in "".join(_entry(k, v) for k, v in value.items()).splitlines())
        return f"{key}:\n{inner}"
    return _entry(key, value)


def _entry(key: str, value: Any) -> str:
    """`key: value`, the key's value in as many lines as it needs."""
    text = yaml.dump(
        {key: value}, Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True, default_flow_style=False
    )
    if text.startswith("{"):  # all of it was short
        inner = (
            yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True)
            .rstrip("\n")
            .removesuffix("\n...")
        )
        head = yaml.dump(key, Dumper=_Dumper, allow_unicode=True).splitlines()[0]
        return f"{head}: {inner}\n"
    return text
