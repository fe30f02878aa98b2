"""`ports.Log` in memory, for tests. Start with `log`; `parts` holds the records, `consumers` hands them out."""

from motia_runtime.memory.log import MemoryLog

__all__ = ["MemoryLog"]
