"""The scripts of the floor on PostgreSQL over connections: a blocking one, and two that await.

Over an asynchronous connection of psycopg a call is faster than over a blocking one in a thread.
Appends that meet are committed together, as over SQLite (`async_floor.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg.rows import TupleRow
from psycopg.types.string import TextBinaryLoader

from benchmarks import postgres
from benchmarks.floor import postgres_schema as sql
from benchmarks.floor.postgres_floor import Ask, PostgresFloor, Script, Step, Together
from benchmarks.floor.postgres_placing import Log, Outcome
from benchmarks.floor.sqlite_floor import Appending, Row

T = TypeVar("T")

SETTINGS = (
    # Whatever the server's default is.
    "SET synchronous_commit = on",
    # With lists among the values PostgreSQL prefers to plan anew each time: 0.1 to 0.3 ms.
    "SET plan_cache_mode = force_generic_plan",
    # Such a plan is kept: made while the log is empty, it must not walk through a long one.
    "SET enable_seqscan = off",
    # None of the statements is worth compiling, or several processes.
    "SET jit = off",
    "SET max_parallel_workers_per_gather = 0",
)


class BlockingFloor:
    """One connection. To be used by one thread at a time."""

    def __init__(self, address: str, *, type: str, decode: Callable[[str | bytes], Any]) -> None:
        """Opens a log; makes it if its schema is empty. `type`, `decode`: of every event."""
        self._db = psycopg.connect(postgres.conninfo(address), autocommit=True, prepare_threshold=0)
        self._db.adapters.register_loader("json", TextBinaryLoader)
        self.scripts = PostgresFloor(self.run(_open(type, decode)))

    def run(self, script: Script[T]) -> T:
        """Runs a script; returns what it returns."""
        answer: Any = None
        try:
            step = next(script)
            while True:
                try:
                    answer = self.take(step)
                except BaseException as error:
                    step = script.throw(error)
                else:
                    step = script.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def take(self, step: Step) -> Any:
        """Takes a step; returns what it gives."""
        db = self._db
        if isinstance(step, Ask):
            cursor = db.execute(*step, binary=True)
            return cursor.fetchall() if cursor.description else []
        if isinstance(step, Together):
            with db.pipeline():
                cursors = [db.execute(*asked, binary=True) for asked in step.asked]
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors]
        with db.cursor() as cursor, cursor.copy(step.statement) as copy:
            for row in step.rows:
                copy.write_row(row)
        return None


class Connection:
    """An asynchronous connection. Runs one script at a time."""

    def __init__(self, db: psycopg.AsyncConnection[TupleRow]) -> None:
        self._db = db

    @classmethod
    async def open(cls, address: str) -> Connection:
        """Returns an open one."""
        db = await psycopg.AsyncConnection.connect(
            postgres.conninfo(address), autocommit=True, prepare_threshold=0
        )
        db.adapters.register_loader("json", TextBinaryLoader)
        return cls(db)

    async def run(self, script: Script[T]) -> T:
        """Runs a script; returns what it returns."""
        answer: Any = None
        try:
            step = next(script)
            while True:
                try:
                    answer = await self._take(step)
                except BaseException as error:
                    step = script.throw(error)
                else:
                    step = script.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Closes the connection."""
        await self._db.close()

    async def _take(self, step: Step) -> Any:
        db = self._db
        if isinstance(step, Ask):
            cursor = await db.execute(*step, binary=True)
            return await cursor.fetchall() if cursor.description else []
        if isinstance(step, Together):
            async with db.pipeline():
                cursors = [await db.execute(*asked, binary=True) for asked in step.asked]
            return [await one.fetchall() if one.description else [] for one in cursors]
        async with db.cursor() as cursor, cursor.copy(step.statement) as copy:
            for row in step.rows:
                await copy.write_row(row)
        return None


Waiting = tuple[Appending, "asyncio.Future[list[Row]]"]


class AsyncPostgresFloor:
    """A connection that writes and one that reads."""

    def __init__(self, writing: Connection, reading: Connection, log: Log) -> None:
        self._writing, self._reading = writing, reading
        self._queue: deque[Waiting] = deque()
        self._busy = False
        self.scripts = PostgresFloor(log)

    @classmethod
    async def open(
        cls, address: str, *, type: str, decode: Callable[[str | bytes], Any]
    ) -> AsyncPostgresFloor:
        """Opens a log; makes it if its schema is empty. `type`, `decode`: of every event."""
        writing, reading = await Connection.open(address), await Connection.open(address)
        await reading.run(_set())
        return cls(writing, reading, await writing.run(_open(type, decode)))

    async def append(self, appending: Appending) -> list[Row]:
        """Appends; together with whatever else is waiting."""
        if self._busy:
            future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
            self._queue.append((appending, future))
            return await future
        self._busy = True
        try:
            return await self._writing.run(self.scripts.append(appending))
        finally:
            if self._queue:
                self._drainer = asyncio.get_running_loop().create_task(self._drain())
            else:
                self._busy = False

    async def read(self, script: Script[T]) -> T:
        """Returns what a script gives, over the connection that reads."""
        return await self._reading.run(script)

    async def write(self, script: Script[T]) -> T:
        """Returns what a script gives, over the connection that writes; nobody may append."""
        return await self._writing.run(script)

    async def close(self) -> None:
        """Closes both connections."""
        await self._writing.close()
        await self._reading.close()

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, deque()
            outcomes = await self._write([appending for appending, _ in batch])
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)
            await asyncio.sleep(0)  # those just answered may queue the next
        self._busy = False

    async def _write(self, batch: Sequence[Appending]) -> list[Outcome]:
        """Writes in one transaction; one by one if that fails: a bad neighbour costs nothing."""
        try:
            return await self._writing.run(self.scripts.write(batch))
        except Exception as error:
            if len(batch) == 1:
                return [error]
            return [(await self._write([appending]))[0] for appending in batch]


def _open(type: str, decode: Callable[[str | bytes], Any]) -> Script[Log]:
    yield from _set()
    if (yield Ask(sql.SELECT_TABLE)) == [(None,)]:
        for statement in sql.CREATE:
            yield Ask(statement)
    [(origin, node)] = yield Ask(sql.SELECT_IDENTITY)
    return Log(origin, node, type, msgspec.json.Encoder(order="sorted").encode, decode)


def _set() -> Script[None]:
    for statement in SETTINGS:
        yield Ask(statement)
    [durability] = yield Ask(sql.SELECT_DURABILITY)
    postgres.require_synced(*durability)
