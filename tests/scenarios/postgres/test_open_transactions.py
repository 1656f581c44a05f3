"""A write transaction that stays open, anywhere in the cluster, holds up no reader.

Many stores read only up to the oldest transaction that is still running, because a position of
theirs may come to light behind it. Here positions are given in the order of commits.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from everlog import EventStore
from everlog.testing import PostgresServer
from tests.scenarios.postgres.site import EVENTS, Noted, Site

APPENDS = 200
ROUNDS = 3
"""Tries to be quick on a machine that does other things as well."""


@pytest.fixture(scope="module")
def database(durable_postgres: PostgresServer) -> str:
    """A database of a server that syncs: speed is judged."""
    return durable_postgres.new_database()


@contextmanager
def open_transaction(database: str) -> Generator[None]:
    """A transaction that has written, and stays open."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS others (number int)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO others VALUES (1)")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("where", ["in the same database", "in another database"])
def test_an_open_write_transaction_delays_no_reader(
    site: Site, durable_postgres: PostgresServer, where: str
) -> None:
    async def follow(reader: EventStore, position: int, seen_at: dict[int, float]) -> None:
        until = position + APPENDS
        while position < until:
            await reader.ledger.wait(position, timeout_s=20)
            async for record in reader.read(after=position):
                seen_at[record.position] = time.perf_counter()
                position = record.position

    async def delays() -> list[float]:
        """Returns how long each of many appends took to be read by another store."""
        url = site.straight_url()
        async with (
            EventStore.open(url, events=EVENTS) as writer,
            EventStore.open(url, events=EVENTS) as reader,
        ):
            before = (await writer.info()).position
            seen_at: dict[int, float] = {}
            following = asyncio.create_task(follow(reader, before, seen_at))
            begun_at: dict[int, float] = {}
            for number in range(APPENDS):
                begun = time.perf_counter()
                [record] = await writer.append("a", Noted(number))
                begun_at[record.position] = begun
                # Whoever looks now sees it.
                assert (await reader.info()).position == record.position
            async with asyncio.timeout(20):
                await following
        assert seen_at.keys() == begun_at.keys()
        return sorted(seen_at[position] - begun_at[position] for position in begun_at)

    database = site.database if where == "in the same database" else durable_postgres.new_database()
    with open_transaction(database):
        for _ in range(ROUNDS):
            took = asyncio.run(delays())
            p50, p99 = statistics.median(took), took[int(0.99 * APPENDS)]
            print(f"from append to read: p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms")
            if p99 < 0.1:
                break
        else:
            pytest.fail("a reader waited for longer than 100 ms, each time")
        # And it did stand in the way of whoever goes by it.
        assert seen_by_the_horizon(site) == 0
    assert seen_by_the_horizon(site) == len(site.ids()) >= APPENDS


def seen_by_the_horizon(site: Site) -> int:
    """How many records a reader would see that waits for all older transactions."""
    statement = SQL(
        "SELECT count(*) FROM {}.records WHERE xmin::text::bigint"
        " < pg_snapshot_xmin(pg_current_snapshot())::text::bigint % 4294967296"
    )
    [[count]] = site.direct.execute(statement.format(Identifier(site.schema))).fetchall()
    assert isinstance(count, int)
    return count
