"""One transaction of a worker on the file of read models."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from everlog.adapters.sqlite import bookkeeping, owing
from everlog.adapters.sqlite.file_hold import FileHold
from everlog.adapters.sqlite.threads import Threads
from everlog.adapters.sqlite.turns import Turns
from everlog.adapters.sqlite.user_statements import Run, check_statement, copied, fetch
from everlog.adapters.sqlite.views_writer import ViewsWriter
from everlog.errors import EverlogError, MisusedStore
from everlog.ports.checkpoints import Move, Parked, Tx, Values
from everlog.ports.effects import Effect
from everlog.ports.owner import Owner
from everlog.ports.staying import to_its_end

T = TypeVar("T")

MOST_KEPT = 1000
"""Statements, counted with each of their values, that are kept before they are carried out."""


class ViewTransaction:
    """What the block of `SqliteCheckpoints.transaction` is given, and the `tx` of its handlers.

    Statements are kept and carried out together, as each way to the thread and back costs as much
    as some rows. Nothing is locked before the first is carried out, so that a handler that waits
    for something else first holds nobody up.
    """

    def __init__(
        self,
        owner: Owner,
        turns: Turns,
        threads: Threads,
        writer: ViewsWriter,
        hold: FileHold | None,
    ) -> None:
        """Use `SqliteCheckpoints.transaction`."""
        self._owner = owner
        self._turns = turns
        self._threads = threads
        self._writer = writer
        self._hold = hold
        self._task: asyncio.Task[Any] | None = None
        self._kept: list[Run] = []
        self._kept_values = 0
        self._eager = False
        self._one_at_a_time = asyncio.Lock()
        self._begun = False
        """Whether it is our turn. The first job in it begins the transaction."""
        self._ended = False
        self._failure: BaseException | None = None
        self._is_waiting = False

    @property
    def tx(self) -> Tx:
        return self

    @property
    def failure(self) -> BaseException | None:
        return self._failure

    @property
    def is_waiting(self) -> bool:
        return self._is_waiting

    def eager(self) -> None:
        # In the log's own file every append would wait from the first statement on.
        self._eager = self._hold is None

    def full(self) -> bool:
        if self._hold is None:
            return False
        if self._begun and self._hold.is_cut:
            self._failure = self._hold.error()
            raise self._failure
        return self._hold.full(self._kept_values, begun=self._begun)

    async def execute(self, statement: str, values: Values = ()) -> None:
        run = self._run_of(statement)
        try:
            run.values.append(copied(values))
        except BaseException as error:
            self._failure = error
            raise
        self._kept_values += 1
        if self._eager or self._kept_values >= MOST_KEPT:
            await self._carry_out_kept()

    async def execute_many(self, statement: str, values: Sequence[Values]) -> None:
        copies = self._checked(statement, values)
        if not copies:
            return
        self._run_of(statement).values.extend(copies)
        self._kept_values += len(copies)
        if self._eager or self._kept_values >= MOST_KEPT:
            await self._carry_out_kept()

    async def fetch(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        [copy] = self._checked(statement, (values,))
        return await self._carry_out(lambda connection: fetch(connection, statement, copy))

    async def move(self, name: str, moves: Sequence[Move]) -> None:
        await self._carry_out(partial(bookkeeping.move, name=name, moves=tuple(moves)), ours=True)

    async def park(self, parked: Sequence[Parked]) -> None:
        await self._carry_out(partial(bookkeeping.park, parked=tuple(parked)), ours=True)

    async def unpark(self, name: str, position: int) -> None:
        await self._carry_out(partial(bookkeeping.unpark, name=name, position=position), ours=True)

    async def swap(
        self,
        name: str,
        *,
        fences: Mapping[int, int],
        rebuilt: str,
        rebuilt_fences: Mapping[int, int],
        kept: str,
    ) -> None:
        work = partial(
            bookkeeping.swap,
            name=name,
            fences=dict(fences),
            rebuilt=rebuilt,
            rebuilt_fences=dict(rebuilt_fences),
            kept=kept,
        )
        await self._carry_out(work, ours=True)

    async def owe(self, effects: Sequence[Effect]) -> None:
        await self._carry_out(partial(owing.owe, effects=tuple(effects)), ours=True)

    async def begin_handlers(self, name: str, handlers: Collection[str], *, position: int) -> None:
        begin = partial(
            owing.begin_handlers, name=name, handlers=tuple(handlers), position=position
        )
        await self._carry_out(begin, ours=True)

    async def __aenter__(self) -> Self:
        self._owner.check()
        self._task = asyncio.current_task()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                # What tasks of the block have begun is in it, as far as it was handed over.
                await self._carry_out_kept()
        except BaseException as failure:
            await self._roll_back(failure)
            raise
        if error is None:
            await self._commit()
        else:
            await self._roll_back(error)

    def _run_of(self, statement: str) -> Run:
        """Returns the last run that is kept, if it is of this statement, or begins one."""
        self._check()
        last = self._kept[-1] if self._kept else None
        if last is not None and last.statement == statement:  # which was checked
            return last
        try:
            check_statement(statement)
        except BaseException as error:
            self._failure = error
            raise
        run = Run(statement, [])
        self._kept.append(run)
        return run

    def _checked(self, statement: str, values: Sequence[Values]) -> list[Values]:
        self._check()
        try:
            check_statement(statement)
            return list(map(copied, values))
        except BaseException as error:
            self._failure = error
            raise

    async def _carry_out_kept(self) -> None:
        if self._kept or self._one_at_a_time.locked():
            await self._carry_out(_nothing)
        else:
            self._check()

    async def _carry_out(self, then: Callable[[sqlite3.Connection], T], *, ours: bool = False) -> T:
        """Carries out what is kept, in a transaction, and returns what comes then."""
        self._check()
        async with self._one_at_a_time:
            self._check()
            runs, self._kept, self._kept_values = self._kept, [], 0
            try:
                begin = not self._begun
                if begin:
                    self._is_waiting = True
                    await self._turns.take(self._task)
                    self._begun = True
                    self._check()
                return await self._threads.run(self._work, begin, runs, then, ours)
            except BaseException as error:
                # Also if it was called off: it cannot be told what of it was carried out.
                self._failure = error
                if self._begun and not ours and not isinstance(error, Exception):
                    # Nobody waits for what it asks for, and nothing of it can be committed.
                    self._writer.interrupt()
                if self._ended and self._begun:  # of a task that the block has left behind
                    self._begun = False
                    self._turns.give_back()
                raise
            finally:
                self._is_waiting = False

    def _work(
        self,
        begin: bool,
        runs: Sequence[Run],
        then: Callable[[sqlite3.Connection], T],
        ours: bool,
    ) -> T:
        if begin:
            self._writer.begin(for_handlers=True)
            self._is_waiting = False
        return self._writer.work(runs, then, ours=ours)

    async def _commit(self) -> None:
        self._ended = True
        if not self._begun:
            return
        try:
            self._owner.check()
            # Who is called off now stays until it is known: the file is locked until then anyway.
            await to_its_end(self._threads.run(self._writer.commit))
        finally:
            self._begun = False
            self._turns.give_back()

    async def _roll_back(self, error: BaseException) -> None:
        self._ended = True
        self._kept.clear()
        if not self._begun:
            return
        self._begun = False
        try:
            if not self._owner.closed:  # which rolls back by itself
                rolling_back = self._threads.run(self._writer.roll_back)
                # Who is called off does not wait: what is before it may be waiting for another
                # process. Whoever is next is behind it on the thread.
                if not isinstance(error, asyncio.CancelledError):
                    await to_its_end(rolling_back)
        finally:
            self._turns.give_back()

    def _check(self) -> None:
        if self._ended:
            raise MisusedStore(
                "this transaction has ended, with the handler that it was given to; it is not to "
                "be kept: await all that is done with it inside of the handler"
            )
        if self._failure is not None:
            if isinstance(self._failure, Exception):
                raise self._failure
            raise EverlogError(
                "a statement of this transaction was called off, so nothing of it can be committed"
            )
        self._owner.check()


def _nothing(connection: sqlite3.Connection) -> None:
    """What comes behind statements behind which nothing comes."""
