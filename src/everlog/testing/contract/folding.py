"""Folding: by `(created, id)`, whatever the order of arrival; and what is outdated by what."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from everlog.core.record import Record
from everlog.core.reducer import Reducer, reducer
from everlog.core.stamp import stamp_time
from everlog.store.event_store import EventStore
from everlog.testing.contract.events import Activated, Deactivated, Noted, Renamed
from everlog.testing.contract.scene import (
    NOON_MS,
    Contract,
    Scene,
    contract_test,
    folded_rows,
    history,
    ids_of,
    rows_of,
)


@reducer("trace", initial=list[str])
def trace(state: list[str], record: Record[Any]) -> list[str]:
    """Keeps the ids in the order in which it was given them."""
    return [*state, record.id]


def at(ms: int, counter: int = 0, node: str = "a" * 16) -> str:
    """Returns a stamp of so many milliseconds after the test's beginning."""
    return f"{NOON_MS + ms:012x}{counter:04x}{node}"


async def arrive(store: EventStore, stream: str, event: object, created: str, id: str) -> None:
    """Imports one event that was created elsewhere."""
    await store.import_records([store.past(stream, event, created=created, id=id)])


class Folding(Contract):
    """`store.reduce`, `status`, and the flags."""

    @contract_test
    async def test_a_fold_goes_by_created_whatever_the_order_of_arrival(self, scene: Scene) -> None:
        for ms, id in ((5, "e"), (1, "a"), (4, "d"), (2, "b"), (3, "c")):
            await arrive(scene.store, "s", Noted(id), at(ms), id)
        assert ids_of(await scene.store.read("s").to_list()) == ["e", "a", "d", "b", "c"]
        assert await scene.store.reduce(trace, "s") == ["a", "b", "c", "d", "e"]
        assert await scene.store.reduce(trace) == ["a", "b", "c", "d", "e"]

    @contract_test
    async def test_events_of_one_stamp_are_folded_by_id(self, scene: Scene) -> None:
        for id in ("b", "c", "a", "B"):
            await arrive(scene.store, f"s{id}", Noted(id), at(1), id)
        assert await scene.store.reduce(trace) == ["B", "a", "b", "c"]

    @contract_test
    async def test_stamps_of_one_moment_are_folded_by_counter_then_by_node(
        self, scene: Scene
    ) -> None:
        await arrive(scene.store, "s", Noted(1), at(1, 2, "1" * 16), "w")
        await arrive(scene.store, "s", Noted(2), at(1, 1, "2" * 16), "x")
        await arrive(scene.store, "s", Noted(3), at(1, 1, "1" * 16), "y")
        await arrive(scene.store, "s", Noted(4), at(0, 9, "9" * 16), "z")
        assert await scene.store.reduce(trace, "s") == ["z", "y", "x", "w"]

    @contract_test
    async def test_a_long_log_with_many_late_records_is_folded_in_order(self, scene: Scene) -> None:
        chance = random.Random(7)  # noqa: S311 - a fixed arrival order, no secret
        stamps = [at(number, chance.randrange(3)) for number in range(1_700)]
        chance.shuffle(stamps)
        records = [
            scene.store.past(f"s{number % 5}", Noted(number), created=stamp, id=f"e{number:05}")
            for number, stamp in enumerate(stamps)
        ]
        await scene.store.import_records(records[:600])
        scene.clock.advance(ms=800)
        await history(scene.store, 300, streams=5)
        await scene.store.import_records(records[600:], max_offset_s=3600)
        rows = await scene.rows()
        for stream in (None, "s3"):
            wanted = sorted((r for r in rows if stream in (None, r.stream)), key=lambda r: r.order)
            assert await scene.store.reduce(trace, stream) == ids_of(wanted)
        moment = at(900)
        wanted = sorted((r for r in rows if r.created <= moment), key=lambda r: r.order)
        assert await scene.store.reduce(trace, as_of=moment) == ids_of(wanted)
        wanted = sorted((r for r in rows if r.position <= 1_111), key=lambda r: r.order)
        assert await scene.store.reduce(trace, until=1_111) == ids_of(wanted)
        wanted = sorted((r for r in rows if r.stream in ("s1", "s2")), key=lambda r: r.order)
        assert await scene.store.reduce(trace, streams=["s2", "s1"]) == ids_of(wanted)
        assert await folded_rows(scene.ledger) == sorted(rows, key=lambda r: r.order)

    @contract_test
    async def test_what_has_no_events_folds_to_none(self, scene: Scene) -> None:
        assert await scene.store.reduce(trace) is None
        assert await scene.store.reduce(trace, "nobody") is None
        await scene.store.append("a", Noted(1))
        assert await scene.store.reduce(trace, "a", types=[Renamed]) is None
        assert await scene.store.reduce(trace, "a", until=0) is None
        assert await scene.store.reduce(trace, relation="nobody") is None
        assert await scene.store.reduce(trace, streams=[]) is None

    @contract_test
    async def test_each_fold_begins_with_a_state_of_its_own(self, scene: Scene) -> None:
        def gather(state: list[int], record: Record[Any]) -> list[int]:
            state.append(record.position)
            return state

        gathering = Reducer[list[int]]("gather", gather, initial=list)
        await scene.store.append("a", Noted(1))
        assert await scene.store.reduce(gathering, "a") == [1]
        assert await scene.store.reduce(gathering, "a") == [1]

    @contract_test
    async def test_a_fold_keeps_to_types_until_as_of_and_relation(self, scene: Scene) -> None:
        for number in range(6):
            await scene.store.append(f"s{number % 2}", Noted(number), Renamed("x"))
            scene.clock.advance(ms=10)
        await scene.store.relations.add("odd", "s1")
        rows = await scene.rows()
        noted = ids_of(row for row in rows if row.type == "contract:noted")
        odd = [row for row in rows if row.stream == "s1"]
        assert await scene.store.reduce(trace, types=[Noted]) == noted
        assert await scene.store.reduce(trace, until=5) == ids_of(rows[:5])
        assert await scene.store.reduce(trace, as_of=rows[4].created) == ids_of(rows[:5])
        assert await scene.store.reduce(trace, as_of=stamp_time(rows[4].created)) == ids_of(
            rows[:6]
        )
        assert await scene.store.reduce(trace, relation="odd") == ids_of(odd)
        assert await scene.store.reduce(trace, relation="odd", types=[Noted]) == ids_of(odd[::2])

    @contract_test
    async def test_pending_records_are_folded_after_the_stored_ones(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1), ids=["stored"])
        old = datetime(2020, 1, 1, tzinfo=UTC)
        pending = [scene.store.past("a", Noted(2), created=old, id="pending")]
        assert await scene.store.reduce(trace, "a", pending=pending) == ["stored", "pending"]
        assert await scene.store.reduce(trace, "b", pending=pending) == ["pending"]
        assert (await scene.ledger.head()).position == 1

    @contract_test
    async def test_an_older_record_of_a_register_is_outdated_when_it_arrives(
        self, scene: Scene
    ) -> None:
        await arrive(scene.store, "s", Renamed("new"), at(9), "new")
        await arrive(scene.store, "s", Renamed("old"), at(3), "old")
        await arrive(scene.store, "s", Renamed("newer"), at(12), "newer")
        flags = {r.id: (r.hydrated, r.outdated) for r in await scene.store.read("s").to_list()}
        assert flags == {"new": (True, False), "old": (True, True), "newer": (True, False)}

    @contract_test
    async def test_what_is_newer_among_equal_stamps_goes_by_id(self, scene: Scene) -> None:
        await arrive(scene.store, "s", Renamed("b"), at(1), "b")
        await arrive(scene.store, "s", Renamed("c"), at(1), "c")
        await arrive(scene.store, "s", Renamed("a"), at(1), "a")
        outdated = {r.id: r.outdated for r in await scene.store.read("s").to_list()}
        assert outdated == {"b": False, "c": False, "a": True}

    @contract_test
    async def test_outdated_is_judged_by_register_and_not_by_type(self, scene: Scene) -> None:
        await arrive(scene.store, "s", Deactivated(), at(9), "off")
        await arrive(scene.store, "s", Activated(), at(3), "on")
        await arrive(scene.store, "s", Renamed("x"), at(2), "name")
        outdated = {r.id: r.outdated for r in await scene.store.read("s").to_list()}
        assert outdated == {"off": False, "on": True, "name": False}

    @contract_test
    async def test_outdated_is_judged_within_its_stream(self, scene: Scene) -> None:
        await arrive(scene.store, "s", Renamed("x"), at(9), "there")
        await arrive(scene.store, "t", Renamed("y"), at(3), "here")
        [here] = await scene.store.read("t").to_list()
        assert not here.outdated

    @contract_test
    async def test_outdated_is_judged_against_what_was_born_here(self, scene: Scene) -> None:
        await scene.store.append("s", Activated())
        await arrive(scene.store, "s", Deactivated(), at(-9), "old")
        [born, old] = await scene.store.read("s").to_list()
        assert (born.outdated, old.outdated) == (False, True)

    @contract_test
    async def test_outdated_is_judged_within_one_import_in_its_order(self, scene: Scene) -> None:
        past = scene.store.past
        await scene.store.import_records(
            [
                past("s", Renamed("5"), created=at(5), id="5"),
                past("s", Renamed("3"), created=at(3), id="3"),
                past("s", Renamed("7"), created=at(7), id="7"),
                past("s", Renamed("6"), created=at(6), id="6"),
                past("t", Renamed("1"), created=at(1), id="1"),
            ]
        )
        outdated = {r.id: r.outdated for r in await scene.store.read().to_list()}
        assert outdated == {"5": False, "3": True, "7": False, "6": True, "1": False}

    @contract_test
    async def test_what_is_born_here_is_never_outdated_however_far_ahead_others_were(
        self, scene: Scene
    ) -> None:
        await arrive(scene.store, "s", Renamed("ahead"), at(59_000, 0xFFFF, "f" * 16), "ahead")
        [born] = await scene.store.append("s", Renamed("here"))
        assert not born.outdated
        assert await scene.store.reduce(trace, "s") == ["ahead", born.id]

    @contract_test
    async def test_flags_stay_as_they_were_decided_when_recorded(self, scene: Scene) -> None:
        [first] = await scene.store.append("s", Renamed("x"))
        await scene.store.append("s", Renamed("y"))
        found = await scene.store.find(first.id)
        assert found is not None
        assert not found.outdated
        assert (await scene.store.status(first)).outdated

    @contract_test
    async def test_status_tells_what_this_ledger_knows_of_a_record(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        await arrive(other, "s", Renamed("old"), at(1), "old")
        await arrive(other, "s", Activated(), at(1), "on")
        await arrive(other, "s", Renamed("new"), at(9), "new")
        [old, on, new] = await other.read().to_list()
        await arrive(scene.store, "s", Renamed("here"), at(5), "here")

        async def status(record: Record[Any]) -> tuple[bool, bool]:
            found = await scene.store.status(record)
            return found.exists, found.outdated

        assert await status(old) == (False, True)
        assert await status(on) == (False, False)
        assert await status(new) == (False, False)
        await scene.store.import_records([old, new])
        assert await status(old) == (True, True)
        assert await status(new) == (True, False)
        assert (await rows_of(scene.ledger))[0].id == "here"

    @contract_test
    async def test_a_moment_before_a_late_event_was_known_is_still_read_by_its_creation(
        self, scene: Scene
    ) -> None:
        [born] = await scene.store.append("s", Noted("born"))
        moment = born.created_at + timedelta(milliseconds=5)
        await arrive(scene.store, "s", Noted("late"), at(3), "late")
        assert await scene.store.reduce(trace, "s", as_of=moment) == [born.id, "late"]
        assert await scene.store.reduce(trace, "s", as_of=moment, until=1) == [born.id]
