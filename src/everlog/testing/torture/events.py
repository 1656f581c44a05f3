"""What the writers append: events that say of themselves where they belong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from everlog import event


@event("everlog-torture:hit")
@dataclass
class Hit:
    """One event of a call, which is there with all of them, or not at all."""

    call: str
    number: int
    of: int
    stream: str


EVENTS = [Hit]

OWN = "-own"
"""The end of a call's name that is made in a transaction of the user's own."""


class Call(NamedTuple):
    """One thing that a writer wants stored, however often it has to ask. Its ids never change."""

    name: str
    """`<run>.<process>.<lane>.<number>`: nobody else has it."""
    streams: Sequence[str]
    """That of each event."""

    @property
    def ids(self) -> list[str]:
        return ids_of(self.name, len(self.streams))

    @property
    def events(self) -> list[Hit]:
        of = len(self.streams)
        return [Hit(self.name, number, of, stream) for number, stream in enumerate(self.streams)]


def ids_of(call: str, of: int) -> list[str]:
    """Returns the ids of a call's events."""
    return [f"{call}.{number}.{of}" for number in range(of)]


class Part(NamedTuple):
    """Which event of which call an id stands for."""

    call: str
    number: int
    """0, 1, 2, ... in the call."""
    of: int
    """How many the call has."""


def part_of(id: str) -> Part | None:
    """Returns what an id stands for; None for an id that no writer of ours gave."""
    match id.rsplit(".", 2):
        case [call, number, of] if number.isdecimal() and of.isdecimal():
            return Part(call, int(number), int(of))
        case _:
            return None
