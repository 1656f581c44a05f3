"""Waking through PostgreSQL: NOTIFY is a hint, never owed; without it, polls find out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
import pytest

from everlog import EventStore
from everlog.adapters.postgres import waking
from everlog.adapters.postgres.connections import Place, connect
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.testing import PostgresServer
from everlog.testing.contract.committing import append, new, place
from everlog.testing.contract.events import EVENTS, Noted

PATIENCE_S = 20.0
NEVER_S = 3600.0
"""So long that it does not come about in a test."""


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


class Heard:
    """What a plain connection that listens has heard: the head at each notification."""

    def __init__(self, connection: psycopg.Connection[Any], url: str, schema: str) -> None:
        self.heads: list[int] = []
        self._connection = connection
        self._url, self._schema = url, schema
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def until(self, head: int) -> list[int]:
        """Returns the heads, when this one has been heard of; fails if that does not come."""
        for _ in range(int(PATIENCE_S * 100)):
            if self.heads and self.heads[-1] >= head:
                return self.heads
            self._stop.wait(0.01)
        raise AssertionError(f"position {head} was never told, only {self.heads[-1:]}")

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        query = f"SELECT position FROM {self._schema}.ledger_head"
        with psycopg.connect(self._url, autocommit=True) as looking:
            while not self._stop.is_set():
                for _ in self._connection.notifies(timeout=0.05, stop_after=1):
                    [[head]] = looking.execute(query.encode()).fetchall()
                    self.heads.append(head)


@contextmanager
def heard(url: str, ledger: PostgresLedger) -> Generator[Heard]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"LISTEN {ledger.place.channel}".encode())
        one = Heard(connection, url, ledger.place.schema)
        try:
            yield one
        finally:
            one.close()


@asynccontextmanager
async def opened(url: str, schema: str, **options: Any) -> AsyncGenerator[PostgresLedger]:
    ledger = await PostgresLedger.open(url, schema=schema, **options)
    try:
        yield ledger
    finally:
        await ledger.close()


def never_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves hints as the only way to be woken."""
    monkeypatch.setattr(waking, "POLL_LISTENING_S", NEVER_S)
    monkeypatch.setattr(waking, "POLL_S", NEVER_S)


