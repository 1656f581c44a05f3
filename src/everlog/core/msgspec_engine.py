"""msgspec Structs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

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
