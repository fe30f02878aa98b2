"""What a rule is given, and what it is: a function from that to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

from motia_spec import wiring
from motia_spec.diagnostics import Diagnostic
from motia_spec.model import Project
from motia_spec.place import Place
from motia_spec.schemas import Sample
from motia_spec.shapes import Shapes
from motia_spec.sources import Sources
from motia_spec.tree import Cursor


class Checking:
    """One project under check. Lives as long as its rules run. Rules read it and change nothing, but add to `sources` what they quote."""

    def __init__(
        self, project: Project, spec: Cursor, samples: list[Sample], environ: Mapping[str, str], sources: Sources
    ) -> None:
        self.project = project
        self.spec = spec  # the merged tree: places of keys, and keys that the model leaves out
        self.samples = samples
        self.environ = environ
        self.sources = sources

    @cached_property
    def ends(self) -> wiring.Ends:
        return wiring.ends(self.project)

    @cached_property
    def shapes(self) -> Shapes:
        return Shapes(self.project.defs)

    def step(self, name: str) -> Cursor:
        return self.spec.map("steps").map(name)

    def pointer(self, step: str, key: str, place: Place) -> str:
        """The JSON Pointer of the item of a step's list that stands at `place`, or of the list."""
        at = self.step(step)
        for node, path in at.items(key):
            if node.place == place or any(inner.place == place for _, _, inner in Cursor(node).node.items()):
                return path
        return at.at(key)


Rule = Callable[[Checking], Iterator[Diagnostic]]
