"""The codes about references and JSON Schemas (M2xx). In examples, `# file: NAME` begins another file of the project."""

from motia_spec.code import Code

SCHEMA_CODES: tuple[Code, ...] = (
    Code(
        "M201",
        "reference to the network",
        "A `$ref` or `$id` names a URL, or a path of one machine. Schemas are read from the project alone, so that a spec means the same "
        "offline, on every machine and in ten years. Save the schema as a file of the project and refer to that.",
        "schemas:\n  Order: { $ref: https://example.com/order.json }\n",
    ),
    Code(
        "M202",
        "reference out of the project",
        "A `$ref` is an absolute path, climbs out of the project with `..`, or goes through a symbolic link that does. Move the file into "
        "the project and write the path relative to the file that holds the reference, with forward slashes.",
        "schemas:\n  Order: { $ref: ../other/order.json }\n",
    ),
    Code(
        "M203",
        "reference to nothing",
        "A `$ref` names a schema, a file, an anchor or a place in a file that does not exist. Schemas of the spec are `#/schemas/NAME`; "
        "files are `./dir/file.json`, and places in them `./dir/file.json#/$defs/NAME`.",
        "schemas:\n  Order: { type: object }\ntopics:\n  order.created: { schema: { $ref: '#/schemas/Ordr' } }\n",
    ),
    Code(
        "M204",
        "reference in a circle",
        "Schemas refer to each other and none of them describes anything, as in `A` is `B`, `B` is `A`. Recursion through `properties` or "
        "`items` is fine, since it gets somewhere.",
        "schemas:\n  A: { $ref: '#/schemas/B' }\n  B: { $ref: '#/schemas/A' }\n",
    ),
    Code(
        "M206",
        "$id changes the meaning of references",
        "An `$id` inside of a schema makes the references below it relative to that `$id`. References of a spec are relative to their file. "
        "Name the place with `$anchor`, or refer to it by `#/$defs/NAME`.",
        "schemas:\n  Order:\n    type: object\n    properties:\n      item: { $id: item.json, type: object }\n",
    ),
    Code(
        "M210",
        "bad value of a keyword",
        "A keyword of JSON Schema has a value that it can't have: `type: strng`, a `multipleOf` of 0, a `minimum` above the `maximum`. "
        "The schema would refuse everything, or mean nothing.",
        "schemas:\n  Age: { type: integer, minimum: 10, maximum: 1 }\n",
    ),
    Code(
        "M211",
        "unknown dialect",
        "`$schema` in a file names another dialect than JSON Schema 2020-12. The words are the same, and some of them mean something else "
        "(`items` with a list, `definitions`, `dependencies`). Convert the file, then name 2020-12 or leave `$schema` out.",
        "schemas:\n  Order: { $ref: ./order.json }\n# file: order.json\n"
        '{ "$schema": "http://json-schema.org/draft-04/schema#", "type": "object" }\n',
    ),
    Code(
        "M212",
        "pattern can't be read",
        "A `pattern` is not a regular expression of Python's `re`. Most of ECMA 262 is the same; `\\p{L}` is not. Write the characters out.",
        "schemas:\n  Name: { type: string, pattern: '^\\p{L}+$' }\n",
    ),
    Code(
        "M213",
        "unsafe pattern",
        "A `pattern` can take exponential time on a short text, so that one request stops the server: a repeat in a repeat whose rounds "
        "nothing separates, as in `(a+)+`, or alternatives under a repeat that match the same, as in `(a|a)*`. Let a separator decide, as "
        "in `[a-z]+(-[a-z]+)*`, and bound lengths with `maxLength`.",
        "schemas:\n  Name: { type: string, pattern: '^(a+)+$' }\n",
    ),
    Code(
        "M214",
        "schemas too large",
        "A schema is so large that checking values against it costs too much: an `enum` of more than 10,000 values in a file, more than "
        "200,000 values in all schemas, or more than 1,000 files. Look such values up in the handler.",
        'schemas:\n  Code: { $ref: ./code.json }\n# file: code.json\n{ "enum": ['
        + ",".join(map(str, range(10_001)))
        + "] }\n",
    ),
    Code(
        "M215",
        "default or example does not fit",
        "A `default` or one of the `examples` is refused by the schema it stands in. Whoever copies it gets an error.",
        "schemas:\n  Age: { type: integer, default: old }\n",
    ),
    Code(
        "M216",
        "format is not checked",
        "A `format` is a note to people and tools, but for date, date-time, email, ipv4, ipv6 and uuid, which are checked. Add a `pattern` "
        "where it matters.",
        "schemas:\n  Home: { type: string, format: uri }\n",
    ),
    Code(
        "M217",
        "not a keyword",
        "A word in a schema file is no keyword of JSON Schema 2020-12, and looks like one or is one of another dialect. It changes nothing.",
        "schemas:\n  Order: { $ref: ./order.json }\n# file: order.json\n"
        '{ "type": "object", "requird": ["id"], "properties": { "id": { "type": "string" } } }\n',
    ),
    Code(
        "M218",
        "reserved property name",
        "A property in a schema file has a name with two underscores on both sides, such as `__class__` or `__proto__`. Python and "
        "JavaScript give these a meaning of their own. Choose another name, or leave the property to `additionalProperties`.",
        "schemas:\n  Order: { $ref: ./order.json }\n# file: order.json\n"
        '{ "type": "object", "properties": { "__class__": { "type": "string" } } }\n',
    ),
)
