"""What the tests of the blocking store write, and ledgers that they can watch."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.blocking import AggregateRoot, EventStore, Record, event
from everlog.blocking.ledger import Ledger
from everlog.ports.ledger import Ledger as Port
from everlog.ports.ledger import Outcome, Request


@event("blocking:noted")
@dataclass
class Noted:
    number: int = 0


class Notes(AggregateRoot, name="notes"):
    total: int = 0

    def apply(self, record: Record[Any]) -> None:
        self.total += record.data.number

    def note(self, number: int) -> Self:
        return self.push(Noted(number))


EVENTS = [Noted]
PATIENCE_S = 30.0
"""Longer than anything here takes: who waits so long waits for ever."""


class Counted:
    """A ledger that notes how many requests each commit had."""

    def __init__(self, ledger: Port) -> None:
        self._ledger = ledger
        self.commits: list[int] = []

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        self.commits.append(len(requests))
        return await self._ledger.commit(requests)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


@contextmanager
def counted_store(path: Path | None = None) -> Generator[tuple[EventStore, Counted]]:
    """Opens a store, in memory or on a SQLite file, whose commits are counted."""
    counted: list[Counted] = []

    async def open() -> Port:
        ledger = MemoryLedger() if path is None else await SqliteLedger.open(str(path))
        counted.append(Counted(ledger))
        return cast(Port, counted[0])

    with EventStore(Ledger.of(open), events=EVENTS) as store:
        yield store, counted[0]


def in_threads(count: int, work: Any) -> None:
    """Runs `work(number)` in threads that begin together; raises what one of them raises."""
    barrier, errors = threading.Barrier(count), list[BaseException]()

    def run(number: int) -> None:
        try:
            barrier.wait(PATIENCE_S)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a thread waits for ever"
    if errors:
        raise errors[0]
