"""Aggregates of both APIs and a blocking store: what fits, and what says that it does not."""

from __future__ import annotations

import asyncio
from typing import Any, Self

import pytest

import everlog
from everlog import Record
from everlog.blocking import AggregateRoot, EventStore, Projector, WrongVersion
from everlog.errors import MisusedStore, NotFound, ReadOnlyAggregate, UnsavedEvents
from everlog.testing import scenario
from tests.blocking.notes import EVENTS, Noted, Notes


class AsyncNotes(everlog.AggregateRoot, name="notes"):
    total: int = 0

    def apply(self, record: Record[Any]) -> None:
        self.total += record.data.number

    def note(self, number: int) -> Self:
        return self.push(Noted(number))


def test_an_aggregate_is_made_saved_loaded_and_snapshot_without_await() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        notes = store.new(Notes, id="notes-1").note(1).note(2)
        assert notes.save() is notes
        assert (notes.log.version, notes.log.is_dirty) == (2, False)
        assert notes.snapshot() is notes
        loaded = store.get(Notes, "notes-1")
        assert loaded is not None
        assert (loaded.total, loaded.note(3).total) == (3, 6)
        with pytest.raises(UnsavedEvents):
            loaded.snapshot()
        notes.note(9).save()
        with pytest.raises(WrongVersion):
            loaded.save()
        assert [record.data.number for record in loaded.log.pending] == [3]
        with pytest.raises(NotFound):
            store.new(Notes).snapshot()
        store.save(store.new(Notes, id="x").note(1), store.new(Notes, id="y").note(2))
        assert store.info().position == 5


def test_aggregates_of_snapshots_relations_and_retries_belong_to_the_blocking_store() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        store.append("notes-1", Noted(1), relations=["all"])
        created = store.snapshots.create(Notes, "notes-1").state
        assert created.note(1).save().log.version == 2
        found = store.snapshots.get(Notes, "notes-1")
        assert found is not None
        with pytest.raises(WrongVersion):  # the snapshot is of version 1
            found.state.note(1).save()
        of_all = store.get(Notes, relation="all")
        assert of_all is not None
        with pytest.raises(ReadOnlyAggregate):
            of_all.note(1)
        retried = store.retrying(Notes, "notes-1", lambda notes: notes.note(5))
        assert retried.note(7).save().log.version == 4


def test_an_aggregate_of_the_async_api_is_saved_by_the_store_and_says_so() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        notes = store.new(AsyncNotes, id="notes-1").note(1)
        with pytest.raises(MisusedStore, match=r"call store\.save\(aggregate\)"):
            asyncio.run(_awaited(notes.save()))
        with pytest.raises(MisusedStore, match=r"derive AsyncNotes from everlog\.blocking"):
            asyncio.run(_awaited(notes.snapshot()))
        store.save(notes)
        assert notes.log.version == 1
        loaded = store.get(AsyncNotes, "notes-1")
        assert loaded is not None
        assert loaded.total == 1
        assert store.retrying(AsyncNotes, "notes-1", lambda one: one.note(2)).log.version == 2


def test_a_blocking_aggregate_and_an_async_store_say_how_they_fit_together() -> None:
    async def main() -> None:
        async with everlog.EventStore.open("memory:", events=EVENTS) as store:
            notes = store.new(Notes, id="notes-1").note(1)
            with pytest.raises(MisusedStore, match=r"await store\.save\(aggregate\)"):
                notes.save()
            with pytest.raises(MisusedStore, match=r"everlog\.AggregateRoot"):
                notes.snapshot()
            await store.save(notes)
            assert notes.log.version == 1

    asyncio.run(main())


async def _awaited(awaitable: Any) -> None:
    await awaitable


def test_scenarios_take_blocking_aggregates_and_projectors() -> None:
    test = scenario(Notes).given(Noted(1)).when(lambda notes: notes.note(2).save().snapshot())
    test.then_events(Noted(2)).then_state(total=3)
    with pytest.raises(UnsavedEvents):
        scenario(Notes).when(lambda notes: notes.note(2).snapshot()).then_events()

    projector = Projector()

    @projector.once(Noted)
    def handle(record: Record[Noted]) -> None: ...

    scenario(projector).when(Noted(1)).then_called(handle)
    scenario(projector).given(Noted(1)).then_called()


def test_a_blocking_aggregate_is_one_of_the_async_api_too() -> None:
    assert issubclass(AggregateRoot, everlog.AggregateRoot)
    assert Notes.aggregate_name == "notes"
