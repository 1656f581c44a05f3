"""Read models in the log's own file: what is whose in it, and what holds for both."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, Projector, Record, Tx
from everlog.adapters.sqlite import schema, views_schema
from everlog.adapters.sqlite.checkpoints import SqliteCheckpoints
from everlog.adapters.sqlite.connections import Durability, Place
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.adapters.sqlite.log_tables import LOG_TABLES
from everlog.errors import (
    CannotOpen,
    ForeignFile,
    HandlerHeldTransaction,
    InvalidUrl,
    LedgerBusy,
    MisusedStore,
    NewerFormat,
)
from everlog.ports.checkpoints import Move
from tests.store.watched import Noted, run

INSERT = "INSERT INTO seen (position) VALUES (?)"
LIMIT_S = 0.3
"""Longer than it is: a machine that is busy with other tests would fail handlers that did not."""
Work = Callable[[SqliteCheckpoints], Awaitable[None]]


def beside(path: Path, work: Work, *, guarded: bool = True, limit_s: float = 30) -> None:
    """Does something with the checkpoints in a ledger's file, in which a record is."""

    async def main() -> None:
        ledger = await SqliteLedger.open(str(path), guard_checkpoints=guarded, timeout_s=20)
        store = EventStore(ledger, events=[Noted])
        if not (await store.info()).position:
            await store.append("a", Noted(1))
        checkpoints = await SqliteCheckpoints.open_in_ledger(ledger.place, limit_s=limit_s)
        try:
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute("CREATE TABLE IF NOT EXISTS seen (position INTEGER)")
            await work(checkpoints)
        finally:
            await checkpoints.close()
        await store.append("a", Noted(2))
        assert (await store.verify()).ok
        await store.close()

    asyncio.run(main())


def ask(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, timeout=20)) as connection, connection:
        return connection.execute(statement).fetchall()


