"""Importing: records made by hand, repeated records, big records, and what is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, event
from everlog.core.event import event_type_of
from everlog.core.record import Record, StoredRecord, computed_hash
from everlog.core.sequencer import MAX_BATCH_BYTES, MAX_BATCH_EVENTS
from everlog.core.upcasting import MAX_SCHEMA
from everlog.errors import (
    EventDefinitionError,
    IdConflict,
    InvalidInput,
    InvalidName,
    StoreClosed,
    TamperedRecord,
)
from everlog.store import writing
from everlog.store.own_thread import OwnThread
from everlog.store.writing import Imported
from everlog.subscriptions.projector import Appended
from tests.store.programs import EVENTS, Bare, Data
from tests.store.watched import run

ADAPTERS = ["memory", "sqlite"]


def url(adapter: str, folder: Path) -> str:
    return "memory:" if adapter == "memory" else f"sqlite:///{folder / 'log.db'}"


async def records(count: int, text: str = "x") -> list[StoredRecord]:
    async with EventStore.open("memory:", events=EVENTS) as elsewhere:
        events = [Data(text) for _ in range(count)]
        made = await elsewhere.append("thing-1", *events)
        return [record.stored for record in made]


# --- made by hand ---


class Odd(str):
    """Text that shows itself as other text."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "other"


class OddInt(int):
    def __format__(self, spec: str) -> str:
        return "1"


class OddRecord(StoredRecord):
    """A record that says otherwise when it is asked."""

    @property
    def order(self) -> tuple[str, str]:
        return ("", "")


NAMES = ("id", "stream", "type", "register", "origin", "correlation", "causation")
BY_HAND: dict[str, tuple[str, Callable[[StoredRecord], Any]]] = {
    **{f"{name} of odd text": (name, lambda row: Odd("x")) for name in NAMES},
    **{f"{name} of bytes": (name, lambda row: b"x") for name in NAMES},
    **{f"no {name}": (name, lambda row: None) for name in NAMES if name != "causation"},
    "a schema of 10**30": ("schema", lambda row: 10**30),
    "a schema of 2**31": ("schema", lambda row: 2**31),
    "a schema of 0": ("schema", lambda row: 0),
    "a schema of True": ("schema", lambda row: True),
    "a schema of 1.0": ("schema", lambda row: 1.0),
    "a schema of text": ("schema", lambda row: "1"),
    "no schema": ("schema", lambda row: None),
    "an odd schema": ("schema", lambda row: OddInt(1)),
    "created of odd text": ("created", lambda row: Odd(row.created)),
    "created of bytes": ("created", lambda row: row.created.encode()),
    "no created": ("created", lambda row: None),
    "no nonce": ("nonce", lambda row: None),
    "a nonce of text": ("nonce", lambda row: "x" * 32),
    "a short nonce": ("nonce", lambda row: bytes(31)),
    "a nonce that can change": ("nonce", lambda row: bytearray(32)),
    "no data": ("data", lambda row: None),
    "data of a number": ("data", lambda row: 5),
    "odd data": ("data", lambda row: Odd(row.data)),
    "data of bytes": ("data", lambda row: row.data.encode()),
    "no meta": ("meta", lambda row: None),
    "meta of a number": ("meta", lambda row: 5),
    "odd meta": ("meta", lambda row: Odd(row.meta)),
    "no hash": ("hash", lambda row: None),
    "a hash of text": ("hash", lambda row: row.hash.hex()),
    "a short hash": ("hash", lambda row: row.hash[:31]),
    "a hash that can change": ("hash", lambda row: bytearray(row.hash)),
}  # fmt: skip


def by_hand(row: StoredRecord, what: str) -> tuple[str, StoredRecord]:
    """Returns which field was changed and the record, with a hash that fits where one can."""
    field, value = BY_HAND[what]
    changed = row._replace(**{field: value(row)})
    if field != "hash":
        try:
            changed = changed._replace(hash=computed_hash(changed))
        except (TypeError, AttributeError):
            return field, changed
    return field, changed


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("what", BY_HAND)
def test_a_record_with_a_field_of_another_kind_is_refused_by_name(
    tmp_path: Path, adapter: str, what: str
) -> None:
    async def main() -> None:
        [row, neighbour] = await records(2)
        field, changed = by_hand(row, what)
        async with EventStore.open(url(adapter, tmp_path), events=EVENTS) as store:
            imports = [store.import_records([each]) for each in (changed, neighbour)]
            refused, taken = await asyncio.gather(*imports, return_exceptions=True)
            assert isinstance(refused, (TamperedRecord, InvalidName))
            assert field in str(refused)
            assert taken == Imported(1, 0), "a neighbour is not held responsible"
            assert [record.id async for record in store.read()] == [neighbour.id]

    run(main)


