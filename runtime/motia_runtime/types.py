"""The generated types, loaded: `motia_types` from disk when it is of this spec, else generated now and kept in memory.

Either way handlers can `from motia_types import CreateOrder`, and get the very classes that the codecs decode into.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from motia_runtime.codec import Codec
from motia_spec.model import Project, Schema
from motia_spec.node import JSON
from motia_spec.stamp import PACKAGE, REGISTRY, stamp

_log = logging.getLogger("motia.types")


class Types:
    """The codecs of a project. Lives as long as the app; a reload makes a new one."""

    def __init__(self, project: Project, registry: ModuleType) -> None:
        self._project = project
        self._types: dict[str, Any] = registry.TYPES
        self._gaps: dict[str, tuple[str, ...]] = registry.GAPS
        self._checks: dict[str, JSON] = registry.CHECKS
        self._check_defs: dict[str, JSON] = registry.CHECK_DEFS
        self._codecs: dict[str, Codec] = {}
        self._any = Codec("value")

    def codec(self, schema: Schema | None) -> Codec:
        """The codec of a schema of the project, made when first asked for. None: any JSON."""
        if schema is None:
            return self._any
        found = self._codecs.get(schema.id)
        if found is None:
            check = self._checks.get(schema.id)
            found = self._codecs[schema.id] = Codec(
                describe(schema.id),
                self._types[schema.id],
                schema=schema.value,
                defs=self._project.defs,
                gaps=self._gaps.get(schema.id, ()),
                check=None if check is None else (check, {**self._project.defs, **self._check_defs}),
            )
        return found


def describe(schema_id: str) -> str:
    """What a schema is of, in words: "step:CreateOrder:response:201" is "response 201 of CreateOrder"."""
    kind, _, rest = schema_id.partition(":")
    if kind != "step":
        return {"topic": "event", "def": "value of"}.get(kind, kind) + f" {rest}"
    step, _, part = rest.partition(":")
    part = {"manual": "input"}.get(part, part.replace(":", " "))
    return f"{part} of {step}"


def load_types(project: Project, generate: Callable[[Project], dict[str, str]]) -> Types:
    """Import the generated package anew and give its codecs. Modules of an earlier call are forgotten, unless this one fails.

    The files on disk are used when their stamp is this spec's, whatever else was done to them. When they can't be imported, a warning
    says so and the package is generated in memory, as for files of another spec.
    """
    wanted = stamp(project)
    folder = project.root / PACKAGE
    if wanted and _stamp_on_disk(folder) == wanted:
        try:
            return Types(project, _import(_OnDisk(folder)))
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            _log.warning("%s can't be imported (%s): types are made in memory; run `motia gen`", PACKAGE, found)
    return Types(project, _import(_InMemory(generate(project))))


def _import(finder: _Finder) -> ModuleType:
    """The registry, as this finder finds it. Whatever is raised, the modules and finder of before are in place then."""
    old_modules = {name: module for name, module in sys.modules.items() if _is_ours(name)}
    old_finders = [f for f in sys.meta_path if isinstance(f, _Finder)]
    for name in old_modules:
        del sys.modules[name]
    sys.meta_path[:] = [finder, *(f for f in sys.meta_path if f not in old_finders)]
    try:
        registry = importlib.import_module(f"{PACKAGE}._registry")
        if not all(isinstance(getattr(registry, name), dict) for name in ("TYPES", "GAPS", "CHECKS", "CHECK_DEFS")):
            raise ImportError(f"{PACKAGE}._registry is not what `motia gen` wrote")
    except BaseException:
        for name in [n for n in sys.modules if _is_ours(n)]:
            del sys.modules[name]
        sys.modules.update(old_modules)
        sys.meta_path[:] = [*old_finders, *(f for f in sys.meta_path if f is not finder)]
        raise
    return registry


def _is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def _stamp_on_disk(folder: Path) -> str:
    """The FINGERPRINT of a generated package, without running it; empty when there is none."""
    try:
        text = (folder.parent / REGISTRY).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    for line in text.splitlines():
        if line.startswith("FINGERPRINT = "):
            return line.removeprefix("FINGERPRINT = ").strip("\"'")
    return ""


class _Finder(MetaPathFinder):
    """Finds `motia_types` and what is in it. At most one is on `sys.meta_path`, first, so that no other package of that name is found."""


class _OnDisk(_Finder):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        importlib.invalidate_caches()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != PACKAGE:
            return None  # its modules are found by the package's own path
        return importlib.util.spec_from_file_location(
            fullname, self._folder / "__init__.py", submodule_search_locations=[str(self._folder)]
        )


class _InMemory(_Finder, InspectLoader):
    """Modules from their text. Tracebacks show their lines, since `linecache` asks the loader for the source."""

    def __init__(self, files: dict[str, str]) -> None:
        self._sources: dict[str, tuple[str, str, bool]] = {}  # module -> path, text, is it a package
        for path, text in files.items():
            if path.endswith(".py"):
                name = path.removesuffix(".py").replace("/", ".")
                is_package = name.endswith(".__init__")
                self._sources[name.removesuffix(".__init__")] = path, text, is_package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._sources:
            return None
        where, _, is_package = self._sources[fullname]
        spec = ModuleSpec(fullname, self, origin=f"{where} (in memory)", is_package=is_package)
        return spec

    def get_source(self, fullname: str) -> str:
        return self._sources[fullname][1]

    def is_package(self, fullname: str) -> bool:
        return self._sources[fullname][2]

    def get_code(self, fullname: str) -> Any:
        where, text, _ = self._sources[fullname]
        return compile(text, f"{where} (in memory)", "exec", dont_inherit=True)
