"""The whole package `motia_types`, as {path: text}. A pure function of the project: no clock, no disk, no set order."""

from __future__ import annotations

from motia_generator.checks import Checks
from motia_generator.groups_module import Events, Groups
from motia_generator.module import from_import, module
from motia_generator.names import CLASS_RESERVED, Scope, class_name, field_name
from motia_generator.schema_types import SchemaTypes
from motia_generator.schemas_module import Sites, schemas_module, typed_dict
from motia_generator.source import INDENT, Expr, assignment, literal, quote, text
from motia_generator.steps_types import StepNames, event_type, is_handled, step_module
from motia_generator.typescript import declarations, wanted
from motia_spec.model import NoopStep, Project
from motia_spec.stamp import HEADER, PACKAGE, stamp


def generate(project: Project) -> dict[str, str]:
    """Every file of the generated package by path relative to the project's root, in a fixed order."""
    scope = Scope(CLASS_RESERVED)
    types = SchemaTypes(project, scope)
    section = types.name_section(project)
    exported = _export(project, scope)
    types.name_rest()
    sites = Sites(types)
    _name_section_sites(project, types, sites, section)

    payloads: dict[str, Expr] = {}
    for topic in project.topics.values():
        payloads[topic.name] = sites.of(topic.schema, f"{class_name(topic.name)}Data")
    groups, events = Groups(project, sites), Events()
    for group in project.state.values():
        sites.of(group.schema, f"{class_name(group.name)}Value")
    for stream in project.streams.values():
        sites.of(stream.schema, f"{class_name(stream.name)}Item")

    files: dict[str, str] = {}
    modules: dict[str, str] = {}
    taken = Scope()
    for step in project.steps.values():
        if isinstance(step, NoopStep) and step.manual and step.manual.input:
            sites.of(step.manual.input, f"{exported[step.name]}Input")
        if not is_handled(step):
            continue
        modules[step.name] = taken.unique(field_name(step.name))
        for emit in step.emits:
            payloads.setdefault(emit.topic, text("Any"))
        names = StepNames(
            export=exported[step.name],
            module=modules[step.name],
            event=event_type(project, step, sites, payloads),
            state=groups.state(step.uses_state),
            streams=groups.streams(step.uses_streams),
            events={e.topic: events.of(e.topic, payloads[e.topic]) for e in step.emits},
            payloads=payloads,
        )
        files[f"steps/{modules[step.name]}.py"] = step_module(project, step, names, sites)

    steps = {exported[name]: modules[name] for name in modules}
    files["schemas.py"] = schemas_module(types, sites)
    files["groups.py"] = groups.module()
    files["events.py"] = events.module()
    files["handlers.py"] = _handlers(modules)
    files["steps/__init__.py"] = f'{HEADER}\n"""A module for each step of the app."""\n'
    files["_registry.py"] = _registry(project, types, sites)
    files["__init__.py"] = _init(project, types, sites, steps)
    files["py.typed"] = f"{HEADER}\n"
    if wanted(project):
        files["types.d.ts"] = declarations(project)
    return {f"{PACKAGE}/{path}": files[path] for path in sorted(files)}


def exports(project: Project) -> dict[str, str]:
    """What each step is called in `motia_types`: step name -> Python name."""
    scope = Scope(CLASS_RESERVED)
    SchemaTypes(project, scope).name_section(project)
    return _export(project, scope)


def _export(project: Project, scope: Scope) -> dict[str, str]:
    """A step is called like itself, or with "Step" behind it when a schema of the `schemas:` section has the name."""
    return {s.name: scope.unique(class_name(s.name), f"{class_name(s.name)}Step") for s in project.steps.values()}


def _name_section_sites(project: Project, types: SchemaTypes, sites: Sites, section: dict[str, str]) -> None:
    """Every name of the `schemas:` section exists, even when several mean the same schema, or when nothing uses it."""
    for name, schema in project.schemas.items():
        python = section[name]
        typ = types.site(schema, python)
        if typ.expr.flat() != python:
            types.alias(python, typ)
        sites.exprs[schema.id] = text(f"schemas.{python}")


