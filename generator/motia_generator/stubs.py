"""First versions of handlers that do not exist yet. Written once, then the user's for ever.

A stub runs: an api step answers 501, the others log one line. So an app can be started before anything is written.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable

from motia_generator.module import from_import
from motia_generator.package import exports
from motia_generator.source import INDENT, WIDTH, docstring, quote
from motia_generator.typescript.stubs import stubs as script_stubs
from motia_spec.model import ApiStep, EventStep, Handler, NoopStep, Project
from motia_spec.stamp import PACKAGE


class _Stub:
    """A file to be: what it imports, and its functions."""

    def __init__(self) -> None:
        self.imports: dict[str, set[str]] = {}
        self.functions: dict[str, list[str]] = {}

    def add(self, name: str, lines: list[str], imports: dict[str, tuple[str, ...]]) -> None:
        if name in self.functions or not name.isidentifier() or keyword.iskeyword(name):
            return
        self.functions[name] = lines
        for module, names in imports.items():
            self.imports.setdefault(module, set()).update(names)

    def text(self) -> str:
        standard = [m for m in sorted(self.imports) if not m.startswith("motia_")]
        runtime = [m for m in sorted(self.imports) if m.startswith("motia_runtime")]
        own = [m for m in sorted(self.imports) if m.startswith(PACKAGE)]
        sections = [
            "\n".join(from_import(m, self.imports[m]) for m in group) for group in (standard, runtime, own) if group
        ]
        functions = ["\n".join(lines) for lines in self.functions.values()]
        return "\n\n".join(sections) + ("\n\n\n" if sections else "") + "\n\n\n".join(functions) + "\n"


def stubs(project: Project) -> dict[str, str]:
    """A stub for each file that the spec names and that does not exist: path relative to the root -> text. Reads the disk only to
    see what exists."""
    files: dict[str, _Stub] = {}

    def add(handler: Handler, make: Callable[[str], list[str]], **imports: tuple[str, ...]) -> None:
        if handler.language == "python" and not (project.root / handler.path).exists():
            wanted = {module.replace("__", "."): names for module, names in imports.items()}
            files.setdefault(handler.path, _Stub()).add(handler.function, make(handler.function), wanted)

    names = exports(project)
    for step in project.steps.values():
        name, doc = names[step.name], docstring([step.description], INDENT)
        message = quote(f"{step.name} is not written yet")
        if isinstance(step, ApiStep):
            arguments = f"request: {name}.Request, ctx: {name}.Context"
            body = [*doc, f"{INDENT}raise Problem(501, {message})"]
            add(
                step.handler,
                _function(arguments, f"{name}.Response", body),
                motia_runtime__handler=("Problem",),
                motia_types=(name,),
            )
            for middleware in step.middleware:
                add(
                    middleware,
                    _middleware,
                    collections__abc=("Awaitable", "Callable"),
                    typing=("Any",),
                    motia_runtime__context=("Context",),
                    motia_runtime__handler=("Request",),
                )
        elif not isinstance(step, NoopStep):
            first = f"data: {name}.Input, " if isinstance(step, EventStep) else ""
            body = [*doc, f"{INDENT}ctx.logger.warning({message})"]
            add(
                step.handler,
                _function(f"{first}ctx: {name}.Context", "None", body),
                motia_types=(name,),
            )
            if isinstance(step, EventStep) and step.condition:
                single = "Event" if step.batch else "Input"  # it is asked before events are put together
                arguments = f"data: {name}.{single}, ctx: {name}.Context"
                add(
                    step.condition,
                    _function(arguments, "bool", [f"{INDENT}return True"]),
                    motia_types=(name,),
                )
    for stream in project.streams.values():
        if stream.access:
            add(stream.access, _access, typing=("Any",))
    if project.server.stream_auth:
        add(project.server.stream_auth, _stream_auth, typing=("Any",))
    made = {path: file.text() for path, file in files.items()} | script_stubs(project)
    return {path: made[path] for path in sorted(made)}


def _function(arguments: str, result: str, body: list[str]) -> Callable[[str], list[str]]:
    """Lines of an async function, by its name."""

    def lines(name: str) -> list[str]:
        flat = f"async def {name}({arguments}) -> {result}:"
        if len(flat) <= WIDTH:
            return [flat, *body]
        return [f"async def {name}(", *(f"{INDENT}{a}," for a in arguments.split(", ")), f") -> {result}:", *body]

    return lines


def _middleware(function: str) -> list[str]:
    return [
        f"async def {function}(",
        f"{INDENT}request: Request,",
        f"{INDENT}ctx: Context,",
        f"{INDENT}next: Callable[[Request], Awaitable[Any]],",
        ") -> Any:",
        f'{INDENT}"""Runs around the handler; answer without `next` to end here."""',
        f"{INDENT}return await next(request)",
    ]


def _access(function: str) -> list[str]:
    return [
        f"def {function}(group: str, id: str | None, auth: Any) -> bool:",
        f'{INDENT}"""May this client see the items? Nobody may, until this is written."""',
        f"{INDENT}return False",
    ]


def _stream_auth(function: str) -> list[str]:
    return [
        f"def {function}(headers: dict[str, str], query: dict[str, str]) -> Any:",
        f'{INDENT}"""Who is this client? None is nobody; an exception answers 401."""',
        f"{INDENT}return None",
    ]
