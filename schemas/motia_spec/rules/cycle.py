"""M305: steps that feed each other without end, unless `allowCycle: true` on one of them, or on a topic between them, says it is meant."""

from collections import deque
from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, warning
from motia_spec.rules.base import Checking

# Nodes are ("step", name) and ("topic", name): so the walk takes time linear in the spec, however many steps share a topic.
Node = tuple[str, str]


def check(checking: Checking) -> Iterator[Diagnostic]:
    project = checking.project
    graph = _graph(checking)
    for part in _components(graph):
        steps = [project.steps[name] for kind, name in part if kind == "step"]
        first = min(steps, key=lambda step: step.place)
        path = _shortest(graph, ("step", first.name), part)
        shown = [name for _, name in path]
        names = " -> ".join(shown if len(shown) <= 13 else [*shown[:8], "...", *shown[-3:]])
        more = len(steps) - (len(path) - 1) // 2
        yield warning(
            "M305",
            first.place,
            f"the steps feed each other in a cycle: {names}" + (f" (and {more} more steps)" if more > 0 else ""),
            hint=f"make sure that it ends, then say allowCycle: true in {first.name}",
            path=checking.spec.map("steps").at(first.name),
        )


def _graph(checking: Checking) -> dict[Node, list[Node]]:
    """Events that are really sent, without the steps and topics that may be in a cycle."""
    allowed = {("step", name) for name, _, at in checking.spec.map("steps").maps() if at.flag("allowCycle", False)}
    allowed |= {("topic", name) for name, _, at in checking.spec.map("topics").maps() if at.flag("allowCycle", False)}
    found: dict[Node, list[Node]] = {}
    for topic, who in checking.ends.emitters.items():
        for step, _, virtual in who:
            if not virtual and not {("step", step.name), ("topic", topic)} & allowed:
                found.setdefault(("step", step.name), []).append(("topic", topic))
    for topic, whom in checking.ends.subscribers.items():
        for step, virtual in whom:
            if not virtual and not {("step", step.name), ("topic", topic)} & allowed:
                found.setdefault(("topic", topic), []).append(("step", step.name))
    return found


def _components(graph: dict[Node, list[Node]]) -> list[list[Node]]:
    """Strongly connected parts of more than one node (Tarjan, without recursion). A step on its own topic makes two nodes."""
    index: dict[Node, int] = {}
    low: dict[Node, int] = {}
    stack: list[Node] = []
    on_stack: set[Node] = set()
    found: list[list[Node]] = []
    for start in graph:
        if start in index:
            continue
        work: list[tuple[Node, int]] = [(start, 0)]
        while work:
            node, at = work.pop()
            if at == 0:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            onward = graph.get(node, [])
            if at > 0:
                low[node] = min(low[node], low[onward[at - 1]])
            while at < len(onward):
                following = onward[at]
                at += 1
                if following not in index:
                    work.append((node, at))
                    work.append((following, 0))
                    break
                if following in on_stack:
                    low[node] = min(low[node], index[following])
            else:
                if low[node] == index[node]:
                    part: list[Node] = []
                    while not part or part[-1] != node:
                        part.append(stack.pop())
                    on_stack.difference_update(part)
                    if len(part) > 1:
                        found.append(part)
    return found


def _shortest(graph: dict[Node, list[Node]], start: Node, part: list[Node]) -> list[Node]:
    """The shortest way from a node back to itself within its part."""
    inside = set(part)
    came: dict[Node, Node] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for following in graph.get(node, []):
            if following == start:
                path = [start, node]
                while path[-1] != start:
                    path.append(came[path[-1]])
                return path[::-1]
            if following in inside and following not in came:
                came[following] = node
                waiting.append(following)
    return [start]
