"""The read model: tables in a SQLite file of their own, which a projector keeps up to date.

It is a cache of the log and can be made anew from it at any time, so it asks for no durability.
"""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Any, Self

from everlog import Appended, Projector, Record
from examples.git_history.events import (
    CommitMade,
    FileAdded,
    FileChanged,
    FileRemoved,
    FileRenamedAway,
    FileRenamedFrom,
)
from examples.git_history.state import Row

TABLES = """
CREATE TABLE files (
    stream TEXT PRIMARY KEY, path TEXT NOT NULL, present INTEGER NOT NULL, mode TEXT NOT NULL,
    blob TEXT NOT NULL, lines INTEGER, changes INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE file_authors (
    stream TEXT NOT NULL, author TEXT NOT NULL, changes INTEGER NOT NULL,
    PRIMARY KEY (stream, author)) STRICT, WITHOUT ROWID;
CREATE TABLE authors (
    author TEXT PRIMARY KEY, name TEXT NOT NULL, commits INTEGER NOT NULL,
    added INTEGER NOT NULL, removed INTEGER NOT NULL, first_day TEXT NOT NULL,
    last_day TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
COUNT_FILE = (
    "INSERT INTO files VALUES (?, ?, 0, '', '', 0, 1) "
    "ON CONFLICT (stream) DO UPDATE SET changes = changes + 1"
)
COUNT_FILE_AUTHOR = (
    "INSERT INTO file_authors VALUES (?, ?, 1) "
    "ON CONFLICT (stream, author) DO UPDATE SET changes = changes + 1"
)
SET_CONTENT = "UPDATE files SET present = ?, mode = ?, blob = ?, lines = ? WHERE stream = ?"
COUNT_COMMIT = (
    "INSERT INTO authors VALUES (?, ?, 1, ?, ?, ?, ?) ON CONFLICT (author) DO UPDATE SET "
    "name = excluded.name, commits = commits + 1, added = added + excluded.added, "
    "removed = removed + excluded.removed, first_day = min(first_day, excluded.first_day), "
    "last_day = max(last_day, excluded.last_day)"
)


class ReadModel:
    """The tables, and the projector that fills them.

    What a file *is* comes from `on`: an event that is outdated when it arrives does not undo a
    newer one. What is *counted* comes from `all`: a late event counts as much as any.
    """

    def __init__(self, path: str) -> None:
        """Makes the tables anew in a file that must not be there yet; `:memory:` keeps none."""
        # Handlers are `async def` and run on the loop's thread; a statement takes microseconds,
        # since nothing is forced to the disk.
        self._tables = sqlite3.connect(path, isolation_level=None)
        self._tables.execute("PRAGMA journal_mode = OFF")
        self._tables.execute("PRAGMA synchronous = OFF")
        self._tables.executescript(TABLES)
        self.projector = Projector()
        self.effects = 0
        """How often the handler of `once` ran: never in a replay, and not for what came late."""
        self._declare(self.projector)

    def _declare(self, projector: Projector) -> None:
        files = (FileAdded, FileChanged, FileRenamedFrom, FileRenamedAway, FileRemoved)

        @projector.all(*files)
        async def count_file(record: Record[Any]) -> None:
            self._tables.execute(COUNT_FILE, (record.stream, record.data.path))
            self._tables.execute(COUNT_FILE_AUTHOR, (record.stream, record.data.author))

        @projector.on(FileAdded, FileChanged, FileRenamedFrom)
        async def set_content(record: Record[Any]) -> None:
            now = record.data
            self._tables.execute(SET_CONTENT, (1, now.mode, now.blob, now.lines, record.stream))

        @projector.on(FileRemoved, FileRenamedAway)
        async def clear_content(record: Record[Any]) -> None:
            self._tables.execute(SET_CONTENT, (0, "", "", 0, record.stream))

        @projector.all(CommitMade)
        async def count_commit(record: Record[CommitMade]) -> None:
            made = record.data
            day = made.at.date().isoformat()
            row = (made.author, made.name, made.added, made.removed, day, day)
            self._tables.execute(COUNT_COMMIT, row)

        @projector.once(CommitMade)
        async def announce(record: Record[CommitMade]) -> None:
            self.effects += 1

        # Used by the projector; named here so that a type checker sees it.
        _ = (count_file, set_content, clear_content, count_commit, announce)

    async def hook(self, appended: Appended) -> None:
        """Takes in what was appended, in one transaction."""
        self._tables.execute("BEGIN")
        try:
            await self.projector.handle(appended)
        finally:
            self._tables.execute("COMMIT")

    def rows(self) -> list[Row]:
        """Returns all rows, as `state.rows_of` has them."""
        select = self._tables.execute
        rows: list[Row] = [("file", *row) for row in select("SELECT * FROM files")]
        rows += (("by", *row) for row in select("SELECT * FROM file_authors"))
        rows += (("author", *row) for row in select("SELECT * FROM authors"))
        return rows

    def close(self) -> None:
        """Closes the file."""
        self._tables.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
