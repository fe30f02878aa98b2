"""What a Python file defines at its top level, read without running it: does a handler exist, and does it take what it will be given?"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import msgspec

_MOST = 1 << 20  # bytes of a handler file that are looked at


class Unreadable(Exception):
    """The file is not Python. `line` and `column` (from 1) say where, `reason` why."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = max(line, 1)
        self.column = max(column, 1)


class Function(msgspec.Struct, frozen=True):
    """A name that a file defines. `kind` is what it is; an `unknown` one can't be judged without running it."""

    name: str
    kind: str  # "function", "class", "value", "unknown"
    line: int = 1
    column: int = 1
    least: int = 0  # positional arguments it needs
    most: int | None = None  # positional arguments it takes; None: any number
    required_keywords: tuple[str, ...] = ()
    generator: bool = False


class Module(msgspec.Struct, frozen=True):
    """The top level of a file."""

    names: dict[str, Function]
    open: bool  # it may define more: `from x import *` or `__getattr__`
    config: tuple[int, int] | None = (
        None  # line and column of a `config` block, with which the original's handlers describe their step
    )


def read(data: bytes) -> Module:
    """The module that a file's bytes are. Unreadable when they are not Python."""
    if len(data) > _MOST:
        raise Unreadable(f"the file has {len(data):,} bytes; at most {_MOST:,} are read", 1, 1)
    try:
        tree = ast.parse(data)
    except SyntaxError as fault:
        raise Unreadable(fault.msg, fault.lineno or 1, fault.offset or 1) from None
    except (ValueError, RecursionError, MemoryError) as fault:  # NUL bytes; nesting beyond the parser's depth
        raise Unreadable(str(fault) or "it is nested too deeply", 1, 1) from None
    names: dict[str, Function] = {}
    is_open = False
    config: tuple[int, int] | None = None
    may_yield = b"yield" in data  # looking through every function for one takes longer than parsing
    for statement in _top_level(tree.body):
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            names[statement.name] = _function(statement, may_yield)
            is_open = is_open or statement.name == "__getattr__"
        elif isinstance(statement, ast.ClassDef):
            names[statement.name] = Function(statement.name, "class", statement.lineno, statement.col_offset + 1)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            for alias in statement.names:
                is_open = is_open or alias.name == "*"
                name = alias.asname or alias.name.partition(".")[0]
                names[name] = Function(name, "unknown", statement.lineno, statement.col_offset + 1)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            _assigned(statement, names)
            if _is_config(statement):
                config = statement.lineno, statement.col_offset + 1
    return Module(names, is_open, config)


def _assigned(statement: ast.Assign | ast.AnnAssign, names: dict[str, Function]) -> None:
    if statement.value is None:  # `x: int` defines nothing
        return
    literal = isinstance(statement.value, ast.Constant | ast.Dict | ast.List | ast.Tuple | ast.Set | ast.JoinedStr)
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    for target in targets:
        for part in ast.walk(target):
            if not isinstance(part, ast.Name):
                continue
            same = names.get(statement.value.id) if isinstance(statement.value, ast.Name) and part is target else None
            # a literal after another definition is a fallback of a branch that may not run
            kind = "value" if literal and part is target and part.id not in names else "unknown"
            names[part.id] = same or Function(part.id, kind, part.lineno, part.col_offset + 1)


def _is_config(statement: ast.Assign | ast.AnnAssign) -> bool:
    """Is it `config = {"type": ..., "name": ..., ...}`?"""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    named = any(isinstance(target, ast.Name) and target.id == "config" for target in targets)
    if not named or not isinstance(statement.value, ast.Dict):
        return False
    return {"type", "name"} <= {key.value for key in statement.value.keys if isinstance(key, ast.Constant)}


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run on import, those within if, try and with included."""
    for statement in body:
        yield statement
        for field in ("body", "orelse", "finalbody"):
            if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
                yield from _top_level(getattr(statement, field, []))
        if isinstance(statement, ast.Try):
            for handler in statement.handlers:
                yield from _top_level(handler.body)


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef, may_yield: bool) -> Function:
    if node.decorator_list:  # a decorator may change what it takes
        return Function(node.name, "unknown", node.lineno, node.col_offset + 1)
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = [a.arg for a, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None]
    return Function(
        node.name,
        "function",
        node.lineno,
        node.col_offset + 1,
        least=len(positional) - len(arguments.defaults),
        most=None if arguments.vararg else len(positional),
        required_keywords=tuple(required),
        generator=may_yield and _yields(node.body),
    )


def _yields(body: list[ast.stmt]) -> bool:
    """Is there a yield that belongs to this very function?"""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))
    return False
