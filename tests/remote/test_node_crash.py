"""Two processes of the Node worker, one of which crashes: its runs begin anew, those of the other one go on, and it is started again."""

from __future__ import annotations

import logging
from collections import Counter

from support.waiting import until

SPEC = """
name: t
topics: {a: {external: in}, b: {}}
steps:
  Work: {type: event, subscribes: [a], emits: [b], timeout: 60s, handler: steps/work.step.ts}
"""
WORK = """
import { appendFileSync, existsSync } from "node:fs"
export const handler = async (id: string, { emit }: any) => {
  appendFileSync("FOLDER/begun", `${id} ${process.pid}\\n`)
  if (id === "crash" && !existsSync("FOLDER/crashed")) {
    appendFileSync("FOLDER/crashed", `${process.pid}`)
    process.kill(process.pid, "SIGSEGV")
  }
  while (!existsSync("FOLDER/go")) await new Promise((done) => setTimeout(done, 10))
  await emit({ topic: "b", data: id })
}
"""


async def test_a_crash_takes_down_the_runs_of_its_own_process_only(make_remote, node_environ, tmp_path, caplog):
    caplog.set_level(logging.INFO, "motia.worker")
    folder = tmp_path / "seen"
    folder.mkdir()
    begun = folder / "begun"

    def seen() -> list[tuple[str, int]]:
        rows = begun.read_text().splitlines() if begun.exists() else []
        return [(row.split()[0], int(row.split()[1])) for row in rows]

    files = {"steps/work.step.ts": WORK.replace("FOLDER", str(folder))}
    async with make_remote(SPEC, files=files) as remote:
        await remote.node(node_environ, count=2)
        held = [f"held-{n}" for n in range(40)]
        for name in held:
            await remote.app.emit("a", name)
        await until(lambda: len(seen()) == len(held))
        where = dict(seen())
        assert len(set(where.values())) == 2, "40 runs, each to one of two processes"
        await remote.app.emit("a", "crash")
        await until(lambda: any("the Node worker ended with SIGSEGV" in text for text in caplog.messages))
        dead = int((folder / "crashed").read_text())
        lost = [name for name in held if where[name] == dead]
        await until(lambda: len(seen()) == len(held) + 1 + len(lost) + 1, seconds=40)
        (folder / "go").touch()
        await remote.app.settle(40)
        assert sorted(await remote.app.events("b")) == sorted([*held, "crash"])
        assert Counter(name for name, _ in seen()) == {
            **{name: 1 for name in held if where[name] != dead},
            **dict.fromkeys([*lost, "crash"], 2),
        }
        assert await remote.app.dead_letters() == []
        assert any("starting it again" in text for text in caplog.messages)
