"""What libyaml says about broken YAML, as people would say it."""

from __future__ import annotations

from typing import Any

import yaml

from motia_spec.diagnostics import Diagnostic, error
from motia_spec.place import Place

# (libyaml's words, ours, the remedy); the first that is in the message counts
_KNOWN = (
    ("mapping values are not allowed", "a `:` where no key can be", "quote text that holds `: `, and check the indentation above"),
    ("found a tab character", "a tab in the indentation", "indent with spaces"),
    ("that cannot start any token", "a character that can't begin a value", 'quote the value: "..."'),
    ("did not find expected key", "not a key of this map", "check the indentation: keys of one map begin in one column"),
    ("could not find expected ':'", "a line without `:` among keys", "write `key: value`, or indent it as part of the value above"),
    ("did not find expected ',' or '}'", "a `{` that is not closed, or a value in it that needs quotes", 'inside { } quote text that holds {, }, [, ] or a comma: "${PORT}", "/orders/{id}"'),
    ("did not find expected ',' or ']'", "a `[` that is not closed, or a value in it that needs quotes", 'inside [ ] quote text that holds {, }, [, ] or a comma'),
    ("did not find expected '-' indicator", "not an item of this list", "each item begins with `- ` in the same column"),
    ("block sequence entries are not allowed", "a `- ` where no list can begin", "begin the list on a line of its own"),
    ("found unexpected end of stream", "a quote that is not closed", "close it; a quote inside single quotes is written twice"),
    ("found unknown escape character", "an escape that YAML doesn't have", "in double quotes write a backslash twice, or use single quotes"),
    ("did not find expected alphabetic or numeric character", "a `*` or `&` without a name", 'quote text that begins with * or &: "*"'),
    ("did not find expected node content", "a value is missing", "write one, or remove the comma before"),
    ("did not find expected <document start>", "text after the end of the document", "check the indentation of this line"),
)  # fmt: skip


def syntax_error(fault: yaml.YAMLError, file: str, lines: list[str]) -> Diagnostic:
    """The diagnostic for what PyYAML raised."""
    mark, context = getattr(fault, "problem_mark", None), getattr(fault, "context_mark", None)
    if context is not None and (mark is None or _is_end(mark, lines)):
        mark, context = context, None  # what isn't closed is better shown where it begins
    problem = str(getattr(fault, "problem", None) or getattr(fault, "reason", None) or "not YAML")
    place = Place(file, 1, 1)
    if mark is not None:
        line = min(mark.line, len(lines) - 1)
        place = Place(file, line + 1, min(mark.column, max(len(lines[line]) - 1, 0)) + 1)
    message, hint = problem, ""
    for words, ours, remedy in _KNOWN:
        if words in problem:
            message, hint = ours, remedy
            break
    related: tuple[tuple[Place, str], ...] = ()
    if context is not None and mark is not None and context.line != mark.line and context.line < len(lines):
        column = min(context.column, max(len(lines[context.line]) - 1, 0))
        related = ((Place(file, context.line + 1, column + 1), "in what begins here"),)
    return error("M005", place, f"not valid YAML: {message}", hint=hint, related=related)


def _is_end(mark: Any, lines: list[str]) -> bool:
    """Nothing but blanks follows the mark."""
    rest = lines[mark.line :]
    return not rest or not (rest[0][mark.column :].strip() or any(line.strip() for line in rest[1:]))