def test_a_record_that_is_another_class_in_disguise_is_refused() -> None:
    async def main() -> None:
        [row] = await records(1)
        async with EventStore.open("memory:", events=EVENTS) as store:
            odd: list[Any] = [OddRecord(*row), Record(None, None)]  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            for each in odd:
                with pytest.raises(InvalidInput):
                    await store.import_records([each])
                with pytest.raises(InvalidInput):
                    await store.import_records(iter([each]))

    run(main)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_greatest_schema_is_kept(tmp_path: Path, adapter: str) -> None:
    async def main() -> None:
        [row] = await records(1)
        changed = row._replace(schema=MAX_SCHEMA)
        changed = changed._replace(hash=computed_hash(changed))
        async with EventStore.open(url(adapter, tmp_path), events=EVENTS) as store:
            await store.import_records([changed])
            assert [record.schema async for record in store.read()] == [MAX_SCHEMA]

    run(main)


def test_a_schema_that_no_record_may_have_cannot_be_declared() -> None:
    assert event_type_of(event("test:last", schema=MAX_SCHEMA)(type("Last", (Bare,), {}))).schema
    with pytest.raises(EventDefinitionError, match="2,147,483,647"):
        event("test:more", schema=MAX_SCHEMA + 1)


# --- the same record more than once ---


def several_ways(rows: Sequence[StoredRecord]) -> dict[str, Any]:
    async def streamed() -> AsyncIterator[StoredRecord]:
        for row in rows:
            yield row

    return {"a list": list(rows), "an iterator": iter(rows), "a stream": streamed()}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("way", ["a list", "an iterator", "a stream"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 500])
def test_a_record_that_comes_again_is_known_wherever_a_chunk_ends(
    tmp_path: Path, adapter: str, way: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "IMPORT_CHUNK", chunk)

    async def main() -> None:
        [a, b, c] = await records(3)
        async with EventStore.open(url(adapter, tmp_path), events=EVENTS) as store:
            told: list[str] = []

            def hook(appended: Appended) -> None:
                told.extend(record.id for record in appended.records)

            store.on_appended(hook)
            rows = several_ways([a, a, b, a, c, b])[way]
            assert await store.import_records(rows) == Imported(stored=3, known=3)
            assert [record.id async for record in store.read()] == [a.id, b.id, c.id] == told
            assert (await store.verify()).ok
            again = several_ways([c, c])[way]
            assert await store.import_records(again) == Imported(stored=0, known=2)

    run(main)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("way", ["a list", "an iterator", "a stream"])
@pytest.mark.parametrize("chunk", [1, 500])
def test_an_id_that_comes_again_with_other_content_is_a_conflict_wherever_a_chunk_ends(
    tmp_path: Path, adapter: str, way: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "IMPORT_CHUNK", chunk)

    async def main() -> None:
        [row] = await records(1)
        other = row._replace(stream="thing-2")
        other = other._replace(hash=computed_hash(other))
        async with EventStore.open(url(adapter, tmp_path), events=EVENTS) as store:
            with pytest.raises(IdConflict) as caught:
                await store.import_records(several_ways([row, other])[way])
            assert caught.value.event_id == row.id
            stored = [record.id async for record in store.read()]
            assert stored == ([] if way == "a list" or chunk > 1 else [row.id])

    run(main)


