"""What a diagnostic's code means. One value per code; `codes.CODES` has them all, `motia explain CODE` prints one."""

import msgspec


class Code(msgspec.Struct, frozen=True):
    """A kind of finding. `explanation` and `example` are what the docs and `motia explain` show."""

    code: str  # "M012"; never used again for something else
    title: str  # a few words, no full stop: "duplicate key"
    explanation: str  # markdown: what was found, why it matters, what to do
    example: str  # YAML that gives it
