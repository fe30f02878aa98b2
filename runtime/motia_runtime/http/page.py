"""A page as it is served."""

from collections.abc import Callable

import msgspec


class Page(msgspec.Struct, frozen=True):
    """A body and its media type, complete: `text/html; charset=utf-8`. Nothing here depends on the request."""

    content_type: str
    body: bytes


AnyPage = Page | Callable[[], Page]  # the latter: made at each request
