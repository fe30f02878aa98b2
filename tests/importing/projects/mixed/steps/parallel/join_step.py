config = {
    "type": "event",
    "name": "Join",
    "subscribes": ["pms.part.done"],
    "emits": ["pms.complete"],
    "input": {"type": "object", "properties": {"part": {"type": "string"}}, "required": ["part"]},
    "flows": ["parallel-merge"],
}

PARTS = {"a", "b", "c"}


async def handler(input, context):
    found = await context.state.get_group(context.trace_id)
    parts = {part["part"]: part["value"] for part in found if "part" in part}
    if set(parts) >= PARTS:
        done = await context.state.get(context.trace_id, "joined")
        if done.get("data") is None:
            await context.state.set(context.trace_id, "joined", {"total": sum(parts.values())})
            await context.emit({"topic": "pms.complete", "data": {"total": sum(parts.values())}})
