"""The messages that docs, JSON Schema and code have to agree on."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from motia_runtime.isolation.failures import KNOWN
from motia_runtime.isolation.requests import Requests
from motia_runtime.remote import wire

VECTORS = json.loads(files("motia_spec").joinpath("worker.vectors.json").read_text())
SCHEMA = json.loads(files("motia_spec").joinpath("worker.schema.json").read_text())
CASES = [(side, vector) for side in ("engine", "worker") for vector in VECTORS[side]]
DOC = (Path(__file__).parents[2] / "docs" / "worker-protocol.md").read_text()


@pytest.mark.parametrize(("side", "vector"), CASES, ids=[f"{side}: {vector['name']}" for side, vector in CASES])
def test_schema_and_code_agree_on(side: str, vector: dict[str, Any]) -> None:
    data = json.dumps(vector["message"]).encode()
    schema = {"$ref": f"#/$defs/From{side.title()}", "$defs": SCHEMA["$defs"]}
    fits = jsonschema.Draft202012Validator(schema).is_valid(vector["message"])
    try:
        message: Any = wire.load_from_engine(data) if side == "engine" else wire.load_from_worker(data)
    except msgspec.ValidationError:
        message = None
    assert fits == vector["valid"] == (message is not None)
    if message is not None:
        again = json.loads(wire.dump(message))
        assert jsonschema.Draft202012Validator(schema).is_valid(again), again
        assert {**vector["message"], **again} == vector["message"], "what it says again is what was said"


def test_every_word_is_in_the_schema_and_the_docs() -> None:
    assert SCHEMA["$defs"]["Run"]["properties"]["protocol"]["const"] == wire.PROTOCOL == VECTORS["protocol"]
    asked = set(SCHEMA["$defs"]["Ask"]["properties"]["what"]["enum"])
    known = Requests.__new__(Requests)
    Requests.__init__(known, type("Ctx", (), {"_run": None})(), lambda reply: None)  # type: ignore[arg-type]  # only its tables are looked at
    assert asked == {*known._at_once, *known._in_time, "piece"}
    kinds = set(SCHEMA["$defs"]["Reply"]["properties"]["refusal"]["properties"]["kind"]["enum"])
    assert kinds == {*KNOWN, "RuntimeError"}
    for word in (
        *asked,
        *(name.lower() for name in SCHEMA["$defs"] if name not in ("FromEngine", "FromWorker", "Effects", "Request")),
    ):
        assert re.search(rf"`{word}`|\"{word}\"", DOC), f"docs/worker-protocol.md does not name {word}"


def test_the_examples_of_the_docs_are_messages() -> None:
    blocks = re.findall(r"```json\n(.*?)```", DOC, re.S)
    assert len(blocks) >= 4
    for block in blocks:
        for line in block.strip().split("\n\n"):
            jsonschema.validate(json.loads(line), SCHEMA)
