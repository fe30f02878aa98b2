new_pet = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "kind": {"type": "string", "default": "cat"}},
    "required": ["name"],
}
pet = {**new_pet, "properties": {**new_pet["properties"], "id": {"type": "string"}, "status": {"enum": ["new", "fed"]}}}
