"""The gap torture on PostgreSQL: everlog survives it, and nobody without what orders commits."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from everlog import EventStore
from everlog.testing import PostgresServer
from everlog.testing.torture import torture
from tests.scenarios.test_torture import survived

FEW: Any = {"seconds": 1, "processes": 4, "writers": 8, "readers": 1}
"""Enough for a fault that is there to be found."""
FIVE_TIMES = pytest.mark.parametrize("again", range(5))


@pytest.fixture
def database(durable_postgres: PostgresServer) -> str:
    """A new database, on a server that takes its time to commit."""
    return durable_postgres.new_database()


def test_sixteen_writers_in_four_processes_lose_double_and_invert_nothing_in_postgres(
    database: str,
) -> None:
    report = torture(database, seconds=10)
    survived(report, "terminations", "transactions of bystanders")
    assert report.events > 1_000

    async def positions() -> list[int]:
        async with EventStore.open(database) as store:
            return [record.position async for record in store.read()]

    assert asyncio.run(positions()) == list(range(1, report.events + 1))


@pytest.mark.soak
def test_a_minute_and_a_hundred_thousand_events_in_postgres_are_survived(database: str) -> None:
    report = torture(database, seconds=60, writers=32)
    survived(report, "terminations", "transactions of bystanders")
    assert report.events >= 100_000


def test_backends_of_writers_and_readers_are_ended_and_no_others(database: str) -> None:
    with psycopg.connect(database) as bystander:
        report = torture(database, seconds=2, mischief=["terminations"])
        assert report.ok, report
        assert report.counts["terminations"] > 2
        assert bystander.execute("SELECT 1").fetchone() == (1,)


# --- planted faults -----------------------------------------------------------------------------


@FIVE_TIMES
def test_positions_from_a_sequence_lose_records_in_a_second(database: str, again: int) -> None:
    report = torture(
        database, **FEW, mischief=[], ledger="tests.scenarios.naive_ledger:open_naive_ledger"
    )
    print(report)
    assert report.lost > 0
    assert any("passed over" in problem for problem in report.problems)


@FIVE_TIMES
def test_commits_without_a_lock_are_found_in_a_second(database: str, again: int) -> None:
    report = torture(
        database, **FEW, mischief=[], ledger="tests.scenarios.faulty_ledgers:without_lock"
    )
    print(report)
    assert not report.ok
    assert any("its head was changed by" in problem for problem in report.problems), report


def test_commits_that_also_do_not_look_again_are_found_in_a_second(database: str) -> None:
    fault = "tests.scenarios.faulty_ledgers:without_lock_and_look"
    report = torture(database, **FEW, mischief=[], ledger=fault)
    print(report)
    assert not report.ok
    assert any("duplicate key" in problem for problem in report.problems), report
