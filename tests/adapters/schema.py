"""One schema with a ledger, and what is done to it behind everlog's back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import psycopg

from everlog import EventStore
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.store.opening import Opening, SnapshotPolicy
from tests.adapters.databases import PATIENCE_S
from tests.store.watched import Noted, Said

GATE = 4712
"""The advisory lock at which writers wait where `gated` has them wait."""


class Schema:
    """A schema of a database: stores over it, each as if in another process, and plain SQL."""

    def __init__(self, database: str, name: str) -> None:
        self.database = database
        self.name = name

    def store(self, **options: object) -> Opening[EventStore]:
        """Returns a store to be opened; another one each time."""
        url = f"{self.database}?{urlencode({'schema': self.name, **options})}"
        return EventStore.open(url, events=[Noted, Said])

    async def ledger(self, **options: Any) -> PostgresLedger:
        """Opens the ledger."""
        return await PostgresLedger.open(self.database, schema=self.name, **options)

    def over(self, ledger: PostgresLedger, *, snapshots: SnapshotPolicy = "manual") -> EventStore:
        """Makes a store over a ledger of it."""
        return EventStore(ledger, events=[Noted, Said], snapshots=snapshots)

    def ask(self, statements: str, *values: object) -> list[tuple[Any, ...]]:
        """Returns the rows of a statement, committed at once; `{}` stands for the schema."""
        writing = "-c default_transaction_read_only=off"  # whatever a test makes the default
        with psycopg.connect(self.database, autocommit=True, options=writing) as connection:
            text = statements.replace("{}", self.name)
            cursor = connection.execute(text.encode(), values or None)
            return cursor.fetchall() if cursor.description is not None else []

    def waiting(self) -> int:
        """Returns how many transactions in this database wait for a lock."""
        [[count]] = self.ask(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        assert isinstance(count, int)
        return count

    def connections(self) -> int:
        """Returns how many connections of everlog there are to this database."""
        [[count]] = self.ask(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'everlog'"
        )
        assert isinstance(count, int)
        return count

    def save(self) -> None:
        """Keeps what the log is now, for `lose_tail`."""
        for table in ("ledger_head", "registers"):
            self.ask(f"CREATE TABLE {{}}.saved_{table} AS TABLE {{}}.{table}")

    def lose_tail(self) -> None:
        """Makes the log what it was, as a standby has it that lagged behind when it took over."""
        self.ask("ALTER TABLE {}.records DISABLE TRIGGER USER")
        self.ask(
            "DELETE FROM {}.records WHERE position > (SELECT position FROM {}.saved_ledger_head)"
        )
        self.ask("ALTER TABLE {}.records ENABLE ALWAYS TRIGGER records_are_never_changed")
        for table in ("ledger_head", "registers"):
            self.ask(f"DELETE FROM {{}}.{table}")
            self.ask(f"INSERT INTO {{}}.{table} SELECT * FROM {{}}.saved_{table}")

    @contextmanager
    def gated(self) -> Generator[Callable[[], None]]:
        """Has whoever adds a relation wait until the gate is opened.

        An append with a relation waits there between what it has read and what it writes.
        """
        self.ask(_GATE)
        with psycopg.connect(self.database, autocommit=True) as keeper:
            keeper.execute("SELECT pg_advisory_lock(%s)", [GATE])

            def open_it() -> None:
                keeper.execute("SELECT pg_advisory_unlock_all()")

            yield open_it
            open_it()
        self.ask("DROP TRIGGER gate ON {}.relations")


_GATE = f"""
CREATE OR REPLACE FUNCTION {{}}.gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared({GATE});
    RETURN NEW;
END $$;
CREATE TRIGGER gate BEFORE INSERT ON {{}}.relations FOR EACH ROW EXECUTE FUNCTION {{}}.gate()
"""


async def eventually(true: Callable[[], bool], what: str) -> None:
    """Returns when it is so: looks again and again, within bounds."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"it never came to be that {what}"
        await asyncio.sleep(0.005)
