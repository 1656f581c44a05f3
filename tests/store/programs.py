"""Events, a reducer and an aggregate for the tests of the store."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from pydantic import BaseModel, RootModel

from everlog import AggregateRoot, Record, event, reducer


class Auditor(BaseModel):
    """Who did it."""

    auditor: str


class Address(BaseModel):
    """A part of an event's data."""

    city: str
    zip: int = 0


@event("test:model", meta=Auditor)
class Model(BaseModel):
    """An event as a pydantic model, with meta."""

    name: str
    address: Address | None = None


@event("test:bare")
class Bare(RootModel[str]):
    """An event whose data is a bare text."""


@event("test:data")
@dataclass
class Data:
    """An event as a dataclass."""

    name: str
    count: int = 0


@event("test:struct")
class Struct(msgspec.Struct):
    """An event as a msgspec Struct."""

    name: str
    count: int = 0


@event("test:other")
class NotGiven(BaseModel):
    """An event that the store is not given."""

    name: str


def unchecked(value: Any) -> Any:
    """Returns the value as a program hands it in that no type checker has seen."""
    return value


EVENTS: list[type[Any]] = [Model, Bare, Data, Struct]
NAIVE = datetime(2026, 1, 31)  # noqa: DTZ001 - what is to be refused
MOMENT = datetime(2026, 1, 31, tzinfo=UTC)


@reducer("names", initial=list[str])
def names(state: list[str], record: Record[Any]) -> list[str]:
    """The names of all events."""
    return [*state, str(getattr(record.data, "name", record.data))]


class Thing(AggregateRoot, name="thing"):
    """An aggregate."""

    name: str = ""

    def apply(self, record: Record[Any]) -> None:
        self.name = record.data.name
