"""The codes of the schema of the spec (M1xx): keys, types and forms of values."""

from motia_spec.code import Code
from motia_spec.limits import MAX_FINDINGS

LAYOUT_CODES: tuple[Code, ...] = (
    Code(
        "M101",
        "unknown key",
        "This key is not allowed here, so nothing would read it: most often a slip, or a key of another kind of step. "
        "Keys of your own for anchors and tools begin with `x-` and stand at the top of the file.",
        "steps:\n  A: { type: api, methd: POST, path: /orders }",
    ),
    Code(
        "M102",
        "missing key",
        "A key that is needed here is not there. Add it; the hint shows an example. Each step needs a `type`; an api step also "
        "`method` and `path`, an event step `subscribes`, a cron step `cron`.",
        "steps:\n  A: { type: api, path: /orders }",
    ),
    Code(
        "M103",
        "wrong type",
        "The value is of another type than the key takes: text instead of a number, a map instead of a list. A number in quotes is text; "
        "`yes` and `on` are text, only `true` and `false` are booleans; a key without a value is null.",
        "steps:\n  A: { type: event, subscribes: order.created }   # takes a list",
    ),
    Code(
        "M104",
        "value not in the list",
        "Only a few values are allowed here, and this is none of them. The message lists them.",
        "steps:\n  A: { type: evnt, subscribes: [order.created] }",
    ),
    Code(
        "M105",
        "value in another form",
        "The text does not have the form that is needed. The message says which: durations are `500ms`, `30s`, `1h30m` or `7d`, sizes "
        "`512KiB` or `1MiB`.",
        "defaults: { timeout: 30 seconds }",
    ),
    Code(
        "M106",
        "out of bounds",
        "A number is too small or too large, text too short or too long, or a list or map has too few or too many members. "
        "The message gives the bound.",
        "state: { orders: { history: 100 } }   # 1 to 64",
    ),
    Code(
        "M107",
        "name not allowed",
        "Names become files, types, subjects and labels. They are 1 to 64 letters and digits of any script, with `_`, `-`, `.` and single "
        "spaces inside; topics are 1 to 16 words of A-Z, a-z, 0-9, `_` and `-`, joined by dots. Names that begin with `__`, and "
        "`constructor` and `prototype`, are reserved, since they reach into the objects of Python and JavaScript.",
        'steps:\n  "a/b": { type: noop }',
    ),
    Code(
        "M108",
        "names differ only by case",
        "Two names are the same but for upper and lower case, or for two ways to write an accent. File systems of macOS and Windows take "
        "their files for one file, and people take them for one name. Rename one.",
        "steps:\n  Pay: { type: noop }\n  pay: { type: noop }",
    ),
    Code(
        "M109",
        "item twice",
        "The list is a set, so an item that stands there twice is a slip: one of them was meant to be another. Remove or change one.",
        "secrets: [API_KEY, API_KEY]",
    ),
    Code(
        "M110",
        "more findings",
        f"After {MAX_FINDINGS:,} findings the rest is left out. Mend the first ones and check again.",
        "# a file of another kind, given as a spec",
    ),
)
