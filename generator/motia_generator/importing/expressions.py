"""Expressions of TypeScript and JavaScript as a tree, from tokens: what a config is written with. The rest is `Opaque`, with its line."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from motia_spec.script import Token

_DEEPEST = 100  # brackets inside of brackets
_BINARY = {"??": 1, "||": 1, "&&": 1, "+": 2, "-": 2, "*": 3, "/": 3, "%": 3}
_OPENING = ("(", "[", "{", "<")
_CLOSING = (")", "]", "}", ">")


class Expression(msgspec.Struct, frozen=True):
    line: int


class Constant(Expression, frozen=True):
    value: str | float | bool | None


class Name(Expression, frozen=True):
    name: str


class Member(Expression, frozen=True):
    of: Expression
    name: str


class Call(Expression, frozen=True):
    function: Expression
    arguments: tuple[Expression, ...]


class Array(Expression, frozen=True):
    items: tuple[Expression, ...]  # a Spread stands for several


class Object(Expression, frozen=True):
    rows: tuple[tuple[str, Expression], ...]  # with the name "" and a Spread for `...x`


class Spread(Expression, frozen=True):
    of: Expression


class Template(Expression, frozen=True):
    strings: tuple[str, ...]
    parts: tuple[Expression, ...]


class Regex(Expression, frozen=True):
    source: str


class Function(Expression, frozen=True):
    """A function. `body` when it is an expression, as in `() => schema`."""

    body: Expression | None


class Binary(Expression, frozen=True):
    operator: str
    left: Expression
    right: Expression


class Opaque(Expression, frozen=True):
    """What is not read: `what` says what stands there."""

    what: str


def parse(tokens: Sequence[Token], at: int) -> tuple[Expression, int]:
    """The expression that begins at a token, and the index of what follows it."""
    return _Parser(tokens, at).whole()


class _Parser:
    def __init__(self, tokens: Sequence[Token], at: int, depth: int = 0) -> None:
        self._tokens = tokens
        self._at = at
        self._depth = depth

    def whole(self) -> tuple[Expression, int]:
        return self._expression(0), self._at

    def _mark(self, ahead: int = 0) -> str:
        """The text of a mark or a name, empty at the end and for literals."""
        at = self._at + ahead
        found = self._tokens[at] if at < len(self._tokens) else None
        return found.text if found is not None and found.kind in ("mark", "name") else ""

    @property
    def _line(self) -> int:
        return self._tokens[min(self._at, len(self._tokens) - 1)].line if self._tokens else 1

    def _expression(self, least: int) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._depth -= 1
            return self._give_up("code that is nested too deeply")
        left = self._postfix(self._primary())
        while (operator := self._operator()) and _BINARY[operator] > least:
            line = self._line
            self._at += len(operator) if operator in ("??", "||", "&&") else 1
            left = Binary(line, operator, left, self._expression(_BINARY[operator]))
        if self._mark() == "?" and not self._next_is_fresh():
            left = self._give_up("a condition")
        self._depth -= 1
        return left

    def _operator(self) -> str:
        mark = self._mark()
        if mark in ("?", "|", "&"):
            return mark * 2 if self._mark(1) == mark else ""
        return mark if mark in _BINARY else ""

    def _next_is_fresh(self) -> bool:
        return self._at < len(self._tokens) and self._tokens[self._at].fresh and self._mark() not in (".", "?", ":")

    def _give_up(self, what: str) -> Expression:
        """Opaque, up to where the expression ends."""
        line = self._line
        self._skip_to((",", ")", "]", "}", ";"))
        return Opaque(line, what)

    def _skip_to(self, ends: tuple[str, ...], *, types: bool = False) -> None:
        """Over what stands here, brackets as wholes, up to one of the marks at this level, or to a new statement."""
        depth = 0
        start = self._at
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            mark = self._mark()
            if (
                depth == 0
                and self._at > start
                and (mark in ends or (types and token.fresh and mark not in ("|", "&", ".")))
            ):
                return
            if depth == 0 and self._at == start and mark in ends:
                return
            if token.fresh and depth == 0 and mark in ("export", "import", "const", "let", "var") and self._at > start:
                return
            if token.kind == "mark":
                depth += mark in (_OPENING if types else _OPENING[:3])
                depth -= mark in (_CLOSING if types else _CLOSING[:3])
            self._at += 1
            if depth < 0:
                self._at -= 1
                return

    def _primary(self) -> Expression:
        if self._at >= len(self._tokens):
            return Opaque(self._line, "nothing")
        token = self._tokens[self._at]
        line, kind = token.line, token.kind
        if kind == "string":
            self._at += 1
            return Constant(line, token.text)
        if kind == "template":
            self._at += 1
            parts = tuple(_Parser(part, 0, self._depth).whole()[0] for part in token.parts)
            return Template(line, token.strings, parts)
        if kind == "number":
            self._at += 1
            return _number(token)
        if kind == "regex":
            self._at += 1
            return Regex(line, token.text)
        if kind == "mark":
            return self._bracketed(token)
        return self._word(token)

    def _bracketed(self, token: Token) -> Expression:
        if token.text == "{":
            return self._object()
        if token.text == "[":
            self._at += 1
            return Array(token.line, tuple(self._list("]")))
        if token.text == "(":
            if self._is_arrow():
                return self._arrow()
            self._at += 1
            inner = self._expression(0)
            if self._mark() == ")":
                self._at += 1
            return inner
        if token.text == "-" and self._at + 1 < len(self._tokens) and self._tokens[self._at + 1].kind == "number":
            self._at += 2
            number = _number(self._tokens[self._at - 1])
            return (
                Constant(token.line, -number.value)
                if isinstance(number, Constant) and isinstance(number.value, int | float)
                else number
            )
        if token.text == "<":  # a type assertion of old
            self._skip_to((">",), types=False)
            self._at += 1
            return self._primary()
        return self._give_up(f"{token.text!r}")

    def _word(self, token: Token) -> Expression:
        word = token.text
        known = {"true": True, "false": False, "null": None, "undefined": None}
        if word in known:
            self._at += 1
            return Constant(token.line, known[word])
        if word == "async" and self._mark(1) != "=>":
            self._at += 1
            return self._primary()
        if word == "function" or word == "class":
            self._skip_to(("{",))
            self._block()
            return Function(token.line, None)
        if word in ("new", "await", "typeof", "void", "yield", "delete"):
            return self._give_up(f"`{word}`")
        if self._mark(1) == "=>":
            return self._arrow()
        self._at += 1
        return Name(token.line, word)

    def _postfix(self, found: Expression) -> Expression:
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            mark = self._mark()
            if mark in (".", "?.") and self._at + 1 < len(self._tokens) and self._tokens[self._at + 1].kind == "name":
                found = Member(token.line, found, self._tokens[self._at + 1].text)
                self._at += 2
            elif mark == "(" and not token.fresh:
                self._at += 1
                found = Call(token.line, found, tuple(self._list(")")))
            elif mark == "[" and not token.fresh:
                self._at += 1
                inside = self._expression(0)
                self._skip_to(("]",))
                self._at += 1
                known = isinstance(inside, Constant) and isinstance(inside.value, str)
                found = (
                    Member(token.line, found, str(inside.value))
                    if known and isinstance(inside, Constant)
                    else Opaque(token.line, "an index")
                )
            elif mark == "!" and not token.fresh and self._mark(1) != "=":
                self._at += 1
            elif mark in ("as", "satisfies") and not token.fresh:
                self._at += 1
                self._skip_to((",", ")", "]", "}", ";"), types=True)
            elif mark == "<" and self._is_type_argument():
                self._skip_types()
            else:
                return found
        return found

    def _is_type_argument(self) -> bool:
        """`f<T>(...)`: after a name, and with a call behind it."""
        at = self._at
        self._skip_types()
        call = self._mark() == "("
        self._at = at
        return call

    def _skip_types(self) -> None:
        depth = 0
        while self._at < len(self._tokens):
            mark = self._mark()
            depth += (mark == "<") - (mark == ">")
            self._at += 1
            if depth == 0 or mark in (";", "=>"):
                return

    def _list(self, end: str) -> list[Expression]:
        """Expressions up to the closing bracket, which is taken as well."""
        found: list[Expression] = []
        while self._at < len(self._tokens) and self._mark() != end:
            before = self._at
            line = self._line
            if self._mark() == "...":
                self._at += 1
                found.append(Spread(line, self._expression(0)))
            else:
                found.append(self._expression(0))
            if self._mark() not in (",", end):
                self._skip_to((",", end))
            if self._mark() == ",":
                self._at += 1
            if self._at == before:
                break  # a bracket that closes something else
        self._at += 1
        return found

    def _object(self) -> Expression:
        line = self._line
        self._at += 1
        rows: list[tuple[str, Expression]] = []
        while self._at < len(self._tokens) and self._mark() != "}":
            before = self._at
            rows += self._row()
            if self._mark() not in (",", "}"):
                self._skip_to((",", "}"))
            if self._mark() == ",":
                self._at += 1
            if self._at == before:
                break
        self._at += 1
        return Object(line, tuple(rows))

    def _row(self) -> list[tuple[str, Expression]]:
        line = self._line
        if self._mark() == "...":
            self._at += 1
            return [("", Spread(line, self._expression(0)))]
        if self._mark() in ("async", "get", "set") and self._mark(1) not in (":", ",", "}", "("):
            self._at += 1
        token = self._tokens[self._at]
        if token.kind == "mark":
            opaque = self._give_up("a computed name")
            return [("", Spread(line, opaque))]
        self._at += 1
        key = str(_plain(_number(token))) if token.kind == "number" else token.text
        if self._mark() == ":":
            self._at += 1
            return [(key, self._expression(0))]
        if self._mark() == "(":
            self._skip_to(("{",))
            self._block()
            return [(key, Function(line, None))]
        return [(key, Name(line, key))]

    def _is_arrow(self) -> bool:
        """Is the bracket here the parameters of an arrow function?"""
        depth, at = 0, self._at
        while at < len(self._tokens):
            token = self._tokens[at]
            if token.kind == "mark":
                depth += token.text in ("(", "[", "{")
                depth -= token.text in (")", "]", "}")
            at += 1
            if depth == 0:
                break
        follows = self._tokens[at].text if at < len(self._tokens) else ""
        return follows in ("=>", ":") and self._arrow_after(at)

    def _arrow_after(self, at: int) -> bool:
        """Is there an arrow behind the parameters, maybe behind the type of a result?"""
        for token in self._tokens[at : at + 40]:
            if token.text == "=>":
                return True
            if token.text in (",", ";", ")") or (token.fresh and token.text != "{"):
                return False
        return False

    def _arrow(self) -> Expression:
        line = self._line
        self._skip_to(("=>",))
        self._at += 1
        if self._mark() == "{":
            self._block()
            return Function(line, None)
        return Function(line, self._expression(0))

    def _block(self) -> None:
        """Over a block of code."""
        depth = 0
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            if token.kind == "mark":
                depth += token.text in ("(", "[", "{")
                depth -= token.text in (")", "]", "}")
                if depth <= 0:
                    return


def _number(token: Token) -> Expression:
    text = token.text.replace("_", "").removesuffix("n")
    try:
        return Constant(token.line, int(text, 0) if text[:2].lower() in ("0x", "0b", "0o") else _plain_number(text))
    except ValueError:
        return Opaque(token.line, "a number")


def _plain_number(text: str) -> int | float:
    return int(text) if text.isdigit() else float(text)


def _plain(expression: Expression) -> object:
    return expression.value if isinstance(expression, Constant) else ""
