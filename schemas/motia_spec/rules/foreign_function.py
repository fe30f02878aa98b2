"""M510: a function in a language that can't run where it is called. Workers run handlers in TypeScript and JavaScript, with what stands right around
them; the app itself calls the rest, and it is Python."""

from __future__ import annotations

from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, error
from motia_spec.model import ApiStep, EventStep, Handler
from motia_spec.rules.base import Checking


def check(checking: Checking) -> Iterator[Diagnostic]:
    project = checking.project
    for step in project.steps.values():
        at = checking.step(step.name)
        if isinstance(step, ApiStep):
            inner = len(step.middleware)
            while inner and step.middleware[inner - 1].language == step.handler.language:
                inner -= 1  # these go along with the handler
            for function in step.middleware[:inner]:
                if function.language != "python":
                    remedy = (
                        "name it after those in Python" if step.handler.language == "node" else "write it in Python"
                    )
                    yield _fault(
                        f"the middleware {function.path} of {step.name}", function, remedy, at.at("middleware")
                    )
        elif isinstance(step, EventStep) and step.condition and _differs(step.condition, step.handler):
            remedy = f"write it in Python, as the handler {step.handler.path} is"
            what = f"the condition {step.condition.path} of {step.name}"
            yield _fault(what, step.condition, remedy, at.at("condition"))
    streams = checking.spec.map("streams")
    for stream in project.streams.values():
        if stream.access and stream.access.language == "node":
            path = f"{streams.at(stream.name)}/access"
            yield _fault(f"access {stream.access.path} of {stream.name}", stream.access, "write it in Python", path)
    auth = project.server.stream_auth
    if auth and auth.language == "node":
        yield _fault(f"streamAuth {auth.path}", auth, "write it in Python", "/server/streamAuth")


def _differs(function: Handler, handler: Handler) -> bool:
    return function.language == "node" and handler.language == "python"


def _fault(what: str, function: Handler, remedy: str, path: str) -> Diagnostic:
    message = f"{what} is TypeScript or JavaScript, which the app itself can't call"
    return error("M510", function.place, message, hint=remedy, path=path)
