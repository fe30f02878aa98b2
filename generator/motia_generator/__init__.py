"""Spec to files: pure functions from a `Project` to {path: text}; `writer` alone touches the disk."""

from motia_generator.package import generate
from motia_generator.stubs import stubs

__all__ = ["generate", "stubs"]
