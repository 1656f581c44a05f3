"""The file of read models: how it is made, what is refused, who waits for whom."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.adapters.sqlite import bookkeeping
from everlog.adapters.sqlite import views_schema as schema
from everlog.adapters.sqlite.checkpoints import SqliteCheckpoints
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.adapters.sqlite.threads import Threads
from everlog.adapters.sqlite.views_file import views_path
from everlog.errors import (
    CannotOpen,
    EverlogError,
    FileReplaced,
    ForeignFile,
    LedgerBusy,
    MisusedStore,
    NewerFormat,
    OutcomeUnknown,
    StorageFull,
)
from everlog.ports.checkpoints import Checkpoints, Held, Move

INSERT = "INSERT INTO seen (position) VALUES (?)"
SELECT = "SELECT position FROM seen ORDER BY position"


def run(
    path: Path | None, work: Callable[[SqliteCheckpoints], Awaitable[None]], **options: Any
) -> None:
    """Does something with the checkpoints of a file in which there is a table of the user's."""

    async def main() -> None:
        checkpoints = await SqliteCheckpoints.open(None if path is None else str(path), **options)
        try:
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute("CREATE TABLE IF NOT EXISTS seen (position INTEGER)")
            await work(checkpoints)
        finally:
            await checkpoints.close()

    asyncio.run(main())


async def seen(checkpoints: Checkpoints) -> list[int]:
    async with checkpoints.transaction() as transaction:
        return [position for [position] in await transaction.tx.fetch(SELECT)]


def connection_of(checkpoints: SqliteCheckpoints) -> sqlite3.Connection:
    """Returns the connection that writes."""
    writer: object = vars(checkpoints)["_opened"]
    connection: sqlite3.Connection = vars(writer)["_connection"]
    return connection


