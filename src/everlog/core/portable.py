"""JSON that every database and every reader keeps as it is: I-JSON, in RFC 8785's canonical form.

The same limits hold at every door (append, import, sync), so that what one adapter accepts every
adapter accepts, and the hash of what is read is the hash of what was written:

- no NUL and no lone surrogate in a string or a key, keys are strings and unique in their object;
- finite doubles, integers within +-(2^53 - 1);
- at most 64 lists and objects inside each other, at most 10,000 keys in one object.

Two doors lead in. `canonical` writes a Python value, `parse` reads text; both refuse what breaks a
rule with `NotPortable`, and name the place. `certainly_canonical` spares the encoded bytes of
ordinary events both of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from math import isfinite
from typing import NoReturn, TypeAlias, cast

from everlog.errors import NotPortable

MAX_DEPTH = 64
"""Lists and objects inside each other: `[]` has depth 1."""
MAX_KEYS = 10_000
"""Keys in one object."""
MAX_EVENT_BYTES = 1_048_576
"""Bytes of one event, encoded. Whoever takes events checks it; `canonical` and `parse` do not."""
MAX_SAFE_INTEGER = 2**53 - 1
"""The last integer that every reader of JSON keeps apart from its neighbours."""

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"


def canonical(value: object, *, at: str = "data") -> str:
    """The RFC 8785 text of a tree of None, bool, int, float, str, list, tuple and dict.

    Keys are sorted by their UTF-16 code units and numbers are written as ECMAScript does, so
    `1.0` becomes `1` and `-0.0` becomes `0`. Subclasses count as what they extend: an IntEnum is
    its number, a StrEnum its text, a named tuple a list.

    Raises NotPortable with the path of the first thing that breaks a rule; `at` names the root.

        >>> canonical({"b": 1.0, "a": [True, None]})
        '{"a":[true,null],"b":1}'
    """
    if _is_plain(value, MAX_DEPTH):
        text = _encode_plain(value)
        # The walk leaves the strings to these two searches, which run in C. They also stop at a
        # harmless backslash followed by "u0000": the exact encoder below then tells.
        if "\\u0000" not in text and (text.isascii() or not _SURROGATE.search(text)):
            return text
    parts: list[str] = []
    try:
        _write(value, parts, MAX_DEPTH)
    except _Broken as broken:
        raise broken.as_error(at) from None
    return "".join(parts)


def parse(text: str | bytes, *, at: str = "data") -> JsonValue:
    """The value of a JSON text, or NotPortable with the path of what breaks a rule.

    Stricter than `json.loads`: it refuses duplicate keys, NaN, 1e400, a byte order mark, invalid
    UTF-8, and everything that `canonical` refuses. Integers beyond 2^53 - 1 are refused unless they
    are how RFC 8785 prints a double (`10000000000000000` is 1e16, and comes back as a float).
    Other numbers are rounded to the nearest double, so `1e-400` is 0.

        >>> parse('{"a":[1,2.5]}')
        {'a': [1, 2.5]}
    """
    decoded = _decode(text, at)
    if not _needs_the_exact_reader(decoded):
        try:
            return cast(JsonValue, _read_plain(decoded))
        except (ValueError, RecursionError, _Unsure):
            pass  # the exact reader says what is wrong and where, or that nothing is
    try:
        return _read(decoded)
    except _Broken as broken:
        raise broken.as_error(at) from None


def is_canonical(text: str, *, at: str = "data") -> bool:
    """Whether a JSON text is its own RFC 8785 form. Raises NotPortable as `parse` does.

    >>> is_canonical('{"a":1}'), is_canonical('{"a": 1}'), is_canonical("[1.0]")
    (True, False, False)
    """
    return _is_surely_canonical(text) or canonical(parse(text, at=at), at=at) == text


def _is_surely_canonical(text: str) -> bool:
    """Whether this is beyond doubt: an object of a few texts, short integers, true, false and null.

    Most events are, and it takes a third of the time that reading and writing them takes.
    """
    if text == "null":
        return True
    flat = _flat()(text) if len(text) <= _SHORT else None
    if flat is None:
        return False
    # Each member is written as it is to be. So what is left is the order of the keys.
    before, *others = flat.groups()[: flat.lastindex]
    for key in others:
        if key <= before:
            return False
        before = key
    return True


_SHORT = 16_384  # matching such a text takes little memory
_MOST_MEMBERS = 24


@cache
def _flat() -> Callable[[str], re.Match[str] | None]:
    """Returns what matches an object of a few members, with a group for each key.

    When it is first needed: making it takes some 20 ms.
    """
    # Groups as below. Keys are of ASCII: in which order others come is not seen by comparing them.
    plain = r'[^"\\\x00-\x1f\ud800-\udfff]*+'
    member = (
        rf'"([ !#-\[\]-~]*+)":(?:"{plain}(?>(?:\\["\\bfnrt]{plain})*)"'
        r"|0|-?[1-9][0-9]{0,14}+|true|false|null)"
    )
    rest = ""
    for _ in range(_MOST_MEMBERS - 1):
        rest = rf"(?>(?:,{member}{rest})?)"
    return re.compile(rf"\{{{member}{rest}\}}").fullmatch


def certainly_canonical(encoded: bytes) -> bool:
    """Whether an encoder's output is beyond doubt portable and in RFC 8785 form.

    False says nothing: ask `is_canonical`. True can be relied on for the output of an encoder that
    writes valid JSON, sorts keys by code point, and never writes a key twice (`msgspec` with
    `order="sorted"`; `json.dumps(sort_keys=True)` when all keys are strings). It cannot be relied
    on for bytes that come from elsewhere, because it does not compare keys.

    True needs a list or an object of ASCII text at most MAX_EVENT_BYTES long, no float, no integer
    of 16 or more digits, no `\\u` escape, and at most 64 lists and objects in all.
    """
    size = len(encoded)
    return (
        size <= MAX_EVENT_BYTES
        and _CERTAIN(encoded) is not None
        # MAX_KEYS different keys take 49 kB and more, so most texts need not be counted.
        and (size < 40_000 or encoded.count(b":") <= MAX_KEYS)
    )


# Groups repeat inside atomic ones, (?>(?:...)*), and not possessively, (?:...)*+: in CPython before
# 3.11.5 a possessive group can end with half of its last round taken.
_CERTAIN = re.compile(
    rb"""
    (?> (?:
        [\[{] [\]},:]*+                                # each bracket that opens is one of MAX_DEPTH
        (?> (?:
            (?: "[ !\#-\[\]-\x7f]*+ (?> (?: \\["\\bfnrt] [ !\#-\[\]-\x7f]*+ )* ) "
              | 0 | -?[1-9][0-9]{0,14}+                # what follows a number is never a digit
              | true | false | null )
            [\]},:]++
        )* )
    ){1,%d} )
    """
    % MAX_DEPTH,
    re.VERBOSE,
).fullmatch


# --- what is wrong, and where -------------------------------------------------------------------


class _Broken(Exception):
    """A rule is broken. The frames it passes add where, so that good data pay nothing for paths."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.trail: list[str | int] = []

    def as_error(self, at: str) -> NotPortable:
        return NotPortable(at + "".join(map(_step, reversed(self.trail))), self.problem)


