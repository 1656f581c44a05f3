"""Whose transactions events can join, and what a program may do with its connection meanwhile."""

# A block is what raises in these tests.
# ruff: noqa: PT012

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.pq import Format
from psycopg.rows import dict_row

from everlog import EventStore, InvalidInput
from everlog.errors import LedgerBusy, NotSupported, StorageFailed
from everlog.subscriptions.projector import Appended
from everlog.testing import PostgresServer
from tests.adapters.shop import (
    CONNECTIONS,
    Connect,
    Shop,
    Theirs,
    at_rest,
    eventually,
    execute,
    order,
)
from tests.store.watched import Noted, numbers, run

ROOT = Path(__file__).parents[2]

# --- what a block may do with its connection ----------------------------------------------------


def test_a_block_may_have_parts_that_are_rolled_back_and_pipelines_that_end_in_it(
    shop: Shop,
) -> None:
    async def main() -> None:
        async with (
            shop.store() as store,
            await psycopg.AsyncConnection.connect(shop.dsn) as connection,
        ):
            async with store.transaction(connection) as tx:
                with pytest.raises(psycopg.errors.UniqueViolation):
                    async with connection.transaction():
                        await order(connection, 1)
                        await order(connection, 1)
                async with connection.transaction():
                    await order(connection, 2)
                async with connection.transaction(force_rollback=True):
                    await order(connection, 3)
                async with connection.pipeline():
                    await order(connection, 4)
                    await order(connection, 5)
                await execute(connection, "SAVEPOINT mine")
                await order(connection, 6)
                await execute(connection, "ROLLBACK TO mine")
                tx.append("a", Noted(1), ids=["one"])
            assert (shop.orders, shop.ids()) == ([2, 4, 5], ["one"])

    run(main)


