"""Read models as users write them: balances, and the checkpoint beside them, exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import sqlite_view
from benchmarks.databases import SQLITE
from benchmarks.sqlite_view import View

BATCH = sqlite_view.BATCH
Item = tuple[int, str, int]
"""Position, owner and number of a record."""


class AsyncView(Protocol):
    """A read model for programs that must not block their event loop."""

    async def checkpoint(self) -> int:
        """Returns the position up to which everything is in."""
        ...

    async def take(self, records: Sequence[Item]) -> int:
        """Handles records one by one, in one transaction; returns the last position."""
        ...


@asynccontextmanager
async def opened(address: str) -> AsyncGenerator[AsyncView]:
    """Yields the read model at an address; makes it first if there is none."""
    if address.startswith("postgresql:"):
        from benchmarks import postgres_view

        async with postgres_view.opened(address) as view:
            yield view
        return
    with ThreadPoolExecutor(1) as thread:
        blocking = View(address)
        try:
            yield _InThread(blocking, thread)
        finally:
            blocking.close()


class _InThread:
    """A SQLite file, in a thread."""

    def __init__(self, view: View, thread: ThreadPoolExecutor) -> None:
        self._view, self._thread = view, thread

    async def checkpoint(self) -> int:
        return self._view.checkpoint()

    async def take(self, records: Sequence[Item]) -> int:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._view.take, records)


@dataclass(frozen=True, slots=True)
class Beside:
    """A new, empty read model where a durable subscription keeps its own."""

    address: str
    upsert: str
    """Takes owner and number."""


async def beside(log: str, view: str) -> Beside:
    """Makes a read model for a subscription of a log: in its second file or the schema `view`."""
    if view.startswith("postgresql:"):
        from benchmarks import postgres_view

        return Beside(view, await postgres_view.create(view))
    path = str(Path(log).with_suffix("")) + ".views" + Path(log).suffix
    sqlite_view.create(path)
    return Beside(path, sqlite_view.UPSERT)


async def contents(database: str, address: str) -> tuple[int, int]:
    """Returns how many records a read model holds and what they add up to."""
    if database == SQLITE:
        return sqlite_view.contents(address)
    from benchmarks import postgres_view

    return await postgres_view.contents(address)