def _step(step: str | int) -> str:
    """One step of a path: `.name`, `["odd name"]` or `[3]`."""
    if isinstance(step, int):
        return f"[{step}]"
    if step.isidentifier() and len(step) <= _SHOWN:
        return f".{step}"
    return f"[{_quoted(step)}]"


def _quoted(text: str) -> str:
    """Text for a message: short, on one line, and printable on any terminal."""
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return json.dumps(shown, ensure_ascii=not shown.isprintable())


_SHOWN = 40
_SURROGATE = re.compile("[\ud800-\udfff]")

_TOO_DEEP = f"lies deeper than {MAX_DEPTH} lists and objects inside each other; flatten it"
_TOO_MANY_KEYS = f"has more than {MAX_KEYS:,} keys; split it, or make it a list"
_TOO_BIG = (
    "is an integer beyond +-(2^53 - 1), which many readers of JSON round; keep it as a string"
)
_NOT_FINITE = "is not a finite number, and JSON has only those; use null or a string"


def _bad_character(text: str) -> str:
    """What makes a text unfit, or an empty string."""
    if "\0" in text:
        return "NUL (U+0000), which databases refuse; take it out"
    if not text.isascii() and (found := _SURROGATE.search(text)):
        code = ord(found.group())
        return f"half of a surrogate pair (U+{code:04X}), which is no character; take it out"
    return ""


def _check_text(text: str) -> None:
    if bad := _bad_character(text):
        raise _Broken(f"contains {bad}")


def _check_key(key: str) -> None:
    if bad := _bad_character(key):
        raise _Broken(f"has the key {_quoted(key)}, which contains {bad}")


