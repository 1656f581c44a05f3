"""Transactions that meet in tables and streams, in opposite orders, do not stop each other."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import psycopg
import pytest

from everlog import EventStore
from everlog.adapters.postgres import joining
from everlog.errors import StorageFailed
from everlog.testing import PostgresServer
from tests.scenarios.processes import ROOT, environment
from tests.store.watched import Noted

PROCESSES, TASKS, ROUNDS = 3, 4, 60


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    url = postgres_server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE touched AS SELECT 0 AS times")
    return url


def crossed(url: str, *fault: str) -> list[subprocess.CompletedProcess[str]]:
    """Runs the program in several processes at once."""
    asyncio.run(_made(url))
    command = [sys.executable, "-P", "-m", "tests.scenarios.postgres.crossing", url]
    command += [str(TASKS), str(ROUNDS), *fault]
    running = [
        subprocess.Popen(
            command,
            env=environment(),
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(PROCESSES)
    ]
    try:
        ends = [process.communicate(timeout=90) for process in running]
    finally:
        for process in running:
            process.kill()
    return [
        subprocess.CompletedProcess(command, process.returncode, *end)
        for process, end in zip(running, ends, strict=True)
    ]


async def _made(url: str) -> None:
    async with EventStore.open(url):
        pass


def touched(url: str) -> int:
    with psycopg.connect(url) as connection:
        [[times]] = connection.execute("SELECT times FROM touched").fetchall()
        assert isinstance(times, int)
        return times


def test_transactions_in_opposite_orders_run_into_no_deadlock_in_any_of_many_rounds(
    url: str,
) -> None:
    done = crossed(url)
    assert [(end.returncode, end.stderr) for end in done] == [(0, "")] * PROCESSES
    assert sum(json.loads(end.stdout) for end in done) == PROCESSES * TASKS * ROUNDS
    assert touched(url) == PROCESSES * TASKS * ROUNDS

    async def sound() -> None:
        async with EventStore.open(url, events=[Noted]) as store:
            verification = await store.verify()
            assert (verification.ok, verification.records) == (True, 2 * touched(url))

    asyncio.run(sound())


def test_a_lock_that_is_taken_when_the_block_begins_is_found_out(url: str) -> None:
    done = crossed(url, "early")
    assert any(end.returncode for end in done), "the fault was not noticed"
    assert any("deadlock detected" in end.stderr for end in done), done


# --- a transaction that sees the log as it was ---------------------------------------------------


async def overtaken(url: str) -> int:
    """Returns the position of what is appended in REPEATABLE READ, when another came between."""
    async with (
        EventStore.open(url, events=[Noted]) as store,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await connection.execute("SELECT 1")
        async with store.transaction(connection) as tx:
            tx.append("a", Noted(2))
            await store.append("a", Noted(1))
        return tx.records[0].position


def test_without_the_look_at_its_isolation_a_transaction_fails_whenever_it_is_overtaken(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seen red: this is what is refused at the beginning, and why.
    monkeypatch.setattr(joining, "ISOLATIONS", (*joining.ISOLATIONS, "repeatable read"))
    with pytest.raises(StorageFailed, match="could not serialize access"):
        asyncio.run(overtaken(url))
