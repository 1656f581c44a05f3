"""One ledger in PostgreSQL, the relay in front of it, and what the server itself says of both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, LiteralString, Self
from urllib.parse import urlencode

import psycopg
from psycopg.sql import SQL, Identifier

from everlog import EventStore
from everlog.errors import Unreachable
from tests.proxies.relay import Relay
from tests.store.watched import Noted, Notes, Said

EVENTS = [Noted, Said]

PATIENCE_S = 30.0

__all__ = ["EVENTS", "Noted", "Notes", "Said", "Site", "eventually"]


class Site:
    """A schema, a store over it that goes through the relay, and a connection that does not."""

    def __init__(self, relay: Relay, database: str, schema: str) -> None:
        self.relay = relay
        self.schema = schema
        self.database = database
        self.direct: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
            database, autocommit=True
        )

    def reconnect(self) -> None:
        """Connects again: the server was started anew."""
        self.direct.close()
        self.direct = psycopg.connect(self.database, autocommit=True)

    def url(self, **options: object) -> str:
        """The URL of the ledger, through the relay."""
        return _with(self.relay.url, schema=self.schema, **options)

    def straight_url(self, **options: object) -> str:
        """The URL of the ledger, past the relay."""
        return _with(self.database, schema=self.schema, **options)

    def rows(self) -> list[tuple[int, str]]:
        """Returns position and id of what is stored, as the server tells it."""
        statement = SQL("SELECT position, id FROM {}.records ORDER BY position")
        return self.direct.execute(statement.format(Identifier(self.schema))).fetchall()

    def ids(self) -> list[str]:
        """Returns the ids of what is stored, in order; asserts that there is no hole."""
        rows = self.rows()
        assert [position for position, _ in rows] == list(range(1, len(rows) + 1))
        return [id for _, id in rows]

    def values(self, statement: LiteralString) -> list[Any]:
        """Returns the only value of each row."""
        return [value for [value] in self.direct.execute(statement).fetchall()]

    def backends(self) -> list[tuple[int, str, bool]]:
        """Returns pid, state, and whether in a transaction, of each of everlog's connections."""
        return self.direct.execute(
            "SELECT pid, state, xact_start IS NOT NULL FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'everlog' ORDER BY pid"
        ).fetchall()

    def waiting_for_a_lock(self) -> int:
        """Returns how many transactions wait for an advisory lock in this database."""
        [[count]] = self.direct.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database"
            " WHERE d.datname = current_database() AND locktype = 'advisory' AND NOT granted"
        ).fetchall()
        assert isinstance(count, int)
        return count

    def terminate(self) -> int:
        """Ends every connection of everlog, as an administrator does; returns how many are gone."""
        pids = [pid for pid, *_ in self.backends()]
        for pid in pids:
            self.direct.execute("SELECT pg_terminate_backend(%s)", (pid,))
        deadline = time.monotonic() + PATIENCE_S
        while {pid for pid, *_ in self.backends()} & {*pids}:
            assert time.monotonic() < deadline, "a backend does not end"
        return len(pids)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.direct.close()


async def eventually(true: Callable[[], bool], what: str) -> None:
    """Returns when it is so: looks again and again, within bounds."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"it never came to be that {what}"
        await asyncio.sleep(0.005)


async def sound(store: EventStore) -> None:
    """Asserts that hashes, chain, indexes and marks agree."""
    verification = await store.verify()
    assert verification.ok, verification.problems


def _with(url: str, **options: object) -> str:
    return f"{url}?{urlencode({name: str(value) for name, value in options.items()})}"


async def looked_up(store: EventStore) -> None:
    """Has a store look up what its first append does: those that follow only write.

    By the first connection that reads, which may take longer than a store here has patience.
    """
    for _ in range(100):
        with suppress(Unreachable):
            await vars(store)["_forwarding"].load()
            return
    raise AssertionError("it cannot be reached")
