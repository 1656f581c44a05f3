"""What a caller hands over is iterated and called in its own thread, and never on the portal."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import RootModel

import everlog
from everlog.blocking import EventStore, Imported, Projector, Reading, Record, event, reducer, to
from everlog.core.record import StoredRecord
from everlog.errors import HandlerFailed, InvalidInput, TamperedRecord
from tests.blocking.notes import EVENTS, Noted, Notes


@pytest.fixture
def store() -> Iterator[EventStore]:
    with EventStore.open("memory:", events=EVENTS) as store:
        yield store


@pytest.fixture
def other() -> Iterator[EventStore]:
    with EventStore.open("memory:", events=EVENTS) as other:
        other.append("a", *[Noted(number) for number in range(1_300)])
        yield other


def slowly(other: EventStore, threads: set[str], *, upto: int | None = None) -> Iterator[Any]:
    """A generator that uses a blocking store itself, for every record."""
    for record in other.read(until=upto):
        threads.add(threading.current_thread().name)
        found = other.find(record.id)
        assert found is not None
        yield found


def test_an_import_from_a_generator_that_reads_blocking_stores(
    store: EventStore, other: EventStore
) -> None:
    threads: set[str] = set()
    assert store.import_records(slowly(other, threads)) == Imported(1_300, 0)
    assert threads == {threading.current_thread().name}
    assert store.import_records(slowly(other, threads, upto=7)) == Imported(0, 7)


def test_an_import_from_a_reading_of_another_and_of_the_same_store(
    store: EventStore, other: EventStore
) -> None:
    assert store.import_records(other.read()) == Imported(1_300, 0)
    assert store.import_records(store.read()) == Imported(0, 1_300)
    assert store.import_records(iter(other.read())) == Imported(0, 1_300)


def test_an_import_of_a_list_is_all_or_nothing_and_of_an_iterator_by_chunks(
    store: EventStore, other: EventStore
) -> None:
    rows = [record.stored for record in other.read()]
    rows[700] = rows[700]._replace(data='{"number":-1}')
    with pytest.raises(TamperedRecord):
        store.import_records(rows)
    with pytest.raises(TamperedRecord):
        store.import_records(tuple(rows))
    assert store.info().position == 0
    with pytest.raises(TamperedRecord):
        store.import_records(row for row in rows)
    assert store.info().position == 500


def test_what_came_before_an_error_of_a_generator_stays_by_chunks_and_it_is_closed(
    store: EventStore, other: EventStore
) -> None:
    closed: list[str] = []

    def breaking() -> Iterator[StoredRecord]:
        try:
            for record in other.read():
                if record.position == 1_001:
                    raise ValueError("no more")
                yield record.stored
        finally:
            closed.append(threading.current_thread().name)

    with pytest.raises(ValueError, match="no more"):
        store.import_records(breaking())
    assert store.info().position == 1_000
    assert closed == [threading.current_thread().name]


def test_what_came_before_an_error_counts_for_the_chunks_of_large_records_too() -> None:
    """A chunk ends by its bytes in the middle of a block: as many are taken in as by the async."""

    @event("blocking:large")
    class Large(RootModel[str]): ...

    with EventStore.open("memory:", events=[Large]) as other:
        for number in range(7):
            other.append("a", Large(f"{number}" * 300_000))
        records = other.read().to_list()

        def breaking() -> Iterator[Record[Any]]:
            yield from records
            raise ValueError("no more")

        async def theirs() -> int:
            async with everlog.EventStore.open("memory:") as store:
                with pytest.raises(ValueError, match="no more"):
                    await store.import_records(breaking())
                return (await store.info()).position

        with EventStore.open("memory:") as store:
            with pytest.raises(ValueError, match="no more"):
                store.import_records(breaking())
            assert store.info().position == asyncio.run(theirs()) == 6


def test_a_generator_that_an_error_cuts_short_is_closed_in_its_own_thread(
    store: EventStore, other: EventStore
) -> None:
    closed: list[str] = []

    def endless() -> Iterator[Any]:
        try:
            yield from (record.stored._replace(hash=bytes(32)) for record in other.read())
        finally:
            closed.append(threading.current_thread().name)

    generator = endless()
    with pytest.raises(TamperedRecord):
        store.import_records(generator)
    assert closed == [threading.current_thread().name]


def test_a_chunk_is_taken_in_before_more_is_asked_for(store: EventStore, other: EventStore) -> None:
    positions: list[int] = []

    def watching() -> Iterator[Any]:
        for index, record in enumerate(other.read()):
            if index == 500:
                positions.append(store.info().position)
            yield record

    store.import_records(watching())
    assert positions == [500]


def test_what_is_asynchronous_is_refused_with_words(store: EventStore) -> None:
    async def records() -> Any:
        yield None

    wrong: Any = records()
    with pytest.raises(InvalidInput, match="plain `for`"):
        store.import_records(wrong)
    with pytest.raises(InvalidInput, match="plain `for`"):
        Projector().replay(wrong)
    with pytest.raises(TypeError):
        store.import_records(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_replay_iterates_in_the_callers_thread_one_record_at_a_time(other: EventStore) -> None:
    projector, handled, asked, threads = Projector(), list[int](), list[int](), set[str]()

    @projector.all(Noted)
    def handle(record: Record[Noted]) -> None:
        assert other.find(record.id) is not None
        if record.position == 9:
            raise ValueError("nine")
        handled.append(record.position)

    def records() -> Iterator[Record[Any]]:
        for record in slowly(other, threads):
            asked.append(record.position)
            yield record

    with pytest.raises(HandlerFailed):
        projector.replay(records())
    assert handled == list(range(1, 9))
    assert asked == list(range(1, 10))
    assert threads == {threading.current_thread().name}
    assert projector.replay(other.read(limit=3)) == 3
    assert projector.replay(slowly(other, threads, upto=8)) == 8


def test_every_argument_that_can_be_iterated_may_be_a_generator_that_uses_a_store(
    store: EventStore, other: EventStore
) -> None:
    def names() -> Iterator[str]:
        for record in other.read(limit=3):
            yield f"r{record.position}"

    @reducer("sum", initial=int)
    def total(state: int, record: Record[Any]) -> int:
        return state + int(record.data.number)

    store.append("a", Noted(1), relations=names())
    assert store.relations.relations_of("a") == ["r1", "r2", "r3"]
    store.append_many(to(name, Noted(2), relations=names()) for name in names())
    assert store.relations.add_many((name, "x") for name in names()) == 3
    assert store.relations.remove_many((name, "x") for name in names()) == 3
    assert store.reduce(total, "a", pending=iter(other.read(limit=3))) == 1 + 0 + 1 + 2
    with EventStore.open("memory:", events=(cls for cls in EVENTS)) as third:
        third.append("a", Noted(1))
    with pytest.raises(InvalidInput, match="is a list of names"):
        store.append("a", Noted(1), relations="r1")


def test_progress_and_decide_run_in_the_callers_thread_and_may_use_the_store(
    store: EventStore, other: EventStore
) -> None:
    here, told = threading.current_thread(), list[tuple[int, int]]()

    def progress(done: int, total: int) -> None:
        assert threading.current_thread() is here
        told.append((done, total))
        store.append("progress", Noted(done))

    assert other.verify(progress=progress).ok
    assert told == [(1_300, 1_300)]
    assert store.read("progress").first() is not None

    def decide(notes: Notes) -> None:
        assert threading.current_thread() is here
        notes.note(len(store.read("progress").to_list()))

    store.append("notes-1", Noted(0))
    assert store.retrying(Notes, "notes-1", decide).total == 1


def test_what_progress_and_decide_raise_is_raised(store: EventStore) -> None:
    store.append("notes-1", Noted(0))

    def progress(done: int, total: int) -> None:
        raise ValueError("progress")

    def decide(notes: Notes) -> None:
        notes.note(1)
        raise ValueError("decide")

    def stop(notes: Notes) -> None:
        raise StopIteration

    with pytest.raises(ValueError, match="progress"):
        store.verify(progress=progress)
    with pytest.raises(ValueError, match="decide"):
        store.retrying(Notes, "notes-1", decide)
    with pytest.raises(RuntimeError, match="StopIteration"):
        store.retrying(Notes, "notes-1", stop)
    with pytest.raises(KeyboardInterrupt):
        store.retrying(Notes, "notes-1", interrupted)
    assert store.info().position == 1


def interrupted(notes: Notes) -> None:
    raise KeyboardInterrupt


def test_an_async_decide_is_awaited(store: EventStore) -> None:
    async def decide(notes: Notes) -> None:
        await asyncio.sleep(0)
        notes.note(1)

    store.append("notes-1", Noted(0))
    assert store.retrying(Notes, "notes-1", decide).log.version == 2


def test_a_reading_is_page_by_page_and_can_be_left_anywhere(tmp_path: Path) -> None:
    with EventStore.open(tmp_path / "notes.db", events=EVENTS) as store:
        store.append("a", *[Noted(number) for number in range(1_300)])
        reading = store.read("a")
        iterator = iter(reading)
        assert [next(iterator).position for _ in range(3)] == [1, 2, 3]
        store.append("a", Noted(-1))
        assert len([*iterator]) == 1_297  # the end was fixed when it began
        assert len(reading.to_list()) == 1_301  # and is fixed anew each time
        for record in reading:
            if record.position == 600:
                break
        assert isinstance(reading, Reading)
