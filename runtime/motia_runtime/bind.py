"""Handlers of a project: imported, checked, callable. The one place that runs users' modules."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

import msgspec

from motia_runtime.original import adapt, is_original
from motia_spec.model import AnyStep, ApiStep, CronStep, EventStep, Handler, NoopStep, Project

GENERATED = "motia_types"
_TAKES = {"access": "(group, id, auth)", "streamAuth": "(headers, query)"}  # what these roles are given

_roots: set[Path] = set()  # of the project that was bound last; a process normally binds only one


class HandlerError(Exception):
    """A handler can't be loaded. The message says which and why; mend the file and save it."""


class Elsewhere(Protocol):
    """Runs a handler that is not in this process. Gives its result, raises what it raises, or `TimeoutError`."""

    async def __call__(self, args: tuple[Any, ...], ctx: Any, timeout: float, /) -> Any: ...


class Bound(msgspec.Struct, frozen=True):
    """A function of the user's, ready to be called."""

    handler: Handler
    function: Callable[..., Any]
    is_async: bool
    arity: int  # positional arguments it is called with
    elsewhere: Elsewhere | None = None  # instead of the function; then it is not async here
    generator: Literal["", "async", "plain"] = ""  # of an api step: its answer is streamed
    remote: bool = False  # in a worker (`remote`), which imports it
    original: bool = False  # `function` stands before one of the original's form


class BoundStep(msgspec.Struct, frozen=True):
    step: AnyStep
    handler: Bound
    middleware: tuple[Bound, ...] = ()
    condition: Bound | None = None


REMOTE = frozenset({"node"})  # languages that this process can't run


class Bindings(dict[str, BoundStep]):
    """Steps by name, and who says who may connect to streams, and follow which."""

    stream_auth: Bound | None = None
    access: dict[str, Bound]  # by stream


def bind(project: Project, remote: Collection[str] = REMOTE) -> Bindings:
    """Import every handler of the project anew and check that it fits, but those in the languages of `remote`: workers run them. Raises
    `HandlerError`; then the modules that were loaded before are as they were, so that a running app goes on with them."""
    with _fresh_modules(project.root):
        bound = Bindings()
        bound.access = {
            stream.name: _load(project.root, stream.access, f"access of {stream.name}", (3,), role="access")
            for stream in project.streams.values()
            if stream.access
        }
        if project.server.stream_auth:
            auth = project.server.stream_auth
            bound.stream_auth = _load(project.root, auth, "streamAuth", (2,), role="streamAuth")
        for step in project.steps.values():
            if isinstance(step, NoopStep):
                continue
            asked = None
            if isinstance(step, EventStep) and step.condition:
                asked = _condition(project.root, step.condition, step, remote)
            if step.handler.language in remote:
                outer, _ = shared_out(step)
                bound[step.name] = BoundStep(
                    step,
                    _away(project.root, step.handler, step.name, 1 if isinstance(step, CronStep) else 2),
                    tuple(_load(project.root, m, f"middleware of {step.name}", (3,)) for m in outer),
                    asked,
                )
                continue
            if isinstance(step, EventStep) and step.isolation == "process":
                handler = _outside(project.root, step.handler, step.name)
                bound[step.name] = BoundStep(step, handler, condition=asked)
                continue
            middleware = step.middleware if isinstance(step, ApiStep) else ()
            streams = isinstance(step, ApiStep) and step.idempotency is None
            handler = _load(project.root, step.handler, step.name, _arities(step), streams=streams)
            around = [
                _load(project.root, m, f"middleware of {step.name}", (3,), original=handler.original)
                for m in middleware
            ]
            bound[step.name] = BoundStep(step, handler, tuple(around), asked)
        return bound


def bind_one(project: Project, step: EventStep) -> Bound:
    """Import the handler of one step, in the process that runs nothing else. Raises `HandlerError`."""
    with _fresh_modules(project.root):
        return _load(project.root, step.handler, step.name, _arities(step))


def shared_out(
    step: ApiStep | EventStep | CronStep,
) -> tuple[tuple[Handler, ...], tuple[Handler, ...]]:
    """The middleware of a step whose handler is in a worker: what runs around it here, and what goes along with the handler. Raises `HandlerError` for
    an order that can't be kept."""
    middleware = step.middleware if isinstance(step, ApiStep) else ()
    inner = len(middleware)
    while inner and middleware[inner - 1].language == step.handler.language:
        inner -= 1
    for function in middleware[:inner]:
        if function.language != "python":
            raise HandlerError(
                f"{step.name}: the middleware {function.path} runs in a worker, right around its handler: name it after those in Python"
            )
    return middleware[:inner], middleware[inner:]


def _condition(root: Path, handler: Handler, step: EventStep, remote: Collection[str]) -> Bound:
    who = f"condition of {step.name}"
    if handler.language not in remote:
        return _load(root, handler, who, (2,))
    if handler.language != step.handler.language:
        raise HandlerError(f"{who}: {handler.path} and the handler {step.handler.path} have to be in the same language")
    return _away(root, handler, who, 2)


def _away(root: Path, handler: Handler, who: str, arity: int) -> Bound:
    """A function that workers import; what is wrong with it shows there."""
    if not (root / handler.path).is_file():
        raise HandlerError(f"{who}: there is no file {handler.path}; `motia gen` writes a stub for it")

    def nowhere(*_: Any) -> None:
        raise HandlerError(f"{who}: {handler.path} runs in a worker; this process has not loaded it")

    return Bound(handler, nowhere, False, arity, remote=True)


