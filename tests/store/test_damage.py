"""A damaged file: it is told of by name, and never by an error that nobody expects."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.adapters.sqlite import reading
from everlog.core.record import StoredRecord
from everlog.core.sequencer import Head, Identity
from everlog.errors import CorruptLedger, EverlogError, LedgerBusy
from everlog.ports.ledger import Ledger
from everlog.store import verifying
from everlog.store.verifying import Verification
from tests.store.programs import EVENTS, Bare, Data
from tests.store.watched import run

FLIPS = 300


async def write(path: Path) -> list[StoredRecord]:
    """Writes a small ledger, closed and all in one file, and returns its records."""
    async with EventStore.open(path, events=EVENTS) as store:
        for number in range(12):
            await store.append(f"thing-{number % 3}", Data(f"name {number}"), Bare("x" * number))
        past = [
            store.past("thing-1", Data("late"), created=datetime(2001, 2, day, tzinfo=UTC))
            for day in (3, 1, 2)
        ]
        await store.import_records(past)
        await store.append("thing-2", Data("last"))
        assert (await store.verify()).ok
        return [record.stored async for record in store.read()]


class Unnoticed(Exception):
    """Damage that a verification did not tell of."""


async def look(path: Path) -> tuple[list[StoredRecord], Verification] | EverlogError:
    """Opens, verifies, reads all and looks into it. Only what is typed is answered for."""
    try:
        store = await EventStore.open(path, events=EVENTS, timeout_s=1.0)
    except EverlogError as error:
        return error
    try:
        found = await store.verify()
        try:
            rows = await read_all(store)
        except (EverlogError, LedWrong) as error:
            if found.ok:
                raise Unnoticed(repr(error)) from error
            return EverlogError(str(error))
        return rows, found
    finally:
        await store.close()


class LedWrong(Exception):
    """An index led to another record, or to none."""


async def read_all(store: EventStore) -> list[StoredRecord]:
    """Returns all records, each looked at from all sides, and asked for by its stream and id."""
    await store.info()
    rows: list[StoredRecord] = []
    async for record in store.read():
        _ = record.json, record.meta_json, record.data, record.created_at, record.recorded_at
        _ = record.hydrated, record.outdated, record.hash, repr(record)
        rows.append(record.stored)
        if await store.find(record.id) != record:
            raise LedWrong(record.id)
    for stream in {row.stream for row in rows}:
        there = [record.stored async for record in store.read(stream)]
        if there != [row for row in rows if row.stream == stream]:
            raise LedWrong(stream)
    return rows


def flipped(whole: bytes, rng: random.Random) -> tuple[int, int, bytes]:
    offset, bit = rng.randrange(len(whole)), rng.randrange(8)
    # Mostly where something is: empty space takes up half of a small file.
    while whole[offset] == 0 and rng.random() < 0.9:
        offset = rng.randrange(len(whole))
    other = bytearray(whole)
    other[offset] ^= 1 << bit
    return offset, bit, bytes(other)


def _but_for_recorded(rows: list[StoredRecord]) -> list[StoredRecord]:
    """What is in a hash or the chain: of `recorded` only the order and the node can be verified.

    See docs/explanation/hashes.md.
    """
    return [row._replace(recorded="") for row in rows]


async def flips_are_told_of(folder: Path, rng: random.Random, count: int) -> dict[str, int]:
    """Flips one bit of a copy after another; returns how they ended."""
    original = await write(folder / "log.db")
    whole = (folder / "log.db").read_bytes()
    ends = {"reported": 0, "refused": 0, "harmless": 0}
    copy = folder / "copy.db"
    for _ in range(count):
        for left in ("copy.db", "copy.db-wal", "copy.db-shm", "copy.db-lock"):
            (folder / left).unlink(missing_ok=True)
        offset, bit, other = flipped(whole, rng)
        copy.write_bytes(other)
        try:
            end = await look(copy)
        except Exception as error:
            raise AssertionError(f"bit {bit} of byte {offset}: {error!r}, unnoticed") from error
        if isinstance(end, EverlogError):
            ends["refused"] += 1
        elif not end[1].ok:
            ends["reported"] += 1
        else:
            said = f"bit {bit} of byte {offset} changed what is read, unnoticed"
            assert _but_for_recorded(end[0]) == _but_for_recorded(original), said
            ends["harmless"] += 1
    return ends


def test_a_flipped_bit_is_told_of_by_name_or_harms_nothing_that_is_read(
    tmp_path: Path, rng: random.Random
) -> None:
    async def main() -> None:
        ends = await flips_are_told_of(tmp_path, rng, FLIPS)
        print(ends)
        assert ends["reported"] + ends["refused"] > FLIPS / 3

    asyncio.run(main())


def test_a_verification_that_looks_at_no_hash_is_noticed(
    tmp_path: Path, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believed(record: StoredRecord) -> bytes:
        return record.hash

    monkeypatch.setattr(verifying, "computed_hash", believed)
    with pytest.raises(AssertionError, match="unnoticed"):
        asyncio.run(flips_are_told_of(tmp_path, rng, 4 * FLIPS))


# --- one column, changed by hand ---


def change(path: Path, *statements: str) -> None:
    """Changes the file as no everlog would: without types, without triggers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE type = 'trigger'")
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name IN "
            "('ledger', 'records')"
        )
        for kind in ("INTEGER NOT NULL", "TEXT NOT NULL", "BLOB NOT NULL", " TEXT", " BLOB"):
            connection.execute(
                "UPDATE sqlite_schema SET sql = replace(sql, ?, '') WHERE name IN "
                "('ledger', 'records')",
                (kind,),
            )
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


