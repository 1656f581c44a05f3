"""`SqliteLedger`: the ledger port over one file, off the event loop."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Concatenate, NoReturn, ParamSpec, TypeVar

from everlog.adapters.sqlite import examining, reading, schema
from everlog.adapters.sqlite.connections import (
    Durability,
    Place,
    bring_up_to_date,
    check_directory,
    checkpoints_race,
    connect_reader,
    open_or_create,
)
from everlog.adapters.sqlite.failures import (
    STUMBLES,
    as_opening_error,
    as_storage_error,
    damage_named,
    damaged,
)
from everlog.adapters.sqlite.file_guard import FileGuard
from everlog.adapters.sqlite.file_lock import FileLock, lock_beside
from everlog.adapters.sqlite.threads import Threads
from everlog.adapters.sqlite.upstreams import SqliteUpstreams
from everlog.adapters.sqlite.writing import Writer
from everlog.core.epoch import BeginEpoch
from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Head, Identity
from everlog.core.snapshot import Snapshot, SnapshotKey
from everlog.errors import CannotOpen, EverlogError, MisusedStore, NotSupported, StoreClosed
from everlog.ports.examining import Finding
from everlog.ports.ledger import Capabilities, FoldStart, Joined, Outcome, Problem, Request
from everlog.ports.listing import StreamInfo
from everlog.ports.owner import Owner
from everlog.ports.seams import Seams
from everlog.ports.waiting import Waiting

P = ParamSpec("P")
T = TypeVar("T")

READERS = 2
"""Threads that read, each with a connection of its own."""

POLL_S = 0.002
"""How often those who wait look for what other processes have written."""

POLL_LIVELY_S = 0.001
"""The same while something comes: an event loop's timers are no finer."""

LIVELY_S = 0.1
"""For so long after the log has grown."""


