from .common import TOPIC_DONE, part_input

config = {
    "type": "event",
    "name": "PartA",
    "subscribes": ["pms.start"],
    "emits": [TOPIC_DONE],
    "input": part_input,
    "flows": ["parallel-merge"],
}


async def handler(input, context):
    await context.state.set(context.trace_id, "a", {"part": "a", "value": input["value"] * 2})
    await context.emit({"topic": TOPIC_DONE, "data": {"part": "a"}})
