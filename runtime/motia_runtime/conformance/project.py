"""The app that a worker under test serves. docs/conformance.md tells who writes one."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

PREFIX = "conformance"
SPEC = """\
motia: "1"
name: conformance
nats: {{ prefix: conformance }}
topics:
  script: {{ external: in }}
  told: {{}}
  typed: {{ schema: {{ type: object, required: [n], properties: {{ n: {{ type: integer }} }} }} }}
  many: {{ external: in }}
  left: {{ external: in, schema: {{ $ref: "#/schemas/Side" }} }}
  right: {{ external: in, schema: {{ $ref: "#/schemas/Side" }} }}
schemas:
  Side: {{ type: object, required: [key], properties: {{ key: {{ type: string }} }} }}
state:
  notes: {{}}
  seen: {{}}
  watched: {{}}
  numbers: {{ schema: {{ type: object, required: [n], properties: {{ n: {{ type: integer }} }} }} }}
streams:
  board: {{ schema: {{ type: object, required: [n], properties: {{ n: {{ type: integer }} }} }} }}
policies:
  retry: {{ twice: {{ attempts: 2, delay: 10s, jitter: false, skip: [Skipped] }} }}
defaults: {{ retry: twice, timeout: 20s }}
flows: {{ main: {{ steps: [Script, Answer] }} }}
steps:
  Script:
    type: event
    subscribes: [script]
    emits: [told, typed]
    condition: steps/script.{ending}:wanted
    handler: steps/script.{ending}
  Brief: {{ type: event, subscribes: [{{ state: watched }}], timeout: 500ms, retry: {{ attempts: 1 }}, handler: steps/script.{ending}:note }}
  Many: {{ type: event, subscribes: [many], batch: {{ size: 3, wait: 1s }}, handler: steps/script.{ending}:note }}
  Pair: {{ type: event, subscribes: [left, right], join: {{ by: data.key }}, handler: steps/script.{ending}:note }}
  Tick: {{ type: cron, cron: "0 0 * * *", handler: steps/script.{ending}:tick }}
  Answer: {{ type: api, method: POST, path: "/answer/{{kind}}", bodyLimit: 16MiB, emits: [told], handler: steps/script.{ending}:answer }}
"""

Language = Literal["node", "python"]
_ENDINGS = {"node": "js", "python": "py"}


def write(folder: Path, language: Language) -> None:
    """The spec, and the handlers in one of the languages that come with us."""
    (folder / "steps").mkdir(parents=True)
    ending = _ENDINGS[language]
    (folder / "motia.yaml").write_text(SPEC.format(ending=ending))
    with as_file(files("motia_runtime.conformance").joinpath("handlers", f"script.{ending}")) as source:
        shutil.copy(source, folder / "steps" / f"script.{ending}")