def can_write(path: Path) -> bool:
    """Whether another program can begin to write at once."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


# --- how long it is held ---


def test_a_transaction_is_rolled_back_when_its_time_is_over_and_the_file_is_free(
    tmp_path: Path,
) -> None:
    path = tmp_path / "app.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        for how in ("full", "fetch", "execute", "at its end"):
            with pytest.raises(HandlerHeldTransaction):
                async with checkpoints.transaction() as transaction:
                    await transaction.tx.execute(INSERT, (1,))
                    await transaction.tx.fetch("SELECT 1")
                    deadline = time.monotonic() + 10
                    while not can_write(path):
                        assert time.monotonic() < deadline
                        await asyncio.sleep(0.005)
                    if how == "full":
                        transaction.full()
                    elif how == "fetch":
                        await transaction.tx.fetch("SELECT 1")
                    elif how == "execute":
                        await transaction.tx.execute(INSERT, (2,))
            async with checkpoints.transaction() as transaction:
                assert not transaction.full()
                assert await transaction.tx.fetch("SELECT * FROM seen") == []

    beside(path, work, limit_s=LIMIT_S)


def test_what_is_kept_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "app.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            transaction.eager()  # which would hold it
            await transaction.tx.execute(INSERT, (1,))
            await asyncio.sleep(4 * LIMIT_S)
            assert can_write(path)
            assert not transaction.full()
        assert ask(path, "SELECT * FROM seen") == [(1,)]

    beside(path, work, limit_s=LIMIT_S)


def test_a_statement_that_takes_too_long_is_interrupted(tmp_path: Path) -> None:
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) "

    async def work(checkpoints: SqliteCheckpoints) -> None:
        for how in ("fetch", "execute"):
            began = time.monotonic()
            with pytest.raises(HandlerHeldTransaction):
                async with checkpoints.transaction() as transaction:
                    await transaction.tx.execute(INSERT, (1,))
                    if how == "fetch":
                        await transaction.tx.fetch(long + "SELECT count(*) FROM n")
                    else:
                        await transaction.tx.execute(
                            "INSERT INTO seen " + long + "SELECT max(i) FROM n"
                        )
            took_s = time.monotonic() - began
            print(f"{how}: {took_s:.2f} s")
            assert took_s < 6  # all of it takes longer by far
            assert ask(tmp_path / "app.db", "SELECT * FROM seen") == []

    beside(tmp_path / "app.db", work, limit_s=LIMIT_S)


@pytest.mark.parametrize("behind_a_handler", [False, True])
def test_a_step_that_takes_too_long_by_itself_is_no_handlers_failure(
    tmp_path: Path, behind_a_handler: bool
) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        await checkpoints.register("orders", slices=1, position=0, token=None)
        [held] = await checkpoints.claim("orders", "w1", ttl_s=600, most=1)
        with pytest.raises(LedgerBusy, match="event loop"):
            async with checkpoints.transaction() as transaction:
                if behind_a_handler:
                    await transaction.tx.execute(INSERT, (1,))
                await transaction.move("orders", [Move(0, held.fence, 0, 1, None)])
                time.sleep(4 * LIMIT_S)  # noqa: ASYNC251 - something blocks the event loop
        async with checkpoints.transaction() as transaction:
            await transaction.move("orders", [Move(0, held.fence, 0, 1, None)])

    beside(tmp_path / "app.db", work, limit_s=LIMIT_S)


def test_a_batch_ends_before_its_time_is_over(tmp_path: Path) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.fetch("SELECT 1")
            assert not transaction.full()
            await asyncio.sleep(5)
            assert transaction.full()

            async def wait_for_its_turn() -> bool:
                async with checkpoints.transaction() as other:
                    await other.tx.execute(INSERT, (1,))
                    return other.full()

            waiting = asyncio.create_task(wait_for_its_turn())
            await asyncio.sleep(0.01)
        assert not await waiting, "it was full by the time of another"
        kept = 0
        async with checkpoints.transaction() as transaction:
            while not transaction.full():
                await transaction.tx.execute(INSERT, (kept,))
                kept += 1
        assert 0 < kept < 500

    beside(tmp_path / "app.db", work, limit_s=10)


@pytest.mark.parametrize("guarded", [False, True])
def test_between_two_transactions_the_log_has_its_turn(tmp_path: Path, guarded: bool) -> None:
    path = tmp_path / "app.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        place = Place(str(path), "full", 20, guarded)
        ledger = await SqliteLedger.open(str(path), guard_checkpoints=guarded, timeout_s=20)
        assert ledger.place == place
        store = EventStore(ledger, events=[Noted])
        over = asyncio.Event()

        async def hold() -> None:
            while not over.is_set():
                async with checkpoints.transaction() as transaction:
                    await transaction.tx.execute(INSERT, (1,))
                    await transaction.tx.fetch("SELECT 1")
                    await asyncio.sleep(0.02)

        holding = asyncio.create_task(hold())
        took_s: list[float] = []
        for number in range(20):
            began = time.perf_counter()
            await store.append("a", Noted(number))
            took_s.append(time.perf_counter() - began)
        over.set()
        await holding
        await store.close()
        print([round(each * 1000) for each in took_s])
        # Without a pause, whoever waits and looks now and then waits for seconds.
        assert sorted(took_s)[10] < 0.3

    beside(path, work, guarded=guarded, limit_s=5)


# --- whose is what ---

REFUSED = [
    "INSERT INTO records SELECT * FROM records",
    "INSERT OR REPLACE INTO records SELECT * FROM records",
    "UPDATE records SET data = NULL, meta = NULL, nonce = NULL",
    "UPDATE Ledger SET position = 0",
    "DELETE FROM records",
    "WITH x AS (SELECT 1) DELETE FROM snapshots",
    "INSERT INTO registers VALUES ('a', 'a', 'a', 'a')",
    "INSERT INTO relations VALUES ('a', 'a')",
    "UPDATE relation_revisions SET revision = 0",
    "UPDATE sync_upstreams SET settled = 0",
    "DELETE FROM sync_entries",
    "INSERT INTO sync_held VALUES ('a', 'a', 'a', 'a', 'a', 0, NULL)",
    "DROP TABLE records",
    "ALTER TABLE records RENAME TO mine",
    "ALTER TABLE ledger ADD COLUMN mine",
    "CREATE INDEX mine ON records (data)",
    "DROP INDEX records_by_stream",
    "DROP TRIGGER records_are_never_changed",
    "CREATE TRIGGER mine AFTER INSERT ON records BEGIN DELETE FROM seen; END",
    "CREATE TEMP TRIGGER mine AFTER INSERT ON records BEGIN DELETE FROM seen; END",
    "CREATE TEMP TABLE ledger (position)",
    "CREATE TEMP VIEW records AS SELECT 1",
    "ANALYZE records",
    "ANALYZE",
    "EXPLAIN PRAGMA synchronous = OFF",
    "EXPLAIN ATTACH 'other.db' AS other",
]


@pytest.mark.parametrize("statement", REFUSED)
def test_a_handler_does_not_write_to_the_log(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "app.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        before = ask(path, "SELECT * FROM sqlite_schema"), ask(path, "SELECT * FROM records")
        for eager in (False, True):
            with pytest.raises(MisusedStore, match="the log's tables"):
                async with checkpoints.transaction() as transaction:
                    if eager:
                        transaction.eager()
                    await transaction.tx.execute(INSERT, (1,))
                    await transaction.tx.execute(statement)
        after = ask(path, "SELECT * FROM sqlite_schema"), ask(path, "SELECT * FROM records")
        assert after == before
        assert ask(path, "SELECT * FROM seen") == []

    beside(path, work)


def test_a_handler_does_not_write_to_the_log_by_a_trigger_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "app.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(
                "CREATE TRIGGER mine AFTER INSERT ON seen BEGIN UPDATE ledger SET position = 9; END"
            )
        with pytest.raises(MisusedStore):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(INSERT, (1,))
        assert ask(path, "SELECT position FROM ledger") == [(1,)]
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute("DROP TRIGGER mine")

    beside(path, work)


def test_a_handler_reads_the_log_and_does_what_it_likes_with_its_own(tmp_path: Path) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            tx = transaction.tx
            assert await tx.fetch("SELECT position, stream FROM records") == [(1, "a")]
            for statement in (
                "CREATE TABLE mine (id INTEGER PRIMARY KEY, stream TEXT UNIQUE)",
                "CREATE INDEX mine_by_id ON mine (stream, id)",
                "CREATE TRIGGER mine_seen AFTER INSERT ON mine BEGIN DELETE FROM seen; END",
                "CREATE VIEW all_of_mine AS SELECT * FROM mine JOIN records USING (stream)",
                "INSERT INTO mine SELECT position, stream FROM records WHERE true "
                "ON CONFLICT DO UPDATE SET stream = 'b'",
                "CREATE TEMP TABLE passing AS SELECT * FROM mine",
                "ALTER TABLE mine ADD COLUMN number",
                "ANALYZE mine",
                "REINDEX mine",
            ):
                await tx.execute(statement)
            assert await tx.fetch("SELECT position FROM all_of_mine") == [(1,)]
            names = [row[1] for row in await tx.fetch("SELECT * FROM pragma_table_info('mine')")]
            assert names == ["id", "stream", "number"]
            for statement in ("DROP VIEW all_of_mine", "DROP TABLE mine", "DROP TABLE passing"):
                await tx.execute(statement)

    beside(tmp_path / "app.db", work)


def test_every_table_of_the_log_is_known() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.CREATE)
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    assert {name for [name] in found} == LOG_TABLES
    assert len(LOG_TABLES) == 10


# --- what holds for both ---


def projector(path: Path) -> Projector:
    projector = Projector()

    @projector.all(Noted)
    async def write(record: Record[Noted], tx: Tx) -> None:
        await tx.execute("CREATE TABLE IF NOT EXISTS numbers (position INTEGER, number INTEGER)")
        await tx.execute("INSERT INTO numbers VALUES (?, ?)", (record.position, record.data.number))

    return projector


def test_a_backup_has_the_read_models_and_where_they_stand(tmp_path: Path) -> None:
    path, copy = tmp_path / "app.db", tmp_path / "copy.db"

    async def main() -> None:
        async with EventStore.open(path, events=[Noted], views="same") as store:
            await store.append("a", *map(Noted, range(5)))
            async with store.subscription("numbers", projector(path)) as subscription:
                await subscription.caught_up()
            await store.backup(str(copy))
            await store.append("a", Noted(5))
        async with EventStore.open(copy, events=[Noted], views="same") as store:
            assert (await store.verify()).ok
            [status] = await store.subscriptions.status()
            assert (status.name, status.position, status.lag) == ("numbers", 5, 0)
            await store.append("a", Noted(6))
            async with store.subscription("numbers", projector(copy)) as subscription:
                await subscription.caught_up()

    run(main)
    assert [number for [number] in ask(copy, "SELECT number FROM numbers")] == [0, 1, 2, 3, 4, 6]
    assert [each.name for each in tmp_path.iterdir() if "views" in each.name] == []


def test_a_ledger_with_tables_of_others_is_one_and_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "app.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        pass

    beside(path, work)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("CREATE TABLE mine (a INTEGER CHECK (a > 5), b)")
        connection.execute("INSERT INTO mine VALUES (1, NULL)")
    assert "mine" in ask(path, "PRAGMA integrity_check")[0][0]
    beside(path, work)  # which verifies
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("PRAGMA writable_schema = ON")
        with connection:
            connection.execute(
                "UPDATE sqlite_schema SET sql = replace(sql, 'late INTEGER NOT NULL', "
                "'late INTEGER NOT NULL CHECK (late > 5)') WHERE name = 'records'"
            )

    async def main() -> None:
        async with EventStore.open(path, events=[Noted]) as store:
            found = (await store.verify()).problems
            assert ["records" in problem.what for problem in found] == [True, True, True]

    run(main)  # what is wrong in the log's own is told


def test_the_log_and_its_read_models_promise_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        levels: dict[Durability, int] = {"full": 2, "relaxed": 1}
        for durability, level in levels.items():
            path = tmp_path / f"{durability}.db"
            ledger = await SqliteLedger.open(
                str(path), durability=durability, guard_checkpoints=True
            )
            checkpoints = await SqliteCheckpoints.open_in_ledger(ledger.place)
            writer: object = vars(checkpoints)["_opened"]
            connection: sqlite3.Connection = vars(writer)["_connection"]
            connection.set_authorizer(None)
            for name, value in (("synchronous", level), ("wal_autocheckpoint", 0)):
                pragma = f"PRAGMA {name}"  # sql: names of this test
                assert connection.execute(pragma).fetchone() == (value,)
            await checkpoints.close()
            await ledger.close()

    asyncio.run(main())


def test_no_transaction_runs_beside_whoever_holds_the_side_file(tmp_path: Path) -> None:
    path = tmp_path / "app.db"

    async def main() -> None:
        ledger = await SqliteLedger.open(str(path), guard_checkpoints=True, timeout_s=0.1)
        lock = FileLock(f"{path}-lock")
        with lock.held(1), pytest.raises(LedgerBusy):  # as our tables are made, too
            await SqliteCheckpoints.open_in_ledger(ledger.place)
        assert ask(path, views_schema.COUNT_TABLES) == [(0,)]
        checkpoints = await SqliteCheckpoints.open_in_ledger(ledger.place, limit_s=60)
        with lock.held(1), pytest.raises(LedgerBusy):
            await checkpoints.register("orders", slices=1, position=0, token=None)
        async with checkpoints.transaction() as transaction:
            await transaction.tx.fetch("SELECT 1")
            with pytest.raises(LedgerBusy):
                lock.take(0.05)
        lock.take(0.05)
        lock.close()
        await checkpoints.close()
        await ledger.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("statements", "error"),
    [
        (["CREATE TABLE everlog_mine (a)"], ForeignFile),
        (
            ["CREATE TABLE everlog_views (version)", "INSERT INTO everlog_views VALUES (2)"],
            NewerFormat,
        ),
        (["PRAGMA application_id = 5"], ForeignFile),
    ],
)
def test_tables_that_are_not_ours_are_refused_and_not_touched(
    tmp_path: Path, statements: list[str], error: type[CannotOpen]
) -> None:
    path = tmp_path / "app.db"

    async def main() -> None:
        ledger = await SqliteLedger.open(str(path))
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        before = ask(path, "SELECT * FROM sqlite_schema")
        with pytest.raises(error) as raised:
            await SqliteCheckpoints.open_in_ledger(ledger.place)
        assert type(raised.value) is error
        assert ask(path, "SELECT * FROM sqlite_schema") == before
        await ledger.close()

    asyncio.run(main())


# --- where they are ---


def test_where_read_models_are_is_said_by_name_or_by_path(tmp_path: Path) -> None:
    async def main() -> None:
        wanted: list[tuple[str, dict[str, Any], str]] = [
            ("", {}, "app.views.db"),
            ("?views=same", {}, "app.db"),
            ("", {"views": "same"}, "app.db"),
            (f"?views={tmp_path}/x/other.db", {}, "x/other.db"),
            ("?views=same", {"views": tmp_path / "x" / "mine"}, "x/mine"),
        ]
        for number, (query, options, found) in enumerate(wanted):
            folder = tmp_path / str(number)
            folder.mkdir()
            (tmp_path / "x").mkdir(exist_ok=True)
            path = folder / "app.db"
            async with EventStore.open(
                f"sqlite:///{path}{query}", events=[Noted], **options
            ) as store:
                await store.subscriptions.place()
            there = tmp_path / found if found.startswith("x/") else folder / found
            assert ask(there, views_schema.COUNT_VIEWS) == [(1,)]
            assert (folder / "app.views.db").exists() == (number == 0)

    run(main)


@pytest.mark.parametrize(
    ("url", "views", "said"),
    [
        ("sqlite:///app.db", "", "is not known"),
        ("sqlite:///app.db", "smae", "use 'same'"),
        ("sqlite:///app.db?views=beside", None, "use 'same'"),
        ("sqlite:///app.db", 5, "is not known"),
        ("sqlite:///app.db", b"same", "is not known"),
        ("sqlite:///app.db", True, "is not known"),
        ("sqlite:///app.db", "a\0.db", "control character"),
        ("sqlite:///app.db", "./app.db", "views='same'"),
        ("sqlite:///app.db", Path("app.db"), "views='same'"),
        ("memory:", "same", "for SQLite"),
        ("postgresql://nobody@localhost/app", "same", "for SQLite"),
        ("postgresql://nobody@localhost/app?views=same", None, "for SQLite"),
    ],
)
def test_another_place_is_refused_before_anything_is_made(
    url: str, views: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        options: dict[str, Any] = {} if views is None else {"views": views}
        with pytest.raises(InvalidUrl, match=said):
            await EventStore.open(url, events=[Noted], **options)

    run(main)
    assert list(tmp_path.iterdir()) == []
