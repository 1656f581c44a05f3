"""Standard dataclasses, encoded and validated by pydantic."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from everlog.core.fielded import classes_in_schema
from everlog.errors import EventDefinitionError

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class DataclassEngine:
    """Encodes and decodes one dataclass. pydantic is imported when the event is first needed."""

    sorts = False

    def __init__(self, cls: type[Any]) -> None:
        self.cls = cls
        self.bare = False
        self.fields = bool(dataclasses.fields(cls))
        self._adapter: TypeAdapter[Any] | None = None

    def prepare(self) -> None:
        if self._adapter is not None:
            return
        from pydantic import TypeAdapter

        try:
            adapter: TypeAdapter[Any] = TypeAdapter(self.cls)
            adapter.rebuild()  # raises if it was put off: for a name that cannot be resolved
        except Exception as error:  # pydantic raises many kinds here, all meaning the same
            raise EventDefinitionError(
                f"{self.cls.__qualname__} cannot be used as an event: {error}"
            ) from error
        self._adapter = adapter

    def made_of(self) -> frozenset[type[Any]] | None:
        return classes_in_schema(self._ready.core_schema)

    def dumps(self, value: object) -> bytes | None:
        from everlog.core.pydantic_engine import dumps

        return dumps(self._ready.serializer, value)

    def to_tree(self, value: object) -> object:
        from everlog.core.pydantic_engine import to_tree

        return to_tree(self._ready.serializer, value)

    def to_python(self, value: object) -> object:
        from everlog.core.pydantic_engine import to_python

        return to_python(self._ready.serializer, value)

    def loads(self, text: str | bytes) -> Any:
        from everlog.core.pydantic_engine import loads

        # Declared wider, for validators that pydantic's plugins wrap: those are called alike.
        return loads(self._ready.validator, text, "ignore")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    @property
    def _ready(self) -> TypeAdapter[Any]:
        if self._adapter is None:
            self.prepare()
        assert self._adapter is not None
        return self._adapter
