from datetime import datetime, timezone

from ..models.pets import pet as schema

config = {
    "type": "event",
    "name": "FeedPet",
    "subscribes": ["pet.registered"],
    "emits": [{"topic": "pet.fed", "label": "when hungry"}],
    "input": schema,
    "flows": ["petstore"],
    "infrastructure": {"queue": {"maxRetries": 1}},
}


async def handler(input, context):
    assert isinstance(input, dict)
    found = await context.state.get("pets", input["name"])
    assert found["data"]["name"] == found["name"] == input["name"]
    missing = await context.state.get("pets", "nobody")
    assert not missing and missing.get("data") is None
    pet = {**input, "status": "fed"}
    await context.state.set("pets", input["name"], {**pet, "at": datetime.now(timezone.utc).isoformat()})
    await context.streams.board.set("all", pet["id"], {"id": pet["id"], "text": "fed"})
    items = await context.streams.board.get_group("all")
    await context.emit({"topic": "pet.fed", "data": {"name": input["name"], "fed": len(items)}})
