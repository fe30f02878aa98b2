"""`motia_types/types.d.ts`: the types of the app for TypeScript, and for editors of JavaScript."""

from motia_generator.typescript.declarations import declarations, wanted

__all__ = ["declarations", "wanted"]
