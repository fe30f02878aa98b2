"""Every code a diagnostic can have, in order. `motia explain CODE` and the docs print from here; a code is never used again."""

from __future__ import annotations

from motia_spec.code import Code
from motia_spec.codes_reading import READING_CODES
from motia_spec.codes_rules import RULE_CODES
from motia_spec.codes_schemas import SCHEMA_CODES

CODES: dict[str, Code] = {code.code: code for code in (*READING_CODES, *SCHEMA_CODES, *RULE_CODES)}

__all__ = ["CODES", "Code"]
