config = {"type": "event", "name": "FeedPet", "subscribes": ["pet.fed"], "emits": []}
