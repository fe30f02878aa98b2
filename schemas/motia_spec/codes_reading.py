"""The codes of reading a spec (M0xx). Those of its schema (M1xx) are in `codes_layout`; READING_CODES has both."""

from motia_spec.code import Code
from motia_spec.codes_layout import LAYOUT_CODES
from motia_spec.limits import (
    MAX_ALIASES,
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_FILE,
    MAX_FILES,
    MAX_GLOB_ENTRIES,
    MAX_INCLUDE_DEPTH,
    MAX_TOTAL,
    MAX_VALUES,
)

READING_CODES: tuple[Code, ...] = (
    Code(
        "M001",
        "file can't be read",
        "The spec, or a file that it includes, is missing, is not a file, or may not be read. "
        "Without it the project has no meaning, so nothing else is checked. Check the name and the rights of the file.",
        "include: [missing.yaml]",
    ),
    Code(
        "M002",
        "file too large",
        f"One file may have {MAX_FILE >> 10} KiB and a spec with all that it includes {MAX_TOTAL >> 20} MiB, so that checking takes "
        "bounded time. A thousand steps take about 400 KiB. Split the file with `include:`, and keep data out of the spec.",
        'description: "... more than a mebibyte of text ..."',
    ),
    Code(
        "M003",
        "not UTF-8",
        "A spec is UTF-8, with or without a byte order mark. This file is UTF-16 or holds bytes that are no text. "
        "Save it as UTF-8 in your editor.",
        "name: caf\\xe9   # the byte E9 of Latin-1",
    ),
    Code(
        "M004",
        "forbidden character",
        "Control characters, line separators that tools count differently, and bidirectional controls that make a line look like "
        "another one (CVE-2021-42574) are not allowed in a spec. Remove the character; where data needs one, write it as an escape "
        'in double quotes: `"\\u0007"`. In keys it is not allowed at all.',
        'state: { "a\\u0007b": {} }',
    ),
    Code(
        "M005",
        "not valid YAML",
        "The text can't be read as YAML from here on. The usual causes: text that holds `: ` or begins with `*`, `&`, `@`, `%` or a "
        "backquote needs quotes; so does text with braces or commas inside `{ }` and `[ ]`; keys of one map begin in one column; "
        "indentation is spaces, never tabs.",
        "steps:\n  A: { type: api, method: GET, path: /orders/{id} }   # quote the path",
    ),
    Code(
        "M006",
        "unresolved merge conflict",
        "Git left its conflict markers in the file. Choose what is to stay and remove the lines with `<<<<<<<`, `=======` and `>>>>>>>`.",
        "<<<<<<< HEAD\nname: shop\n=======\nname: store\n>>>>>>> feature",
    ),
    Code(
        "M007",
        "nested too deep",
        f"Maps and lists may be inside each other {MAX_DEPTH} levels deep, aliases followed. Specs need about ten. "
        "Move inner parts of a JSON Schema into `schemas:` and refer to them with `$ref`.",
        "a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    ),
    Code(
        "M008",
        "too many values",
        f"A spec may have {MAX_VALUES:,} values, each alias counted as all that it stands for, and {MAX_ALIASES:,} aliases in one file. "
        "Aliases of aliases multiply quickly: nine lines of them can stand for a billion values. Write out what is needed, and "
        "keep large data in files outside the spec.",
        "x-a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"x-{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in ("ab", "bc", "cd", "de")),
    ),
    Code(
        "M009",
        "alias inside its own anchor",
        "An alias stands inside the value that its anchor names, so the value would contain itself. Write the inner part out.",
        "steps: &all\n  A: *all",
    ),
    Code(
        "M010",
        "alias without anchor",
        "`*name` repeats the value that `&name` marks further up in the same file. There is no such mark before it. Text that begins "
        "with `*` needs quotes.",
        "steps:\n  A: { <<: *heavy, type: event, subscribes: [order.created] }",
    ),
    Code(
        "M011",
        "second document",
        "A line `---` begins a second YAML document in the same file. A spec is one document. Put the rest into a file of its own and "
        "name it under `include:`.",
        "name: shop\n---\nname: store",
    ),
    Code(
        "M012",
        "empty file",
        "The file holds nothing but blanks and comments. The smallest spec is a name and no steps. Remove an included file or an "
        "overlay that has no content.",
        "# nothing yet",
    ),
    Code(
        "M013",
        "duplicate key",
        "A map has the same key twice. Most YAML tools silently take the last one, so half of what is written would be lost. "
        "Rename one of them, or remove it.",
        "name: shop\nname: store",
    ),
    Code(
        "M014",
        "tag or directive",
        "YAML tags (`!name`, `!!type`) and directives (`%TAG`) are not supported: a spec is plain data. Remove it; quotes make a value "
        "text, and `${NAME}` reads an environment variable.",
        "name: !env APP_NAME",
    ),
    Code(
        "M015",
        "ambiguous number",
        "YAML 1.1 and YAML 1.2 read this number differently (`0644` is 420 in one and 644 in the other). Write it in decimal without "
        "leading zeros, or quote it when it is text, such as a code or a postcode.",
        "nats: { replicas: 03 }",
    ),
    Code(
        "M016",
        "not a number of JSON",
        f"`.inf`, `.nan`, numbers beyond the range of a double and numbers of more than {MAX_DIGITS} digits can't be kept in JSON. "
        "Leave the key out where it means no limit; quote it where it is text.",
        "state: { orders: { history: .inf } }",
    ),
    Code(
        "M017",
        "key is not text",
        "Keys are text. `true`, `null`, numbers with a point, lists, maps and aliases can't be keys; whole numbers are taken as their "
        "digits, for statuses under `responses`. Put the key in quotes.",
        "schemas:\n  Answer: { type: object, properties: { true: { type: string } } }",
    ),
    Code(
        "M018",
        "nothing to merge",
        "`<<` takes over the keys of another map: `<<: *name`, or `<<: [*a, *b]` for several, of which the first that has a key counts. "
        "Here it has another value. Quote it if you mean a key of that name.",
        "steps:\n  A: { <<: heavy, type: noop }",
    ),
    Code(
        "M019",
        "spec is not a map",
        "A spec is a map with keys like `name` and `steps`. The file holds a list or a single value.",
        "- name: shop\n- steps: {}",
    ),
    Code(
        "M020",
        "variable not set",
        "`${NAME}` needs the environment variable NAME, and `${NAME:?why}` needs it not to be empty. Set it (in development also in "
        "`.env`), or give a default: `${NAME:-value}`.",
        'nats: { url: "${NATS_URL_OF_PRODUCTION}" }',
    ),
    Code(
        "M021",
        "not a variable",
        "The forms are `${NAME}`, `${NAME:-default}` and `${NAME:?message}`; they don't nest. A dollar sign before a brace is "
        "written `$$`. Keys and JSON Schemas are never replaced.",
        'server: { host: "${HOST-127.0.0.1}" }',
    ),
    Code(
        "M022",
        "file outside the project",
        "Included files are given by a path relative to the file that includes them, with forward slashes, and stay inside the "
        "project, also behind symbolic links. The project is the folder of the spec.",
        "include: [../other/steps.yaml]",
    ),
    Code(
        "M023",
        "pattern matches nothing",
        "No file has a name like this, so nothing is included. `*` stands for a part of one name, `**` for any number of folders; names "
        "that begin with a dot, `node_modules` and `motia_types` are left out.",
        "include: [flow/*.yaml]",
    ),
    Code(
        "M024",
        "too many files",
        f"A spec may have {MAX_FILES} files, included {MAX_INCLUDE_DEPTH} levels deep, and its patterns may look at {MAX_GLOB_ENTRIES:,} "
        "files and folders. Name folders in patterns: `flows/*.yaml` rather than `**/*.yaml`.",
        "include: [a.yaml]\n# file: a.yaml\ninclude: [b.yaml]\n# file: b.yaml\ninclude: [c.yaml]\n"
        "# file: c.yaml\ninclude: [d.yaml]\n# file: d.yaml\ninclude: [e.yaml]",
    ),
    Code(
        "M025",
        "name in two files",
        "An included file defines a name that is there already. Each step, topic, schema, group and setting has one owner. Rename one, "
        "or remove it. To change a value for one environment, use an overlay: `motia.production.yaml`.",
        "include: [orders.yaml]\ntopics: { order.created: {} }\n# file: orders.yaml\ntopics: { order.created: {} }",
    ),
    Code(
        "M026",
        "no such environment",
        "The environment asked for (by `--env` or by MOTIA_ENV) has no overlay beside the spec: for `motia.yaml` and `production` that is "
        "`motia.production.yaml`. Its name is letters, digits, `-` and `_`.",
        "# MOTIA_ENV=produktion, but there is only motia.production.yaml",
    ),
    Code(
        "M027",
        "include in another form",
        "`include` is a list of paths or patterns, in the spec and in files that it includes. An overlay can't include files, since what "
        "it changes must not depend on the order of reading.",
        "include: flows/*.yaml",
    ),
    Code(
        "M028",
        "key that other tools read as a boolean",
        "Tools for YAML 1.1 read `on`, `off`, `yes` and `no` as true and false; here they are text, by YAML 1.2. Quote the key so that "
        "all tools agree, or choose another name.",
        "steps:\n  on: { type: noop }",
    ),
    *LAYOUT_CODES,
)
