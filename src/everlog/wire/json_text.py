"""JSON as it is read from the wire: strictly, and every value of the kind that it should be.

Whatever is wrong is an `InvalidMessage` that names the place. Fields that are not known are passed
over: a newer end may say more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar, cast

from everlog.core.json_kinds import kind_of
from everlog.errors import InvalidMessage
from everlog.wire.protocol import MAX_LINE_BYTES

T = TypeVar("T")

MOST = 2**63 - 1
"""The greatest position, version or time that a ledger can have."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def to_line(value: object) -> bytes:
    """Returns a JSON value on a line of its own, with the newline."""
    return _encode(value).encode() + b"\n"


def read_object(
    text: bytes | str, *, at: str = "body", limit: int = MAX_LINE_BYTES
) -> dict[str, Any]:
    """Returns the JSON object of a text of at most `limit` bytes.

    Refused are what is no object, a key that comes twice, NaN and its kind, a lone surrogate, and
    text that is not UTF-8.
    """
    if len(text) > limit:
        raise InvalidMessage(at, f"has {len(text):,} bytes; the limit is {limit:,}")
    try:
        plain = text if isinstance(text, str) else text.decode()
        value: object = _decoder.decode(plain)
        if _SURROGATE.search(plain):
            # Perhaps half of a pair: a text with one cannot be answered with, nor stored.
            _encode(value).encode()
    except (ValueError, RecursionError) as error:
        # What it says of the place holds the text itself nowhere.
        raise InvalidMessage(at, f"is not JSON: {_plainly(error)}") from None
    if not isinstance(value, dict):
        raise InvalidMessage(at, f"must be an object, not {kind_of(value)}")
    return cast("dict[str, Any]", value)


def text(fields: Mapping[str, Any], name: str, *, at: str) -> str:
    """Returns a field that is text."""
    value = fields.get(name)
    if type(value) is not str:
        _wrong(fields, name, at, "text")
    return value


def text_or_none(fields: Mapping[str, Any], name: str, *, at: str) -> str | None:
    """Returns a field that is text, null or missing."""
    return None if fields.get(name) is None else text(fields, name, at=at)


def number(
    fields: Mapping[str, Any], name: str, *, at: str, least: int = 0, most: int = MOST
) -> int:
    """Returns a field that is a whole number."""
    value = fields.get(name)
    if type(value) is not int or not least <= value <= most:
        _wrong(fields, name, at, f"a whole number from {least} to {most}")
    return value


def number_or_none(
    fields: Mapping[str, Any], name: str, *, at: str, least: int = 0, most: int = MOST
) -> int | None:
    """Returns a field that is a whole number, null or missing."""
    return None if fields.get(name) is None else number(fields, name, at=at, least=least, most=most)


def flag(fields: Mapping[str, Any], name: str, *, at: str) -> bool:
    """Returns a field that is true or false; false if it is missing."""
    value = fields.get(name, False)
    if type(value) is not bool:
        _wrong(fields, name, at, "true or false")
    return value


def octets(fields: Mapping[str, Any], name: str, *, at: str, size: int) -> bytes:
    """Returns a field that is so many bytes in lower-case hex."""
    value = fields.get(name)
    if type(value) is str and len(value) == 2 * size and _HEX(value):
        return bytes.fromhex(value)
    _wrong(fields, name, at, f"{size} bytes in lower-case hex")


def octets_of(text: str) -> bytes | None:
    """Returns the bytes of lower-case hex; None if it is none.

    For very many of them, joined, in one go.
    """
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    return raw if raw.hex() == text else None  # what is read as hex may have capitals and spaces


def octets_or_none(fields: Mapping[str, Any], name: str, *, at: str, size: int) -> bytes | None:
    """Returns a field that is bytes in lower-case hex, null or missing."""
    return None if fields.get(name) is None else octets(fields, name, at=at, size=size)


def an_object(fields: Mapping[str, Any], name: str, *, at: str) -> dict[str, Any]:
    """Returns a field that is an object."""
    value = fields.get(name)
    if type(value) is not dict:
        _wrong(fields, name, at, "an object")
    return cast("dict[str, Any]", value)


def a_list(
    fields: Mapping[str, Any],
    name: str,
    item: Callable[[object, str], T],
    *,
    at: str,
    most: int,
) -> tuple[T, ...]:
    """Returns a field that is a list; `item` reads each, and is told where it stands."""
    value = fields.get(name)
    if type(value) is not list:
        _wrong(fields, name, at, "a list")
    items = cast("list[object]", value)
    if len(items) > most:
        raise InvalidMessage(f"{at}.{name}", f"has {len(items):,} entries; the limit is {most:,}")
    return tuple(item(each, f"{at}.{name}[{index}]") for index, each in enumerate(items))


def a_text(value: object, at: str) -> str:
    """Reads an item that is text."""
    if type(value) is not str:
        raise InvalidMessage(at, f"must be text, not {kind_of(value)}")
    return value


def a_number(value: object, at: str) -> int:
    """Reads an item that is a whole number."""
    if type(value) is not int or not 0 <= value <= MOST:
        raise InvalidMessage(at, f"must be a whole number from 0 to {MOST}")
    return value


def item_object(value: object, at: str) -> dict[str, Any]:
    """Reads an item that is an object."""
    if type(value) is not dict:
        raise InvalidMessage(at, f"must be an object, not {kind_of(value)}")
    return cast("dict[str, Any]", value)


def a_pair(value: object, at: str) -> tuple[str, str]:
    """Reads an item that is a list of two texts."""
    if type(value) is list:
        items = cast("list[object]", value)
        if len(items) == 2:
            return a_text(items[0], f"{at}[0]"), a_text(items[1], f"{at}[1]")
    raise InvalidMessage(at, "must be a list of two texts")


# --- helpers ------------------------------------------------------------------------------------

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_HEX = re.compile("[0-9a-f]*").fullmatch


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return members


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)


def _plainly(error: ValueError | RecursionError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is no UTF-8"
    if isinstance(error, UnicodeEncodeError):
        return "it holds half of a surrogate pair"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = str(error)
    return said if said.startswith(("a key", "NaN", "Infinity", "-Inf")) else "a number is too long"


def _wrong(fields: Mapping[str, Any], name: str, at: str, expected: str) -> NoReturn:
    if name not in fields:
        raise InvalidMessage(f"{at}.{name}", f"is missing; it must be {expected}")
    raise InvalidMessage(f"{at}.{name}", f"must be {expected}, not {_shown(fields[name])}")


def _shown(value: object) -> str:
    if type(value) is bool or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return kind_of(value)
