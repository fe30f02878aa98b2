"""What a handler gets as `ctx`: one per attempt of a run, gone when the handler has returned.

`BaseContext` is what every step has; `Context` adds emits, state and streams without types. Generated contexts (`CreateOrder.Context`)
derive from `BaseContext` and add the same members with the types of their step; at run time all of them are this `Context`.
Plain functions get a `SyncContext`: the same members, but its methods block instead of being awaited.

State writes and emits are buffered and become true together when the handler returns (`effects`). Reads see the run's own writes.
"""

from motia_runtime.context.awaited import BaseState, BaseStreams, Context, State, StateGroup, StreamItems, Streams
from motia_runtime.context.base import BaseContext, Channel, Emission, Running, Secrets, StreamEvent, new_id
from motia_runtime.context.blocking import (
    BaseSyncContext,
    BaseSyncState,
    BaseSyncStreams,
    SyncContext,
    SyncState,
    SyncStateGroup,
    SyncStreamItems,
    SyncStreams,
)

__all__ = [
    "BaseContext",
    "BaseState",
    "BaseStreams",
    "BaseSyncContext",
    "BaseSyncState",
    "BaseSyncStreams",
    "Channel",
    "Context",
    "Emission",
    "Running",
    "Secrets",
    "State",
    "StateGroup",
    "StreamEvent",
    "StreamItems",
    "Streams",
    "SyncContext",
    "SyncState",
    "SyncStateGroup",
    "SyncStreamItems",
    "SyncStreams",
    "new_id",
]
