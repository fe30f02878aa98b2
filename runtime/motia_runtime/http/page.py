"""A page as it is served: made once per version of the spec, then only copied to sockets."""

import msgspec


class Page(msgspec.Struct, frozen=True):
    """A body and its media type, complete: `text/html; charset=utf-8`. Nothing here depends on the request."""

    content_type: str
    body: bytes
