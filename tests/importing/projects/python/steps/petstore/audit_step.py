config = {"type": "cron", "name": "AuditPets", "cron": "0 * * * *", "emits": ["pet.fed"], "flows": ["petstore"]}


async def handler(context):
    pets = await context.state.get_group("pets")
    for pet in pets:
        if pet["status"] != "fed":
            await context.emit({"topic": "pet.fed", "data": {"name": pet["name"]}})
    await context.state.set("counts", "audit", {"pets": len(pets)})
