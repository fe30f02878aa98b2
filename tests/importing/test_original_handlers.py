"""Python handlers of the original's form, unchanged: dicts in, `context.emit({...})`, `state.get_group`, `streams.NAME.set`, middleware with `next()`."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx

from motia_generator.importing import read_project
from motia_runtime.testing import run_app
from support.process import running_app
from support.waiting import wait_for

PROJECTS = Path(__file__).parent / "projects"


def copied(name: str, folder: Path) -> Path:
    """A copy of a project, imported."""
    root = folder / name
    shutil.copytree(PROJECTS / name, root)
    (root / "motia.yaml").write_text(read_project(root).text)
    return root


async def test_the_python_project_behaves(tmp_path: Path) -> None:
    """Api, middleware, event, state, stream, plain function and cron, each as it was written for the original."""
    root = copied("python", tmp_path)
    async with run_app(root, environ={}, start=1_700_000_000.0) as app:
        refused = await app.request("POST", "/pets/north", json={"name": "Ada"})
        assert (refused.status, refused.json()) == (401, {"error": "no token"})
        answer = await app.request("POST", "/pets/north?quiet=1", json={"name": "Ada"}, headers={"x-token": "open"})
        assert answer.status == 201, answer.body
        assert answer.json() == {"name": "Ada", "kind": "cat", "id": "north-Ada", "status": "new", "by": "somebody"}
        assert (answer.headers["x-checked"], len(answer.headers["x-trace"])) == ("yes", 32)
        await app.settle()
        assert [e["fed"] for e in await app.events("pet.fed")] == [1]
        fed = await app.state.get("pets", "Ada")
        assert fed["status"] == "fed"
        assert await app.state.get("counts", "fed") == {"names": ["Ada"]}
        again = await app.request("POST", "/pets/north", json={"name": "Ada"}, headers={"x-token": "open"})
        assert (again.status, again.json()) == (200, fed)
        wrong = await app.request("POST", "/pets/north", json={"name": ""}, headers={"x-token": "open"})
        assert wrong.status == 400, "what the original did not enforce is enforced"
        await app.advance(3600)
        assert await app.state.get("counts", "audit") == {"pets": 1}
        assert await app.dead_letters() == []


async def test_parallel_steps_are_joined_through_state(tmp_path: Path) -> None:
    root = copied("mixed", tmp_path)
    python = (root / "steps/parallel/a_step.py").read_text().replace("PartA", "PartC").replace('"a"', '"c"')
    (root / "steps/parallel/c.step.ts").unlink()
    (root / "steps/parallel/c_step.py").write_text(python)
    (root / "motia.yaml").write_text(read_project(root).text)
    async with run_app(root, environ={}) as app:
        answers = [await app.request("POST", "/parallel", json={"value": n}) for n in range(5)]
        await app.settle()
        totals = {a.json()["traceId"]: n * 6 for n, a in enumerate(answers)}
        assert len(await app.events("pms.complete")) == 5
        assert {trace: (await app.state.get("totals", trace))["total"] for trace in totals} == totals


async def test_isolated_handlers_are_of_the_same_form(tmp_path: Path) -> None:
    root = copied("python", tmp_path)
    spec = (root / "motia.yaml").read_text()
    isolated = spec.replace(
        "    subscribes: [pet.registered]\n", "    subscribes: [pet.registered]\n    isolation: process\n"
    )
    assert isolated != spec
    (root / "motia.yaml").write_text(isolated)
    async with run_app(root, environ={}) as app:
        await app.request("POST", "/pets/north", json={"name": "Ada"}, headers={"x-token": "open"})
        await app.settle(60)
        assert (await app.state.get("pets", "Ada"))["status"] == "fed"
        assert await app.state.get("counts", "fed") == {"names": ["Ada"]}


def test_on_a_real_broker_and_over_a_socket(tmp_path: Path) -> None:
    with running_app(copied("python", tmp_path)) as app:

        def register() -> httpx.Response:
            return httpx.post(f"{app.url}/pets/north", json={"name": "Ada"}, headers={"x-token": "open"}, timeout=30)

        assert register().status_code == 201
        wait_for(lambda: register().json()["status"] == "fed", "the pet was not fed")
        assert register().headers["x-checked"] == "yes"
