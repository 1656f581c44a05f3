"""A refused opening leaves no file open and no thread behind, and neither does a closed store."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from everlog import CannotOpen, EventStore, InvalidInput
from everlog.adapters.sqlite import schema
from everlog.adapters.sqlite.connections import open_or_create
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.errors import (
    DamagedFile,
    EverlogError,
    ForeignFile,
    InvalidUrl,
    LedgerBusy,
    NewerFormat,
)
from tests.scenarios.programs import EVENTS, Moved

FDS = Path("/proc/self/fd")
PATIENCE_S = 20.0

pytestmark = pytest.mark.skipif(not FDS.exists(), reason="counts in /proc, of Linux")


# --- what is counted ---


def open_files() -> list[str]:
    """What each open descriptor of this process leads to."""
    found: list[str] = []
    for name in os.listdir(FDS):
        with suppress(FileNotFoundError):  # the descriptor of the listing itself
            found.append(os.readlink(FDS / name))
    return found


@asynccontextmanager
async def nothing_left(*, patience_s: float = PATIENCE_S) -> AsyncGenerator[None]:
    """Asserts that what was open before is open afterwards, and no more; threads too.

    The collector is off: what only it would close has been left open.
    """
    gc.collect()
    gc.disable()
    try:
        files, threads = open_files(), set(threading.enumerate())
        yield
        for thread in set(threading.enumerate()) - threads:
            thread.join(patience_s)  # one that has been told to end may not have got there yet
        left = Counter(open_files()) - Counter(files)
        assert sorted(left.elements()) == []
        assert set(threading.enumerate()) - threads == set()
    finally:
        gc.enable()


# --- the kinds of refusal: each makes its place, and says how it is opened and refused ---

Open = Callable[[], Any]
Kind = Callable[[Path], tuple[type[EverlogError], Open]]


def _file(path: Path, **options: Any) -> Open:
    return lambda: EventStore.open(path, events=EVENTS, **options)


def _guarded(path: Path) -> Open:
    return lambda: SqliteLedger.open(str(path), guard_checkpoints=True)


def _run(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def _ledger(path: Path) -> Path:
    async def main() -> None:
        async with EventStore.open(path, events=EVENTS) as store:
            await store.append("stream", Moved(0, 0))

    asyncio.run(main())
    return path


def a_text(path: Path) -> tuple[type[EverlogError], Open]:
    path.write_text("Dear diary, this is no database.\n" * 100)
    return ForeignFile, _file(path)


def one_character(path: Path) -> tuple[type[EverlogError], Open]:
    path.write_text("x")
    return ForeignFile, _file(path)


def anothers_database(path: Path) -> tuple[type[EverlogError], Open]:
    _run(path, "CREATE TABLE theirs (a)")
    return ForeignFile, _file(path)


def anothers_wal_database(path: Path) -> tuple[type[EverlogError], Open]:
    _run(path, "PRAGMA journal_mode = WAL", "CREATE TABLE theirs (a)")
    return ForeignFile, _file(path)


def a_newer_file(path: Path) -> tuple[type[EverlogError], Open]:
    _run(_ledger(path), f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    return NewerFormat, _file(path)


def an_impossible_format(path: Path) -> tuple[type[EverlogError], Open]:
    _run(_ledger(path), "PRAGMA user_version = -1")
    return ForeignFile, _file(path)


def a_ledger_without_its_tables(path: Path) -> tuple[type[EverlogError], Open]:
    _run(_ledger(path), "DROP TABLE ledger")
    return DamagedFile, _file(path)


def a_directory(path: Path) -> tuple[type[EverlogError], Open]:
    path.mkdir()
    return CannotOpen, _file(path)


def a_missing_directory(path: Path) -> tuple[type[EverlogError], Open]:
    return CannotOpen, _file(path / "log.db")


def a_directory_for_a_lock(path: Path) -> tuple[type[EverlogError], Open]:
    path.with_name(path.name + "-lock").mkdir()
    return CannotOpen, _guarded(path)


def a_directory_for_the_lock_of_a_ledger(path: Path) -> tuple[type[EverlogError], Open]:
    lock = path.with_name(_ledger(path).name + "-lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    return CannotOpen, _guarded(path)


def a_link_to_itself(path: Path) -> tuple[type[EverlogError], Open]:
    path.symlink_to(path)
    return CannotOpen, _guarded(path)


def a_wrong_url(path: Path) -> tuple[type[EverlogError], Open]:
    return InvalidUrl, lambda: EventStore.open(f"sqlite:{path}", events=EVENTS)


def a_wrong_option(path: Path) -> tuple[type[EverlogError], Open]:
    return InvalidInput, _file(path, snapshots="sometimes")


KINDS: list[Kind] = [
    a_text,
    one_character,
    anothers_database,
    anothers_wal_database,
    a_newer_file,
    an_impossible_format,
    a_ledger_without_its_tables,
    a_directory,
    a_missing_directory,
    a_directory_for_a_lock,
    a_directory_for_the_lock_of_a_ledger,
    a_link_to_itself,
    a_wrong_url,
    a_wrong_option,
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])


async def is_refused_and_leaves_nothing(
    error: type[EverlogError], open: Open, *, patience_s: float = PATIENCE_S
) -> None:
    async with nothing_left(patience_s=patience_s):
        caught: list[EverlogError] = []
        for _ in range(3):
            try:
                await open()
            except error as refusal:
                # Kept, with the frames that raised it: a connection left in one is still open.
                caught.append(refusal)
        assert [type(refusal) for refusal in caught] == [error] * 3


# --- the tests ---


@kinds
def test_a_refused_opening_leaves_no_file_open_and_no_thread(tmp_path: Path, kind: Kind) -> None:
    error, open = kind(tmp_path / "log.db")
    asyncio.run(is_refused_and_leaves_nothing(error, open))


@pytest.mark.parametrize("there", [False, True], ids=["a new file", "a ledger"])
def test_a_refusal_in_a_read_only_directory_leaves_nothing_open(there: bool) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to other users
        directory = Path(name)
        path = directory / "log.db"
        if there:
            _ledger(path).chmod(0o666)
            path.with_name("log.db-lock").unlink(missing_ok=True)

        async def open() -> None:
            with _as_nobody():
                await SqliteLedger.open(str(path), guard_checkpoints=True)

        directory.chmod(0o555)
        try:
            asyncio.run(is_refused_and_leaves_nothing(CannotOpen, open))
        finally:
            directory.chmod(0o755)


@contextmanager
def _as_nobody() -> Generator[None]:
    """Does as another user what root would be allowed to do."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def being_busy_leaves_nothing(path: Path, *, patience_s: float = PATIENCE_S) -> None:
    async with nothing_left(patience_s=patience_s):
        caught: list[LedgerBusy] = []
        with closing(sqlite3.Connection(str(path), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                try:
                    await EventStore.open(path, events=EVENTS, timeout_s=0.01)
                except LedgerBusy as busy:
                    caught.append(busy)
            other.execute("ROLLBACK")
        assert len(caught) == 3


def test_an_opening_that_waited_in_vain_leaves_nothing_open(tmp_path: Path) -> None:
    asyncio.run(being_busy_leaves_nothing(tmp_path / "log.db"))


def test_a_cancelled_opening_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"

    async def main() -> None:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def signalling(*args: Any) -> Any:
            loop.call_soon_threadsafe(reached.set)
            return open_or_create(*args)

        async def open() -> EventStore:
            return await EventStore.open(path, events=EVENTS)

        monkeypatch.setattr("everlog.adapters.sqlite.ledger.open_or_create", signalling)
        async with nothing_left():
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                opening = asyncio.create_task(open())
                await reached.wait()
                opening.cancel()
                other.execute("ROLLBACK")
            with pytest.raises(asyncio.CancelledError):
                await opening
            opened = await open()
            await opened.append("stream", Moved(0, 0))
            await opened.close()

    asyncio.run(main())


async def closing_leaves_nothing(path: Path, *, patience_s: float = PATIENCE_S) -> None:
    async with nothing_left(patience_s=patience_s):
        for life in range(2):
            ledger = await SqliteLedger.open(str(path), guard_checkpoints=True)
            async with EventStore(ledger, events=EVENTS) as store:
                await asyncio.gather(
                    *(store.append("stream", Moved(life, number)) for number in range(20)),
                    *(store.read().to_list() for _ in range(20)),
                )
                await store.backup(f"{path}.{life}")
                half_read = aiter(store.read())
                await anext(half_read)


def test_a_closed_store_leaves_no_file_open_and_no_thread(tmp_path: Path) -> None:
    asyncio.run(closing_leaves_nothing(tmp_path / "log.db"))


# --- tests of the tests ---

REACH_A_CONNECTION = [
    a_text,
    anothers_database,
    anothers_wal_database,
    a_newer_file,
    an_impossible_format,
    a_ledger_without_its_tables,
]


class Unclosed(sqlite3.Connection):
    """A connection that is left open."""

    left: ClassVar[list[sqlite3.Connection]] = []

    def __init__(self, path: str, **options: Any) -> None:
        options["check_same_thread"] = False
        super().__init__(path, **options)

    def close(self) -> None:
        self.left.append(self)


@pytest.fixture
def unclosed(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Everlog closes no connection."""
    yield
    for connection in Unclosed.left:
        sqlite3.Connection.close(connection)
    Unclosed.left.clear()


def _goes_red(check: Coroutine[Any, Any, None]) -> None:
    with pytest.raises(AssertionError) as caught:
        asyncio.run(check)
    print(f"goes red: {str(caught.value)[:200]!r}")


@pytest.mark.usefixtures("unclosed")
@pytest.mark.parametrize("kind", REACH_A_CONNECTION, ids=lambda kind: kind.__name__)
def test_a_connection_that_a_refused_opening_leaves_open_is_noticed(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, open = kind(tmp_path / "log.db")
    monkeypatch.setattr(sqlite3, "connect", Unclosed)
    _goes_red(is_refused_and_leaves_nothing(error, open))


@pytest.mark.usefixtures("unclosed")
@pytest.mark.parametrize("check", [being_busy_leaves_nothing, closing_leaves_nothing])
def test_a_connection_that_is_left_open_is_noticed(
    tmp_path: Path,
    check: Callable[[Path], Coroutine[Any, Any, None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sqlite3, "connect", Unclosed)
    _goes_red(check(tmp_path / "log.db"))


def test_a_lock_that_is_left_open_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[FileLock] = []
    error, open = a_link_to_itself(tmp_path / "link.db")

    def close(self: FileLock) -> None:
        left.append(self)

    with monkeypatch.context() as planted:
        planted.setattr(FileLock, "close", close)
        _goes_red(is_refused_and_leaves_nothing(error, open))
        _goes_red(closing_leaves_nothing(tmp_path / "log.db"))
    for lock in left:
        lock.close()


@kinds
def test_a_thread_that_is_left_is_noticed(
    tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, open = kind(tmp_path / "log.db")
    left: list[SqliteLedger] = []

    async def close(self: SqliteLedger) -> None:
        left.append(self)

    async def check() -> None:
        with monkeypatch.context() as planted:
            planted.setattr(SqliteLedger, "close", close)
            try:
                await is_refused_and_leaves_nothing(error, open, patience_s=0.01)
            finally:
                planted.undo()
                for ledger in left:
                    await ledger.close()

    if error in (InvalidUrl, InvalidInput):  # before there is any ledger
        asyncio.run(check())
        assert left == []
    else:
        _goes_red(check())
