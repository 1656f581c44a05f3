"""Where a durable subscription can run, and SQL in the words of each place."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from everlog import EventStore
from everlog.store.opening import Opening
from tests.store.watched import Noted, Said


@dataclass(frozen=True)
class Place:
    """A ledger with its read models."""

    kind: str
    url: str

    def store(self, **options: Any) -> Opening[EventStore]:
        """Returns a store to be opened; another one each time, except in memory."""
        return EventStore.open(self.url, events=[Noted, Said], **options)

    def sql(self, statement: str) -> str:
        """Returns a statement with `?` for its values in the words of the place."""
        return statement.replace("?", "%s") if self.kind == "postgres" else statement

    @property
    def create(self) -> str:
        """Makes the table of what was handled, in its order."""
        count = (
            "bigint GENERATED ALWAYS AS IDENTITY"
            if self.kind == "postgres"
            else "INTEGER PRIMARY KEY AUTOINCREMENT"
        )
        return (
            f"CREATE TABLE IF NOT EXISTS handled (nr {count}, position bigint, stream text, "
            "number bigint)"
        )

    @property
    def insert(self) -> str:
        return self.sql("INSERT INTO handled (position, stream, number) VALUES (?, ?, ?)")

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement over the read models, from outside of everlog."""
        if self.kind == "postgres":
            with psycopg.connect(self.url, autocommit=True) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description is not None else []
        path = Path(self.url.removeprefix("sqlite:///").removesuffix("?views=same"))
        views = sqlite3.connect(path if self.kind == "same" else path.with_suffix(".views.db"))
        try:
            with views:
                return views.execute(statement).fetchall()
        finally:
            views.close()

    def handled(self) -> list[tuple[int, str, int]]:
        """Returns position, stream and number of what was handled, in that order."""
        return self.ask("SELECT position, stream, number FROM handled ORDER BY nr")
