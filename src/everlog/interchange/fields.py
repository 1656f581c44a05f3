"""Fields of an object that somebody else has written: each of its kind, or the line is named."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from everlog.core.json_kinds import kind_of
from everlog.core.portable import canonical
from everlog.errors import InvalidInput, NotPortable
from everlog.interchange.json_values import Value


class Fields:
    """The fields of an object in a file."""

    def __init__(self, value: Value) -> None:
        self.line = value.line
        found: object = value.json
        if type(found) is not dict:
            self.refuse(f"an event is an object, not {kind_of(found)}")
        self._all = cast("dict[str, Any]", value.json)

    def __contains__(self, name: str) -> bool:
        return self._all.get(name) is not None

    def text(self, name: str) -> str:
        """Returns a field that is text."""
        value = self._all.get(name)
        if type(value) is not str:
            self._wrong(name, "text")
        return value

    def text_or(self, name: str, default: str) -> str:
        """Returns a field that is text, or the default where it is missing or null."""
        return self.text(name) if name in self else default

    def text_or_none(self, name: str) -> str | None:
        """Returns a field that is text, None where it is missing or null."""
        return self.text(name) if name in self else None

    def number(self, name: str) -> int:
        """Returns a field that is a whole number."""
        value = self._all.get(name)
        if type(value) is not int:
            self._wrong(name, "a whole number")
        return value

    def number_or(self, name: str, default: int) -> int:
        """Returns a field that is a whole number, or the default."""
        return self.number(name) if name in self else default

    def octets(self, name: str) -> bytes:
        """Returns a field that is bytes in hex."""
        text = self.text(name)
        try:
            return bytes.fromhex(text)
        except ValueError:
            self._wrong(name, "bytes in hex")

    def names(self, name: str) -> list[str]:
        """Returns a field that is a list of texts, empty where it is missing."""
        value: Any = self._all.get(name) or []
        if type(value) is not list:
            self._wrong(name, "a list of texts")
        if any(type(each) is not str for each in cast("list[object]", value)):
            self._wrong(name, "a list of texts")
        return cast("list[str]", value)

    def json(self, name: str) -> Any:
        """Returns a field of any kind, None where it is missing."""
        return self._all.get(name)

    def content(self, name: str) -> str:
        """Returns a field of any kind as canonical JSON; null where it is missing."""
        try:
            return canonical(self._all.get(name), at=name)
        except NotPortable as error:
            raise InvalidInput(f"line {self.line}: {error}") from None

    def _wrong(self, name: str, expected: str) -> NoReturn:
        if name not in self._all:
            self.refuse(f"{name} is missing; it must be {expected}")
        self.refuse(f"{name} must be {expected}, not {kind_of(self._all[name])}")

    def refuse(self, what: str) -> NoReturn:
        """Raises `InvalidInput` with the line."""
        raise InvalidInput(f"line {self.line}: {what}")
