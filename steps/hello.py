from __future__ import annotations

from motia_types import Hello


async def handler(request: Hello.Request, ctx: Hello.Context) -> Hello.Response:
    name = request.query_params.name
    ctx.logger.info("greeting", name=name)
    return {"status": 200, "body": {"message": f"Hello, {name}!"}}
