"""From a tree that fits the spec's schema to a Project: defaults applied, names looked up, schemas made self-contained."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import msgspec

from motia_spec import fingerprint, flows, names, wiring
from motia_spec.diagnostics import Diagnostic
from motia_spec.handlers import Handlers
from motia_spec.lower_steps import StepLowering
from motia_spec.model import Cors, Handler, Nats, Project, Schema, Server, StateGroup, Stream, Topic
from motia_spec.node import MapNode
from motia_spec.place import Place
from motia_spec.policies import Values
from motia_spec.references import Read
from motia_spec.schemas import Sample, Schemas
from motia_spec.tree import Cursor


class Lowered(msgspec.Struct, frozen=True):
    """`project` is whole only when no diagnostic is an error. `samples`: defaults and examples, to be held against their schemas."""

    project: Project
    diagnostics: list[Diagnostic]
    samples: list[Sample]


def lower(root: Path, files: tuple[str, ...], node: MapNode, read: Read) -> Lowered:
    """What the spec means. `read` gives the tree of a schema file. Never raises for anything a spec can hold."""
    spec = Cursor(node)
    found: list[Diagnostic] = []
    values = Values(found, spec.map("policies"))
    schemas = Schemas(root, spec.get("schemas"), files, read)
    handlers = Handlers(root)
    name = spec.text("name", "motia")
    server = _server(spec.map("server"), values, handlers, found)
    project = Project(
        root=root,
        files=files,
        name=name,
        description=spec.text("description"),
        schemas=schemas.named(),
        topics={key: _topic(key, place, at, schemas) for key, place, at in spec.map("topics").maps()},
        state={key: _group(key, place, at, schemas, values) for key, place, at in spec.map("state").maps()},
        streams={
            key: _stream(key, place, at, schemas, values, handlers, found)
            for key, place, at in spec.map("streams").maps()
        },
        steps=StepLowering(spec, values, schemas, handlers, server, found).steps(),
        secrets=tuple(dict.fromkeys(word.text for word in spec.words("secrets"))),
        server=server,
        nats=_nats(spec.map("nats"), name, values),
    )
    found += schemas.finish()
    project = msgspec.structs.replace(
        project,
        files=(*files, *(file for file in schemas.references.files if file not in files)),
        defs=schemas.defs,
        flows=flows.group(project.steps, wiring.ends(project), spec.map("flows")),
    )
    project = msgspec.structs.replace(project, fingerprint=fingerprint.of(project))
    return Lowered(project, found, schemas.samples)


def _schema(id: str, label: str, at: Cursor, schemas: Schemas) -> Schema | None:
    node = at.get("schema")
    return None if node is None else schemas.site(id, label, node, at.at("schema"))


def _topic(name: str, place: Place, at: Cursor, schemas: Schemas) -> Topic:
    external = at.text("external")
    return Topic(
        name=name,
        schema=_schema(f"topic:{name}", name, at, schemas),
        description=at.text("description"),
        external=cast(Literal["in", "out"], external) if external in ("in", "out") else None,
        place=place,
    )


def _group(name: str, place: Place, at: Cursor, schemas: Schemas, values: Values) -> StateGroup:
    return StateGroup(
        name=name,
        schema=_schema(f"state:{name}", name, at, schemas),
        description=at.text("description"),
        history=at.whole("history", 1),
        ttl=values.timeout(at, "ttl", 0.0) if "ttl" in at else None,
        place=place,
    )


def _stream(
    name: str, place: Place, at: Cursor, schemas: Schemas, values: Values, handlers: Handlers, found: list[Diagnostic]
) -> Stream:
    return Stream(
        name=name,
        schema=_schema(f"stream:{name}", name, at, schemas),
        description=at.text("description"),
        ttl=values.timeout(at, "ttl", 0.0) if "ttl" in at else None,
        access=function(at, "access", handlers, found),
        place=place,
    )


def function(at: Cursor, key: str, handlers: Handlers, found: list[Diagnostic]) -> Handler | None:
    """The handler that `key` names, if it does."""
    word = at.word(key)
    if word is None:
        return None
    handler = handlers.named(word)
    if isinstance(handler, Handler):
        return handler
    found.append(handler)
    return None


def _server(at: Cursor, values: Values, handlers: Handlers, found: list[Diagnostic]) -> Server:
    plain = Server()
    return Server(
        port=at.whole("port", plain.port),
        host=at.text("host", plain.host),
        cors=_cors(at.map("cors"), values) if "cors" in at else None,
        body_limit=values.size(at, "bodyLimit", plain.body_limit),
        hosts=tuple(word.text for word in at.words("hosts")),
        stream_auth=function(at, "streamAuth", handlers, found),
    )


def _cors(at: Cursor, values: Values) -> Cors:
    plain = Cors()
    return Cors(
        origins=tuple(word.text for word in at.words("origins")),
        methods=tuple(word.text.upper() for word in at.words("methods")),
        headers=tuple(word.text.lower() for word in at.words("headers")) if "headers" in at else plain.headers,
        expose=tuple(word.text for word in at.words("expose")),
        credentials=at.flag("credentials", plain.credentials),
        max_age=round(values.seconds(at, "maxAge", float(plain.max_age))),
    )


def _nats(at: Cursor, name: str, values: Values) -> Nats:
    plain = Nats()
    return Nats(
        url=at.text("url", plain.url),
        prefix=at.text("prefix") or names.slug(name),
        port=at.whole("port", plain.port),
        durability=cast(Literal["strict", "balanced", "fast"], at.text("durability", plain.durability)),
        replicas=at.whole("replicas", plain.replicas),
        max_age=values.timeout(at, "maxAge", plain.max_age),
    )
