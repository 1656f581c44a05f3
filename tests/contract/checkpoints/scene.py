"""What a test of the suite stands on: a binding, and the checkpoints that end with the test."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from everlog.ports.checkpoints import Checkpoints, Held, Move, Parked, ParkedAs

NAME = "orders"
"""The subscription of most tests."""

LONG_S = 600.0
"""A lease that does not run out during a test."""


class Binding:
    """The base of every topic: a binding overrides `open_checkpoints`, and `sql` if need be."""

    async def open_checkpoints(self, place: Path) -> Checkpoints:
        """Opens the checkpoints of a place, in the running loop.

        Called again with the same place it opens them once more, as another process would. A place
        is a path in an empty folder; an adapter without files may take it as a name.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define open_checkpoints(place)")

    def sql(self, place: Path, statement: str) -> str:
        """Returns a statement about the table `seen` of the user's own, as the database takes it.

        The topics write `?` or `:name` where a value is bound.
        """
        return statement


class Scene:
    """One test's checkpoints, in which there is a table `seen` of the user's own."""

    checkpoints: Checkpoints

    def __init__(self, binding: Binding, folder: Path) -> None:
        self.binding = binding
        self.place = folder / "main"
        self._opened: list[Checkpoints] = []

    async def another(self) -> Checkpoints:
        """Opens the same checkpoints once more, as another process does."""
        opened = await self.binding.open_checkpoints(self.place)
        self._opened.append(opened)
        return opened

    async def reopen(self) -> None:
        """Closes what is open, and opens it again."""
        await self.close()
        self.checkpoints = await self.another()

    async def close(self) -> None:
        """Closes all that was opened."""
        for opened in self._opened:
            await opened.close()
        self._opened.clear()

    async def set_up(self) -> None:
        self.checkpoints = await self.another()
        async with self.checkpoints.transaction() as transaction:
            await transaction.tx.execute(
                self.sql("CREATE TABLE seen (position INTEGER NOT NULL, stream TEXT)")
            )

    def sql(self, statement: str) -> str:
        """Returns a statement about the table `seen`, as the database takes it."""
        return self.binding.sql(self.place, statement)

    @property
    def insert(self) -> str:
        """Takes a position and a stream."""
        return self.sql("INSERT INTO seen (position, stream) VALUES (?, ?)")

    @property
    def select(self) -> str:
        """Gives the positions that were written, in order."""
        return self.sql("SELECT position FROM seen ORDER BY position")

    async def seen(self) -> list[int]:
        """Returns the positions that have been written to the user's table, and committed."""
        async with self.checkpoints.transaction() as transaction:
            return [position for [position] in await transaction.tx.fetch(self.select)]

    async def held(self, *, position: int = 0, slices: int = 1, worker: str = "w1") -> list[Held]:
        """Registers the subscription and has a worker hold all of it, for long."""
        checkpoints = self.checkpoints
        await checkpoints.register(NAME, slices=slices, position=position, token=None)
        return list(await checkpoints.claim(NAME, worker, ttl_s=LONG_S, most=slices))

    async def positions(self, name: str = NAME) -> list[int]:
        """Returns where the checkpoints of a subscription stand, by slice."""
        return [each.position for each in await self.checkpoints.statuses() if each.name == name]


def step(held: Held, after: int, *, before: int | None = None, token: str | None = None) -> Move:
    """Returns the step of what is held from where it was claimed."""
    return Move(held.slice, held.fence, held.position if before is None else before, after, token)


def aside(
    position: int,
    status: ParkedAs = "parked",
    *,
    stream: str = "a",
    slice: int = 0,
    tries: int = 1,
    due_s: float | None = None,
    error: str = "it failed",
    name: str = NAME,
) -> Parked:
    """Returns a record that is to be set aside."""
    return Parked(name, slice, position, stream, f"id-{position}", status, tries, due_s, error)


async def park(checkpoints: Checkpoints, *parked: Parked) -> None:
    """Sets records aside, in a transaction of their own."""
    async with checkpoints.transaction() as transaction:
        await transaction.park(parked)


def checkpoints_test(body: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of pytest from `async def test_...(self, scene, ...)`, in a loop of its own."""

    def run(self: Binding, tmp_path: Path, **arguments: object) -> None:
        async def whole() -> None:
            scene = Scene(self, tmp_path)
            try:
                await scene.set_up()
                await body(self, scene, **arguments)
            finally:
                await scene.close()

        asyncio.run(whole())

    parameters = list(inspect.signature(body).parameters.values())
    folder = inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__name__, run.__qualname__ = body.__name__, body.__qualname__
    run.__doc__, run.__module__ = body.__doc__, body.__module__
    # Not __wrapped__: pytest would look for a fixture called scene.
    vars(run)["__signature__"] = inspect.Signature([parameters[0], folder, *parameters[2:]])
    return run
