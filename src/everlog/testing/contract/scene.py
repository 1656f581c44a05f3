"""What a test of the suite stands on: a binding, a clock that it moves, stores that end with it."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Container, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from everlog.core.record import Record, StoredRecord
from everlog.core.selection import Order, Selection
from everlog.errors import NotSupported
from everlog.ports.ledger import Capabilities, Ledger, Outcome, Request
from everlog.ports.seams import Seams
from everlog.store.event_store import EventStore
from everlog.store.opening import SnapshotPolicy
from everlog.testing.clock import FakeClock
from everlog.testing.contract.events import EVENTS

NOON_MS = 1_769_860_800_000
"""2026-01-31 12:00 UTC: where the clock of every test begins."""


class Contract:
    """The base of every topic: a binding overrides `open_ledger`, and what it knows besides."""

    not_carried: Container[str] = ()
    """Of an adapter that is not `whole`: the names of the tests of which it refuses something."""

    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        """Opens the ledger at a place, in the running loop.

        Called again with the same place it opens the same ledger, if the adapter is durable. A
        place is a path in an empty folder; an adapter without files may take it as a name.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define open_ledger(place, seams)")

    def open_store(
        self,
        ledger: Ledger,
        *,
        events: Iterable[type[Any]],
        snapshots: SnapshotPolicy,
        seams: Seams,
    ) -> EventStore:
        """Makes the store that the topics call; to be overridden by a store with the same API."""
        return EventStore(ledger, events=events, snapshots=snapshots, seams=seams)

    def attacks(self, ledger: Ledger) -> Mapping[str, Callable[[], object]]:
        """Names ways to change a stored record behind the ledger's back; each has to raise.

        For adapters over a database that can be reached by other means. The ledger holds records at
        positions 1 to 3.
        """
        return {}


class Scene:
    """One test's ledger, store and clock, and everything that it opens besides."""

    store: EventStore
    ledger: Ledger

    def __init__(self, contract: Contract, folder: Path, *, refuses: bool = False) -> None:
        """`refuses`: whether the test ends where the ledger refuses something."""
        self.contract = contract
        self.refuses = refuses
        self.folder = folder
        self.clock = FakeClock(NOON_MS)
        self._ledgers: list[Ledger] = []
        self._stores: list[EventStore] = []

    @property
    def seams(self) -> Seams:
        """The moved clock, and honest chance."""
        return Seams(now_ms=self.clock, random_bytes=os.urandom)

    @property
    def capabilities(self) -> Capabilities:
        """What the adapter says it can do."""
        return self.ledger.capabilities

    async def open_ledger(self, place: str = "main", *, clock: FakeClock | None = None) -> Ledger:
        """Opens the ledger of a place (again); closed at the end of the test."""
        seams = self.seams if clock is None else Seams(now_ms=clock, random_bytes=os.urandom)
        ledger = await self.contract.open_ledger(self.folder / place, seams)
        self._ledgers.append(ledger)
        return Loud(ledger).as_ledger if self.refuses else ledger

    def over(
        self,
        ledger: Ledger,
        *,
        events: Iterable[type[Any]] = EVENTS,
        snapshots: SnapshotPolicy = "manual",
        clock: FakeClock | None = None,
    ) -> EventStore:
        """Makes a store over a ledger; closed at the end of the test."""
        seams = self.seams if clock is None else Seams(now_ms=clock, random_bytes=os.urandom)
        store = self.contract.open_store(ledger, events=events, snapshots=snapshots, seams=seams)
        self._stores.append(store)
        return store

    async def elsewhere(
        self, place: str = "elsewhere", *, clock: FakeClock | None = None
    ) -> EventStore:
        """Opens another ledger, with a store over it."""
        return self.over(await self.open_ledger(place, clock=clock), clock=clock)

    async def reopen(self) -> EventStore:
        """Closes the main store and opens it again."""
        await self.store.close()
        self.ledger = await self.open_ledger()
        self.store = self.over(self.ledger)
        return self.store

    async def rows(self) -> list[StoredRecord]:
        """Returns all that is stored, by position."""
        return await rows_of(self.ledger)

    async def close(self) -> None:
        """Closes all that was opened."""
        for store in self._stores:
            await store.close()
        for ledger in self._ledgers:
            await ledger.close()


def contract_test(body: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes a test of pytest from `async def test_...(self, scene, ...)`, in a loop of its own."""

    def run(self: Contract, tmp_path: Path, **arguments: object) -> None:
        async def whole() -> None:
            scene = Scene(self, tmp_path, refuses=body.__name__ in self.not_carried)
            try:
                scene.ledger = await scene.open_ledger()
                scene.store = scene.over(scene.ledger)
                if not scene.refuses:
                    await body(self, scene, **arguments)
                    return
                assert not scene.capabilities.whole, "what is whole refuses nothing"
                with pytest.raises(NotSupported, match="open a store here"):
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


class Loud:
    """A ledger that raises what it refuses, so that nothing goes on without it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        outcomes = await self._ledger.commit(requests)
        for outcome in outcomes:
            if isinstance(outcome, NotSupported):
                raise outcome
        return outcomes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @property
    def as_ledger(self) -> Ledger:
        """This, as what it stands in for."""
        return cast(Ledger, self)


class Gate:
    """A ledger whose commits wait at a gate, so that a test can act while one is under way."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.entered = asyncio.Event()
        """Set when a commit has arrived at the gate."""
        self.open = asyncio.Event()
        """To be set by the test."""
        self.batches: list[int] = []
        """How many requests each commit had."""

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        self.batches.append(len(requests))
        self.entered.set()
        await self.open.wait()
        return await self._ledger.commit(requests)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @property
    def as_ledger(self) -> Ledger:
        """This, as what it stands in for."""
        return cast(Ledger, self)


async def rows_of(ledger: Ledger, selection: Selection | None = None) -> list[StoredRecord]:
    """Returns all pages of a selection."""
    page = await ledger.read(selection or Selection())
    rows = list(page.records)
    while page.cursor is not None:
        page = await ledger.read(page.selection, cursor=page.cursor)
        rows += page.records
    return rows


async def folded_rows(ledger: Ledger) -> list[StoredRecord]:
    """Returns all records in the order of folds."""
    return await rows_of(ledger, Selection(order=Order.CREATED))


def ids_of(records: Iterable[Record[Any] | StoredRecord]) -> list[str]:
    """Returns the ids, in order."""
    return [record.id for record in records]


def positions_of(records: Iterable[Record[Any] | StoredRecord]) -> list[int]:
    """Returns the positions, in order."""
    return [record.position for record in records]


async def history(store: EventStore, count: int, *, streams: int = 7) -> list[Record[Any]]:
    """Appends numbered events of three types over some streams, and returns their records."""
    from everlog.store.preparing import to
    from everlog.testing.contract.events import Activated, Noted, Renamed

    def event(number: int) -> object:
        match number % 3:
            case 0:
                return Noted(number)
            case 1:
                return Renamed(f"name {number}")
            case _:
                return Activated()

    items = [to(f"s{number % streams}", event(number)) for number in range(count)]
    return await store.append_many(items)
