"""Where `$ref`s lead, what they are called, and what they must not reach."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry

Check = Callable[..., Any]

ORDER = json.dumps(
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/order.json",
        "type": "object",
        "properties": {"items": {"type": "array", "items": {"$ref": "#/$defs/order-item"}}, "parent": {"$ref": "#"}},
        "$defs": {"order-item": {"$anchor": "item", "type": "object", "properties": {"sku": {"type": "string"}}}},
    }
)


def test_named_schemas_keep_their_name_and_files_get_one(check: Check) -> None:
    found = check(
        """\
        schemas:
          Order: { $ref: ./schemas/order.json }
          Same: { $ref: schemas/order.json }
          Local: { type: object, properties: { id: { type: string } } }
        topics:
          a: { schema: { $ref: "#/schemas/Order" } }
          b: { schema: { $ref: "./schemas/order.json#/$defs/order-item" } }
          c: { schema: { $ref: "./schemas/order.json#item" } }
          d: { schema: { $ref: "#/schemas/Local/properties/id" } }
          e: { schema: { $ref: "#/schemas/Order/properties/items" } }
          f: { schema: { $ref: ./schemas/other-thing.yaml } }
        """,
        {
            "schemas/order.json": ORDER,
            "schemas/other-thing.yaml": "type: array\nitems: { $ref: 'order.json#/$defs/order-item' }\n",
        },
    )
    project = found.compiled.require()
    assert list(project.defs) == ["Order", "Same", "Local", "OrderItem", "Id", "Items", "OtherThing"]
    assert project.defs["Same"] == {"$ref": "#/$defs/Order"}
    assert project.defs["Order"] == {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/OrderItem"}},
            "parent": {"$ref": "#/$defs/Order"},
        },
    }
    assert project.defs["OtherThing"] == {"type": "array", "items": {"$ref": "#/$defs/OrderItem"}}
    schemas = {name: topic.schema.value for name, topic in project.topics.items() if topic.schema}
    assert schemas == {
        "a": {"$ref": "#/$defs/Order"},
        "b": {"$ref": "#/$defs/OrderItem"},
        "c": {"$ref": "#/$defs/OrderItem"},
        "d": {"$ref": "#/$defs/Id"},
        "e": {"$ref": "#/$defs/Items"},
        "f": {"$ref": "#/$defs/OtherThing"},
    }
    assert project.files == ("motia.yaml", "schemas/order.json", "schemas/other-thing.yaml")
    assert project.schemas["Order"].id == "def:Order"


def test_a_schema_of_the_spec_is_a_document_of_its_own(check: Check) -> None:
    found = check(
        """\
        schemas:
          Tree:
            type: object
            properties: { children: { type: array, items: { $ref: "#" } }, leaf: { $ref: "#/$defs/Leaf" }, other: { $ref: "#leaf" } }
            $defs: { Leaf: { $anchor: leaf, type: string } }
        topics:
          a: { schema: { type: array, items: { anyOf: [ { $ref: "#" }, { $ref: "#/schemas/Tree" } ] } } }
        """
    )
    project = found.compiled.require()
    assert project.defs["Tree"] == {
        "type": "object",
        "properties": {
            "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
            "leaf": {"$ref": "#/$defs/Leaf"},
            "other": {"$ref": "#/$defs/Leaf"},
        },
    }
    schema = project.topics["a"].schema
    assert schema is not None
    validator = Draft202012Validator({**schema.value, "$defs": project.defs}, registry=Registry())  # type: ignore[dict-item]
    assert validator.is_valid([[[{"leaf": "x"}]], {"children": []}])
    assert not validator.is_valid([{"leaf": 1}])


def test_equal_names_get_numbers_in_the_order_of_the_spec(check: Check) -> None:
    found = check(
        """\
        schemas: { Item: { type: string } }
        topics:
          a: { schema: { $ref: "./a.json#/$defs/item" } }
          b: { schema: { $ref: "./b.json#/$defs/item" } }
        """,
        {"a.json": '{"$defs": {"item": {"type": "number"}}}', "b.json": '{"$defs": {"item": {"type": "null"}}}'},
    )
    assert found.compiled.require().defs == {
        "Item": {"type": "string"},
        "Item2": {"type": "number"},
        "Item3": {"type": "null"},
    }


def test_dynamic_references_become_plain_ones(check: Check) -> None:
    found = check(
        """\
        schemas:
          Node:
            $dynamicAnchor: node
            type: object
            properties: { next: { $dynamicRef: "#node", title: Next } }
        """
    )
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node", "title": "Next"}}}
    assert found.compiled.require().defs == {"Node": node}


def test_references_in_data_are_data(check: Check) -> None:
    found = check(
        "schemas:\n  A: { const: { $ref: 'https://example.com' }, default: { $ref: 'https://example.com' } }\n"
    )
    assert found.errors == []
    assert found.compiled.require().defs["A"]["const"] == {"$ref": "https://example.com"}  # type: ignore[index,call-overload]


def test_references_in_an_included_file_are_relative_to_it(check: Check) -> None:
    found = check(
        "include: [flows/*.yaml]\n",
        {
            "flows/a.yaml": "topics:\n  a: { schema: { $ref: ./thing.json } }\n",
            "flows/thing.json": '{"type": "integer"}',
        },
    )
    assert found.compiled.require().defs == {"Thing": {"type": "integer"}}


@pytest.mark.parametrize(
    ("ref", "code", "words"),
    [
        ("https://evil.example/s.json", "M201", "leads to the network"),
        ("HTTP://evil.example/s.json", "M201", "leads to the network"),
        ("file:///etc/passwd", "M201", "leads to the network"),
        ("//evil.example/s.json", "M201", "leads to the network"),
        ("urn:x:y", "M201", "leads to the network"),
        ("/etc/passwd", "M202", "not a path inside"),
        ("C:/x.json", "M202", "not a path inside"),
        ("\\\\\\\\evil\\\\share\\\\x.json", "M202", "not a path inside"),
        ("../x.json", "M202", "outside of the project"),
        ("a/../../x.json", "M202", "outside of the project"),
        ("%2e%2e/x.json", "M202", "outside of the project"),
        ("nope.json", "M203", "there is no file nope.json"),
        ("schemas", "M203", "there is no file schemas"),
        ("order.jsn", "M203", "there is no file order.jsn"),
        ("order.json#/$defs/Itm", "M203", "there is no 'Itm' in order.json; it has: Item"),
        ("order.json#itm", "M203", "there is no $anchor 'itm'"),
        ("order.json#/$defs/Item/type", "M203", "where there is no schema"),
        ("#/schemas/Ordr", "M203", "there is no schema 'Ordr'; schemas has: Order"),
        ("#/schemas", "M203", "write #/schemas/NAME"),
        ("#/components/schemas/Order", "M203", "there is no 'components'"),
    ],
)
def test_references_that_lead_nowhere(ref: str, code: str, words: str, check: Check) -> None:
    found = check(
        f'schemas:\n  Order: {{ type: object }}\ntopics:\n  a:\n    schema: {{ $ref: "{ref}" }}\n',
        {"order.json": '{"$defs": {"Item": {"type": "object", "$anchor": "item"}}}', "schemas/x.json": "{}"},
    )
    finding = found.only(code)
    assert words in finding.message
    assert (finding.place.line, finding.place.column) == (5, 21), "the value of $ref"
    assert finding.path == "/topics/a/schema/$ref"
    assert found.errors == [code]


def test_hints_of_references(check: Check) -> None:
    def hint(ref: str) -> str:
        finding = check(
            f"schemas:\n  Order: {{ type: object }}\ntopics:\n  a: {{ schema: {{ $ref: '{ref}' }} }}\n",
            {"dir/order.json": '{"$defs": {"Item": {"type": "object"}}}'},
        ).only("M203")
        return str(finding.hint)

    assert hint("#/schemas/Ordr") == 'did you mean "Order"?'
    assert hint("dir/ordr.json") == 'did you mean "dir/order.json"?'
    assert hint("dir/order.json#/$defs/Itm") == 'did you mean "Item"?'
    assert hint("#/components/schemas/Order") == "write #/schemas/Order"
    assert hint("dri/order.json") == "there is no folder dri"


def test_a_symbolic_link_out_of_the_project_is_not_followed(check: Check, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.json"
    outside.write_text('{"type": "string"}')
    os.symlink(outside, tmp_path / "link.json")
    os.symlink(tmp_path.parent, tmp_path / "dir")
    for ref in ("link.json", f"dir/{outside.name}"):
        found = check(f"schemas:\n  A: {{ $ref: {ref} }}\n")
        assert found.errors == ["M202"]
        assert "outside of the project" in found.only("M202").message


def test_a_symbolic_link_within_the_project_is_followed(check: Check, tmp_path: Path) -> None:
    os.symlink(tmp_path / "real.json", tmp_path / "link.json")
    found = check("schemas:\n  A: { $ref: link.json }\n", {"real.json": '{"type": "string"}'})
    assert found.compiled.require().defs == {"A": {"type": "string"}}


@pytest.mark.parametrize(
    ("schemas", "path"),
    [
        ('A: { $ref: "#/schemas/B" }\n  B: { $ref: "#/schemas/A" }', "A -> B -> A"),
        ('A: { $ref: "#/schemas/A" }', "A -> A"),
        ('A: { anyOf: [ { type: string }, { $ref: "#/schemas/A" } ] }', "A -> A"),
        ('A: { not: { $ref: "#/schemas/B" } }\n  B: { allOf: [ { $ref: "#/schemas/A" } ] }', "A -> B -> A"),
        ("A: { $ref: a.json }", "A -> A"),
    ],
)
def test_circles_that_describe_nothing(schemas: str, path: str, check: Check) -> None:
    found = check(f"schemas:\n  {schemas}\n", {"a.json": '{"$ref": "./a.json"}'})
    assert path in found.only("M204").message


def test_recursion_through_properties_is_fine(check: Check) -> None:
    found = check('schemas:\n  A: { type: object, properties: { a: { $ref: "#/schemas/A" } } }\n')
    assert found.errors == []


def test_a_pointer_through_circling_references_ends(check: Check) -> None:
    found = check(
        'schemas:\n  A: { $ref: "#/schemas/B/x" }\n  B: { $ref: "#/schemas/A/x" }\ntopics: { t: { schema: { $ref: "#/schemas/A/y" } } }\n'
    )
    assert set(found.errors) == {"M203", "M204"}


@pytest.mark.parametrize(
    ("schema", "codes"),
    [
        ('{ "$id": "https://example.com/a.json", "type": "string" }', []),
        ('{ "$id": "file:///etc/x.json", "$ref": "passwd" }', ["M201", "M203"]),
        ('{ "$id": "https://example.com/a.json", "properties": { "b": { "$ref": "b.json" } } }', ["M201"]),
        ('{ "$id": "a.json", "properties": { "b": { "$ref": "b.json" } } }', []),
        ('{ "properties": { "b": { "$id": "https://example.com/b", "type": "string" } } }', ["M206"]),
    ],
)
def test_identifiers_are_dropped_when_they_do_not_matter(schema: str, codes: list[str], check: Check) -> None:
    found = check("schemas:\n  A: { $ref: a.json }\n", {"a.json": schema, "b.json": '{"type": "string"}'})
    assert sorted(set(found.errors)) == codes


def test_a_broken_schema_file_is_reported_in_that_file(check: Check) -> None:
    found = check("schemas:\n  A: { $ref: a.json }\n", {"a.json": '{\n  "type": "object",\n  "type": "array"\n}'})
    assert found.compiled.project is None
    finding = found.only("M013")
    assert str(finding.place) == "a.json:3:3"
    assert "can't be read" in found.only("M203").message


def test_pretty_json_with_tabs_and_escapes_is_read(check: Check) -> None:
    found = check(
        "schemas:\n  A: { $ref: a.json }\n", {"a.json": '{\n\t"type": "object",\n\t"title": "a\\/b \\u00e9"\n}\n'}
    )
    assert found.compiled.require().defs == {"A": {"type": "object", "title": "a/b é"}}


def test_places_of_findings_in_files(check: Check) -> None:
    found = check(
        "schemas:\n  A: { $ref: dir/a.yaml }\n",
        {
            "dir/a.yaml": """\
            type: object
            requird: [a]
            properties:
              a: { type: strng }
              b: { minimum: 5, maximum: 1 }
              c: { pattern: '(a+)+' }
              d: { multipleOf: 0 }
              e: { items: [ { type: string } ] }
              f: { nullable: true }
              g: { enum: [] }
              h: { required: true }
              i: 5
            """
        },
    )
    assert [(str(d.place), d.code) for d in found.compiled.diagnostics] == [
        ("dir/a.yaml:2:1", "M217"),
        ("dir/a.yaml:4:14", "M210"),
        ("dir/a.yaml:5:17", "M210"),
        ("dir/a.yaml:6:17", "M213"),
        ("dir/a.yaml:7:20", "M210"),
        ("dir/a.yaml:8:15", "M210"),
        ("dir/a.yaml:9:8", "M217"),
        ("dir/a.yaml:10:14", "M210"),
        ("dir/a.yaml:11:18", "M210"),
        ("dir/a.yaml:12:6", "M210"),
    ]
    messages = [d.message for d in found.compiled.diagnostics]
    assert "'strng' is not a type; allowed are array, boolean" in messages[1]
    assert "multipleOf must be greater than 0" in messages[4]
    assert "prefixItems" in messages[5]


def test_samples_are_held_against_their_schema(check: Check) -> None:
    found = check(
        """\
        schemas:
          A:
            type: object
            required: [n]
            properties:
              n: { type: integer, default: 1.5 }
              s: { type: string, minLength: 3, default: ab }
              t: { type: string, default: "{x}" }
              u: { enum: [a, b], default: c }
              v: { type: number, default: 1 }
              w: { $ref: "#/schemas/B", default: 5 }
            examples:
              - { n: 1 }
              - { m: 1 }
          B: { type: string }
        """
    )
    assert [(d.code, d.place.line, d.place.column) for d in found.compiled.diagnostics] == [
        ("M215", 6, 36),
        ("M215", 7, 49),
        ("M215", 9, 35),
        ("M215", 11, 42),
        ("M215", 14, 9),
    ]
    assert found.errors == []
    assert "'n' is a required property" in found.all("M215")[-1].message


DOCUMENTS = [
    {"$dynamicAnchor": "n", "type": "object", "properties": {"next": {"$dynamicRef": "#n"}}, "required": ["a"]},
    {"$defs": {"A": {"$anchor": "a", "type": "integer"}}, "anyOf": [{"$ref": "#a", "minimum": 3}, {"type": "object"}]},
    {"$ref": "#/$defs/B", "unevaluatedProperties": False, "$defs": {"B": {"properties": {"a": {"type": "integer"}}}}},
    {"type": "array", "prefixItems": [{"$ref": "#/$defs/x~1y"}], "items": False, "$defs": {"x/y": {"const": 1}}},
    {
        "if": {"$ref": "#/$defs/i"},
        "then": {"required": ["b"]},
        "else": {"$ref": "#/$defs/i%20j"},
        "$defs": {"i": {"required": ["a"]}, "i j": {"maxProperties": 0}},
    },
    {"properties": {"$ref": {"type": "string"}, "enum": {"$ref": "#/properties/%24ref"}}, "type": "object"},
    {
        "dependentSchemas": {"a": {"required": ["b"]}},
        "patternProperties": {"^n": {"$ref": "#"}},
        "contains": {"$ref": "#"},
    },
    {
        "allOf": [{"$ref": "#/definitions/A"}, {"not": {"$ref": "#/definitions/A/properties/a"}}],
        "definitions": {"A": {"properties": {"a": {"type": "array"}}}},
    },
]
VALUES = [
    None,
    1,
    2,
    3.0,
    "x",
    [],
    [1],
    [1, 2],
    [[]],
    {},
    {"a": 1},
    {"a": 1, "b": 2},
    {"a": "x"},
    {"next": {}},
    {"a": 1, "next": {"a": 2}},
]
VALUES += [
    {"a": 1, "next": {}},
    {"$ref": 1},
    {"$ref": "x"},
    {"enum": 1},
    {"enum": "x"},
    {"n": {"a": 1}},
    {"n": {"a": 1, "b": 1}},
    {"a": []},
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_a_lowered_schema_accepts_what_the_document_accepts(document: dict[str, Any], check: Check) -> None:
    found = check(
        "schemas:\n  A: { $ref: a.json }\ntopics:\n  t: { schema: { $ref: '#/schemas/A' } }\n",
        {"a.json": json.dumps(document)},
    )
    project = found.compiled.require()
    schema = project.topics["t"].schema
    assert schema is not None
    lowered = Draft202012Validator({**schema.value, "$defs": project.defs}, registry=Registry())  # type: ignore[dict-item]
    Draft202012Validator.check_schema(lowered.schema)
    reference = Draft202012Validator(document)
    assert [lowered.is_valid(value) for value in VALUES] == [reference.is_valid(value) for value in VALUES]
    assert len({reference.is_valid(value) for value in VALUES}) == 2, "the values tell something"
