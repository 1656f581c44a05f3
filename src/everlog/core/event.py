"""Events are classes: `@event` names one, a `Registry` knows those of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from everlog.core.codec import Codec, codec_for
from everlog.core.misfit import Misfit
from everlog.core.portable import MAX_EVENT_BYTES, JsonValue, canonical, parse
from everlog.core.record import StoredRecord
from everlog.core.stream import check_name
from everlog.core.upcasting import MAX_SCHEMA, Chain, Upcast, evolution_of
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

Known: TypeAlias = "type[Any] | Upcast"
"""What a store knows its events by: their classes, and the upcasts of what they were before."""

_ATTRIBUTE = "__everlog_event__"


def event(
    type: str,
    *,
    schema: int = 1,
    meta: type[Any] | None = None,
    register: str | None = None,
    aliases: Sequence[str] = (),
) -> Callable[[C], C]:
    """Declares a class to be an event of the given type. Returns the class itself.

    The class is a pydantic v2 model (`RootModel` for a bare value), a `msgspec.Struct` or a
    dataclass.

    - `type`: the stable name under which it is stored, such as `"user:created"`; never the import
      path, so that classes may move. 1 to 255 bytes.
    - `schema`: the version of the type's shape, from 1 to 2,147,483,647. Data of an older one is
      read through `upcast`; of a newer one it cannot be read, and raises `DecodeError`.
    - `meta`: the class of what is said about the event (who, from where); required with every
      append if given, refused if not.
    - `register`: what the event writes, if several types write the same thing; `outdated` is judged
      per register. Default: the type itself.
    - `aliases`: other names under which records of this type are stored: those it had before it was
      renamed. They are read as this type, wherever classes or types are named; it is written under
      `type` alone. `register` has to be said then: what the stored records write.

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
    names = _checked(type, aliases, register)
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
            aliases=names,
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
    aliases: tuple[str, ...]
    cls: Class
    codec: Codec
    meta: Codec | None

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which records of it are stored, today's first."""
        return (self.type, *self.aliases)

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