def _outside(root: Path, handler: Handler, who: str) -> Bound:
    """A handler that only its own processes import (`isolation.pool`): what is wrong with it shows when the first of them starts."""
    _check_file(root, handler, who)

    def nowhere(*_: Any) -> None:
        raise HandlerError(f"{who}: {handler.path} runs in a process of its own; this one has not loaded it")

    return Bound(handler, nowhere, False, 2)


def _arities(step: ApiStep | EventStep | CronStep) -> tuple[int, ...]:
    return (1, 2) if isinstance(step, CronStep) else (2,)


@contextmanager
def _fresh_modules(root: Path) -> Iterator[None]:
    """Forget the modules of the project, so that they are imported anew; put them back if that fails."""
    importlib.invalidate_caches()
    roots = {root, *_roots}  # another project's `steps` would stand in the way of this one's
    old = {name: module for name, module in sys.modules.items() if any(_belongs(name, module, r) for r in roots)}
    for name in old:
        del sys.modules[name]
    path = list(sys.path)
    sys.path[:] = [str(root), *(entry for entry in path if Path(entry) not in roots)]
    try:
        yield
    except BaseException:
        for name in [n for n, m in sys.modules.items() if _belongs(n, m, root)]:
            del sys.modules[name]
        sys.modules.update(old)
        sys.path[:] = path
        raise
    _roots.clear()
    _roots.add(root)


def _belongs(name: str, module: ModuleType, root: Path) -> bool:
    """Generated types are installed by `types`, so they stay; an environment inside the project is not the project's code."""
    if name == "__main__" or name.partition(".")[0] == GENERATED:
        return False
    places = [getattr(module, "__file__", None)]
    if places == [None]:
        places = list(getattr(module, "__path__", ()))  # a folder without __init__.py
    for place in places:
        path = Path(place) if place else None
        if path is not None and path.is_relative_to(root):
            inside = path.relative_to(root).parts
            return not any(part in ("site-packages", ".venv", "venv") for part in inside) and not _is_ours(module)
    return False


def _is_ours(module: ModuleType) -> bool:
    """When the project is the framework's own repository, the framework itself is not reloaded."""
    return module.__name__.partition(".")[0] in ("motia_spec", "motia_generator", "motia_runtime")


def _load(
    root: Path,
    handler: Handler,
    who: str,
    arities: tuple[int, ...],
    *,
    streams: bool = False,
    original: bool = False,
    role: str = "handler",
) -> Bound:
    """`streams`: the function may be a generator. `original`: it is of the original's form, whatever its file says."""
    where = f"{handler.path}:{handler.function}"
    module = _import(root, handler, who)
    function = getattr(module, handler.function, None)
    if function is None:
        names = ", ".join(
            sorted(n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__)
        )
        raise HandlerError(f"{who}: {handler.path} has no function {handler.function!r} (it has: {names or 'none'})")
    if not callable(function):
        raise HandlerError(f"{who}: {where} is a {type(function).__name__}, not a function")
    signature = inspect.signature(function)
    for arity in sorted(arities, reverse=True):
        try:
            signature.bind(*range(arity))
        except TypeError:
            continue
        target = function if inspect.isroutine(function) else type(function).__call__
        generator: Literal["", "async", "plain"] = (
            "async" if inspect.isasyncgenfunction(target) else "plain" if inspect.isgeneratorfunction(target) else ""
        )
        if generator and not streams:
            raise HandlerError(
                f"{who}: {where} is a generator, which only the handler of an api step without `idempotency` may be; return the result"
            )
        is_async = inspect.iscoroutinefunction(target)
        if arities == (3,) and role == "handler" and not is_async:
            raise HandlerError(f"{who}: {where} must be `async def`: it awaits `next(request)`")
        original = (original or is_original(module)) and not generator
        called = adapt(function, module, is_async=is_async) if original else function
        return Bound(handler, called, is_async, arity, generator=generator, original=original)
    wanted = {1: "(ctx)", 2: "(input, ctx)", 3: "(request, ctx, next)"}
    raise HandlerError(
        f"{who}: {where}{signature} must take {_TAKES.get(role) or ' or '.join(wanted[a] for a in arities)}"
    )


def _check_file(root: Path, handler: Handler, who: str) -> Path:
    path = root / handler.path
    if handler.language != "python":
        raise HandlerError(
            f"{who}: {handler.path} is not Python, which this function has to be: the app itself calls it"
        )
    if not path.is_file():
        raise HandlerError(f"{who}: there is no file {handler.path}; `motia gen` writes a stub for it")
    return path


def _import(root: Path, handler: Handler, who: str) -> ModuleType:
    path = _check_file(root, handler, who)
    parts = Path(handler.path).with_suffix("").parts
    try:
        if all(part.isidentifier() for part in parts):
            return importlib.import_module(".".join(parts))
        name = "motia_handlers." + "".join(c if c.isalnum() else f"_{ord(c):x}_" for c in handler.path)
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except Exception as problem:
        raise HandlerError(
            f"{who}: {handler.path} can't be imported: {type(problem).__name__}: {problem}{_line(problem, path)}"
        ) from problem


def _line(problem: BaseException, path: Path) -> str:
    """Where in the user's file the import failed."""
    if isinstance(problem, SyntaxError):
        return ""  # its message has the place
    place, walk = "", problem.__traceback__
    while walk is not None:
        if walk.tb_frame.f_code.co_filename == str(path):
            place = f" ({path.name}, line {walk.tb_lineno})"
        walk = walk.tb_next
    return place
