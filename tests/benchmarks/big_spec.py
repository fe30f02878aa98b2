"""A project of any size, for timing: a quarter api, most event, some cron steps, a topic for each, shared and inline schemas."""

from __future__ import annotations

import sys
from pathlib import Path

_HANDLER = '''from motia_types import Step

LIMIT = 1000


async def handler({first}ctx):
    """Do the work of step {index}."""
    order = {{"id": ctx.trace_id, "total": LIMIT * {index}}}
    await ctx.state.set("orders", order["id"], order)
    if order["total"] > LIMIT:
        ctx.logger.info("large", total=order["total"])
    await ctx.emit("work.{index}.done", order)
    return {{"status": 200, "body": order}}
'''


def write_big_spec(folder: Path, steps: int = 1000) -> Path:
    """Write motia.yaml with `steps` steps and their handler files into `folder`; the path of the spec."""
    (folder / "steps").mkdir(parents=True, exist_ok=True)
    (folder / "schemas").mkdir(exist_ok=True)
    (folder / "schemas" / "order.json").write_text(
        '{"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "total": {"type": "number"},'
        ' "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}}},'
        ' "$defs": {"Item": {"type": "object", "properties": {"sku": {"type": "string"}, "qty": {"type": "integer"}}}}}\n'
    )
    lines = ['motia: "1"', "name: big", "policies:", "  retry:", "    patient: { attempts: 5, delay: 2s, max: 1m }"]
    lines += [
        "schemas:",
        "  Order: { $ref: ./schemas/order.json }",
        "state:",
        "  orders: { schema: { $ref: '#/schemas/Order' } }",
    ]
    lines += ["topics:"]
    for index in range(steps):
        lines += [
            f"  work.{index}.done:",
            f"    description: Step {index} is done",
            "    schema:",
            "      type: object",
            "      required: [id]",
            "      properties: { id: { type: string }, total: { type: number, minimum: 0 } }",
        ]
        if index % 4 == 3:
            lines[-5:] = ["    schema: { $ref: '#/schemas/Order' }"]
    lines += ["steps:"]
    for index in range(steps):
        lines += _step(index)
        first = "" if index % 20 == 19 else "data, "
        (folder / "steps" / f"work_{index}.py").write_text(_HANDLER.format(index=index, first=first))
    spec = folder / "motia.yaml"
    spec.write_text("\n".join(lines) + "\n")
    return spec


def _step(index: int) -> list[str]:
    lines = [f"  Work{index}:", f"    description: Work number {index}"]
    if index % 20 == 19:
        lines += ["    type: cron", f'    cron: "{index % 60} */2 * * *"', "    timezone: Europe/Berlin"]
    elif index % 4 == 0:
        lines += [
            "    type: api",
            "    method: POST",
            f"    path: /jobs/{index}/{{id}}",
            "    body: { $ref: '#/schemas/Order' }",
        ]
        lines += ["    responses: { 200: { $ref: '#/schemas/Order' }, 404: { type: object } }"]
    else:
        lines += [
            "    type: event",
            f"    subscribes: [work.{index - 1}.done]",
            "    retry: patient",
            "    timeout: 20s",
        ]
    return [
        *lines,
        f"    handler: steps/work_{index}.py",
        f"    emits: [work.{index}.done]",
        "    uses: { state: [orders] }",
    ]


if __name__ == "__main__":
    print(write_big_spec(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000))  # a script