def listeners(url: str) -> list[int]:
    """Returns the pids of the backends that listen in the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND query ILIKE 'LISTEN %'"
        ).fetchall()
        return [pid for [pid] in rows]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE_S * 100)):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come about")


async def told(wait: asyncio.Task[int]) -> int:
    """Returns what it is told; fails where nobody tells it before its time is up."""
    await asyncio.wait([wait], timeout=PATIENCE_S / 2)
    assert wait.done(), "it was not woken"
    return wait.result()


def test_a_thousand_commits_in_a_burst_send_far_fewer_notifications_and_the_last_is_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "QUIET_S", 0.1)  # so that it is a burst on any machine

    async def test() -> None:
        async with opened(url, "burst") as ledger:
            with heard(url, ledger) as one:
                begin = time.monotonic()
                for number in range(1_000):
                    await place(ledger, append(new(f"{number}")))
                heads = await asyncio.to_thread(one.until, 1_000)
                quiet = (time.monotonic() - begin) / waking.QUIET_S
            print(f"1,000 commits, {len(heads)} notifications")
            assert len(heads) <= 2 + quiet
            assert heads == sorted(heads)

    asyncio.run(test())


def test_a_commit_after_a_pause_is_told_in_its_own_transaction(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    notify = PostgresLedger._tell  # pyright: ignore[reportPrivateUsage]

    async def counted(self: PostgresLedger, notification: Any) -> None:
        told.append(notification)
        await notify(self, notification)

    monkeypatch.setattr(PostgresLedger, "_tell", counted)

    async def test() -> None:
        async with opened(url, "pause") as ledger:
            with heard(url, ledger) as one:
                for number in range(1, 6):
                    await place(ledger, append(new(f"{number}")))
                    assert await asyncio.to_thread(one.until, number) == [*range(1, number + 1)]
                    await asyncio.sleep(waking.QUIET_S)  # a pause is what this is about

    asyncio.run(test())
    assert told == []


def test_what_a_closing_store_appended_last_is_told_before_it_is_gone(url: str) -> None:
    async def test() -> None:
        async with opened(url, "closing") as other:
            with heard(url, other) as one:
                for number in range(1, 11, 2):
                    async with opened(url, "closing") as ledger:
                        await place(ledger, append(new(f"{number}")))
                        await place(ledger, append(new(f"{number + 1}")))  # too soon to carry one
                    await asyncio.to_thread(one.until, number + 1)

    asyncio.run(test())


def test_a_commit_that_changed_no_position_is_not_told(url: str) -> None:
    async def test() -> None:
        async with opened(url, "retried") as ledger:
            with heard(url, ledger) as one:
                for _ in range(5):
                    await place(ledger, append(new("same")))
                    await asyncio.sleep(2 * waking.QUIET_S)
                await place(ledger, append(new("other")))
                assert await asyncio.to_thread(one.until, 2) == [1, 2]

    asyncio.run(test())


def test_a_follower_elsewhere_is_woken_by_the_notification_alone(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_by_the_clock(monkeypatch)

    async def test() -> None:
        async with opened(url, "notified") as ledger, opened(url, "notified") as other:
            store, theirs = (EventStore(each, events=EVENTS) for each in (ledger, other))
            for position in range(40):
                wait = asyncio.create_task(store.wait(after=position, timeout_s=PATIENCE_S))
                await asyncio.sleep(0.001 * (position % 8))
                await theirs.append("a", Noted(position))
                assert await told(wait) == position + 1

    asyncio.run(test())


def test_a_follower_whose_listening_connection_is_ended_listens_again_and_misses_nothing(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_by_the_clock(monkeypatch)

    async def test() -> None:
        async with opened(url, "killed") as ledger, opened(url, "killed") as other:
            wait = asyncio.create_task(ledger.wait(0, timeout_s=PATIENCE_S))
            await until(lambda: len(listeners(url)) == 1)
            for position in range(1, 6):
                [pid] = await asyncio.to_thread(listeners, url)
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
                await place(other, append(new(f"{position}")))
                assert await told(wait) == position
                wait = asyncio.create_task(ledger.wait(position, timeout_s=PATIENCE_S))
                await until(lambda: len(listeners(url)) == 1)
            wait.cancel()
            await asyncio.wait([wait])
        await until(lambda: listeners(url) == [])

    asyncio.run(test())


def test_what_was_appended_while_nobody_listened_is_found_by_who_listens_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_by_the_clock(monkeypatch)

    async def test() -> None:
        trying, gate = asyncio.Event(), asyncio.Event()

        async def held_up(at: Place) -> Any:
            trying.set()
            await gate.wait()
            return await connect(at)

        async with opened(url, "again") as ledger, opened(url, "again") as other:
            wait = asyncio.create_task(ledger.wait(0, timeout_s=PATIENCE_S))
            await until(lambda: len(listeners(url)) == 1)
            monkeypatch.setattr(waking, "connect", held_up)
            [pid] = listeners(url)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
            await trying.wait()
            await asyncio.sleep(0.2)  # for the look that this is about to have been before
            await place(other, append(new("1")))
            await asyncio.sleep(0.05)
            assert not wait.done()
            gate.set()
            assert await told(wait) == 1

    asyncio.run(test())


def test_while_nothing_can_be_listened_to_polls_find_what_is_new(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: object) -> None:
        raise psycopg.OperationalError("no more connections")

    monkeypatch.setattr(waking, "connect", refused)

    async def test() -> None:
        async with opened(url, "deaf") as ledger, opened(url, "deaf") as other:
            for position in range(3):
                wait = asyncio.create_task(ledger.wait(position, timeout_s=PATIENCE_S))
                await asyncio.sleep(0)
                await place(other, append(new(f"{position}")))
                assert await told(wait) == position + 1

    asyncio.run(test())


def test_behind_a_pooler_of_transactions_nobody_listens_and_polls_find_what_is_new(
    url: str,
) -> None:
    async def test() -> None:
        async with (
            opened(url, "pooled", pooler="transaction") as ledger,
            opened(url, "pooled", pooler="transaction") as other,
        ):
            for position in range(3):
                wait = asyncio.create_task(ledger.wait(position, timeout_s=PATIENCE_S))
                await asyncio.sleep(0.1)
                assert await asyncio.to_thread(listeners, url) == []
                await place(other, append(new(f"{position}")))
                assert await told(wait) == position + 1

    asyncio.run(test())


def test_a_ledger_that_is_closed_while_it_begins_to_listen_leaves_no_connection(url: str) -> None:
    async def test() -> None:
        for turns in range(0, 30, 2):
            ledger = await PostgresLedger.open(url, schema="hasty")
            wait = asyncio.create_task(ledger.wait(0, timeout_s=PATIENCE_S))
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            await ledger.close()
            await asyncio.gather(wait, return_exceptions=True)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(test())

    def gone() -> bool:
        with psycopg.connect(url, autocommit=True) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            [[count]] = connection.execute(query).fetchall()
            return bool(count == 1)

    asyncio.run(until(gone))


def test_a_server_that_goes_away_and_comes_back_is_followed_again(
    durable_postgres: PostgresServer,
) -> None:
    url = durable_postgres.new_database()

    async def test() -> None:
        async with opened(url, "away") as ledger, opened(url, "away") as other:
            wait = asyncio.create_task(ledger.wait(0, timeout_s=PATIENCE_S))
            await until(lambda: len(listeners(url)) == 1)
            durable_postgres.kill()
            await asyncio.sleep(0.05)
            durable_postgres.start()
            await place(other, append(new("1")))
            assert await told(wait) == 1

    asyncio.run(test())
