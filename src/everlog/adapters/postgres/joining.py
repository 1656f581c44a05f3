"""Commits in somebody else's transaction: events that take effect with the user's own tables."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import psycopg

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.connections import Place
from everlog.adapters.postgres.executing import Executor, Statement, ask, quoted
from everlog.adapters.postgres.failures import (
    NO_ROOM_TO_NOTIFY,
    as_storage_error,
    curtailed,
    is_passing,
)
from everlog.adapters.postgres.theirs import TheirConnection
from everlog.adapters.postgres.waking import Waker
from everlog.adapters.postgres.writer import begun
from everlog.adapters.postgres.writing import Written, look, place, store
from everlog.core.sequencer import Append, Identity, Placed, ids_of
from everlog.errors import EverlogError, InvalidInput, OutcomeUnknown, StorageFailed

Settle: TypeAlias = Callable[[Written], Awaitable[bool]]
"""Finds out whether a transaction whose connection was lost has committed."""

ISOLATIONS = ("read committed", "read uncommitted")
"""In which each statement sees what was committed before it; PostgreSQL has the two as one."""


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
        self._connection = TheirConnection(connection, executor)
        self._place = at
        self._identity = identity
        self._now_ms = now_ms
        self._waker = waker
        self._settle = settle
        self._mark = secrets.token_hex(8)
        """What the transaction is known by, so that another is not taken for it."""

    async def begin(self) -> None:
        """Begins their transaction, if they have not; refuses one that events cannot join.

        Raises `InvalidInput` or `StorageError`, with the transaction as it was.
        """
        connection = self._connection
        connection.check_usable()
        theirs = connection.in_transaction
        try:
            with connection.not_stalled():
                if not theirs and connection.autocommit:
                    await connection.run(ask(schema.BEGIN))
                await self._join()
        except BaseException as error:
            if not theirs:
                await connection.roll_back()
            connection.let_go()
            if isinstance(error, psycopg.Error):
                raise as_storage_error(error, str(self._place)) from error
            raise

    async def _join(self) -> None:
        """Marks the transaction, or raises `InvalidInput` that says what is in the way."""
        values: dict[str, object] = {"head": f"{quoted(self._place.schema)}.ledger_head"}
        [theirs] = await self._connection.run(ask(schema.SELECT_THEIRS, values))
        isolation, read_only, mark, head = theirs
        problem = ""
        if isolation not in ISOLATIONS:
            problem = (
                f"it is {isolation.upper()}, in which the head of the log would be read as it was "
                "when it began: use READ COMMITTED"
            )
        elif read_only != "off":
            problem = "it is read-only"
        elif mark:
            problem = "another block of store.transaction(...) has it"
        elif head is None or not await self._connection.run(ask(schema.MARK_THEIRS, self._marked)):
            problem = f"its connection is to another database than {self._place}"
        if problem:
            raise InvalidInput(f"events cannot join this transaction: {problem}")

    @property
    def _marked(self) -> dict[str, object]:
        ledger = self._identity
        return {
            "mark": self._mark,
            "ledger": ledger.ledger,
            "node": ledger.node,
            "epoch": ledger.epoch,
        }

    async def prepare(self) -> None:
        """Has their deferred constraints checked, before the ledger's lock is waited for.

        At the commit they could wait for the locks of somebody who waits for the ledger's; and what
        they raise is theirs. Raises `InvalidInput`, `psycopg.Error`, or `StorageFailed` for a
        connection that was lost.
        """
        connection = self._connection
        connection.check_usable()
        try:
            [[mark]] = await connection.run(ask(schema.SELECT_MARK))
            if mark == self._mark:
                await connection.run(ask(schema.CHECK_CONSTRAINTS))
        except psycopg.Error as error:
            if connection.is_lost(error):
                raise self._failed(error) from error
            raise
        if mark != self._mark:
            raise InvalidInput(
                "the block has ended its transaction, by a commit or a rollback of its own, so "
                "the events cannot commit with it: nothing was appended; leave both to the block"
            )

    async def commit(self, request: Append | None) -> Placed | None:
        """Takes the lock, writes the events and commits: all of it, or nothing.

        Raises what the request is refused with, or `StorageError`; then their transaction has been
        rolled back, except with `OutcomeUnknown`.
        """
        requests = [] if request is None else [request]
        try:
            with self._connection.not_stalled(besides_s=self._place.timeout_s):
                written = await self._write(requests)
                placed = _placed(written)
                if placed is not None and not placed.new:
                    await self.roll_back()  # what the block wrote was committed with the events
                    return placed
                await self._end(written, requests)
        except BaseException as error:
            await self.roll_back()
            if isinstance(error, psycopg.Error):
                raise self._failed(error) from error
            raise
        self._connection.let_go()
        self._waker.committed_elsewhere(bool(written.rows))
        return placed

    async def _write(self, requests: list[Append]) -> Written:
        """Returns what the requests come to; it is stored, and takes effect with a commit."""
        connection = self._connection
        connection.check_usable()
        values = self._place.patience | {"key": self._place.lock_key}
        lock = Statement(schema.LOCK_AND_SET, values)
        found = await connection.run(begun([lock], look(requests)))
        now_ms = self._now_ms()
        written = await connection.run(
            place(requests, found, self._identity, now_ms, identify=True)
        )
        tell = bool(written.rows) and not self._waker.muted
        told = [self._waker.notification] if tell else []
        await connection.run(store(written, lambda: told))
        return written

    async def _end(self, written: Written, requests: list[Append]) -> None:
        """Commits. If the connection is lost meanwhile, finds out by another what became of it.

        Returns or raises `psycopg.Error` accordingly, or `OutcomeUnknown` if it cannot be told.
        """
        connection = self._connection
        try:
            await connection.commit()
        except psycopg.Error as error:
            if not connection.is_lost(error):
                raise
            await connection.roll_back()
            if connection.in_transaction:  # it would hold the lock
                connection.cut()
            try:
                committed = await self._settle(written)
            except (psycopg.Error, EverlogError) as unsettled:
                raise OutcomeUnknown(ids_of(requests)) from unsettled
            if not committed:
                raise

    async def roll_back(self) -> None:
        """Rolls their transaction back, as far as there is still one; raises nothing."""
        try:
            await self._connection.roll_back()
        finally:
            self._connection.let_go()

    def _failed(self, error: psycopg.Error) -> EverlogError:
        """Returns the error of a transaction that has been rolled back."""
        full = error.sqlstate == NO_ROOM_TO_NOTIFY
        if full:
            self._waker.mute()  # so that the next try is not in vain, too
        if full or is_passing(error) or self._connection.is_lost(error):
            return StorageFailed(
                f"{self._place}: the transaction failed ({curtailed(error)}) and was rolled "
                "back, with what else it wrote: run it again"
            )
        return as_storage_error(error, str(self._place))


def _placed(written: Written) -> Placed | None:
    """Returns what became of the request, if there was one; raises what it was refused with."""
    for outcome in written.outcomes:
        if isinstance(outcome, EverlogError):
            raise outcome
        assert isinstance(outcome, Placed)
        return outcome
    return None
