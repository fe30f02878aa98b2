config = {"type": "event", "name": "Complete", "subscribes": ["pms.complete"], "emits": [], "flows": ["parallel-merge"]}


async def handler(input, context):
    await context.state.set("totals", context.trace_id, input)
