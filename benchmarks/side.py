"""A side of the comparison: the floor, everlog with one kind of events, or a peer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class CannotDo(Exception):
    """A side has no such thing; the table shows a dash."""


class Seen(NamedTuple):
    """What a side found when it read decoded events, so that a wrong answer is noticed."""

    events: int
    total: int
    """The sum of the events' numbers."""


class Side(Protocol):
    """Keeps the events of the workload in one log. What it cannot do raises `CannotDo`.

    Everything is awaited; a side that blocks simply blocks, and so pays for no thread.
    """

    async def open(self, address: str) -> None:
        """Opens a log, and makes it if need be. Raises unless it syncs every commit.

        The address is the path of a SQLite file, or the URL of a PostgreSQL schema (`postgres.py`).
        """
        ...

    async def close(self) -> None: ...

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        """Appends these events of the workload, all or nothing, durable at return."""
        ...

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        """Lets so many tasks (threads, where a side blocks) append one by one, at the same time.

        Task n appends to the stream `{name}-n`.
        """
        ...

    async def read_stream(self, stream: str) -> Seen: ...

    async def read_all(self) -> Seen: ...

    async def fold(self, stream: str) -> int:
        """Returns the sum of the numbers, by way of what users of this side fold with."""
        ...

    async def snapshot(self, stream: str) -> None:
        """Stores the folded state of the stream, so that the next fold begins with it."""
        ...

    async def project(self, view: str, events: int) -> str:
        """Makes a new read model of the first events, one UPSERT a record, exactly once.

        Synced at every commit, with the checkpoint in the same transaction. It is in a file or
        schema of its own, at the address `view` (see `views.py`), or where the side keeps its read
        models: returns the address.
        """
        ...

    async def changes(self, after: int) -> list[tuple[int, int]]:
        """Returns position and number of events after a position, in another process.

        Of those that are there, if any; or it waits for the next, as far as the side can wait. Each
        call is given what the one before returned last.
        """
        ...

    async def take_in(self, source: str) -> int:
        """Takes in all records of another log, 500 at a time; returns how many were new."""
        ...

    async def verify(self) -> int:
        """Computes every hash and the chain again; returns how many records were right."""
        ...

    async def backup(self, address: str) -> None:
        """Copies the open log into a new file."""
        ...
