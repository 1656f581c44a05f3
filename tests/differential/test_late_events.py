"""One set of events, any order of arrival, three ledgers: equal folds, equal to plain sorting."""

from dataclasses import dataclass, field
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everlog import EventStore, Record, every, reducer
from everlog.adapters.memory import reading as memory_reading
from everlog.adapters.postgres import reading as postgres_reading
from everlog.adapters.sqlite import reading as sqlite_reading
from everlog.core.record import StoredRecord
from everlog.store.opening import SnapshotPolicy
from everlog.testing.contract.events import Activated, Deactivated, Noted, Renamed
from everlog.testing.contract.scene import NOON_MS, rows_of
from tests.differential.triplets import Triplets

STREAMS = ["a", "b", "c"]
KINDS: list[object] = [Activated(), Deactivated(), Renamed("x"), Noted(1)]


@dataclass
class Trace:
    ids: list[str] = field(default_factory=list[str])


@reducer("trace", initial=Trace)
def trace(state: Trace, record: Record[Any]) -> Trace:
    state.ids.append(record.id)
    return state


@dataclass(frozen=True)
class Happening:
    """Something that happened somewhere, and when."""

    id: str
    stream: str
    event: object
    created: str


@dataclass(frozen=True)
class Arrival:
    """The order in which one ledger hears of it all, in which chunks, and when it folds."""

    order: tuple[int, ...]
    chunks: tuple[int, ...]
    fold_after: tuple[bool, ...]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Happening], list[Arrival]]:
    count = draw(st.integers(1, 14))
    happenings = [
        Happening(
            id=f"e{number:02}",
            stream=draw(st.sampled_from(STREAMS)),
            event=draw(st.sampled_from(KINDS)),
            created=f"{NOON_MS - draw(st.integers(0, 6)):012x}"
            f"{draw(st.integers(0, 1)):04x}{draw(st.sampled_from('0f')) * 16}",
        )
        for number in range(count)
    ]
    arrivals = [
        Arrival(
            tuple(draw(st.permutations(range(count)))),
            tuple(draw(st.lists(st.integers(1, 4), min_size=count, max_size=count))),
            tuple(draw(st.lists(st.booleans(), min_size=count, max_size=count))),
        )
        for _ in range(3)
    ]
    return happenings, arrivals


async def arrive(store: EventStore, rows: list[StoredRecord], arrival: Arrival) -> None:
    """Imports the records in the order and chunks of an arrival, folding now and then."""
    await store.relations.add("r", "a", "b")
    waiting = [rows[index] for index in arrival.order]
    for size, fold in zip(arrival.chunks, arrival.fold_after, strict=True):
        if waiting:
            await store.import_records(waiting[:size])
            waiting = waiting[size:]
        if fold:
            await folds(store)


async def folds(store: EventStore) -> dict[str, list[str]]:
    """Returns the ids of every fold in question, in its order."""

    async def ids(**options: Any) -> list[str]:
        state = await store.reduce(trace, **options)
        return [] if state is None else state.ids

    found = {stream: await ids(stream=stream) for stream in STREAMS}
    found["relation"] = await ids(relation="r")
    found["types"] = await ids(relation="r", types=[Activated, Noted])
    found["all"] = await ids()
    return found


def sorted_model(rows: list[StoredRecord]) -> dict[str, list[str]]:
    """Returns the same by `sorted`."""
    ordered = sorted(rows, key=lambda row: (row.created, row.id))
    types = ("contract:activated", "contract:noted")
    found = {stream: [row.id for row in ordered if row.stream == stream] for stream in STREAMS}
    found["relation"] = [row.id for row in ordered if row.stream in ("a", "b")]
    found["types"] = [row.id for row in ordered if row.stream in ("a", "b") and row.type in types]
    found["all"] = [row.id for row in ordered]
    return found


def outdated_model(rows: list[StoredRecord]) -> set[str]:
    """Returns which records, in this order of arrival, came after a newer one of their register."""
    return {
        row.id
        for index, row in enumerate(rows)
        if any(
            earlier.stream == row.stream
            and earlier.register == row.register
            and (earlier.created, earlier.id) > (row.created, row.id)
            for earlier in rows[:index]
        )
    }


def check(happenings: list[Happening], arrivals: list[Arrival], snapshots: SnapshotPolicy) -> None:
    """Lets all ledgers hear of it all, each in its own order, and compares what they fold."""
    triplets = Triplets(snapshots)
    try:

        async def run() -> None:
            rows = [
                triplets.elsewhere.past(h.stream, h.event, created=h.created, id=h.id).stored
                for h in happenings
            ]
            wanted = sorted_model(rows)
            for store, arrival in zip(triplets.stores, arrivals, strict=True):
                await arrive(store, rows, arrival)
                for _ in range(2):  # the second time with what the first has kept
                    assert await folds(store) == wanted
                stored = await rows_of(store.ledger)
                assert [row.id for row in stored] == [rows[index].id for index in arrival.order]
                outdated = {row.id for row in stored if row.flags & 2}
                assert outdated == outdated_model(stored)
                assert (await store.verify()).ok
            # What is born here later stands behind all of it.
            for store in triplets.stores:
                [born] = await store.append("a", Noted("born"))
                assert (await folds(store))["all"] == [*wanted["all"], born.id]

        triplets.run(run())
    finally:
        triplets.close()


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


POLICIES: dict[str, SnapshotPolicy] = {"off": "manual", "every 1": every(1), "every 3": every(3)}


@pytest.mark.parametrize("snapshots", POLICIES)
@examples(30)
@given(history=histories())
def test_any_order_of_arrival_ends_in_the_same_folds(
    snapshots: str, history: tuple[list[Happening], list[Arrival]]
) -> None:
    check(*history, POLICIES[snapshots])


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("snapshots", POLICIES)
@examples(3_000)
@given(history=histories())
def test_any_order_of_arrival_ends_in_the_same_folds_for_long(
    snapshots: str, history: tuple[list[Happening], list[Arrival]]
) -> None:
    check(*history, POLICIES[snapshots])


OVERTAKING = (
    [
        Happening("e0", "a", Noted(1), f"{NOON_MS - 1:012x}0000{'0' * 16}"),
        Happening("e1", "a", Noted(1), f"{NOON_MS - 2:012x}0000{'0' * 16}"),
    ],
    [Arrival((0, 1), (1, 1), (True, True))] * 3,
)


ADAPTERS = {"memory": memory_reading, "sqlite": sqlite_reading, "postgres": postgres_reading}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_snapshot_that_is_not_asked_whether_it_was_overtaken_is_seen(
    adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(*OVERTAKING, every(1))
    monkeypatch.setattr(ADAPTERS[adapter], "overtakes", Mock(return_value=False))
    with pytest.raises(AssertionError):
        check(*OVERTAKING, every(1))
