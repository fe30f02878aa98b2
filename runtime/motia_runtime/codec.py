"""JSON in and out, validated. One codec per schema, made once; safe to use from any thread.

Two tiers that accept and reject the same values. First msgspec decodes straight into the generated type (3 us for a small order).
Second, where that type does not say all that the schema says (its gaps), or where it rejected something, the schema itself judges the plain
value (`jsonschema`, JSON Schema 2020-12): it finds every fault, and knows that 27.0 is an integer. Accepted values are judged by what the type
leaves open only. docs/decisions/0007-two-tiers.md has the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import msgspec.inspect

from motia_runtime.coerce import coerce
from motia_runtime.faults import MOST_FAULTS, fault_of, position
from motia_runtime.handler import Fault, ValidationFailed
from motia_spec.node import JSON

FULL_REPORT = (
    64 * 1024
)  # bytes; a longer text is not searched for every fault, which takes seconds per MiB: one is named

_decode_plain = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_AT = re.compile(r" - at `(?:key in )?(\$[^`]*)`\Z")
_AS_THEY_ARE = tuple(
    getattr(msgspec.inspect, f"{kind}Type")
    for kind in ("Any", "None", "Bool", "Int", "Float", "Str", "Literal", "Enum")
)  # types whose values are encoded as they came
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class Codec:
    """Decodes, encodes and checks the values of one schema. `what` says in errors what they are: "body of CreateOrder".

    `type` is the Python type; `gaps` are the keywords that it does not enforce; `schema` is complete against `defs`. `check` is what is
    left of the schema for values that the type has accepted, and its definitions; by default, all of it.
    """

    __slots__ = (
        "_adds_names",
        "_check",
        "_check_source",
        "_decoder",
        "_defs",
        "_exact",
        "_schema",
        "_type",
        "_validator",
        "what",
    )

    def __init__(
        self,
        what: str,
        type: Any = Any,
        *,
        schema: JSON = True,
        defs: Mapping[str, JSON] | None = None,
        gaps: tuple[str, ...] = (),
        check: tuple[JSON, Mapping[str, JSON]] | None = None,
    ) -> None:
        self.what = what
        self._type = type
        self._schema = schema
        self._defs = defs or {}
        self._exact = not gaps
        self._decoder = msgspec.json.Decoder(type)
        self._adds_names: bool | None = None  # found out when first asked
        self._validator: Any = None
        self._check_source = check
        self._check: Any = None

    def decode(self, data: bytes, *, trusted: bool = False) -> Any:
        """The value of a JSON text. `trusted`: this app encoded it, so that no name is in an object twice, which is not looked for then.
        Raises `ValidationFailed` with every fault, at most 20; of more than 64 KiB, with those that were found first."""
        try:
            value = self._decoder.decode(data)
        except msgspec.ValidationError:
            return self._second(self._plain(data), len(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._malformed(error) from None
        if not trusted:
            self._refuse_repeated_names(data, value)
        if not self._exact:
            self._fill_gaps(self._plain(data), len(data))
        return value

    def encode(self, value: Any) -> bytes:
        """The JSON text of a value: an instance of the type, or anything that is the same as JSON. Raises `ValidationFailed`."""
        try:
            data = _encode(value)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise ValidationFailed(self.what, [Fault("", "type", f"is not JSON: {error}")]) from None
        try:
            self._decoder.decode(data)
        except msgspec.ValidationError:
            self._second(self._plain(data), len(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._malformed(error) from None
        else:
            if not self._exact:
                self._fill_gaps(self._plain(data), len(data))
        return data

    def convert(self, obj: Any, *, strict: bool = True) -> Any:
        """The value of plain JSON data (dicts, lists, ...). Not `strict`: texts, or lists of them, are read as what the schema wants, and
        defaults are filled in, as in query parameters. Raises `ValidationFailed`."""
        if not strict:
            obj = coerce(obj, self._schema, self._defs)
        try:
            value = msgspec.convert(obj, self._type)
        except msgspec.ValidationError:
            return self._second(obj, 0)
        except RecursionError as error:
            raise self._malformed(error) from None
        if not self._exact:
            self._fill_gaps(obj, 0)
        return value

    # -- second tier -------------------------------------------------------------------------------------------------

    def _plain(self, data: bytes) -> Any:
        try:
            return _decode_plain(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._malformed(error) from None

    def _second(self, plain: Any, size: int) -> Any:
        """The first tier said no. Say why, in full; or take the value, when only its spelling was unusual (27.0)."""
        if size <= FULL_REPORT:
            self._judge(plain)
        try:
            value = msgspec.convert(_whole_numbers(plain), self._type)
        except msgspec.ValidationError as error:
            raise ValidationFailed(self.what, [_first_tier_fault(error)]) from None
        except RecursionError as error:
            raise self._malformed(error) from None
        if size > FULL_REPORT and not self._exact:
            self._fill_gaps(plain, size)
        return value

    def _fill_gaps(self, plain: Any, size: int) -> None:
        """Raise `ValidationFailed` when a plain value that the type has accepted is rejected by what the type does not say."""
        if self._check_source is None:
            self._judge(plain)
            return
        if self._check is None:
            self._check = _validator(*self._check_source)
        try:
            if self._check.is_valid(plain):
                return
        except (RecursionError, OverflowError, re.error):
            pass  # met again below, and told
        self._judge(plain, self._check if size > FULL_REPORT else None)

    def _judge(self, plain: Any, judge: Any = None) -> None:
        """Raise `ValidationFailed` when the schema, or another judge, rejects a plain value."""
        if judge is None:
            if self._validator is None:
                self._validator = _validator(self._schema, self._defs)
            judge = self._validator
        faults = []
        try:
            for error in judge.iter_errors(plain):
                faults.append((position(plain, error.absolute_path), fault_of(error)))
                if len(faults) >= 10 * MOST_FAULTS:
                    break
        except RecursionError as error:
            raise self._malformed(error) from None
        except (OverflowError, re.error) as error:
            raise ValidationFailed(self.what, [Fault("", "", f"can't be checked: {error}")]) from None
        if faults:
            faults.sort(key=lambda found: (found[0], found[1].keyword, found[1].detail))
            raise ValidationFailed(self.what, list(dict.fromkeys(fault for _, fault in faults))[:MOST_FAULTS])

    def _refuse_repeated_names(self, data: bytes, value: Any) -> None:
        """An object with a name twice means different things to different readers. Found by counting colons: a repeated name is lost when
        the text is decoded and encoded again. The value is asked first, if only its type adds no names of its own; it may lack some that
        the type does not know, which plain data has. Only then, or when escapes hide colons, the slow way says which name."""
        colons = data.count(b":")
        if colons < 2:
            return
        if b"\\u003" not in data:
            if self._adds_names is None:
                self._adds_names = _adds_names(msgspec.inspect.type_info(self._type), set())
            if not self._adds_names and colons == _encode(value).count(b":"):
                return
            if colons == _encode(_decode_plain(data)).count(b":"):
                return
        import json

        try:
            json.loads(data, object_pairs_hook=_once)
        except _Repeated as error:
            raise ValidationFailed(
                self.what, [Fault("", "json", f"has the name {error.name!r} twice in one object")]
            ) from None

    def _malformed(self, error: Exception) -> ValidationFailed:
        if isinstance(error, RecursionError):
            detail = "is nested too deeply"
        elif isinstance(error, UnicodeDecodeError):
            detail = f"is not UTF-8 (byte {error.start})"
        else:
            detail = f"is not valid JSON: {_lower(str(error))}"
        return ValidationFailed(self.what, [Fault("", "json", detail)])


def _adds_names(info: Any, seen: set[Any]) -> bool:
    """Whether a decoded value of this type may be encoded with names, or colons, that its text did not have. In doubt it may."""
    kinds = msgspec.inspect
    if isinstance(info, kinds.StructType):
        if info.cls in seen:
            return False
        seen.add(info.cls)
        return info.tag_field is not None or any(
            (field.default is not msgspec.NODEFAULT and field.default is not msgspec.UNSET)
            or field.default_factory is not msgspec.NODEFAULT
            or _adds_names(field.type, seen)
            for field in info.fields
        )
    if isinstance(info, kinds.UnionType):
        return any(_adds_names(one, seen) for one in info.types)
    if isinstance(info, kinds.ListType):
        return _adds_names(info.item_type, seen)
    if isinstance(info, kinds.DictType):
        return _adds_names(info.value_type, seen)
    return not isinstance(info, _AS_THEY_ARE)


def _validator(schema: JSON, defs: Mapping[str, JSON]) -> Any:
    from motia_runtime.reference import validator

    return validator(schema, defs)


class _Repeated(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise _Repeated(name[:64])
            seen.add(name)
    return found


def _whole_numbers(value: Any) -> Any:
    """A copy with whole floats as integers: to JSON Schema they are the same."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    return value


def _first_tier_fault(error: msgspec.ValidationError) -> Fault:
    """What msgspec found: the first fault of a long text, or that a value fits its schema but not the machine (a number too large)."""
    message = str(error)
    found = _AT.search(message)
    pointer = ""
    if found:
        message = message[: found.start()]
        pointer = "".join(f"/{name or number}" for name, number in _STEP.findall(found[1]))
    return Fault(pointer, "type", _lower(message))


def _lower(message: str) -> str:
    message = message.removeprefix("JSON is malformed: ")
    return message[:1].lower() + message[1:]
