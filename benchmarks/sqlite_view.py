"""A read model as a user writes it: a SQLite file with balances, and the checkpoint in it.

The checkpoint commits with what it stands for, so every record counts exactly once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

BALANCES = """
CREATE TABLE balances (
    owner TEXT PRIMARY KEY, total INTEGER NOT NULL, count INTEGER NOT NULL) STRICT, WITHOUT ROWID
"""
SCHEMA = f"""{BALANCES};
CREATE TABLE checkpoint (only INTEGER PRIMARY KEY CHECK (only = 1), position INTEGER NOT NULL);
INSERT INTO checkpoint VALUES (1, 0);
"""
UPSERT = (
    "INSERT INTO balances VALUES (?, ?, 1) ON CONFLICT (owner) "
    "DO UPDATE SET total = total + excluded.total, count = count + 1"
)

BATCH = 500
"""Records in one transaction."""


class View:
    """The open file. Blocks."""

    def __init__(self, path: str) -> None:
        self._db = db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            db.executescript(SCHEMA)

    def checkpoint(self) -> int:
        """Returns the position up to which everything is in."""
        [position] = self._db.execute("SELECT position FROM checkpoint").fetchone()
        return int(position)

    def take(self, records: Iterable[tuple[int, str, int]]) -> int:
        """Handles `(position, owner, number)` one by one, in one transaction; returns the last."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            [position] = db.execute("SELECT position FROM checkpoint").fetchone()
            for at, owner, number in records:
                if at > position:
                    db.execute(UPSERT, (owner, number))
                    position = at
            db.execute("UPDATE checkpoint SET position = ?", (position,))
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        return int(position)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


def create(path: str) -> None:
    """Makes the table of balances anew, in a file that keeps other tables, too."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("DROP TABLE IF EXISTS balances")
        db.execute(BALANCES)
    finally:
        db.close()


def contents(path: str) -> tuple[int, int]:
    """Returns how many records a read model holds and what they add up to."""
    db = sqlite3.connect(path)
    try:
        return db.execute("SELECT sum(count), sum(total) FROM balances").fetchone()  # type: ignore[no-any-return]  # a row of two integers
    finally:
        db.close()
