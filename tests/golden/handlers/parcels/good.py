"""What people write for steps that get several events at once, or changes."""

from motia_runtime.handler import StateChange
from motia_types import Either, Handlers, Index, Note, OrderPackedData, Parcel, Send, Watch, Weigh


async def send(both: Send.Input, ctx: Send.Context) -> None:
    print(both["order.paid"].weight, both["order.packed"].box, ctx.trace_id)


async def index(events: Index.Input, ctx: Index.Context) -> None:
    for event in events:
        if isinstance(event, Parcel):
            print(event.weight)
        else:
            print(event.box)


async def is_indexed(event: Index.Event, ctx: Index.Context) -> bool:
    return event.id != ""


def weigh(parcels: Weigh.Input, ctx: Weigh.SyncContext) -> None:
    print(sum(parcel.weight for parcel in parcels))


async def watch(change: Watch.Input, ctx: Watch.Context) -> None:
    if isinstance(change, StateChange):
        print(change.key, change["key"])
        if change.value is not None:
            print(change.value.weight)
    elif change.previous is None and change.value is not None:
        print(change.stream, change.group, change.id, change.value.open)


async def either(data: Either.Input, ctx: Either.Context) -> None:
    if isinstance(data, OrderPackedData):
        print(data.box)
    else:
        print((data.value or 0) - (data.previous or 0))


async def note(anything: Note.Input, ctx: Note.Context) -> None:
    print(len(anything))


handlers: Handlers = {
    "Send": send,
    "Index": index,
    "Weigh": weigh,
    "Watch": watch,
    "Either": either,
    "Note": note,
    "Begin": lambda request, ctx: None,
}
