"""Events are classes: `@event` names one, a `Registry` knows those of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from everlog.core.codec import Codec, codec_for
from everlog.core.misfit import Misfit
from everlog.core.portable import MAX_EVENT_BYTES
from everlog.core.record import StoredRecord
from everlog.core.stream import check_name
from everlog.errors import (
    DecodeError,
    EventAlreadyRegistered,
    EventDefinitionError,
    EventValidationError,
    InvalidInput,
    TooLarge,
    UnknownEvent,
)

C = TypeVar("C", bound=type[Any])

Class: TypeAlias = type[Any]
"""Any class; for use where `type` is the name of an event's type."""

_ATTRIBUTE = "__everlog_event__"

MAX_SCHEMA = 2**31 - 1
"""The greatest schema: every database has a column for it."""


def event(
    type: str,
    *,
    schema: int = 1,
    meta: type[Any] | None = None,
    register: str | None = None,
) -> Callable[[C], C]:
    """Declares a class to be an event of the given type. Returns the class itself.

    The class is a pydantic v2 model (`RootModel` for a bare value), a `msgspec.Struct` or a
    dataclass.

    - `type`: the stable name under which it is stored, such as `"user:created"`; never the import
      path, so that classes may move. 1 to 255 bytes.
    - `schema`: the version of the type's shape, from 1 to 2,147,483,647.
    - `meta`: the class of what is said about the event (who, from where); required with every
      append if given, refused if not.
    - `register`: what the event writes, if several types write the same thing; `outdated` is judged
      per register. Default: the type itself.

    Unknown fields are refused on write and tolerated on read: a pydantic model is set to forbid
    extras (unless its own `model_config` says otherwise), a Struct and a dataclass refuse them in
    their constructors. Not reached: models nested in fields, which follow their own configuration.
    A class without fields stores `null`, and `null` still reads when fields with defaults are
    added later. Fields of a set type are written in no fixed order, so a retry by id from another
    process may look like other content: prefer lists or tuples.

    Raises `EventDefinitionError` for a class or an argument that cannot work, `InvalidName` for a
    type or register that cannot be one.

    >>> @event("user:name-set")
    ... class NameSet(BaseModel):
    ...     given: str
    ...     family: str = ""
    >>> record_of(NameSet(given="Jane")).json
    {'family': '', 'given': 'Jane'}
    """
    check_name("event type", type)
    if register is not None:
        check_name("register", register)
    # Decorators are called by programs that no type checker has seen.
    if not isinstance(schema, int) or isinstance(schema, bool) or not 1 <= schema <= MAX_SCHEMA:  # type: ignore[redundant-expr]  # pyright: ignore[reportUnnecessaryIsInstance]
        raise EventDefinitionError(
            f"schema={schema!r} of {type!r} must be a whole number from 1 to {MAX_SCHEMA:,}"
        )

    def declare(cls: C) -> C:
        if _ATTRIBUTE in vars(cls):
            raise EventDefinitionError(
                f"{cls.__qualname__} is an event already ({event_type_of(cls).type!r}); "
                "declare a class of its own for each type"
            )
        declared = EventType(
            type=type,
            schema=int(schema),  # what extends int may write itself in another way
            register=register or type,
            cls=cls,
            codec=codec_for(cls),
            meta=None if meta is None else codec_for(meta),
        )
        setattr(cls, _ATTRIBUTE, declared)
        return cls

    return declare


@dataclass(frozen=True, slots=True)
class EventType:
    """What `@event` says of a class."""

    type: str
    schema: int
    register: str
    cls: Class
    codec: Codec
    meta: Codec | None

    def encode(self, event: object, meta: object) -> tuple[str, str]:
        """Returns the canonical JSON of data and meta, validated anew.

        Raises `EventValidationError`, `NotPortable` or `TooLarge`.
        """
        data_text = self.codec.encode(event, at="data", event_type=self.type)
        meta_text = self.encode_meta(meta)
        check_size(self.type, data_text, meta_text)
        return data_text, meta_text

    def encode_meta(self, meta: object) -> str:
        """Returns the canonical JSON of meta alone, validated anew; raises as `encode`."""
        if self.meta is not None:
            if meta is None:
                name = self.meta.cls.__name__
                raise EventValidationError(
                    self.type, [("meta", f"missing; pass meta={name}(...) with this event")]
                )
            return self.meta.encode(meta, at="meta", event_type=self.type)
        if meta is not None:
            raise EventValidationError(
                self.type,
                [("meta", f"not expected; declare it: @event({self.type!r}, meta=...)")],
            )
        return "null"


