"""A shop behind a relay: an order in a table of its own and two events, both or neither."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Composed, Identifier

from everlog import EventStore, Transaction
from everlog.subscriptions.projector import Appended
from tests.scenarios.postgres.site import EVENTS, Noted, Site

Theirs: TypeAlias = "psycopg.AsyncConnection[Any] | psycopg.Connection[Any]"

KINDS = ("async", "blocking")
"""How the shop is connected."""

NAME = "shop"


class Shop:
    """Buys over connections that go through the relay; the ledger's own connections do not."""

    def __init__(self, site: Site, kind: str) -> None:
        self.site = site
        self._kind = kind
        self._table = Identifier(f"{site.schema}_orders")
        self.told: list[str] = []
        """The ids that a hook was told of."""
        # Without a key: what is done twice is there twice.
        site.direct.execute(SQL("CREATE TABLE {} (name text)").format(self._table))

    def store(self, **options: object) -> AbstractAsyncContextManager[EventStore]:
        return self.store_at(self.site.straight_url(**options))

    @asynccontextmanager
    async def store_at(self, url: str) -> AsyncGenerator[EventStore]:
        async def tell(appended: Appended) -> None:
            self.told.extend(record.id for record in appended.records)

        async with EventStore.open(url, events=EVENTS) as store:
            store.on_appended(tell)
            yield store

    @asynccontextmanager
    async def connected(self, *, straight: bool = False) -> AsyncGenerator[Theirs]:
        url = self.site.database if straight else self.site.relay.url
        if self._kind == "async":
            connecting = psycopg.AsyncConnection.connect(url, application_name=NAME)
            async with await connecting as connection:
                yield connection
        else:
            with psycopg.connect(url, application_name=NAME) as connection:
                yield connection

    async def buy(self, store: EventStore, connection: Theirs, name: str) -> Transaction:
        """Stores an order and its events."""
        async with store.transaction(connection) as tx:
            await execute(connection, SQL("INSERT INTO {} VALUES ({})").format(self._table, name))
            await asyncio.sleep(0)
            tx.append(f"{name}-1", Noted(1), ids=[f"{name}-a"], relations=[name])
            tx.append(f"{name}-2", Noted(2), ids=[f"{name}-b"])
        return tx

    def there(self, name: str) -> bool:
        """Whether an order and its events are stored; asserts that it is both or neither."""
        events = [id for id in self.site.ids() if id.startswith(f"{name}-")]
        query = SQL("SELECT name FROM {} WHERE name = {}").format(self._table, name)
        orders = self.site.direct.execute(query).fetchall()
        assert events in ([], ids_of(name)), "some of the events are there"
        assert len(orders) == (1 if events else 0), f"of order and events: {orders}, {events}"
        return bool(events)

    async def made_so(self, store: EventStore, name: str, *, there: bool) -> None:
        """Asserts that buying again makes it so, once, and says whether it was."""
        async with self.connected() as connection:
            tx = await self.buy(store, connection, name)
        assert tx.is_retry is there
        assert [record.id for record in tx.records] == ids_of(name)
        assert self.there(name)
        assert await store.relations.streams_of(name) == [f"{name}-1"]

    def terminate(self, *names: str) -> int:
        """Ends connections as an administrator does; returns how many are gone."""
        [[count]] = self.site.direct.execute(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = ANY(%s)",
            (list(names),),
        ).fetchall()
        assert isinstance(count, int)
        return count


def ids_of(name: str) -> list[str]:
    return [f"{name}-a", f"{name}-b"]


async def execute(connection: Theirs, statement: LiteralString | Composed) -> None:
    """Runs a statement over a connection of either kind."""
    running = connection.execute(statement)
    if isinstance(running, Awaitable):
        await running


async def used_by_nobody(connection: Theirs) -> bool:
    """Asserts that a connection is at rest, or closed; returns whether it can be used."""
    if connection.closed:
        return False
    assert not connection.lock.locked(), "somebody uses the connection"
    assert connection.info.transaction_status == TransactionStatus.IDLE, "a transaction is open"
    try:
        await execute(connection, "SELECT 1")
        ending = connection.rollback()
        if ending is not None:
            await ending
    except psycopg.OperationalError:  # it was ended, and this is the first to hear of it
        return False
    return True