class Counted(str):
    """An id that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_an_id_twice_among_ten_thousand_is_found_in_one_pass() -> None:
    async def main() -> None:
        ids = [Counted(f"id-{number}") for number in range(MAX_BATCH_EVENTS - 1)]
        Counted.compared = 0
        async with EventStore.open("memory:", events=EVENTS) as store:
            events = [Data("x")] * MAX_BATCH_EVENTS
            with pytest.raises(InvalidInput, match="'id-9998' stands twice"):
                await store.append("thing-1", *events, ids=[*ids, Counted("id-9998")])
        assert Counted.compared < 20 * MAX_BATCH_EVENTS

    run(main)


# --- big records ---


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("letter", ["x", "\u20ac", "\U0001f600"])
def test_a_ledger_of_big_events_can_be_moved(tmp_path: Path, adapter: str, letter: str) -> None:
    bytes_each = 120_000
    count = 2 * MAX_BATCH_BYTES // bytes_each // 2 + 20

    async def main() -> None:
        async with EventStore.open("memory:", events=EVENTS) as elsewhere:
            for _ in range(count):
                await elsewhere.append(
                    "thing-1", Data(letter * (bytes_each // len(letter.encode())))
                )
            async with EventStore.open(url(adapter, tmp_path), events=EVENTS) as store:
                assert (await store.import_records(elsewhere.read())).stored == count

    run(main)


# --- what is left behind ---


def test_a_stream_is_closed_when_its_import_ends_early() -> None:
    async def main() -> None:
        rows = await records(3)
        closed: list[str] = []

        async def source(last: Any) -> AsyncGenerator[Any]:
            try:
                for row in rows:
                    yield row
                yield last
                yield rows[0]
            finally:
                closed.append("here")

        async with EventStore.open("memory:", events=EVENTS) as store:
            for last, error in (
                (rows[0]._replace(data='"other"'), TamperedRecord),
                ("no record", InvalidInput),
            ):
                given = source(last)
                with pytest.raises(error):
                    await store.import_records(given)
                assert closed.pop() == "here"

    with pytest.MonkeyPatch.context() as small:
        small.setattr(writing, "IMPORT_CHUNK", 2)
        run(main)


def test_a_close_is_not_held_up_by_an_import_that_goes_on_and_on() -> None:
    given: list[StoredRecord] = []

    async def main() -> None:
        [row] = await records(1)

        begun = asyncio.Event()

        def on_and_on() -> Iterator[StoredRecord]:
            begun.set()
            while len(given) < 5000:
                other = row._replace(id=f"id-{len(given)}")
                given.append(other._replace(hash=computed_hash(other)))
                yield given[-1]

        store = await EventStore.open("memory:", events=EVENTS)
        importing = asyncio.create_task(store.import_records(on_and_on()))
        await begun.wait()
        await store.close(timeout_s=0)
        with pytest.raises(StoreClosed):
            await importing

    with pytest.MonkeyPatch.context() as small:
        # As with big records: no chunk is checked in a thread, and the committer is never idle.
        small.setattr(writing, "IMPORT_CHUNK", 1)
        run(main)
    assert len(given) < 100


def test_an_iterator_without_aclose_is_imported_as_well() -> None:
    async def main() -> None:
        rows = await records(3)

        class Plain:
            def __init__(self) -> None:
                self._rows: Iterator[StoredRecord] = iter(rows)

            def __aiter__(self) -> Plain:
                return self

            async def __anext__(self) -> StoredRecord:
                for row in self._rows:
                    return row
                raise StopAsyncIteration

        async with EventStore.open("memory:", events=EVENTS) as store:
            assert await store.import_records(Plain()) == Imported(3, 0)

    run(main)


# --- the threads that handlers run in ---


async def works_while_handlers_hold_the_threads(patience_s: float) -> None:
    """Imports and verifies while functions of handlers hold every thread of the loop's own."""
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(2)
    loop.set_default_executor(executor)
    rows = await records(200)
    done = threading.Event()
    try:
        for _ in range(2):
            loop.run_in_executor(None, done.wait)
        async with EventStore.open("memory:", events=EVENTS) as store:
            async with asyncio.timeout(patience_s):
                await store.import_records(rows)
            async with asyncio.timeout(patience_s):
                assert (await store.verify()).ok
    finally:
        done.set()


def test_an_import_and_a_verification_need_no_thread_that_handlers_may_hold() -> None:
    run(lambda: works_while_handlers_hold_the_threads(20.0))


def test_an_import_that_needs_such_a_thread_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def shared(self: object, function: Callable[..., Any], *args: object) -> Any:
        return await asyncio.to_thread(function, *args)

    monkeypatch.setattr(OwnThread, "run", shared)
    with pytest.raises(TimeoutError):
        run(lambda: works_while_handlers_hold_the_threads(0.05))
