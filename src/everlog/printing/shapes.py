"""Shapes: what data and meta may be, whatever they are written down in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value."""


@dataclass(frozen=True, slots=True)
class Null:
    """null alone."""


@dataclass(frozen=True, slots=True)
class Boolean:
    """true or false."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds."""

    whole: bool = False
    """Whether it has no fraction."""
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    multiple_of: float | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Text, of some length, pattern or format."""

    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    """Such as `date-time`: a word of JSON Schema."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[str | int | bool | None, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of any length, or of some."""

    item: Shape
    min_items: int | None = None
    max_items: int | None = None
    unique: bool = False


@dataclass(frozen=True, slots=True)
class TupleOf:
    """A list with a place for each item."""

    items: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with keys of any name."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an object."""

    name: str
    shape: Shape
    required: bool = True
    default: str | None = None
    """As JSON, where it has one."""
    description: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with fields of these names."""

    fields: tuple[Field, ...]
    open: bool = False
    """Whether it may have others, too."""
    description: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of several shapes."""

    members: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """A shape that has a name."""

    name: str


Shape: TypeAlias = (
    Anything
    | Null
    | Boolean
    | Number
    | Text
    | Choice
    | ListOf
    | TupleOf
    | MapOf
    | Fields
    | OneOf
    | Ref
)
Definitions: TypeAlias = Mapping[str, Shape]
"""Shapes by name."""


def parts_of(shape: Shape) -> Iterator[Shape]:
    """Yields what a shape is directly made of."""
    match shape:
        case ListOf(item=item) | MapOf(item=item):
            yield item
        case TupleOf(items=items):
            yield from items
        case OneOf(members=members):
            yield from members
        case Fields(fields=fields):
            for each in fields:
                yield each.shape
        case _:
            pass


def refs_of(shape: Shape) -> Iterator[str]:
    """Yields the names that a shape speaks of, not looking behind them."""
    waiting = [shape]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Ref):
            yield part.name
        waiting += parts_of(part)


def one_of(members: list[Shape]) -> Shape:
    """Returns the shape that is any of these: flat, and each once."""
    flat: list[Shape] = []
    for member in members:
        for each in member.members if isinstance(member, OneOf) else (member,):
            if each not in flat:
                flat.append(each)
    return flat[0] if len(flat) == 1 else OneOf(tuple(flat))


def resolved(shape: Shape, definitions: Definitions) -> Shape:
    """Returns what a name stands for, where the shape is one."""
    while isinstance(shape, Ref):
        shape = definitions[shape.name]
    return shape


@dataclass(frozen=True, slots=True)
class EventConfig:
    """An event, as its configuration describes it."""

    type: str
    schema: int
    name: str
    """Of its class."""
    register: str | None
    aliases: tuple[str, ...]
    data: Shape
    """Fields without any where it has no data."""
    meta: Shape | None
    description: str
    source: str
    """The file, as it was named."""


@dataclass(frozen=True, slots=True)
class Configs:
    """All events that are printed together, in order of their types, and the shapes they share."""

    events: tuple[EventConfig, ...]
    definitions: Definitions
