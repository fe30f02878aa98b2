config = {
    "name": "board",
    "schema": {"type": "object", "required": ["text"], "properties": {"id": {"type": "string"}, "text": {"type": "string"}}},
    "baseConfig": {"storageType": "default"},
}
