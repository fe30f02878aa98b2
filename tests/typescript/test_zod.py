"""zod itself as the oracle of `motia import`: what is read from the text admits the same values, and describes them in the same words."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from motia_generator.importing.scripts import Scripts
from motia_generator.importing.values import Note, Shape

HERE = Path(__file__).parent
EXPRESSIONS = """\
z.string()
z.string().min(2).max(5)
z.string().length(3)
z.string().nonempty()
z.string().email()
z.email()
z.string().uuid()
z.url()
z.string().datetime()
z.iso.date()
z.string().regex(/^[a-z]+\\/x$/)
z.string().startsWith("a.b").optional()
z.number()
z.number().int()
z.int().positive()
z.number().gt(1).lt(9).multipleOf(2)
z.number().nonnegative().max(-0.5 + 6)
z.boolean()
z.null()
z.any()
z.unknown()
z.never()
z.literal("a")
z.literal(["a", 1, true])
z.enum(["a", "b"])
z.enum({ A: "a", B: "b" })
z.nativeEnum({ A: "a", B: "b" })
z.array(z.string())
z.string().array().nonempty().max(3)
z.array(z.number()).length(2)
z.tuple([z.string(), z.number()])
z.tuple([z.string()], z.number())
z.union([z.string(), z.number()])
z.string().or(z.null())
z.string().nullable()
z.string().nullish()
z.enum(["a"]).nullable()
z.optional(z.string())
z.nullable(z.object({ a: z.string() }))
z.object({})
z.object({ a: z.string(), "b-c": z.number().optional(), d: z.boolean().default(true) })
z.strictObject({ a: z.string() })
z.object({ a: z.string() }).strict()
z.object({ a: z.string() }).passthrough()
z.looseObject({ a: z.string() })
z.object({ a: z.string() }).catchall(z.number())
z.object({ a: z.string(), b: z.string() }).pick({ a: true })
z.object({ a: z.string(), b: z.string() }).omit({ a: true })
z.object({ a: z.string(), b: z.string() }).partial()
z.object({ a: z.string(), b: z.string() }).partial({ a: true })
z.object({ a: z.string().optional() }).required()
z.object({ a: z.string() }).extend({ b: z.number(), a: z.null() })
z.object({ a: z.string() }).merge(z.object({ b: z.number() }))
z.object({ a: z.string(), b: z.string() }).keyof()
z.object({ a: z.object({ b: z.array(z.object({ c: z.string() })) }) })
z.object({ a: z.string() }).and(z.object({ b: z.number() }))
z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() }))
z.discriminatedUnion("k", [z.object({ k: z.literal("a"), n: z.number() }), z.object({ k: z.literal("b") })])
z.record(z.string(), z.number())
z.object({ a: z.string().trim().toLowerCase() }).readonly()
z.object({ a: z.string().describe("what it is") }).describe("all of it").meta({ title: "T" })
z.string().default("x")
z.object({ a: z.string().refine((s) => s !== undefined), b: z.string().brand() })
z.lazy(() => z.string())
z.object({ a: z.any(), b: z.unknown() })
"""
VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 4, -1, 1.5, 5.5, 8, 10, "", "a", "ab", "abc", "abcdef", "a.bc", "x@y.zz", "b", "a/x", "2024-01-31", "2024-01-31T10:00:00Z",
    "https://a.b/c", "123e4567-e89b-42d3-a456-426614174000", [], ["a"], ["a", "b"], ["a", 1], ["a", 1, 2], [1, 2], ["a", "b", "c", "d"], {}, {"a": "x"},
    {"a": 1}, {"a": None}, {"a": "x", "b": "y"}, {"a": "x", "b": 1}, {"a": None, "b": 1}, {"b": 1}, {"b": "y"}, {"a": "x", "c": 1}, {"a": "x", "b-c": 1},
    {"a": "x", "b-c": "y"}, {"a": "x", "d": "y"}, {"k": "a", "n": 1}, {"k": "a"}, {"k": "b"}, {"k": "c"}, {"a": {"b": [{"c": "x"}]}}, {"a": {"b": [{}]}},
    {"c": 1, "d": 2},
]  # fmt: skip


@pytest.fixture(scope="module")
def oracle(node: str) -> list[Any]:
    given = {"expressions": EXPRESSIONS.splitlines(), "values": VALUES}
    done = subprocess.run(
        [node, str(HERE / "schemas.mjs")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("number", range(len(EXPRESSIONS.splitlines())), ids=EXPRESSIONS.splitlines())
def test_the_same_values_fit(number: int, oracle: list[Any], tmp_path: Path) -> None:
    expression = EXPRESSIONS.splitlines()[number]
    (tmp_path / "a.ts").write_text(
        f'import {{ z }} from "zod"\nconst schema = {expression}\nexport {{ schema as found }}\n'
    )
    notes: list[Note] = []
    scripts = Scripts(tmp_path, notes)
    shape = scripts.exported("a.ts", "found")
    assert isinstance(shape, Shape), shape
    assert [n for n in notes if "check is not made" not in n.text] == []
    schema, taken = oracle[number]
    assert isinstance(shape.value, dict)
    value: Any = scripts.shared.get(str(shape.value.get("$ref")).removeprefix("#/schemas/"), shape.value)
    for word in ("title", "description", "default", "format"):
        assert value.get(word) == schema.get(word)
    if "format" not in schema:  # each has an idea of its own of what an address is
        check = jsonschema.Draft202012Validator({"schemas": scripts.shared, **shape.value})
        assert {repr(value): check.is_valid(value) for value in VALUES} == dict(
            zip(map(repr, VALUES), taken, strict=True)
        )
