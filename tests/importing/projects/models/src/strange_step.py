import os

raise SystemExit("nobody may run this")
config = {"type": "event", "name": "Strange", "subscribes": [os.environ["TOPIC"], "pet.fed"], "input": load(), "emits": []}


async def handler(input, context):
    pass
