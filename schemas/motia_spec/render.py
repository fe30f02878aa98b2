"""Diagnostics as text with carets, JSON, GitHub annotations or SARIF 2.1.0. Pure: strings in, a string out.

Spec text is data: control and bidirectional characters are shown as escapes, so that a file can't move the cursor, hide a finding or
forge one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from urllib.parse import quote

import msgspec

from motia_spec.diagnostics import Diagnostic, Severity
from motia_spec.place import Place
from motia_spec.sources import Sources

__all__ = ["Sources", "render_github", "render_json", "render_sarif", "render_text", "safe", "summary"]

WIDTH = 140  # characters of a line that are shown
_LEAD = 50  # characters kept before the span when the line is longer

_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff]"
)
_UNSAFE_JSON = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_Paint = Callable[[str, str], str]  # text, SGR code
_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.NOTE: "36"}
_GITHUB = {Severity.NOTE: "notice"}  # its other words are ours


def safe(text: str) -> str:
    """`text` in one line, with what could move the cursor or reorder the line as escapes."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).replace("\t", " ")


def render_text(diagnostics: Sequence[Diagnostic], sources: Sources, *, color: bool = False) -> str:
    """For people: place, severity, code and message, then the line with the span underlined, then the hint. Ends with a count."""
    paint = _paint if color else _plain
    blocks = [_block(diagnostic, sources, paint) for diagnostic in diagnostics]
    return "\n".join([*blocks, summary(diagnostics), ""]) if blocks else ""


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`."""
    counts = []
    for severity in Severity:
        count = sum(d.severity is severity for d in diagnostics)
        if count:
            counts.append(f"{count} {severity.value}{'s' if count > 1 else ''}")
    return ", ".join(counts)


def render_json(diagnostics: Sequence[Diagnostic], sources: Sources) -> str:
    """A list of objects: code, severity, message, hint, path, file, line, column, width, related."""
    return _json(
        [{**_finding(d), "related": [{**_span(p), "message": text} for p, text in d.related]} for d in diagnostics]
    )


def render_github(diagnostics: Sequence[Diagnostic], sources: Sources) -> str:
    """Workflow commands: GitHub shows each at its line of the pull request."""
    lines = []
    for found in diagnostics:
        place = found.place
        where = (
            f"file={_property(place.file)},line={place.line},col={place.column},endColumn={place.column + place.width}"
        )
        text = f"{found.code} {found.message}" + (f" ({found.hint})" if found.hint else "")
        title = _property(f"motia {found.code}")
        lines.append(
            f"::{_GITHUB.get(found.severity, found.severity.value)} {where},title={title}::{_data(safe(text))}\n"
        )
    return "".join(lines)


def render_sarif(diagnostics: Sequence[Diagnostic], sources: Sources) -> str:
    """SARIF 2.1.0, one run, with a rule for each code that was found."""
    from motia_spec.codes import CODES  # only this format shows explanations

    codes = sorted({d.code for d in diagnostics})
    rules = [
        {
            "id": code,
            "name": code,
            "shortDescription": {"text": CODES[code].title if code in CODES else code},
            "fullDescription": {"text": CODES[code].explanation if code in CODES else code},
        }
        for code in codes
    ]
    results = [
        {
            "ruleId": d.code,
            "ruleIndex": codes.index(d.code),
            "level": d.severity.value,
            "message": {"text": d.message + (f" ({d.hint})" if d.hint else "")},
            "locations": [_location(d.place)],
            "relatedLocations": [
                {"id": i, **_location(p), "message": {"text": t}} for i, (p, t) in enumerate(d.related)
            ],
        }
        for d in diagnostics
    ]
    driver = {"name": "motia", "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return _json({"$schema": schema, "version": "2.1.0", "runs": [run]})


def _block(found: Diagnostic, sources: Sources, paint: _Paint) -> str:
    head = paint(f"{found.severity.value}: {found.code}", _COLORS[found.severity])
    lines = [f"{paint(safe(str(found.place)), '1')}: {head} {safe(found.message)}"]
    lines += _excerpt(found.place, sources, paint, _COLORS[found.severity])
    if found.hint:
        lines.append(f"  {paint('hint:', '36')} {safe(found.hint)}")
    for place, text in found.related:
        lines.append(f"  {safe(str(place))}: {safe(text)}")
        lines += _excerpt(place, sources, paint, "36")
    return "\n".join([*lines, ""])


def _excerpt(place: Place, sources: Sources, paint: _Paint, color: str) -> list[str]:
    """The line with its number, and the carets under it; nothing when the text isn't known."""
    line = sources.line(place.file, place.line)
    if line is None:
        return []
    start = min(place.column - 1, len(line))
    end = max(start + 1, min(start + place.width, max(len(line), start + 1)))
    cut = max(0, min(start - _LEAD, len(line) - WIDTH)) if len(line) > WIDTH else 0
    end = min(end, cut + WIDTH)
    before = ("..." if cut else "") + safe(line[cut:start])
    span, after = safe(line[start:end]), safe(line[end : cut + WIDTH]) + ("..." if len(line) > cut + WIDTH else "")
    number = f"{place.line:>5} | "
    carets = "^" * max(_columns(span), 1)
    return [
        f"{paint(number, '34')}{before}{span}{after}".rstrip(),
        f"{paint(' ' * 6 + '| ', '34')}{' ' * _columns(before)}{paint(carets, color)}",
    ]


def _columns(text: str) -> int:
    """How many columns of a terminal `text` takes: wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _finding(found: Diagnostic) -> dict[str, object]:
    return {
        "code": found.code,
        "severity": found.severity.value,
        "message": found.message,
        "hint": found.hint,
        "path": found.path,
        **_span(found.place),
    }


def _span(place: Place) -> dict[str, object]:
    return {"file": place.file, "line": place.line, "column": place.column, "width": place.width}


def _location(place: Place) -> dict[str, object]:
    region = {"startLine": place.line, "startColumn": place.column, "endColumn": place.column + place.width}
    return {"physicalLocation": {"artifactLocation": {"uri": quote(place.file)}, "region": region}}


def _json(value: object) -> str:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return _UNSAFE_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(safe(text)).replace(":", "%3A").replace(",", "%2C")


def _paint(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


def _plain(text: str, code: str) -> str:
    return text
