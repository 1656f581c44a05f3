"""Aggregates: fresh fields for each instance, events pushed and applied, one reserved name."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

import pytest

from everlog import AggregateRoot, EventStore, Record
from everlog.core.aggregate import AggregateLog, fields_of, start
from everlog.errors import (
    EventDefinitionError,
    EventValidationError,
    InvalidInput,
    InvalidName,
    NotFound,
    ReadOnlyAggregate,
    UnknownEvent,
    UnsavedEvents,
    WrongVersion,
)
from tests.store.watched import Noted, numbers, run

NOBODY: Any = object()


class Counter(AggregateRoot, name="counter", version=3):
    unit: ClassVar[str] = "pieces"
    total: int = 0
    seen: list[int] = []  # noqa: RUF012 - fresh for each instance: that is what is tested
    marks: dict[str, list[int]] = {"first": []}  # noqa: RUF012

    def apply(self, record: Record[Any]) -> None:
        if record.data.number == 13:
            raise ValueError("unlucky")
        self.total += record.data.number
        self.seen.append(record.data.number)
        self.marks["first"].append(record.version)

    def note(self, number: int) -> Self:
        return self.push(Noted(number))


def fresh_defaults() -> None:
    one, other = start(Counter, "counter-1", NOBODY), start(Counter, "counter-2", NOBODY)
    one.seen.append(1)
    one.marks["first"].append(1)
    one.total += 1
    assert (other.seen, other.marks, other.total) == ([], {"first": []}, 0)
    assert (Counter.seen, Counter.marks) == ([], {"first": []})


def test_class_level_defaults_are_fresh_and_deep_for_each_instance() -> None:
    fresh_defaults()


def test_defaults_that_are_copied_on_the_surface_only_are_seen_to_be_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("everlog.core.aggregate.copy.deepcopy", copy.copy)
    try:
        with pytest.raises(AssertionError):
            fresh_defaults()
    finally:
        Counter.marks["first"].clear()


def test_fields_are_what_is_annotated_in_the_class_and_its_bases() -> None:
    class Base(AggregateRoot, name="base"):
        inherited: int = 1

    class Below(Base, name="below"):
        constant: ClassVar[int] = 5
        own: str = ""
        not_annotated = 3

    assert set(fields_of(Below)) == {"inherited", "own"}
    made = start(Below, "below-1", NOBODY)
    assert (made.inherited, made.own, made.id) == (1, "", "below-1")


def test_log_is_the_one_reserved_name() -> None:
    with pytest.raises(EventDefinitionError, match="log is reserved"):
        type("A", (AggregateRoot,), {"log": 5})
    with pytest.raises(EventDefinitionError, match="log is reserved"):
        type("A", (AggregateRoot,), {"__annotations__": {"log": list}})


def test_a_name_and_a_version_are_checked_when_the_class_is_made() -> None:
    assert (Counter.aggregate_name, Counter.aggregate_version) == ("counter", 3)

    class Unnamed(AggregateRoot): ...

    assert (Unnamed.aggregate_name, Unnamed.aggregate_version) == ("unnamed", 1)
    with pytest.raises(InvalidName):

        class _(AggregateRoot, name="a\nb"): ...

    with pytest.raises(EventDefinitionError, match="version"):

        class _(AggregateRoot, version=0): ...  # type: ignore[no-redef]

    with pytest.raises(NotImplementedError, match="Unnamed"):
        start(Unnamed, "x", NOBODY).apply(NOBODY)


def test_the_log_takes_note_of_what_is_stored_by_id_and_only_once() -> None:
    class Pending:
        def __init__(self, id: str) -> None:
            self.id = id

    log = AggregateLog("a", NOBODY)
    pending: list[Any] = [Pending("1"), Pending("2"), Pending("3")]
    log.pending.extend(pending)
    for _ in range(2):  # told twice, by two saves at once
        log.saved({"1": 4, "2": 5, "of another": 9})
        assert (log.version, log.pending, log.is_dirty) == (5, pending[2:], True)
    log.saved({})
    log.saved({"3": 6})
    assert (log.version, log.pending, log.is_dirty) == (6, [], False)


# --- with a store -------------------------------------------------------------------------------


def test_what_is_pushed_is_applied_at_once_and_stored_when_saved() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            counter = store.new(Counter, id="counter-1")
            assert (counter.log.version, counter.log.is_dirty) == (0, False)
            assert counter.note(1).note(2) is counter
            assert (counter.total, counter.log.is_dirty) == (3, True)
            assert [record.version for record in counter.log.pending] == [1, 2]
            assert await numbers(store) == []
            assert await counter.save() is counter
            assert (counter.log.version, counter.log.pending) == (2, [])
            await counter.save()  # nothing to be saved is nothing
            again = await store.get(Counter, "counter-1")
            assert again is not None
            assert (again.total, again.seen, again.log.version) == (3, [1, 2], 2)
            assert again.marks == {"first": [1, 2]}
            assert "version 2" in repr(again)
            assert await store.get(Counter, "nobody") is None
            assert store.new(Counter).id.startswith("counter-")

    run(main)


def test_the_ids_of_events_are_fixed_when_they_are_pushed() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            counter = store.new(Counter).note(1).note(2)
            ids = [record.id for record in counter.log.pending]
            await counter.save()
            assert [record.id async for record in store.read()] == ids

    run(main)


def test_an_event_that_is_refused_leaves_the_aggregate_as_it_was() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            counter = store.new(Counter).note(1)
            bad: Any = Noted("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            with pytest.raises(EventValidationError):
                counter.push(bad)
            with pytest.raises(EventValidationError, match="meta"):
                counter.push(Noted(1), meta=Noted(2))
            with pytest.raises(UnknownEvent):
                counter.push("no event")
            with pytest.raises(ValueError, match="unlucky"):
                counter.note(13)
            assert (counter.total, len(counter.log.pending)) == (1, 1)
            await counter.save()
            assert await numbers(store) == [1]

    run(main)


def test_of_two_writers_one_is_told_and_keeps_its_events_pending() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            await store.new(Counter, id="c").note(1).save()
            one, other = await store.get(Counter, "c"), await store.get(Counter, "c")
            assert one is not None
            assert other is not None
            await one.note(2).save()
            with pytest.raises(WrongVersion) as caught:
                await other.note(3).note(4).save()
            assert (caught.value.expected, caught.value.actual) == (1, 2)
            assert [record.data.number for record in other.log.pending] == [3, 4]
            with pytest.raises(WrongVersion):
                await other.save()
            with pytest.raises(WrongVersion):
                await store.new(Counter, id="c").note(5).save()
            assert await numbers(store) == [1, 2]

    run(main)


def test_several_aggregates_are_saved_all_or_nothing() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            a, b, clean = (store.new(Counter, id=name) for name in "abc")
            await store.append("b", Noted(9))
            with pytest.raises(WrongVersion):
                await store.save(a.note(1), b.note(2), clean)
            assert (a.log.version, a.log.is_dirty, b.log.is_dirty) == (0, True, True)
            assert await numbers(store) == [9]
            d = store.new(Counter, id="d").note(4)
            await store.save(a, d, a)
            assert (a.log.version, d.log.version) == (1, 1)
            with pytest.raises(InvalidInput, match="same stream"):
                await store.save(a.note(5), start(Counter, "a", store).note(6))

    run(main)


def test_what_was_folded_from_a_relation_or_a_past_moment_takes_no_events() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            await store.append("a", Noted(1), relations=["r"])
            [record] = await store.append("b", Noted(2), relations=["r"])
            together = await store.get(Counter, relation="r")
            earlier = await store.get(Counter, "a", as_of=record.created)
            for aggregate in (together, earlier):
                assert aggregate is not None
                with pytest.raises(ReadOnlyAggregate):
                    aggregate.note(1)
            assert together is not None
            assert together.total == 3

    run(main)


def test_a_snapshot_is_of_what_is_saved_and_is_used() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            counter = store.new(Counter, id="c").note(1)
            with pytest.raises(UnsavedEvents):
                await counter.snapshot()
            await (await counter.save()).snapshot()
            await counter.note(2).save()
            again = await store.get(Counter, "c")
            assert again is not None
            assert (again.total, again.seen, again.log.version) == (3, [1, 2], 2)
            assert again.marks == {"first": [1, 2]}

    run(main)


def test_retrying_loads_again_after_a_conflict_and_gives_up_at_last() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            await store.append("c", Noted(1))
            loaded: list[int] = []

            async def contended(counter: Counter) -> None:
                loaded.append(counter.log.version)
                if len(loaded) < 3:
                    await store.append("c", Noted(100))
                counter.note(5)

            saved = await store.retrying(Counter, "c", contended)
            assert (loaded, saved.log.version, saved.total) == ([1, 2, 3], 4, 206)

            async def lost(counter: Counter) -> None:
                await store.append("c", Noted(1))
                counter.note(5)

            with pytest.raises(WrongVersion):
                await store.retrying(Counter, "c", lost, attempts=2)
            with pytest.raises(NotFound, match=r"store\.new"):
                await store.retrying(Counter, "nobody", lost)
            with pytest.raises(InvalidInput, match="attempts"):
                await store.retrying(Counter, "c", lost, attempts=0)

    run(main)


def test_the_aggregate_of_a_snapshot_can_be_saved_and_one_of_a_past_moment_has_no_snapshot() -> (
    None
):
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            await store.append("a", Noted(1), Noted(2))
            taken = (await store.snapshots.create(Counter, "a")).state
            found = await store.snapshots.get(Counter, "a")
            assert found is not None
            assert (taken.log.version, found.state.log.version) == (2, 2)
            await found.state.push(Noted(3)).save()
            with pytest.raises(WrongVersion):
                await taken.push(Noted(4)).save()
            [record] = await store.read("a", limit=1).to_list()
            past = await store.get(Counter, "a", as_of=record.created)
            assert past is not None
            with pytest.raises(ReadOnlyAggregate):
                await past.snapshot()

    run(main)
