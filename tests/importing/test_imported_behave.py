"""Projects in TypeScript, JavaScript and Python, imported and run as they are: `motia import`, `gen`, `check`, `dev`. No package is installed for them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.nodejs import needs_node
from support.process import look, motia, running_app
from support.waiting import wait_for

PROJECTS = Path(__file__).parent / "projects"
MARK = {"x-motia-workbench": "1"}


@pytest.fixture(autouse=True)
def _needs_node() -> None:
    needs_node()


def imported(name: str, folder: Path) -> Path:
    root = folder / name
    shutil.copytree(PROJECTS / name, root)
    for command in ("import", "gen", "check"):
        done = motia(root, command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    return root


def test_the_tutorial_behaves(tmp_path: Path) -> None:
    """Api -> event -> cron, with middleware, state and stream; ES modules and CommonJS."""
    root = imported("tutorial", tmp_path)
    with running_app(root, "dev") as app, httpx.Client(base_url=app.url, headers=MARK, timeout=30) as client:
        app.wait_for("zod is not installed: handlers run")

        def add(**body: Any) -> httpx.Response:
            return client.post("/pets/north?dry=no", json={"pet": {"name": "Ada"}, **body})

        added = add(foodOrder={"quantity": 3})
        assert (added.status_code, added.json()) == (200, {"id": "north-1", "name": "Ada"})
        assert add(pet={"name": ""}).status_code == 400, "zod's min(1), in motia.yaml"
        app.wait_for("request")
        app.wait_for("adding a pet")
        wait_for(lambda: look(root, "state", "ls", "orders"))
        ((name, order),) = look(root, "state", "ls", "orders").items()
        assert order == {"id": name, "quantity": 3, "petId": "north-1", "status": "approved"}
        app.wait_for(f"order {name} of north-1")
        items = client.get("/__workbench/api/streams/orders/all")
        assert '"petId":"north-1"' in items.text.replace(" ", ""), items.text

        assert motia(root, "state", "set", "orders", "late", '{"id": "late", "status": "placed"}').returncode == 0
        run = client.post("/__workbench/api/steps/AuditOrders/run", json={})
        assert run.status_code == 200, run.text
        app.wait_for("late")
        assert look(root, "dlq", "ls") == []


def test_mixed_languages_are_joined_through_state(tmp_path: Path) -> None:
    """Two parts in Python and one in TypeScript write to one group of state; who sees all three goes on."""
    root = imported("mixed", tmp_path)
    with running_app(root, "dev") as app:
        traces = {}
        for n in range(5):
            answer = httpx.post(app.url + "/parallel", json={"value": n}, timeout=30)
            assert answer.status_code == 202, answer.text
            traces[answer.json()["traceId"]] = n * 6
        wait_for(lambda: len(look(root, "state", "ls", "totals")) == 5)
        assert {trace: total["total"] for trace, total in look(root, "state", "ls", "totals").items()} == traces
        assert look(root, "dlq", "ls") == []


def test_zod_that_is_not_there_is_missed_only_where_it_is_used(tmp_path: Path) -> None:
    """And one that is installed is the one that files get."""
    root = tmp_path
    (root / "steps").mkdir()
    (root / "motia.yaml").write_text(
        "name: z\nsteps:\n"
        "  Esm: {type: api, method: GET, path: /esm, handler: steps/esm.step.ts}\n"
        "  Cjs: {type: api, method: GET, path: /cjs, handler: steps/cjs.step.js}\n"
    )
    (root / "steps" / "esm.step.ts").write_text(
        "import zod, { z } from 'zod'\n"
        "const Pet = zod.object({ id: z.string().min(1) }).and(z.record(z.string(), z.unknown()))\n"
        "export const config = { type: 'api', bodySchema: Pet }\n"
        "export const handler = async () => ({ status: 200, body: Pet.parse({ id: 'x' }) })\n"
    )
    (root / "steps" / "cjs.step.js").write_text(
        "const { z } = require('zod')\n"
        "const kinds = z.enum(['a', 'b']).options\n"
        "exports.handler = async () => ({ status: 200, body: kinds.includes('a') })\n"
    )
    with running_app(root, "dev") as app:
        assert httpx.get(app.url + "/esm", timeout=30).status_code == 500
        app.wait_for("parse needs the npm package zod, which is not installed: npm install zod")
        assert httpx.get(app.url + "/cjs", timeout=30).status_code == 500
        app.wait_for("includes needs the npm package zod, which is not installed")
        package = root / "node_modules" / "zod"
        package.mkdir(parents=True)
        (package / "package.json").write_text('{"name": "zod", "version": "0.0.0", "main": "index.js"}')
        (package / "index.js").write_text(
            "const schema = new Proxy(() => schema, { get: (_, name) => "
            "name === 'parse' ? (value) => value : name === 'options' ? ['a'] : name === 'then' ? undefined : schema })\n"
            "exports.z = schema\nexports.object = schema\n"
        )
        heard = len(app.lines)
        (root / "steps" / "esm.step.ts").write_text((root / "steps" / "esm.step.ts").read_text() + "// saved\n")
        app.wait_for("reloaded in", after=heard)
        assert httpx.get(app.url + "/esm", timeout=30).json() == {"id": "x"}
        assert httpx.get(app.url + "/cjs", timeout=30).json() is True