def _checked(type: str, aliases: Sequence[str], register: str | None) -> tuple[str, ...]:
    if isinstance(aliases, str):
        raise EventDefinitionError(
            f"aliases= of {type!r} is a list of names; write aliases=[{aliases!r}]"
        )
    names = tuple(check_name("alias", alias) for alias in aliases)
    if type in names or len(set(names)) != len(names):
        raise EventDefinitionError(f"aliases={list(names)!r} of {type!r} name something twice")
    if names and register is None:
        raise EventDefinitionError(
            f"{type!r} has aliases, so say what it and the records stored under them write, "
            f"register={names[0]!r} if they had none of their own: otherwise old and new ones "
            "would not outdate each other"
        )
    return names


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
    `@event` does not decorate, `EventDefinitionError` for upcasts that lead nowhere.
    """

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self._by_type: dict[str, EventType] = {}
        """By its name of today."""
        self._by_name: dict[str, EventType] = {}
        """By each name under which records are stored."""
        self._by_class: dict[type[Any], EventType] = {}
        self._chains: dict[str, Chain] = {}
        upcasts: list[Upcast] = []
        for each in known:
            if isinstance(each, Upcast):
                upcasts.append(each)
            else:
                self.add(each)
        for step in upcasts:
            self._add_upcast(step)
        for chain in self._chains.values():
            chain.check()
        self._evolution = self._evolution_of(self._by_type.values())

    def add(self, cls: type[Any]) -> None:
        """Makes one more class known. The same class twice is once."""
        if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise EventDefinitionError(f"events=[...] holds classes and upcasts, not {cls!r}")
        declared = event_type_of(cls)
        for name in declared.names:
            present = self._by_name.get(name)
            if present is not None and present.cls is not cls:
                raise EventAlreadyRegistered(name, _name_of(present.cls), _name_of(cls))
        for codec in (declared.codec, declared.meta):
            if codec is not None:
                codec.prepare()
        self._by_type[declared.type] = declared
        self._by_name.update(dict.fromkeys(declared.names, declared))
        self._by_class[cls] = declared
        self._chains[declared.type] = Chain(declared.type, declared.schema)

    @property
    def types(self) -> tuple[str, ...]:
        """The known type names, in the order of registration."""
        return tuple(self._by_type)

    def knows(self, name: str) -> bool:
        """Whether records stored under this name can be decoded."""
        return name in self._by_name

    def of_event(self, event: object) -> EventType:
        """Returns the type of an event instance; raises `UnknownEvent`."""
        declared = self._by_class.get(type(event))
        if declared is None:
            raise self._unknown_instance(event)
        return declared

    def names_of(self, cls_or_name: type[Any] | str) -> tuple[str, ...]:
        """Returns the names under which records of a class, or of a type by its name, are stored.

        A name that is no type's of today, known or not, stands for itself alone.
        """
        if isinstance(cls_or_name, str):
            name = check_name("event type", cls_or_name)
            declared = self._by_type.get(name)
            return (name,) if declared is None else declared.names
        if isinstance(cls_or_name, type):  # pyright: ignore[reportUnnecessaryIsInstance]
            declared = self._by_class.get(cls_or_name)
            if declared is not None:
                return declared.names
            raise UnknownEvent(f"class {cls_or_name.__qualname__}", self.types)
        raise InvalidInput(f"types=[...] holds event classes or type names, not {cls_or_name!r}")

    def evolution(self, types: Sequence[str] | None) -> str:
        """Returns a digest of how data stored under these names, or all, becomes what is read.

        Empty where it is what is stored. A fold is of the same records in the same shape only where
        this is the same.
        """
        if types is None or not self._evolution:
            return self._evolution
        named = (self._by_name.get(name) for name in types)
        return self._evolution_of({each.type: each for each in named if each is not None}.values())

    def type_of(self, record: StoredRecord) -> str:
        """Returns today's name of a record's type; the stored one if it is not known."""
        declared = self._by_name.get(record.type)
        return record.type if declared is None else declared.type

    def from_json(self, type: str, data: JsonValue, meta: JsonValue) -> tuple[Any, Any]:
        """Returns an event and its meta from JSON values, validated as at an append.

        Fields that the class has not are refused here: a slip of the pen is not to be lost. Raises
        `UnknownEvent`, `EventValidationError`, `NotPortable` or `TooLarge`.
        """
        declared = self._by_type.get(type)
        if declared is None:
            raise UnknownEvent(f"event type {type!r}", self.types)
        event = _from_json(declared.codec, type, data, at="data")
        about = None
        if declared.meta is not None and not (meta is None and not declared.meta.bare):
            about = _from_json(declared.meta, type, meta, at="meta")
        elif meta is not None:
            about = meta  # refused below, with what to do about it
        declared.encode(event, about)
        return event, about

    def decode_data(self, record: StoredRecord) -> Any:
        """Returns the event of a stored record; raises `UnknownEvent` or `DecodeError`."""
        declared = self._known(record)
        text = record.data
        if record.schema != declared.schema:
            text, _ = self._upcasted(declared, record)
        try:
            return declared.codec.decode(text)
        except Misfit as error:
            raise DecodeError(record.type, record.id, _under("data", error)) from error.__cause__

    def decode_meta(self, record: StoredRecord) -> Any:
        """Returns the meta of a stored record, or None if there is none.

        Raises `UnknownEvent` or `DecodeError`.
        """
        declared = self._known(record)
        text = record.meta
        if record.schema != declared.schema:
            _, text = self._upcasted(declared, record)
        if declared.meta is None or (text == "null" and not declared.meta.bare):
            return None
        try:
            return declared.meta.decode(text)
        except Misfit as error:
            raise DecodeError(record.type, record.id, _under("meta", error)) from error.__cause__

    def _known(self, record: StoredRecord) -> EventType:
        declared = self._by_name.get(record.type)
        if declared is None:
            raise UnknownEvent(f"event type {record.type!r}", self.types)
        return declared

    def _upcasted(self, declared: EventType, record: StoredRecord) -> tuple[str, str]:
        chain, codec = self._chains[declared.type], declared.codec
        name, schema = record.type, record.schema
        try:
            return chain.apply(name, schema, record.data, record.meta, may_be_none=codec.bare)
        except Misfit as error:
            raise DecodeError(record.type, record.id, _under("schema", error)) from error.__cause__

    def _add_upcast(self, step: Upcast) -> None:
        declared = self._by_name.get(step.type)
        if declared is None:
            raise EventDefinitionError(
                f"{step.words} is of none of this store's events ({', '.join(self.types)}); "
                "hand it their class, too, or leave it out"
            )
        self._chains[declared.type].add(step)

    def _evolution_of(self, types: Iterable[EventType]) -> str:
        return evolution_of(
            (each.type, each.schema, each.aliases, self._chains[each.type]) for each in types
        )

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


def _from_json(codec: Codec, type: str, value: JsonValue, *, at: str) -> Any:
    try:
        found = codec.decode(canonical(value, at=at))
    except Misfit as error:
        raise EventValidationError(type, _under(at, error)) from error.__cause__
    if isinstance(value, dict):
        kept = parse(codec.encode(found, at=at, event_type=type))
        known = kept.keys() if isinstance(kept, dict) else ()
        unknown = [(f"{at}.{key}", "is no field of it") for key in value if key not in known]
        if unknown:
            raise EventValidationError(type, unknown)
    return found


def _under(root: str, misfit: Misfit) -> list[tuple[str, str]]:
    return [(root + path, message) for path, message in misfit.problems]


def _name_of(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
