"""The floor on PostgreSQL keeps its promises, whichever of its ways an append takes."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from itertools import count

import msgspec
import psycopg
import pytest

from benchmarks import postgres, workload
from benchmarks.databases import Schemas
from benchmarks.everlog_sides import with_structs
from benchmarks.floor import postgres_schema as sql
from benchmarks.floor.postgres_connections import AsyncPostgresFloor, BlockingFloor
from benchmarks.floor.postgres_floor import COPY_FROM, Ask, Step, Together
from benchmarks.floor.postgres_placing import Outcome
from benchmarks.floor.postgres_sides import AsyncSide
from benchmarks.floor.sides import DECODERS, EVENTS, Noted, appending, encode_meta
from benchmarks.floor.sqlite_floor import Appending, IdConflict, Row, WrongVersion
from benchmarks.side import Side
from everlog.core.chain import GENESIS, link
from everlog.core.record import StoredRecord, computed_hash
from everlog.testing import PostgresServer

TYPE = workload.TYPE
MANY = range(COPY_FROM)
WAYS = {
    sql.GUESS_ONE: "guess of one",
    sql.GUESS_MANY: "guess of many",
    sql.CALL: "function",
    sql.INSERT: "insert",
    sql.COPY: "copy",
}


class Floor(BlockingFloor):
    """One that tells which ways it has taken."""

    def __init__(self, address: str) -> None:
        self.ways: list[str] = []
        super().__init__(address, type=TYPE, decode=DECODERS[TYPE])

    def append(self, one: Appending) -> list[Row]:
        """Appends in a transaction of its own."""
        return self.run(self.scripts.append(one))

    def write(self, *batch: Appending) -> list[Outcome]:
        """Appends all in one transaction."""
        return self.run(self.scripts.write(batch))

    def verify(self) -> int:
        """Returns how many records are right."""
        return self.run(self.scripts.verify())

    def take(self, step: Step) -> object:
        asked = step.asked if isinstance(step, Together) else [step]
        self.ways += [WAYS[one.statement] for one in asked if one.statement in WAYS]
        return super().take(step)


@pytest.fixture(scope="module")
def schemas(durable_postgres: PostgresServer) -> Schemas:
    return Schemas(durable_postgres.new_database(), {})


@pytest.fixture
def address(schemas: Schemas) -> Generator[str]:
    with schemas.room() as new:
        yield new("log")


@pytest.fixture
def floor(address: str) -> Generator[Floor]:
    opened = Floor(address)
    yield opened
    opened.close()


@pytest.fixture
def other(floor: Floor, address: str) -> Generator[Floor]:
    opened = Floor(address)
    yield opened
    opened.close()


def test_its_hash_and_chain_are_everlog_s_own_byte_for_byte_on_every_way(floor: Floor) -> None:
    name = 'a "quoted" stream: Zürich'
    rows = floor.append(appending(name, range(3)))
    rows += floor.append(appending(name, range(2)))
    rows += floor.append(appending(name, range(4)))
    rows += floor.append(appending(name, range(1)))
    rows += floor.append(appending("b", MANY))
    rows += floor.append(appending("c", range(5))._replace(expect=0))
    assert floor.ways == [
        *("function", "function", "guess of many", "guess of one", "copy", "insert")
    ]
    chain = GENESIS
    for position, row in enumerate(rows, 1):
        record = StoredRecord._make(row)
        chain = link(chain, computed_hash(record), version=record.version, flags=record.flags)
        assert (record.position, record.hash, record.chain) == (
            *(position, computed_hash(record), chain),
        )
    assert floor.run(floor.scripts.page(0, 10_000)) == rows
    assert floor.verify() == len(rows)


def test_it_validates_what_it_writes_on_every_way(floor: Floor) -> None:
    wrong = Noted(active=True, number="many", owner="", text="")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    bad = Appending("a", [EVENTS[0], wrong], encode_meta())
    large = bad._replace(stream="b", events=[*EVENTS[:COPY_FROM], wrong])
    for stored, one in enumerate([bad, bad, bad, bad._replace(expect=3), large], 1):
        with pytest.raises(msgspec.ValidationError):
            floor.append(one)
        floor.append(appending("a", (1,)))
        assert floor.verify() == stored
    assert floor.ways == [
        *("function", "function", "guess of one"),
        *("function", "copy", "function"),
    ]


def test_it_stores_the_same_columns_indexes_and_data_as_everlog(schemas: Schemas) -> None:
    async def store(addresses: Sequence[str]) -> None:
        sides: tuple[Side, Side] = (with_structs(), AsyncSide())
        for side, address in zip(sides, addresses, strict=True):
            await side.open(address)
            await side.append("stream", (7,))
            await side.close()

    with schemas.room() as new:
        addresses = (new("everlog"), new("floor"))
        asyncio.run(store(addresses))
        assert shape_of(addresses[0]) == shape_of(addresses[1])


def shape_of(address: str) -> list[list[tuple[object, ...]]]:
    """Returns columns, indexes, triggers and content of a log, as far as they have to be alike."""
    asked = (
        "SELECT table_name, column_name, data_type, collation_name, is_nullable "
        "FROM information_schema.columns WHERE table_schema = current_schema() "
        "AND table_name IN ('records', 'registers') ORDER BY 1, 2",
        "SELECT regexp_replace(indexdef, 'INDEX \\S+ ON \\S+', 'INDEX ON') FROM pg_indexes "
        "WHERE schemaname = current_schema() AND tablename IN ('records', 'registers') ORDER BY 1",
        "SELECT tgtype FROM pg_trigger WHERE tgrelid = 'records'::regclass ORDER BY 1",
        "SELECT version, stream, type, data::text, meta::text, late, size FROM records",
        "SELECT stream, register FROM registers",
    )
    with psycopg.connect(postgres.conninfo(address)) as connection:
        return [connection.execute(one).fetchall() for one in asked]


def test_it_waits_for_the_disk_whatever_the_default_of_the_database_is(
    durable_postgres: PostgresServer,
) -> None:
    url = durable_postgres.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
    with Schemas(url, {}).room() as new:
        floor = Floor(new("log"))
        shown = floor.run(_ask("SHOW synchronous_commit")), floor.run(_ask("SHOW fsync"))
        floor.close()
    assert shown == ([("on",)], [("on",)])


def _ask(statement: str) -> Generator[Ask, list[Row], list[Row]]:
    return (yield Ask(statement))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("fsync", "synchronous_commit", "fits"),
    [("on", "on", True), ("on", "remote_apply", True), ("on", "off", False), ("off", "on", False)],
)
def test_who_does_not_wait_for_the_disk_is_not_compared(
    fsync: str, synchronous_commit: str, fits: bool
) -> None:
    try:
        postgres.require_synced(fsync, synchronous_commit)
    except RuntimeError:
        assert not fits
    else:
        assert fits


def test_a_guess_after_somebody_else_wrote_stores_nothing_and_is_placed_anew(
    floor: Floor, other: Floor
) -> None:
    for _ in range(3):
        floor.append(appending("a", (1,)))
    assert floor.ways == ["function", "function", "guess of one"]
    [theirs] = other.append(appending("a", (2,)))
    mine = floor.write(appending("a", (3,)), appending("a", (4,)))
    assert floor.ways[3:] == ["guess of many", "function"]
    assert isinstance(mine[0], list)
    assert [row[:2] for row in (theirs, *mine[0])] == [(4, 4), (5, 5)]
    # It guesses again once it has been alone for a while, and not before.
    floor.append(appending("a", (5,)))
    floor.append(appending("a", (6,)))
    assert floor.ways[5:] == ["function", "guess of one"]
    assert floor.verify() == 8


def test_a_version_that_was_known_before_others_wrote_is_not_used(
    floor: Floor, other: Floor
) -> None:
    for stream in ("a", "b", "b", "a"):
        floor.append(appending(stream, (1,)))
    other.append(appending("b", (2,)))
    for stream in ("a", "a", "b", "b"):
        floor.append(appending(stream, (3,)))
    versions = [row[1] for row in floor.run(floor.scripts.stream("b"))]
    assert versions == [1, 2, 3, 4, 5]
    assert floor.verify() == 9


def test_many_writers_leave_no_hole_and_no_version_twice(address: str) -> None:
    async def together() -> list[Row]:
        floors = [await open_async(address) for _ in range(3)]
        try:
            await asyncio.gather(
                *(
                    writer(floor, stream)
                    for floor in floors
                    for stream in ("shared", "shared", f"own-{id(floor)}")
                )
            )
            await floors[0].read(floors[0].scripts.verify())
            return await floors[0].read(floors[0].scripts.stream("shared"))
        finally:
            for floor in floors:
                await floor.close()

    async def writer(floor: AsyncPostgresFloor, stream: str) -> None:
        for index in range(10):
            one = appending(stream, range(1 + index % 3))
            if index % 2:  # with ids, which have to be looked up first
                one = one._replace(ids=[f"{next(number)}" for _ in one.events])
            await floor.append(one)

    number = count()

    shared = asyncio.run(together())
    assert [row[1] for row in shared] == [*range(1, 6 * (10 + 9) + 1)]


def test_a_retry_by_id_gets_the_stored_rows_and_other_content_is_refused(floor: Floor) -> None:
    first = Appending("a", EVENTS[:2], encode_meta(), ids=["x", "y"])
    rows = floor.append(first)
    assert floor.append(first) == rows
    with pytest.raises(IdConflict):
        floor.append(Appending("a", EVENTS[1:3], encode_meta(), ids=["x", "y"]))
    assert floor.verify() == 2


def test_an_unmet_version_is_refused_alone_and_its_neighbours_are_stored(floor: Floor) -> None:
    good = Appending("a", EVENTS[:1], encode_meta(), expect=0)
    outcomes = floor.write(good, good, Appending("b", EVENTS[:1], encode_meta(), expect=0))
    assert [isinstance(outcome, WrongVersion) for outcome in outcomes] == [False, True, False]
    assert floor.verify() == 2


def test_its_clock_never_goes_back_on_any_way(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = floor.append(appending("a", range(3)))
    monkeypatch.setattr("time.time_ns", lambda: 0)
    for one in (
        appending("a", range(3)),
        appending("a", range(3)),
        appending("b", range(3)),
        appending("b", range(3))._replace(expect=3),
        appending("b", MANY),
    ):
        rows += floor.append(one)
    assert {*floor.ways} == {"function", "guess of many", "insert"}
    stamps = [row[10] for row in rows]
    assert stamps == sorted({*stamps})


def test_its_records_can_be_neither_changed_nor_deleted(floor: Floor, address: str) -> None:
    floor.append(appending("a", range(1)))
    with psycopg.connect(postgres.conninfo(address), autocommit=True) as connection:
        for statement in (
            "UPDATE records SET data = '{}'",
            "DELETE FROM records",
            "TRUNCATE records",
        ):
            with pytest.raises(psycopg.IntegrityError, match="never"):
                connection.execute(statement)
    assert floor.verify() == 1


@pytest.mark.parametrize(
    "damage",
    [
        "meta = replace(meta::text, 'jane', 'june')::json",
        "version = 3",
        "hash = sha256('')",
        "chain = sha256('')",
    ],
)
def test_a_damaged_record_is_found(floor: Floor, address: str, damage: str) -> None:
    floor.append(appending("a", range(3)))
    with psycopg.connect(postgres.conninfo(address), autocommit=True) as connection:
        connection.execute("ALTER TABLE records DISABLE TRIGGER USER")
        connection.execute(f"UPDATE records SET {damage} WHERE position = 2".encode())
    with pytest.raises(ValueError, match="record 2"):
        floor.verify()


def test_a_late_record_is_folded_in_its_place_whatever_the_snapshot(
    floor: Floor, address: str
) -> None:
    def order(state: list[int], _: Row, event: Noted) -> list[int]:
        return [*state, event.number]

    def fold() -> list[int]:
        nothing: list[int] = []
        return floor.run(floor.scripts.fold("a", "order", nothing, order))

    floor.append(appending("a", range(3)))
    nothing: list[int] = []
    floor.run(floor.scripts.snapshot("a", "order", nothing, order))
    assert fold() == [1000, 1001, 1002]
    floor.append(appending("a", range(3, 4)))
    assert fold() == [1000, 1001, 1002, 1003]
    with psycopg.connect(postgres.conninfo(address), autocommit=True) as connection:
        connection.execute("ALTER TABLE records DISABLE TRIGGER USER")
        connection.execute("UPDATE records SET late = true, created = '0' WHERE position = 4")
    assert fold() == [1003, 1000, 1001, 1002]


def test_tasks_that_meet_share_commits_and_each_gets_its_own_rows(address: str) -> None:
    async def together() -> tuple[list[list[Row]], int]:
        floor = await open_async(address)
        try:
            tasks = [floor.append(appending(f"task-{n}", (n,))) for n in range(20)]
            found = await asyncio.gather(*tasks)
            # A transaction leaves its number in every row that it has stored.
            [[commits]] = await floor.read(_ask("SELECT count(DISTINCT xmin::text) FROM records"))
            return found, commits
        finally:
            await floor.close()

    found, commits = asyncio.run(together())
    assert commits == 2  # the first at once, all others behind it together
    assert [[row[3] for row in rows] for rows in found] == [[f"task-{n}"] for n in range(20)]
    assert sorted(row[0] for [row] in found) == list(range(1, 21))


def test_a_bad_neighbour_in_a_commit_costs_nothing(address: str) -> None:
    async def together() -> list[list[Row] | BaseException]:
        floor = await open_async(address)
        try:
            bad = Appending("bad", [object()], encode_meta())  # of no class that can be encoded
            tasks = [floor.append(one) for one in (appending("a", (1,)), bad, appending("b", (2,)))]
            return await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await floor.close()

    first, bad, last = asyncio.run(together())
    assert isinstance(bad, TypeError)
    assert [isinstance(found, list) for found in (first, last)] == [True, True]


async def open_async(address: str) -> AsyncPostgresFloor:
    return await AsyncPostgresFloor.open(address, type=TYPE, decode=DECODERS[TYPE])
