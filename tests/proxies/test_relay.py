"""The relay: passes on everything, and does exactly the harm that it is told to do."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from tests.proxies.faults import (
    ANY,
    AnswerLost,
    ArrivesLate,
    CutAfterBytes,
    CutAfterMessages,
    Fails,
    NeverArrives,
)
from tests.proxies.listener import place_of
from tests.proxies.relay import Relay, Side
from tests.proxies.wire import query, startup

Connection = psycopg.Connection[tuple[object, ...]]

LOST = psycopg.OperationalError


@pytest.fixture
def relay(server: str) -> Iterator[Relay]:
    with Relay(server) as relay:
        yield relay


@pytest.fixture
def direct(server: str) -> Iterator[Connection]:
    """A connection that goes past the proxy, with an empty table."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS noted")
        connection.execute("CREATE TABLE noted (number int)")
        yield connection


def through(relay: Relay, *, autocommit: bool = False) -> Connection:
    return psycopg.connect(relay.url, autocommit=autocommit, connect_timeout=20)


def numbers(connection: Connection) -> list[object]:
    return [row[0] for row in connection.execute("SELECT number FROM noted ORDER BY number")]


def eventually(true: Callable[[], bool]) -> None:
    """Returns when it is so; looks again and again, within bounds."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.005)


# --- passing on ----------------------------------------------------------------------------------


def test_everything_passes_in_both_directions(relay: Relay, direct: Connection) -> None:
    with through(relay) as connection:
        rows = [(n,) for n in range(3000)]
        with connection.cursor().copy("COPY noted FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        assert numbers(connection) == [n for (n,) in rows]
        big = b"\0\xff" * 300_000
        assert connection.execute("SELECT %b::bytea", (big,)).fetchone() == (big,)
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s + 1", (n,)) for n in range(50)]
        assert [cursor.fetchone() for cursor in cursors] == [(n + 1,) for n in range(50)]
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("SELECT 1 / 0")
    assert numbers(direct) == []


def test_connections_and_statements_are_counted(relay: Relay) -> None:
    with through(relay), through(relay, autocommit=True) as second:
        assert (relay.connections, relay.open) == (2, 2)
        second.execute("SELECT 1")
        second.execute("SELECT %s", (2,))
        assert list(relay.statements) == [(2, "SELECT 1"), (2, "SELECT $1")]
    eventually(lambda: relay.open == 0)
    assert relay.connections == 2


def test_a_request_to_cancel_gets_to_the_server(relay: Relay, direct: Connection) -> None:
    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(relay.url)
        async with connection:
            sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
            await asyncio.to_thread(eventually, lambda: is_running(direct, "pg_sleep(60)"))
            await connection.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await sleeping

    asyncio.run(main())


def is_running(direct: Connection, text: str) -> bool:
    found = direct.execute(
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        " AND query LIKE '%%' || %s || '%%'",
        (text,),
    )
    return found.fetchone() is not None


# --- cutting -------------------------------------------------------------------------------------


def test_all_lines_are_cut_on_command_and_new_ones_are_welcome(
    relay: Relay, direct: Connection
) -> None:
    with through(relay) as first, through(relay) as second:
        first.execute("INSERT INTO noted VALUES (1)")
        assert relay.cut() == 2
        for connection in (first, second):
            with pytest.raises(LOST):
                connection.execute("SELECT 1")
    with through(relay) as third:
        third.execute("INSERT INTO noted VALUES (2)")
    assert numbers(direct) == [2]


def in_a_transaction(connection: Connection, number: int) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO noted VALUES (%s)", (number,))


def by_itself(connection: Connection, number: int) -> None:
    connection.execute("INSERT INTO noted VALUES (%s)", (number,))


def prepared(connection: Connection, number: int) -> None:
    connection.execute("INSERT INTO noted VALUES (%s)", (number,), prepare=True)


def in_a_pipeline(connection: Connection, number: int) -> None:
    with connection.pipeline():
        in_a_transaction(connection, number)


INSERTS: dict[str, Callable[[Connection, int], None]] = {
    "in a transaction": in_a_transaction,
    "by itself": by_itself,
    "prepared": prepared,
    "in a pipeline": in_a_pipeline,
}


def decisive(way: str) -> str:
    """The statement that makes an insert last."""
    return "INSERT" if way in ("by itself", "prepared") else "COMMIT"


@pytest.fixture(params=list(INSERTS))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(relay: Relay) -> Iterator[Connection]:
    with through(relay, autocommit=True) as connection:
        yield connection


def test_a_commit_that_never_arrives_writes_nothing(
    relay: Relay, direct: Connection, client: Connection, way: str
) -> None:
    INSERTS[way](client, 1)
    fault = relay.plan(NeverArrives(decisive(way)))
    with pytest.raises(LOST):
        INSERTS[way](client, 2)
    assert fault.happened
    eventually(lambda: backends(direct) == 0)
    assert numbers(direct) == [1]


def test_a_commit_whose_answer_is_lost_has_written(
    relay: Relay, direct: Connection, client: Connection, way: str
) -> None:
    INSERTS[way](client, 1)
    fault = relay.plan(AnswerLost(decisive(way)))
    with pytest.raises(LOST):
        INSERTS[way](client, 2)
    assert fault.happened
    assert numbers(direct) == [1, 2]  # at once: it was cut behind the answer


def test_a_commit_that_arrives_late_writes_when_it_does(
    relay: Relay, direct: Connection, client: Connection, way: str
) -> None:
    INSERTS[way](client, 1)
    fault = relay.plan(ArrivesLate(decisive(way)))
    with pytest.raises(LOST):
        INSERTS[way](client, 2)
    assert fault.happened
    eventually(lambda: backends(direct) == 1)  # its server connection is there still
    assert numbers(direct) == [1]
    assert fault.deliver() in ("COMMIT", "INSERT 0 1")
    assert numbers(direct) == [1, 2]
    eventually(lambda: backends(direct) == 0)


def test_a_commit_that_is_dropped_under_way_writes_nothing(
    relay: Relay, direct: Connection, client: Connection, way: str
) -> None:
    fault = relay.plan(ArrivesLate(decisive(way)))
    with pytest.raises(LOST):
        INSERTS[way](client, 2)
    eventually(lambda: backends(direct) == 1)  # its server connection is there still
    fault.drop()
    eventually(lambda: backends(direct) == 0)
    assert numbers(direct) == []


def backends(direct: Connection) -> int:
    """How many others are connected to the server."""
    row = direct.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


def test_a_fault_happens_at_the_nth_statement_and_once(relay: Relay, direct: Connection) -> None:
    fault = relay.plan(NeverArrives("insert", nth=3))
    with through(relay, autocommit=True) as connection:
        for number in (1, 2):
            by_itself(connection, number)
        with pytest.raises(LOST):
            by_itself(connection, 3)
    assert fault.sql == "INSERT INTO noted VALUES ($1)"
    with through(relay, autocommit=True) as connection:
        for number in (4, 5, 6):
            by_itself(connection, number)
    assert numbers(direct) == [1, 2, 4, 5, 6]
    assert fault.seen == 6


@pytest.mark.parametrize("count", [1, 2, 5, 6, 100, 1000])
def test_a_line_is_cut_behind_the_nth_byte_of_the_server(relay: Relay, count: int) -> None:
    relay.plan(CutAfterBytes("server", count))
    heard = raw(relay, "SELECT repeat('x', 3000)")
    assert len(heard) == count


def test_a_line_is_cut_behind_the_nth_message_of_the_server(relay: Relay) -> None:
    whole = kinds(raw(relay, "SELECT 1"))
    assert whole.endswith("ZTDCZ")  # ready; its columns, row and tag, ready
    for count in range(1, len(whole) + 1):
        relay.plan(CutAfterMessages("server", count))
        assert kinds(raw(relay, "SELECT 1")) == whole[:count]


def test_a_line_is_cut_behind_the_nth_message_of_the_client(
    relay: Relay, direct: Connection
) -> None:
    seen: list[list[object]] = []
    # Parse, Bind, Describe, Execute, Sync
    for count in range(1, 7):
        direct.execute("TRUNCATE noted")
        with through(relay, autocommit=True) as connection:
            fault = relay.plan(CutAfterMessages("client", count))
            if count <= 5:
                with pytest.raises(LOST):
                    by_itself(connection, count)
            else:
                by_itself(connection, count)
            assert fault.happened is (count <= 5)
        eventually(lambda: backends(direct) == 0)
        seen.append(numbers(direct))
    assert seen == [[], [], [], [], [5], [6]]


def test_a_line_is_cut_behind_the_nth_byte_of_the_client(relay: Relay, direct: Connection) -> None:
    sql = "INSERT INTO noted VALUES (1)"
    size = len(query(sql).encoded())
    stored: list[bool] = []
    for count in (1, 4, 5, size - 1, size):
        direct.execute("TRUNCATE noted")
        with through(relay, autocommit=True) as connection:
            relay.plan(CutAfterBytes("client", count))
            with pytest.raises(LOST):
                connection.execute(sql)
        eventually(lambda: backends(direct) == 0)
        stored.append(bool(numbers(direct)))
    assert stored == [False, False, False, False, True]


def raw(relay: Relay, sql: str) -> bytes:
    """Returns all bytes that the server side sends to a client that runs one statement."""
    with socket.create_connection(place_of(relay.url)) as client:
        client.settimeout(20)
        database = relay.url.rpartition("/")[2]
        hello = startup({"user": "postgres", "database": database})
        terminate = b"X\0\0\0\4"
        client.sendall(hello.encoded() + query(sql).encoded() + terminate)
        heard = b""
        while part := client.recv(65536):
            heard += part
        return heard


def kinds(heard: bytes) -> str:
    found = ""
    while heard:
        found += chr(heard[0])
        heard = heard[1 + int.from_bytes(heard[1:5], "big") :]
    return found


# --- holding up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_stalled_line_passes_nothing_until_it_goes_on(
    relay: Relay, direct: Connection, side: Side
) -> None:
    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(relay.url, autocommit=True)
        async with connection:
            relay.stall(side)
            insert = asyncio.create_task(connection.execute("INSERT INTO noted VALUES (1)"))
            await asyncio.to_thread(eventually, lambda: relay.held == 1)
            assert numbers(direct) == ([] if side == "client" else [1])
            assert not insert.done()
            relay.resume()
            await insert
            assert numbers(direct) == [1]
            assert relay.held == 0

    asyncio.run(main())


def test_a_refused_client_is_refused_at_once_and_others_stay(
    relay: Relay, direct: Connection
) -> None:
    with through(relay, autocommit=True) as connection:
        for _ in range(3):
            relay.refuse()
            with pytest.raises(LOST, match="refused"):
                through(relay)
            connection.execute("INSERT INTO noted VALUES (1)")
            relay.accept()
            with through(relay):
                pass
    assert numbers(direct) == [1, 1, 1]


# --- failing -------------------------------------------------------------------------------------

KINDS = {
    "40001": psycopg.errors.SerializationFailure,
    "40P01": psycopg.errors.DeadlockDetected,
}


@pytest.mark.parametrize("sqlstate", KINDS)
def test_a_commit_that_fails_ends_the_transaction_and_writes_nothing(
    relay: Relay, direct: Connection, client: Connection, way: str, sqlstate: str
) -> None:
    fault = relay.plan(Fails(sqlstate, decisive(way)))
    with pytest.raises(KINDS[sqlstate]):
        INSERTS[way](client, 1)
    assert fault.happened
    assert client.info.transaction_status == TransactionStatus.IDLE
    assert numbers(direct) == []
    INSERTS[way](client, 2)  # on the same connection
    assert numbers(direct) == [2]
    assert relay.connections == 1


@pytest.mark.parametrize("sqlstate", KINDS)
def test_a_statement_that_fails_fails_its_transaction_and_lets_go_of_its_locks(
    relay: Relay, direct: Connection, sqlstate: str
) -> None:
    relay.plan(Fails(sqlstate, "now"))
    with through(relay) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        connection.execute("INSERT INTO noted VALUES (1)")
        assert not is_free(direct)
        with pytest.raises(KINDS[sqlstate], match="injected into SELECT now"):
            connection.execute("SELECT now(), %s", (1,))
        assert connection.info.transaction_status == TransactionStatus.INERROR
        assert is_free(direct)
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.commit()  # which rolls back
        connection.execute("INSERT INTO noted VALUES (2)")
    assert numbers(direct) == [2]


def is_free(direct: Connection) -> bool:
    return direct.execute("SELECT pg_try_advisory_xact_lock(1)").fetchone() == (True,)


def test_in_a_pipeline_what_stands_behind_a_failed_statement_is_skipped(
    relay: Relay, direct: Connection, client: Connection
) -> None:
    relay.plan(Fails("40001", "INSERT", nth=2))
    with pytest.raises(psycopg.errors.SerializationFailure), client.pipeline():
        three(client)
    assert numbers(direct) == []
    by_itself(client, 4)
    assert numbers(direct) == [4]


def three(client: Connection) -> None:
    for number in (1, 2, 3):
        by_itself(client, number)


def test_so_many_statements_fail_from_the_nth_on(relay: Relay, client: Connection) -> None:
    fault = relay.plan(Fails("40001", ANY, nth=2, times=3))
    fails: list[bool] = []
    for _ in range(6):
        try:
            client.execute("SELECT 1")
            fails.append(False)
        except psycopg.errors.SerializationFailure:
            fails.append(True)
    assert fails == [False, True, True, True, False, False]
    assert fault.seen == 6


def test_what_was_planned_can_be_forgotten(relay: Relay, client: Connection) -> None:
    relay.plan(Fails("40001", ANY))
    relay.forget()
    client.execute("SELECT 1")
