"""The one connection that writes to the file of read models. Runs on its thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from everlog.adapters.sqlite.connections import checkpoint
from everlog.adapters.sqlite.failures import as_storage_error, surely_rolled_back
from everlog.adapters.sqlite.file_guard import FileGuard
from everlog.adapters.sqlite.file_hold import FileHold
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.adapters.sqlite.user_statements import Run, as_raised, carry_out
from everlog.adapters.sqlite.writing import CHECKPOINT_BYTES, roll_back, size_of
from everlog.errors import MisusedStore, OutcomeUnknown

T = TypeVar("T")

_STEPS = 5000
"""Of SQLite's machine, about 0.1 ms: so often a statement that runs is looked at."""


class ViewsWriter:
    """Begins and ends transactions, one at a time."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: str,
        *,
        timeout_s: float,
        guard: FileGuard | None,
        lock: FileLock | None,
        hold: FileHold | None = None,
    ) -> None:
        """`lock`: held from the first statement to the last, where checkpoints race.

        `hold`: where the file is the log's own.
        """
        self._connection = connection
        self._path = path
        self._timeout_s = timeout_s
        self._guard = guard
        self._lock = lock
        self._hold = hold
        self._locked = False
        self._changes = 0
        # What others left in the WAL counts, or many short-lived writers would never empty it.
        self._unchecked_bytes = size_of(path + "-wal") if lock is not None else 0
        if hold is not None:
            connection.set_progress_handler(hold.is_over, _STEPS)

    def begin(self, *, for_handlers: bool = False) -> None:
        """Begins a transaction that can write; raises `StorageError`.

        `for_handlers`: it ends in time, or is rolled back, where the file is the log's own.
        """
        if self._hold is not None:
            self._hold.stay_away()
        # From here on and not around the commit alone: a big transaction is written to the WAL
        # before it is committed.
        if self._lock is not None:
            self._lock.take(self._timeout_s)
            self._locked = True
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if self._hold is not None:
                self._hold.begin(self.roll_back, limited=for_handlers)
            if self._guard is not None:
                self._guard.check()
            self._changes = self._connection.total_changes
        except BaseException as error:
            self.roll_back()
            if isinstance(error, sqlite3.Error):
                raise as_storage_error(error, self._path) from error
            raise

    def work(
        self, runs: Sequence[Run], then: Callable[[sqlite3.Connection], T], *, ours: bool
    ) -> T:
        """Carries a user's statements out, in the transaction that is open, and what comes then.

        `ours`: that is no statement of the user's; what SQLite says of it is a `StorageError`.

        Raises `HandlerHeldTransaction`.
        """
        connection = self._connection
        if self._hold is not None and (runs or not ours):
            self._hold.wrote(sum(len(run.values) for run in runs))
        self._check_hold()
        try:
            carry_out(connection, runs)
            self._check_hold()
            self._check_open()
        except sqlite3.Error as error:
            self._check_hold()  # which has interrupted it
            raise as_raised(error, self._path) from error
        if self._lock is not None:
            self._unchecked_bytes += sum(map(_size_of_run, runs))
        try:
            result = then(connection)
            self._check_hold()
            self._check_open()
            if self._hold is not None and ours:
                self._hold.stepped()
        except sqlite3.Error as error:
            self._check_hold()
            failure = (as_storage_error if ours else as_raised)(error, self._path)
            if failure is error:
                raise
            raise failure from error
        return result

    def interrupt(self) -> None:
        """Has the statement that runs fail, if one does. From any thread, in one's own turn."""
        with suppress(sqlite3.ProgrammingError):  # it was closed
            self._connection.interrupt()

    def commit(self, *, for_handlers: bool = True) -> None:
        """Ends the transaction; raises `StorageError`, `OutcomeUnknown` if it cannot be told."""
        connection = self._connection
        written = connection.total_changes - self._changes
        try:
            self._check_hold()
            if self._hold is not None:
                self._hold.to_commit()
            if self._guard is not None:
                self._guard.check()  # last, as a handler may have taken long
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.roll_back()
            if _is_constraint(error):  # of the user's own, put off until now
                raise
            if written and not surely_rolled_back(error):
                raise OutcomeUnknown((), of_checkpoint=for_handlers) from error
            raise as_storage_error(error, self._path) from error
        except BaseException:
            self.roll_back()
            raise
        if self._lock is not None:
            self._unchecked_bytes += 5 * 4096 + 1024 * written
            if self._unchecked_bytes > CHECKPOINT_BYTES:
                self._checkpoint()
        self._let_go()

    def roll_back(self) -> None:
        """Ends the transaction, if there is one, with nothing of it left."""
        if self._hold is not None:
            self._hold.stop()
        roll_back(self._connection)
        self._let_go()

    def once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what the work returns, done in a transaction of its own."""
        self.begin()
        try:
            result = work(self._connection)
        except BaseException as error:
            self.roll_back()
            if isinstance(error, sqlite3.Error):
                raise as_storage_error(error, self._path) from error
            raise
        self.commit(for_handlers=False)
        return result

    def look(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what a look returns: from inside of the transaction, if one is open."""
        try:
            return look(self._connection)
        except sqlite3.Error as error:
            raise as_storage_error(error, self._path) from error

    def close(self) -> None:
        """Ends everything; the last connection of a file moves the WAL into it."""
        self.roll_back()
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def _check_open(self) -> None:
        if not self._connection.in_transaction:
            raise MisusedStore(
                "a statement has ended the transaction in which the checkpoint was to move; "
                "nothing of it was committed"
            )

    def _check_hold(self) -> None:
        if self._hold is not None:
            self._hold.check()

    def _let_go(self) -> None:
        if self._locked:
            assert self._lock is not None
            self._locked = False
            self._lock.release()
        if self._hold is not None:
            self._hold.end()

    def _checkpoint(self) -> None:
        self._unchecked_bytes = 0
        checkpoint(self._connection)


def _is_constraint(error: sqlite3.Error) -> bool:
    name: str = getattr(error, "sqlite_errorname", "") or ""
    return name.startswith("SQLITE_CONSTRAINT")


def _size_of_run(run: Run) -> int:
    # About: what is long is text or bytes, and given by place or by name.
    size = 0
    for values in run.values:
        for value in values.values() if isinstance(values, dict) else values:
            if isinstance(value, (str, bytes)):
                size += len(value)
    return size
