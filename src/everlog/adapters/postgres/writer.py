"""The one connection of a store that writes: its tries, and what became of a lost one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.connections import Place, connect_writer
from everlog.adapters.postgres.executing import Executor, OurConnection, Run, Script, Statement, ask
from everlog.adapters.postgres.failures import NO_ROOM_TO_NOTIFY, as_storage_error, is_passing
from everlog.adapters.postgres.guessing import Guesses
from everlog.adapters.postgres.tries import Tries
from everlog.adapters.postgres.waking import Waker
from everlog.adapters.postgres.writing import (
    COPY_BYTES,
    COPY_FROM,
    THINK_FROM,
    Written,
    count_bytes,
    count_events,
    look,
    place,
    store,
    store_by_guess,
)
from everlog.core.sequencer import Append, Identity, Import, ids_of
from everlog.core.taking import Take
from everlog.errors import EverlogError, LedgerBusy, OutcomeUnknown, StorageFailed, StorageFull
from everlog.ports.ledger import Outcome, Request
from everlog.ports.unsettled import Unsettled

T = TypeVar("T")


def begun(beginning: Sequence[Statement], script: Script[T]) -> Script[T]:
    """Puts statements before a script, in the trip of its first ones."""
    step = next(script)
    assert isinstance(step, Run)
    answers = yield Run([*beginning, *step.statements])
    try:
        step = script.send(answers[len(beginning) :])
        while True:
            step = script.send((yield step))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def has_committed(written: Written) -> Script[bool]:
    """Tells whether a transaction whose connection was lost has committed. Run it under the lock.

    Who holds the lock knows that the other is over: it held it until its end, or has not begun and
    will find another head. Raises `OutcomeUnknown` if it cannot be told.
    """
    if written.rows:
        last = written.rows[-1]
        found = yield from ask(schema.SELECT_CHAIN, {"position": last.position})
        return bool(found) and found[0][0] == last.chain
    if written.transaction is None:  # it changed nothing
        return True
    [[fate]] = yield from ask(schema.SELECT_FATE, {"transaction": written.transaction})
    if fate not in ("committed", "aborted"):
        raise OutcomeUnknown(())
    return bool(fate == "committed")


class Writer:
    """Writes batches, one at a time, each in one transaction under the lock of the ledger."""

    def __init__(
        self,
        at: Place,
        identity: Identity,
        now_ms: Callable[[], int],
        executor: Executor,
        waker: Waker,
        connection: OurConnection,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._place = at
        self.identity = identity
        """Who the ledger is: changes with its epoch."""
        self._lock = {"key": at.lock_key}
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._executor = executor
        self._waker = waker
        self._connection: OurConnection | None = connection
        self._sent: list[Written] = []
        """What the transaction under way comes to, once its commit may have reached the server."""
        self._guesses = Guesses()
        self._unsettled = Unsettled()

    async def commit(self, requests: Sequence[Request]) -> list[Outcome]:
        """Writes the requests in one transaction; raises `StorageError` if nothing was written.

        Conflicts of transactions and lost connections are tried again with the same ids, for
        `timeout_s`. Raises `OutcomeUnknown` if it cannot be told in that time what became of a try.
        A server that says nothing is given up after `timeout_s` and a margin, see `Place`; then it
        is looked once more, for no longer than that margin.
        """
        try:
            outcomes = await self._commit(requests)
        except OutcomeUnknown:
            self._unsettled.add(requests)
            raise
        except (LedgerBusy, StorageFull, StorageFailed) as error:
            if self._unsettled.has_one_of(requests):
                # This call wrote nothing; an earlier one may have.
                raise OutcomeUnknown(_ids_of(requests)) from error
            raise
        self._unsettled.discard(requests)
        for epoch in outcomes:
            if isinstance(epoch, str):
                self.identity = replace(self.identity, epoch=epoch)
        return outcomes

    async def _commit(self, requests: Sequence[Request]) -> list[Outcome]:
        tries = Tries(self._place.timeout_s)
        lost: list[Written] = []
        looked_late = False
        while True:
            self._sent = []
            try:
                return await self._try(await self._connected(tries), requests, lost)
            except psycopg.Error as error:
                if await self._let_go():
                    self._guesses.forget()
                    # One whose connection is still there has been rolled back.
                    lost += self._sent
                failure = as_storage_error(error, str(self._place))
                passing = is_passing(error) or (
                    # It failed for what is a hint only: without it there is nothing in the way.
                    error.sqlstate == NO_ROOM_TO_NOTIFY and self._waker.mute()
                )
                if not passing or (tries.over and (looked_late or not lost)):
                    if lost:
                        raise OutcomeUnknown(_ids_of(requests)) from error
                    raise failure from error
                # Silence may have taken all the time: what was lost is looked for all the same.
                looked_late = tries.over
            except EverlogError:
                await self._let_go()
                raise
            except BaseException:
                # Cancelled, or a fault of ours: a connection in the middle of something is no use.
                await self._discard()
                self._guesses.forget()
                raise
            await tries.pause()

    async def _try(
        self,
        connection: OurConnection,
        requests: Sequence[Request],
        lost: Sequence[Written],
    ) -> list[Outcome]:
        """Writes the requests, unless one of the tries that were lost has committed them."""
        if not lost and self._place.pooler == "none":
            outcomes = await self._try_by_guess(connection, requests)
            if outcomes is not None:
                return outcomes
        run = self._executor.run
        found = await run(connection, begun(self._beginning, look(requests)))
        for written in lost:
            # Under the lock: what has not committed by now never will, as it finds another head.
            if await run(connection, has_committed(written)):
                await self._let_go()
                self._waker.found_committed(bool(written.rows))
                return written.outcomes
        if lost:  # the server is there: it has the time again that it takes to write
            connection.silence_s = self._place.silence_s
        placing = place(
            requests, found, self.identity, self._now_ms(), random_bytes=self._random_bytes
        )
        written = await run(connection, placing)
        changed = bool(written.rows)

        def ending() -> Sequence[Statement]:
            self._sent = [written]
            return [*self._waker.statements(changed), Statement(schema.COMMIT)]

        await run(connection, store(written, ending))
        self._guesses.learn(found, written)
        self._waker.committed(changed)
        return written.outcomes

    async def _try_by_guess(
        self, connection: OurConnection, requests: Sequence[Request]
    ) -> list[Outcome] | None:
        events = count_events(requests)
        if events >= COPY_FROM or count_bytes(requests) > COPY_BYTES // 4:  # of characters
            return None
        arguments = (requests, self.identity, self._now_ms())
        if events < THINK_FROM:
            guess = self._guesses.of(*arguments)
        else:
            guess = await asyncio.to_thread(self._guesses.of, *arguments)
        if guess is None:
            return None
        self._sent = [guess.written]
        values = self._waker.hint() | self._lock
        script = store_by_guess(guess.written, guess.guessed, values)
        if not await self._executor.run(connection, script):
            self._sent = []
            self._guesses.came_false(guess)
            return None
        self._guesses.came_true(guess)
        self._waker.committed(True)
        return guess.written.outcomes

    @property
    def _beginning(self) -> tuple[Statement, ...]:
        if self._place.pooler == "none":
            return Statement(schema.BEGIN), Statement(schema.LOCK, self._lock)
        values = self._place.patience | self._lock
        return Statement(schema.BEGIN), Statement(schema.LOCK_AND_SET, values)

    async def settle(self, written: Written) -> bool:
        """Whether somebody else's transaction, whose connection was lost, has committed.

        Tries for `timeout_s`; raises `psycopg.Error` or `OutcomeUnknown` if it cannot be told.
        """
        # Somebody else has written, or will have: a guess would be a trip in vain.
        self._guesses.forget()
        tries = Tries(self._place.timeout_s)
        while True:
            try:
                connection = await self._connected(tries)
                return await self._executor.run(connection, self._settled(written))
            except psycopg.Error as error:
                await self._let_go()
                if not is_passing(error) or tries.over:
                    raise
            await tries.pause()

    def _settled(self, written: Written) -> Script[bool]:
        yield Run(self._beginning)
        committed = yield from has_committed(written)
        yield Run([Statement(schema.ROLLBACK)])
        return committed

    async def _connected(self, tries: Tries) -> OurConnection:
        """Returns the connection, which is given up where it is silent beyond the time."""
        if self._connection is None or self._connection.closed:
            within_s = max(tries.left_s, self._place.margin_s)
            self._connection = await connect_writer(self._place, within_s=within_s)
        self._connection.silence_s = tries.left_s + self._place.margin_s
        return self._connection

    async def _let_go(self) -> bool:
        """Ends the transaction and its connection; returns whether the connection was lost."""
        connection = self._connection
        if connection is None:
            return True
        lost = connection.closed
        if not lost and connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.silence_s = self._place.margin_s
            try:
                await connection.rollback()
            except psycopg.Error:
                # A COMMIT may have been under way when the connection began to fail.
                lost = True
        # Not used again, even where it could be: of statements that were skipped in a pipeline that
        # failed, psycopg believes for ever that they are prepared.
        await self._discard()
        return lost

    async def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError):
                await connection.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._discard()


def _ids_of(requests: Sequence[Request]) -> list[str]:
    placing = [request for request in requests if isinstance(request, (Append, Import, Take))]
    return ids_of(placing)
