"""Snapshots: they shorten a fold and never change its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from everlog.core.record import Record
from everlog.core.reducer import Reducer
from everlog.errors import InvalidInput, NotFound, SnapshotError
from everlog.store.folding import every
from everlog.testing.contract.events import Activated, Noted, Renamed
from everlog.testing.contract.folding import arrive, at
from everlog.testing.contract.scene import Contract, Scene, contract_test, ids_of


@dataclass
class Trace:
    """Which ids were folded, in which order."""

    ids: list[str] = field(default_factory=list[str])


@dataclass
class LongerTrace:
    """A state of another shape."""

    ids: list[str] = field(default_factory=list[str])
    more: int = 0


class Counting:
    """A reducer that tells how many records it was given."""

    def __init__(
        self, *, version: int = 1, initial: Callable[[], Any] = Trace, name: str = "trace"
    ) -> None:
        self.calls = 0
        self.reducer = Reducer[Any](name, self._apply, initial=initial, version=version)

    def _apply(self, state: Any, record: Record[Any]) -> Any:
        self.calls += 1
        state.ids.append(record.id)
        return state

    def taken(self) -> int:
        """Returns how many records it was given since it was last asked."""
        calls, self.calls = self.calls, 0
        return calls


class Snapshotting(Contract):
    """`store.snapshots`, and what folds make of them."""

    @contract_test
    async def test_a_snapshot_shortens_the_fold_and_keeps_the_answer(self, scene: Scene) -> None:
        trace = Counting()
        await scene.store.append("a", *[Noted(n) for n in range(5)], ids=[*"abcde"])
        await scene.store.append("b", Noted(0))
        taken = await scene.store.snapshots.create(trace.reducer, "a")
        assert (taken.state, taken.position, taken.count) == (Trace([*"abcde"]), 6, 5)
        await scene.store.append("a", Noted(5), ids=["f"])
        trace.taken()
        assert await scene.store.reduce(trace.reducer, "a") == Trace([*"abcdef"])
        assert trace.taken() == 1
        found = await scene.store.snapshots.get(trace.reducer, "a")
        assert found == taken

    @contract_test
    async def test_a_state_from_a_snapshot_is_a_new_one_each_time(self, scene: Scene) -> None:
        trace = Counting()
        await scene.store.append("a", Noted(1), ids=["x"])
        await scene.store.snapshots.create(trace.reducer, "a")
        first = await scene.store.reduce(trace.reducer, "a")
        assert first is not None
        first.ids.append("changed by the caller")
        assert await scene.store.reduce(trace.reducer, "a") == Trace(["x"])

    @contract_test
    async def test_a_late_event_that_belongs_into_a_snapshot_ends_it(self, scene: Scene) -> None:
        trace = Counting()
        for ms, id in ((1, "a"), (5, "e"), (9, "i")):
            await arrive(scene.store, "s", Noted(id), at(ms), id)
        await scene.store.snapshots.create(trace.reducer, "s")
        await arrive(scene.store, "s", Noted("c"), at(3), "c")
        assert await scene.store.reduce(trace.reducer, "s") == Trace([*"acei"])
        stale = await scene.store.snapshots.get(trace.reducer, "s")
        assert stale is not None
        assert stale.state == Trace([*"aei"])
        taken = await scene.store.snapshots.create(trace.reducer, "s")
        trace.taken()
        assert await scene.store.reduce(trace.reducer, "s") == taken.state == Trace([*"acei"])
        assert trace.taken() == 0

    @contract_test
    async def test_a_late_event_with_the_same_stamp_goes_by_its_id(self, scene: Scene) -> None:
        trace = Counting()
        await arrive(scene.store, "s", Noted(1), at(5), "m")
        await scene.store.snapshots.create(trace.reducer, "s")
        await arrive(scene.store, "s", Noted(2), at(5), "n")
        assert await scene.store.reduce(trace.reducer, "s") == Trace([*"mn"])
        await scene.store.snapshots.create(trace.reducer, "s")
        await arrive(scene.store, "s", Noted(3), at(5), "a")
        assert await scene.store.reduce(trace.reducer, "s") == Trace([*"amn"])

    @contract_test
    async def test_a_late_event_of_another_stream_or_type_leaves_a_snapshot_be(
        self, scene: Scene
    ) -> None:
        trace = Counting()
        for ms, id in ((1, "a"), (9, "i")):
            await arrive(scene.store, "s", Noted(id), at(ms), id)
        await scene.store.snapshots.create(trace.reducer, "s", types=[Noted])
        await arrive(scene.store, "t", Noted("c"), at(3), "c")
        await arrive(scene.store, "s", Renamed("d"), at(4), "d")
        trace.taken()
        folded = await scene.store.reduce(trace.reducer, "s", types=[Noted])
        assert (folded, trace.taken()) == (Trace([*"ai"]), 0)

    @contract_test
    async def test_a_late_event_after_a_snapshots_last_is_folded_onto_it(
        self, scene: Scene
    ) -> None:
        trace = Counting()
        await arrive(scene.store, "s", Noted("a"), at(1), "a")
        await scene.store.snapshots.create(trace.reducer, "s")
        await arrive(scene.store, "t", Noted("x"), at(9), "x")
        await arrive(scene.store, "s", Noted("c"), at(5), "c")
        await arrive(scene.store, "s", Noted("b"), at(3), "b")
        trace.taken()
        folded = await scene.store.reduce(trace.reducer, "s")
        assert (folded, trace.taken()) == (Trace([*"abc"]), 2)

    @contract_test
    async def test_a_change_of_membership_ends_a_relations_snapshot(self, scene: Scene) -> None:
        trace = Counting()
        relations = scene.store.relations
        for stream in "abc":
            await scene.store.append(stream, Noted(1), ids=[stream])
        await relations.add("r", "a", "b")
        await scene.store.snapshots.create(trace.reducer, relation="r")
        await relations.add("r", "a")  # no change
        await relations.add("q", "c")  # another relation
        trace.taken()
        assert await scene.store.reduce(trace.reducer, relation="r") == Trace(["a", "b"])
        assert trace.taken() == 0
        await relations.add("r", "c")
        assert await scene.store.reduce(trace.reducer, relation="r") == Trace(["a", "b", "c"])
        await scene.store.snapshots.create(trace.reducer, relation="r")
        await relations.remove("r", "a")
        assert await scene.store.reduce(trace.reducer, relation="r") == Trace(["b", "c"])
        await scene.store.snapshots.create(trace.reducer, relation="r")
        await relations.clear_streams("b")
        assert await scene.store.reduce(trace.reducer, relation="r") == Trace(["c"])
        await scene.store.snapshots.create(trace.reducer, relation="r")
        await relations.clear("r")
        assert await scene.store.reduce(trace.reducer, relation="r") is None

    @contract_test
    async def test_a_member_that_left_and_came_back_is_folded_right(self, scene: Scene) -> None:
        trace = Counting()
        await scene.store.append("a", Noted(1), ids=["a"])
        await scene.store.append("b", Noted(1), ids=["b"])
        await scene.store.relations.add("r", "a", "b")
        await scene.store.snapshots.create(trace.reducer, relation="r")
        await scene.store.relations.remove("r", "b")
        await scene.store.snapshots.create(trace.reducer, relation="r")
        await scene.store.relations.add("r", "b")
        assert await scene.store.reduce(trace.reducer, relation="r") == Trace(["a", "b"])

    @contract_test
    async def test_an_append_into_a_relation_reaches_its_snapshot(self, scene: Scene) -> None:
        trace = Counting()
        await scene.store.append("a", Noted(1), ids=["a"], relations=["r"])
        await scene.store.snapshots.create(trace.reducer, relation="r")
        await scene.store.append("b", Noted(2), ids=["b"])
        await scene.store.append("b", Noted(3), ids=["c"], relations=["r"])
        assert await scene.store.reduce(trace.reducer, relation="r") == Trace(["a", "b", "c"])

    @contract_test
    async def test_another_version_of_the_reducer_has_snapshots_of_its_own(
        self, scene: Scene
    ) -> None:
        one, two = Counting(), Counting(version=2)
        await scene.store.append("a", Noted(1), Noted(2))
        await scene.store.snapshots.create(one.reducer, "a")
        await scene.store.reduce(two.reducer, "a")
        assert two.taken() == 2
        assert await scene.store.snapshots.get(two.reducer, "a") is None

    @contract_test
    async def test_another_shape_of_the_state_has_snapshots_of_its_own(self, scene: Scene) -> None:
        one, longer = Counting(), Counting(initial=LongerTrace)
        await scene.store.append("a", Noted(1), Noted(2), ids=["x", "y"])
        await scene.store.snapshots.create(one.reducer, "a")
        assert await scene.store.reduce(longer.reducer, "a") == LongerTrace(["x", "y"])
        assert longer.taken() == 2

    @contract_test
    async def test_each_filter_reducer_and_scope_has_snapshots_of_its_own(
        self, scene: Scene
    ) -> None:
        trace, other = Counting(), Counting(name="other")
        await scene.store.append("a", Noted(1), Renamed("x"), ids=["1", "2"], relations=["a"])
        await scene.store.append("b", Noted(3), ids=["3"], relations=["a"])
        await scene.store.snapshots.create(trace.reducer, "a", types=[Noted])
        assert await scene.store.reduce(trace.reducer, "a") == Trace(["1", "2"])
        assert await scene.store.reduce(trace.reducer, "a", types=[Noted, Renamed]) == Trace(
            ["1", "2"]
        )
        assert await scene.store.reduce(trace.reducer, relation="a", types=[Noted]) == Trace(
            ["1", "3"]
        )
        assert await scene.store.reduce(trace.reducer, "b", types=[Noted]) == Trace(["3"])
        assert await scene.store.snapshots.get(other.reducer, "a", types=[Noted]) is None

    @contract_test
    async def test_a_snapshot_never_reaches_past_until(self, scene: Scene) -> None:
        trace = Counting()
        await scene.store.append("a", *[Noted(n) for n in range(6)], ids=[*"abcdef"])
        await scene.store.snapshots.create(trace.reducer, "a")
        for until in range(1, 7):
            folded = await scene.store.reduce(trace.reducer, "a", until=until)
            assert folded == Trace([*"abcdef"[:until]])

    @contract_test
    async def test_a_snapshot_never_reaches_past_as_of(self, scene: Scene) -> None:
        trace = Counting()
        records = await scene.store.append("a", *[Noted(n) for n in range(6)], ids=[*"abcdef"])
        await scene.store.snapshots.create(trace.reducer, "a")
        for number, record in enumerate(records, 1):
            folded = await scene.store.reduce(trace.reducer, "a", as_of=record.created)
            assert folded == Trace([*"abcdef"[:number]])

    @contract_test
    async def test_a_snapshot_serves_a_later_moment_and_later_until(self, scene: Scene) -> None:
        trace = Counting()
        await scene.store.append("a", Noted(1), Noted(2), ids=["x", "y"])
        await scene.store.snapshots.create(trace.reducer, "a")
        [third] = await scene.store.append("a", Noted(3), ids=["z"])
        await scene.store.append("a", Noted(4))
        trace.taken()
        bounds: list[dict[str, Any]] = [{"until": 3}, {"as_of": third.created}]
        for bound in bounds:
            folded = await scene.store.reduce(trace.reducer, "a", **bound)
            assert (folded, trace.taken()) == (Trace([*"xyz"]), 1)

    @contract_test
    async def test_pending_events_are_never_in_a_snapshot(self, scene: Scene) -> None:
        trace = Counting()
        store = scene.over(scene.ledger, snapshots=every(1))
        await store.append("a", Noted(1), ids=["stored"])
        pending = [store.past("a", Noted(2), created=at(1), id="pending")]
        for _ in range(3):
            folded = await store.reduce(trace.reducer, "a", pending=pending)
            assert folded == Trace(["stored", "pending"])
        assert await store.reduce(trace.reducer, "a") == Trace(["stored"])
        kept = await store.snapshots.get(trace.reducer, "a")
        assert kept is not None
        assert kept.state == Trace(["stored"])

    @contract_test
    async def test_every_so_many_records_a_fold_keeps_a_snapshot(self, scene: Scene) -> None:
        trace = Counting()
        store = scene.over(scene.ledger, snapshots=every(3))
        await store.append("a", Noted(1), Noted(2))
        await store.reduce(trace.reducer, "a")
        assert await store.snapshots.get(trace.reducer, "a") is None
        await store.append("a", Noted(3))
        await store.reduce(trace.reducer, "a", until=3)
        await store.reduce(trace.reducer, "a", as_of=at(1_000))
        assert await store.snapshots.get(trace.reducer, "a") is None
        await store.reduce(trace.reducer, "a")
        kept = await store.snapshots.get(trace.reducer, "a")
        assert kept is not None
        assert (kept.position, kept.count) == (3, 3)
        trace.taken()
        await store.reduce(trace.reducer, "a")
        assert trace.taken() == 0

    @contract_test
    async def test_nothing_is_no_snapshot(self, scene: Scene) -> None:
        trace = Counting()
        with pytest.raises(NotFound):
            await scene.store.snapshots.create(trace.reducer, "nobody")
        with pytest.raises(InvalidInput):
            await scene.store.snapshots.create(trace.reducer)
        assert await scene.store.snapshots.get(trace.reducer, "nobody") is None
        assert await scene.store.snapshots.delete(trace.reducer, "nobody") == 0

    @contract_test
    async def test_deleting_takes_all_snapshots_of_a_reducer_over_a_scope(
        self, scene: Scene
    ) -> None:
        one, two, other = Counting(), Counting(version=2), Counting(name="other")
        await scene.store.append("a", Noted(1), Activated(), relations=["a"])
        await scene.store.append("b", Noted(1))
        snapshots = scene.store.snapshots
        for counting in (one, two, other):
            await snapshots.create(counting.reducer, "a")
        await snapshots.create(one.reducer, "a", types=[Noted])
        await snapshots.create(one.reducer, "b")
        await snapshots.create(one.reducer, relation="a")
        assert await snapshots.delete(one.reducer, "a") == 3
        assert await snapshots.delete(stream="a") == 1
        assert await snapshots.delete(relation="a") == 1
        assert await snapshots.get(one.reducer, "b") is not None
        one.taken()
        await scene.store.reduce(one.reducer, "a")
        assert one.taken() == 2

    @contract_test
    async def test_a_state_that_would_not_read_back_as_it_is_is_refused(self, scene: Scene) -> None:
        @dataclass
        class Lossy:
            ids: list[Any] = field(default_factory=list[Any])

        def keep(state: Lossy, record: Record[Any]) -> Lossy:
            state.ids.append((record.id,))  # a tuple comes back as a list
            return state

        lossy = Reducer[Lossy]("lossy", keep, initial=Lossy)
        await scene.store.append("a", Noted(1), ids=["x"])
        with pytest.raises(SnapshotError):
            await scene.store.snapshots.create(lossy, "a")
        assert await scene.store.snapshots.get(lossy, "a") is None
        assert await scene.store.reduce(lossy, "a") == Lossy([("x",)])

    @contract_test
    async def test_snapshots_stay_where_the_ledger_is_durable(self, scene: Scene) -> None:
        trace = Counting()
        records = await scene.store.append("a", Noted(1), Noted(2))
        await scene.store.snapshots.create(trace.reducer, "a")
        trace.taken()
        store = await scene.reopen()
        folded = await store.reduce(trace.reducer, "a")
        if scene.capabilities.durable:
            assert (folded, trace.taken()) == (Trace(ids_of(records)), 0)
        else:
            assert folded is None

    @contract_test
    async def test_a_fold_of_no_types_is_not_served_by_a_snapshot_of_all(
        self, scene: Scene
    ) -> None:
        trace = Counting()
        await scene.store.append("a", Noted(1))
        await scene.store.snapshots.create(trace.reducer, "a")
        assert await scene.store.reduce(trace.reducer, "a", types=[]) is None
