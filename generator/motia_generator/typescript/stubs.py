"""First versions of TypeScript and JavaScript handlers that do not exist yet: as `motia_generator.stubs` for Python, and of the same behaviour."""

from __future__ import annotations

import re

from motia_generator.typescript.text import comment, quote
from motia_spec.model import ApiStep, EventStep, Handler, NoopStep, Project

CONFIG = "tsconfig.json"
_CONFIG = """\
{
  "compilerOptions": {
    "target": "es2022",
    "module": "esnext",
    "moduleResolution": "bundler",
    "strict": true,
    "noEmit": true,
    "skipLibCheck": true
  },
  "exclude": ["node_modules", ".motia"]
}
"""
_WORDS = re.compile(
    "await|break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|export|extends|false|finally|for|function|if|implements|"
    "import|in|instanceof|interface|let|new|null|package|private|protected|public|return|static|super|switch|this|throw|true|try|typeof|"
    "var|void|while|with|yield"
)


class _Stub:
    """A file to be. In JavaScript types are comments."""

    def __init__(self, path: str) -> None:
        self._typed = path.endswith(".ts")
        self._imports: set[str] = set()
        self._functions: dict[str, list[str]] = {}

    def add(self, function: str, imported: str, index: str, arguments: str, body: list[str], doc: str) -> None:
        """`imported`: a name of the module "motia"; `index`: the member of it, or empty, that is the function's type."""
        if function in self._functions or _WORDS.fullmatch(function):
            return
        self._imports.add(imported)
        start = f"export const {function}"
        lines = comment([doc])
        if self._typed:
            start += f": {imported}{index}"
        else:
            inside = index.replace("*/", "*\\/")  # a name of the spec does not end the comment
            lines.append(f'/** @type {{import("motia").{imported}{inside}}} */')
        self._functions[function] = [
            *lines,
            f"{start} = async ({arguments}) => {{",
            *(f"  {line}" for line in body),
            "};",
        ]

    def text(self) -> str:
        head = (
            f'import type {{ {", ".join(sorted(self._imports))} }} from "motia";\n\n'
            if self._typed and self._imports
            else ""
        )
        return head + "\n\n".join("\n".join(lines) for lines in self._functions.values()) + "\n"


def stubs(project: Project) -> dict[str, str]:
    """A stub for each TypeScript or JavaScript file that the spec names and that does not exist, and a tsconfig.json for an app with TypeScript.
    Reads the disk only to see what exists."""
    files: dict[str, _Stub] = {}

    def add(handler: Handler, imported: str, index: str, arguments: str, body: list[str], doc: str = "") -> None:
        if handler.language == "node" and not (project.root / handler.path).exists():
            files.setdefault(handler.path, _Stub(handler.path)).add(
                handler.function, imported, index, arguments, body, doc
            )

    for step in project.steps.values():
        if isinstance(step, NoopStep):
            continue
        message, index = quote(f"{step.name} is not written yet"), f"[{quote(step.name)}]"
        if isinstance(step, ApiStep):
            answer = f"return {{ status: 501, body: {{ error: {message} }} }} as never;"
            if step.handler.path.endswith(".js"):
                answer = f"return /** @type {{never}} */ ({{ status: 501, body: {{ error: {message} }} }});"
            add(step.handler, "Handlers", index, "req, ctx", [answer], step.description)
            for middleware in step.middleware:
                doc = "Runs around the handler; answer without `next` to end here."
                add(middleware, "ApiMiddleware", "", "req, ctx, next", ["return next();"], doc)
        else:
            arguments = "input, { logger }" if isinstance(step, EventStep) else "{ logger }"
            add(step.handler, "Handlers", index, arguments, [f"logger.warn({message});"], step.description)
            if isinstance(step, EventStep) and step.condition:
                add(
                    step.condition,
                    "Condition",
                    "",
                    "input",
                    ["return true;"],
                    "Shall the step run? It changes nothing.",
                )
    found = {path: files[path].text() for path in sorted(files)}
    written = [s.handler.path for s in project.steps.values() if not isinstance(s, NoopStep)]
    if any(path.endswith(".ts") for path in written) and not (project.root / CONFIG).exists():
        found[CONFIG] = _CONFIG
    return found
