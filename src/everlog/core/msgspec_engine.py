"""msgspec Structs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, cast

import msgspec
from msgspec.inspect import (
    CustomType,
    DataclassType,
    Field,
    NamedTupleType,
    StructType,
    Type,
    type_info,
)

from everlog.core.misfit import Misfit
from everlog.errors import EventDefinitionError

_WHERE = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)


class StructEngine:
    """Encodes and decodes one Struct."""

    sorts = False

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        if cls.__struct_config__.forbid_unknown_fields:
            raise EventDefinitionError(
                f"{cls.__qualname__} sets forbid_unknown_fields, so it could not read what next "
                "year's version wrote; leave it out: unknown fields are refused on write anyway"
            )
        self.cls: type[Any] = cls
        self.bare = False
        self.fields = bool(cls.__struct_fields__) or cls.__struct_config__.tag is not None
        # Not "sorted": msgspec 0.22 then kills the process for a Struct that lost a field.
        self._encoder = msgspec.json.Encoder(order="deterministic")
        self._decoder: msgspec.json.Decoder[Any] | None = None

    def prepare(self) -> None:
        try:
            self._decoder = self._decoder or msgspec.json.Decoder(self.cls)
        except Exception as error:  # msgspec raises many kinds here, all meaning the same
            raise EventDefinitionError(
                f"{self.cls.__qualname__} cannot be used as an event: {error}"
            ) from error

    def made_of(self) -> frozenset[type[Any]] | None:
        try:
            return _classes_in(type_info(self.cls))
        except Exception:  # it knows less than the decoder does
            return None

    def dumps(self, value: object) -> bytes | None:
        try:
            return self._encoder.encode(value)
        except Exception:
            return None

    def to_tree(self, value: object) -> object:
        try:
            return msgspec.to_builtins(value, order="sorted")
        except Exception as error:
            raise Misfit([("", str(error))]) from error

    def to_python(self, value: object) -> object:
        try:
            return msgspec.to_builtins(value, builtin_types=(datetime,))
        except Exception as error:
            raise Misfit([("", str(error))]) from error

    def loads(self, text: str | bytes) -> Any:
        if self._decoder is None:
            self.prepare()
        assert self._decoder is not None
        try:
            return self._decoder.decode(text)
        except msgspec.DecodeError as error:  # ValidationError is one
            message = str(error)
            where = _WHERE.search(message)
            path = where.group(1) if where else ""
            raise Misfit([(path, _WHERE.sub("", message))]) from error


def _classes_in(info: object) -> frozenset[type[Any]] | None:
    """Returns the classes with fields that a type is made of; None where it holds others."""
    found: set[type[Any]] = set()
    waiting: list[object] = [info]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (StructType, DataclassType)):
            if part.cls in found:
                continue  # it may hold itself
            found.add(part.cls)
        if isinstance(part, (CustomType, NamedTupleType)):
            return None
        if isinstance(part, (Type, Field)):
            waiting += [getattr(part, name) for name in part.__struct_fields__]
        elif isinstance(part, (list, tuple)):
            waiting += cast("Iterable[object]", part)
    return frozenset(found)
