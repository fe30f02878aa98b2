"""JavaScript and TypeScript as tokens: enough to see what a file exports, and to read its literals. Nothing is run, and types are not understood.

Both languages need a parser to tell a regular expression from a division in all cases; here the token before decides, which is right but after
a closing bracket. What can't be read as tokens is `Unreadable`, and callers then know nothing of the file.
"""

from __future__ import annotations

import re

import msgspec

MOST = 1 << 20  # bytes of a file that are looked at
_DEEPEST = 50  # templates inside of templates

_SPACE = re.compile(r"(?:[\s\ufeff]|//[^\n\r\u2028\u2029]*|/\*.*?\*/)+", re.DOTALL)
_NAME = re.compile(r"[#@]?[A-Za-z_$\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")
_NUMBER = re.compile(
    r"0[xX][\da-fA-F_]+n?|0[bB][01_]+n?|0[oO][0-7_]+n?|(?:\d[\d_]*)?\.\d[\d_]*(?:[eE][+-]?\d+)?|\d[\d_]*\.?(?:[eE][+-]?\d+)?n?"
)
_STRING = re.compile(r'"(?:[^"\\\n\r]|\\(?:\r\n|.))*"|' + r"'(?:[^'\\\n\r]|\\(?:\r\n|.))*'", re.DOTALL)
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.){0,200}\]){1,1000}/[a-z]*")
_MARK = re.compile(r"=>|\.\.\.|\?\.(?!\d)|[{}()\[\];,<>+\-*/%&|^!~?:=.@#\\]")
_ESCAPE = re.compile(r"\\(u\{[\da-fA-F]{1,6}\}|u[\da-fA-F]{4}|x[\da-fA-F]{2}|\r\n|.)", re.DOTALL)
_PLAIN_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    "b": "\b",
    "f": "\f",
    "v": "\v",
    "0": "\0",
    "\n": "",
    "\r\n": "",
    "\r": "",
}
_BEFORE_REGEX = frozenset(
    [
        "return",
        "typeof",
        "case",
        "in",
        "of",
        "new",
        "delete",
        "void",
        "instanceof",
        "do",
        "else",
        "yield",
        "await",
        "throw",
    ]
)


class Unreadable(Exception):
    """Not the tokens of a script. `line` (from 1) says where."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Token(msgspec.Struct, frozen=True):
    kind: str  # "name", "string", "template", "number", "regex", "mark"
    text: str  # of a string or a template its value, else as it stands in the file
    line: int
    column: int
    fresh: bool  # the first of its line
    parts: tuple[tuple[Token, ...], ...] = ()  # of a template: what stands in each ${}
    strings: tuple[str, ...] = ()  # of a template: the texts between those


def tokens(data: bytes) -> list[Token]:
    """The tokens of a file, without comments. Raises `Unreadable`."""
    if len(data) > MOST:
        raise Unreadable(f"the file has {len(data):,} bytes; at most {MOST:,} are read", 1)
    try:
        source = data.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise Unreadable("it is not UTF-8", data.count(b"\n", 0, fault.start) + 1) from None
    if source.startswith("#!"):
        source = "//" + source[2:]
    return _Lexer(source).run()


class _Lexer:
    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._line = 1
        self._start = 0  # of the line
        self._depth = 0

    def run(self, *, inside: bool = False) -> list[Token]:
        """Tokens up to the end, or, inside of a template, up to the brace that closes its ${."""
        found: list[Token] = []
        open_braces = 0
        source = self._source
        while True:
            line = self._line
            space = _SPACE.match(source, self._at)
            if space:
                self._move(space.end())
            if self._at >= len(source):
                if inside:
                    raise Unreadable("a template does not end", self._line)
                return found
            token = self._one(found[-1] if found else None, fresh=not found or self._line > line)
            if inside and token.kind == "mark" and token.text in "{}":
                open_braces += 1 if token.text == "{" else -1
                if open_braces < 0:
                    return found
            found.append(token)

    def _one(self, before: Token | None, *, fresh: bool) -> Token:
        source, at = self._source, self._at
        line, column = self._line, at - self._start + 1
        char = source[at]
        if char == "`":
            return self._template(line, column, fresh)
        if source.startswith("/*", at):
            raise Unreadable("a comment does not end", line)
        rules = [("name", _NAME), ("number", _NUMBER), ("string", _STRING), ("mark", _MARK)]
        if char == "/" and _may_be_regex(before):
            rules.insert(0, ("regex", _REGEX))
        for kind, pattern in rules:
            match = pattern.match(source, at)
            if match:
                self._move(match.end())
                text = cooked(match[0][1:-1]) if kind == "string" else match[0]
                return Token(kind, text, line, column, fresh)
        raise Unreadable(f"{char!r} begins nothing that is known", line)

    def _template(self, line: int, column: int, fresh: bool) -> Token:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable("templates are nested too deeply", line)
        strings: list[str] = []
        parts: list[tuple[Token, ...]] = []
        start = at = self._at + 1
        source = self._source
        while at < len(source):
            char = source[at]
            if char == "\\":
                at += 2
            elif char == "`" or source.startswith("${", at):
                strings.append(cooked(source[start:at]))
                self._move(at + (1 if char == "`" else 2))
                if char == "`":
                    self._depth -= 1
                    return Token("template", "".join(strings), line, column, fresh, tuple(parts), tuple(strings))
                parts.append(tuple(self.run(inside=True)))
                start = at = self._at
            else:
                at += 1
        raise Unreadable("a template does not end", line)

    def _move(self, to: int) -> None:
        lines = self._source.count("\n", self._at, to)
        if lines:
            self._line += lines
            self._start = self._source.rindex("\n", self._at, to) + 1
        self._at = to


def _may_be_regex(before: Token | None) -> bool:
    if before is None:
        return True
    if before.kind == "mark":
        return before.text not in (")", "]", "}")
    return before.kind == "name" and before.text in _BEFORE_REGEX


def cooked(raw: str) -> str:
    """The value of what stands between quotes."""
    return _ESCAPE.sub(_unescape, raw) if "\\" in raw else raw


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "ux" and len(code) > 1:
        number = int(code.strip("ux{}"), 16)
        return chr(number) if number <= 0x10FFFF else "\ufffd"
    return _PLAIN_ESCAPES.get(code, code)
