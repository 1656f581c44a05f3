"""The same floor for a program that must not block its event loop: one hop to a thread a call.

Appends that meet are committed together: commit at once when idle; otherwise one drain task takes
the whole queue, after a turn of the loop, with one hop a batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from benchmarks.floor.sqlite_floor import Appending, Row, SqliteFloor

T = TypeVar("T")

Waiting = tuple[Appending, "asyncio.Future[list[Row]]"]


class AsyncFloor:
    """A thread that writes and a thread that reads, each with its connection."""

    def __init__(self, path: str, *, type: str, decode: Callable[[str | bytes], Any]) -> None:
        self._writing, self._reading = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._writer = SqliteFloor(path, type=type, decode=decode)
        self._reader = SqliteFloor(path, type=type, decode=decode)
        self._queue: deque[Waiting] = deque()
        self._busy = False

    async def append(self, appending: Appending) -> list[Row]:
        """Appends; together with whatever else is waiting."""
        loop = asyncio.get_running_loop()
        if self._busy:
            future: asyncio.Future[list[Row]] = loop.create_future()
            self._queue.append((appending, future))
            return await future
        self._busy = True
        try:
            return await loop.run_in_executor(self._writing, self._writer.append, appending)
        finally:
            if self._queue:
                self._drainer = loop.create_task(self._drain())
            else:
                self._busy = False

    async def read(self, work: Callable[[SqliteFloor], T]) -> T:
        """Returns what the work gives, in the thread that reads."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, work, self._reader)

    async def write(self, work: Callable[[SqliteFloor], T]) -> T:
        """Returns what the work gives, in the thread that writes."""
        return await asyncio.get_running_loop().run_in_executor(self._writing, work, self._writer)

    def close(self) -> None:
        """Closes the file."""
        self._writing.shutdown()
        self._reading.shutdown()
        self._reader.close()
        self._writer.close()

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch, self._queue = self._queue, deque()
            appendings = [appending for appending, _ in batch]
            outcomes = await loop.run_in_executor(self._writing, _write, self._writer, appendings)
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
            await asyncio.sleep(0)  # those just answered may queue the next
        self._busy = False


def _write(writer: SqliteFloor, batch: list[Appending]) -> Sequence[list[Row] | Exception]:
    """Writes in one transaction; one by one if that fails: a bad neighbour costs nothing."""
    try:
        return writer.write(batch)
    except Exception as error:
        if len(batch) == 1:
            return [error]
        return [_write(writer, [appending])[0] for appending in batch]
