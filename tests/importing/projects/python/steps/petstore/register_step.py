from steps.models.pets import new_pet, pet
from steps.petstore.checks import require_token

SHOP = "petstore"

config = {
    "type": "api",
    "name": "RegisterPet",
    "description": "adds a pet for $5",
    "path": "/pets/:shop",
    "method": "POST",
    "bodySchema": new_pet,
    "responseSchema": {201: pet, 401: {"type": "object", "properties": {"error": {"type": "string"}}}},
    "middleware": [require_token],
    "emits": ["pet.registered"],
    "flows": [SHOP],
}


async def handler(req, context):
    body = req.get("body", {})
    shop = req["pathParams"]["shop"]
    existing = await context.state.get("pets", body["name"])
    if existing:
        return {"status": 200, "body": existing}
    added = {**body, "id": f"{shop}-{body['name']}", "status": "new", "by": req["user"]}
    added.setdefault("kind", "cat")
    assert isinstance(req, dict) and isinstance(body, dict) and isinstance(req["rawBody"], str)
    context.logger.info("registering", {"name": body["name"], "quiet": req["queryParams"].get("quiet"), "flows": context.flows})
    await context.state.set("pets", body["name"], added)
    await context.emit({"topic": "pet.registered", "data": added})
    return {"status": 201, "headers": {"x-trace": context.trace_id}, "body": added}
