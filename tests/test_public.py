"""The public surface: `__all__` says what is there, no more and no less; and the names that handlers are written against stay."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from types import ModuleType

import pytest

import motia_generator
import motia_runtime
import motia_spec

PACKAGES = (motia_spec, motia_generator, motia_runtime)


def modules() -> list[str]:
    found = []
    for package in PACKAGES:
        found.append(package.__name__)
        found += [
            m.name
            for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
            if m.name != "motia_runtime.__main__"
        ]
    return [name for name in found if hasattr(import_module(name), "__all__")]


def defined(module: ModuleType) -> set[str]:
    """Functions and classes that the module itself defines, without those that begin with an underscore."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", modules())
def test_all_is_what_is_there(name: str) -> None:
    module = import_module(name)
    missing = [entry for entry in module.__all__ if not hasattr(module, entry)]
    assert missing == []
    assert defined(module) <= set(module.__all__), "public by name, but not in __all__"
    assert len(module.__all__) == len(set(module.__all__))


def test_the_packages_offer_these_names() -> None:
    assert set(motia_spec.__all__) == {
        "Compiled", "Diagnostic", "Place", "Project", "Severity", "Sources", "SpecError", "compile_project",
    }  # fmt: skip
    assert set(motia_generator.__all__) == {"generate", "stubs"}


def test_handlers_rely_on_these_names() -> None:
    from motia_runtime import context, handler

    assert {
        "Fault", "InvalidHeader", "InvalidKey", "InvalidTopic", "Model", "NonRetryable", "Problem", "ReadOnly", "Request",
        "Response", "RetryLater", "ServerSentEvent", "StateChange", "StreamChange", "TooManyEffects", "Trigger", "ValidationFailed",
    } == defined(handler)  # fmt: skip
    assert set(handler.Request.__slots__) == {
        "body", "headers", "method", "path", "path_params", "query_params", "raw_body",
    }  # fmt: skip
    on_ctx = {
        "attempt",
        "emit",
        "flush",
        "logger",
        "new_id",
        "secrets",
        "state",
        "step",
        "streams",
        "topic",
        "trace_id",
        "trigger",
    }
    for kind in (context.Context, context.SyncContext):
        assert on_ctx <= set(dir(kind))
    state = {"clear", "delete", "get", "get_group", "history", "items", "keys", "list", "set", "update"}
    for groups in (context.State, context.SyncState):
        assert state <= set(dir(groups))
    for group in (context.StateGroup, context.SyncStateGroup):
        assert state - {"get_group"} <= set(dir(group))
