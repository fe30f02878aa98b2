"""Each line that ends with "wrong" must be an error for mypy and pyright, and no other line may be."""

from motia_runtime.handler import StateChange
from motia_types import Index, Parcel, Send, Watch, Weigh


async def send(both: Send.Input, ctx: Send.Context) -> None:
    print(both["order.sent"])  # wrong: no topic of the join
    print(both["order.paid"].box)  # wrong: the other one has it
    print(both.paid)  # wrong: a mapping


async def index(events: Index.Input, ctx: Index.Context) -> None:
    print(events.id)  # wrong: a list
    print(events[0].weight)  # wrong: only one of the two has it


async def watch(change: Watch.Input, ctx: Watch.Context) -> None:
    print(change.key)  # wrong: changes of a stream have no key
    if isinstance(change, StateChange):
        print(change.value.weight)  # wrong: it may be deleted


async def one(parcel: Parcel, ctx: Weigh.Context) -> None:
    print(parcel.weight)


handler: Weigh.Handler = one  # wrong: it takes one, and a list comes
