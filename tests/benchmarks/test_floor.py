"""The floor keeps the promises that it is measured by: it would be easy to be fast without."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from benchmarks import workload
from benchmarks.everlog_sides import with_structs
from benchmarks.floor.async_floor import AsyncFloor
from benchmarks.floor.sides import DECODERS, EVENTS, AsyncSide, Noted, appending, encode_meta
from benchmarks.floor.sqlite_floor import (
    Appending,
    IdConflict,
    Row,
    SqliteFloor,
    WrongVersion,
)
from everlog.core.chain import GENESIS, link
from everlog.core.record import StoredRecord, computed_hash


def open_floor(path: Path) -> SqliteFloor:
    return SqliteFloor(str(path), type=workload.TYPE, decode=DECODERS[workload.TYPE])


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[SqliteFloor]:
    opened = open_floor(tmp_path / "floor.db")
    yield opened
    opened.close()


def test_its_hash_and_chain_are_everlog_s_own_byte_for_byte(floor: SqliteFloor) -> None:
    rows = floor.append(appending('a "quoted" stream: Zürich', range(3)))
    rows += floor.append(appending("b", range(2)))
    chain = GENESIS
    for row in rows:
        record = StoredRecord._make(row)
        chain = link(chain, computed_hash(record), version=record.version, flags=record.flags)
        assert (record.hash, record.chain) == (computed_hash(record), chain)
    assert floor.verify() == 5


def test_it_validates_what_it_writes(floor: SqliteFloor) -> None:
    wrong = Noted(active=True, number="many", owner="", text="")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(msgspec.ValidationError):
        floor.append(Appending("a", [EVENTS[0], wrong], encode_meta()))
    assert floor.verify() == 0


def test_it_stores_the_same_columns_and_the_same_data_as_everlog(tmp_path: Path) -> None:
    async def store() -> None:
        for side, name in ((with_structs(), "everlog.db"), (AsyncSide(), "floor.db")):
            await side.open(str(tmp_path / name))
            await side.append("stream", (7,))
            await side.close()

    asyncio.run(store())
    found: list[object] = []
    for name in ("everlog.db", "floor.db"):
        db = sqlite3.connect(tmp_path / name)
        columns = db.execute("SELECT name, type, pk FROM pragma_table_info('records')").fetchall()
        indices = db.execute(
            "SELECT sql FROM sqlite_schema "
            "WHERE type = 'index' AND tbl_name = 'records' AND sql > '' ORDER BY name"
        ).fetchall()
        rows = db.execute("SELECT version, stream, type, data, meta FROM records").fetchall()
        registers = db.execute("SELECT stream FROM registers").fetchall()
        found.append((columns, indices, rows, registers))
        db.close()
    assert found[0] == found[1]


def test_it_syncs_every_commit_to_a_write_ahead_log(floor: SqliteFloor) -> None:
    db = floor._db  # pyright: ignore[reportPrivateUsage]  # the very connection that writes
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_versions_and_positions_have_no_holes_and_go_on_in_another_process(tmp_path: Path) -> None:
    for start in (1, 4):
        floor = open_floor(tmp_path / "floor.db")
        rows = floor.append(appending("a", range(2))) + floor.append(appending("b", range(1)))
        assert [row[0] for row in rows] == [start, start + 1, start + 2]
        versions = [row[1] for row in rows]
        assert versions == ([1, 2, 1] if start == 1 else [3, 4, 2])
        floor.close()


def test_a_retry_by_id_gets_the_stored_rows_and_other_content_is_refused(
    floor: SqliteFloor,
) -> None:
    first = Appending("a", EVENTS[:2], encode_meta(), ids=["x", "y"])
    rows = floor.append(first)
    assert floor.append(first) == rows
    with pytest.raises(IdConflict):
        floor.append(Appending("a", EVENTS[1:3], encode_meta(), ids=["x", "y"]))
    assert floor.verify() == 2


def test_an_unmet_version_is_refused_alone_and_its_neighbours_are_stored(
    floor: SqliteFloor,
) -> None:
    good = Appending("a", EVENTS[:1], encode_meta(), expect=0)
    outcomes = floor.write([good, good, Appending("b", EVENTS[:1], encode_meta(), expect=0)])
    assert [isinstance(outcome, WrongVersion) for outcome in outcomes] == [False, True, False]
    assert floor.verify() == 2


def test_its_clock_never_goes_back(floor: SqliteFloor, monkeypatch: pytest.MonkeyPatch) -> None:
    before = floor.append(appending("a", range(3)))
    monkeypatch.setattr("time.time_ns", lambda: 0)
    stamps = [row[10] for row in before + floor.append(appending("a", range(3)))]
    assert stamps == sorted(set(stamps))


def test_its_records_can_be_neither_changed_nor_deleted(floor: SqliteFloor) -> None:
    floor.append(appending("a", range(1)))
    db = floor._db  # pyright: ignore[reportPrivateUsage]  # past all methods
    for statement in ("UPDATE records SET data = '{}'", "DELETE FROM records"):
        with pytest.raises(sqlite3.IntegrityError, match="never"):
            db.execute(statement)


@pytest.mark.parametrize(
    "damage",
    [
        "meta = replace(meta, 'jane', 'june')",
        "version = 3",
        "hash = zeroblob(32)",
        "chain = zeroblob(32)",
    ],
)
def test_a_damaged_record_is_found(floor: SqliteFloor, damage: str) -> None:
    floor.append(appending("a", range(3)))
    db = floor._db  # pyright: ignore[reportPrivateUsage]  # past all methods
    db.execute("DROP TRIGGER records_are_never_changed")
    db.execute(f"UPDATE records SET {damage} WHERE position = 2")
    with pytest.raises(ValueError, match="record 2"):
        floor.verify()


def test_a_late_record_is_folded_in_its_place_whatever_the_snapshot(floor: SqliteFloor) -> None:
    def order(state: list[int], _: Row, event: Noted) -> list[int]:
        return [*state, event.number]

    nothing: list[int] = []

    floor.append(appending("a", range(3)))
    floor.snapshot("a", "order", nothing, order)
    assert floor.fold("a", "order", nothing, order) == [1000, 1001, 1002]
    floor.append(appending("a", range(3, 4)))
    assert floor.fold("a", "order", nothing, order) == [1000, 1001, 1002, 1003]
    db = floor._db  # pyright: ignore[reportPrivateUsage]  # the floor has no import
    db.execute("DROP TRIGGER records_are_never_changed")
    db.execute("UPDATE records SET late = 1, created = '0' WHERE position = 4")
    assert floor.fold("a", "order", nothing, order) == [1003, 1000, 1001, 1002]


def test_tasks_that_meet_share_commits_and_each_gets_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = SqliteFloor.write

    def counted(self: SqliteFloor, batch: Sequence[Appending]) -> list[list[Row] | Exception]:
        sizes.append(len(batch))
        return write(self, batch)

    monkeypatch.setattr(SqliteFloor, "write", counted)

    async def together() -> list[list[Row]]:
        path, type = str(tmp_path / "floor.db"), workload.TYPE
        floor = AsyncFloor(path, type=type, decode=DECODERS[type])
        try:
            tasks = [floor.append(appending(f"task-{n}", (n,))) for n in range(20)]
            return await asyncio.gather(*tasks)
        finally:
            floor.close()

    found = asyncio.run(together())
    assert sizes == [1, 19]  # the first at once, all others behind it together
    assert [[row[3] for row in rows] for rows in found] == [[f"task-{n}"] for n in range(20)]
    assert sorted(row[0] for [row] in found) == list(range(1, 21))


def test_a_bad_neighbour_in_a_commit_costs_nothing(tmp_path: Path) -> None:
    async def together() -> list[list[Row] | BaseException]:
        path, type = str(tmp_path / "floor.db"), workload.TYPE
        floor = AsyncFloor(path, type=type, decode=DECODERS[type])
        try:
            bad = Appending("bad", [object()], encode_meta())  # of no class that can be encoded
            tasks = [floor.append(one) for one in (appending("a", (1,)), bad, appending("b", (2,)))]
            return await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            floor.close()

    first, bad, last = asyncio.run(together())
    assert isinstance(bad, TypeError)
    assert [isinstance(found, list) for found in (first, last)] == [True, True]