# --- writing: the quick way, for trees without unusual types and numbers ------------------------

_encode_plain = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode


def _is_plain(value: object, depth_left: int) -> bool:
    """Whether the standard library writes this tree as RFC 8785 does, but for bad characters.

    Only exact types pass: the encoder would write a key 1 as "1". Keys below the surrogates sort
    alike by code point and by UTF-16 code unit; above them they do not.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return -MAX_SAFE_INTEGER <= cast(int, value) <= MAX_SAFE_INTEGER
    if kind is float:
        digits = repr(value)  # ECMAScript writes 59.97 alike; not 1.0, 1e-05, 1e+16, nan, inf
        return "e" not in digits and "n" not in digits and not digits.endswith(".0")
    if not depth_left:
        return False
    if kind is dict:
        members = cast("dict[object, object]", value)
        if len(members) > MAX_KEYS:
            return False
        for key, item in members.items():
            if type(key) is not str or not (key.isascii() or max(key) < "\ud800"):
                return False
            kind = type(item)
            if kind is not str and not _is_plain(item, depth_left - 1):
                return False
        return True
    if kind is list or kind is tuple:
        for item in cast("list[object]", value):
            if type(item) is not str and not _is_plain(item, depth_left - 1):
                return False
        return True
    return False


# --- writing: the exact way ---------------------------------------------------------------------

_encode_text: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode


def _write(value: object, parts: list[str], depth_left: int) -> None:
    # By the base classes' own methods: an enum's or a NumPy number's str() and repr() differ.
    if isinstance(value, str):
        text = str.__str__(value)
        _check_text(text)
        parts.append(_encode_text(text))
    elif value is None:
        parts.append("null")
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, float):
        parts.append(_double(float.__float__(value)))
    elif isinstance(value, int):
        number = int.__int__(value)
        if not -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER:
            raise _Broken(_TOO_BIG)
        parts.append(int.__repr__(number))
    elif isinstance(value, dict):
        _write_object(cast("dict[object, object]", value), parts, depth_left)
    elif isinstance(value, (list, tuple)):
        _write_list(cast("list[object] | tuple[object, ...]", value), parts, depth_left)
    else:
        _refuse_type(value)


def _write_object(value: dict[object, object], parts: list[str], depth_left: int) -> None:
    if not depth_left:
        raise _Broken(_TOO_DEEP)
    if len(value) > MAX_KEYS:
        raise _Broken(_TOO_MANY_KEYS)
    members: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise _Broken(
                f"has a key of type {type(key).__qualname__}; JSON has only strings as keys: "
                "convert it with str()"
            )
        name = str.__str__(key)
        _check_key(name)
        if name in members:  # possible with subclasses of str only
            raise _Broken(f"has the key {_quoted(name)} twice")
        members[name] = item
    ascii_keys = "".join(members).isascii()
    mark = "{"
    for name in sorted(members) if ascii_keys else sorted(members, key=_utf16):
        parts += (mark, _encode_text(name), ":")
        mark = ","
        try:
            _write(members[name], parts, depth_left - 1)
        except _Broken as broken:
            broken.trail.append(name)
            raise
    parts.append("}" if members else "{}")


def _write_list(
    value: list[object] | tuple[object, ...], parts: list[str], depth_left: int
) -> None:
    if not depth_left:
        raise _Broken(_TOO_DEEP)
    mark = "["
    for index, item in enumerate(value):
        parts.append(mark)
        mark = ","
        try:
            _write(item, parts, depth_left - 1)
        except _Broken as broken:
            broken.trail.append(index)
            raise
    parts.append("[]" if mark == "[" else "]")


def _utf16(key: str) -> bytes:
    """The order of RFC 8785: there an emoji comes before U+E000 to U+FFFF, by code point after."""
    return key.encode("utf-16-be")


def _double(value: float) -> str:
    """A double as ECMAScript's Number::toString writes it. Python finds the same digits."""
    text = repr(value)
    if "e" not in text:
        if "n" in text:  # nan, inf
            raise _Broken(_NOT_FINITE)
        if not text.endswith(".0"):
            return text
        return "0" if text == "-0.0" else text[:-2]
    sign = "-" if text[0] == "-" else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    digits = mantissa.replace(".", "")
    # The value is 0.digits times ten to the power of point.
    point = int(exponent) + 1
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = "." + digits[1:] if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _refuse_type(value: object) -> NoReturn:
    name = type(value).__qualname__
    known = next((cls.__name__ for cls in type(value).__mro__ if cls.__name__ in _INSTEAD), "")
    instead = _INSTEAD.get(known, "convert it to None, bool, int, float, str, list or dict")
    raise _Broken(
        f"is of type {name}, which JSON does not have; declare the field with its type in the "
        f"event's class, or {instead}"
    )


