"""Real ledgers whose commits can be watched, held up and made to fail, without a clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everlog import AggregateRoot, EventStore, Record, event
from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.sequencer import Append, Import, ids_of
from everlog.errors import OutcomeUnknown
from everlog.ports.ledger import Ledger, Outcome, Request

KINDS = ("memory", "sqlite")


@event("noted")
@dataclass
class Noted:
    number: int = 0


@event("said")
@dataclass
class Said:
    text: str = ""


class Notes(AggregateRoot, name="notes"):
    total: int = 0

    def apply(self, record: Record[Any]) -> None:
        self.total += record.data.number


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a test; one that hangs ends with the stacks of its tasks' last words."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await main()

    asyncio.run(bounded())


async def turns(count: int = 10) -> None:
    """Lets everything that is ready run, so many times. For what must *not* happen meanwhile."""
    for _ in range(count):
        await asyncio.sleep(0)


class Gate:
    """A place to be held up at."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.reached = asyncio.Event()

    def close(self) -> None:
        self._open.clear()
        self.reached.clear()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        self.reached.set()
        await self._open.wait()


class Watch:
    """What a ledger was told to commit, and what it is to do about it."""

    def __init__(self) -> None:
        self.batches: list[list[Request]] = []
        self.before = Gate()
        self.after = Gate()
        self.refuse: Callable[[Sequence[Request]], Exception | None] = lambda requests: None
        """Raised instead of committing."""
        self.answers: int | None = None
        """So many outcomes at most, for a ledger that does not keep its contract."""
        self.lose_answers = False
        """`OutcomeUnknown` after committing."""

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]

    async def around(
        self,
        commit: Callable[[Sequence[Request]], Awaitable[Sequence[Outcome]]],
        requests: Sequence[Request],
    ) -> Sequence[Outcome]:
        self.batches.append(list(requests))
        await self.before.passed()
        error = self.refuse(requests)
        if error is not None:
            raise error
        outcomes = await commit(requests)
        await self.after.passed()
        if self.lose_answers:
            placing = [request for request in requests if isinstance(request, (Append, Import))]
            raise OutcomeUnknown(ids_of(placing))
        return outcomes[: self.answers]


class WatchedMemory(MemoryLedger):
    watch: Watch

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        return await self.watch.around(super().commit, requests)


class WatchedSqlite(SqliteLedger):
    watch: Watch

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        return await self.watch.around(super().commit, requests)


@asynccontextmanager
async def watched(kind: str, folder: Path) -> AsyncGenerator[tuple[EventStore, Watch]]:
    """Opens a store over a watched ledger."""
    watch = Watch()
    ledger: Ledger
    if kind == "memory":
        memory = WatchedMemory()
        memory.watch = watch
        ledger = memory
    else:
        sqlite = await WatchedSqlite.open(str(folder / "watched.db"))
        assert isinstance(sqlite, WatchedSqlite)
        sqlite.watch = watch
        ledger = sqlite
    async with EventStore(ledger, events=[Noted, Said]) as store:
        try:
            yield store, watch
        finally:
            watch.before.open()
            watch.after.open()


async def numbers(store: EventStore, stream: str | None = None) -> list[int]:
    """Returns the numbers noted, in order of position."""
    return [record.data.number async for record in store.read(stream)]
