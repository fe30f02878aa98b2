"""How large a spec may be. Fixed, so that reading one takes bounded time and memory whatever it holds.

A thousand steps fit with room: about 400 KB, 20,000 values, a depth of 10.
"""

MAX_FILE = 1 << 20  # bytes in one file
MAX_TOTAL = 4 << 20  # bytes in the spec with its includes and overlay
MAX_FILES = 200  # files of one spec
MAX_INCLUDE_DEPTH = 4  # a file that is included by a file that is included ...
MAX_GLOB_ENTRIES = 20_000  # directory entries looked at for the globs of one spec
MAX_DEPTH = 64  # maps and lists inside each other, aliases followed
MAX_VALUES = 100_000  # values in the spec, each alias counted as what it stands for
MAX_ALIASES = 10_000  # `*name` in one file
MAX_KEY = 1_024  # characters in a key; libyaml's own bound for a key without `?`
MAX_DIGITS = 20  # digits of a number; more than that no format or language keeps
MAX_FINDINGS = 1_000  # diagnostics of one layer; nobody reads more
