"""What SQLite's errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from operator import countOf

from everlog.core.record import StoredRecord, as_record
from everlog.core.sequencer import Head
from everlog.errors import (
    CannotOpen,
    CorruptLedger,
    DamagedFile,
    EverlogError,
    LedgerBusy,
    StorageError,
    StorageFailed,
    StorageFull,
)


def as_storage_error(error: sqlite3.Error, path: str) -> StorageError:
    """Returns the typed error that says what a failed statement means and what to do."""
    name: str = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return LedgerBusy(
            f"{path} is locked by another process for too long ({error}); nothing was written: "
            "try again, or raise timeout_s"
        )
    if name == "SQLITE_FULL":
        return StorageFull(f"there is no room left for {path}; nothing was written: make room")
    if (
        name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        or "decode" in str(error)
        or (name == "SQLITE_ERROR" and "no such" in str(error))  # our statements do not change
    ):
        return damaged(path, error)
    if name.startswith("SQLITE_READONLY"):
        return StorageFailed(f"{path} cannot be written ({error}); check its permissions")
    return StorageFailed(f"{path}: the database failed ({name or 'error'}: {error})")


def as_opening_error(error: sqlite3.Error, path: str) -> CannotOpen | LedgerBusy:
    """Returns the typed error that says why a ledger cannot be opened."""
    failure = as_storage_error(error, path)
    if isinstance(failure, CorruptLedger):
        return DamagedFile(
            f"{path} is damaged ({error}) and cannot be opened; keep a copy, restore a backup"
        )
    return failure if isinstance(failure, LedgerBusy) else CannotOpen(str(failure))


def surely_rolled_back(error: sqlite3.Error) -> bool:
    """Whether a COMMIT that failed so cannot be found committed by whoever opens the file later."""
    # After anything else the WAL may hold the whole transaction, see `Writer`. A disk without
    # room refuses what would make the file grow: the end of the transaction, which makes it valid.
    name: str = getattr(error, "sqlite_errorname", "") or ""
    return name.startswith(("SQLITE_BUSY", "SQLITE_FULL"))


def damaged(path: str, error: Exception) -> CorruptLedger:
    """Returns the error that says what to do about a file that contradicts itself."""
    return CorruptLedger(f"{path} is damaged ({error}); keep a copy, run verify, restore a backup")


@contextmanager
def damage_named(path: str) -> Generator[None]:
    """Raises `CorruptLedger` where code stumbles over what a damaged file gives it to read."""
    try:
        yield
    except EverlogError:
        raise
    except STUMBLES as error:
        raise damaged(path, error) from error


# A column may hold what its type forbids, a table no row, a name no UTF-8: SQLite checks when it
# writes. Not ValueError as such: that speaks of what was handed in.
STUMBLES = (TypeError, ArithmeticError, LookupError, AssertionError, UnicodeDecodeError)
"""What is raised by code that stumbles over what a damaged file gives it to read."""


_KINDS = (
    int,
    int,
    str,
    str,
    str,
    int,
    str,
    str,
    str,
    str,
    str,
    str,
    int,
    bytes,
    str,
    str,
    bytes,
    bytes,
)
_CAUSATION = 9
"""The one column that may hold nothing."""
_KINDS_UNCAUSED = (*_KINDS[:_CAUSATION], type(None), *_KINDS[_CAUSATION + 1 :])


def as_records(rows: Sequence[tuple[object, ...]]) -> list[StoredRecord]:
    """Returns the records of rows; raises `TypeError` if a column holds another kind of value."""
    # By columns: in half the time of a look at each row, as no row needs a tuple of its kinds.
    count = len(rows)
    if count < 20:  # too few for columns to pay
        for row in rows:
            kinds = tuple(map(type, row))
            if kinds != _KINDS and kinds != _KINDS_UNCAUSED:
                raise TypeError(_misfit(row))
        return list(map(as_record, rows))
    for index, (kind, column) in enumerate(zip(_KINDS, zip(*rows, strict=True), strict=False)):
        of_kind = countOf(map(type, column), kind)
        if index == _CAUSATION:
            of_kind += countOf(column, None)
        if of_kind != count:
            raise TypeError(next(filter(None, map(_misfit, rows))))
    return list(map(as_record, rows))


def as_head(row: tuple[int, bytes, str, str, str] | None) -> Head:
    """Returns the head of a row; raises `TypeError` if there is none, or of other kinds."""
    if row is None or tuple(map(type, row)) != (int, bytes, str, str, str):
        raise TypeError("the ledger's own row is gone, or has other kinds of values")
    position, chain, clock, created, id = row
    return Head(position, chain, clock, (created, id))


def _misfit(row: tuple[object, ...]) -> str:
    names = zip(StoredRecord._fields, row, _KINDS, strict=True)
    wrong = [name for name, value, due in names if type(value) is not due]
    wrong = [name for name in wrong if name != "causation" or row[_CAUSATION] is not None]
    if not wrong:
        return ""
    return f"the record at position {row[0]!r} has no {' and no '.join(wrong)} of its kind"
