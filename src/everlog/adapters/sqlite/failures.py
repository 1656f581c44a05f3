"""What SQLite's errors mean."""

from __future__ import annotations

import sqlite3

from everlog.errors import (
    CorruptLedger,
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
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "decode" in str(error):
        return CorruptLedger(
            f"{path} is damaged ({error}); keep a copy, run verify, restore a backup"
        )
    if name.startswith("SQLITE_READONLY"):
        return StorageFailed(f"{path} cannot be written ({error}); check its permissions")
    return StorageFailed(f"{path}: the database failed ({name or 'error'}: {error})")
