"""The gap torture on PostgreSQL: everlog survives it, and nobody without what orders commits."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from everlog import EventStore
from everlog.errors import InvalidInput
from everlog.testing import PostgresServer
from everlog.testing.torture import torture
from tests.scenarios.test_torture import survived

FEW: Any = {"seconds": 2, "processes": 4, "writers": 8, "readers": 1}
"""Enough for a fault that is there to be found."""
ALSO = ("terminations", "transactions of bystanders", "RolledBack")
"""What must have happened in PostgreSQL, besides."""
FIVE_TIMES = pytest.mark.parametrize("again", range(5))


@pytest.fixture
def database(durable_postgres: PostgresServer) -> str:
    """A new database, on a server that takes its time to commit."""
    return durable_postgres.new_database()


def test_sixteen_writers_in_four_processes_lose_double_and_invert_nothing_in_postgres(
    database: str,
) -> None:
    report = torture(database, seconds=10)
    survived(report, *ALSO)
    assert report.events > 100

    async def positions() -> list[int]:
        async with EventStore.open(database) as store:
            return [record.position async for record in store.read()]

    assert asyncio.run(positions()) == list(range(1, report.events + 1))


@pytest.mark.soak
def test_a_minute_and_a_hundred_thousand_events_in_postgres_are_survived(database: str) -> None:
    report = torture(database, seconds=60, at_least=100_000, writers=32)
    survived(report, *ALSO)
    assert report.events >= 100_000


def test_backends_of_writers_and_readers_are_ended_and_no_others(database: str) -> None:
    with psycopg.connect(database) as bystander:
        report = torture(database, seconds=2, mischief=["terminations"])
        assert report.ok, report
        assert report.counts["terminations"] > 0
        assert bystander.execute("SELECT 1").fetchone() == (1,)


def test_of_ones_own_transactions_the_row_and_the_events_are_stored_or_neither(
    database: str,
) -> None:
    report = torture(database, seconds=3, mischief=["transactions", "cancellations"])
    print(report)
    assert report.ok, report
    assert report.counts["transactions of users"] > 0
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'torture'")
        assert found.fetchall() == [], "the table of the user's was taken away again"


def test_mischief_that_a_ledger_cannot_take_is_refused_or_left_out(database: str) -> None:
    naive: Any = {"ledger": "tests.scenarios.naive_ledger:open_naive_ledger"}
    with pytest.raises(InvalidInput, match="cannot join transactions"):
        torture(database, **FEW, **naive, mischief=["transactions"])
    assert "transactions of users" not in torture(database, **FEW, **naive).counts


# --- planted faults -----------------------------------------------------------------------------


@pytest.mark.once
@FIVE_TIMES
def test_positions_from_a_sequence_lose_records_within_seconds(database: str, again: int) -> None:
    report = torture(
        database, **FEW, mischief=[], ledger="tests.scenarios.naive_ledger:open_naive_ledger"
    )
    print(report)
    assert report.lost > 0
    assert any("passed over" in problem for problem in report.problems)


@pytest.mark.once
@FIVE_TIMES
def test_commits_without_a_lock_are_found_within_seconds(database: str, again: int) -> None:
    report = torture(
        database, **FEW, mischief=[], ledger="tests.scenarios.faulty_ledgers:without_lock"
    )
    print(report)
    assert not report.ok
    assert any("its head was changed by" in problem for problem in report.problems), report
