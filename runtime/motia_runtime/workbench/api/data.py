"""State and streams: groups, keys and items, their revisions, and changing them by hand."""

from __future__ import annotations

from typing import Any

import msgspec

from motia_runtime.http.problems import Refused
from motia_runtime.naming import item_names, items_pattern, stream_pattern
from motia_runtime.ports import Conflict, Record
from motia_runtime.state import is_deleted, subject_of
from motia_runtime.trace import parse
from motia_runtime.workbench.bench import Bench, Missing
from motia_runtime.workbench.call import Call, number

SHOWN = 10_000  # keys in a list
PREVIEW = 200  # characters of a value in a list
PAGE_SIZE = 8 << 20  # bytes of values in a list that has them whole, after which it ends


async def get_groups(call: Call) -> Any:
    """State groups that hold something or are declared."""
    return {"groups": await call.bench.state.groups()}


async def get_group(call: Call) -> Any:
    """The keys of a group, those that have `text` in key or value, ordered by key. `values`: with their values, page by page, from behind the key `after`."""
    (group,) = call.values
    query = call.query("text", "limit", "values", "after")
    text, limit = query.get("text", "").lower(), number(query.get("limit"), 500, SHOWN)
    values = await call.bench.state.read_group(group)
    if "values" in query:
        return _whole(group, values, query.get("after"), limit)
    rows = [
        {"key": key, "size": len(data), "preview": _preview(data)}
        for key, data in values.items()
        if not text or text in key.lower() or text in data.decode(errors="replace").lower()
    ]
    return {"group": group, "keys": rows[:limit], "more": max(0, len(rows) - limit), "all": len(values)}


def _whole(group: str, values: dict[str, bytes], after: str | None, limit: int) -> Any:
    rows: list[dict[str, Any]] = []
    size = 0
    for key, data in values.items():
        if after is not None and key <= after:
            continue
        if len(rows) == limit or size > PAGE_SIZE:
            return {"group": group, "keys": rows, "next": rows[-1]["key"]}
        rows.append({"key": key, "value": _json(data)})
        size += len(data)
    return {"group": group, "keys": rows, "next": None}


def _preview(data: bytes) -> str:
    return data[: PREVIEW * 4].decode(errors="replace")[:PREVIEW]


async def get_key(call: Call) -> Any:
    """A value with its revision, and the revisions that are kept, newest first."""
    group, key = call.values
    records = await call.bench.log.history(subject_of(group, key))
    if not records:
        raise Missing(f"there is nothing under {key!r} in {group}, and never was as far as is known")
    last = records[-1]
    declared = call.bench.project.state.get(group)
    return {
        "group": group,
        "key": key,
        "revision": last.seq,
        "deleted": is_deleted(last),
        "value": _value(last),
        "ttl": None if declared is None else declared.ttl,
        "history": [_revision(record) for record in reversed(records)],
    }


def _revision(record: Record) -> dict[str, Any]:
    trace = parse(record.headers.get("traceparent"))
    return {
        "revision": record.seq,
        "at": record.time,
        "deleted": is_deleted(record),
        "value": _value(record),
        "trace_id": None if trace is None else trace.trace_id,
    }


def _value(record: Record) -> Any:
    return None if is_deleted(record) else _json(record.data)


def _json(data: bytes) -> Any:
    """Stored JSON as it is; text that is none as a string."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data.decode(errors="replace")
    return msgspec.Raw(data)


class Edited(msgspec.Struct, frozen=True):
    value: msgspec.Raw
    revision: int | None  # the one that was read; 0: the key is new; None: whatever is there


async def put_key(call: Call) -> Any:
    """Write a value that fits the group's schema, unless somebody has written the key since the revision that is given."""
    group, key = call.values
    state = call.bench.state
    given = await call.body(Edited)
    value = state.codec(group).decode(bytes(given.value))
    try:
        if given.revision is None:
            await state.set(group, key, value)
        else:
            await state.replace(group, key, value, given.revision)
    except Conflict:
        raise _changed(group, key) from None
    return await get_key(call)


async def delete_key(call: Call) -> Any:
    """Delete a key, unless somebody has written it since the revision that is given."""
    group, key = call.values
    query = call.query("revision")
    if "revision" not in query:
        raise Refused(400, "Say which revision is to be deleted: ?revision=N, or any.")
    if query["revision"] == "any":
        return {"deleted": await call.bench.state.delete(group, key)}
    try:
        done = await call.bench.state.remove(group, key, number(query["revision"], 1, 1 << 53, "revision"))
    except Conflict:
        raise _changed(group, key) from None
    return {"deleted": done}


def _changed(group: str, key: str) -> Refused:
    return Refused(
        409, f"{group}/{key} has been written since you read it; read it again.", title="Somebody was faster"
    )


# -- streams


async def get_streams(call: Call) -> Any:
    """Streams with the groups that they hold."""
    found = []
    for name in call.bench.project.streams:
        groups: dict[str, int] = {}
        for record in await call.bench.log.lasts(items_pattern(name)):
            if not is_deleted(record):
                group = item_names(record.subject)[1]
                groups[group] = groups.get(group, 0) + 1
        found.append({"name": name, "groups": [{"group": key, "items": n} for key, n in sorted(groups.items())]})
    return {"streams": found}


async def get_items(call: Call) -> Any:
    """The items of a group."""
    stream, group = call.values
    _known(call.bench, stream)
    records = await call.bench.log.lasts(stream_pattern(stream, group))
    rows = [
        {"id": item_names(record.subject)[2], "at": record.time, "revision": record.seq, "value": _value(record)}
        for record in records
        if not is_deleted(record)
    ]
    return {"stream": stream, "group": group, "items": rows[:SHOWN], "more": max(0, len(rows) - SHOWN)}


async def delete_item(call: Call) -> Any:
    stream, group, item = call.values
    _known(call.bench, stream)
    return {"deleted": await call.bench.streams.delete(stream, group, item)}


def _known(bench: Bench, stream: str) -> None:
    if stream not in bench.project.streams:
        raise Missing(f"there is no stream {stream!r} in the spec that runs")


ROUTES = {
    "state": {"GET": get_groups},
    "state/{group}": {"GET": get_group},
    "state/{group}/{key}": {"GET": get_key, "PUT": put_key, "DELETE": delete_key},
    "streams": {"GET": get_streams},
    "streams/{stream}/{group}": {"GET": get_items},
    "streams/{stream}/{group}/{id}": {"DELETE": delete_item},
}
