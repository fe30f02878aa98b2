"""The language: a spec as text in, diagnostics and a frozen `Project` out. Pure: no network, no event loop, no user code run.

Names load when first used, so that importing `motia_spec.model` alone stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motia_spec.compile import Compiled, compile_project
    from motia_spec.diagnostics import Diagnostic, Severity, SpecError
    from motia_spec.model import Project
    from motia_spec.place import Place
    from motia_spec.sources import Sources

__all__ = ["Compiled", "Diagnostic", "Place", "Project", "Severity", "Sources", "SpecError", "compile_project"]

_HOMES = {
    "Compiled": "compile",
    "Diagnostic": "diagnostics",
    "Place": "place",
    "Project": "model",
    "Severity": "diagnostics",
    "Sources": "sources",
    "SpecError": "diagnostics",
    "compile_project": "compile",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return found
