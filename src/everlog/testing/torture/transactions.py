"""Users' own transactions in PostgreSQL: a row of theirs and events, both or neither."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from random import Random
from typing import TYPE_CHECKING, Any

from everlog import EventStore, Record
from everlog.errors import OutcomeUnknown
from everlog.testing.torture.events import Call
from everlog.testing.torture.performing import RolledBack
from everlog.testing.torture.plan import Plan
from everlog.testing.torture.urls import dsn_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.sql import Composed

OPEN_S = 0.05
"""So long a transaction stays open before its end, at most."""
PAUSED = 0.06
"""So many of its statements are late, also in its commit: then much is written, and unseen."""
PAUSE_S = 0.03
"""So late, at most."""
ROLLED_BACK = 0.25
"""So many are rolled back by who began them."""

CREATE = """
    CREATE SCHEMA {schema};
    CREATE TABLE {schema}.calls (call text PRIMARY KEY);
"""
# Of a call that is tried again, the row may be there.
INSERT = "INSERT INTO {schema}.calls VALUES (%s) ON CONFLICT DO NOTHING"
SELECT = "SELECT call FROM {schema}.calls"
DROP = "DROP SCHEMA {schema} CASCADE"


class Transactions:
    """Makes calls in transactions of one connection."""

    def __init__(
        self, plan: Plan, store: EventStore, rng: Random, counted: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._store = store
        self._rng = rng
        self._counted = counted
        self._connection: AsyncConnection | None = None

    async def attempt(self, call: Call) -> list[Record[Any]]:
        """Stores a row and a call's events; or takes it all back again."""
        from psycopg import Error

        try:
            return await self._attempt(call)
        except Error as error:  # of statements that are the user's own
            raise OutcomeUnknown(call.ids) from error

    async def _attempt(self, call: Call) -> list[Record[Any]]:
        rng = self._rng
        connection = await self._connected()
        async with self._store.transaction(connection) as tx:
            await connection.execute(_filled_in(INSERT, self._plan), (call.name,))
            for stream, hit, id in zip(call.streams, call.events, call.ids, strict=True):
                tx.append(stream, hit, ids=[id])
            await asyncio.sleep(rng.uniform(0, OPEN_S))
            if rng.random() < ROLLED_BACK:
                raise RolledBack
        self._counted("transactions of users")
        return tx.records

    async def _connected(self) -> AsyncConnection:
        from psycopg.pq import TransactionStatus

        connection = self._connection
        if connection is not None and connection.info.transaction_status == TransactionStatus.IDLE:
            return connection
        await self.close()  # it was ended, or called off in the middle of something
        self._connection = await _late(self._rng).connect(dsn_of(self._plan.url))
        return self._connection

    async def close(self) -> None:
        """Closes the connection."""
        from psycopg import Error

        if self._connection is not None:
            with suppress(Error):
                await self._connection.close()


def _late(rng: Random) -> type[AsyncConnection]:
    """Returns a kind of connection whose statements are late at times."""
    from psycopg import AsyncConnection

    class Late(AsyncConnection):
        async def wait(self, *args: Any, **options: Any) -> Any:
            if rng.random() < PAUSED:
                await asyncio.sleep(rng.uniform(0, PAUSE_S))
            return await super().wait(*args, **options)

    return Late


@contextmanager
def own_table(plan: Plan) -> Generator[None]:
    """Has a table of the user's for as long as the block runs."""
    from psycopg import connect

    with connect(dsn_of(plan.url), autocommit=True) as connection:
        connection.execute(_filled_in(CREATE, plan))
        try:
            yield
        finally:
            connection.execute(_filled_in(DROP, plan))


async def rows_of(plan: Plan) -> set[str]:
    """Returns the calls of which there is a row."""
    from psycopg import AsyncConnection

    async with await AsyncConnection.connect(dsn_of(plan.url)) as connection:
        rows = await connection.execute(_filled_in(SELECT, plan))
        return {call for [call] in await rows.fetchall()}


def _filled_in(statement: str, plan: Plan) -> Composed:
    from psycopg.sql import SQL, Identifier

    schema = Identifier(f"everlog_torture_{plan.run}")
    return SQL(statement).format(schema=schema)  # pyright: ignore[reportArgumentType] - text of this file
