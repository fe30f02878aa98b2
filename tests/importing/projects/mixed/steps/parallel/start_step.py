config = {
    "type": "api",
    "name": "ParallelStart",
    "method": "POST",
    "path": "/parallel",
    "emits": ["pms.start"],
    "flows": ["parallel-merge"],
}


async def handler(req, context):
    await context.emit({"topic": "pms.start", "data": {"value": req["body"]["value"]}})
    return {"status": 202, "body": {"traceId": context.trace_id}}