ENDINGS = {
    "a commit": ["COMMIT"],
    "a rollback": ["ROLLBACK"],
    "another transaction": ["COMMIT", "BEGIN"],
    "one in REPEATABLE READ": ["ROLLBACK", "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1"],
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_events_do_not_commit_with_another_transaction_than_their_blocks(
    shop: Shop, connect: Connect, ending: str
) -> None:
    async def main() -> None:
        async with shop.store() as store, connect(shop.dsn) as connection:
            with pytest.raises(InvalidInput, match="ended its transaction"):
                async with store.transaction(connection) as tx:
                    await order(connection, 1)
                    tx.append("a", Noted(1))
                    for statement in ENDINGS[ending]:
                        await execute(connection, statement)
                    await execute(connection, "SELECT 1")
            assert shop.ids() == []
            assert at_rest(connection)
            async with store.transaction(connection) as tx:
                tx.append("a", Noted(1))
            assert len(shop.ids()) == 1

    run(main)


def test_events_do_not_commit_in_a_transaction_in_which_a_statement_has_failed(
    shop: Shop, connect: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, connect(shop.dsn) as connection:
            with pytest.raises(InvalidInput, match="has failed"):
                async with store.transaction(connection) as tx:
                    await order(connection, 1)
                    tx.append("a", Noted(1))
                    with pytest.raises(psycopg.errors.UniqueViolation):
                        await order(connection, 1)
            assert (shop.orders, shop.ids()) == ([], [])
            assert at_rest(connection)

    run(main)


def test_events_do_not_commit_over_a_connection_that_the_block_has_closed(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, either(shop.dsn) as connection:
            with pytest.raises(InvalidInput, match="is closed"):
                async with store.transaction(connection) as tx:
                    await order(connection, 1)
                    tx.append("a", Noted(1))
                    closing = connection.close()
                    if closing is not None:
                        await closing
            assert (shop.orders, shop.ids()) == ([], [])

    run(main)


def test_a_pipeline_that_is_still_open_at_the_end_of_the_block_is_refused(shop: Shop) -> None:
    async def main() -> None:
        async with (
            shop.store() as store,
            await psycopg.AsyncConnection.connect(shop.dsn) as connection,
        ):
            with pytest.raises(InvalidInput, match="pipeline"):
                async with connection.pipeline(), store.transaction(connection):
                    pass
            pipeline = connection.pipeline()
            with pytest.raises(InvalidInput, match="pipeline"):
                async with store.transaction(connection) as tx:
                    tx.append("a", Noted(1))
                    await pipeline.__aenter__()
                    await order(connection, 1)
            await pipeline.__aexit__(None, None, None)
            assert (shop.orders, shop.ids()) == ([], [])
            assert at_rest(connection)

    run(main)


def test_a_statement_that_is_still_running_at_the_end_of_the_block_is_refused(shop: Shop) -> None:
    async def main() -> None:
        async with (
            shop.store() as store,
            await psycopg.AsyncConnection.connect(shop.dsn) as connection,
        ):
            running: list[asyncio.Task[Any]] = []
            with pytest.raises(InvalidInput, match="middle of a statement"):
                async with store.transaction(connection) as tx:
                    tx.append("a", Noted(1))
                    running.append(asyncio.create_task(execute(connection, "SELECT pg_sleep(0.2)")))
                    await asyncio.sleep(0)
            await asyncio.gather(*running)
            assert shop.ids() == []
            assert at_rest(connection)

    run(main)


def test_what_somebody_else_spoils_before_the_commit_is_not_taken_for_committed(
    shop: Shop, either: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The COMMIT of a failed transaction is no error: the server says ROLLBACK.
    from everlog.adapters.postgres.theirs import TheirConnection

    commit = TheirConnection.commit

    async def main() -> None:
        told: list[Appended] = []
        async with shop.store() as store, either(shop.dsn) as connection:

            async def spoiled(self: TheirConnection) -> None:
                with pytest.raises(psycopg.errors.DivisionByZero):
                    await execute(connection, "SELECT 1 / 0")
                await commit(self)

            monkeypatch.setattr(TheirConnection, "commit", spoiled)
            store.on_appended(told.append)
            tx = store.transaction(connection)
            with pytest.raises(StorageFailed, match="somebody else failed"):
                async with tx:
                    await order(connection, 1)
                    tx.append("a", Noted(1))
            assert (tx.records, told, shop.orders, shop.ids()) == ([], [], [], [])
            assert at_rest(connection)

    run(main)


# --- whose connection events cannot join --------------------------------------------------------


UNFIT = {
    "REPEATABLE READ": (["BEGIN ISOLATION LEVEL REPEATABLE READ"], "REPEATABLE READ"),
    "SERIALIZABLE": (["BEGIN ISOLATION LEVEL SERIALIZABLE"], "SERIALIZABLE"),
    "REPEATABLE READ, that has read": (
        ["BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT 1"],
        "use READ COMMITTED",
    ),
    "SERIALIZABLE by default": (
        ["SET default_transaction_isolation = 'serializable'", "BEGIN"],
        "SERIALIZABLE",
    ),
    "READ ONLY": (["BEGIN READ ONLY"], "read-only"),
    "READ ONLY by default": (["SET default_transaction_read_only = on", "BEGIN"], "read-only"),
    "LATIN1": (["SET client_encoding TO LATIN1"], "not UTF-8"),
}


@pytest.mark.parametrize("case", UNFIT)
@pytest.mark.parametrize("kind", ["async, autocommit", "blocking, autocommit"])
def test_a_transaction_that_events_cannot_join_is_refused_and_left_as_it_was(
    shop: Shop, kind: str, case: str
) -> None:
    statements, says = UNFIT[case]

    async def main() -> None:
        async with shop.store() as store, CONNECTIONS[kind](shop.dsn) as connection:
            for statement in statements:
                await execute(connection, statement)
            before = connection.info.transaction_status
            with pytest.raises(InvalidInput, match=says):
                async with store.transaction(connection):
                    raise AssertionError("it was let in")
            assert connection.info.transaction_status == before
            [[one]] = await _fetched(connection, "SELECT 1")
            assert one == 1
            assert shop.locks() == 0

    run(main)


async def _fetched(connection: Theirs, statement: str) -> list[Any]:
    cursor = await execute(connection, statement)
    rows = cursor.fetchall()
    return rows if isinstance(rows, list) else await rows  # pyright: ignore[reportUnknownVariableType]


def test_of_a_connection_that_has_not_begun_nothing_is_left_open_when_it_is_refused(
    shop: Shop,
) -> None:
    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
            assert isinstance(connection, psycopg.AsyncConnection)
            await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            with pytest.raises(InvalidInput, match="REPEATABLE READ"):
                async with store.transaction(connection):
                    pass
            assert at_rest(connection)
            await connection.set_isolation_level(psycopg.IsolationLevel.READ_UNCOMMITTED)
            async with store.transaction(connection) as tx:  # which PostgreSQL has as one
                tx.append("a", Noted(1))
            assert len(shop.ids()) == 1

    run(main)


def test_in_autocommit_the_transaction_is_begun_as_it_has_to_be(shop: Shop) -> None:
    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async, autocommit"](shop.dsn) as connection:
            await execute(connection, "SET default_transaction_isolation = 'serializable'")
            await execute(connection, "SET default_transaction_read_only = on")
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                tx.append("a", Noted(1))
            assert (shop.orders, len(shop.ids())) == ([1], 1)

    run(main)


def test_a_block_inside_of_another_one_of_the_driver_or_of_ours_is_refused(shop: Shop) -> None:
    async def main() -> None:
        async with (
            shop.store() as store,
            shop.store(f"{shop.schema}_another") as another,
            await psycopg.AsyncConnection.connect(shop.dsn) as connection,
        ):
            async with connection.transaction():
                await order(connection, 1)
                with pytest.raises(InvalidInput, match="takes its place"):
                    async with store.transaction(connection):
                        pass
            assert shop.orders == [1]
            async with store.transaction(connection) as tx:
                tx.append("a", Noted(1))
                for again in (store, another):
                    with pytest.raises(InvalidInput, match="another block"):
                        async with again.transaction(connection):
                            pass
                await order(connection, 2)
            assert (shop.orders, len(shop.ids())) == ([1, 2], 1)

    run(main)


def test_a_block_that_encloses_one_of_the_drivers_that_is_still_open_is_refused(
    shop: Shop,
) -> None:
    async def main() -> None:
        async with (
            shop.store() as store,
            await psycopg.AsyncConnection.connect(shop.dsn) as connection,
        ):
            inner = connection.transaction()
            with pytest.raises(InvalidInput, match="takes its place") as refused:
                async with store.transaction(connection) as tx:
                    tx.append("a", Noted(1))
                    await inner.__aenter__()
                    await order(connection, 1)
            error = refused.value
            await inner.__aexit__(type(error), error, error.__traceback__)
            await connection.rollback()
            assert (shop.orders, shop.ids()) == ([], [])

    run(main)


def test_a_two_phase_transaction_is_refused(shop: Shop) -> None:
    async def main() -> None:
        async with (
            shop.store() as store,
            await psycopg.AsyncConnection.connect(shop.dsn) as connection,
        ):
            await connection.tpc_begin("mine")
            with pytest.raises(InvalidInput, match="two-phase"):
                async with store.transaction(connection):
                    pass
            await connection.tpc_rollback()

    run(main)


def test_a_connection_to_another_database_is_refused_also_where_it_has_a_ledger(
    shop: Shop, postgres_server: PostgresServer, either: Connect
) -> None:
    async def main() -> None:
        elsewhere = postgres_server.new_database()
        async with shop.store() as store, either(elsewhere) as connection:
            for _ in range(2):
                with pytest.raises(InvalidInput, match="another database"):
                    async with store.transaction(connection):
                        pass
                assert at_rest(connection)
                async with EventStore.open(elsewhere) as other:  # the second time there is one
                    assert (await other.info()).position == 0

    run(main)


def test_of_two_ledgers_in_a_database_events_go_to_that_of_the_store(shop: Shop) -> None:
    async def main() -> None:
        async with (
            shop.store(ones := f"{shop.schema}_one") as one,
            shop.store(twos := f"{shop.schema}_two") as two,
            CONNECTIONS["async"](shop.dsn) as connection,
        ):
            await execute(connection, f"SET search_path TO {twos}")
            await execute(connection, "COMMIT")
            for number, store in enumerate([one, two, one]):
                async with store.transaction(connection) as tx:
                    await execute(connection, f"INSERT INTO public.orders VALUES ({number})")
                    tx.append("a", Noted(number), ids=[str(number)])
            assert (shop.ids(ones), shop.ids(twos), shop.orders) == (
                ["0", "2"],
                ["1"],
                [0, 1, 2],
            )

    run(main)


def test_a_role_that_may_not_write_to_the_ledger_is_told_what_to_grant(shop: Shop) -> None:
    async def main() -> None:
        shop.direct.execute("DROP ROLE IF EXISTS clerk")
        shop.direct.execute("CREATE ROLE clerk")
        shop.direct.execute("GRANT ALL ON orders TO clerk")
        try:
            async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
                await execute(connection, "SET ROLE clerk")
                await execute(connection, "COMMIT")
                with pytest.raises(StorageFailed, match="grant this role"):
                    async with store.transaction(connection):
                        pass
                assert at_rest(connection)
                shop.direct.execute(f"GRANT USAGE ON SCHEMA {shop.schema} TO clerk".encode())
                shop.direct.execute(
                    f"GRANT SELECT ON ALL TABLES IN SCHEMA {shop.schema} TO clerk".encode()
                )
                with pytest.raises(StorageFailed, match="grant this role"):
                    async with store.transaction(connection) as tx:
                        await order(connection, 1)
                        tx.append("a", Noted(1))
                assert at_rest(connection)
                assert (shop.orders, shop.ids()) == ([], [])
        finally:
            shop.direct.execute("DROP OWNED BY clerk")
            shop.direct.execute("DROP ROLE clerk")

    run(main)


@pytest.mark.parametrize("wrong", [None, "postgresql://localhost/db", object(), psycopg])
def test_what_is_no_connection_of_psycopg_is_refused(shop: Shop, wrong: Any) -> None:
    async def main() -> None:
        async with shop.store() as store:
            with pytest.raises(InvalidInput, match="psycopg 3"):
                store.transaction(wrong)

    run(main)


@pytest.mark.parametrize("url", ["memory:", "sqlite:///log.db"])
def test_a_store_that_has_no_transactions_says_so(
    url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        async with EventStore.open(url) as store:
            assert not store.capabilities.transactions
            with pytest.raises(NotSupported, match="a PostgreSQL store"):
                store.transaction(object())

    run(main)


# --- what else a program has set up -------------------------------------------------------------


class Wrong(Loader):
    """Loads nothing as it is."""

    def load(self, data: Any) -> Any:
        return ["not", "as", "stored"]


class WrongBinary(Wrong):
    format = Format.BINARY


class Mangled(Dumper):
    """Dumps nothing as it is."""

    def dump(self, obj: Any) -> Any:
        return b"mangled"


class MangledBinary(Mangled):
    format = Format.BINARY


def spoil(adapters: AdaptersMap) -> None:
    """Registers for everything that everlog asks or says something else."""
    for name in ("text", "json", "bytea", "bool", "int2", "int4", "int8", "xid8", "varchar"):
        adapters.register_loader(name, Wrong)
        adapters.register_loader(name, WrongBinary)
    for kind in (str, bytes, bool, int, list):
        adapters.register_dumper(kind, Mangled)
        adapters.register_dumper(kind, MangledBinary)


def test_what_a_connection_loads_and_dumps_in_its_own_way_is_stored_as_it_is(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, either(shop.dsn) as connection:
            spoil(connection.adapters)
            connection.row_factory = dict_row
            if isinstance(connection, psycopg.AsyncConnection):
                connection.cursor_factory = psycopg.AsyncClientCursor
            else:
                connection.cursor_factory = psycopg.ClientCursor
            for threshold in (5, None, 0):
                connection.prepare_threshold = threshold
                for count in (1, 3, 120):
                    events = [Noted(number) for number in range(count)]
                    ids = [f"{threshold}-{count}-{number}" for number in range(count)]
                    for again in (False, True):
                        async with store.transaction(connection) as tx:
                            tx.append("a", *events, ids=ids, relations=["group"])
                        assert tx.is_retry is again
                        assert [record.id for record in tx.records] == ids
                        assert [record.data for record in tx.records] == events
            assert (await store.verify()).ok
            assert await store.relations.streams_of("group") == ["a"]

    run(main)


SPOILED_FOR_ALL = """
import asyncio, sys
import psycopg
from everlog import EventStore
from tests.adapters.test_postgres_joining import spoil
from tests.store.watched import Noted

async def main(url):
    async with EventStore.open(url):
        pass
    spoil(psycopg.adapters)
    async with (
        EventStore.open(url, events=[Noted]) as store,
        await psycopg.AsyncConnection.connect(url.partition("?")[0]) as connection,
    ):
        await store.append("a", Noted(0))
        await store.append("a", *map(Noted, range(1, 5)), relations=["group"])
        async with store.transaction(connection) as tx:
            tx.append("a", *map(Noted, range(5, 200)))
        assert [record.data.number async for record in store.read("a")] == list(range(200))
        assert await store.relations.streams_of("group") == ["a"]
        assert (await store.verify()).ok

asyncio.run(main(sys.argv[1]))
"""


def test_what_a_program_has_set_up_for_all_its_connections_does_not_reach_the_ledgers(
    shop: Shop,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPOILED_FOR_ALL, f"{shop.dsn}?schema={shop.schema}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


NOTING = (
    "DROP TABLE IF EXISTS noted",
    "CREATE TABLE noted (lock_timeout text, idle text, synchronous_commit text)",
    "CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN INSERT INTO noted SELECT current_setting(''lock_timeout''), "
    "current_setting(''idle_in_transaction_session_timeout''), "
    "current_setting(''synchronous_commit''); RETURN NULL; END'",
    "CREATE TRIGGER note AFTER INSERT ON {schema}.records EXECUTE FUNCTION note()",
)
"""Notes what is set while the events are written."""


def test_what_a_transaction_has_set_is_as_it_was_behind_it(shop: Shop, either: Connect) -> None:
    async def main() -> None:
        names = ("lock_timeout", "idle_in_transaction_session_timeout", "synchronous_commit")
        async with shop.store(timeout_s=7) as store, either(shop.dsn) as connection:
            for statement in NOTING:
                shop.direct.execute(statement.format(schema=shop.schema).encode())
            for name, value in zip(names, ("1ms", "0", "off"), strict=True):
                await execute(connection, f"SET {name} = '{value}'")
            await execute(connection, "COMMIT")
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                tx.append("a", Noted(1))
            # Under the ledger's lock: on disk when it is acknowledged, and not held for ever.
            rows = shop.direct.execute("SELECT lock_timeout, idle, synchronous_commit FROM noted")
            assert rows.fetchall() == [("7s", "7s", "on")]
            for name, value in zip(names, ("1ms", "0", "off"), strict=True):
                [[found]] = await _fetched(connection, f"SHOW {name}")
                assert found == value

    run(main)


# --- locks --------------------------------------------------------------------------------------


def test_the_ledgers_lock_is_taken_at_the_end_of_the_block_and_not_before(
    shop: Shop, connect: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, shop.store() as another, connect(shop.dsn) as connection:
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                tx.append("a", Noted(3))
                assert shop.locks() == 0
                await store.append("a", Noted(1))
                await another.append("a", Noted(2))
            [record] = tx.records
            assert record.position == 3
            assert await numbers(store) == [1, 2, 3]
            assert shop.locks() == 0

    run(main)


def test_a_lock_that_is_held_for_too_long_rolls_everything_back(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store(timeout_s=0.1) as store, either(shop.dsn) as connection:
            tx = store.transaction(connection)
            with shop.locked(store), pytest.raises(LedgerBusy, match="nothing was written"):
                async with tx:
                    await order(connection, 1)
                    tx.append("a", Noted(1))
            assert (tx.records, shop.orders, shop.ids()) == ([], [], [])
            assert at_rest(connection)
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                tx.append("a", Noted(1))
            assert (shop.orders, len(shop.ids())) == ([1], 1)

    run(main)


CUSTOMERS = (
    "CREATE TABLE customers (id int PRIMARY KEY, seen int)",
    "INSERT INTO customers VALUES (1), (2)",
    "ALTER TABLE orders ADD customer int REFERENCES customers DEFERRABLE INITIALLY DEFERRED",
)


def test_a_constraint_that_is_checked_at_the_end_waits_for_others_before_the_ledgers_lock(
    shop: Shop, either: Connect
) -> None:
    # At the COMMIT it would wait for a row that another transaction of this process has locked,
    # which waits for its turn behind it: no database sees that nobody can go on.
    async def main() -> None:
        for statement in CUSTOMERS:
            shop.direct.execute(statement.encode())
        async with (
            shop.store() as store,
            either(shop.dsn) as one,
            either(shop.dsn) as other,
        ):
            first, second = store.transaction(one), store.transaction(other)
            await first.__aenter__()
            await second.__aenter__()
            await execute(other, "DELETE FROM customers WHERE id = 2")
            await execute(one, "INSERT INTO orders VALUES (1, 'x', 2)")
            first.append("a", Noted(1))
            second.append("a", Noted(2), ids=["second"])
            ending = asyncio.create_task(first.__aexit__(None, None, None))
            await eventually(lambda: shop.waiting() > 0)
            async with asyncio.timeout(10):
                await second.__aexit__(None, None, None)
                with pytest.raises(psycopg.errors.ForeignKeyViolation):  # as a COMMIT says it
                    await ending
            assert (first.records, shop.orders, shop.ids()) == ([], [], ["second"])
            assert at_rest(one)
            assert at_rest(other)

    run(main)


def test_a_constraint_that_was_put_off_and_is_not_met_is_told_as_the_driver_tells_it(
    shop: Shop, connect: Connect
) -> None:
    async def main() -> None:
        for statement in CUSTOMERS:
            shop.direct.execute(statement.encode())
        async with shop.store() as store, connect(shop.dsn) as connection:
            tx = store.transaction(connection)
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                async with tx:
                    await execute(connection, "INSERT INTO orders VALUES (1, 'x', 3)")
                    tx.append("a", Noted(1))
            assert (tx.records, shop.orders, shop.ids()) == ([], [], [])
            assert at_rest(connection)

    run(main)


def test_a_deadlock_that_the_block_runs_into_is_told_as_the_driver_tells_it(shop: Shop) -> None:
    async def main() -> None:
        await_lock = "SELECT * FROM orders WHERE number = {} FOR UPDATE"
        shop.direct.execute("INSERT INTO orders VALUES (1), (2)")
        async with shop.store() as store:

            async def both(one: int, other: int, meet: asyncio.Barrier) -> str:
                async with CONNECTIONS["async"](shop.dsn) as connection:
                    try:
                        async with store.transaction(connection) as tx:
                            await execute(connection, await_lock.format(one))
                            tx.append("a", Noted(one))
                            await meet.wait()
                            await execute(connection, await_lock.format(other))
                    except psycopg.errors.DeadlockDetected:
                        assert at_rest(connection)
                        return "deadlock"
                    return "committed"

            meet = asyncio.Barrier(2)
            ends = await asyncio.gather(both(1, 2, meet), both(2, 1, meet))
            assert sorted(ends) == ["committed", "deadlock"]
            assert len(shop.ids()) == 1

    run(main)


def test_threads_that_all_wait_for_the_block_do_not_keep_it_from_ending(shop: Shop) -> None:
    # A blocking connection's statements run in threads: not in those that anybody may fill.
    async def main() -> None:
        shop.direct.execute("INSERT INTO orders VALUES (1)")

        def wait() -> None:
            with psycopg.connect(shop.dsn) as connection:
                connection.execute("UPDATE orders SET note = 'waited'")

        async with shop.store() as store, CONNECTIONS["blocking"](shop.dsn) as connection:
            async with store.transaction(connection) as tx:
                await execute(connection, "UPDATE orders SET note = 'first'")
                tx.append("a", Noted(1))
                waiting = [asyncio.create_task(asyncio.to_thread(wait)) for _ in range(40)]
                await eventually(lambda: shop.waiting() > 1)
            await asyncio.gather(*waiting)
            assert len(shop.ids()) == 1

    run(main)
