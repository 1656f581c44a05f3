"""Transactions without await: of threads, in handlers, and interrupted."""

# A block is what raises in these tests.
# ruff: noqa: PT012

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from everlog.blocking import (
    NEW,
    Appended,
    EventStore,
    InvalidInput,
    Projector,
    Record,
    StoreClosed,
    Transaction,
    WrongVersion,
    to,
)
from everlog.errors import NotSupported
from everlog.testing import PostgresServer
from tests.blocking.notes import EVENTS, PATIENCE_S, Noted, Notes, in_threads
from tests.blocking.test_processes import end_of, line_of
from tests.scenarios.processes import environment

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture
def url(database: str) -> str:
    with psycopg.connect(database) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute("DROP SCHEMA IF EXISTS everlog CASCADE")
        connection.execute("DROP TABLE IF EXISTS orders")
        connection.execute("CREATE TABLE orders (number int PRIMARY KEY)")
    return database


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    with EventStore.open(url, events=EVENTS) as store:
        yield store


@pytest.fixture(params=[False, True], ids=["begins by itself", "autocommit"])
def connection(url: str, request: pytest.FixtureRequest) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=request.param) as connection:
        yield connection


def orders(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT number FROM orders ORDER BY number").fetchall()
    return [number for [number] in rows]


def at_rest(connection: Connection) -> bool:
    return connection.info.transaction_status == TransactionStatus.IDLE


def test_rows_and_events_are_there_when_the_block_has_ended_and_not_before(
    url: str, store: EventStore, connection: Connection
) -> None:
    with store.transaction(connection) as tx:
        connection.execute("INSERT INTO orders VALUES (1)")
        tx.append("a", Noted(1), expect=NEW, ids=["one"])
        tx.append_many([to("b", Noted(2), relations=["group"])])
        assert (tx.records, orders(url), store.info().position) == ([], [], 0)
    assert [(r.position, r.stream) for r in tx.records] == [(1, "a"), (2, "b")]
    assert (orders(url), tx.is_retry) == ([1], False)
    assert store.relations.streams_of("group") == ["b"]
    assert at_rest(connection)
    with store.transaction(connection) as again:
        connection.execute("INSERT INTO orders VALUES (2)")
        again.append("a", Noted(1), ids=["one"])
    assert (orders(url), again.is_retry) == ([1], True)


def test_neither_is_there_when_the_block_raises_or_an_event_is_refused(
    url: str, store: EventStore, connection: Connection
) -> None:
    def buy(**options: Any) -> Transaction:
        with store.transaction(connection) as tx:
            connection.execute("INSERT INTO orders VALUES (1)")
            tx.append("a", Noted(1), **options)
            connection.execute("INSERT INTO orders VALUES (2)")
        return tx

    with psycopg.connect(url) as other:
        other.execute("INSERT INTO orders VALUES (2)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        buy()
    with psycopg.connect(url) as other:
        other.execute("DELETE FROM orders")
    with pytest.raises(WrongVersion):
        buy(expect=3)
    with pytest.raises(InvalidInput):
        buy(ids=[])
    assert (orders(url), store.info().position) == ([], 0)
    assert at_rest(connection)
    assert [record.position for record in buy().records] == [1]


def test_an_aggregate_is_saved_with_the_tables(
    url: str, store: EventStore, connection: Connection
) -> None:
    notes = store.new(Notes, id="notes").note(1).note(2)
    with pytest.raises(ZeroDivisionError), store.transaction(connection) as tx:
        tx.save(notes)
        raise ZeroDivisionError
    assert len(notes.log.pending) == 2
    with store.transaction(connection) as tx:
        connection.execute("INSERT INTO orders VALUES (1)")
        tx.save(notes)
    assert (notes.log.version, notes.log.is_dirty, orders(url)) == (2, False, [1])
    loaded = store.get(Notes, "notes")
    assert loaded is not None
    assert loaded.note(3).save().log.version == 3


def test_many_threads_have_transactions_of_one_store_at_once_and_append_in_between(
    url: str, store: EventStore
) -> None:
    told: list[int] = []
    store.on_appended(lambda appended: told.extend(r.position for r in appended.records))

    def work(number: int) -> None:
        with psycopg.connect(url) as connection:
            for index in range(10):
                order = number * 10 + index
                with store.transaction(connection) as tx:
                    connection.execute("INSERT INTO orders VALUES (%s)", (order,))
                    tx.append(f"s{number % 3}", Noted(order), ids=[f"order-{order}"])
                assert [record.data for record in tx.records] == [Noted(order)]
                store.append("own", Noted(order))

    in_threads(12, work)
    store.drained()
    assert orders(url) == list(range(120))
    records = store.read().to_list()
    assert [record.position for record in records] == list(range(1, 241)) == told
    assert store.verify().ok


def test_a_handler_in_a_thread_has_a_transaction_of_its_own_while_appends_wait_for_it(
    url: str, store: EventStore
) -> None:
    projector = Projector()

    @projector.once(Noted)
    def answer(record: Record[Noted]) -> None:
        if record.stream != "answers":
            with psycopg.connect(url) as connection, store.transaction(connection) as tx:
                connection.execute("INSERT INTO orders VALUES (%s)", (record.data.number,))
                tx.append("answers", Noted(record.data.number))

    store.on_appended(projector.handle)

    def work(number: int) -> None:
        store.append(f"s{number}", Noted(number))

    in_threads(20, work)  # more than there are threads for handlers
    store.drained()
    assert orders(url) == list(range(20))
    assert sorted(r.data.number for r in store.read("answers")) == list(range(20))


def test_hooks_have_run_when_the_block_has_ended_and_none_for_what_was_rolled_back(
    store: EventStore, connection: Connection
) -> None:
    told: list[Appended] = []
    store.on_appended(told.append)
    with pytest.raises(ZeroDivisionError), store.transaction(connection) as tx:
        tx.append("a", Noted(1))
        raise ZeroDivisionError
    assert told == []
    with store.transaction(connection, emit=False) as tx:
        tx.append("a", Noted(1))
    assert told == []
    with store.transaction(connection) as tx:
        tx.append("a", Noted(2))
    assert [appended.records for appended in told] == [tuple(tx.records)]


def test_a_block_belongs_to_its_store_and_is_used_once(
    store: EventStore, connection: Connection
) -> None:
    tx = store.transaction(connection)
    with pytest.raises(InvalidInput, match="inside the `with` block"):
        tx.append("a", Noted(1))
    with tx:
        pass
    with pytest.raises(InvalidInput, match="used once"), tx:
        pass
    with pytest.raises(StoreClosed), store.transaction(connection) as tx:
        tx.append("a", Noted(1))
        store.close()
    assert at_rest(connection)


def test_what_is_no_blocking_connection_is_refused(url: str, store: EventStore) -> None:
    async def connected() -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            with pytest.raises(InvalidInput, match=r"a blocking psycopg\.Connection"):
                store.transaction(connection)

    asyncio.run(connected())
    with pytest.raises(InvalidInput, match="psycopg 3"):
        store.transaction(url)
    with EventStore.open("memory:") as memory, pytest.raises(NotSupported):
        memory.transaction(url)


def test_a_store_is_used_in_a_transaction_where_an_event_loop_runs(
    url: str, store: EventStore, connection: Connection
) -> None:
    async def main() -> None:  # as in a notebook
        with store.transaction(connection) as tx:
            connection.execute("INSERT INTO orders VALUES (1)")
            tx.append("a", Noted(1))

    asyncio.run(main())
    assert (orders(url), store.info().position) == ([1], 1)


def test_a_block_leaves_no_thread_behind(store: EventStore, connection: Connection) -> None:
    before = threading.active_count()
    for number in range(20):
        with store.transaction(connection) as tx:
            tx.append("a", Noted(number))
        with pytest.raises(ZeroDivisionError), store.transaction(connection):
            raise ZeroDivisionError
        connection.execute("SELECT 1")
        connection.rollback()
        with pytest.raises(InvalidInput), connection.transaction(), store.transaction(connection):
            pass
    running = [t for t in threading.enumerate() if t.name.startswith("everlog-transaction")]
    for thread in running:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert threading.active_count() <= before


# --- interrupts ---------------------------------------------------------------------------------


@contextmanager
def program(name: str, url: str) -> Generator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-W", "error", "-P", "-m", "tests.blocking.transaction_programs"),
            *(name, url),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_block_that_is_interrupted_in_its_commit_stays_until_it_is_over(url: str) -> None:
    with program("interrupted_in_the_commit", url) as process:
        assert line_of(process) == "in the commit"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "a signal"
        told = end_of(process, said="go on\n")
    assert told == ["interrupted, and the lock was released", "True [(1,)] ['one']"]


def test_a_block_that_is_interrupted_in_the_queue_leaves_nothing_and_waits_for_nothing(
    url: str,
) -> None:
    with program("interrupted_in_the_queue", url) as process:
        assert line_of(process) == "in the queue"
        process.send_signal(signal.SIGINT)
        assert line_of(process) == "a signal"
        told = end_of(process)
    assert told == ["interrupted, and the lock was held", "True [] []"]
