"""`PostgresLedger`: the ledger port over one schema of a PostgreSQL database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from typing import Any, NoReturn, TypeVar

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from everlog.adapters.postgres import examining, migrating, reading, schema
from everlog.adapters.postgres.connections import (
    Place,
    Pool,
    Pooler,
    connect,
    first_connection,
    open_readers,
    parameters_of,
)
from everlog.adapters.postgres.executing import Executor, OurConnection, Script, Statement, ask
from everlog.adapters.postgres.failures import as_opening_error, as_storage_error, is_passing
from everlog.adapters.postgres.joining import Joined
from everlog.adapters.postgres.paging import Sizes
from everlog.adapters.postgres.silence import ServerSilent
from everlog.adapters.postgres.tries import Tries
from everlog.adapters.postgres.upstreams import PostgresUpstreams
from everlog.adapters.postgres.waking import Waker
from everlog.adapters.postgres.writer import Writer
from everlog.adapters.postgres.writing import Written
from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Head, Identity
from everlog.core.snapshot import Snapshot, SnapshotKey
from everlog.errors import CannotOpen, MisusedStore, NotSupported, StoreClosed, Unreachable
from everlog.ports.examining import Finding
from everlog.ports.ledger import Capabilities, FoldStart, Outcome, Problem, Request
from everlog.ports.listing import StreamInfo
from everlog.ports.owner import Owner
from everlog.ports.seams import Seams

T = TypeVar("T")


class PostgresLedger:
    """A ledger in one schema of a PostgreSQL database, shared by any number of processes.

    One connection writes; a pool of a few reads, and one listens where somebody waits. Nothing is
    held open between two calls.
    """

    def __init__(self, place: Place, seams: Seams) -> None:
        """Use `PostgresLedger.open`."""
        self._place = place
        self._seams = seams
        self._owner = Owner(f"the store on {place}")
        self._executor = Executor(place.schema)
        self._sizes = Sizes()
        self._readers: Pool[OurConnection] | None = None
        self._reading = 0
        self._waker = Waker(place, self._position, self._tell)
        self._writer: Writer | None = None
        self._writing = asyncio.Lock()
        self._committing: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        schema: str = "everlog",
        migrate: bool | None = None,
        timeout_s: float = 30.0,
        pooler: Pooler = "none",
        readers: int = 4,
        seams: Seams | None = None,
    ) -> PostgresLedger:
        """Opens the ledger in a schema, creating both if need be.

        - `url`: what libpq understands, without options of ours
        - `migrate`: True applies what the schema lacks; False changes nothing; None creates a
          ledger where there is none
        - `timeout_s`: how long to wait for other processes' writes, and for a server that is lost
          or says nothing; a write takes half of it longer, or 2 s, to find out what became of it
        - `pooler`: `"transaction"` behind a proxy such as PgBouncer in that mode
        - `readers`: connections that read, at most

        Raises `InvalidUrl`, `CannotOpen`, `ForeignFile`, `NewerFormat` or `OlderFormat`.
        """
        place = Place(parameters_of(url), schema, timeout_s, pooler, readers)
        ledger = cls(place, seams or Seams())
        try:
            await ledger._set_up(migrate)
        except BaseException:
            await ledger.close()
            raise
        return ledger

    @property
    def identity(self) -> Identity:
        assert self._writer is not None
        return self._writer.identity

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(durable=True, shared=True, backup=False, transactions=True)

    @property
    def upstreams(self) -> PostgresUpstreams:
        return PostgresUpstreams(self._look)

    @property
    def place(self) -> Place:
        """The schema and how it is reached."""
        return self._place

    def commit(self, requests: Sequence[Request]) -> Awaitable[Sequence[Outcome]]:
        try:
            self._owner.check()
        except MisusedStore as error:
            return _refuse(error)  # when it is awaited, as everywhere
        # In a task of nobody's, which answers by a future: who is cancelled while it waits does not
        # stop what has begun.
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[Sequence[Outcome]] = loop.create_future()
        task = loop.create_task(self._commit(requests, committed), context=Context())
        self._committing.add(task)
        task.add_done_callback(self._committing.discard)
        return committed

    async def _commit(
        self, requests: Sequence[Request], committed: asyncio.Future[Sequence[Outcome]]
    ) -> None:
        assert self._writer is not None
        try:
            async with self._writing:
                outcomes = await self._writer.commit(requests) if requests else []
        except asyncio.CancelledError:  # the loop is ending
            committed.cancel()
            raise
        except BaseException as error:
            if not committed.done():
                committed.set_exception(error)
        else:
            if not committed.done():
                committed.set_result(outcomes)

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        return await self._look(lambda: reading.read_page(selection, cursor, size, self._sizes))

    async def fold_from(
        self, selection: Selection, key: SnapshotKey | None, *, size: int = 500
    ) -> FoldStart:
        return await self._look(lambda: reading.fold_start(selection, key, size, self._sizes))

    async def find(self, ids: Sequence[str]) -> Sequence[StoredRecord | None]:
        return await self._look(lambda: reading.find(ids))

    async def overtaken(self, stream: str, register: str, place: tuple[str, str]) -> bool:
        return await self._look(lambda: reading.overtaken(stream, register, place))

    async def streams_of(self, relations: Sequence[str]) -> Sequence[str]:
        return await self._look(lambda: reading.names(schema.SELECT_STREAMS_OF, relations))

    async def relations_of(self, streams: Sequence[str]) -> Sequence[str]:
        return await self._look(lambda: reading.names(schema.SELECT_RELATIONS_OF, streams))

    async def streams(self, *, prefix: str, after: str, limit: int) -> Sequence[StreamInfo]:
        return await self._look(lambda: reading.streams(prefix, after, limit))

    async def examine(self, *, now_ms: Callable[[], int]) -> Sequence[Finding]:
        return await self._look(lambda: examining.examine(now_ms))

    async def find_snapshot(self, key: SnapshotKey) -> Snapshot | None:
        return await self._look(lambda: reading.find_snapshot(key))

    async def head(self) -> Head:
        return await self._look(reading.head)

    async def wait(self, position: int, *, timeout_s: float) -> int:
        self._owner.check()
        return await self._waker.wait(position, timeout_s)

    def join(self, connection: object) -> Joined:
        self._owner.check()
        assert self._writer is not None
        return Joined(
            connection,
            at=self._place,
            identity=self.identity,
            now_ms=self._seams.now_ms,
            executor=self._executor,
            waker=self._waker,
            settle=self._settle,
        )

    async def _settle(self, written: Written) -> bool:
        assert self._writer is not None
        async with self._writing:
            return await self._writer.settle(written)

    async def check(self) -> Sequence[Problem]:
        self._owner.check()
        return await self._while_answered(self._look(reading.check, takes_long=True))

    async def backup(self, path: str) -> None:
        self._owner.check()
        raise NotSupported(
            "a ledger in PostgreSQL is backed up with the server's own tools: "
            f"pg_dump --schema={self._place.schema}, or a base backup; a dump is restored as it was"
        )

    async def close(self) -> None:
        if self._owner.closed or self._owner.forked:
            return
        self._owner.closed = True
        await self._waker.close()
        if self._committing:  # one that has only just been handed over has no place in a queue yet
            await asyncio.wait(self._committing)
        async with self._writing:  # behind whatever is still being settled
            if self._readers is not None:
                await self._waker.settle()
            if self._writer is not None:
                await self._writer.close()
        if self._readers is not None:
            await self._readers.close()

    async def _set_up(self, migrate: bool | None) -> None:
        place = self._place
        connection = await first_connection(place)
        try:
            await migrating.ensure(connection, place, migrate=migrate)
            found = await self._executor.run(connection, ask(schema.SELECT_IDENTITY))
            if not found:
                raise CannotOpen(
                    f"{place} has lost its head, as where a dump was restored without its data; "
                    "restore it whole, or name another schema: ?schema=..."
                )
            identity = Identity(*found[0])
            self._readers = await open_readers(place, place.readers)
        except psycopg.Error as error:
            await connection.close()
            raise as_opening_error(error, str(place)) from error
        except BaseException:
            await connection.close()
            raise
        self._writer = Writer(
            place,
            identity,
            self._seams.now_ms,
            self._executor,
            self._waker,
            connection,
            self._seams.random_bytes,
        )

    async def _look(self, script: Callable[[], Script[T]], *, takes_long: bool = False) -> T:
        """Runs a script that only reads; again, on another connection, where one was lost.

        Raises `Unreachable` for a server that says nothing for `timeout_s`, unless it `takes_long`.
        """
        self._owner.check()
        assert self._readers is not None
        tries = Tries(self._place.timeout_s)
        while True:
            try:
                async with self._readers.one(timeout_s=max(tries.left_s, 0.01)) as connection:
                    connection.silence_s = None if takes_long else max(tries.left_s, 1.0)
                    self._reading += 1
                    try:
                        return await self._executor.run(connection, script())
                    finally:
                        self._reading -= 1
            except PoolClosed:
                raise StoreClosed(f"the store on {self._place} was closed meanwhile") from None
            except PoolTimeout as error:
                raise self._no_reader() from error
            except psycopg.Error as error:
                if not is_passing(error) or tries.over:
                    raise as_storage_error(error, str(self._place)) from error
            await tries.pause()

    async def _while_answered(self, looking: Coroutine[Any, Any, T]) -> T:
        """Waits for what takes long, while the server answers over another connection."""
        task = asyncio.ensure_future(looking)
        try:
            while not task.done():
                done, _ = await asyncio.wait([task], timeout=self._place.silence_s)
                if not done:
                    await self._require_answer()
            return await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def _require_answer(self) -> None:
        """Raises `Unreachable` if the server says nothing at all."""
        try:
            connection = await connect(self._place, within_s=self._place.margin_s)
            try:
                await self._executor.run(connection, reading.position())
            finally:
                await connection.close()
        except psycopg.Error as error:
            if error.sqlstate is None:  # otherwise it is there, and has no connection to spare
                raise as_storage_error(error, str(self._place)) from error

    def _no_reader(self) -> Unreachable:
        """Says why there was no connection that reads."""
        place = self._place
        if self._reading < place.readers:
            return Unreachable(f"{place} cannot be reached: no connection in {place.timeout_s} s")
        return Unreachable(
            f"all {place.readers} connections that read {place} were in use for {place.timeout_s} "
            "s: see whether the server answers; where it does, raise readers, or timeout_s"
        )

    async def _position(self) -> int:
        return await self._look(reading.position)

    async def _tell(self, notification: Statement) -> None:
        """Sends a NOTIFY, if a connection can be had: polling is the truth."""
        assert self._readers is not None
        for _ in range(self._place.readers + 1):  # all that are kept may have been lost
            try:
                async with self._readers.one(timeout_s=1.0) as connection:
                    connection.silence_s = 1.0
                    await self._executor.run(
                        connection, ask(notification.template, notification.values)
                    )
            except (PoolTimeout, PoolClosed, ServerSilent):
                return
            except psycopg.Error:
                continue
            return


async def _refuse(error: MisusedStore) -> NoReturn:
    raise error