class SqliteLedger:
    """A ledger in one SQLite file, shared by any number of processes.

    One thread writes and two read, each with its own connection, so the event loop never waits for
    the disk and readers never wait for writers.
    """

    def __init__(self, place: Place, seams: Seams) -> None:
        """Use `SqliteLedger.open`."""
        self.views: str | None = None
        """Where its read models are, if somebody has said so: a path, or "same"."""
        self._place = place
        self._seams = seams
        self._owner = Owner(f"the store on {place.path}")
        self._writing = Threads(1, name="everlog-writer")
        self._reading = Threads(READERS, name="everlog-reader")
        self._local = threading.local()
        self._waiting = Waiting(self._position, poll_s=self._poll_s)
        self._seen, self._grown_at = 0, -LIVELY_S
        self._readers: list[sqlite3.Connection] = []
        self._writer: Writer | None = None
        self._identity: Identity | None = None
        self._guard: FileGuard | None = None

    @classmethod
    async def open(
        cls,
        path: str,
        *,
        durability: Durability = "full",
        timeout_s: float = 30.0,
        seams: Seams | None = None,
        guard_checkpoints: bool | None = None,
        views: str | None = None,
        create: bool = True,
    ) -> SqliteLedger:
        """Opens the ledger in a file, creating both if need be.

        - `durability`: `"full"` or, by name only, `"relaxed"`
        - `timeout_s`: how long to wait for another process's write
        - `guard_checkpoints`: make checkpoints under a lock of our own; by default where this
          SQLite needs it
        - `views`: where read models are to be, kept for whoever opens them: a path, or "same"
        - `create`: False opens what is there, and creates nothing

        Raises `CannotOpen`, `ForeignFile`, `NewerFormat` or `LedgerBusy`.
        """
        if durability not in ("full", "relaxed"):
            raise CannotOpen(f"durability={durability!r} is not known; use 'full' or 'relaxed'")
        if guard_checkpoints is None:
            guard_checkpoints = checkpoints_race(sqlite3.sqlite_version_info)
        # The real path: two names of one file must share one lock.
        real = os.path.realpath(path)  # noqa: ASYNC240 - looks at names only
        if not create and not _holds_anything(real):
            raise CannotOpen(f"there is no ledger at {real}; name the file of one that is there")
        place = Place(real, durability, timeout_s, guard_checkpoints)
        ledger = cls(place, seams or Seams())
        ledger.views = views
        try:
            await ledger._in_thread(ledger._writing, ledger._set_up)
        except BaseException:
            await ledger.close()
            raise
        return ledger

    @property
    def identity(self) -> Identity:
        assert self._identity is not None
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(durable=True, shared=True, backup=True, transactions=False)

    @property
    def upstreams(self) -> SqliteUpstreams:
        return SqliteUpstreams(self._look, self._look_as_writer)

    @property
    def place(self) -> Place:
        """The file, and how it is treated."""
        return self._place

    @property
    def path(self) -> str:
        """The file, as an absolute path."""
        return self._place.path

    def commit(self, requests: Sequence[Request]) -> Awaitable[Sequence[Outcome]]:
        try:
            self._owner.check()
        except MisusedStore as error:
            return _refuse(error)  # when it is awaited, as everywhere
        assert self._writer is not None
        committing = self._writing.run(self._writer.commit, requests)
        if any(isinstance(request, BeginEpoch) for request in requests):
            committing.add_done_callback(self._take_epoch)
        if self._waiting.anybody:
            committing.add_done_callback(lambda _: self._waiting.hint())
        return committing

    def _take_epoch(self, committed: asyncio.Future[list[Outcome]]) -> None:
        if not committed.cancelled() and committed.exception() is None:
            epochs = [each for each in committed.result() if isinstance(each, str)]
            self._identity = replace(self.identity, epoch=epochs[-1])

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        return await self._look(reading.read_page, selection, cursor, size)

    async def fold_from(
        self, selection: Selection, key: SnapshotKey | None, *, size: int = 500
    ) -> FoldStart:
        return await self._look(reading.fold_start, selection, key, size)

    async def find(self, ids: Sequence[str]) -> Sequence[StoredRecord | None]:
        return await self._look(reading.find, ids)

    async def overtaken(self, stream: str, register: str, place: tuple[str, str]) -> bool:
        return await self._look(reading.overtaken, stream, register, place)

    async def streams_of(self, relations: Sequence[str]) -> Sequence[str]:
        return await self._look(reading.names, schema.SELECT_STREAMS_OF, relations)

    async def relations_of(self, streams: Sequence[str]) -> Sequence[str]:
        return await self._look(reading.names, schema.SELECT_RELATIONS_OF, streams)

    async def streams(self, *, prefix: str, after: str, limit: int) -> Sequence[StreamInfo]:
        return await self._look(reading.streams, prefix, after, limit)

    async def examine(self, *, now_ms: Callable[[], int]) -> Sequence[Finding]:
        return await self._look(examining.examine, self._place)

    async def find_snapshot(self, key: SnapshotKey) -> Snapshot | None:
        return await self._look(reading.find_snapshot, key)

    async def head(self) -> Head:
        return await self._look(reading.head)

    async def wait(self, position: int, *, timeout_s: float) -> int:
        self._owner.check()
        return await self._waiting.wait(position, timeout_s)

    def join(self, connection: object) -> Joined:
        self._owner.check()
        raise NotSupported(
            "a SQLite store has one writer of its own, so events cannot join a transaction of "
            "another connection; a PostgreSQL store can"
        )

    async def check(self) -> Sequence[Problem]:
        return await self._look(reading.check)

    async def backup(self, path: str) -> None:
        await self._look(_copy_to, path)

    async def writer_pragma(self, name: str) -> object:
        """Returns a setting of the connection that writes, such as `synchronous`."""
        self._owner.check()
        assert self._writer is not None
        return await self._in_thread(self._writing, self._writer.pragma, name)

    async def close(self) -> None:
        if self._owner.closed or self._owner.forked:
            return
        self._owner.closed = True
        await self._waiting.close(StoreClosed(f"the store on {self.path} was closed meanwhile"))
        # Behind whatever is still being written; shielded, so that a cancelled close still closes.
        closing = self._writing.run(self._close)
        self._writing.stop()  # takes no more, and its thread ends after the last
        await asyncio.shield(closing)

    async def _position(self) -> int:
        position = await self._look(reading.position)
        if position != self._seen:
            self._seen, self._grown_at = position, time.monotonic()
        return position

    def _poll_s(self) -> float:
        # What comes is followed by more: who is idle, which is most of the time, looks less often.
        return POLL_LIVELY_S if time.monotonic() - self._grown_at < LIVELY_S else POLL_S

    def _set_up(self) -> None:
        place = self._place
        check_directory(place.path)
        lock: FileLock | None = None
        # For a new ledger the lock comes first: where it cannot be, no ledger is left behind.
        # Beside a file that is there, only once it is known to be a ledger.
        if place.checkpoints_race and not os.path.exists(place.path):
            lock = lock_beside(place.path)
        try:
            with damage_named(place.path):
                self._identity = open_or_create(place, self._seams)
            if place.checkpoints_race and lock is None:
                lock = lock_beside(place.path)
            with (
                damage_named(place.path),
                nullcontext() if lock is None else lock.held(place.timeout_s),
            ):
                bring_up_to_date(place)
            self._guard = FileGuard(place.path)
            seams = self._seams
            self._writer = Writer(
                place, self._identity, seams.now_ms, self._guard, lock, seams.random_bytes
            )
        except BaseException as error:
            if lock is not None:
                lock.close()
            if isinstance(error, sqlite3.Error):
                raise as_opening_error(error, place.path) from error
            raise

    def _close(self) -> None:
        self._reading.stop(wait=True)
        for connection in self._readers:
            connection.close()
        self._readers.clear()
        if self._writer is not None:
            self._writer.close()

    async def _look(
        self, look: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kw: P.kwargs
    ) -> T:
        self._owner.check()

        def run() -> T:
            connection = self._reader()
            assert self._guard is not None
            self._guard.check()
            try:
                return look(connection, *args, **kw)
            except EverlogError:
                raise
            except STUMBLES as error:
                raise damaged(self._place.path, error) from error

        return await self._in_thread(self._reading, run)

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect_reader(self._place)
            self._readers.append(connection)
        return connection

    async def _look_as_writer(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """The same on the thread that writes, behind what is being written."""
        self._owner.check()
        assert self._writer is not None
        return await self._in_thread(self._writing, self._writer.look, look)

    async def _in_thread(
        self, threads: Threads, function: Callable[P, T], *args: P.args, **kw: P.kwargs
    ) -> T:
        try:
            return await threads.run(function, *args, **kw)
        except sqlite3.Error as error:
            raise as_storage_error(error, self._place.path) from error


def _holds_anything(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


async def _refuse(error: MisusedStore) -> NoReturn:
    raise error


def _copy_to(connection: sqlite3.Connection, path: str) -> None:
    # VACUUM INTO and not a copy of the file: opening and closing the file here would drop the locks
    # of every connection in this process, and the WAL would be missed.
    path = os.path.abspath(path)
    if os.path.exists(path):
        raise CannotOpen(f"{path} exists; name a file that does not, a backup replaces nothing")
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise CannotOpen(f"there is no directory {directory!r} for the backup; create it first")
    partial = f"{path}.{os.urandom(4).hex()}.partial"  # two backups at once are two files
    try:
        _remove(partial)
        connection.execute("PRAGMA query_only = OFF")  # it counts the new file as written to
        try:
            connection.execute("VACUUM INTO ?", (partial,))
        finally:
            connection.execute("PRAGMA query_only = ON")
        os.chmod(partial, 0o600)
        _sync(partial)
        os.link(partial, path)  # unlike rename, refuses to replace what has come meanwhile
        try:
            _sync(directory)
        except BaseException:
            _remove(path)
            raise
    except FileExistsError as error:
        raise CannotOpen(f"{path} exists now; name a file that does not") from error
    except OSError as error:
        raise CannotOpen(f"the backup {path} cannot be written ({error.strerror})") from error
    except sqlite3.Error as error:
        name: str = getattr(error, "sqlite_errorname", "") or ""
        if name == "SQLITE_CANTOPEN":
            raise CannotOpen(f"the backup {path} cannot be written ({error})") from error
        if name == "SQLITE_FULL":  # nothing else is written to
            raise as_storage_error(error, path) from error
        raise
    finally:
        for left in (partial, partial + "-journal"):
            with suppress(OSError):  # what matters has been raised already
                _remove(left)


def _sync(path: str) -> None:
    flags = os.O_RDONLY
    if sys.platform == "win32":
        if os.path.isdir(path):  # none can be opened there, and NTFS keeps its names by itself
            return
        flags = os.O_RDWR  # it syncs no file that was opened to be read
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
