"""The pooling proxy: a server connection for a transaction, then another one; nothing is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, LiteralString

import psycopg
import pytest

from tests.proxies.listener import at_port
from tests.proxies.pooling import PoolingProxy
from tests.proxies.test_relay import Connection, backends, eventually, is_running

AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]

SIZE = 3


@pytest.fixture(params=[False, True], ids=["sessions are left", "sessions are forgotten"])
def pooler(server: str, request: pytest.FixtureRequest) -> Iterator[PoolingProxy]:
    with PoolingProxy(server, size=SIZE, forgets=bool(request.param)) as pooler:
        yield pooler


@pytest.fixture
def direct(server: str) -> Iterator[Connection]:
    """A connection that goes past the proxy, with an empty table."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS noted")
        connection.execute("CREATE TABLE noted (number int PRIMARY KEY)")
        yield connection


def through(pooler: PoolingProxy, **options: Any) -> Connection:
    arguments: dict[str, Any] = {"autocommit": True, "prepare_threshold": None, **options}
    return psycopg.connect(pooler.url, connect_timeout=20, **arguments)


def pid(connection: Connection) -> object:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return row[0]


def numbers(connection: Connection) -> list[object]:
    return [row[0] for row in connection.execute("SELECT number FROM noted ORDER BY number")]


def test_each_transaction_has_another_backend_and_one_from_begin_to_end(
    pooler: PoolingProxy,
) -> None:
    with through(pooler) as connection:
        pids: list[object] = []
        for _ in range(20):
            with connection.transaction():
                first = pid(connection)
                with connection.transaction():  # a savepoint
                    assert pid(connection) == first
                assert pid(connection) == first
            pids.append(first)
        assert all(one != other for one, other in pairwise(pids))
        assert 1 < len(set(pids)) <= SIZE
    assert pooler.transactions == 20
    assert pooler.swaps == 19


def test_a_failed_transaction_keeps_its_backend_until_it_is_rolled_back(
    pooler: PoolingProxy,
) -> None:
    with through(pooler) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero), connection.transaction():
            connection.execute("SELECT 1 / 0")
        assert (pooler.transactions, pooler.swaps) == (1, 0)
        pid(connection)
        assert (pooler.transactions, pooler.swaps) == (2, 1)


def test_many_clients_share_few_backends_and_wait_for_them(
    pooler: PoolingProxy, direct: Connection
) -> None:
    clients, each = 20, 10

    async def client(number: int) -> set[object]:
        pids: set[object] = set()
        connection = await AsyncConnection.connect(pooler.url, prepare_threshold=None)
        async with connection:
            for turn in range(each):
                async with connection.transaction():
                    await connection.execute(
                        "INSERT INTO noted VALUES (%s)", (number * each + turn,)
                    )
                    found = await connection.execute("SELECT pg_backend_pid()")
                    pids.update(row[0] for row in await found.fetchall())
        return pids

    async def main() -> None:
        before = backends(direct)
        pids = set[object]().union(*await asyncio.gather(*map(client, range(clients))))
        assert len(pids) == SIZE
        assert backends(direct) - before == SIZE
        assert numbers(direct) == list(range(clients * each))

    asyncio.run(main())
    assert pooler.transactions == clients * each
    assert pooler.swaps > 0


