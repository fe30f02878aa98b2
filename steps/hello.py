from __future__ import annotations

from motia_types import Greeting, Hello


async def handler(request: Hello.Request, ctx: Hello.Context) -> Hello.Response:
    name = request.query_params["name"]
    ctx.logger.info("greeting", name=name)
    return Hello.Ok(Greeting(message=f"Hello, {name}!"))