_INSTEAD = {
    "Decimal": "pass str(value)",
    "Fraction": "pass str(value)",
    "UUID": "pass str(value)",
    "datetime": "pass value.isoformat()",
    "date": "pass value.isoformat()",
    "time": "pass value.isoformat()",
    "timedelta": "pass value.total_seconds()",
    "bytes": "pass base64 text",
    "bytearray": "pass base64 text",
    "memoryview": "pass base64 text",
    "set": "pass sorted(value)",
    "frozenset": "pass sorted(value)",
    "Enum": "pass value.value",
    "PurePath": "pass str(value)",
    "generator": "pass list(value)",
}


# --- reading: the quick way ---------------------------------------------------------------------


class _Unsure(Exception):
    """The quick reader met something that the exact one must judge."""


def _decode(text: object, at: str) -> str:
    if isinstance(text, str):
        return str.__str__(text)
    if not isinstance(text, bytes):
        raise NotPortable(at, f"is of type {type(text).__qualname__}, not JSON as str or bytes")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotPortable(
            at, f"is not UTF-8 (byte 0x{text[error.start]:02x} at offset {error.start:,})"
        ) from None


def _needs_the_exact_reader(text: str) -> bool:
    if "\\u" in text and _UNSURE_ESCAPE.search(text):
        return True
    if not text.isascii() and _SURROGATE.search(text):
        return True
    # Ask before the standard library is let in: it recurses in C.
    return text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH


_UNSURE_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def _depth(text: str) -> int:
    """How many brackets are open at once, at most, outside of strings. No recursion."""
    brackets = _NO_BRACKETS.sub("", text)
    return max(accumulate(map(_BRACKET_STEP.__getitem__, brackets)), default=0)


# A string that is never closed must be taken whole, or the search would start again at each quote.
_NO_BRACKETS = re.compile(
    r'(?>(?:[^"\[\]{}]++|"[^"\\]*+(?>(?:\\.[^"\\]*+)*)(?:"|\\?\Z))+)', re.DOTALL
)
_BRACKET_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs) or len(members) > MAX_KEYS:
        raise _Unsure
    return members


def _plain_integer(literal: str) -> int:
    if len(literal) > 15:
        raise _Unsure
    return int(literal)


def _plain_float(literal: str) -> float:
    value = float(literal)
    if not isfinite(value):
        raise _Unsure
    return value


def _no_constant(literal: str) -> NoReturn:
    raise _Unsure


_read_plain: Callable[[str], object] = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_plain_integer,
    parse_float=_plain_float,
    parse_constant=_no_constant,
).decode


# --- reading: the exact way ---------------------------------------------------------------------

_SPACE = re.compile(r"[ \t\n\r]*+").match
_CHUNK = re.compile(r'[^"\\\x00-\x1f]*+').match
_NUMBER = re.compile(r"(-?(?:0|[1-9][0-9]*+))((?>(?:\.[0-9]++)?)(?>(?:[eE][+-]?[0-9]++)?))").match
_HEX4 = re.compile(r"[0-9a-fA-F]{4}").match
_WORD = re.compile(r"-?[A-Za-z_]{1,12}").match
_WORDS: dict[str, JsonValue] = {"true": True, "false": False, "null": None}
_ESCAPES = {
    '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"
}  # fmt: skip


def _read(text: str) -> JsonValue:
    if text.startswith("\ufeff"):
        raise _Broken("begins with a byte order mark; take it out")
    value, end = _read_value(text, _after_space(text, 0), MAX_DEPTH)
    end = _after_space(text, end)
    if end != len(text):
        raise _Broken(f"goes on after its end: {_seen(text, end)}")
    return value


def _read_value(text: str, start: int, depth_left: int) -> tuple[JsonValue, int]:
    first = text[start : start + 1]
    if first == '"':
        value, end = _read_string(text, start)
        _check_text(value)
        return value, end
    if first == "{" or first == "[":
        if not depth_left:
            raise _Broken(_TOO_DEEP)
        return (_read_object if first == "{" else _read_list)(text, start + 1, depth_left - 1)
    if number := _NUMBER(text, start):
        return _number(number[1], number[2]), number.end()
    if word := _WORD(text, start):
        if word[0] in _WORDS:
            return _WORDS[word[0]], word.end()
        if word[0].lstrip("-") in ("NaN", "Infinity"):
            raise _Broken(_NOT_FINITE)
    raise _Broken(f"is not JSON: expected a value, found {_seen(text, start)}")


