"""M307: so many steps on so many topics that no graph of it can be drawn or walked."""

from collections.abc import Iterator

from motia_spec.diagnostics import Diagnostic, error
from motia_spec.rules.base import Checking
from motia_spec.wiring import MOST_EDGES, count_edges


def check(checking: Checking) -> Iterator[Diagnostic]:
    edges = count_edges(checking.ends)
    if edges > MOST_EDGES:
        yield error(
            "M307",
            checking.spec.key_place("steps"),
            f"the graph would have {edges:,} edges; at most {MOST_EDGES:,} are allowed",
            hint="split the topics, or the app: two apps can share topics with `external: in` and `external: out`",
            path="/steps",
        )
