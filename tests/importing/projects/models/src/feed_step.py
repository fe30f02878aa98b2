from pets import Pet, NewPet

config = {
    "type": "api",
    "name": "FeedPet",
    "path": "feed",
    "method": "put",
    "bodySchema": NewPet.model_json_schema(),
    "responseSchema": {200: Pet.schema(), "default": {}},
    "middleware": [lambda req, context, next: next()],
    "emits": [f"pet.{'fed'}", make_topic()],
    "flows": ["petstore"],
    "includeFiles": ["*.txt"],
}


async def handler(req, context):
    await context.emit({"topic": "pet.fed", "data": req["body"]})
    return {"status": 200}
