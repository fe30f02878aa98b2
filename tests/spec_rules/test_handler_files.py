"""Handler files: where they may be, and what the functions in them must take. Nothing in them is run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Check = Callable[..., Any]

API = "steps:\n  CreateOrder: { type: api, method: GET, path: / }\n"


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        ("os:system", "M501"),
        ("steps.create:handler", "M501"),
        ("steps/a", "M501"),
        ("steps/a.rb", "M501"),
        ("steps/a.py:", "M501"),
        ("steps/a.py:a b", "M501"),
        ("steps/a.py:__import__('os')", "M501"),
        ("../../../../etc/passwd.py", "M502"),
        ("../../../../etc/passwd", "M502"),
        ("steps/../../a.py", "M502"),
        ("/etc/a.py", "M502"),
        ("C:\\\\a.py", "M502"),
        ("\\\\\\\\evil\\\\a.py", "M502"),
        ("https://evil.example/a.py", "M502"),
    ],
)
def test_handlers_that_are_no_files_of_the_project(handler: str, code: str, check: Check) -> None:
    found = check(f'steps:\n  A: {{ type: api, method: GET, path: /, handler: "{handler}" }}\n')
    finding = found.only(code)
    assert (finding.place.line, finding.place.column, finding.path) == (2, 50, "/steps/A/handler")
    assert found.errors == [code]


def test_symbolic_links_out_of_the_project(check: Check, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-evil.py"
    outside.write_text("async def handler(request, ctx): ...\n")
    (tmp_path / "steps").mkdir()
    os.symlink(outside, tmp_path / "steps" / "a.py")
    os.symlink(tmp_path.parent, tmp_path / "out")
    for path in ("steps/a.py", f"out/{outside.name}"):
        found = check(f"steps:\n  A: {{ type: api, method: GET, path: /, handler: {path} }}\n", handlers=True)
        assert found.errors == ["M502"]


def test_a_conventional_file_that_links_out_of_the_project(check: Check, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-evil.py"
    outside.write_text("async def handler(request, ctx): ...\n")
    (tmp_path / "steps").mkdir()
    os.symlink(outside, tmp_path / "steps" / "create_order.py")
    assert check(API, handlers=True).errors == ["M502"]


@pytest.mark.parametrize(
    ("present", "path"),
    [
        ("create_order.py", "steps/create_order.py"),
        ("create_order_step.py", "steps/create_order_step.py"),
        ("create_order.ts", "steps/create_order.ts"),
        ("create_order.js", "steps/create_order.js"),
        ("create-order.step.ts", "steps/create-order.step.ts"),
        ("create_order.step.js", "steps/create_order.step.js"),
        ("CreateOrder.step.ts", "steps/CreateOrder.step.ts"),
        ("other.py", "steps/create_order.py"),
    ],
)
def test_the_file_by_convention(present: str, path: str, check: Check) -> None:
    project = check(API, {f"steps/{present}": ""}).compiled.require()
    assert project.steps["CreateOrder"].handler.path == path
    assert not project.steps["CreateOrder"].handler.explicit


def test_a_missing_file_gets_a_stub_or_a_suggestion(check: Check) -> None:
    found = check(
        """\
        steps:
          CreateOrder: { type: api, method: GET, path: /a }
          Other: { type: api, method: GET, path: /b, handler: steps/ohter.py }
        """,
        {"steps/other.py": "def handler(request, ctx): ..."},
        handlers=True,
    )
    conventional, explicit = found.all("M503")
    assert (conventional.place.line, conventional.place.column) == (2, 3)
    assert "there is no file steps/create_order.py" in conventional.message
    assert conventional.hint == "`motia gen` writes a stub for it"
    assert explicit.hint == 'did you mean "steps/other.py"?'
    assert check(API).errors == [], "handlers=False leaves the files alone"


def test_a_syntax_error_stands_in_the_file(check: Check) -> None:
    found = check(API, {"steps/create_order.py": "import os\n\ndef handler(request, ctx)\n    pass\n"}, handlers=True)
    finding = found.only("M504")
    assert (finding.place.file, finding.place.line) == ("steps/create_order.py", 3)
    assert "expected ':'" in finding.message
    assert found.compiled.sources.line("steps/create_order.py", 3) == "def handler(request, ctx)"


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("async def handler(request, ctx): ...", None, ""),
        ("def handler(request, ctx, extra=1, *, more=2): ...", None, ""),
        ("def handler(*args): ...", None, ""),
        ("handler = lambda r, c: 1", None, ""),
        ("from other import handler", None, ""),
        ("from other import *", None, ""),
        ("def __getattr__(name): ...", None, ""),
        ("@decorated\ndef handler(): ...", None, ""),
        ("if True:\n    def handler(request, ctx): ...", None, ""),
        ("try:\n    from a import handler\nexcept ImportError:\n    handler = None", None, ""),
        ("def work(request, ctx): ...\nhandler = work", None, ""),
        ("def handler(request, ctx):\n    def inner():\n        yield 1\n    return list(inner())", None, ""),
        ("def handle(request, ctx): ...", "M505", "has no function 'handler'; it has: handle"),
        ("", "M505", "it has: none"),
        ("class A:\n    def handler(self, ctx): ...", "M505", "it has: none"),
        ("class handler: ...", "M506", "is a class, not a function"),
        ("handler = {'type': 'api'}", "M506", "is a value"),
        ("def handler(): ...", "M507", "takes 0 arguments and is given (request, ctx)"),
        ("def handler(request): ...", "M507", "takes 1 argument and is given"),
        ("def handler(request, ctx, other): ...", "M507", "needs 3 arguments"),
        ("def handler(request, ctx, *, other): ...", "M507", "requires the keyword 'other'"),
        ("def handler(request):\n    ...\nrun = handler\nhandler = run", "M507", "takes 1 argument"),
        ("async def handler(request, ctx):\n    yield 1", None, ""),
        ("def handler(request, ctx):\n    yield from [1]", None, ""),
        ("x = 1\0", "M504", "not valid Python"),
        ("(" * 5000, "M504", "not valid Python"),
        ("# -*- coding: nonsense -*-\n", "M504", "not valid Python"),
    ],
)
def test_functions(source: str, code: str | None, words: str, check: Check) -> None:
    found = check(API, {"steps/create_order.py": source}, handlers=True)
    if code is None:
        assert found.errors == [], found.describe()
    else:
        assert found.errors == [code], found.describe()
        assert words in found.only(code).message


def test_only_api_steps_stream_and_not_with_idempotency(check: Check) -> None:
    found = check(
        """\
        defaults: { api: { middleware: [steps/f.py:three] } }
        topics: { a: { external: in } }
        streams: { s: { access: steps/f.py:three } }
        steps:
          A: { type: api, method: GET, path: /a, handler: steps/f.py:two }
          B: { type: api, method: GET, path: /b, handler: steps/f.py:two, idempotency: { window: 1h } }
          C: { type: event, subscribes: [a], handler: steps/f.py:two, condition: steps/f.py:two }
          D: { type: cron, cron: "@daily", handler: steps/f.py:one }
        server: { streamAuth: steps/f.py:two }
        """,
        {
            "steps/f.py": "def one(a):\n    yield\nasync def two(a, b):\n    yield\nasync def three(a, b, c):\n    yield\n"
        },
        handlers=True,
    )
    assert {d.message.partition(":")[0] for d in found.all("M508")} == {"A", "B", "C", "D", "s", "server"}
    [kept] = [d for d in found.all("M508") if d.message.startswith("B:")]
    assert "`idempotency` keeps only answers that are given whole" in kept.message


def test_a_file_that_is_not_utf8(check: Check, tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "create_order.py").write_bytes(b"x = '\xff'\n")
    assert check(API, handlers=True).errors == ["M504"]


def test_a_folder_in_place_of_a_file(check: Check, tmp_path: Path) -> None:
    (tmp_path / "steps" / "create_order.py").mkdir(parents=True)
    assert "is a directory" in check(API, handlers=True).only("M503").message


def test_every_role_is_given_its_own_arguments(check: Check) -> None:
    found = check(
        """\
        defaults: { api: { middleware: [steps/f.py:one] } }
        topics: { a: { external: in } }
        streams: { s: { access: steps/f.py:two } }
        steps:
          A: { type: api, method: GET, path: /a, handler: steps/f.py:two, middleware: [steps/f.py:three, steps/f.py:two] }
          B: { type: event, subscribes: [a], handler: steps/f.py:three, condition: steps/f.py:one }
          C: { type: cron, cron: "@daily", handler: steps/f.py:three }
          D: { type: cron, cron: "@daily", handler: steps/f.py:one }
          E: { type: cron, cron: "@daily", handler: steps/f.py:two }
        server: { streamAuth: steps/f.py:three }
        """,
        {"steps/f.py": "def one(a): ...\ndef two(a, b): ...\ndef three(a, b, c): ...\n"},
        handlers=True,
    )
    assert [(d.place.line, d.path) for d in found.all("M507")] == [
        (1, "/steps/A/middleware"),
        (3, "/streams/s/access"),
        (5, "/steps/A/middleware"),
        (6, "/steps/B/handler"),
        (6, "/steps/B/condition"),
        (7, "/steps/C/handler"),
        (10, "/server/streamAuth"),
    ]
    assert found.all("M507")[0].hint == "write async def one(request, ctx, next); further parameters need defaults"


def test_a_finding_about_shared_middleware_comes_once(check: Check) -> None:
    found = check(
        """\
        defaults: { api: { middleware: [steps/f.py:one] } }
        steps:
          A: { type: api, method: GET, path: /a, handler: steps/f.py:two }
          B: { type: api, method: GET, path: /b, handler: steps/f.py:two }
        """,
        {"steps/f.py": "def one(a): ...\ndef two(a, b): ...\n"},
        handlers=True,
    )
    assert found.errors == ["M507"]


def test_handlers_are_never_run(check: Check, tmp_path: Path) -> None:
    source = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\ndef handler(request, ctx): ...\n"
    assert check(API, {"steps/create_order.py": source}, handlers=True).errors == []
    assert not (tmp_path / "ran").exists()


SCRIPT = "steps:\n  CreateOrder: { type: api, method: GET, path: /, handler: steps/a.step.ts }\n"


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("export const handler: Handlers['CreateOrder'] = async (req, { emit }) => {}", None, ""),
        ("export async function handler(req) { return `a${`b`}` }", None, ""),
        ("export function* handler() {}", None, ""),
        ("const run = 1\nexport { run as handler, type Other }", None, ""),
        ("export { handler } from './other'", None, ""),
        ("export * from './other'", None, ""),
        ("export const { handler } = make()", None, ""),
        ("export const other = 1, handler = 2", None, ""),
        ("exports.handler = async () => {}", None, ""),
        ("module.exports = { other, handler }", None, ""),
        ("module.exports = { other, async handler(req) {} }", None, ""),
        ("module.exports = make()", None, ""),
        ("module.exports.handler = async () => {}", None, ""),
        ("Object.defineProperty(exports, 'handler', { value: 1 })", None, ""),
        ("if (x) { module.exports = y }", None, ""),
        ("const broken = `", None, ""),
        ("\xff", None, ""),
        ("", "M505", "exports no 'handler'; it has: none"),
        ("const handler = async () => {}", "M505", "exports no 'handler'"),
        ("// export const handler = 1\n/* export const handler */", "M505", "exports no"),
        ("const a = 'export const handler = 1', b = `export const handler`, c = /export const handler/", "M505", ""),
        ("export type handler = string\nexport interface Other {}", "M505", "it has: none"),
        ("export default async function work() {}", None, ""),
        ("export default async (req) => {}", None, ""),
        ("export default { handler }", None, ""),
        ("export const handle = async () => {}", "M505", "it has: handle"),
        ("export { work as default }", None, ""),
        ("export { work as other }", "M505", "it has: other"),
        ("module.exports = { handle, [name]: 1 }", None, ""),
        ("module.exports = { handle: { handler } }", "M505", "it has: handle"),
        ("export class handler {}", "M506", "is a class"),
        ("export const handler = { type: 'api' }\n", "M506", "is a value"),
        ("export const handler = 'x';", "M506", "is a value"),
        ("export const handler = { a: 1 }.a", None, ""),
    ],
)
def test_exports(source: str, code: str | None, words: str, check: Check, tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "a.step.ts").write_bytes(source.encode("latin-1"))
    found = check(SCRIPT, handlers=True)
    if code is None:
        assert found.errors == [], found.describe()
    else:
        assert found.errors == [code], found.describe()
        assert words in found.only(code).message


def test_a_missing_export_is_named_with_its_type(check: Check) -> None:
    found = check(SCRIPT, {"steps/a.step.ts": "export const other = 1\n"}, handlers=True)
    assert found.only("M505").hint == 'add export const handler: Handlers["CreateOrder"] = async (request, ctx) => ...'


@pytest.mark.parametrize("hostile", ["/* ", "a=[/[", "`${", "((((", "\\", "'", "/", "#!"])
def test_long_hostile_scripts_take_no_time(hostile: str, check: Check) -> None:
    text = hostile * (250_000 // len(hostile))
    assert check(SCRIPT, {"steps/a.step.ts": text}, handlers=True).errors in ([], ["M505"])


@pytest.mark.parametrize(
    ("path", "source", "line"),
    [
        ("steps/a.py", "\nconfig = {'type': 'api', 'name': 'A'}\nasync def handler(req, context): ...\n", 2),
        (
            "steps/a.py",
            "config: dict = {'name': 'A', 'type': 'api', **more}\nasync def handler(req, context): ...\n",
            1,
        ),
        ("steps/a.py", "config = {'name': 'A'}\nasync def handler(req, context): ...\n", None),
        ("steps/a.py", "config = load()\nasync def handler(req, context): ...\n", None),
        ("steps/a.ts", "export const config: ApiRouteConfig = { type: 'api' }\nexport const handler = f\n", 1),
        ("steps/a.js", "exports.config = {}\nexports.handler = f\n", 1),
    ],
)
def test_a_config_block_is_noted(path: str, source: str, line: int | None, check: Check) -> None:
    spec = f"steps:\n  A: {{ type: api, method: GET, path: /, handler: {path} }}\n"
    found = check(spec, {path: source}, handlers=True)
    if line is None:
        assert found.all("M509") == []
    else:
        finding = found.only("M509")
        assert (finding.severity, finding.place.file, finding.place.line) == ("note", path, line)
        assert found.errors == []


@pytest.mark.parametrize(
    ("spec", "faulty"),
    [
        ("steps:\n  A: { type: api, method: GET, path: /, handler: a.ts, middleware: [b.py, c.ts] }\n", False),
        ("steps:\n  A: { type: api, method: GET, path: /, handler: a.ts, middleware: [b.ts, c.py] }\n", True),
        ("steps:\n  A: { type: api, method: GET, path: /, handler: a.py, middleware: [b.ts] }\n", True),
        ("topics: { t: {} }\nsteps:\n  A: { type: event, subscribes: [t], handler: a.ts, condition: b.ts }\n", False),
        ("topics: { t: {} }\nsteps:\n  A: { type: event, subscribes: [t], handler: a.ts, condition: b.py }\n", False),
        ("topics: { t: {} }\nsteps:\n  A: { type: event, subscribes: [t], handler: a.py, condition: b.js }\n", True),
        ("server: { streamAuth: a.ts }\n", True),
        ("streams: { s: { access: a.js } }\n", True),
        ("streams: { s: { access: a.py } }\n", False),
    ],
)
def test_functions_in_a_language_that_is_not_called(spec: str, faulty: bool, check: Check) -> None:
    found = check(spec)
    assert found.errors == (["M510"] if faulty else []), found.describe()
    if faulty:
        assert found.only("M510").place.line > 0
