"""Streams: how they may be named, and what an append may expect of them."""

from __future__ import annotations

import enum
import re
from typing import TypeAlias

from everlog.errors import InvalidExpectation, InvalidName, WrongVersion

MAX_NAME_BYTES = 255
"""The longest stream, relation, event id or type name, in bytes of UTF-8."""

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Expect(enum.Enum):
    """What an append may ask of its stream, besides an exact version."""

    ANY = "any"
    """Nothing: append in any case."""
    NEW = "new"
    """That it has no events yet; the same as version 0."""
    EXISTS = "exists"
    """That it has at least one event."""

    def __repr__(self) -> str:
        return self.name


ANY = Expect.ANY
NEW = Expect.NEW
EXISTS = Expect.EXISTS

Expectation: TypeAlias = Expect | int
"""`ANY`, `NEW`, `EXISTS`, or the version that the stream must be at."""


def check_name(kind: str, value: object) -> str:
    """Returns `value` if it can name a stream, relation, event or type; raises `InvalidName`.

    A name is text of 1 to 255 bytes of UTF-8 without control characters or lone surrogates: what
    every database and every URL can carry. Case and Unicode form are kept as they are.
    """
    if not isinstance(value, str):
        raise InvalidName(kind, value, f"must be text, not {type(value).__name__}")
    if not value:
        raise InvalidName(kind, value, "must not be empty")
    if _FORBIDDEN.search(value):
        raise InvalidName(kind, value, "must not hold control characters or lone surrogates")
    if len(value) > MAX_NAME_BYTES or (
        not value.isascii() and len(value.encode()) > MAX_NAME_BYTES
    ):
        raise InvalidName(kind, value, f"must not be longer than {MAX_NAME_BYTES} bytes of UTF-8")
    return value


def check_expectation(value: object) -> Expectation:
    """Returns `value` if it is an expectation; raises `InvalidExpectation` otherwise."""
    if isinstance(value, Expect):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise InvalidExpectation(
        f"expect={value!r} is not an expectation; "
        "use ANY, NEW, EXISTS or the stream's version (0 or more)"
    )


def require(expected: Expectation, *, stream: str, actual: int) -> None:
    """Raises `WrongVersion` unless a stream at version `actual` meets the expectation."""
    match expected:
        case Expect.ANY:
            met = True
        case Expect.NEW:
            met = actual == 0
        case Expect.EXISTS:
            met = actual > 0
        case version:
            met = actual == version
    if not met:
        raise WrongVersion(stream, expected=expected, actual=actual)
