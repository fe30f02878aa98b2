"""What commands that talk to the broker share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motia_runtime.types import Types
    from motia_spec.model import Project


def types(project: Project) -> Types:
    from motia_generator import generate
    from motia_runtime.types import load_types

    return load_types(project, generate)
