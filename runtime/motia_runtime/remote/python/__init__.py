"""The worker for Python handlers: `motia worker --language python`.

worker    takes runs and says what becomes of them; on the main thread, so that no handler keeps it from showing signs of life
line      what a handler's `ctx` asks of the engine
handlers  the handlers themselves, on a thread and an event loop of their own
"""
