config = {
    "type": "event",
    "name": "CountFed",
    "subscribes": ["pet.fed"],
    "input": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
    "emits": [],
    "flows": ["petstore"],
}


def handler(input, context):
    """A plain function: the original awaits what it returns, if it can be awaited."""
    fed = context.state.get("counts", "fed")
    context.state.set("counts", "fed", {"names": [*fed.get("names", []), input["name"]]})