def modes_in(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


def size_of_wal(path: Path) -> int:
    return Path(f"{path}-wal").stat().st_size


def can_write(path: Path) -> bool:
    """Whether another program can begin to write at once."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


# --- the file ---


@pytest.mark.parametrize(
    ("ledger", "views"),
    [
        ("app.db", "app.views.db"),
        ("/var/lib/app/log.sqlite3", "/var/lib/app/log.views.sqlite3"),
        ("app", "app.views"),
        ("v1.2/app", "v1.2/app.views"),
        (".hidden", ".hidden.views"),
    ],
)
def test_the_file_of_read_models_is_beside_its_ledger(ledger: str, views: str) -> None:
    assert views_path(ledger) == views


def test_a_new_file_is_nobody_elses_and_every_commit_is_synced(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        modes = modes_in(tmp_path)
        assert modes.pop(path.name) == 0o600
        assert set(modes.values()) <= {0o600}
        assert checkpoints.path == str(path)
        connection = connection_of(checkpoints)
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]  # sql: names of this test
            for name in ("journal_mode", "synchronous", "fullfsync", "wal_autocheckpoint")
        }
        assert settings == {
            "journal_mode": "wal",
            "synchronous": 2,
            "fullfsync": 1,
            "wal_autocheckpoint": 0,
        }

    run(path, work, guard_checkpoints=True)


def test_a_file_with_tables_of_the_users_own_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.execute("INSERT INTO orders VALUES (7)")
        connection.execute("PRAGMA application_id = 5")
        connection.execute("PRAGMA user_version = 9")

    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            assert await transaction.tx.fetch("SELECT id FROM orders") == [(7,)]

    for _ in range(2):
        run(path, work)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (5,)
        assert connection.execute("PRAGMA user_version").fetchone() == (9,)
        names = {name for [name] in connection.execute("SELECT name FROM sqlite_schema")}
    ours = {name for name in names if not name.startswith("sqlite_")} - {"orders", "seen"}
    assert all(name.startswith("everlog_") for name in ours)


async def _make_ledger(path: Path) -> None:
    async with EventStore.open(f"sqlite:///{path}", events=[]):
        pass


def _make(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


MADE_BY: dict[str, tuple[Callable[[Path], object], type[CannotOpen]]] = {
    "a ledger": (lambda path: asyncio.run(_make_ledger(path)), ForeignFile),
    "a text": (
        lambda path: path.write_text("no database at all, but a long text" * 99),
        ForeignFile,
    ),
    "one byte": (lambda path: path.write_text("x"), ForeignFile),
    "tables of our names": (lambda path: _make(path, "CREATE TABLE Everlog_x (a)"), ForeignFile),
    "a table without a version": (
        lambda path: _make(path, "CREATE TABLE everlog_views (version)"),
        ForeignFile,
    ),
    "a newer everlog": (
        lambda path: _make(
            path,
            "CREATE TABLE everlog_views (version)",
            "INSERT INTO everlog_views VALUES (2)",
        ),
        NewerFormat,
    ),
    "a folder": (lambda path: path.mkdir(), CannotOpen),
}


@pytest.mark.parametrize("what", MADE_BY)
def test_what_is_no_file_of_read_models_is_refused_and_not_touched(
    what: str, tmp_path: Path
) -> None:
    path = tmp_path / "app.views.db"
    make, error = MADE_BY[what]
    make(path)
    before = path.read_bytes() if path.is_file() else b""

    async def work(checkpoints: SqliteCheckpoints) -> None:
        raise AssertionError("it was opened")

    with pytest.raises(error) as raised:
        run(path, work)
    assert type(raised.value) is error
    assert str(path) in str(raised.value)
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert not Path(f"{path}-lock").exists() or what == "a ledger"


def test_a_file_of_read_models_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        pass

    run(path, work)
    with pytest.raises(ForeignFile):
        asyncio.run(_make_ledger(path))


def test_many_that_make_the_file_at_once_make_one(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def main() -> None:
        opened = await asyncio.gather(*(SqliteCheckpoints.open(str(path)) for _ in range(8)))
        slices = {
            await each.register("orders", slices=number, position=0, token=None)
            for number, each in enumerate(opened, 1)
        }
        assert slices == {1}
        for each in opened:
            await each.close()

    asyncio.run(main())


def test_a_file_that_was_replaced_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        path.rename(tmp_path / "old.db")
        with pytest.raises(FileReplaced):
            await checkpoints.register("orders", slices=1, position=0, token=None)
        with pytest.raises(FileReplaced):
            await checkpoints.statuses()
        with pytest.raises(FileReplaced):
            await seen(checkpoints)
        (tmp_path / "old.db").rename(path)
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(INSERT, (1,))
            await transaction.tx.fetch(SELECT)
        with pytest.raises(FileReplaced):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(INSERT, (2,))
                await transaction.tx.fetch(SELECT)
                path.rename(tmp_path / "old.db")
        (tmp_path / "old.db").rename(path)
        assert await seen(checkpoints) == [1]

    run(path, work)


# --- who waits for whom ---


def test_a_handler_that_has_only_executed_yet_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(INSERT, (1,))
            assert can_write(path)
            await checkpoints.register("orders", slices=1, position=0, token=None)
            await transaction.tx.fetch(SELECT)
            assert not can_write(path)
        assert can_write(path)
        assert await seen(checkpoints) == [1]

    run(path, work)


def test_a_batch_goes_to_the_thread_and_back_a_few_times_and_not_for_every_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[str] = []
    hand_over = Threads.run

    def counted(self: Threads, function: Any, *args: Any, **kw: Any) -> Any:
        jobs.append(function.__name__)
        return hand_over(self, function, *args, **kw)

    async def work(checkpoints: SqliteCheckpoints) -> None:
        await checkpoints.register("orders", slices=1, position=0, token=None)
        [held] = await checkpoints.claim("orders", "w1", ttl_s=60, most=1)
        monkeypatch.setattr(Threads, "run", counted)
        async with checkpoints.transaction() as transaction:
            for number in range(500):
                await transaction.tx.execute(INSERT, (number,))
            await transaction.move("orders", [Move(0, held.fence, 0, 500, None)])
        assert jobs == ["_work", "commit"]
        monkeypatch.undo()
        assert len(await seen(checkpoints)) == 500

    run(tmp_path / "app.views.db", work)


def test_who_only_looks_waits_for_no_handler_and_who_writes_does(tmp_path: Path) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        await checkpoints.register("orders", slices=1, position=0, token=None)
        async with checkpoints.transaction() as transaction:
            await transaction.tx.fetch(SELECT)
            claiming = asyncio.create_task(checkpoints.claim("orders", "w1", ttl_s=60, most=1))
            [status] = await checkpoints.statuses()
            assert status.worker is None
            assert not claiming.done()
        assert len(await claiming) == 1

    run(tmp_path / "app.views.db", work)


def test_who_would_wait_for_its_own_transaction_is_told(tmp_path: Path) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        await checkpoints.register("orders", slices=1, position=0, token=None)
        async with checkpoints.transaction() as transaction:
            # Also where a task of the handler's has begun it.
            await asyncio.gather(transaction.tx.fetch(SELECT))
            with pytest.raises(MisusedStore, match="inside of a transaction"):
                await checkpoints.claim("orders", "w1", ttl_s=60, most=1)
            with pytest.raises(MisusedStore, match="inside of a transaction"):
                await seen(checkpoints)
            await transaction.tx.execute(INSERT, (1,))
        assert await seen(checkpoints) == [1]

    run(tmp_path / "app.views.db", work)


def test_a_handler_that_never_ends_holds_nobody_up_for_longer_than_the_timeout(
    tmp_path: Path,
) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.fetch(SELECT)
            other = asyncio.create_task(
                checkpoints.register("orders", slices=1, position=0, token=None)
            )
            await asyncio.wait([other])
            assert isinstance(other.exception(), LedgerBusy)

    run(tmp_path / "app.views.db", work, timeout_s=0.05)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_loop_goes_on_while_another_process_holds_the_file(
    tmp_path: Path, guarded: bool
) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(
                checkpoints.register("orders", slices=1, position=0, token=None)
            )
            ticks = 0
            while not writing.done():
                await asyncio.sleep(0.001)
                ticks += 1
            assert ticks > 20
            with pytest.raises(LedgerBusy):
                await writing
            with pytest.raises(LedgerBusy):
                await seen(checkpoints)
            assert await checkpoints.statuses() == []
        await checkpoints.register("orders", slices=1, position=0, token=None)

    run(path, work, timeout_s=0.2, guard_checkpoints=guarded)


def test_no_transaction_runs_beside_whoever_holds_the_side_file(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        side = FileLock(f"{path}-lock")
        with side.held(1), pytest.raises(LedgerBusy):  # as while another checkpoints
            await seen(checkpoints)
        async with checkpoints.transaction() as transaction:
            await transaction.tx.fetch(SELECT)
            with pytest.raises(LedgerBusy), side.held(0):  # as whoever would checkpoint
                pass
        for end in (ZeroDivisionError, asyncio.CancelledError):
            with pytest.raises(end):
                async with checkpoints.transaction() as transaction:
                    await transaction.tx.fetch(SELECT)
                    raise end
        await seen(checkpoints)
        with side.held(1):
            pass
        side.close()

    run(path, work, timeout_s=0.05, guard_checkpoints=True)


def test_where_checkpoints_are_ours_to_make_the_wal_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute("CREATE TABLE texts (text TEXT)")
        for _ in range(30):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute("DELETE FROM texts")
                for _ in range(10):
                    await transaction.tx.execute("INSERT INTO texts VALUES (?)", ("x" * 100_000,))
        assert size_of_wal(path) < 20_000_000  # 30 MB were written

    run(path, work, guard_checkpoints=True)


# --- failures ---


def test_a_statement_that_ends_the_transaction_by_itself_commits_nothing(tmp_path: Path) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute("CREATE TABLE once (position INTEGER UNIQUE)")
        for how in ("INSERT OR ROLLBACK INTO once VALUES (1)", "INSERT INTO once VALUES (1)"):
            with pytest.raises(sqlite3.IntegrityError):
                async with checkpoints.transaction() as transaction:
                    tx = transaction.tx
                    await tx.execute(INSERT, (1,))
                    await tx.execute(how)
                    await tx.execute(how)
                    await tx.execute(INSERT, (2,))
                    with pytest.raises(sqlite3.IntegrityError):
                        await tx.fetch(SELECT)
                    with pytest.raises(sqlite3.IntegrityError):
                        await tx.execute(INSERT, (3,))
            assert await seen(checkpoints) == []

    run(tmp_path / "app.views.db", work)


def test_a_place_without_room_is_told_as_that_and_not_as_the_handlers_failure(
    tmp_path: Path,
) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        connection = connection_of(checkpoints)
        [pages] = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")  # sql: a number of this test
        with pytest.raises(StorageFull):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute_many(INSERT, [(number,) for number in range(99_999)])
        assert await seen(checkpoints) == []
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(INSERT, (1,))
        assert await seen(checkpoints) == [1]

    run(tmp_path / "app.views.db", work)


class FailingCommit:
    """A connection whose COMMIT fails as a disk does that cannot sync."""

    def __init__(self, connection: sqlite3.Connection, errorname: str) -> None:
        self._connection = connection
        self._errorname = errorname

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = self._errorname
            raise error
        return self._connection.execute(statement, *values)


@pytest.mark.parametrize(
    ("errorname", "told"),
    [("SQLITE_IOERR_FSYNC", OutcomeUnknown), ("SQLITE_FULL", StorageFull)],
)
def test_a_commit_that_fails_says_whether_it_can_come_to_light(
    tmp_path: Path, errorname: str, told: type[EverlogError]
) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        writer: Any = vars(checkpoints)["_opened"]
        sound = connection_of(checkpoints)
        writer._connection = FailingCommit(sound, errorname)
        with pytest.raises(told) as of_handlers:
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(INSERT, (1,))
        with pytest.raises(told) as of_change:
            await checkpoints.register("orders", slices=1, position=0, token=None)
        if told is OutcomeUnknown:  # a program would repeat what a handler has done
            assert "Do not repeat it" in str(of_handlers.value)
            assert "repeat it: twice" in str(of_change.value)
        writer._connection = sound
        assert can_write(path)
        assert await seen(checkpoints) == []
        assert await checkpoints.statuses() == []

    run(path, work)


def test_a_constraint_that_is_checked_at_the_end_is_the_handlers_failure(tmp_path: Path) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        connection_of(checkpoints).execute("PRAGMA foreign_keys = ON")
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
            await transaction.tx.execute(
                "CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
            )
        with pytest.raises(sqlite3.IntegrityError):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(INSERT, (1,))
                await transaction.tx.execute("INSERT INTO child VALUES (5)")
        assert await seen(checkpoints) == []

    run(tmp_path / "app.views.db", work)


def test_what_is_asked_for_again_and_again_is_found_by_an_index(tmp_path: Path) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        values = {"name": "a", "stream": "b", "limit": 1, "held_up": True}
        asked: list[tuple[str, Any]] = [
            (schema.SELECT_DUE, ("a", "[1]")),
            *((select, values) for named, select in schema.SELECT_PARKED.items() if any(named)),
            (schema.SELECT_STATUSES, ()),
        ]
        for statement, bound in asked:
            explain = "EXPLAIN QUERY PLAN " + statement
            plan = connection_of(checkpoints).execute(explain, bound)  # sql: statements of ours
            steps = [step for *_, step in plan.fetchall()]
            assert any(step.startswith(("SEARCH everlog_parked", "SEARCH p ")) for step in steps)
            assert not any(step.startswith(("SCAN everlog_parked", "SCAN p ")) for step in steps)

    run(tmp_path / "app.views.db", work)


@pytest.mark.parametrize("statement", ["PRAGMA synchronous = OFF", "ATTACH 'x' AS y", "VACUUM"])
def test_what_would_change_the_connection_is_refused(tmp_path: Path, statement: str) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        with pytest.raises(MisusedStore, match=statement.split()[0]):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(statement)

    run(tmp_path / "app.views.db", work)


def test_bytes_that_change_behind_the_call_are_written_as_they_were(tmp_path: Path) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            text = bytearray(b"before")
            await transaction.tx.execute("CREATE TABLE texts (text BLOB)")
            await transaction.tx.execute("INSERT INTO texts VALUES (?)", (text,))
            await transaction.tx.execute("INSERT INTO texts VALUES (?)", (memoryview(text),))
            text[:] = b"behind"
            rows = await transaction.tx.fetch("SELECT text FROM texts")
        assert rows == [(b"before",), (b"before",)]

    run(tmp_path / "app.views.db", work)


def test_a_statement_that_was_called_off_is_not_forgotten_by_whoever_catches_that(
    tmp_path: Path,
) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        other = await SqliteCheckpoints.open(checkpoints.path)
        with pytest.raises(EverlogError, match="called off"):
            async with checkpoints.transaction() as transaction:
                async with other.transaction() as blocking:
                    await blocking.tx.fetch(SELECT)
                    await transaction.tx.execute(INSERT, (1,))
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.02):
                            await transaction.tx.fetch(SELECT)
                await transaction.tx.execute(INSERT, (2,))
        assert await seen(checkpoints) == []
        await other.close()

    run(tmp_path / "app.views.db", work)


# --- ends ---


def test_who_is_called_off_leaves_no_transaction_and_who_closes_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        await checkpoints.register("orders", slices=1, position=0, token=None)

        async def handle() -> None:
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(INSERT, (1,))
                await transaction.tx.fetch(SELECT)
                await transaction.move("orders", [Move(0, 0, 0, 0, None)])

        for steps in range(0, 60, 3):
            handling = asyncio.create_task(handle())
            for _ in range(steps):
                await asyncio.sleep(0.0001)
            handling.cancel()
            await asyncio.wait([handling])
            assert await checkpoints.claim("nobody's", "w1", ttl_s=1, most=1) == []
            assert can_write(path)
            assert await checkpoints.statuses()

    run(path, work)
    for thread in threading.enumerate():
        if "everlog-views" in thread.name:  # told to end, and about to
            thread.join(20)
            assert not thread.is_alive()
    for name in ("app.views.db-wal", "app.views.db-shm"):
        assert not (tmp_path / name).exists(), "a connection was left open"


@pytest.mark.parametrize("closed", [False, True])
def test_a_claim_that_is_called_off_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    path = tmp_path / "app.views.db"
    entered, go_on = threading.Event(), threading.Event()

    async def called_off(checkpoints: SqliteCheckpoints) -> None:
        await checkpoints.register("orders", slices=2, position=0, token=None)
        [dead] = await checkpoints.claim("orders", "dead", ttl_s=0, most=1)
        await checkpoints.attempt("orders", dead.slice, dead.fence, 1)
        claim = bookkeeping.claim

        def slowly(*args: Any) -> list[Held]:
            taken = claim(*args)
            entered.set()
            assert go_on.wait(20)
            return taken

        with monkeypatch.context() as patch:
            patch.setattr(bookkeeping, "claim", slowly)
            claiming = asyncio.create_task(checkpoints.claim("orders", "w1", ttl_s=600, most=2))
            assert await asyncio.to_thread(entered.wait, 20)
            claiming.cancel()
            await asyncio.wait([claiming])
            assert claiming.cancelled()
            go_on.set()
        if not closed:
            await look(checkpoints)

    async def look(checkpoints: SqliteCheckpoints) -> None:
        taken = await checkpoints.claim("orders", "w2", ttl_s=600, most=2)
        assert [each.slice for each in taken] == [0, 1], "who was called off holds them"
        assert [each.clean for each in taken] == [False, True]
        assert await checkpoints.attempt("orders", 0, taken[0].fence, 1) == 2

    run(path, called_off)
    if closed:
        run(path, look)


def test_a_task_that_a_handler_left_behind_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"

    async def work(checkpoints: SqliteCheckpoints) -> None:
        left: list[asyncio.Task[Any]] = []
        async with checkpoints.transaction() as blocking:
            await blocking.tx.fetch(SELECT)

            async def handle() -> None:
                async with checkpoints.transaction() as transaction:
                    left.append(asyncio.create_task(transaction.tx.fetch(SELECT)))
                    await asyncio.sleep(0)
                    raise ZeroDivisionError

            handling = asyncio.create_task(handle())
            await asyncio.wait([handling])
            assert isinstance(handling.exception(), ZeroDivisionError)
        await asyncio.wait(left)
        assert isinstance(left[0].exception(), MisusedStore)
        assert can_write(path)
        assert await seen(checkpoints) == []

    run(path, work)


def test_read_models_in_memory_can_be_looked_at_from_inside_of_their_transaction() -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        assert checkpoints.path is None
        await checkpoints.register("orders", slices=1, position=0, token=None)
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(INSERT, (1,))
            await transaction.tx.fetch(SELECT)
            assert len(await checkpoints.statuses()) == 1
            with pytest.raises(MisusedStore):
                await checkpoints.remove("orders")
        other = await SqliteCheckpoints.open(None)
        assert await other.statuses() == []
        await other.close()

    run(None, work)
