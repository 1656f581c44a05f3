"""`SqliteCheckpoints`: checkpoints and read models, in a file beside the ledger or in its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Self, TypeVar

from everlog.adapters.sqlite import bookkeeping, file_hold, owing
from everlog.adapters.sqlite.connections import (
    Place,
    check_directory,
    checkpoints_race,
    connect_reader,
    connect_writer,
)
from everlog.adapters.sqlite.failures import as_opening_error, as_storage_error
from everlog.adapters.sqlite.file_guard import FileGuard
from everlog.adapters.sqlite.file_hold import FileHold
from everlog.adapters.sqlite.file_lock import FileLock, lock_beside
from everlog.adapters.sqlite.log_tables import forbid_writing_the_log
from everlog.adapters.sqlite.threads import Threads
from everlog.adapters.sqlite.turns import Turns
from everlog.adapters.sqlite.view_transaction import ViewTransaction
from everlog.adapters.sqlite.views_file import (
    add_tables,
    open_or_create_views,
    open_views_in_ledger,
)
from everlog.adapters.sqlite.views_writer import ViewsWriter
from everlog.errors import StorageError, StoreClosed
from everlog.ports.checkpoints import Checkpointing, Due, Held, Parked, SliceStatus, Working
from everlog.ports.effects import Change, Effect, EffectCounts, EffectStatus, Lane
from everlog.ports.owner import Owner

T = TypeVar("T")

IN_MEMORY = "the read models in memory"
"""The path, in errors, of what has none."""


class SqliteCheckpoints:
    """Checkpoints in one SQLite file, beside the user's own tables, for any number of processes.

    A file of its own and not the ledger's, so that a handler that takes its time inside of a
    transaction stops no append; in the ledger's own it is rolled back when it does. One thread
    writes and one reads: who only looks does not wait for handlers. In memory there is one
    connection, and who looks waits for its turn.
    """

    def __init__(self, place: Place | None, timeout_s: float, hold: FileHold | None = None) -> None:
        """Use `SqliteCheckpoints.open`."""
        self._place = place
        self._path = IN_MEMORY if place is None else place.path
        self._timeout_s = timeout_s
        what = IN_MEMORY if place is None else f"the read models in {place.path}"
        self._owner = Owner(what)
        self._turns = Turns(what, timeout_s)
        self._hold = hold
        self._writing = Threads(1, name="everlog-views-writer", alarm=hold)
        self._reading = Threads(1, name="everlog-views-reader")
        self._reader: sqlite3.Connection | None = None
        self._opened: ViewsWriter | None = None
        self._guard: FileGuard | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        path: str | None,
        *,
        timeout_s: float = 30.0,
        guard_checkpoints: bool | None = None,
    ) -> SqliteCheckpoints:
        """Opens a file of read models, creating it if need be; None: a private one in memory.

        - `path`: beside a ledger it is `views_path(ledger.path)`; may hold tables of the user's
        - `timeout_s`: how long to wait for another transaction, of this process or another
        - `guard_checkpoints`: make SQLite's checkpoints of the WAL under a lock of our own; by
          default where this SQLite needs it

        Raises `CannotOpen`, `ForeignFile`, `NewerFormat` or `LedgerBusy`.
        """
        if guard_checkpoints is None:
            guard_checkpoints = checkpoints_race(sqlite3.sqlite_version_info)
        place = None
        if path is not None:
            # The real path: two names of one file must share one lock.
            real = os.path.realpath(path)  # noqa: ASYNC240 - looks at names only
            place = Place(real, "full", timeout_s, guard_checkpoints)
        return await cls(place, timeout_s)._begin()

    @classmethod
    async def open_in_ledger(
        cls, place: Place, *, limit_s: float | None = None
    ) -> SqliteCheckpoints:
        """Opens the read models in a ledger's own file, which is there already.

        - `place`: the ledger's: what it promises of its appends holds for checkpoints, too
        - `limit_s`: for how long a transaction of handlers may hold the file; 50 ms by default

        Raises `CannotOpen`, `ForeignFile`, `NewerFormat` or `LedgerBusy`.
        """
        hold = FileHold(file_hold.LIMIT_S if limit_s is None else limit_s, place.path)
        return await cls(place, place.timeout_s, hold)._begin()

    async def _begin(self) -> Self:
        set_up = self._set_up_in_memory if self._place is None else self._set_up
        try:
            await self._writing.run(set_up)
        except BaseException:
            await self.close()
            raise
        return self

    @property
    def path(self) -> str | None:
        """The file, as an absolute path; None in memory."""
        return None if self._place is None else self._place.path

    async def register(
        self, name: str, *, slices: int, position: int, token: str | None, version: int = 1
    ) -> int:
        return await self._write(
            lambda connection: bookkeeping.register(
                connection, name, slices, position, token, version
            )
        )

    async def claim(
        self, name: str, worker: str, *, ttl_s: float, most: int, version: int = 1
    ) -> Sequence[Held]:
        taken: list[Held] = []

        def claim(connection: sqlite3.Connection) -> list[Held]:
            taken.extend(bookkeeping.claim(connection, name, worker, ttl_s, most, version))
            return taken

        try:
            return await self._write(claim)
        except asyncio.CancelledError:
            # Nobody was told of what it took, so nobody could let go of it.
            self._behind(lambda connection: bookkeeping.unclaim(connection, name, taken))
            raise

    async def seize(self, name: str, worker: str, *, ttl_s: float) -> Sequence[Held]:
        return await self._write(partial(bookkeeping.seize, name=name, worker=worker, ttl_s=ttl_s))

    async def renew(
        self, name: str, worker: str, fences: Mapping[int, int], *, ttl_s: float
    ) -> frozenset[int]:
        return await self._write(
            partial(bookkeeping.renew, name=name, worker=worker, fences=dict(fences), ttl_s=ttl_s)
        )

    async def release(self, name: str, fences: Mapping[int, int], *, error: str = "") -> None:
        await self._write(partial(bookkeeping.release, name=name, fences=dict(fences), error=error))

    async def workers(self, name: str) -> Sequence[Working]:
        return await self._look(partial(bookkeeping.workers, name=name))

    def transaction(self) -> AbstractAsyncContextManager[Checkpointing]:
        return ViewTransaction(self._owner, self._turns, self._writing, self._writer, self._hold)

    async def attempt(self, name: str, slice: int, fence: int, position: int) -> int:
        return await self._write(
            partial(bookkeeping.attempt, name=name, slice=slice, fence=fence, position=position)
        )

    async def due(self, name: str, slices: Sequence[int]) -> Sequence[Due]:
        return await self._look(partial(bookkeeping.due, name=name, slices=tuple(slices)))

    async def parked(
        self,
        name: str | None = None,
        *,
        stream: str | None = None,
        limit: int = 1000,
        held_up: bool = False,
    ) -> Sequence[Parked]:
        return await self._look(
            partial(bookkeeping.parked, name=name, stream=stream, limit=limit, held_up=held_up)
        )

    async def retry(self, name: str, *, stream: str | None, position: int | None) -> int:
        return await self._write(
            partial(bookkeeping.retry, name=name, stream=stream, position=position)
        )

    async def drop(self, name: str, *, stream: str | None, position: int | None) -> int:
        return await self._write(
            partial(bookkeeping.drop, name=name, stream=stream, position=position)
        )

    async def needed(self, positions: Sequence[int]) -> Sequence[int]:
        return await self._look(partial(bookkeeping.needed, positions=positions))

    async def statuses(self) -> Sequence[SliceStatus]:
        return await self._look(bookkeeping.statuses)

    async def remove(self, name: str) -> bool:
        return await self._write(partial(bookkeeping.remove, name=name))

    async def register_handlers(
        self, name: str, handlers: Collection[str], *, position: int
    ) -> Mapping[str, int]:
        return await self._write(
            partial(owing.register_handlers, name=name, handlers=tuple(handlers), position=position)
        )

    async def handlers(self, name: str) -> Mapping[str, int]:
        return await self._look(partial(owing.handlers, name=name))

    async def lanes(
        self,
        name: str,
        slices: Collection[int],
        *,
        within_s: float,
        behind: tuple[str, str] = ("", ""),
        limit: int = 500,
    ) -> Sequence[Lane]:
        return await self._look(
            partial(
                owing.lanes,
                name=name,
                slices=tuple(slices),
                within_s=within_s,
                behind=behind,
                limit=limit,
            )
        )

    async def lane(
        self, name: str, handler: str, stream: str, *, limit: int = 100
    ) -> Sequence[Effect]:
        return await self._look(
            partial(owing.lane, name=name, handler=handler, stream=stream, limit=limit)
        )

    async def change_effect(
        self, name: str, change: Change, *, slice: int | None = None, fence: int = 0
    ) -> bool:
        return await self._write(
            partial(owing.change, name=name, change=change, slice=slice, fence=fence)
        )

    async def mark_ambiguous(
        self, name: str, fences: Mapping[int, int], *, but: Collection[tuple[str, int]] = ()
    ) -> int:
        return await self._write(
            partial(owing.mark_ambiguous, name=name, fences=dict(fences), but=tuple(but))
        )

    async def effects(
        self,
        name: str | None = None,
        *,
        status: EffectStatus | None = None,
        stream: str | None = None,
        position: int | None = None,
        limit: int = 1000,
    ) -> Sequence[Effect]:
        return await self._look(
            partial(
                owing.effects,
                name=name,
                status=status,
                stream=stream,
                position=position,
                limit=limit,
            )
        )

    async def effect_counts(self) -> Sequence[EffectCounts]:
        return await self._look(owing.counts)

    async def close(self) -> None:
        if self._owner.closed or self._owner.forked:
            return
        try:
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            await self._shut()

    async def _shut(self) -> None:
        if self._owner.closed:  # by another who closes it
            return
        self._owner.closed = True
        # Behind whatever is still being written; shielded, so that a cancelled close still closes.
        closing = self._writing.run(self._close)
        self._writing.stop()
        await asyncio.shield(closing)

    @property
    def _writer(self) -> ViewsWriter:
        assert self._opened is not None
        return self._opened

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what the work returns, done in a transaction of its own, in its turn."""
        self._owner.check()
        await self._turns.take()
        try:
            self._owner.check()
            # Who is called off leaves: the work is done to its end or not at all, and who comes
            # next is behind it on the thread.
            return await self._writing.run(self._writer.once, work)
        finally:
            self._turns.give_back()

    def _behind(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Has work done some time, in its turn, for which nobody waits."""

        async def write() -> None:
            with suppress(StorageError, StoreClosed):  # leases run out by themselves
                await self._write(work)

        task = asyncio.create_task(write())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what a look at what is committed returns."""
        self._owner.check()
        if self._place is not None:
            return await self._reading.run(self._look_at_file, look)
        if self._turns.is_mine:  # from inside of the transaction: it is all that there is to see
            return await self._writing.run(self._writer.look, look)
        await self._turns.take()
        try:
            self._owner.check()
            return await self._writing.run(self._writer.look, look)
        finally:
            self._turns.give_back()

    def _look_at_file(self, look: Callable[[sqlite3.Connection], T]) -> T:
        assert self._place is not None
        assert self._guard is not None
        try:
            self._guard.check()
            if self._reader is None:
                self._reader = connect_reader(self._place)
            return look(self._reader)
        except sqlite3.Error as error:
            raise as_storage_error(error, self._path) from error

    def _set_up(self) -> None:
        place = self._place
        assert place is not None
        check_directory(place.path)
        lock: FileLock | None = None
        try:
            if self._hold is None:
                open_or_create_views(place)
            if place.checkpoints_race:
                lock = lock_beside(place.path)
            if self._hold is not None:
                open_views_in_ledger(place, lock)
            self._guard = FileGuard(place.path)
            connection = connect_writer(place)
            if self._hold is not None:
                forbid_writing_the_log(connection)
            self._opened = ViewsWriter(
                connection,
                place.path,
                timeout_s=place.timeout_s,
                guard=self._guard,
                lock=lock,
                hold=self._hold,
            )
        except BaseException as error:
            if lock is not None:
                lock.close()
            if isinstance(error, sqlite3.Error):
                raise as_opening_error(error, place.path) from error
            raise

    def _set_up_in_memory(self) -> None:
        connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
        )
        add_tables(connection)
        self._opened = ViewsWriter(
            connection, self._path, timeout_s=self._timeout_s, guard=None, lock=None
        )

    def _close(self) -> None:
        self._reading.stop(wait=True)
        if self._reader is not None:
            self._reader.close()
        if self._opened is not None:
            self._opened.close()
