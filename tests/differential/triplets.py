"""Three stores that are told the same: in memory, on SQLite, on PostgreSQL; one time and chance."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar, cast

from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.record import Record
from everlog.errors import EverlogError
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.store.event_store import EventStore
from everlog.store.opening import SnapshotPolicy
from everlog.testing import FakeClock, deterministic_bytes
from everlog.testing.contract.events import EVENTS
from everlog.testing.contract.scene import NOON_MS
from tests.postgres_schemas import Schemas

Call = Callable[[EventStore], Awaitable[object]]


class Triplets:
    """A store in memory, one on SQLite, one on PostgreSQL; what one answers, all have to answer."""

    schemas: ClassVar[Schemas]
    """Where those on PostgreSQL live; set by a fixture."""

    def __init__(self, snapshots: SnapshotPolicy) -> None:
        self.clock = FakeClock(NOON_MS)
        self._folder = Path(tempfile.mkdtemp(prefix="everlog-triplets-"))
        self._schema = self.schemas.take()
        self._runner = asyncio.Runner()
        self._snapshots: SnapshotPolicy = snapshots
        self.run(self._open())

    async def _open(self) -> None:
        def seams(seed: str) -> Seams:
            return Seams(now_ms=self.clock, random_bytes=deterministic_bytes(seed))

        one, two, three = (seams("triplets") for _ in range(3))
        self.memory = self._over(MemoryLedger(seams=one), one)
        path = str(self._folder / "triplet")
        ledger = await SqliteLedger.open(path, seams=two, durability="relaxed")
        self.sqlite = self._over(ledger, two)
        # A server makes the identity of a ledger by itself. Here it is told the one that the others
        # made, of the same bytes.
        self.schemas.make(self._schema, MemoryLedger(seams=three).identity)
        self._processes = Processes(self.schemas.url, self._schema, three)
        await self._processes.another()
        self.postgres = self._over(cast(Ledger, self._processes), three)
        other = seams("elsewhere")
        self.elsewhere = self._over(MemoryLedger(seams=other), other)

    def _over(self, ledger: Ledger, seams: Seams) -> EventStore:
        return EventStore(ledger, events=EVENTS, snapshots=self._snapshots, seams=seams)

    @property
    def stores(self) -> tuple[EventStore, EventStore, EventStore]:
        return self.memory, self.sqlite, self.postgres

    def go_on_in_another_process(self) -> None:
        """Has the ledger on PostgreSQL written by one that knows nothing of what the other did."""
        self.run(self._processes.another())

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Runs something in the loop that all stores live in."""

        async def whole() -> Any:
            return await awaitable

        return self._runner.run(whole())

    def all(self, call: Call) -> object:
        """Asks all, compares, and returns the one answer."""

        async def ask() -> list[object]:
            return [await answer(call, store) for store in self.stores]

        memory, sqlite, postgres = self.run(ask())
        assert memory == sqlite
        assert memory == postgres
        return memory

    def close(self) -> None:
        """Closes all, removes the file and gives the schema back."""

        async def close() -> None:
            for store in (*self.stores, self.elsewhere):
                await store.close()

        self.run(close())
        self._runner.close()
        shutil.rmtree(self._folder)
        self.schemas.give_back(self._schema)


class Processes:
    """A ledger on PostgreSQL that is opened twice, by two in turn, as two processes do."""

    def __init__(self, url: str, schema: str, seams: Seams) -> None:
        self._url = url
        self._schema = schema
        self._seams = seams
        self._ledgers: list[PostgresLedger] = []

    async def another(self) -> None:
        """Has the other go on."""
        if len(self._ledgers) < 2:
            ledger = await PostgresLedger.open(self._url, schema=self._schema, seams=self._seams)
            self._ledgers.append(ledger)
        else:
            self._ledgers.reverse()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledgers[-1], name)

    async def close(self) -> None:
        for ledger in self._ledgers:
            await ledger.close()


async def answer(call: Call, store: EventStore) -> object:
    """Returns what a store answers, as plain facts that can be compared."""
    try:
        return plain(await call(store))
    except EverlogError as error:
        return type(error), str(error)


def plain(value: object) -> object:
    """Returns records as stored, errors as class and message, everything else as it is."""
    if isinstance(value, Record):
        return cast(Record[object], value).stored
    if isinstance(value, Exception):
        return type(value), str(value)
    if isinstance(value, list):
        return [plain(item) for item in cast("list[object]", value)]
    return value
