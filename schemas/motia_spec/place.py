"""Where something stands in the spec. Every value read from YAML has one, so every finding can point at it."""

import msgspec


class Place(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A span in one file of the spec. Orders by file, then line, then column."""

    file: str  # relative to the project root, forward slashes
    line: int  # 1-based
    column: int  # 1-based, in characters
    width: int = 1  # characters to underline, at least 1, never past the end of the line

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


NOWHERE = Place("motia.yaml", 1, 1)
