TOPIC_DONE = "pms.part." + "done"
part_input = {"type": "object", "properties": {"value": {"type": "number"}}, "required": ["value"]}
