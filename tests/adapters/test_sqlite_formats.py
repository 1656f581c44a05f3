"""A file of an older format is brought to today's when it is opened: all of it, or nothing."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from everlog.adapters.sqlite import connections, schema
from everlog.adapters.sqlite.connections import Place
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.sequencer import Placed
from everlog.errors import CannotOpen, LedgerBusy
from everlog.testing.contract.committing import append, new
from everlog.testing.contract.scene import rows_of
from everlog.testing.contract.synchronising import History, take
from tests.store.watched import run

FORMAT_1 = Path(__file__).parent / "sqlite_format_1.sql"
OF_SYNC = ("sync_entries", "sync_held", "sync_upstreams", "unfolded")


def old(path: Path) -> Path:
    """Makes a ledger of three records as the first format has it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(FORMAT_1.read_text(encoding="utf-8"))
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def format_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [version] = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def things(path: Path) -> list[tuple[str, str, str]]:
    """Returns all tables, indexes and triggers, with their text."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY name"
        ).fetchall()


async def nothing(_: SqliteLedger) -> None: ...


def using(
    path: Path,
    use: Callable[[SqliteLedger], Awaitable[None]] = nothing,
    *,
    timeout_s: float = 30,
    guard_checkpoints: bool | None = None,
) -> None:
    async def main() -> None:
        ledger = await SqliteLedger.open(
            str(path), timeout_s=timeout_s, guard_checkpoints=guard_checkpoints
        )
        try:
            await use(ledger)
        finally:
            await ledger.close()

    run(main)


@pytest.mark.parametrize("guarded", [False, True])
def test_a_ledger_of_the_first_format_is_as_one_that_was_made_today(
    tmp_path: Path, guarded: bool
) -> None:
    path = old(tmp_path / "old.db")

    async def use(ledger: SqliteLedger) -> None:
        assert [row.id for row in await rows_of(ledger)] == ["1", "2", "3"]
        assert list(await ledger.streams_of(["r"])) == ["a"]
        hub = History()
        hub.append("4", "5")
        await take(ledger, hub.piece())
        found = await ledger.upstreams.unconfirmed(hub.upstream, after=0, size=10)
        assert [each.record.id for each in found.records] == ["1", "2", "3"]
        [placed] = await ledger.commit([append(new("6", expect=4))])
        assert isinstance(placed, Placed)
        assert await ledger.check() == []

    using(path, use, guard_checkpoints=guarded)
    assert format_of(path) == schema.SCHEMA_VERSION

    using(tmp_path / "new.db")
    assert format_of(tmp_path / "new.db") == schema.SCHEMA_VERSION

    def plain(path: Path) -> list[tuple[str, str, str]]:
        return [(kind, name, sql.replace('"', "")) for kind, name, sql in things(path)]

    assert plain(path) == plain(tmp_path / "new.db")

    async def as_it_was_left(ledger: SqliteLedger) -> None:
        assert [row.id for row in await rows_of(ledger)] == ["1", "2", "3", "4", "5", "6"]

    using(path, as_it_was_left)


STRUCK = """
import asyncio, os, sys
from everlog.adapters.sqlite import connections
from everlog.adapters.sqlite.ledger import SqliteLedger

plain, struck = connections.statements, int(sys.argv[2])


def until_struck(script):
    for number, statement in enumerate(plain(script)):
        if number == struck:
            os._exit(9)
        yield statement
    os._exit(9)


connections.statements = until_struck
asyncio.run(SqliteLedger.open(sys.argv[1]))
"""


@pytest.mark.parametrize("struck", [0, 1, 3, 99])
def test_who_is_killed_in_the_middle_leaves_the_old_format_and_the_next_goes_on(
    tmp_path: Path, struck: int
) -> None:
    path = old(tmp_path / "log.db")
    before = things(path)
    done = subprocess.run(
        [sys.executable, "-c", STRUCK, str(path), str(struck)], check=False, timeout=60
    )
    assert done.returncode == 9
    assert (format_of(path), things(path)) == (1, before)

    async def use(ledger: SqliteLedger) -> None:
        assert [row.id for row in await rows_of(ledger)] == ["1", "2", "3"]
        assert await ledger.upstreams.states() == []
        assert await ledger.check() == []

    using(path, use)
    assert format_of(path) == schema.SCHEMA_VERSION


def _open_and_append(path: str, id: str) -> None:
    async def main() -> None:
        ledger = await SqliteLedger.open(path)
        try:
            [placed] = await ledger.commit([append(new(id, id))])
            assert isinstance(placed, Placed)
        finally:
            await ledger.close()

    asyncio.run(main())


def test_of_many_that_open_it_at_once_one_brings_it_up_to_date_and_all_go_on(
    tmp_path: Path,
) -> None:
    path = old(tmp_path / "log.db")
    context = multiprocessing.get_context("spawn")
    openers = [
        context.Process(target=_open_and_append, args=(str(path), f"new {number}"))
        for number in range(4)
    ]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join(timeout=60)
    assert [opener.exitcode for opener in openers] == [0] * 4

    async def use(ledger: SqliteLedger) -> None:
        ids = [row.id for row in await rows_of(ledger)]
        assert sorted(ids) == ["1", "2", "3", *(f"new {number}" for number in range(4))]
        assert await ledger.check() == []

    using(path, use)


def test_one_that_is_being_written_to_is_waited_for(tmp_path: Path) -> None:
    path = old(tmp_path / "log.db")

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy):
            using(path, timeout_s=0.2)
        connection.execute("ROLLBACK")
    assert format_of(path) == 1
    using(path)
    assert format_of(path) == schema.SCHEMA_VERSION


def test_one_that_another_has_brought_up_to_date_meanwhile_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old(tmp_path / "log.db")
    plain: Callable[[sqlite3.Connection, str], int] = vars(connections)["_format"]
    looked: list[int] = []

    def format_then_another(connection: sqlite3.Connection, name: str) -> int:
        found = plain(connection, name)
        looked.append(found)
        if len(looked) == 1:  # it will wait for the lock, and another has it
            connections.bring_up_to_date(Place(name, "full", 30, checkpoints_race=False))
        return found

    monkeypatch.setattr(connections, "_format", format_then_another)
    using(path)
    assert looked == [1, 1, 1, schema.SCHEMA_VERSION]
    assert format_of(path) == schema.SCHEMA_VERSION


def test_a_table_of_another_that_is_in_the_way_is_not_touched(tmp_path: Path) -> None:
    path = old(tmp_path / "log.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE sync_held (mine)")
        connection.execute("INSERT INTO sync_held VALUES (1)")
    before = things(path)

    with pytest.raises(CannotOpen, match="sync_held already exists"):
        using(path)
    assert (format_of(path), things(path)) == (1, before)


def test_all_that_a_step_makes_is_of_sync(tmp_path: Path) -> None:
    path = old(tmp_path / "log.db")
    tables = {name for kind, name, _ in things(path) if kind == "table"}

    using(path)
    made = {name for kind, name, _ in things(path) if kind == "table"} - tables
    assert made == {*OF_SYNC}
