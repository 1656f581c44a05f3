"""What the floors make of records from elsewhere is what everlog makes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from benchmarks import workload
from benchmarks.databases import POSTGRES, SQLITE, Schemas
from benchmarks.everlog_sides import NotedStruct
from benchmarks.floor.postgres_connections import BlockingFloor
from benchmarks.floor.sides import DECODERS, appending
from benchmarks.floor.sqlite_floor import Row, SqliteFloor
from everlog import EventStore
from everlog.core.record import StoredRecord
from everlog.testing import PostgresServer

open_sqlite = partial(SqliteFloor, type=workload.TYPE, decode=DECODERS[workload.TYPE])
open_postgres = partial(BlockingFloor, type=workload.TYPE, decode=DECODERS[workload.TYPE])


class Floor(Protocol):
    """What is the same of both."""

    def append(self, stream: str, indices: Sequence[int]) -> list[Row]: ...
    def take_in(self, rows: Sequence[Row]) -> int: ...
    def rows(self) -> list[Row]: ...
    def verify(self) -> int: ...
    def folded(self, stream: str) -> list[str]: ...


def collect(state: list[str], row: Row, _: object) -> list[str]:
    return [*state, row[2]]


class OnSqlite:
    """The floor on SQLite."""

    def __init__(self, path: Path) -> None:
        self._floor = open_sqlite(str(path))
        self.close, self.take_in, self.verify = (
            *(self._floor.close, self._floor.take_in, self._floor.verify),
        )

    def append(self, stream: str, indices: Sequence[int]) -> list[Row]:
        return self._floor.append(appending(stream, indices))

    def rows(self) -> list[Row]:
        return self._floor.rows(0)

    def folded(self, stream: str) -> list[str]:
        return self._floor.fold(stream, "ids", list[str](), collect)


class OnPostgres:
    """The floor on PostgreSQL."""

    def __init__(self, address: str) -> None:
        self._floor = open_postgres(address)
        self._run, self._scripts, self.close = (
            *(self._floor.run, self._floor.scripts, self._floor.close),
        )

    def append(self, stream: str, indices: Sequence[int]) -> list[Row]:
        return self._run(self._scripts.append(appending(stream, indices)))

    def take_in(self, rows: Sequence[Row]) -> int:
        return self._run(self._scripts.take_in(rows))

    def rows(self) -> list[Row]:
        return self._run(self._scripts.page(0))

    def verify(self) -> int:
        return self._run(self._scripts.verify())

    def folded(self, stream: str) -> list[str]:
        return self._run(self._scripts.fold(stream, "ids", list[str](), collect))


@pytest.fixture(params=[SQLITE, POSTGRES])
def floor(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Floor]:
    if request.param == SQLITE:
        opened = OnSqlite(tmp_path / "floor.db")
        yield opened
        opened.close()
        return
    server: PostgresServer = request.getfixturevalue("durable_postgres")
    with Schemas(server.new_database(), {}).room() as new:
        there = OnPostgres(new("log"))
        yield there
        there.close()


@pytest.fixture
def elsewhere(tmp_path: Path) -> list[Row]:
    """Records of another log: two streams, one after the other."""
    other = OnSqlite(tmp_path / "other.db")
    rows = other.append("a", range(3)) + other.append("b", range(2)) + other.append("a", range(2))
    other.close()
    return rows


def test_late_outdated_and_known_records_are_what_everlog_says(
    floor: Floor, elsewhere: list[Row]
) -> None:
    async def everlog_s() -> tuple[list[StoredRecord], list[int]]:
        async with EventStore.open("memory:", events=[NotedStruct]) as store:
            counts = [
                (await store.import_records([*map(StoredRecord._make, rows)])).stored
                for rows in parts
            ]
            return [record.stored async for record in store.read()], counts

    # The newest first, so that the rest comes late; some of them twice.
    parts = [elsewhere[4:], elsewhere[:5], elsewhere]
    due, counts = asyncio.run(everlog_s())
    assert [floor.take_in(rows) for rows in parts] == counts == [3, 4, 0]
    assert [alike(row) for row in floor.rows()] == [alike(row) for row in due]
    assert {row[12] for row in floor.rows()} == {1, 3}  # hydrated, and outdated
    assert floor.folded("a") == [row[2] for row in elsewhere if row[3] == "a"]
    assert floor.verify() == 7


def alike(row: Sequence[object]) -> list[object]:
    """Returns all of a record but the stamp of its recording, which is that of the moment."""
    return [*row[:11], *row[12:]]


@pytest.mark.parametrize(
    ("column", "content"), [(14, '{"active":false}'), (3, "b"), (10, "0" * 32), (16, b"\0" * 32)]
)
def test_a_record_that_was_changed_on_its_way_is_not_taken_in(
    floor: Floor, elsewhere: list[Row], column: int, content: object
) -> None:
    changed = list(elsewhere[2])
    changed[column] = content
    with pytest.raises(ValueError, match="was changed"):
        floor.take_in([*elsewhere[:2], tuple(changed)])
    assert floor.verify() == 0


def test_what_is_appended_after_it_goes_on_from_there(floor: Floor, elsewhere: list[Row]) -> None:
    floor.append("a", (0,))
    floor.take_in(elsewhere)
    rows = floor.append("a", (1,)) + floor.append("a", (2,)) + floor.append("b", range(2))
    assert [row[:2] for row in rows] == [(9, 7), (10, 8), (11, 3), (12, 4)]
    stamps = [row[10] for row in rows]
    assert stamps == sorted(stamps)
    assert stamps[0] > max(row[10] for row in elsewhere)
    assert floor.verify() == 12