def _handlers(modules: dict[str, str]) -> str:
    """The TypedDict of all handlers, by step name. As a call: step names are any text."""
    keys = tuple((name, text(f"{python}.Handler"), True) for name, python in modules.items())
    body = typed_dict("Handlers", keys) if keys else 'Handlers = TypedDict("Handlers", {})'
    source = module(["What each step's handler is, by the name of the step."], body)
    if not modules:
        return source
    imports = from_import(f"{PACKAGE}.steps", modules.values())
    head, marker, rest = source.partition("from typing import ")
    line, _, after = rest.partition("\n")
    return f"{head}{marker}{line}\n\n{imports}\n{after}"


def _registry(project: Project, types: SchemaTypes, sites: Sites) -> str:
    ids = [(s.id, sites.exprs[s.id]) for s in project.all_schemas() if s.id in sites.exprs]
    entries = tuple(Expr(f"{quote(i)}: {e.head}", e.parts, e.brackets) for i, e in dict(ids).items())
    gaps = {i: types.gaps(types.sites[i]) for i in dict(ids)}
    gap_entries = tuple(_gap(i, keywords) for i, keywords in gaps.items() if keywords)
    checks = Checks(types)
    left = {s.id: checks.of(s.value, types.sites[s.id]) for s in project.all_schemas() if gaps.get(s.id)}
    left = {s.id: left[s.id] for s in project.all_schemas() if s.id in left and left[s.id] != s.value}
    lines = [
        "# The spec that these types are of; the runtime makes them anew when it has another one.",
        assignment("FINGERPRINT", None, literal(stamp(project))),
        "# The type of each schema of the spec.",
        assignment("TYPES", text("dict[str, Any]"), Expr("", entries, "{}")),
        "# Keywords that a type does not enforce: values are then validated a second time.",
        assignment("GAPS", text("dict[str, tuple[str, ...]]"), Expr("", gap_entries, "{}")),
        "# What is left to validate of values that a type with gaps has accepted, and what that refers to.",
        assignment("CHECKS", text("dict[str, Any]"), literal(left)),
        assignment("CHECK_DEFS", text("dict[str, Any]"), literal(checks.defs)),
    ]
    return module(["For the runtime, not for handlers."], "\n".join(lines), modules=("schemas",))


def _gap(id: str, keywords: tuple[str, ...]) -> Expr:
    if len(keywords) == 1:
        return text(f"{quote(id)}: ({quote(keywords[0])},)")
    return Expr(f"{quote(id)}: ", tuple(text(quote(k)) for k in keywords), "()")


_LAZY = '''if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Load a step, or the schemas, when a handler first asks for it."""
        from importlib import import_module

        if name in _STEPS:
            value = import_module(f"{__name__}.steps.{_STEPS[name]}")
        elif name in __all__:
            home = "handlers" if name == "Handlers" else "schemas"
            value = getattr(import_module(f"{__name__}.{home}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value
'''


def _init(project: Project, types: SchemaTypes, sites: Sites, steps: dict[str, str]) -> str:
    shapes = [*types.classes, *types.aliases, *sites.typed_dicts]
    imports = [from_import(f"{PACKAGE}.handlers", ["Handlers"], INDENT)]
    if shapes:
        imports.append(from_import(f"{PACKAGE}.schemas", shapes, INDENT))
    for export, python in sorted(steps.items(), key=lambda pair: (pair[1], pair[0])):
        imports.append(_module_import(python, export))
    exported = [text(quote(name)) for name in sorted([*shapes, *steps, "Handlers"])]
    by_name = tuple(text(f"{quote(export)}: {quote(python)}") for export, python in steps.items())
    body = "\n".join(
        [
            "if TYPE_CHECKING:",
            *imports,
            "",
            assignment("__all__", None, Expr("", tuple(exported), "[]")),
            "",
            assignment("_STEPS", text("dict[str, str]"), Expr("", by_name, "{}")),
            "",
            _LAZY,
        ]
    )
    return module([f"Types of {project.name}.", project.description], body)


def _module_import(python: str, export: str) -> str:
    line = f"{INDENT}from {PACKAGE}.steps import {python} as {export}"
    if len(line) <= 88:
        return line
    return f"{INDENT}from {PACKAGE}.steps import (\n{INDENT * 2}{python} as {export},\n{INDENT})"
