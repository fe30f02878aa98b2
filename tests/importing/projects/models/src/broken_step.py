config = {"type": "event", "name": "Broken", "subscribes": [
