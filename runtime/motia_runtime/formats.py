"""The string formats that are enforced, each as one regular expression: generated types use them, and so does the second tier of
validation (`codec`). To a type checker each is `str`. Every other `format` of JSON Schema is an annotation.

Sources: RFC 3339 (date, date-time), RFC 9562 (uuid), RFC 2673 section 3.2 and RFC 4291 section 2.2 (addresses). email is the part of RFC 5321
that people use: a local part without quotes and a domain name.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

_YEAR_LEAP = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_DATE = (
    r"(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    rf"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_YEAR_LEAP}-02-29)"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_H = "[0-9A-Fa-f]{1,4}"
_LAST = f"(?:{_H}:{_H}|{_IPV4})"
_IPV6 = "|".join(
    [
        f"(?:{_H}:){{6}}{_LAST}",
        f"::(?:{_H}:){{5}}{_LAST}",
        f"(?:{_H})?::(?:{_H}:){{4}}{_LAST}",
        f"(?:(?:{_H}:){{0,1}}{_H})?::(?:{_H}:){{3}}{_LAST}",
        f"(?:(?:{_H}:){{0,2}}{_H})?::(?:{_H}:){{2}}{_LAST}",
        f"(?:(?:{_H}:){{0,3}}{_H})?::{_H}:{_LAST}",
        f"(?:(?:{_H}:){{0,4}}{_H})?::{_LAST}",
        f"(?:(?:{_H}:){{0,5}}{_H})?::{_H}",
        f"(?:(?:{_H}:){{0,6}}{_H})?::",
    ]
)
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

PATTERNS = {
    "date": rf"^{_DATE}\Z",
    "date-time": rf"^{_DATE}[Tt]{_CLOCK}:(?:[0-5][0-9]|60)(?:\.[0-9]+)?(?:[Zz]|[+-]{_CLOCK})\Z",
    "email": rf"^(?=.{{3,254}}\Z)[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*\Z",
    "ipv4": rf"^{_IPV4}\Z",
    "ipv6": rf"^(?:{_IPV6})\Z",
    "uuid": r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\Z",
}

Date = Annotated[str, Meta(pattern=PATTERNS["date"])]
DateTime = Annotated[str, Meta(pattern=PATTERNS["date-time"])]
Email = Annotated[str, Meta(pattern=PATTERNS["email"])]
IPv4 = Annotated[str, Meta(pattern=PATTERNS["ipv4"])]
IPv6 = Annotated[str, Meta(pattern=PATTERNS["ipv6"])]
UUID = Annotated[str, Meta(pattern=PATTERNS["uuid"])]
