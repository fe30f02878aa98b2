async def require_token(req, context, next_fn):
    if req["headers"].get("x-token") != "open":
        return {"status": 401, "body": {"error": "no token"}}
    req["user"] = "somebody"
    response = await next_fn()
    response["headers"] = {**response.get("headers", {}), "x-checked": "yes"}
    return response
