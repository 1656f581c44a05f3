"""A shop: a table of orders of its own, in the database in which a ledger has its schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from itertools import count
from typing import Any, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus

from everlog import EventStore
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.store.opening import Opening
from tests.store.watched import Noted, Said

EVENTS = [Noted, Said]

Theirs: TypeAlias = psycopg.AsyncConnection[Any] | psycopg.Connection[Any]
Connect: TypeAlias = "Callable[[str], AbstractAsyncContextManager[Theirs]]"

_numbers = count(1)


class Shop:
    """The table and a ledger, and what the server says of them past everybody's connections."""

    def __init__(self, dsn: str) -> None:
        """`dsn`: of a database in which one shop after the other is."""
        self.dsn = dsn
        self.schema = f"ledger_{next(_numbers)}"
        self.direct: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(dsn, autocommit=True)
        self.direct.execute("DROP TABLE IF EXISTS orders, customers")
        self.direct.execute("CREATE TABLE orders (number int PRIMARY KEY, note text)")

    def store(self, schema: str | None = None, **options: Any) -> Opening[EventStore]:
        """Opens the ledger in a schema."""
        schema = schema or self.schema
        return EventStore.open(self.dsn, events=EVENTS, schema=schema, **options)

    @property
    def orders(self) -> list[int]:
        """The numbers of the orders that are stored."""
        rows = self.direct.execute("SELECT number FROM orders ORDER BY number").fetchall()
        return [number for [number] in rows]

    def ids(self, schema: str | None = None) -> list[str]:
        """The ids of the events that are stored, in order; asserts that there is no hole."""
        query = f"SELECT position, id FROM {schema or self.schema}.records ORDER BY position"
        rows = self.direct.execute(query.encode()).fetchall()
        assert [position for position, _ in rows] == list(range(1, len(rows) + 1))
        return [id for _, id in rows]

    def locks(self, *, granted: bool = True) -> int:
        """How many advisory locks are held in this database, or waited for."""
        [[found]] = self.direct.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database WHERE "
            "d.datname = current_database() AND locktype = 'advisory' AND granted = %s",
            (granted,),
        ).fetchall()
        assert isinstance(found, int)
        return found

    def waiting(self) -> int:
        """How many transactions of this database wait for a lock of any kind."""
        [[found]] = self.direct.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock'"
        ).fetchall()
        assert isinstance(found, int)
        return found

    @contextmanager
    def locked(self, store: EventStore) -> Generator[None]:
        """Holds the ledger's lock, as another process does while it commits."""
        assert isinstance(store.ledger, PostgresLedger)
        with psycopg.connect(self.dsn) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(%s)", (store.ledger.place.lock_key,))
            yield

    def close(self) -> None:
        self.direct.close()


async def eventually(true: Callable[[], bool]) -> None:
    """Returns when it is so: looks again and again. The test's own time is the bound."""
    while not true():  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.005)


async def order(connection: Theirs, number: int) -> None:
    """Stores an order over a connection."""
    await execute(connection, f"INSERT INTO orders VALUES ({number})")


async def execute(connection: Theirs, statement: str) -> Any:
    """Runs a statement over a connection of either kind; returns the cursor."""
    cursor = connection.execute(statement.encode())
    return await cursor if isinstance(cursor, Awaitable) else cursor


def at_rest(connection: Theirs) -> bool:
    """Whether the connection is open, and not in a transaction."""
    return not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE


def _async(*, autocommit: bool, begun: bool = False) -> Connect:
    @asynccontextmanager
    async def connect(dsn: str) -> AsyncGenerator[Theirs]:
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=autocommit)
        async with connection:
            if begun:
                await connection.execute("BEGIN" if autocommit else "SELECT 1")
            yield connection

    return connect


def _blocking(*, autocommit: bool, begun: bool = False) -> Connect:
    @asynccontextmanager
    async def connect(dsn: str) -> AsyncGenerator[Theirs]:
        with psycopg.connect(dsn, autocommit=autocommit) as connection:
            if begun:
                connection.execute("BEGIN" if autocommit else "SELECT 1")
            yield connection

    return connect


CONNECTIONS: Mapping[str, Connect] = {
    "async": _async(autocommit=False),
    "async, begun": _async(autocommit=False, begun=True),
    "async, autocommit": _async(autocommit=True),
    "async, autocommit, begun": _async(autocommit=True, begun=True),
    "blocking": _blocking(autocommit=False),
    "blocking, begun": _blocking(autocommit=False, begun=True),
    "blocking, autocommit": _blocking(autocommit=True),
    "blocking, autocommit, begun": _blocking(autocommit=True, begun=True),
}
"""How a program may come by a connection."""

BOTH = {name: CONNECTIONS[name] for name in ("async", "blocking")}
"""One of each kind."""
