"""Two stores that are told the same, in memory and on SQLite, with the same time and chance."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.record import Record
from everlog.errors import EverlogError
from everlog.ports.seams import Seams
from everlog.store.event_store import EventStore
from everlog.store.opening import SnapshotPolicy
from everlog.testing import FakeClock, deterministic_bytes
from everlog.testing.contract.events import EVENTS
from everlog.testing.contract.scene import NOON_MS

Call = Callable[[EventStore], Awaitable[object]]


class Twins:
    """A store in memory and one on SQLite; what one answers, the other has to answer."""

    def __init__(self, snapshots: SnapshotPolicy) -> None:
        self.clock = FakeClock(NOON_MS)
        self._folder = Path(tempfile.mkdtemp(prefix="everlog-twins-"))
        self._runner = asyncio.Runner()
        self._snapshots: SnapshotPolicy = snapshots
        self.memory, self.sqlite, self.elsewhere = self.run(self._open())

    async def _open(self) -> tuple[EventStore, EventStore, EventStore]:
        async def store(kind: str, seed: str) -> EventStore:
            seams = Seams(now_ms=self.clock, random_bytes=deterministic_bytes(seed))
            ledger = (
                await SqliteLedger.open(
                    str(self._folder / "twin"), seams=seams, durability="relaxed"
                )
                if kind == "sqlite"
                else MemoryLedger(seams=seams)
            )
            return EventStore(ledger, events=EVENTS, snapshots=self._snapshots, seams=seams)

        return (
            await store("memory", "twins"),
            await store("sqlite", "twins"),
            await store("memory", "elsewhere"),
        )

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Runs something in the loop that all stores live in."""

        async def whole() -> Any:
            return await awaitable

        return self._runner.run(whole())

    def both(self, call: Call) -> object:
        """Asks both, compares, and returns the one answer."""

        async def ask() -> tuple[object, object]:
            return await answer(call, self.memory), await answer(call, self.sqlite)

        memory, sqlite = self.run(ask())
        assert memory == sqlite
        return memory

    def close(self) -> None:
        """Closes all and removes the file."""

        async def close() -> None:
            for store in (self.memory, self.sqlite, self.elsewhere):
                await store.close()

        self.run(close())
        self._runner.close()
        shutil.rmtree(self._folder)


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
