async def handler(input, context):
    pass