def test_what_belongs_to_a_session_is_not_there_in_the_next_transaction(
    pooler: PoolingProxy,
) -> None:
    with through(pooler) as connection:
        connection.execute("SET work_mem = '7MB'")
        assert connection.execute("SHOW work_mem").fetchone() != ("7MB",)
        connection.execute("SELECT pg_advisory_lock(42)")
        mine = connection.execute(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
        assert mine.fetchone() is None
        connection.execute("CREATE TEMP TABLE here (n int)")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM here")


def test_a_prepared_statement_is_not_found(pooler: PoolingProxy) -> None:
    with (
        through(pooler, prepare_threshold=0) as connection,
        pytest.raises(psycopg.errors.InvalidSqlStatementName),
    ):
        _repeat(connection, "SELECT %s + 1", (1,))


def test_notifications_do_not_come(pooler: PoolingProxy, direct: Connection, server: str) -> None:
    with through(pooler) as connection, psycopg.connect(server, autocommit=True) as listener:
        for each in (connection, listener):
            each.execute("LISTEN news")
        for turn in range(5):
            direct.execute("SELECT pg_notify('news', %s)", (str(turn),))
        heard = [each.payload for each in listener.notifies(timeout=20, stop_after=5)]
        assert heard == ["0", "1", "2", "3", "4"]
        assert list(connection.notifies(timeout=0.2)) == []


def test_startup_options_are_refused(pooler: PoolingProxy) -> None:
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"):
        through(pooler, options="-c search_path=elsewhere")
    with through(pooler, application_name="mine") as connection:
        assert connection.execute("SHOW application_name").fetchone() == ("mine",)


def test_what_the_server_says_to_a_client_that_it_does_not_know_is_passed_on(
    pooler: PoolingProxy,
) -> None:
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        through(pooler, dbname="nowhere")


def test_a_request_to_cancel_gets_to_the_backend_that_the_client_has_now(
    pooler: PoolingProxy, direct: Connection
) -> None:
    async def main() -> None:
        first, second = [await AsyncConnection.connect(pooler.url) for _ in range(2)]
        async with first, second:
            sleeping = asyncio.create_task(first.execute("SELECT pg_sleep(61)"))
            other = asyncio.create_task(second.execute("SELECT pg_sleep(62)"))
            for text in ("pg_sleep(61)", "pg_sleep(62)"):
                await asyncio.to_thread(eventually, running(direct, text))
            await second.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await other
            assert running(direct, "pg_sleep(61)")()
            assert not sleeping.done()
            await second.rollback()
            await second.cancel_safe()  # which has none now, and so nothing happens
            await first.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await sleeping

    asyncio.run(main())


def running(direct: Connection, text: str) -> Callable[[], bool]:
    return lambda: is_running(direct, text)


def test_a_client_that_goes_in_the_middle_of_a_transaction_leaves_nothing(
    pooler: PoolingProxy, direct: Connection
) -> None:
    for number in range(2 * SIZE):
        connection = through(pooler, autocommit=False)
        connection.execute("INSERT INTO noted VALUES (%s)", (number,))
        connection.close()
    with through(pooler) as connection:
        connection.execute("INSERT INTO noted VALUES (0)")
    eventually(lambda: numbers(direct) == [0])
    eventually(lambda: pooler.clients == 0)


def test_copies_and_pipelines_pass(pooler: PoolingProxy, direct: Connection) -> None:
    with through(pooler) as connection:
        with connection.transaction(), connection.cursor().copy("COPY noted FROM STDIN") as copy:
            for number in range(2000):
                copy.write_row((number,))
        assert numbers(connection) == list(range(2000))
        with connection.cursor().copy("COPY noted TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 2000
        with (
            pytest.raises(psycopg.errors.UniqueViolation),
            connection.cursor().copy("COPY noted FROM STDIN") as copy,
        ):
            copy.write_row((1,))
        for _ in range(5):
            with connection.pipeline() as pipeline:
                cursors = [connection.execute("SELECT %s + 1", (n,)) for n in range(20)]
                pipeline.sync()
                cursors += [connection.execute("SELECT %s + 1", (n,)) for n in range(20, 40)]
            assert [cursor.fetchone() for cursor in cursors] == [(n + 1,) for n in range(40)]
        before = pooler.transactions
        pid(connection)
        assert pooler.transactions == before + 1  # nothing is left half done
        assert numbers(direct) == list(range(2000))


def test_a_backend_that_dies_takes_its_client_along_and_is_replaced(
    pooler: PoolingProxy, direct: Connection
) -> None:
    with through(pooler) as bystander:
        with through(pooler, autocommit=False) as connection:
            victim = pid(connection)
            direct.execute("SELECT pg_terminate_backend(%s)", (victim,))
            with pytest.raises(psycopg.OperationalError):
                _repeat(connection, "SELECT 1")
        for _ in range(2 * SIZE):
            assert pid(bystander) != victim
        assert numbers(bystander) == []


def test_where_no_server_is_clients_are_told(server: str) -> None:
    nowhere = at_port(server, 1)
    with (
        PoolingProxy(nowhere) as pooler,
        pytest.raises(psycopg.OperationalError, match="server is away"),
    ):
        through(pooler)


def _repeat(connection: Connection, sql: LiteralString, values: Sequence[object] = ()) -> None:
    for _ in range(10):
        connection.execute(sql, values)