OTHER_KINDS = ("NULL", "5", "1.5", "'text'", "x'ff00'", "x''", "''", "-1", "9223372036854775807")
RECORD_COLUMNS = [field for field in StoredRecord._fields if field != "position"]
LEDGER_COLUMNS = [
    "id", "node", "epoch", "position", "chain", "clock", "newest_created", "newest_id",
]  # fmt: skip


@pytest.mark.parametrize("column", RECORD_COLUMNS)
def test_a_column_of_a_record_with_another_kind_of_value_is_reported(
    tmp_path: Path, column: str
) -> None:
    async def main() -> None:
        await write(tmp_path / "log.db")
        for number, value in enumerate(OTHER_KINDS):
            if column == "causation" and value == "NULL":
                continue  # as it was
            copy = tmp_path / f"copy-{number}.db"
            shutil.copy(tmp_path / "log.db", copy)
            change(copy, f"UPDATE records SET {column} = {value} WHERE position = 7")
            async with EventStore.open(copy, events=EVENTS) as store:
                found = await store.verify()
                assert not found.ok, value
                assert {problem.position for problem in found.problems} & {7, 8}, value
                try:
                    for record in await store.read().to_list():
                        _ = record.json, record.meta_json, record.created_at
                except EverlogError:
                    continue

    asyncio.run(main())


@pytest.mark.parametrize("column", LEDGER_COLUMNS)
def test_a_column_of_the_ledger_with_another_kind_of_value_is_reported(
    tmp_path: Path, column: str
) -> None:
    async def main() -> None:
        await write(tmp_path / "log.db")
        for number, value in enumerate(OTHER_KINDS):
            copy = tmp_path / f"copy-{number}.db"
            shutil.copy(tmp_path / "log.db", copy)
            change(copy, f"UPDATE ledger SET {column} = {value}")
            end = await look(copy)
            assert isinstance(end, EverlogError) or not end[1].ok, value

    asyncio.run(main())


