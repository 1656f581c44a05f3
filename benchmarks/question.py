"""A question: what is timed, in which unit, and what is to be reached."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from benchmarks.databases import New
from benchmarks.side import Side

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What `measures.md` asks of everlog with msgspec events."""

    floor_ratio: float | None = None
    """The floor's figure divided by everlog's, at least."""
    peer_ratio: float | None = None
    """The best peer's figure divided by everlog's, at least."""
    at_most: float | None = None
    """The figure itself, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table. Lower figures are better, whatever the unit."""

    name: str
    unit: str
    target: Target = Target()
    note: str = ""
    """What a reader of the table has to know."""
    on: Mapping[str, Target] = field(default_factory=dict[str, Target])
    """The targets on a database, where they differ."""
    only: str = ""
    """The one database that it makes sense on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is done: 1.0 is the full size, and less for trying things out."""

    scale: float = 1.0

    def of(self, full: int, *, least: int = 1) -> int:
        """Returns a full number scaled, and never below `least`."""
        return max(least, round(full * self.scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One side, one round: what the question may use."""

    name: str
    number: int
    """Of the round, from 0."""
    make: Callable[[], Side]
    database: str
    new: New
    """Gives addresses of new logs; they are gone afterwards."""
    log: Callable[[], Awaitable[str]]
    """Gives the address of this side's prepared log (`logs.py`): made once a run, never changed."""
    size: Size


Figures = Mapping[str, float]
"""By the names of the rows; in the rows' units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Can be run alone: `python3 dev.py bench NAME`."""

    name: str
    about: str
    rows: tuple[Row, ...]
    ask: Callable[[Asked], Awaitable[Figures]]
    sides: tuple[str, ...] | None = None
    """Those it makes sense for; all of them, if None."""
    rounds: int | None = None
    """So many, whatever was asked for: for what takes long and hardly varies."""

    def asked_of(self, sides: Iterable[str]) -> list[str]:
        """Returns those of the sides that it makes sense for, in their order."""
        return [name for name in sides if self.sides is None or name in self.sides]

    def rows_on(self, database: str) -> list[Row]:
        """Returns the rows that it has on a database, with the targets there."""
        return [
            replace(row, target=row.on.get(database, row.target))
            for row in self.rows
            if row.only in ("", database)
        ]


class Watch:
    """Measures the seconds inside `with`, after the garbage of what went before has gone."""

    seconds: float

    def __enter__(self) -> Watch:
        gc.collect()
        # What other sides have loaded is not walked through again and again on this one's time.
        gc.freeze()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        gc.unfreeze()


def check(found: T, due: T) -> T:
    """Returns what was found; raises if it is not what is due. A wrong answer has no speed."""
    if found != due:
        raise AssertionError(f"the answer is {found!r}, and should be {due!r}")
    return found
