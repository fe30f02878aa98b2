"""M503 to M508: the function that a step names is not there, or does not take what it will be given. M509: its file describes the step as well.

Files are parsed, never run; each one once, however many steps share it.
"""

from __future__ import annotations

from collections.abc import Iterator

from motia_spec import exports, functions, script, suggest
from motia_spec.diagnostics import Diagnostic, error, note
from motia_spec.functions import Function, Module, Unreadable
from motia_spec.model import ApiStep, CronStep, EventStep, Handler, NoopStep
from motia_spec.place import Place
from motia_spec.rules.base import Checking

_TAKES = {  # role: (how many arguments it is given at least, at most, their names)
    "api": (2, 2, "(request, ctx)"),
    "api with idempotency": (2, 2, "(request, ctx)"),
    "event": (2, 2, "(data, ctx)"),
    "cron": (1, 2, "(ctx)"),
    "middleware": (3, 3, "(request, ctx, next)"),
    "condition": (2, 2, "(data, ctx)"),
    "access": (3, 3, "(group, id, auth)"),
    "streamAuth": (2, 2, "(headers, query)"),
}

_STEPS = ("api", "api with idempotency", "event", "cron")  # roles of a step's own handler
_HAS = {"python": "has no function", "node": "exports no"}


def check(checking: Checking) -> Iterator[Diagnostic]:
    files: dict[str, Module | Diagnostic] = {}
    reported: set[tuple[str, str, str]] = set()
    for role, owner, handler, place, path in _uses(checking):
        if (role, handler.path, handler.function) in reported:
            continue  # the same middleware of many steps
        if handler.path not in files:
            read = _read(checking, owner, handler, place, path)
            files[handler.path] = read
            if isinstance(read, Diagnostic):
                yield read
            elif read.config is not None and role in _STEPS:
                yield _config(owner, handler, read.config, path)
        module = files[handler.path]
        if isinstance(module, Module):
            fault = _fault(role, owner, handler, module, place, path)
            if fault is not None:
                yield fault
        if handler.explicit:
            reported.add((role, handler.path, handler.function))


def _uses(checking: Checking) -> Iterator[tuple[str, str, Handler, Place, str]]:
    """(role, who, handler, place, pointer) of every function that the project names."""
    project = checking.project
    steps = checking.spec.map("steps")
    for step in project.steps.values():
        if isinstance(step, NoopStep):
            continue
        role = _role(step)
        place = step.handler.place if step.handler.explicit else step.place
        path = steps.at(step.name) + ("/handler" if step.handler.explicit else "")
        yield role, step.name, step.handler, place, path
        if isinstance(step, ApiStep):
            for function in step.middleware:
                yield "middleware", step.name, function, function.place, f"{steps.at(step.name)}/middleware"
        if isinstance(step, EventStep) and step.condition:
            yield "condition", step.name, step.condition, step.condition.place, f"{steps.at(step.name)}/condition"
    for stream in project.streams.values():
        if stream.access:
            yield (
                "access",
                stream.name,
                stream.access,
                stream.access.place,
                f"{checking.spec.map('streams').at(stream.name)}/access",
            )
    auth = project.server.stream_auth
    if auth:
        yield "streamAuth", "server", auth, auth.place, "/server/streamAuth"


def _role(step: ApiStep | EventStep | CronStep) -> str:
    if isinstance(step, ApiStep):
        return "api" if step.idempotency is None else "api with idempotency"
    return "cron" if isinstance(step, CronStep) else "event"