def _read_object(text: str, start: int, depth_left: int) -> tuple[JsonValue, int]:
    members: dict[str, JsonValue] = {}
    start = _after_space(text, start)
    if text[start : start + 1] == "}":
        return members, start + 1
    while True:
        if text[start : start + 1] != '"':
            raise _Broken(f"is not JSON: expected a key, found {_seen(text, start)}")
        key, start = _read_string(text, start)
        _check_key(key)
        if key in members:
            raise _Broken(f"has the key {_quoted(key)} twice")
        if len(members) == MAX_KEYS:
            raise _Broken(_TOO_MANY_KEYS)
        start = _after_space(text, start)
        if text[start : start + 1] != ":":
            raise _Broken(f"is not JSON: expected ':' after a key, found {_seen(text, start)}")
        try:
            members[key], start = _read_value(text, _after_space(text, start + 1), depth_left)
        except _Broken as broken:
            broken.trail.append(key)
            raise
        start = _after_space(text, start)
        follows = text[start : start + 1]
        if follows == "}":
            return members, start + 1
        if follows != ",":
            raise _Broken(f"is not JSON: expected ',' or '}}', found {_seen(text, start)}")
        start = _after_space(text, start + 1)


def _read_list(text: str, start: int, depth_left: int) -> tuple[JsonValue, int]:
    items: list[JsonValue] = []
    start = _after_space(text, start)
    if text[start : start + 1] == "]":
        return items, start + 1
    while True:
        try:
            item, start = _read_value(text, start, depth_left)
        except _Broken as broken:
            broken.trail.append(len(items))
            raise
        items.append(item)
        start = _after_space(text, start)
        follows = text[start : start + 1]
        if follows == "]":
            return items, start + 1
        if follows != ",":
            raise _Broken(f"is not JSON: expected ',' or ']', found {_seen(text, start)}")
        start = _after_space(text, start + 1)


def _read_string(text: str, start: int) -> tuple[str, int]:
    """The string whose opening quote is at `start`, not yet checked for bad characters."""
    parts: list[str] = []
    start += 1
    while True:
        chunk = _CHUNK(text, start)
        assert chunk is not None  # it also matches nothing
        parts.append(chunk[0])
        start = chunk.end()
        stop = text[start : start + 1]
        if stop == '"':
            return "".join(parts), start + 1
        if stop != "\\":
            raise _Broken(f"is not JSON: a string is cut short by {_seen(text, start)}")
        code = text[start + 1 : start + 2]
        if code in _ESCAPES:
            parts.append(_ESCAPES[code])
            start += 2
        elif code == "u":
            unit = _code_unit(text, start)
            start += 6
            if 0xD800 <= unit < 0xDC00 and text.startswith("\\u", start):
                low = _code_unit(text, start)
                if 0xDC00 <= low < 0xE000:
                    unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
                    start += 6
            parts.append(chr(unit))
        else:
            raise _Broken(f"is not JSON: a string has the escape {_seen(text, start)}")


def _code_unit(text: str, start: int) -> int:
    """The number of the `\\uXXXX` at `start`."""
    unit = _HEX4(text, start + 2)
    if unit is None:
        raise _Broken(f"is not JSON: a string has the escape {_seen(text, start)}")
    return int(unit[0], 16)


def _number(integer: str, rest: str) -> int | float:
    if rest:
        value = float(integer + rest)
        if not isfinite(value):
            raise _Broken("is a number beyond the largest double; keep it as a string")
        return value
    if len(integer) > 22:  # no double is printed with more than 21 digits and a sign
        raise _Broken(_TOO_BIG)
    number = int(integer)
    if -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER:
        return number
    if _double(float(number)) != integer:
        raise _Broken(_TOO_BIG)
    return float(number)


def _after_space(text: str, start: int) -> int:
    space = _SPACE(text, start)
    assert space is not None  # it also matches nothing
    return space.end()


def _seen(text: str, start: int) -> str:
    if start >= len(text):
        return "the end of the text"
    return f"{_quoted(text[start : start + 10])} at character {start + 1:,}"
