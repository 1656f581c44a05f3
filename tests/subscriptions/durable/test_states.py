"""States in a durable subscription: read models end up as the folds, whatever order all came in."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from everlog import EventStore, Projector, Record, Tx, event, every, reducer, retry
from everlog.core.reducer import Reducer
from everlog.core.selection import Order, Selection
from everlog.errors import EventDefinitionError
from everlog.store.opening import SnapshotPolicy
from everlog.store.subscribing import Subscriptions
from tests.store.watched import Noted, Said, run
from tests.subscriptions.durable.places import Place
from tests.subscriptions.durable.test_running import Broken, counts, many, note, until

QUICK = retry(2, first_s=0.01)


@event("stranger")
@dataclass
class Stranger:
    """An event that the store does not know."""

    number: int


@dataclass
class Trace:
    """All that has happened, in order: two orders never give the same."""

    ids: list[str] = field(default_factory=list[str])


@reducer("trace", initial=Trace)
def trace(state: Trace, record: Record[Any]) -> Trace:
    state.ids.append(record.id)
    return state


@reducer("last-number", initial=int)
def last_number(state: int, record: Record[Any]) -> int:
    return record.data.number if record.type == "noted" else state


def tracing(place: Place) -> Projector:
    """Returns a projector whose read model is the trace of every stream."""
    projector = Projector()

    @projector.state(trace)
    async def show(state: Trace, record: Record[Any], tx: Tx) -> None:
        await tx.execute("CREATE TABLE IF NOT EXISTS traces (stream text PRIMARY KEY, ids text)")
        await tx.execute(
            place.sql(
                "INSERT INTO traces VALUES (?, ?) "
                "ON CONFLICT (stream) DO UPDATE SET ids = excluded.ids"
            ),
            (record.stream, " ".join(state.ids)),
        )

    return projector


# --- the differential ---


async def arrive(place: Place, seed: int, snapshots: SnapshotPolicy) -> None:
    """Has records arrive in a random order, most of them late, and compares what is shown."""
    chance = random.Random(seed)
    async with EventStore.open("memory:", events=[Noted, Said]) as elsewhere:
        foreign = [
            elsewhere.past(
                chance.choice("abc"),
                Noted(number) if chance.random() < 0.7 else Said("x"),
                created=f"{1_700_000_000_000 + chance.randrange(40):012x}0000{'0' * 16}",
                id=f"e{number:03}",
            )
            for number in range(60)
        ]
    chance.shuffle(foreign)
    async with (
        place.store(snapshots=snapshots) as store,
        store.subscription("traces", tracing(place)) as subscription,
    ):
        while foreign:
            count = chance.randint(1, 9)
            await store.import_records(foreign[:count])
            del foreign[:count]
            if chance.random() < 0.3:
                await note(store, 1, stream=chance.choice("abc"))
            if chance.random() < 0.4:
                await subscription.caught_up()
        await subscription.caught_up()
        for stream in "abc":
            state = await store.reduce(trace, stream)
            shown = place.ask(f"SELECT ids FROM traces WHERE stream = '{stream}'")
            assert shown == ([] if state is None else [(" ".join(state.ids),)]), f"seed {seed}"


CASES: list[tuple[int, SnapshotPolicy]] = [(1, "manual"), (2, every(4)), (3, every(1))]


@pytest.mark.parametrize(("seed", "snapshots"), CASES, ids=str)
def test_whatever_order_records_arrive_in_a_read_model_of_states_is_the_folds(
    place: Place, seed: int, snapshots: SnapshotPolicy
) -> None:
    run(lambda: arrive(place, seed, snapshots))


async def in_order_of_arrival(self: Any, reducer: Reducer[Any], stream: str) -> Any:
    state = reducer.initial()
    selection = Selection(streams=(stream,), order=Order.POSITION)
    for row in (await self._ledger.read(selection, size=1_000)).records:
        state = reducer(state, Record(row, self._registry))
    return state


async def of_the_last_alone(self: Any, reducer: Reducer[Any], stream: str) -> Any:
    rows = (await self._ledger.read(Selection(streams=(stream,)), size=1_000)).records
    return reducer(reducer.initial(), Record(rows[-1], self._registry))


@pytest.mark.parametrize("wrong", [in_order_of_arrival, of_the_last_alone])
def test_a_state_that_is_not_the_fold_is_seen(
    place: Place, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Subscriptions, "_state_of", wrong)
    with pytest.raises(AssertionError, match="seed 1"):
        run(lambda: arrive(place, 1, "manual"))


# --- one by one, and together ---


def test_each_stream_is_folded_once_for_records_that_are_dealt_with_together(place: Place) -> None:
    async def main() -> None:
        told: list[tuple[str, str, int, int]] = []
        projector = Projector()

        @projector.state(trace, Noted)
        async def first(state: Trace, record: Record[Noted]) -> None:
            told.append(("first", record.stream, record.position, len(state.ids)))

        @projector.all(Noted)
        async def between(record: Record[Noted]) -> None:
            if record.position > 28:
                told.append(("all", record.stream, record.position, 0))

        @projector.state(trace)
        def second(state: Trace, record: Record[Any]) -> None:
            told.append(("second", record.stream, record.position, len(state.ids)))

        async with place.store() as store:
            await many(store, 30, 3)
            await store.append("s-1", Said("x"))
            async with store.subscription("view", projector) as subscription:
                await subscription.caught_up()
                assert told == [
                    ("first", "s-0", 28, 10),
                    ("second", "s-0", 28, 10),
                    ("first", "s-1", 29, 11),
                    ("all", "s-1", 29, 0),
                    ("first", "s-2", 30, 10),
                    ("all", "s-2", 30, 0),
                    ("second", "s-2", 30, 10),
                    ("second", "s-1", 31, 11),
                ]
                del told[:]
                await store.append("s-0", Said("y"))  # live
                await subscription.caught_up()
                assert told == [("second", "s-0", 32, 11)]

    run(main)


def test_a_batch_that_is_cut_short_owes_no_state(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr("everlog.subscriptions.worker.BATCH_S", 0.25)
        shown: dict[str, Trace] = {}
        counted = 0
        projector = Projector()

        @projector.all(Noted)
        async def slow(record: Record[Noted]) -> None:
            if record.position % 30 == 0:
                await asyncio.sleep(0.3)  # no batch goes beyond one of these: five at the least

        @projector.state(trace)
        async def show(state: Trace, record: Record[Any]) -> None:
            nonlocal counted
            shown[record.stream] = state
            counted += 1

        async with place.store() as store:
            await many(store, 150, 3)
            async with store.subscription("view", projector) as subscription:
                await subscription.caught_up()
            for stream in ("s-0", "s-1", "s-2"):
                assert shown[stream] == await store.reduce(trace, stream)
            assert 3 * 5 <= counted < 100  # one for each record would be 150

    run(main)


def test_records_of_types_that_nobody_knows_are_in_the_states_of_all_types(place: Place) -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Stranger]) as elsewhere:
            await elsewhere.append("s", Stranger(1))
            strangers = await elsewhere.read().to_list()
        async with (
            place.store() as store,
            store.subscription("traces", tracing(place)) as subscription,
        ):
            await store.import_records(strangers)
            await subscription.caught_up()
            assert place.ask("SELECT ids FROM traces") == [(strangers[0].id,)]

    run(main)


# --- failures ---


@pytest.mark.parametrize("fails", ["the handler", "the fold"])
def test_a_state_that_fails_holds_up_its_stream_alone_and_is_folded_anew(
    place: Place, fails: str
) -> None:
    async def main() -> None:
        broken = True
        calls: Counter[str] = Counter()
        shown: dict[str, list[int]] = {}

        @reducer("numbers", initial=list[int])
        def numbers(state: list[int], record: Record[Any]) -> list[int]:
            if broken and fails == "the fold" and record.stream == "s-3":
                raise Broken("cannot be folded")
            return [*state, record.data.number]

        projector = Projector()

        @projector.all(Noted)
        async def count(record: Record[Noted]) -> None:
            calls["all"] += 1

        @projector.state(numbers)
        async def show(state: list[int], record: Record[Any]) -> None:
            calls["state"] += 1
            if broken and fails == "the handler" and record.stream == "s-3":
                raise Broken("cannot be shown")
            shown[record.stream] = state

        async with place.store() as store:
            await many(store, 400, 5)
            async with store.subscription("view", projector, on_error=QUICK) as subscription:
                await subscription.caught_up()
                assert shown == {f"s-{n}": list(range(n, 400, 5)) for n in (0, 1, 2, 4)}
                # And that without trying the batch once for each of the records that failed.
                assert calls["all"] < 2_000
                assert calls["state"] < 500
                await until(lambda: counts(store), (1, 0, 79))
                first, *_ = await store.subscriptions.parked("view")
                assert (first.position, first.stream) == (4, "s-3")
                assert first.error.startswith("Broken: cannot be")

                broken = False
                await store.subscriptions.retry("view")
                await until(lambda: counts(store), (0, 0, 0))
                assert shown["s-3"] == list(range(3, 400, 5))

    run(main)


def test_a_handler_that_fails_at_the_last_record_of_many_costs_each_of_them_a_try(
    place: Place,
) -> None:
    async def main() -> None:
        calls = 0
        shown: list[int] = []
        projector = Projector()

        @projector.state(last_number)
        async def show(state: int, record: Record[Any]) -> None:
            nonlocal calls
            calls += 1
            if record.data.number == 99:
                raise Broken("number 99")
            shown.append(record.data.number)

        async with place.store() as store:
            await many(store, 100, 1)
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up()
            assert [each.position for each in await store.subscriptions.parked("view")] == [100]
            assert shown[-1] == 98
            assert calls < 120

    run(main)


def test_two_reducers_that_would_share_snapshots_are_refused(place: Place) -> None:
    async def main() -> None:
        @reducer("trace", initial=Trace)
        def other(state: Trace, record: Record[Any]) -> Trace:
            return state

        projector = tracing(place)
        projector.state(other)(lambda state, record: None)
        async with place.store() as store:
            with pytest.raises(EventDefinitionError, match="both named 'trace'"):
                store.subscription("view", projector)

    run(main)
