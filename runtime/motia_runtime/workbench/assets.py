"""The files of the front end, read once from the package. What is not among them is not served, whatever a path says."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from motia_runtime.http.problems import Header

TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".mjs": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
SHARED = ("schema.js", "dom.js")  # of the API page, used here as well
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
GUARDED: tuple[Header, ...] = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class Asset(msgspec.Struct, frozen=True):
    """One file as it is sent. `tag` changes with its content."""

    body: bytes
    headers: tuple[Header, ...]
    tag: bytes


def load_assets() -> dict[str, Asset]:
    """By path below `ui/`, forward slashes. The page itself is "index.html"."""
    found: dict[str, Asset] = {}
    _collect(files("motia_runtime.workbench").joinpath("ui"), "", found)
    pages = files("motia_runtime.http.pages")
    for name in SHARED:
        found[f"shared/{name}"] = _asset(name, pages.joinpath(name).read_bytes())
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, Asset]) -> None:
    for each in folder.iterdir():
        if each.is_dir():
            _collect(each, f"{prefix}{each.name}/", found)
        elif any(each.name.endswith(suffix) for suffix in TYPES):
            found[prefix + each.name] = _asset(each.name, each.read_bytes())


def _asset(name: str, body: bytes) -> Asset:
    kind = TYPES["." + name.rpartition(".")[2]]
    tag = b'"' + sha256(body).hexdigest()[:24].encode() + b'"'
    return Asset(body, ((b"content-type", kind), *GUARDED, (b"cache-control", b"no-cache"), (b"etag", tag)), tag)
