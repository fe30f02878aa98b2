"""What a TypeScript or JavaScript file exports, read without running it: as `functions` for Python, only less of it, as types are not understood."""

from __future__ import annotations

from motia_spec.functions import Function, Module
from motia_spec.script import Token, tokens

_DECLARES = ("const", "let", "var", "function", "async", "class", "abstract", "enum")
_TYPES = ("type", "interface", "declare", "namespace", "module")
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def read(data: bytes) -> Module:
    """The names that a file exports, as an ES module or in the form of CommonJS. Raises `script.Unreadable`."""
    names: dict[str, Function] = {}
    is_open = False
    found = tokens(data)
    depth = 0
    for number, token in enumerate(found):
        if token.kind == "mark" and token.text in ("(", "[", "{"):
            depth += 1
        elif token.kind == "mark" and token.text in (")", "]", "}"):
            depth -= 1
        elif token.kind == "name" and token.text in ("export", "module", "exports", "Object"):
            after = found[number + 1 : number + 8]
            if token.text == "export" and depth == 0:
                is_open |= _export(found, number + 1, names)
            elif _is_common(token, after):
                is_open |= depth > 0 or _common(found, number, names)
    config = names.get("config")
    return Module(names, is_open, None if config is None else (config.line, config.column))


def _text(found: list[Token], at: int) -> str:
    """The text of a mark or a name; empty beyond the end and for literals."""
    return found[at].text if at < len(found) and found[at].kind in ("mark", "name") else ""


def _add(names: dict[str, Function], token: Token, kind: str = "unknown", name: str | None = None) -> None:
    found = token.text if name is None else name
    names[found] = Function(found, kind, token.line, token.column)


def _export(found: list[Token], at: int, names: dict[str, Function]) -> bool:
    """One `export`; its first token after that word is at `at`. True when it may export more than is seen."""
    word = _text(found, at)
    if word == "{":
        return _listed(found, at + 1, names)
    if word == "*":
        if _text(found, at + 1) != "as":
            return True
        _add(names, found[at + 2])
        return False
    if word == "default":  # without a `handler` of its own, a file's default is that
        _add(names, found[at])
        names.setdefault("handler", Function("handler", "unknown", found[at].line, found[at].column))
        return _text(found, at + 1) not in ("function", "async", "class", "(")
    if word in _TYPES:
        return False
    if word not in _DECLARES:
        return True  # `export =`, a decorator, or what a later version of the language has
    while _text(found, at) in ("async", "abstract", "const") and _text(found, at + 1) in ("function", "class", "enum"):
        at += 1
    kind = {"function": "function", "class": "class", "enum": "value"}.get(_text(found, at), "unknown")
    at += 1
    if _text(found, at) == "*":
        at += 1
    if at >= len(found) or found[at].kind != "name":
        return True  # it takes something apart
    if kind == "function":
        kind = "unknown"  # what it takes is not judged
    elif kind == "unknown" and _text(found, at + 1) == "=" and _is_value(found, at + 2):
        kind = "value"
    _add(names, found[at], kind)
    return kind == "unknown" and _declares_more(found, at)


def _is_value(found: list[Token], at: int) -> bool:
    """Is it a literal, and nothing but that?"""
    if at >= len(found):
        return False
    if _text(found, at) in ("{", "["):
        at = _skip(found, at)
    elif found[at].kind in ("string", "number", "template", "regex"):
        at += 1
    else:
        return False
    return at >= len(found) or found[at].fresh or _text(found, at) in (";", "as", "satisfies")


def _declares_more(found: list[Token], at: int) -> bool:
    """Has the declaration a comma in it, outside of brackets? Then more names may follow: `export const a = 1, handler = f`."""
    while at < len(found):
        word = _text(found, at)
        if word == "," and found[at].kind == "mark":
            return True
        if word == ";" or word in ("export", "import"):
            return False
        at = _skip(found, at) if word in _CLOSING and found[at].kind == "mark" else at + 1
    return False


def _listed(found: list[Token], at: int, names: dict[str, Function]) -> bool:
    """`{ a, b as handler, type C }`."""
    while at < len(found) and _text(found, at) != "}":
        row = []
        while at < len(found) and _text(found, at) not in (",", "}"):
            row.append(found[at])
            at += 1
        if row and not (row[0].text == "type" and len(row) in (2, 4)):
            _add(names, row[-1])
            if row[-1].text == "default":
                _add(names, row[-1], name="handler")
        if _text(found, at) == ",":
            at += 1
    return False


def _is_common(token: Token, after: list[Token]) -> bool:
    """Does it stand for the exports of CommonJS? The word alone is also a fine name for a variable."""
    texts = [t.text for t in after]
    if token.text == "module":
        return texts[:2] == [".", "exports"]
    if token.text == "Object":
        return texts[:4] in (
            [".", "defineProperty", "(", "exports"],
            [".", "assign", "(", "exports"],
            [".", "assign", "(", "module"],
        )
    return texts[:1] in (["."], ["["])


def _common(found: list[Token], at: int, names: dict[str, Function]) -> bool:
    """`module.exports = ...`, `module.exports.name = ...` or `exports.name = ...`. True when it may export more than is seen."""
    if _text(found, at) == "Object":
        return True
    at += 3 if _text(found, at) == "module" else 1
    if _text(found, at) == ".":
        if _text(found, at + 2) != "=":
            return False  # it is read
        _add(names, found[at + 1], "value" if _is_value(found, at + 3) else "unknown")
        return False
    if _text(found, at) != "=" or _text(found, at + 1) != "{":
        return True
    end = _skip(found, at + 1)
    at += 2
    first = True
    while at < end - 1:
        word = _text(found, at)
        if word == "...":
            return True
        if first and found[at].kind in ("name", "string"):
            if word in ("async", "get") and _text(found, at + 1) not in (",", "}", ":", "("):
                at += 1
            _add(names, found[at])
        elif first and word not in (",", "*"):
            return True  # a computed name
        first = word == "," or (first and word == "*")
        at = _skip(found, at) if word in _CLOSING and found[at].kind == "mark" else at + 1
    return False


def _skip(found: list[Token], at: int) -> int:
    """Behind the bracket that closes the one at `at`."""
    depth = 0
    while at < len(found):
        if found[at].kind == "mark":
            if found[at].text in ("(", "[", "{"):
                depth += 1
            elif found[at].text in (")", "]", "}"):
                depth -= 1
                if depth <= 0:
                    return at + 1
        at += 1
    return at