def _read(checking: Checking, owner: str, handler: Handler, place: Place, path: str) -> Module | Diagnostic:
    file = checking.project.root / handler.path
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return _missing(checking, owner, handler, place, path)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "not a path"
        return error("M503", place, f"{owner}: {handler.path} can't be read: {reason.lower()}", path=path)
    if handler.language == "node":
        try:
            return exports.read(data)
        except script.Unreadable:
            return Module({}, open=True)  # its tokens are guessed at; whether it is a script, Node says
    try:
        return functions.read(data)
    except Unreadable as fault:
        checking.sources.add(handler.path, data.decode("utf-8", "replace"))
        return error(
            "M504",
            Place(handler.path, fault.line, fault.column),
            f"{handler.path} is not valid Python: {fault.reason}",
            path=path,
            related=((place, f"the handler of {owner}"),),
        )


def _missing(checking: Checking, owner: str, handler: Handler, place: Place, path: str) -> Diagnostic:
    file = checking.project.root / handler.path
    folder = file.parent
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    near = suggest.near(file.name, names) if handler.explicit else None
    remedy = (
        f'did you mean "{handler.path.removesuffix(file.name)}{near}"?' if near else "`motia gen` writes a stub for it"
    )
    return error("M503", place, f"{owner}: there is no file {handler.path}", hint=remedy, path=path)


def _config(owner: str, handler: Handler, at: tuple[int, int], path: str) -> Diagnostic:
    message = f"{owner}: motia.yaml describes the step; `config` in {handler.path} is not read"
    marks = "it marks the handler as one of the original's form (docs/migrating.md)"
    hint = marks if handler.language == "python" else "you can remove it"
    return note("M509", Place(handler.path, *at, len("config")), message, hint=hint, path=path)


def _fault(role: str, owner: str, handler: Handler, module: Module, place: Place, path: str) -> Diagnostic | None:
    found = module.names.get(handler.function)
    if found is None:
        if module.open:
            return None
        callables = [name for name, f in module.names.items() if f.kind in ("function", "unknown")]
        return error(
            "M505",
            place,
            f"{owner}: {handler.path} {_HAS[handler.language]} {handler.function!r}; it has: {suggest.listing(callables)}",
            hint=suggest.hint(handler.function, callables, f"add {_example(role, owner, handler)}"),
            path=path,
        )
    where = ((Place(handler.path, found.line, found.column), "it is defined here"),)
    if found.kind in ("class", "value"):
        what = "a class" if found.kind == "class" else "a value"
        message = f"{owner}: {handler.function!r} in {handler.path} is {what}, not a function"
        return error("M506", place, message, hint=f"write {_example(role, owner, handler)}", path=path, related=where)
    if found.kind == "unknown":
        return None
    if found.generator and role != "api":
        message = f"{owner}: {handler.function!r} in {handler.path} is a generator: it has a yield, "
        if role == "api with idempotency":
            message += "so its answer is streamed, and `idempotency` keeps only answers that are given whole"
            return error(
                "M508", place, message, hint="return the answer, or leave out idempotency", path=path, related=where
            )
        message += "which only the handler of an api step may have"
        return error("M508", place, message, hint="return the result instead", path=path, related=where)
    wrong = _arguments(role, found)
    if wrong is None:
        return None
    return error(
        "M507",
        place,
        f"{owner}: {handler.function!r} in {handler.path} {wrong}",
        hint=f"write {_example(role, owner, handler)}; further parameters need defaults",
        path=path,
        related=where,
    )


def _arguments(role: str, found: Function) -> str | None:
    fewest, most, names = _TAKES[role]
    if found.required_keywords:
        return f"requires the keyword {found.required_keywords[0]!r}, which a handler is not given"
    if found.least > most:
        return f"needs {found.least} arguments and is given {names}"
    if found.most is not None and found.most < fewest:
        return f"takes {found.most} argument{'s' if found.most != 1 else ''} and is given {names}"
    return None


def _example(role: str, owner: str, handler: Handler) -> str:
    if handler.language == "python":
        return f"async def {handler.function}{_TAKES[role][2]}"
    typed = f': Handlers["{owner}"]' if handler.path.endswith(".ts") and role in _STEPS else ""
    return f"export const {handler.function}{typed} = async {_TAKES[role][2]} => ..."
