"""The codes of reading YAML (M0xx) and of the schema of the spec (M1xx)."""

from motia_spec.code import Code

READING_CODES: tuple[Code, ...] = (
    Code(
        "M001",
        "file can't be read",
        "The spec, or a file it includes, is missing, is a folder or is not readable. Check the name and the rights.",
        "include: [flows/missing.yaml]",
    ),
)
