"""The place of a log is not what it should be, or the store is used where it cannot work."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from everlog import CannotOpen, EventStore
from everlog.adapters.sqlite import schema
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.errors import (
    CorruptLedger,
    EverlogError,
    FileReplaced,
    ForeignFile,
    LedgerBusy,
    NewerFormat,
    NotSupported,
    StorageFull,
)
from tests.scenarios.processes import Process
from tests.scenarios.programs import EVENTS, Moved

NOBODY = 65534
posix = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX")


def opening(path: Path, **options: Any) -> object:
    """Opens a file, appends, closes: everything that could touch it."""

    async def main() -> None:
        async with EventStore.open(f"sqlite:///{path}", events=EVENTS, **options) as store:
            await store.append("stream", Moved(0, 0))

    return asyncio.run(main())


def ledger_in(path: Path, events: int = 3) -> Path:
    """Makes a ledger with some events, and closes it."""

    async def main() -> None:
        async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
            for number in range(events):
                await store.append(f"stream-{number % 3}", Moved(0, number))

    asyncio.run(main())
    return path


@contextmanager
def untouched(directory: Path) -> Generator[None]:
    """Asserts that every file in a directory stays as it is, and none comes or goes."""

    def picture() -> dict[str, bytes]:
        # Not the index that SQLite rebuilds from the WAL: it holds locks and marks, no data.
        files = (path for path in directory.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files if path.suffix != ".db-shm"}

    before = picture()
    yield
    assert picture() == before


# --- a place that cannot be opened ---


def test_a_directory_and_a_missing_directory_are_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="is a directory; name a file in it"):
        opening(tmp_path)
    with pytest.raises(CannotOpen, match="create it first"):
        opening(tmp_path / "missing" / "log.db")
    with pytest.raises(CannotOpen):
        opening(tmp_path / ("x" * 300))
    with pytest.raises(CannotOpen):
        opening(Path("/proc/log.db"))
    assert list(tmp_path.iterdir()) == []


def test_a_side_file_that_cannot_be_one_is_refused_when_opening(tmp_path: Path) -> None:
    path = ledger_in(tmp_path / "log.db")

    async def main() -> None:
        ledger = await SqliteLedger.open(str(path), guard_checkpoints=True)
        await ledger.close()

    lock = tmp_path / "log.db-lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    with pytest.raises(CannotOpen, match=r"log\.db-lock"):
        asyncio.run(main())


@posix
@pytest.mark.parametrize("case", ["new in a read-only directory", "read-only", "unreadable"])
def test_an_unwritable_file_is_refused_and_stays_as_it_is(case: str) -> None:
    # As another user where this one may do everything. pytest's directories are closed to others.
    user = NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "log.db"
        if case != "new in a read-only directory":
            ledger_in(path)
            (directory / "log.db-lock").unlink(missing_ok=True)
            path.chmod(0o444 if case == "read-only" else 0o000)
        directory.chmod(0o755 if user is not None else 0o555)
        before = sorted(os.listdir(directory))
        with Process("open_as", path=str(path), user=user) as process:
            kind, message = process.hear()
        directory.chmod(0o755)
        assert kind == "CannotOpen"
        assert str(path) in message
        assert "permissions" in message
        assert sorted(os.listdir(directory)) == before
        if path.exists():
            path.chmod(0o600)
            opening(path)


@posix
def test_a_ledger_in_a_read_only_directory_is_refused_and_stays_as_it_is() -> None:
    user = NOBODY if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = ledger_in(directory / "log.db")
        (directory / "log.db-lock").unlink(missing_ok=True)
        path.chmod(0o666)
        directory.chmod(0o555)
        with untouched(directory), Process("open_as", path=str(path), user=user) as process:
            kind, _ = process.hear()
            assert kind == "CannotOpen"
        directory.chmod(0o755)


@posix
def test_files_of_a_ledger_are_nobody_elses_business(tmp_path: Path) -> None:
    async def main() -> None:
        old = os.umask(0)
        try:
            ledger = await SqliteLedger.open(str(tmp_path / "log.db"), guard_checkpoints=True)
            async with EventStore(ledger, events=EVENTS) as store:
                await store.append("stream", Moved(0, 0))
                await store.backup(str(tmp_path / "backup.db"))
                modes = _modes(tmp_path)
        finally:
            os.umask(old)
        names = {"log.db", "log.db-wal", "log.db-shm", "log.db-lock", "backup.db"}
        assert modes == dict.fromkeys(names, 0o600)

    asyncio.run(main())


def _modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


# --- files that are something else ---


def _text(path: Path) -> None:
    path.write_text("Dear diary, this is no database.\n" * 100)


def _short_text(path: Path) -> None:
    path.write_text("x")


def _other_database(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
        connection.execute("INSERT INTO theirs VALUES (1)")


def _other_database_with_a_version(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 1")


def _other_database_with_an_application(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA application_id = 1")


def _other_wal_database(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (a)")


def _other_wal_database_after_a_crash(path: Path) -> None:
    original = path.with_name("original")
    with closing(sqlite3.connect(original, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (a)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO theirs VALUES (1)")
        shutil.copy(original, path)
        shutil.copy(f"{original}-wal", f"{path}-wal")


def _other_wal_database_all_in_its_wal(path: Path) -> None:
    original = path.with_name("original")
    with closing(sqlite3.connect(original, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (a)")
        shutil.copy(original, path)
        shutil.copy(f"{original}-wal", f"{path}-wal")


FOREIGN: list[Callable[[Path], None]] = [
    _text,
    _short_text,
    _other_database,
    _other_database_with_a_version,
    _other_database_with_an_application,
    _other_wal_database,
    _other_wal_database_after_a_crash,
    _other_wal_database_all_in_its_wal,
]


@pytest.mark.parametrize("make", FOREIGN, ids=[make.__name__.strip("_") for make in FOREIGN])
def test_a_file_of_another_program_is_refused_and_not_touched(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "log.db"
    make(path)
    with (
        untouched(tmp_path),
        pytest.raises(ForeignFile, match="not touched: choose another path"),
    ):
        opening(path)


def test_a_database_that_another_program_has_open_is_refused_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE theirs (a)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO theirs VALUES (1)")
        with untouched(tmp_path), pytest.raises(ForeignFile):
            opening(path)
        # The lock that it holds is still held: looking at its file has not dropped it.
        with Process("try_to_write", path=str(path)) as process:
            assert process.hear() == "refused"
        connection.execute("COMMIT")
        assert connection.execute("SELECT * FROM theirs").fetchall() == [(1,)]


@pytest.mark.parametrize("crashed", [False, True], ids=["closed", "after a crash"])
def test_a_file_of_a_newer_everlog_is_refused_and_not_touched(
    tmp_path: Path, crashed: bool
) -> None:
    path = ledger_in(tmp_path / "log.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
        if crashed:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("UPDATE ledger SET epoch = epoch")
            shutil.copy(path, tmp_path / "crashed.db")
            shutil.copy(f"{path}-wal", tmp_path / "crashed.db-wal")
            path = tmp_path / "crashed.db"
    with untouched(tmp_path), pytest.raises(NewerFormat, match="upgrade everlog"):
        opening(path)


@pytest.mark.parametrize("version", [0, -1])
def test_a_ledger_of_an_impossible_format_is_refused_and_not_touched(
    tmp_path: Path, version: int
) -> None:
    path = ledger_in(tmp_path / "log.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with untouched(tmp_path), pytest.raises(ForeignFile):
        opening(path)


def test_a_ledger_after_a_crash_is_opened_with_all_that_its_wal_holds(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/log.db"
        async with EventStore.open(url, events=EVENTS) as store:
            await store.append("stream", Moved(0, 0))
            shutil.copy(tmp_path / "log.db", tmp_path / "crashed.db")
            shutil.copy(tmp_path / "log.db-wal", tmp_path / "crashed.db-wal")
        async with EventStore.open(f"sqlite:///{tmp_path}/crashed.db", events=EVENTS) as store:
            [record] = await store.append("stream", Moved(0, 1))
            assert record.position == 2
            assert (await store.verify()).ok

    asyncio.run(main())


# --- what happens under an open store ---


async def _delete(path: Path) -> None:
    os.unlink(path)


async def _replace(path: Path) -> None:
    other = path.with_name("other.db")
    async with EventStore.open(f"sqlite:///{other}", events=EVENTS) as store:
        await store.append("stream", Moved(9, 9))
    os.replace(other, path)


@posix
@pytest.mark.parametrize("change", [_delete, _replace], ids=["deleted", "replaced"])
def test_a_file_that_is_gone_under_the_open_store_is_noticed_before_a_write(
    tmp_path: Path, change: Callable[[Path], Awaitable[None]]
) -> None:
    path = tmp_path / "log.db"

    async def main() -> None:
        async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
            await store.append("stream", Moved(0, 0))
            await change(path)
            after = path.read_bytes() if path.exists() else None
            for _ in range(2):
                with pytest.raises(FileReplaced, match="remove the -wal and -shm files"):
                    await store.append("stream", Moved(0, 1))
        assert (path.read_bytes() if path.exists() else None) == after
        assert (after is not None) is (change is _replace)

    asyncio.run(main())


def test_a_full_database_is_reported_reads_go_on_and_nothing_is_half(tmp_path: Path) -> None:
    async def main() -> None:
        async with EventStore.open(f"sqlite:///{tmp_path}/log.db", events=EVENTS) as store:
            await store.append("stream", Moved(0, 0))
            await _limit_pages(store, 40)
            position = await _fill(store)
            await _limit_pages(store, 1_000_000)
            [record] = await store.append("stream", Moved(0, 1))
            assert record.position == position + 1
            assert (await store.verify()).ok

    asyncio.run(main())


@posix
def test_a_full_disk_is_reported_reads_go_on_and_nothing_is_half(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk of its own cannot be mounted here")

    async def fill() -> int:
        async with EventStore.open(f"sqlite:///{disk}/log.db", events=EVENTS) as store:
            await store.append("stream", Moved(0, 0))
            return await _fill(store)

    async def go_on(position: int) -> None:
        async with EventStore.open(f"sqlite:///{disk}/log.db", events=EVENTS) as store:
            [record] = await store.append("stream", Moved(0, 1))
            assert record.position == position + 1
            assert (await store.verify()).ok

    try:
        position = asyncio.run(fill())
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        asyncio.run(go_on(position))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def _fill(store: EventStore) -> int:
    """Appends until there is no room; returns the position that the store has got to."""
    stored: list[str] = []
    for _ in range(10_000):
        try:
            records = await store.append("stream", *[Moved(0, 0)] * 50, relations=["relation"])
        except StorageFull:
            break
        stored += [record.id for record in records]
    else:
        pytest.fail("it was never full")
    with pytest.raises(StorageFull, match="make room"):
        await store.append("stream", *[Moved(0, 0)] * 1_000)
    seen = [record.id async for record in store.read(after=1)]
    assert seen == stored
    assert (await store.verify()).ok
    return 1 + len(stored)


async def _limit_pages(store: EventStore, pages: int) -> None:
    ledger = store.ledger
    assert isinstance(ledger, SqliteLedger)
    connection: sqlite3.Connection = ledger._writer._connection  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_lock_that_another_holds_for_too_long_is_reported_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    path = ledger_in(tmp_path / "log.db")

    async def main() -> None:
        async with EventStore.open(f"sqlite:///{path}", events=EVENTS, timeout_s=0.1) as store:
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                for _ in range(2):
                    with pytest.raises(LedgerBusy, match="nothing was written"):
                        await store.append("stream-0", Moved(0, 9))
                with pytest.raises(LedgerBusy):
                    await store.relations.add("relation", "stream-0")
                assert len([record async for record in store.read()]) == 3, "reads go on"
                other.execute("ROLLBACK")
            [record] = await store.append("stream-0", Moved(0, 9))
            assert record.position == 4
            assert (await store.verify()).ok

    asyncio.run(main())


def test_a_damaged_file_is_reported_and_verify_says_so_without_raising(tmp_path: Path) -> None:
    path = ledger_in(tmp_path / "log.db", events=300)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        [root] = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'records' AND type = 'table'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)

    async def main() -> None:
        async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
            with pytest.raises(CorruptLedger, match="restore a backup"):
                await store.read().to_list()
            with pytest.raises(CorruptLedger):
                await store.append("stream-0", Moved(0, 9))
            assert not (await store.verify()).ok

    asyncio.run(main())


def test_a_ledger_without_its_tables_is_not_opened_as_if_it_were_well(tmp_path: Path) -> None:
    path = ledger_in(tmp_path / "log.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE ledger")
    with pytest.raises(CannotOpen):
        opening(path)


STATEMENTS = {
    "update": "UPDATE records SET data = '{}' WHERE position = 1",
    "update of a flag": "UPDATE records SET flags = 3 WHERE position = 1",
    "update of a position": "UPDATE records SET position = 99 WHERE position = 3",
    "half a tombstone": "UPDATE records SET data = NULL WHERE position = 1",
    "a tombstone with another id": (
        "UPDATE records SET nonce = NULL, data = NULL, meta = NULL, id = 'x' WHERE position = 1"
    ),
    "delete": "DELETE FROM records WHERE position = 3",
    "delete of all": "DELETE FROM records",
    "replace": "REPLACE INTO records SELECT * FROM records WHERE position = 1",
    "replace by id": (
        "INSERT OR REPLACE INTO records SELECT 2, version, id, stream, type, schema, register,"
        " origin, correlation, causation, created, recorded, flags, nonce, data, meta, hash,"
        " chain, late FROM records WHERE position = 1"
    ),
    "update or replace": "UPDATE OR REPLACE records SET id = (SELECT id FROM records) || ''",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=list(STATEMENTS))
def test_the_database_itself_refuses_to_change_history(tmp_path: Path, statement: str) -> None:
    path = ledger_in(tmp_path / "log.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="everlog: "):
            connection.execute(statement)
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (3,)

    async def main() -> None:
        async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
            assert (await store.verify()).ok

    asyncio.run(main())


# --- backups ---


def test_a_backup_is_a_whole_ledger_and_never_replaces_anything(tmp_path: Path) -> None:
    async def main() -> None:
        async with EventStore.open(f"sqlite:///{tmp_path}/log.db", events=EVENTS) as store:
            await store.append("stream", Moved(0, 0), relations=["relation"])
            await store.backup(str(tmp_path / "backup.db"))
            await store.append("stream", Moved(0, 1))
            (tmp_path / "note.txt").write_text("mine")
            backup = (tmp_path / "backup.db").read_bytes()
            before = sorted(os.listdir(tmp_path))
            for wrong, says in (
                ("backup.db", "exists"),
                ("note.txt", "exists"),
                ("log.db", "exists"),
                (".", "exists"),
                ("missing/backup.db", "create it first"),
                ("x" * 300, "cannot be written"),
            ):
                with pytest.raises(CannotOpen, match=says):
                    await store.backup(str(tmp_path / wrong))
            assert sorted(os.listdir(tmp_path)) == before
            assert (tmp_path / "backup.db").read_bytes() == backup
            assert (tmp_path / "note.txt").read_text() == "mine"
            assert (await store.verify()).ok
        async with EventStore.open(f"sqlite:///{tmp_path}/backup.db", events=EVENTS) as copy:
            assert [record.data async for record in copy.read()] == [Moved(0, 0)]
            assert await copy.relations.streams_of("relation") == ["stream"]
            assert (await copy.verify()).ok

    asyncio.run(main())


def test_a_store_in_memory_says_what_to_do_in_the_place_of_a_backup(tmp_path: Path) -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=EVENTS) as store:
            with pytest.raises(NotSupported, match="import_records"):
                await store.backup(str(tmp_path / "backup.db"))

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


# --- several stores in one process ---


def test_two_stores_on_one_file_in_one_process_agree_and_part_without_harm(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"

    async def main() -> None:
        async with EventStore.open(url, events=EVENTS) as one:
            async with EventStore.open(url, events=EVENTS) as two:

                async def fill(store: EventStore, process: int) -> None:
                    for number in range(20):
                        await store.append("stream", Moved(process, number))

                await asyncio.gather(fill(one, 1), fill(two, 2))
                assert (await two.verify()).ok
            [record] = await one.append("stream", Moved(1, 20))
            assert record.position == record.version == 41
            assert (await one.verify()).ok

    asyncio.run(main())


@posix
def test_opening_and_closing_a_store_drops_no_lock_of_this_process(tmp_path: Path) -> None:
    # POSIX locks vanish when their process closes any descriptor of the file.
    path = ledger_in(tmp_path / "log.db")

    async def main() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as mine:
            mine.execute("BEGIN IMMEDIATE")
            async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
                await store.read().to_list()
                await store.backup(str(tmp_path / "backup.db"))
            with Process("try_to_write", path=str(path)) as process:
                assert process.hear() == "refused"
            mine.execute("ROLLBACK")
        # The test of the test: the same process is let in once a descriptor has been closed.
        with closing(sqlite3.connect(path, isolation_level=None)) as mine:
            mine.execute("BEGIN IMMEDIATE")
            os.close(os.open(f"{path}-shm", os.O_RDONLY))
            with Process("try_to_write", path=str(path)) as process:
                assert process.hear() == "let in"

    asyncio.run(main())


# --- forks ---


@posix
@pytest.mark.parametrize("how", ["fork", "multiprocessing"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_forked_child_is_refused_everything_and_its_parent_goes_on(
    tmp_path: Path, how: str, kind: str
) -> None:
    path = str(tmp_path / "log.db") if kind == "sqlite" else ""
    with Process("fork", path=path, how=how) as process:
        child = process.hear()
        parent = process.hear()
        assert process.wait() == 0
    for name, told in child["told"].items():
        assert told.startswith("ForkedConnection: "), name
        assert "open the store again" in told
    assert parent["status"] == 0
    assert parent["ok"]
    if path:  # the child's own store is as good as any
        assert (child["again"], parent["position"]) == (2, 3)
        assert os.listdir(tmp_path).count("log.db.backup") == 0


def test_every_error_of_this_page_is_one_of_ours() -> None:
    for kind in (CannotOpen, CorruptLedger, FileReplaced, LedgerBusy, NotSupported, StorageFull):
        assert issubclass(kind, EverlogError)