def test_a_ledger_row_that_is_gone_is_told_of_by_name(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "log.db"
        await write(path)
        async with EventStore.open(path, events=EVENTS) as store:
            change(path, "DELETE FROM ledger")
            found = await store.verify()
            assert found.records == 28, "the records are verified all the same"
            assert [p.what for p in found.problems if "head cannot be read" in p.what]
        with pytest.raises(EverlogError, match="damaged"):
            await EventStore.open(path, events=EVENTS)

    asyncio.run(main())


# --- what no hash holds ---


class Changed:
    """A ledger with one thing changed."""

    def __init__(self, ledger: Ledger, **other: Any) -> None:
        self._ledger = ledger
        self._other = other

    def __getattr__(self, name: str) -> Any:
        return self._other[name] if name in self._other else getattr(self._ledger, name)


async def problems(path: Path, alter: Callable[[Ledger, Head], dict[str, Any]]) -> list[str]:
    async with EventStore.open(path, events=EVENTS) as store:
        ledger = store.ledger
        head = await ledger.head()
        changed: Any = Changed(ledger, **alter(ledger, head))
        found = await verifying.verify(changed, None)
        return [problem.what for problem in found.problems]


def identity(of: Ledger, /, **other: str) -> dict[str, Identity]:
    return {"identity": replace(of.identity, **other)}


def head_of(head: Head, **other: Any) -> dict[str, Any]:
    async def answer() -> Head:
        return head._replace(**other)

    return {"head": answer}


ALTERED: dict[str, tuple[Callable[[Ledger, Head], dict[str, Any]], str]] = {
    "another id": (lambda ledger, head: identity(ledger, ledger="0" * 32), "another ledger"),
    "another node": (lambda ledger, head: identity(ledger, node="0" * 16), "another node"),
    "no id": (lambda ledger, head: identity(ledger, ledger="X" * 32), "id is not 32 hex"),
    "no epoch": (lambda ledger, head: identity(ledger, epoch="0"), "epoch is not 16 hex"),
    "a clock that is none": (lambda ledger, head: head_of(head, clock="x" * 32), "no stamp"),
    "a later clock": (
        lambda ledger, head: head_of(head, clock="f" + head.clock[1:]),
        "not at the last recording",
    ),
    "an earlier clock": (
        lambda ledger, head: head_of(head, clock="00" + head.clock[2:]),
        "not at the last recording",
    ),
    "a position that is none": (lambda ledger, head: head_of(head, position="7"), "no number"),
    "a short chain": (lambda ledger, head: head_of(head, chain=b""), "not 32 bytes"),
}


@pytest.mark.parametrize("what", ALTERED)
def test_what_a_ledger_says_of_itself_is_held_against_its_records(
    tmp_path: Path, what: str
) -> None:
    async def main() -> None:
        path = tmp_path / "log.db"
        await write(path)
        alter, said = ALTERED[what]
        assert await problems(path, lambda ledger, head: {}) == []
        found = await problems(path, alter)
        assert [each for each in found if said in each], found
        assert len(found) <= 2, "once, and not for every record"

    asyncio.run(main())


def test_a_record_that_was_born_here_was_recorded_when_it_was_created(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "log.db"
        rows = await write(path)
        later = f"{int(rows[6].recorded[:16], 16) + 1:016x}{rows[6].recorded[16:]}"
        if later >= rows[7].recorded:
            later = rows[7].recorded[:-1] + "0"
        change(path, f"UPDATE records SET recorded = '{later}' WHERE position = 7")
        async with EventStore.open(path, events=EVENTS) as store:
            found = await store.verify()
            assert {problem.position for problem in found.problems} >= {7}

    asyncio.run(main())


def test_what_is_no_damage_is_raised_and_not_reported(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "log.db"
        await write(path)

        async def busy(*args: object, **kw: object) -> object:
            raise LedgerBusy("another process")

        with pytest.raises(LedgerBusy):
            await problems(path, lambda ledger, head: {"read": busy})
        async with EventStore.open(path, events=EVENTS) as store:

            def progress(done: int, total: int) -> None:
                raise ValueError("of the caller")

            with pytest.raises(ValueError, match="of the caller"):
                await store.verify(progress=progress)

    run(main)


def test_reading_a_column_with_another_kind_of_value_raises_before_it_is_used(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        await write(tmp_path / "log.db")
        change(tmp_path / "log.db", "UPDATE records SET hash = 'text' WHERE position = 7")
        async with EventStore.open(tmp_path / "log.db", events=EVENTS) as store:
            with pytest.raises(CorruptLedger, match="position 7 has no hash of its kind"):
                await store.read().to_list()

    asyncio.run(main())


def test_reads_that_do_not_look_at_the_kinds_of_columns_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_a_look(rows: list[Any]) -> list[StoredRecord]:
        return [StoredRecord._make(row) for row in rows]

    monkeypatch.setattr(reading, "as_records", without_a_look)

    async def main() -> None:
        path = tmp_path / "log.db"
        await write(path)
        change(path, "UPDATE records SET hash = 'text' WHERE position = 7")
        await look(path)

    with pytest.raises(AttributeError):
        asyncio.run(main())
