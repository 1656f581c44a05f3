"""A read model as a user writes it: a PostgreSQL schema with balances, and the checkpoint in it.

The checkpoint commits with what it stands for, so every record counts exactly once. A batch of
records travels in one pipeline.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import TupleRow

from benchmarks import postgres

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS balances ("
    "owner text PRIMARY KEY, total bigint NOT NULL, count bigint NOT NULL)",
    "CREATE TABLE IF NOT EXISTS checkpoint ("
    "one boolean PRIMARY KEY DEFAULT true CHECK (one), position bigint NOT NULL)",
    "INSERT INTO checkpoint (position) VALUES (0) ON CONFLICT DO NOTHING",
)
UPSERT = (
    "INSERT INTO balances AS b VALUES (%s, %s, 1) ON CONFLICT (owner) "
    "DO UPDATE SET total = b.total + excluded.total, count = b.count + 1"
)


@asynccontextmanager
async def opened(address: str) -> AsyncGenerator[PostgresView]:
    """Yields the read model in a schema; makes it first if there is none."""
    async with await psycopg.AsyncConnection.connect(
        postgres.conninfo(address), autocommit=True, prepare_threshold=0
    ) as db:
        for statement in SCHEMA:
            await db.execute(statement)
        yield PostgresView(db)


async def create(address: str) -> str:
    """Makes the table of balances in a schema; returns an UPSERT that needs no search path."""
    async with await psycopg.AsyncConnection.connect(
        postgres.conninfo(address), autocommit=True
    ) as db:
        await db.execute(SCHEMA[0])
    _, schema = postgres.split(address)
    return UPSERT.replace("balances", f'"{schema}".balances')


class PostgresView:
    """The open schema."""

    def __init__(self, db: psycopg.AsyncConnection[TupleRow]) -> None:
        self._db = db

    async def checkpoint(self) -> int:
        """Returns the position up to which everything is in."""
        [[position]] = await (await self._db.execute("SELECT position FROM checkpoint")).fetchall()
        return int(position)

    async def take(self, records: Sequence[tuple[int, str, int]]) -> int:
        """Handles `(position, owner, number)` one by one, in one transaction; returns the last."""
        db = self._db
        async with db.pipeline(), db.transaction(), db.cursor() as cursor:
            await cursor.execute("SELECT position FROM checkpoint FOR UPDATE")
            [[position]] = await cursor.fetchall()
            new = [(owner, number) for at, owner, number in records if at > position]
            await cursor.executemany(UPSERT, new)
            position = max(position, records[-1][0])
            await cursor.execute("UPDATE checkpoint SET position = %s", (position,))
        return int(position)


async def contents(address: str) -> tuple[int, int]:
    """Returns how many records a read model holds and what they add up to."""
    async with await psycopg.AsyncConnection.connect(postgres.conninfo(address)) as db:
        found = await db.execute("SELECT sum(count)::bigint, sum(total)::bigint FROM balances")
        [(count, total)] = await found.fetchall()
        return count, total
