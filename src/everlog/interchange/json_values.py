"""JSON values of a text of any length, one after the other: lines, or the entries of one list."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from everlog.core.portable import MAX_SAFE_INTEGER, canonical
from everlog.errors import InvalidInput, NotPortable

MAX_VALUE_CHARACTERS = 16 * 1024 * 1024
"""One value in a file has no more, or something else than events is in it."""

CHUNK_CHARACTERS = 64 * 1024

Read = Callable[[int], str]
"""Returns at most so many of the next characters; none at the end."""


class Value(NamedTuple):
    """A value, and where it begins."""

    line: int
    json: Any


def values(read: Read, *, chunk: int = CHUNK_CHARACTERS) -> Iterator[Value]:
    """Gives the values of a text: those in its one list, or those that stand one behind the other.

    Only as much of it is held as its longest value is long. Raises `InvalidInput`, which names the
    line, for what is no JSON, and `NotPortable` for what not every reader of JSON can tell apart,
    such as a key that comes twice.
    """
    text = _Text(read, chunk)
    first = text.next_character()
    if first == "\ufeff":  # as some programs of Windows write it
        text.at += 1
        first = text.next_character()
    if first != "[":
        while first:
            yield text.value()
            first = text.next_character()
        return
    text.at += 1
    if text.next_character() != "]":
        while True:
            yield text.value()
            follows = text.next_character()
            if follows == "]":
                break
            if follows != ",":
                text.refuse("a comma or ] is missing behind an entry of the list")
            text.at += 1
            text.next_character()
    text.at += 1
    if text.next_character():
        text.refuse("something stands behind the end of the list")


class _Text:
    """A text that is read as it is needed."""

    def __init__(self, read: Read, chunk: int) -> None:
        self._read = read
        self._chunk = chunk
        self._held = ""
        self.at = 0
        self._line = 1
        self._counted = 0
        self._ended = False

    def next_character(self) -> str:
        """Passes over white space; returns what comes then, without passing it; empty: the end."""
        while True:
            match = _VISIBLE.search(self._held, self.at)
            if match is not None:
                self.at = match.start()
                return match.group()
            self.at = len(self._held)
            if not self._more(self._chunk):
                return ""

    def value(self) -> Value:
        """Reads a value, and passes it."""
        self._forget()
        line, size = self._line, self._chunk
        while True:
            begins = self.at
            try:
                value, end = _decoder.raw_decode(self._held, begins)
            except NotPortable as error:
                raise InvalidInput(f"line {line}: {error}") from None
            except RecursionError:
                self.refuse("it is nested too deeply")
            except json.JSONDecodeError as error:
                if self._ended or not _could_go_on(error, self._held):
                    self.refuse(f"is no JSON: {error.msg.removesuffix(' at')}", error.pos)
            else:
                # What ends with the text so far may go on: 12 could be the beginning of 123.
                if end < len(self._held) or self._ended:
                    self.at = end
                    return Value(line, value)
            if len(self._held) - begins > MAX_VALUE_CHARACTERS:
                self.refuse(f"a single value has over {MAX_VALUE_CHARACTERS:,} characters")
            if self._more(size):
                size *= 2  # a value of n characters is tried log n times

    def refuse(self, what: str, at: int | None = None) -> NoReturn:
        """Raises `InvalidInput` with the line."""
        end = self.at if at is None else at
        line = self._line + self._held.count("\n", self._counted, end)
        raise InvalidInput(f"line {line}: {what}")

    def _more(self, size: int) -> bool:
        if self._ended:
            return False
        text = self._read(size)
        if not text:
            self._ended = True
            return False
        self._held += text
        return True

    def _forget(self) -> None:
        """Counts the lines that have been passed, and lets go of them where that is worth it."""
        self._line += self._held.count("\n", self._counted, self.at)
        self._counted = self.at
        if self.at >= self._chunk:
            self._held = self._held[self.at :]
            self._counted = self.at = 0


def _could_go_on(error: json.JSONDecodeError, text: str) -> bool:
    """Whether it might be well with more text: it is wrong at the end, or of something open."""
    return error.pos >= len(text) - _LONGEST_TOKEN or error.msg.startswith("Unterminated")


_LONGEST_TOKEN = 8
"""No token that could be cut in two and refused for it has more characters before its end."""
_VISIBLE = re.compile(r"[^ \t\r\n]")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise NotPortable(f"key {key[:60]!r}", "comes twice in one object")
            seen.add(key)
    return members


def _integer(literal: str) -> int | float:
    if len(literal) <= 16:
        number = int(literal)
        if -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER:
            return number
    # As RFC 8785 prints a double: 10000000000000000 is 1e16. Others lose digits in some reader.
    if len(literal) <= 22 and canonical(float(literal)) == literal:
        return float(literal)
    raise NotPortable("a number", f"{literal[:30]} is beyond 2^53 - 1; pass it as text")


def _constant(literal: str) -> NoReturn:
    raise NotPortable("a number", f"{literal} is no number of JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_once, parse_int=_integer, parse_constant=_constant, strict=True
)
