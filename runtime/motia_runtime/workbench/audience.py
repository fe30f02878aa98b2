"""Who follows streams now: the clients of this process, by group."""

from __future__ import annotations

from typing import Any

from motia_runtime.live.hub import Hub


def audience(hub: Hub) -> dict[str, Any]:
    """`clients`: how many are connected; `groups`: how many of them follow each, or an item of it, those of most first."""
    groups: dict[tuple[str, str], int] = {}
    for client in hub.clients:
        for place in {(stream, group) for stream, group, _ in client.subscriptions}:
            groups[place] = groups.get(place, 0) + 1
    ordered = sorted(groups.items(), key=lambda each: (-each[1], each[0]))
    found = [{"stream": stream, "group": group, "clients": count} for (stream, group), count in ordered]
    return {"clients": len(hub.clients), "groups": found}
