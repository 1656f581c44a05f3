"""Reducers: a name, a new beginning for each fold, and a step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from everlog import EventStore, Record, Reducer, reducer
from everlog.errors import EventDefinitionError, InvalidInput, InvalidName
from tests.store.watched import Noted, run


@dataclass
class Total:
    sum: int = 0
    seen: list[int] = field(default_factory=list[int])


@reducer("total", initial=Total, version=2)
def total(state: Total, record: Record[Any]) -> Total:
    """Adds up what was noted."""
    state.sum += record.data.number
    state.seen.append(record.data.number)
    return state


@reducer("count", initial=int)
def count(state: int, record: Record[Any]) -> int:
    return state + 1


def test_a_reducer_is_called_like_the_function_it_was_made_from() -> None:
    assert isinstance(total, Reducer)
    assert (total.name, total.version, count.version) == ("total", 2, 1)
    assert total.__doc__ == "Adds up what was noted."
    assert repr(total) == "<Reducer 'total' version 2>"
    record: Any = None
    assert count(4, record) == 5


def test_a_shared_value_is_no_initial_state() -> None:
    values: list[Any] = [{}, [], 0, Total()]
    for shared in values:
        with pytest.raises(EventDefinitionError, match="initial="):
            reducer("x", initial=shared)


@pytest.mark.parametrize("version", [0, -1, True, 1.5, "1", None], ids=repr)
def test_a_version_is_a_whole_number_from_1(version: Any) -> None:
    with pytest.raises(EventDefinitionError, match="version="):
        reducer("x", initial=int, version=version)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256, None], ids=repr)
def test_a_name_is_one_that_can_be_stored(name: Any) -> None:
    with pytest.raises(InvalidName):
        reducer(name, initial=int)(lambda state, record: state)


async def fresh_states() -> None:
    """Each fold begins anew: what one does to its state, the next one does not see."""
    async with EventStore.open("memory:", events=[Noted]) as store:
        await store.append("a", Noted(1), Noted(2))
        first = await store.reduce(total, "a")
        assert first is not None
        assert first == Total(3, [1, 2])
        first.seen.clear()
        assert await store.reduce(total, "a") == Total(3, [1, 2])
        assert await store.reduce(total, "nobody") is None


def test_every_fold_begins_with_a_state_of_its_own() -> None:
    run(fresh_states)


def test_folds_that_share_their_beginning_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = Total()
    monkeypatch.setattr(total, "initial", lambda: shared)
    with pytest.raises(AssertionError):
        run(fresh_states)


def test_pending_records_are_folded_after_the_stored_ones() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            [record] = await store.append("b", Noted(7))
            assert await store.reduce(total, "a", pending=[record]) == Total(7, [7])
            await store.append("a", Noted(1))
            assert await store.reduce(total, "a", pending=[record]) == Total(8, [1, 7])
            assert await store.reduce(count, "a", pending=[record, record]) == 3

    run(main)


def test_what_is_no_reducer_is_refused_with_what_to_do() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            function: Any = count.__wrapped__
            with pytest.raises(InvalidInput, match="@reducer"):
                await store.reduce(function, "a")

    run(main)


def test_two_reducers_of_one_name_never_share_a_snapshot() -> None:
    @reducer("count", initial=int)
    def one_by_one(state: int, record: Record[Any]) -> int:
        return state + 1

    @reducer("count", initial=int)
    def tenfold(state: int, record: Record[Any]) -> int:
        return state + 10

    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            await store.append("a", Noted(1), Noted(2))
            await store.snapshots.create(one_by_one, "a")
            with pytest.raises(EventDefinitionError, match="both named 'count', version 1"):
                await store.reduce(tenfold, "a")
            assert await store.reduce(one_by_one, "a") == 2

    run(main)
