"""A connection of somebody else: async or blocking, used for a moment, given back at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Executor, Script
from everlog.adapters.postgres.silence import cut
from everlog.errors import InvalidInput, StorageFailed
from everlog.ports.staying import to_its_end

T = TypeVar("T")

STALLED_S = 30.0
"""How long a connection may say nothing, besides what a lock takes, until it is given up."""


class TheirConnection:
    """Runs scripts over a connection of a program. Who is cancelled gets it back at rest."""

    def __init__(self, connection: object, executor: Executor) -> None:
        """Raises `InvalidInput` for what is no connection of psycopg."""
        if not isinstance(connection, (psycopg.AsyncConnection, psycopg.Connection)):
            raise InvalidInput(
                f"store.transaction takes a connection of psycopg 3, not {type(connection)!r:.80}; "
                "of SQLAlchemy: (await connection.get_raw_connection()).driver_connection, or "
                "without await connection.connection.driver_connection"
            )
        self._theirs: psycopg.AsyncConnection[Any] | psycopg.Connection[Any] = connection
        self._executor = executor
        self._thread: ThreadPoolExecutor | None = None

    @property
    def autocommit(self) -> bool:
        """Whether statements outside of a transaction commit by themselves."""
        return self._theirs.autocommit

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has begun, and not ended."""
        return not self._theirs.closed and (
            self._theirs.info.transaction_status != TransactionStatus.IDLE
        )

    def check_usable(self) -> None:
        """Raises `InvalidInput` if events cannot be written over it as it is.

        Raises `StorageFailed` if it was lost.
        """
        connection = self._theirs
        if connection.broken:
            raise StorageFailed(
                "the connection of the transaction was lost, and all that it wrote was rolled "
                "back: run it again over another"
            )
        status = connection.info.transaction_status
        problem = ""
        if connection.closed:
            problem = "its connection is closed"
        elif connection.pgconn.pipeline_status != PipelineStatus.OFF:
            problem = "its connection is in pipeline mode: end the pipeline inside the block"
        elif status == TransactionStatus.INERROR:
            problem = "a statement in it has failed: roll it back first"
        elif status not in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            problem = "its connection is in the middle of a statement"
        elif getattr(connection, "_num_transactions", 0):
            problem = (
                "it is inside `connection.transaction()`, which commits by itself: "
                "`store.transaction(connection)` takes its place"
            )
        elif getattr(connection, "_tpc", None):
            problem = "it is a two-phase transaction, which is committed elsewhere"
        elif connection.info.encoding != "utf-8":
            problem = f"its connection speaks {connection.info.encoding}, not UTF-8"
        if problem:
            raise InvalidInput(f"events cannot join this transaction: {problem}")

    def is_lost(self, error: psycopg.Error) -> bool:
        """Whether an error is no answer of the server to the statement, which may have succeeded.

        Of a server that answers and then says that it ends the connection, the driver raises what
        was said last. It is closed then.
        """
        return error.sqlstate is None or self._theirs.closed

    async def run(self, script: Script[T]) -> T:
        """Runs a script."""
        connection = self._theirs
        if isinstance(connection, psycopg.AsyncConnection):
            return await self._executor.run(connection, script)
        return await self._in_thread(lambda: self._executor.run_blocking(connection, script))

    async def commit(self) -> None:
        """Commits; raises `StorageFailed` if that has rolled back what had failed."""
        connection = self._theirs
        if isinstance(connection, psycopg.AsyncConnection):
            cursor = psycopg.AsyncCursor(connection)
            await cursor.execute(schema.COMMIT.encode(), prepare=False)
            said = cursor.statusmessage
        else:
            said = await self._in_thread(lambda: _commit(connection))
        # Of a transaction in which a statement has failed it is a rollback, and no error.
        if said != schema.COMMIT:
            raise StorageFailed(
                "a statement of somebody else failed on the connection while the events were "
                "written, so all was rolled back: leave it alone until the block has ended"
            )

    async def roll_back(self) -> None:
        """Rolls back, if there is something to roll back; raises nothing of the database."""
        if self.in_transaction:
            await to_its_end(self._roll_back())

    async def _roll_back(self) -> None:
        connection = self._theirs
        with suppress(psycopg.Error), self.not_stalled():
            if isinstance(connection, psycopg.AsyncConnection):
                await connection.rollback()
            else:
                await self._in_thread(connection.rollback)

    @contextmanager
    def not_stalled(self, *, besides_s: float = 0) -> Generator[None]:
        """Cuts a connection whose other end says nothing, so that what waits for it ends.

        All writes of a store wait for a commit that has its turn, and of a network that swallows
        everything the operating system tells after a quarter of an hour.
        """
        timer = asyncio.get_running_loop().call_later(STALLED_S + besides_s, self.cut)
        try:
            yield
        finally:
            timer.cancel()

    def cut(self) -> None:
        """Cuts it, whatever it is doing: who waits for it gets an error, and the server hears."""
        with suppress(psycopg.Error):
            cut(self._theirs.fileno())

    def let_go(self) -> None:
        """Ends what was held besides the connection itself."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        # A thread of its own, as those of `asyncio.to_thread` may all be waiting for a lock that
        # this transaction holds. Whoever called stays: the connection is nobody else's until then.
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="everlog-transaction")
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._thread, function))


def _commit(connection: psycopg.Connection[Any]) -> str | None:
    cursor = psycopg.Cursor(connection)
    cursor.execute(schema.COMMIT.encode(), prepare=False)
    return cursor.statusmessage
