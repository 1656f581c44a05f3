"""msgspec Structs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, cast

import msgspec
from msgspec import inspect
from msgspec.inspect import (
    CustomType,
    DataclassType,
    NamedTupleType,
    RawType,
    StructType,
    Type,
    type_info,
)

from everlog.core.misfit import Misfit
from everlog.core.portable import parse
from everlog.errors import EventDefinitionError

_WHERE = re.compile(r" - at `(?:key in )?\$(.*)`$", re.DOTALL)


class StructEngine:
    """Encodes and decodes one Struct."""

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
        self.sorts = False

    def prepare(self) -> None:
        try:
            self._decoder = self._decoder or msgspec.json.Decoder(self.cls)
        except Exception as error:  # msgspec raises many kinds here, all meaning the same
            raise EventDefinitionError(
                f"{self.cls.__qualname__} cannot be used as an event: {error}"
            ) from error
        try:
            self.sorts = all(map(_writes_sorted, _parts_of(type_info(self.cls))))
        except Exception:  # it knows less than the decoder does
            self.sorts = False

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
            return msgspec.to_builtins(value, order="sorted", enc_hook=_plain)
        except Exception as error:
            raise Misfit([("", str(error))]) from error

    def to_python(self, value: object) -> object:
        try:
            return msgspec.to_builtins(value, builtin_types=(datetime,), enc_hook=_plain)
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


def _plain(value: object) -> object:
    """Returns plain JSON values of what msgspec writes as it is, and nowhere else takes apart."""
    if isinstance(value, msgspec.Raw):
        return parse(bytes(value))
    raise TypeError(f"Encoding objects of type {type(value).__qualname__} is unsupported")


def _classes_in(info: object) -> frozenset[type[Any]] | None:
    """Returns the classes with fields that a type is made of; None where it holds others."""
    found: set[type[Any]] = set()
    for part in _parts_of(info):
        if isinstance(part, (StructType, DataclassType)):
            found.add(part.cls)
        # Raw text equals itself whatever is in it: two keys of one name, or no number.
        if isinstance(part, (CustomType, NamedTupleType, RawType)):
            return None
    return frozenset(found)


def _writes_sorted(part: object) -> bool:
    """Whether this part of a type is written with sorted keys, for a value that reads back equal.

    A Struct is written in the order of its fields, and a dict in the order of its keys before they
    are text.
    """
    if isinstance(part, StructType):
        config = part.cls.__struct_config__
        names = part.cls.__struct_encode_fields__
        return config.tag is None and list(names) == sorted(names)
    if isinstance(part, inspect.DictType):
        return isinstance(part.key_type, inspect.StrType)
    return not isinstance(part, Type) or isinstance(part, _WITHOUT_KEYS)


_WITHOUT_KEYS = (
    inspect.AnyType,  # with keys of its own, which are text, or it does not read back equal
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.BytesType,
    inspect.DateTimeType,
    inspect.DateType,
    inspect.TimeType,
    inspect.TimeDeltaType,
    inspect.UUIDType,
    inspect.DecimalType,
    inspect.EnumType,
    inspect.LiteralType,
    inspect.ListType,
    inspect.SetType,
    inspect.FrozenSetType,
    inspect.VarTupleType,
    inspect.TupleType,
    inspect.UnionType,
)
"""Types that are written without keys, or with keys in order."""


def _parts_of(info: object) -> Iterator[object]:
    """Yields a type and all that it is made of; each class once, as it may hold itself."""
    seen: set[type[Any]] = set()
    waiting: list[object] = [info]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (StructType, DataclassType)):
            if part.cls in seen:
                continue
            seen.add(part.cls)
        yield part
        if isinstance(part, (Type, inspect.Field)):
            waiting += [getattr(part, name) for name in part.__struct_fields__]
        elif isinstance(part, (list, tuple)):
            waiting += cast("Iterable[object]", part)
