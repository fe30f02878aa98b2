"""From the original's configs to the sections of a motia.yaml: what each key becomes, and what is said of those that become nothing."""

from __future__ import annotations

import re
from typing import Any

from motia_generator.importing.values import Code, Note, Unknown, Value, first_unknown, is_plain, json_schema
from motia_spec.node import JSON

LONGEST = "15m"  # of a handler in the original; it has no timeout of its own
ACCESS = "steps/stream_access.py"

_KNOWN = {
    "api": {"path", "method", "bodySchema", "responseSchema", "queryParams", "middleware", "emits"},
    "event": {"subscribes", "input", "emits", "infrastructure"},
    "cron": {"cron", "emits"},
    "noop": {"subscribes"},
}
_COMMON = {"type", "name", "description", "flows", "virtualEmits", "virtualSubscribes"}
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
_FOLDED = {"includeFiles": "the files are there for the handler as any others are", "icon": "the drawing has no icons"}


class Steps:
    """Puts the spec together, step by step. `notes` gets what is left out. Lives as long as one import."""

    def __init__(self, notes: list[Note]) -> None:
        self._notes = notes
        self.steps: dict[str, dict[str, Any]] = {}
        self.inputs: dict[str, list[JSON]] = {}  # topic -> schemas of those who subscribe, each once
        self.topics: dict[str, dict[str, Any]] = {}
        self.flows: dict[str, dict[str, Any]] = {}
        self.streams: dict[str, dict[str, Any]] = {}

    def tell(self, file: str, line: int, text: str) -> None:
        self._notes.append(Note(file, line, text))

    def add(self, file: str, config: Value, line: int, *, has_handler: bool, emitting: bool) -> None:
        """One step. `has_handler`: its file exports one. `emitting`: the word stands in the file."""
        if not isinstance(config, dict):
            why = config.why if isinstance(config, Unknown) else "it is no object"
            self.tell(file, line, f"the step is left out: its config is not read ({why})")
            return
        if "triggers" in config:
            self.tell(
                file,
                line,
                "the step is left out: `triggers` is the form of version 1.0, whose handlers get another context",
            )
            return
        kind, name = config.get("type"), config.get("name")
        if not isinstance(kind, str) or kind not in _KNOWN or not isinstance(name, str) or not name:
            self.tell(
                file,
                line,
                f"the step is left out: its type is {kind!r} and its name {name!r}"
                if is_plain(kind) and is_plain(name)
                else "the step is left out: its type or its name is not read",
            )
            return
        if name in self.steps:
            self.tell(file, line, f"the step is left out: another one is called {name!r}, too")
            return
        self._unread(file, line, kind, config)
        step: dict[str, Any] = {"type": kind}
        if isinstance(config.get("description"), str):
            step["description"] = plain_text(config["description"])
        if kind != "noop":
            if not has_handler:
                self.tell(file, line, f"{name}: the file exports no `handler`; `motia check` will miss it")
            step["handler"] = file
        getattr(self, f"_{kind}")(file, line, config, step)
        emits = self._emits(file, line, config, "emits")
        if emits:
            step["emits"] = emits
        elif emitting and config.get("emits") == []:
            self.tell(file, line, f"{name}: `emits: []` let it emit any topic; here a step emits what it lists")
        for key in ("virtualEmits", "virtualSubscribes"):
            values = self._emits(file, line, config, key)
            if values:
                step[key] = values
        flows = self._texts(file, line, config, "flows")
        if flows:
            step["flows"] = [plain_text(flow) for flow in flows]
        self.steps[name] = step

    def _unread(self, file: str, line: int, kind: str, config: dict[str, Value]) -> None:
        for key, value in config.items():
            if key not in _COMMON | _KNOWN[kind]:
                if value is not None:
                    self.tell(file, line, f"`{key}` is not carried over{': ' + _FOLDED[key] if key in _FOLDED else ''}")
            elif isinstance(value, Unknown) and key not in ("bodySchema", "input"):
                self.tell(value.file or file, value.line, f"`{key}` is not read: it is {value.why}")

    # -- kinds ---------------------------------------------------------------------------------------------------------

    def _api(self, file: str, line: int, config: dict[str, Value], step: dict[str, Any]) -> None:
        method, path = config.get("method"), config.get("path")
        step["method"] = method.upper() if isinstance(method, str) and method.upper() in _METHODS else "GET"
        if step["method"] != (method.upper() if isinstance(method, str) else method):
            self.tell(file, line, f"`method` is not one of {', '.join(_METHODS)}: it has become GET")
        step["path"] = self._path(file, line, path)
        schema = self._schema(file, line, config, "bodySchema")
        if schema is not None:
            step["body"] = schema
        params = config.get("queryParams")
        if isinstance(params, list):
            rows = {
                p["name"]: {"description": p["description"]} if isinstance(p.get("description"), str) else {}
                for p in params
                if isinstance(p, dict) and isinstance(p.get("name"), str)
            }
            if rows:
                step["query"] = {"type": "object", "properties": rows}
        responses = config.get("responseSchema")
        if isinstance(responses, dict):
            found = {}
            for status, value in responses.items():
                schema = self._schema(file, line, {f"responseSchema.{status}": value}, f"responseSchema.{status}")
                if status.isdigit() and 200 <= int(status) <= 599:
                    found[int(status)] = {} if schema is None else schema
                else:
                    self.tell(file, line, f"`responseSchema` of status {status!r} is not carried over")
            if found:
                step["responses"] = found
        functions = config.get("middleware")
        if isinstance(functions, list):
            named = [self._function(file, line, f, "middleware") for f in functions]
            if any(named):
                step["middleware"] = [n for n in named if n]

    def _path(self, file: str, line: int, path: Value) -> str:
        if not isinstance(path, str):
            return "/"
        found = path if path.startswith("/") else f"/{path}"
        if found.endswith("/*"):
            found = found[:-1] + "{rest:path}"
        if re.search(r"[*?()+]", found):
            self.tell(file, line, f"the path {path!r} is a pattern of Express: write what it means")
        return plain_text(found)

    def _event(self, file: str, line: int, config: dict[str, Value], step: dict[str, Any]) -> None:
        step["subscribes"] = self._texts(file, line, config, "subscribes")
        schema = self._schema(file, line, config, "input")
        for topic in step["subscribes"]:
            self.topics.setdefault(topic, {})
            if schema is not None and schema not in self.inputs.setdefault(topic, []):
                self.inputs[topic].append(schema)
        given = config.get("infrastructure")
        handler, queue = (given.get(key, {}) if isinstance(given, dict) else {} for key in ("handler", "queue"))
        for key, value in {**(handler if isinstance(handler, dict) else {})}.items():
            if key == "timeout" and isinstance(value, int | float):
                step["timeout"] = f"{value:g}s"
            else:
                self.tell(file, line, f"`infrastructure.handler.{key}` is not carried over")
        for key, value in {**(queue if isinstance(queue, dict) else {})}.items():
            if key == "maxRetries" and isinstance(value, int):
                step["retry"] = {"attempts": value + 1, "backoff": "fixed", "delay": "2s"}
            elif key == "delaySeconds" and isinstance(value, int | float):
                if value:
                    step["delay"] = f"{value:g}s"
            elif key == "concurrency" and isinstance(value, int):
                step["concurrency"] = {"limit": value}
            elif key == "type" and value == "fifo":
                self.tell(
                    file,
                    line,
                    "a fifo queue is not carried over: write `orderBy: data.KEY` with what `messageGroupId` was made from",
                )
            elif key not in ("type", "visibilityTimeout"):
                self.tell(file, line, f"`infrastructure.queue.{key}` is not carried over")

    def _cron(self, file: str, line: int, config: dict[str, Value], step: dict[str, Any]) -> None:
        cron = config.get("cron")
        step["cron"] = plain_text(cron) if isinstance(cron, str) else "@daily"
        if not isinstance(cron, str):
            self.tell(file, line, "`cron` has become @daily")

    def _noop(self, file: str, line: int, config: dict[str, Value], step: dict[str, Any]) -> None:
        topics = self._texts(file, line, config, "subscribes")
        if topics:
            step["virtualSubscribes"] = topics

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _emits(self, file: str, line: int, config: dict[str, Value], key: str) -> list[Any]:
        given = config.get(key)
        found: list[Any] = []
        for item in given if isinstance(given, list) else []:
            topic = item.get("topic") if isinstance(item, dict) else item
            if not isinstance(topic, str):
                unknown = first_unknown(item)
                self.tell(
                    file,
                    unknown.line if unknown else line,
                    f"a topic of `{key}` is not read: {unknown.why if unknown else repr(item)}",
                )
                continue
            if key == "emits":
                self.topics.setdefault(topic, {})
            more = (
                {
                    k: plain_text(v) if isinstance(v, str) else v
                    for k, v in item.items()
                    if k in ("label", "conditional") and is_plain(v)
                }
                if isinstance(item, dict)
                else {}
            )
            found.append({"topic": topic, **more} if more and key != "virtualSubscribes" else topic)
        return found

    def _texts(self, file: str, line: int, config: dict[str, Value], key: str) -> list[str]:
        given = config.get(key)
        values = given if isinstance(given, list) else []
        for value in values:
            if not isinstance(value, str):
                unknown = first_unknown(value)
                self.tell(
                    file,
                    unknown.line if unknown else line,
                    f"a value of `{key}` is not read: {unknown.why if unknown else repr(value)}",
                )
        return [value for value in values if isinstance(value, str)]

    def _schema(self, file: str, line: int, config: dict[str, Value], key: str) -> JSON | None:
        """The schema under a key, with a note when it can't be read; None when there is none."""
        value = config.get(key)
        if value is None:
            return None
        schema = json_schema(value)
        if isinstance(schema, Unknown):
            self.tell(
                schema.file or file,
                schema.line if schema.line > 1 else line,
                f"the schema `{key}` is left out: {schema.why} is not read",
            )
            return None
        return _in_our_form(schema)

    def _function(self, file: str, line: int, value: Value, what: str) -> str | None:
        """FILE:FUNCTION of a function that its file exports."""
        if isinstance(value, Code) and value.name:
            return f"{value.file}:{value.name}"
        where = value.line if isinstance(value, Code | Unknown) else line
        why = (
            "it has no name that another file could use"
            if isinstance(value, Code)
            else getattr(value, "why", "it is no function")
        )
        self.tell(file, where, f"a function of `{what}` is left out: {why}")
        return None

    def stream(self, file: str, config: Value, line: int) -> None:
        """One stream."""
        name = config.get("name") if isinstance(config, dict) else None
        if not isinstance(config, dict) or not isinstance(name, str) or not name:
            self.tell(file, line, "the stream is left out: its config is not read")
            return
        found: dict[str, Any] = {}
        schema = self._schema(file, line, config, "schema")
        if schema is not None:
            found["schema"] = schema
        storage = config.get("baseConfig")
        if isinstance(storage, dict) and storage.get("storageType", "default") != "default":
            self.tell(file, line, f"the stream {name!r} keeps its items here, not in a storage of its own")
        if config.get("canAccess") is not None:
            function = re.sub(r"\W+", "_", f"can_see_{name}", flags=re.ASCII)
            found["access"] = f"{ACCESS}:{function}"
            self.tell(
                file,
                line,
                f"`canAccess` is not carried over: `motia gen` writes {ACCESS}, whose {function} lets nobody in until you write it",
            )
        for key in config:
            if key not in ("name", "schema", "baseConfig", "canAccess"):
                self.tell(file, line, f"`{key}` of the stream {name!r} is not carried over")
        self.streams[name] = found

    def topic_schemas(self) -> None:
        """Give each topic the schema of those who subscribe to it. Where they differ it takes what any of them takes."""
        for topic, schemas in self.inputs.items():
            if schemas:
                self.topics[topic]["schema"] = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
            if len(schemas) > 1:
                self.tell(
                    "",
                    0,
                    f"topic {topic!r}: its {len(schemas)} subscribers describe different payloads; it takes what any of them takes",
                )


def plain_text(text: str) -> str:
    """A text as a value of motia.yaml, where `$` begins a variable."""
    return text.replace("$", "$$")


def _in_our_form(schema: JSON) -> JSON:
    """A schema without what stands for the outside: `$schema`, `$id`."""
    if isinstance(schema, dict):
        return {k: v for k, v in schema.items() if k not in ("$schema", "$id")}
    return schema
