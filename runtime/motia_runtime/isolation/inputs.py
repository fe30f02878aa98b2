"""What a handler is called with, on its way to a worker process: pickled, since it comes from the app and no handler ever sends one.

Values of generated types are taken apart into class name and fields. The classes of an app that has been reloaded meanwhile are not those that
`import` finds, which plain pickle would refuse; over there the same name is the class that the handler imports.
"""

from __future__ import annotations

import importlib
import io
import pickle
from typing import Any

import msgspec


def pack(args: tuple[Any, ...]) -> bytes:
    """Raises what pickle raises for values that no handler gets."""
    out = io.BytesIO()
    _Pickler(out, protocol=5).dump(args)
    return out.getvalue()


def unpack(data: bytes) -> tuple[Any, ...]:
    """For bytes of the app's own only."""
    args: tuple[Any, ...] = pickle.loads(data)  # noqa: S301  # see the module
    return args


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, msgspec.Struct):
            return NotImplemented
        kind = type(obj)
        fields = tuple(getattr(obj, name) for name in kind.__struct_fields__)
        return _made, (kind.__module__, kind.__qualname__, fields)


def _made(module: str, name: str, fields: tuple[Any, ...]) -> Any:
    kind: Any = importlib.import_module(module)
    for part in name.split("."):
        kind = getattr(kind, part)
    return kind(**dict(zip(kind.__struct_fields__, fields, strict=True)))
