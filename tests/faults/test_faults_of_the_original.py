"""Each fault of the original that must not come along, and the proof that its test would see it.

Every fault has a check. It passes on everlog as it is; and it goes red when the fault is planted,
by taking the defence away, or putting the fault in, inside everlog in this very process. A fault of
SQL, or of what outlives a process, is planted in SQLite alone: memory has nothing to go red there.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from everlog import (
    ClockAhead,
    EventStore,
    EventValidationError,
    HookFailure,
    Projector,
    Record,
    WrongVersion,
    event,
    every,
    reducer,
)
from everlog.adapters.memory import reading as memory_reading
from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.sqlite import reading as sqlite_reading
from everlog.adapters.sqlite import writing as sqlite_writing
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core import sequencer, stamp
from everlog.core.codec import Codec
from everlog.core.portable import canonical
from everlog.core.relation import Relate, Related
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Append, Import, Placed, Sequencer
from everlog.core.stamp import Stamp
from everlog.errors import EverlogError, UnsavedEvents
from everlog.store import event_store, folding, reading
from everlog.store.folding import Fold, Folded, Folder
from everlog.store.hooks import Hooks
from tests.store.programs import EVENTS, MOMENT, Bare, Data, Model, Struct, Thing, names, unchecked

Check = Callable[[str], Coroutine[Any, Any, None]]
ADAPTERS = ["memory", "sqlite"]
_numbers = count()


@pytest.fixture(params=ADAPTERS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """For faults that only a database can have."""
    return f"sqlite:///{tmp_path}/log.db"


def holds(check: Check, url: str) -> None:
    """Runs a check on everlog as it is."""
    asyncio.run(check(_fresh(url)))


def goes_red(check: Check, url: str) -> None:
    """Asserts that a check fails, now that its fault has been planted."""
    kinds = (AssertionError, EverlogError, sqlite3.Error, pytest.fail.Exception)
    with pytest.raises(kinds) as caught:
        asyncio.run(check(_fresh(url)))
    print(f"{check.__name__} goes red: {str(caught.value)[:200]!r}")


def _fresh(url: str) -> str:
    return url.replace(".db", f"-{next(_numbers)}.db")


def late(store: EventStore, name: str, *, minutes: int = 60, id: str | None = None) -> Record[Any]:
    """A record of something that happened before everything in a store."""
    return store.past("thing-1", Data(name), created=MOMENT - timedelta(minutes=minutes), id=id)


# --- no optimistic concurrency ---


async def two_writers_cannot_overwrite_each_other(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        await store.append("thing-1", Data("first"))
        await store.append("thing-1", Data("second"), expect=1)
        with pytest.raises(WrongVersion):
            await store.append("thing-1", Data("third"), expect=1)
        one, two = await store.get(Thing, "thing-1"), await store.get(Thing, "thing-1")
        assert one is not None
        assert two is not None
        await one.push(Data("one")).save()
        with pytest.raises(WrongVersion):
            await two.push(Data("two")).save()
        assert await store.reduce(names, "thing-1") == ["first", "second", "one"]


def test_no_optimistic_concurrency(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(two_writers_cannot_overwrite_each_other, url)

    def require(expected: object, *, stream: str, actual: int) -> None:
        pass

    monkeypatch.setattr(sequencer, "require", require)
    goes_red(two_writers_cannot_overwrite_each_other, url)


# --- reading by a time string, so that late events vanish ---


async def a_late_event_is_read_after_a_position(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        [last] = await store.append("thing-1", Data("on time"))
        await store.import_records([late(store, "late")])
        [after] = await store.append("thing-1", Data("after"))
        assert after.position == 3
        for where in ANYWHERE:
            found = store.read(**where, after=last.position)
            assert [record.data.name async for record in found] == ["late", "after"], where


async def a_late_event_is_read_on_the_next_page(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        await store.append("thing-1", *[Data("on time")] * 700)
        await store.import_records([late(store, f"late {number}") for number in range(700)])
        await store.append("thing-1", Data("after"))
        for where in ANYWHERE:
            found = [record.position async for record in store.read(**where)]
            assert found == list(range(1, 1402)), where


ANYWHERE: list[dict[str, Any]] = [{}, {"stream": "thing-1"}, {"streams": ["thing-1", "thing-2"]}]


def read_by_time(planted: pytest.MonkeyPatch) -> None:
    """Makes both adapters go on after the time of a record, and not after its position."""

    def by_time(original: Callable[..., Page]) -> object:
        def read_page(*arguments: Any) -> Page:
            selection: Selection
            cursor: Cursor | None
            size: int
            *place, selection, cursor, size = arguments
            last = selection.after if cursor is None else cursor.position
            before = original(*place, Selection(until=last), None, last).records
            since = before[-1].created if before else ""
            page = original(*place, selection._replace(after=0), None, 10_000)
            found = [record for record in page.records if record.created > since]
            more = Cursor(found[size - 1].position, None, 0) if len(found) > size else None
            return replace(page, records=found[:size], cursor=more)

        return read_page

    for paging in (memory_reading, sqlite_reading):
        planted.setattr(paging, "read_page", by_time(paging.read_page))


def test_late_events_vanish_behind_a_cursor(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(a_late_event_is_read_after_a_position, url)
    holds(a_late_event_is_read_on_the_next_page, url)
    read_by_time(monkeypatch)
    holds(what_is_on_time_is_read_in_order, url)  # it is this fault, and not that nothing is read
    goes_red(a_late_event_is_read_after_a_position, url)
    goes_red(a_late_event_is_read_on_the_next_page, url)


async def what_is_on_time_is_read_in_order(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        for _ in range(3):
            await store.append("thing-1", *[Data("on time")] * 300)
        for where in ANYWHERE:
            for after in (0, 450):
                found = [record.position async for record in store.read(**where, after=after)]
                assert found == list(range(after + 1, 901)), (where, after)


async def a_late_event_is_folded(url: str) -> None:
    async with EventStore.open(url, events=EVENTS, snapshots=every(1)) as store:
        await store.append("thing-1", Data("a"), Data("b"), relations=["all"])
        places: list[dict[str, Any]] = [{"stream": "thing-1"}, {"relation": "all"}]
        for options in places:
            assert await store.reduce(names, **options) == ["a", "b"]
            assert await store.snapshots.get(names, **options) is not None
        await store.import_records([late(store, "late")])
        for options in places:
            assert await store.reduce(names, **options) == ["late", "a", "b"]


def test_late_events_vanish_behind_a_snapshot(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(a_late_event_is_folded, url)

    def overtakes(*_: object) -> bool:
        return False

    monkeypatch.setattr(memory_reading, "overtakes", overtakes)
    monkeypatch.setattr(sqlite_reading, "overtakes", overtakes)
    goes_red(a_late_event_is_folded, url)


# --- outdated always false ---


async def what_came_too_late_is_outdated(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        [new] = await store.append("thing-1", Data("new"))
        old = late(store, "old")
        before = await store.status(old)
        assert (before.exists, before.outdated) == (False, True)
        await store.import_records([old, late(store, "older", minutes=120)])
        flags = [record.outdated async for record in store.read("thing-1")]
        assert flags == [False, True, True]
        assert not (await store.status(new)).outdated
        await store.append("thing-1", Data("newest"))
        assert (await store.status(new)).outdated, "status is of now"
        first = await store.read("thing-1").first()
        assert first is not None
        assert not first.outdated, "the flag is of then"


def test_outdated_is_always_false(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(what_came_too_late_is_outdated, url)
    with monkeypatch.context() as planted:
        planted.setattr(sequencer, "OUTDATED", 0)
        goes_red(what_came_too_late_is_outdated, url)

    async def overtaken(*_: object) -> bool:
        return False

    with monkeypatch.context() as planted:
        planted.setattr(MemoryLedger, "overtaken", overtaken)
        planted.setattr(SqliteLedger, "overtaken", overtaken)
        goes_red(what_came_too_late_is_outdated, url)


# --- filters that make invalid SQL ---


async def every_combination_of_read_options_answers_as_a_plain_filter_does(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        for number in range(4):
            await store.append(f"thing-{number % 2}", Data(f"{number}"), Struct(f"{number}"))
            await store.append("it's", Bare(f"{number}"), relations=["all", "o'ne"])
        await store.relations.add("all", "thing-1")
        await store.import_records([late(store, "late")])
        everything = await store.read().to_list()
        scopes: list[tuple[dict[str, Any], list[str] | None]] = [
            ({}, None),
            ({"stream": "it's"}, ["it's"]),
            ({"stream": "missing"}, []),
            ({"streams": []}, []),
            ({"streams": ["thing-0"]}, ["thing-0"]),
            ({"streams": ["thing-0", "it's", "missing"]}, ["thing-0", "it's"]),
            ({"relation": "all"}, ["it's", "thing-1"]),
            ({"relation": "o'ne"}, ["it's"]),
            ({"relation": "missing"}, []),
        ]
        kinds: list[tuple[list[Any] | None, list[str] | None]] = [
            (None, None),
            ([], []),
            ([Data], ["test:data"]),
            ([Struct, "test:bare", "missing"], ["test:struct", "test:bare"]),
        ]
        moments = (None, everything[5].created)
        options = product(scopes, kinds, (0, 3), (None, 9), moments, (None, 0, 2))
        for (scope, streams), (types, wanted), after, until, as_of, limit in options:
            expected = [
                record
                for record in everything
                if (streams is None or record.stream in streams)
                and (wanted is None or record.type in wanted)
                and record.position > after
                and (until is None or record.position <= until)
                and (as_of is None or record.created <= as_of)
            ]
            asked: dict[str, Any] = {**scope, "types": types, "until": until, "as_of": as_of}
            for backwards in (False, True):
                found = await store.read(
                    **asked, after=after, limit=limit, backwards=backwards
                ).to_list()
                ordered = expected[::-1] if backwards else expected
                assert found == ordered[:limit], (asked, after, limit, backwards)
            if not after and limit is None:
                by_creation = sorted(expected, key=lambda record: (record.created, record.id))
                state = await store.reduce(ids_folded, **asked)
                assert (state or []) == [record.id for record in by_creation], asked


@reducer("ids", initial=list[str])
def ids_folded(state: list[str], record: Record[Any]) -> list[str]:
    """The ids of all events."""
    return [*state, record.id]


def test_every_combination_of_filters_is_answered(url: str) -> None:
    holds(every_combination_of_read_options_answers_as_a_plain_filter_does, url)


def test_filters_make_invalid_sql(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original: Any = sqlite_reading._conditions  # pyright: ignore[reportPrivateUsage]

    def conditions(*args: Any, **options: Any) -> tuple[str, list[object]]:
        sql, values = original(*args, **options)
        return sql.replace(" AND type", " WHERE type"), values

    monkeypatch.setattr(sqlite_reading, "_conditions", conditions)
    goes_red(every_combination_of_read_options_answers_as_a_plain_filter_does, sqlite_url)


# --- descending reads in ascending order ---


async def backwards_is_from_the_last_to_the_first(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        for number in range(7):
            await store.append(f"thing-{number % 2}", *[Data(f"{number}")] * 200)
        scopes: list[dict[str, Any]] = [
            {},
            {"stream": "thing-1"},
            {"streams": ["thing-0", "thing-1"]},
        ]
        for options in scopes:
            forwards = [record.position async for record in store.read(**options)]
            backwards = [record.position async for record in store.read(**options, backwards=True)]
            assert len(forwards) > 500, "more than a page"
            assert backwards == forwards[::-1]
            last = await store.read(**options, backwards=True, limit=1).to_list()
            assert [record.position for record in last] == forwards[-1:]


def test_descending_reads_are_in_ascending_order(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(backwards_is_from_the_last_to_the_first, url)
    original = reading.select

    def select(*arguments: Any, **options: Any) -> Selection:
        return original(*arguments, **options)._replace(backwards=False)

    monkeypatch.setattr(event_store, "select", select)
    goes_red(backwards_is_from_the_last_to_the_first, url)


# --- null passing as required data ---


@event("fault:numbers")
class Numbers(BaseModel):
    """An event with a part."""

    numbers: list[int]


async def null_is_no_required_data(url: str) -> None:
    wrong: list[Any] = [
        Data(unchecked(None)),
        Struct(unchecked(None)),
        Bare.model_construct(unchecked(None)),
        Numbers.model_construct(numbers=None),
        Numbers.model_construct(numbers=[1, None]),
        Numbers.model_construct(),
    ]
    async with EventStore.open(url, events=[*EVENTS, Numbers]) as store:
        for bad in wrong:
            with pytest.raises(EventValidationError):
                await store.append("thing-1", bad)
        with pytest.raises(EventValidationError):
            await store.append("thing-1", Model(name="x"), meta=None)
        assert await store.read().to_list() == []


def test_null_passes_as_required_data(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(null_is_no_required_data, url)

    def encode(self: Codec, value: object, at: str) -> str:
        return canonical(self._engine.to_tree(value), at=at)  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(Codec, "_encode", encode)
    goes_red(null_is_no_required_data, url)


# --- auto snapshots that store uncommitted events ---


async def a_snapshot_holds_what_is_stored_and_no_more(url: str) -> None:
    async with EventStore.open(url, events=EVENTS, snapshots=every(1)) as store:
        await store.append("thing-1", Data("stored"))
        thing = await store.get(Thing, "thing-1")
        assert thing is not None
        thing.push(Data("pending"))
        pending = thing.log.pending
        assert await store.reduce(names, "thing-1", pending=pending) == ["stored", "pending"]
        with pytest.raises(UnsavedEvents):
            await thing.snapshot()
        snapshot = await store.snapshots.get(names, "thing-1")
        assert snapshot is not None
        assert snapshot.state == ["stored"]
        assert await store.reduce(names, "thing-1") == ["stored"]
        again = await store.get(Thing, "thing-1")
        assert again is not None
        assert again.name == "stored"


def test_auto_snapshots_store_uncommitted_events(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(a_snapshot_holds_what_is_stored_and_no_more, url)
    original = Folder.fold

    async def fold(
        self: Folder, fold: Fold[Any], selection: Selection, pending: Sequence[Record[Any]] = ()
    ) -> Folded[Any] | None:
        folded = await original(self, fold, selection)
        if folded is None:
            return None
        for record in pending:
            folded = replace(folded, state=fold.step(folded.state, record))
        await self.put(fold, folded)
        return folded

    monkeypatch.setattr(Folder, "fold", fold)
    goes_red(a_snapshot_holds_what_is_stored_and_no_more, url)


# --- effects fired and forgotten ---


async def an_append_waits_for_its_effects(url: str) -> None:
    projector = Projector()
    done: list[str] = []

    @projector.once(Data)
    async def effect(record: Record[Data]) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
        done.append(record.id)

    async with EventStore.open(url, events=EVENTS) as store:
        store.on_appended(projector.handle)
        [record] = await store.append("thing-1", Data("x"))
        assert done == [record.id]
        thing = store.new(Thing).push(Data("y"))
        await thing.save()
        assert len(done) == 2


async def an_effect_that_fails_is_told(url: str) -> None:
    projector = Projector()
    told: list[HookFailure] = []

    @projector.once(Data)
    def effect(record: Record[Data]) -> None:
        raise ValueError(record.id)

    async with EventStore.open(url, events=EVENTS) as store:
        store.on_appended(projector.handle)
        store.on_error(told.append)
        [record] = await store.append("thing-1", Data("x"))
        assert [failure.appended.records for failure in told] == [(record,)]
        assert str(told[0].error.__cause__) == record.id
        assert await store.find(record.id) == record, "the append stands"


def test_effects_are_fired_and_forgotten(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(an_append_waits_for_its_effects, url)
    holds(an_effect_that_fails_is_told, url)

    async def forget(*_: object) -> None:
        pass

    with monkeypatch.context() as planted:
        planted.setattr(event_store, "run_out", forget)
        goes_red(an_append_waits_for_its_effects, url)
    with monkeypatch.context() as planted:
        planted.setattr(Hooks, "_report", forget)
        goes_red(an_effect_that_fails_is_told, url)


# --- no way to resume after a crash ---


async def what_follows_is_found_after_a_restart(url: str) -> None:
    written: list[str] = []
    seen: list[str] = []
    last = 0
    for life in range(5):
        async with EventStore.open(url, events=EVENTS) as store:
            async for record in store.read(after=last):
                seen.append(record.id)
                last = record.position
            assert seen == written, "each once, in order, and none left out"
            # Stored, and not yet read when this life ends.
            records = await store.append("thing-1", Data(f"{life}"), Data(f"{life} again"))
            await store.import_records([late(store, "late", minutes=life + 1, id=f"{life}")])
            written += [*(record.id for record in records), f"{life}"]


async def a_replay_rebuilds_a_read_model_and_repeats_no_effect(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        await store.append("thing-1", Data("a"), Data("b"))
        projector = Projector()
        effects: list[str] = []
        model: list[str] = []
        projector.once(Data)(lambda record: effects.append(record.id))
        projector.on(Data)(lambda record: model.append(record.data.name))
        assert await projector.replay(store.read(after=1)) == 1
        assert await projector.replay(store.read(until=1)) == 1
        assert (model, effects) == (["b", "a"], [])


def test_there_is_no_way_to_resume_after_a_crash(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(what_follows_is_found_after_a_restart, sqlite_url)
    original = SqliteLedger.read

    async def from_the_beginning(
        self: SqliteLedger, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        return await original(self, selection._replace(after=0), cursor=cursor, size=size)

    heads: dict[SqliteLedger, int] = {}

    async def from_the_end(
        self: SqliteLedger, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        if self not in heads:  # where the ledger stood when this life began
            heads[self] = (await self.head()).position
        selection = selection._replace(after=max(selection.after, heads[self]))
        return await original(self, selection, cursor=cursor, size=size)

    for read in (from_the_beginning, from_the_end):
        with monkeypatch.context() as planted:
            planted.setattr(SqliteLedger, "read", read)
            goes_red(what_follows_is_found_after_a_restart, sqlite_url)
    with monkeypatch.context() as planted:
        read_by_time(planted)
        goes_red(what_follows_is_found_after_a_restart, sqlite_url)


def test_a_replay_repeats_effects(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(a_replay_rebuilds_a_read_model_and_repeats_no_effect, url)
    # In process a crash loses what was running, and says so: it is never mistaken for success.
    assert "at most once" in (Projector.once.__doc__ or "")

    monkeypatch.setattr(Projector, "_replay_one", Projector.push)
    goes_red(a_replay_rebuilds_a_read_model_and_repeats_no_effect, url)


# --- outdated judged within one type ---


class _Field(BaseModel):
    pass


@event("fault:activated", register="fault:active")
class Activated(_Field):
    """Writes the field `active`."""


@event("fault:deactivated", register="fault:active")
class Deactivated(_Field):
    """Writes the same field."""


async def read_models_are_equal_on_all_services(url: str) -> None:
    async def service(url: str, *, first: int) -> tuple[dict[str, bool], list[Record[Any]]]:
        model: dict[str, bool] = {}
        projector = Projector()

        @projector.on(Activated, Deactivated)
        def project(record: Record[Any]) -> None:
            model[record.stream] = isinstance(record.data, Activated)

        async with EventStore.open(url, events=[Activated, Deactivated]) as store:
            store.on_appended(projector.handle)
            happened = [
                store.past("user-1", Activated(), created=MOMENT, id="on", origin="o"),
                store.past(
                    "user-1",
                    Deactivated(),
                    created=MOMENT + timedelta(hours=1),
                    id="off",
                    origin="o",
                ),
            ]
            await store.import_records([happened[first]])
            await store.import_records([happened[1 - first]])
            return model, await store.read().to_list()

    in_order, _ = await service(_fresh(url), first=0)
    swapped, records = await service(_fresh(url), first=1)
    assert in_order == swapped == {"user-1": False}
    assert [record.outdated for record in records] == [False, True]


async def what_another_type_has_overtaken_is_outdated(url: str) -> None:
    async with EventStore.open(url, events=[Activated, Deactivated]) as store:
        [on] = await store.append("user-1", Activated())
        assert not (await store.status(on)).outdated
        [off] = await store.append("user-1", Deactivated())
        assert (await store.status(on)).outdated
        assert not (await store.status(off)).outdated


def test_outdated_is_judged_within_one_type(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [read_models_are_equal_on_all_services, what_another_type_has_overtaken_is_outdated]
    for check in checks:
        holds(check, url)
    original = Sequencer.place

    def place(self: Sequencer, request: Append | Import) -> Placed:
        if isinstance(request, Append):
            events = tuple(event._replace(register=event.type) for event in request.events)
            return original(self, request._replace(events=events))
        records = tuple(record._replace(register=record.type) for record in request.records)
        return original(self, request._replace(records=records))

    monkeypatch.setattr(Sequencer, "place", place)
    for check in checks:
        goes_red(check, url)


# --- a clock without node, without limit, never saved, never moved ---

NOW_MS = 1_800_000_000_000


async def two_ledgers_never_mint_the_same_stamp(url: str) -> None:
    stamps: list[str] = []
    for _ in range(2):
        async with EventStore.open(_fresh(url), events=EVENTS, clock=lambda: NOW_MS) as store:
            for _ in range(20):
                stamps += [r.created for r in await store.append("thing-1", Data("x"))]
    assert len(set(stamps)) == len(stamps)


def test_the_clock_has_no_node(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(two_ledgers_never_mint_the_same_stamp, url)

    def without_node(stamp_before: Stamp, *, node: str, now_ms: int, count: int) -> list[Stamp]:
        return stamp.stamps_after(stamp_before, node="0" * 16, now_ms=now_ms, count=count)

    monkeypatch.setattr(sequencer, "stamps_after", without_node)
    goes_red(two_ledgers_never_mint_the_same_stamp, url)


async def a_stamp_too_far_ahead_is_refused(url: str) -> None:
    async with EventStore.open(url, events=EVENTS, clock=lambda: NOW_MS) as store:
        for ahead_ms, refused in ((59_000, False), (61_000, True), (10**9, True)):
            record = store.past(
                "thing-1", Data("x"), created=f"{NOW_MS + ahead_ms:012x}" + "0" * 20
            )
            if refused:
                before = await store.info()
                with pytest.raises(ClockAhead):
                    await store.import_records([record])
                with pytest.raises(ClockAhead):
                    store.observe(record)
                assert await store.info() == before
            else:
                await store.import_records([record])


def test_the_clock_has_no_limit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(a_stamp_too_far_ahead_is_refused, url)

    def without_limit(
        seen: Stamp, received: Stamp, *, node: str, now_ms: int, max_offset_ms: int | None
    ) -> Stamp:
        return stamp.stamp_behind(seen, received, node=node, now_ms=now_ms, max_offset_ms=None)

    monkeypatch.setattr(sequencer, "stamp_behind", without_limit)
    goes_red(a_stamp_too_far_ahead_is_refused, url)


async def the_clock_goes_on_where_it_stood(url: str) -> None:
    created: list[str] = []
    for now_ms in (NOW_MS, NOW_MS - 3_600_000, NOW_MS - 7_200_000):  # set back between two lives

        def wall_clock(now_ms: int = now_ms) -> int:
            return now_ms

        async with EventStore.open(url, events=EVENTS, clock=wall_clock) as store:
            for _ in range(3):
                [record] = await store.append("thing-1", Data("x"))
                created.append(record.created)
            info = await store.info()
            assert info.clock == created[-1]
            assert info.clock_ahead_ms == NOW_MS - now_ms, "it is reported"
    assert created == sorted(set(created))


def test_the_clock_is_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    holds(the_clock_goes_on_where_it_stood, url)

    def forgetful(stamp_before: Stamp, *, node: str, now_ms: int, count: int) -> list[Stamp]:
        return stamp.stamps_after("0" * 32, node=node, now_ms=now_ms, count=count)

    monkeypatch.setattr(sequencer, "stamps_after", forgetful)
    goes_red(the_clock_goes_on_where_it_stood, url)


async def what_is_appended_comes_after_all_that_was_received(url: str) -> None:
    async with EventStore.open(url, events=EVENTS, clock=lambda: NOW_MS) as store:
        ahead = store.past("thing-1", Data("x"), created=f"{NOW_MS + 30_000:012x}" + "f" * 20)
        await store.import_records([ahead])
        [record] = await store.append("thing-1", Data("y"))
        assert record.created > ahead.created
        assert not record.outdated
        assert await store.reduce(names, "thing-1") == ["x", "y"]
        seen = f"{NOW_MS + 40_000:012x}" + "f" * 20
        store.observe(seen)
        [record] = await store.append("thing-1", Data("z"))
        assert record.created > seen


def test_the_clock_is_never_moved_by_what_it_receives(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds(what_is_appended_comes_after_all_that_was_received, url)

    def unmoved(
        seen: Stamp, received: Stamp, *, node: str, now_ms: int, max_offset_ms: int | None
    ) -> Stamp:
        return stamp.stamps_after(seen, node=node, now_ms=now_ms, count=1)[0]

    monkeypatch.setattr(sequencer, "stamp_behind", unmoved)
    goes_red(what_is_appended_comes_after_all_that_was_received, url)


# --- SQL built from keys ---

HOSTILE = [
    "'",
    '"',
    "''",
    "`",
    "\\",
    "%",
    "_",
    "*",
    "?",
    ":name",
    "@name",
    "$1",
    "{0}",
    "%s",
    "NULL",
    "null",
    "--",
    "/*",
    ";",
    "[a]",
    '["a"]',
    "a'b",
    "x' OR '1'='1",
    "x') OR ('1'='1",
    "x'; DROP TABLE records; --",
    "x'; DELETE FROM relations; --",
    "x'); DROP TABLE relations; --",
    "'; UPDATE ledger SET position = 0; --",
    "x' UNION SELECT * FROM records --",
    "Robert'); DROP TABLE snapshots;--",
    "' || (SELECT id FROM ledger) || '",
    "\u02bc; DROP TABLE records",
    "\uff07; DROP TABLE records",
]


async def keys_are_nothing_but_keys(url: str) -> None:
    path = url.removeprefix("sqlite:///")
    async with EventStore.open(url, events=EVENTS) as store:
        tables = _tables(path)
        for number, key in enumerate(HOSTILE):
            other = f"other-{number}"
            [record] = await store.append(
                key, Data(key), ids=[key], relations=[key, other], batch=key
            )
            assert [r.id async for r in store.read(key)] == [key]
            assert [r.id async for r in store.read(streams=[key, other])] == [key]
            assert [r.id async for r in store.read(relation=key)] == [key]
            assert [r.id async for r in store.read(types=[key])] == []
            assert await store.find(key) == record
            assert await store.reduce(names, key, types=[Data, key]) == [key]
            assert (await store.snapshots.create(names, key)).state == [key]
            assert await store.relations.streams_of(key) == [key]
            assert await store.relations.relations_of(key) == sorted([key, other])
            assert await store.relations.remove(key, key) == 1
            assert await store.relations.clear(key) == 0
            assert await store.relations.clear_streams(key) == 1
            assert await store.snapshots.delete(None, key) == 1
            await store.relations.add("kept", key)
        assert await store.relations.streams_of("kept") == sorted(HOSTILE)
        assert [record.stream async for record in store.read()] == HOSTILE
        assert _tables(path) == tables
        assert (await store.verify()).ok


def _tables(path: str) -> list[tuple[str, str]]:
    if path == "memory:":
        return []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


def test_any_key_is_taken_as_it_is(url: str) -> None:
    holds(keys_are_nothing_but_keys, url)


def test_sql_is_built_from_keys(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def relate(self: sqlite_writing.Writer, request: Relate) -> Related:
        # As the original does in its `removeMany`.
        changed = 0
        for relation, stream in request.add:
            sql = f"INSERT OR IGNORE INTO relations VALUES ('{relation}', '{stream}')"
            changed += self._connection.execute(sql).rowcount  # pyright: ignore[reportPrivateUsage]
        return Related(changed, 0)

    monkeypatch.setattr(sqlite_writing.Writer, "_relate", relate)
    goes_red(keys_are_nothing_but_keys, sqlite_url)


# --- snapshots that overwrite another stream's ---


@reducer("names", initial=list[str], version=2)
def names_of_tomorrow(state: list[str], record: Record[Any]) -> list[str]:
    """The same name, other logic."""
    return [*state, f"{record.data.name} tomorrow"]


@reducer("thing", initial=list[str])
def things(state: list[str], record: Record[Any]) -> list[str]:
    """Named as an aggregate is."""
    return [*state, record.type]


async def each_snapshot_is_of_its_own(url: str) -> None:
    async with EventStore.open(url, events=EVENTS) as store:
        await store.append("a", Data("a"), Struct("a too"), relations=["a", "b"])
        await store.append("b", Data("b"))
        await store.relations.add("a", "b")
        wanted: dict[tuple[Any, tuple[tuple[str, Any], ...]], Any] = {
            (names, (("stream", "a"),)): ["a", "a too"],
            (names, (("stream", "b"),)): ["b"],
            (names, (("relation", "a"),)): ["a", "a too", "b"],
            (names, (("relation", "b"),)): ["a", "a too"],
            (names, (("stream", "a"), ("types", (Data,)))): ["a"],
            (names, (("stream", "a"), ("types", (Struct,)))): ["a too"],
            (names_of_tomorrow, (("stream", "a"),)): ["a tomorrow", "a too tomorrow"],
        }
        for fold, where in wanted:
            await store.snapshots.create(fold, **dict(where))
        await store.snapshots.create(Thing, "a")
        taken = await store.snapshots.create(things, "a")  # a reducer of the same name
        for (fold, where), state in wanted.items():
            snapshot = await store.snapshots.get(fold, **dict(where))
            assert snapshot is not None, where
            assert snapshot.state == state, where
            assert await store.reduce(fold, **dict(where)) == state
        thing = await store.snapshots.get(Thing, "a")
        assert thing is not None
        assert thing.state.name == "a too"
        found = await store.snapshots.get(things, "a")
        assert found is not None
        assert found.state == taken.state


def test_a_snapshot_overwrites_another_streams(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holds(each_snapshot_is_of_its_own, url)

    def scope_of(selection: Selection) -> str:
        return "stream:any"

    monkeypatch.setattr(folding, "scope_of", scope_of)
    goes_red(each_snapshot_is_of_its_own, url)


# --- the checks themselves ---


def test_a_check_that_passes_is_not_taken_for_red(url: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        goes_red(two_writers_cannot_overwrite_each_other, url)