def check_size(what: str, data: str, meta: str) -> int:
    """Returns the bytes of data and meta together; raises `TooLarge` over 1 MiB."""
    size = len(data) + len(meta)
    if not (data.isascii() and meta.isascii()):
        # A lone surrogate counts too: what it is in, the rules of portable JSON name later.
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in (data, meta))
    if size > MAX_EVENT_BYTES:
        larger = "data" if len(data) >= len(meta) else "meta"
        raise TooLarge(f"event {what!r}, above all its {larger},", size=size, limit=MAX_EVENT_BYTES)
    return size


def event_type_of(cls: type[Any]) -> EventType:
    """Returns what `@event` said of exactly this class; raises `UnknownEvent` if it did not."""
    declared = vars(cls).get(_ATTRIBUTE)
    if not isinstance(declared, EventType):
        raise UnknownEvent(f"class {cls.__qualname__}", [], hint="decorate it: @event('some:type')")
    return declared


class Registry:
    """The events of one store: from class to type when writing, from type to class when reading.

    Raises `EventAlreadyRegistered` if two classes claim one type, `UnknownEvent` for a class that
    `@event` does not decorate.
    """

    def __init__(self, classes: Iterable[type[Any]] = ()) -> None:
        self._by_type: dict[str, EventType] = {}
        self._by_class: dict[type[Any], EventType] = {}
        for cls in classes:
            self.add(cls)

    def add(self, cls: type[Any]) -> None:
        """Makes one more class known. The same class twice is once."""
        if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise EventDefinitionError(f"events=[...] holds classes, not {cls!r}")
        declared = event_type_of(cls)
        present = self._by_type.get(declared.type)
        if present is not None and present.cls is not cls:
            raise EventAlreadyRegistered(declared.type, _name_of(present.cls), _name_of(cls))
        for codec in (declared.codec, declared.meta):
            if codec is not None:
                codec.prepare()
        self._by_type[declared.type] = declared
        self._by_class[cls] = declared

    @property
    def types(self) -> tuple[str, ...]:
        """The known type names, in the order of registration."""
        return tuple(self._by_type)

    def of_event(self, event: object) -> EventType:
        """Returns the type of an event instance; raises `UnknownEvent`."""
        declared = self._by_class.get(type(event))
        if declared is None:
            raise self._unknown_instance(event)
        return declared

    def name_of(self, cls_or_name: type[Any] | str) -> str:
        """Returns the type name of a class, or of a name whether known or not."""
        if isinstance(cls_or_name, str):
            return check_name("event type", cls_or_name)
        if isinstance(cls_or_name, type):  # pyright: ignore[reportUnnecessaryIsInstance]
            declared = self._by_class.get(cls_or_name)
            if declared is not None:
                return declared.type
            raise UnknownEvent(f"class {cls_or_name.__qualname__}", self.types)
        raise InvalidInput(f"types=[...] holds event classes or type names, not {cls_or_name!r}")

    def decode_data(self, record: StoredRecord) -> Any:
        """Returns the event of a stored record; raises `UnknownEvent` or `DecodeError`."""
        declared = self._known(record)
        try:
            return declared.codec.decode(record.data)
        except Misfit as error:
            raise DecodeError(record.type, record.id, _under("data", error)) from error.__cause__

    def decode_meta(self, record: StoredRecord) -> Any:
        """Returns the meta of a stored record, or None if there is none.

        Raises `UnknownEvent` or `DecodeError`.
        """
        declared = self._known(record)
        if declared.meta is None or (record.meta == "null" and not declared.meta.bare):
            return None
        try:
            return declared.meta.decode(record.meta)
        except Misfit as error:
            raise DecodeError(record.type, record.id, _under("meta", error)) from error.__cause__

    def _known(self, record: StoredRecord) -> EventType:
        declared = self._by_type.get(record.type)
        if declared is None:
            raise UnknownEvent(f"event type {record.type!r}", self.types)
        return declared

    def _unknown_instance(self, event: object) -> UnknownEvent:
        if isinstance(event, type):
            return UnknownEvent(
                f"class {event.__qualname__}",
                self.types,
                hint=f"pass an instance, {event.__qualname__}(...), and not the class",
            )
        cls = type(event)
        if isinstance(event, (list, tuple)):
            return UnknownEvent(
                f"a {cls.__name__} is no event and",
                self.types,
                hint="pass events one by one: append(stream, *events)",
            )
        if cls.__module__ == "builtins":
            return UnknownEvent(
                f"a {cls.__name__} is no event and",
                self.types,
                hint="pass an instance of an event class",
            )
        if _ATTRIBUTE not in vars(cls):
            return UnknownEvent(
                f"{cls.__qualname__} is no event and", self.types, hint="decorate its class: @event"
            )
        return UnknownEvent(f"class {cls.__qualname__}", self.types)


def _under(root: str, misfit: Misfit) -> list[tuple[str, str]]:
    return [(root + path, message) for path, message in misfit.problems]


def _name_of(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
