"""Commits in somebody else's transaction: events that take effect with the user's own tables."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.connections import Place
from everlog.adapters.postgres.executing import Executor, Script, Statement, ask, quoted
from everlog.adapters.postgres.failures import as_storage_error, first_line, is_passing
from everlog.adapters.postgres.waking import Waker
from everlog.adapters.postgres.writer import begun
from everlog.adapters.postgres.writing import Found, Written, look, place, store
from everlog.core.sequencer import Append, Identity, ids_of
from everlog.errors import EverlogError, InvalidInput, OutcomeUnknown, StorageFailed
from everlog.ports.ledger import Outcome

Theirs: TypeAlias = psycopg.AsyncConnection[Any] | psycopg.Connection[Any]

Settle: TypeAlias = Callable[[Written], Awaitable[bool]]
"""Finds out whether a transaction whose connection was lost has committed."""


class Joined:
    """One transaction of a connection that is not ours, from its beginning to its commit."""

    def __init__(
        self,
        connection: object,
        *,
        at: Place,
        identity: Identity,
        now_ms: Callable[[], int],
        executor: Executor,
        waker: Waker,
        settle: Settle,
    ) -> None:
        """Raises `InvalidInput` for what is no connection of psycopg."""
        if not isinstance(connection, (psycopg.AsyncConnection, psycopg.Connection)):
            raise InvalidInput(
                f"store.transaction takes a connection of psycopg 3, not {type(connection)!r:.80}; "
                "of SQLAlchemy: (await connection.get_raw_connection()).driver_connection"
            )
        self._connection: Theirs = connection
        self._place = at
        self._identity = identity
        self._now_ms = now_ms
        self._executor = executor
        self._waker = waker
        self._settle = settle

    async def begin(self) -> None:
        """Begins their transaction, if they have not; refuses one that events cannot join.

        Raises `InvalidInput`, with the transaction as it was.
        """
        status = self._usable()
        try:
            if status == TransactionStatus.IDLE and self._connection.autocommit:
                await self._run(ask(schema.BEGIN))
            values = {"head": f"{quoted(self._place.schema)}.ledger_head"}
            [[isolation, read_only, head]] = await self._run(ask(schema.SELECT_THEIRS, values))
            problem = ""
            if isolation != "read committed":
                problem = (
                    f"the transaction is {isolation.upper()}, in which the head of the log would "
                    "be read as it was when it began: use READ COMMITTED"
                )
            elif read_only != "off":
                problem = "the transaction is read-only"
            elif head is None or await self._run(ask(schema.SELECT_IDENTITY)) != [
                (self._identity.ledger, self._identity.node, self._identity.epoch)
            ]:
                problem = f"its connection is to another database than {self._place}"
        except psycopg.Error as error:
            await self._back_to(status)
            raise as_storage_error(error, str(self._place)) from error
        if problem:
            await self._back_to(status)
            raise InvalidInput(f"events cannot join this transaction: {problem}")

    async def commit(self, requests: Sequence[Append]) -> Sequence[Outcome]:
        """Takes the lock, writes the events and commits: all of it, or nothing.

        Raises what the first request that is refused ends with; then their transaction has been
        rolled back, as it has with `StorageError`, except for `OutcomeUnknown`.
        """
        sent: Written | None = None
        try:
            self._usable()
            found: Found = await self._run(begun((self._lock,), look(requests)))
            written: Written = await self._run(
                place(requests, found, self._identity, self._now_ms(), identify=True)
            )
            for outcome in written.outcomes:
                if isinstance(outcome, EverlogError):
                    raise outcome
            changed = bool(written.rows)
            notification = [self._waker.notification] if changed else []
            await self._run(store(written, notification))
            sent = written
            await self._end("commit")
            self._waker.committed_elsewhere(changed)
        except psycopg.Error as error:
            lost = self._lost
            await self.roll_back()
            if sent is not None and lost:
                if await self._has_committed(sent, requests):
                    committed: Sequence[Outcome] = sent.outcomes
                    return committed
                raise StorageFailed(
                    f"{self._place}: the connection was lost at the commit; the transaction was "
                    "rolled back, with what else it wrote: run it again"
                ) from error
            if is_passing(error):
                raise StorageFailed(
                    f"{self._place}: the transaction failed ({first_line(error)}) and was rolled "
                    "back, with what else it wrote: run it again"
                ) from error
            raise as_storage_error(error, str(self._place)) from error
        except BaseException:
            await self.roll_back()
            raise
        return written.outcomes

    async def roll_back(self) -> None:
        """Rolls their transaction back, as far as there is still one."""
        with suppress(psycopg.Error):
            if not self._connection.closed:
                await self._end("rollback")

    async def _has_committed(self, written: Written, requests: Sequence[Append]) -> bool:
        try:
            return await self._settle(written)
        except (psycopg.Error, EverlogError) as error:
            raise OutcomeUnknown(ids_of(requests)) from error

    def _usable(self) -> TransactionStatus:
        """Returns the status of their connection; raises `InvalidInput` if it cannot go on."""
        connection = self._connection
        status = connection.info.transaction_status
        problem = ""
        if connection.closed:
            problem = "its connection is closed"
        elif status == TransactionStatus.INERROR:
            problem = "a statement in it has failed: roll it back first"
        elif status not in (TransactionStatus.IDLE, TransactionStatus.INTRANS):
            problem = "its connection is in the middle of a statement"
        elif getattr(connection, "_num_transactions", 0):
            problem = (
                "it is inside `connection.transaction()`, which commits by itself: "
                "`async with store.transaction(connection)` takes its place"
            )
        elif connection.info.encoding != "utf-8":
            problem = f"its connection speaks {connection.info.encoding}, not UTF-8"
        if problem:
            raise InvalidInput(f"events cannot join this transaction: {problem}")
        return status

    @property
    def _lock(self) -> Statement:
        timeout = f"{max(1, int(self._place.timeout_s * 1000))}ms"
        return Statement(schema.LOCK_IN_THEIRS, {"timeout": timeout, "key": self._place.lock_key})

    @property
    def _lost(self) -> bool:
        connection = self._connection
        return connection.closed or (
            connection.info.transaction_status == TransactionStatus.UNKNOWN
        )

    async def _back_to(self, status: TransactionStatus) -> None:
        """Ends what `begin` has begun; a transaction of theirs stays as it is."""
        if status == TransactionStatus.IDLE:
            await self.roll_back()

    async def _run(self, script: Script[Any]) -> Any:
        connection = self._connection
        if isinstance(connection, psycopg.AsyncConnection):
            return await self._executor.run(connection, script, alone=False)
        # Whoever called waits: the connection is nobody else's until this is done.
        return await asyncio.to_thread(self._executor.run_blocking, connection, script)

    async def _end(self, how: str) -> None:
        connection = self._connection
        if isinstance(connection, psycopg.AsyncConnection):
            await (connection.commit() if how == "commit" else connection.rollback())
        else:
            await asyncio.to_thread(connection.commit if how == "commit" else connection.rollback)
