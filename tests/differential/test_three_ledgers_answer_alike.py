"""One random history, three ledgers, one answer."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from everlog import ANY, EXISTS, NEW, EventStore, Record, every, reducer, to
from everlog.core.record import StoredRecord, computed_hash
from everlog.core.selection import Order, Selection
from everlog.core.taking import BEGINNING, Link, Mark, Note, Purge, Rewind, Take
from everlog.errors import ContentGone
from everlog.ports.ledger import Request
from everlog.store.opening import SnapshotPolicy
from everlog.store.preparing import To
from everlog.testing.contract.events import (
    Activated,
    Auditor,
    Deactivated,
    Moved,
    Noted,
    Opened,
    Renamed,
)
from everlog.testing.contract.scene import NOON_MS, rows_of
from tests.differential.triplets import Call, Triplets

Options = dict[str, Any]

HUB, EPOCH = "f" * 32, "1" * 16

streams = st.sampled_from(["a", "b", "c", "\u00e9", "\U0001f600"])
relations = st.sampled_from(["r", "q"])


def fitting(value: object) -> tuple[object, object]:
    return Noted(value), None


good_events: st.SearchStrategy[tuple[object, object]] = st.sampled_from(
    [
        (Activated(), None),
        (Deactivated(), None),
        (Renamed("x"), None),
        (Renamed("y"), None),
        (Moved("b", 1), None),
        (Opened(owner="Jane"), Auditor(auditor="me")),
        (Opened(owner="June"), Auditor(auditor="you")),
    ]
)
odd_events: st.SearchStrategy[tuple[object, object]] = st.one_of(
    st.sampled_from([(Opened(owner="Jane"), None), (Noted(1), Auditor(auditor="me"))]),
    st.builds(
        fitting,
        st.recursive(
            st.none() | st.booleans() | st.integers(-3, 2**53) | st.floats() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=6,
        ),
    ),
)
events = st.integers(0, 7).flatmap(lambda number: good_events if number else odd_events)
expectations = st.sampled_from([*[ANY] * 9, NEW, EXISTS, 0, 1, 2, 3, 4])
ids = st.sampled_from([*[None] * 9, *(f"id{number}" for number in range(9))])


def item(
    stream: str, pair: tuple[object, object], expect: Any, id: str | None, related: list[str]
) -> To:
    return to(stream, pair[0], meta=pair[1], expect=expect, id=id, relations=related)


items = st.builds(item, streams, events, expectations, ids, st.lists(relations, max_size=1))


def stamp(ms: int, counter: int, node: str) -> str:
    return f"{NOON_MS + ms:012x}{counter:04x}{node * 16}"


def moment(ms: int) -> datetime:
    return datetime(2026, 1, 31, 12, tzinfo=UTC) + timedelta(milliseconds=ms)


stamps = st.builds(
    stamp,
    st.integers(-50, 70) | st.sampled_from([59_990, 60_000]),
    st.sampled_from([0, 0, 0, 1, 0xFFFF]),
    st.sampled_from("0f"),
)
moments = stamps | st.builds(moment, st.integers(-60, 200))
types = st.lists(
    st.sampled_from([Activated, Noted, Renamed, "contract:opened", "unheard of"]), max_size=2
)


def optional(**options: st.SearchStrategy[Any]) -> st.SearchStrategy[Options]:
    """Returns some of the options, each with a value of its strategy."""
    return st.fixed_dictionaries(Options(), optional=options)


def one_of(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Options]:
    """Returns one option with a value of the strategy."""
    return st.fixed_dictionaries({name: values})


def joined(*options: Options) -> Options:
    return {name: value for some in options for name, value in some.items()}


one_scope = one_of("stream", streams) | one_of("relation", relations)
scopes = one_scope | optional(streams=st.lists(streams, max_size=3))
bounds = optional(types=types, until=st.integers(0, 40), as_of=moments)
readings = st.builds(
    joined,
    scopes,
    bounds,
    optional(after=st.integers(0, 40), limit=st.integers(0, 20), backwards=st.booleans()),
)
foldings = st.builds(joined, scopes, bounds)
kept = st.builds(joined, one_scope, optional(types=types))
happenings = st.tuples(streams, good_events, stamps, ids)
policies: st.SearchStrategy[SnapshotPolicy] = st.sampled_from(["manual", every(1), every(3)])


@reducer("trace", initial=list[str])
def trace(state: list[str], record: Record[Any]) -> list[str]:
    return [*state, f"{record.id} {record.type} {record.outdated}"]


class History(RuleBasedStateMachine):
    """Everything that a store can be asked, asked of all three."""

    triplets: Triplets

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[StoredRecord] = []
        self.cursor = BEGINNING
        """How far all have got along the history of a hub that gives nothing."""
        self.gone: dict[str, StoredRecord] = {}
        """What went, as it was."""

    @initialize(
        snapshots=policies,
        first=st.lists(items, max_size=8),
        elsewhere=st.lists(happenings, min_size=3, max_size=12),
        pairs=st.lists(st.tuples(relations, streams), max_size=4),
    )
    def open(
        self,
        snapshots: SnapshotPolicy,
        first: list[To],
        elsewhere: list[tuple[str, tuple[object, object], str, str | None]],
        pairs: list[tuple[str, str]],
    ) -> None:
        self.triplets = Triplets(snapshots)
        for one in first:
            self.append_many([one])
        for happening in elsewhere:
            self.happen_elsewhere(*happening)
        self.relate(pairs)

    def teardown(self) -> None:
        if hasattr(self, "triplets"):
            try:
                self.all_of_it()
            finally:
                self.triplets.close()

    def all_of_it(self) -> None:
        triplets = self.triplets
        rows = triplets.all(lambda store: rows_of(store.ledger))
        assert isinstance(rows, list)
        triplets.all(lambda store: rows_of(store.ledger, Selection(order=Order.CREATED)))
        triplets.all(lambda store: rows_of(store.ledger, Selection(tombstones=True)))
        found = triplets.all(lambda store: store.verify())
        assert getattr(found, "problems", None) == ()

    # --- writing ---

    @rule(stream=streams, pair=events, expect=expectations, id=ids)
    def append(self, stream: str, pair: tuple[object, object], expect: Any, id: str | None) -> None:
        event, meta = pair
        wanted = None if id is None else [id]
        self.triplets.all(
            lambda store: store.append(stream, event, meta=meta, expect=expect, ids=wanted)
        )

    @rule(many=st.lists(items, max_size=4))
    def append_many(self, many: list[To]) -> None:
        self.triplets.all(lambda store: store.append_many(many))

    @rule(calls=st.lists(st.lists(items, min_size=1, max_size=2), min_size=2, max_size=4))
    def append_side_by_side(self, calls: list[list[To]]) -> None:
        def call(store: EventStore) -> Awaitable[object]:
            appends = [store.append_many(many) for many in calls]
            return asyncio.gather(*appends, return_exceptions=True)

        self.triplets.all(call)

    @rule(number=st.integers(0, 60))
    def append_again(self, number: int) -> None:
        rows = self.triplets.run(rows_of(self.triplets.memory.ledger))
        if not rows:
            return
        row: StoredRecord = rows[number % len(rows)]

        async def again(store: EventStore) -> object:
            record = await store.find(row.id)
            assert record is not None
            return await store.append(
                row.stream, record.data, meta=record.meta, ids=[row.id], expect=NEW
            )

        self.triplets.all(again)

    @rule(ms=st.sampled_from([1, 2, 5, 50, -1, -40, -100_000, 30_000]))
    def move_the_clock(self, ms: int) -> None:
        self.triplets.clock.advance(ms=ms)

    @rule()
    def go_on_in_another_process(self) -> None:
        self.triplets.go_on_in_another_process()

    @rule(stream=streams, pair=good_events, created=stamps, id=ids)
    def happen_elsewhere(
        self, stream: str, pair: tuple[object, object], created: str, id: str | None
    ) -> None:
        event, meta = pair

        async def past(store: EventStore) -> object:
            return store.past(stream, event, meta=meta, created=created, id=id)

        try:
            record = self.triplets.run(past(self.triplets.elsewhere))
        except ValueError:
            return
        self.foreign.append(record.stored)

    @rule(stream=streams, pair=events)
    def append_elsewhere(self, stream: str, pair: tuple[object, object]) -> None:
        event, meta = pair
        store = self.triplets.elsewhere
        try:
            records = self.triplets.run(store.append(stream, event, meta=meta))
        except ValueError:
            return
        self.foreign += [record.stored for record in records]

    @rule(data=st.data())
    def import_records(self, data: st.DataObject) -> None:
        if self.foreign:
            chosen = st.lists(st.sampled_from(self.foreign), min_size=1, max_size=6)
            rows = data.draw(chosen)
            if data.draw(st.integers(0, 7)):  # seldom with an id twice
                rows = list({row.id: row for row in rows}.values())
            self.triplets.all(lambda store: store.import_records(rows))

    @rule(data=st.data(), field=st.sampled_from(["stream", "data", "created", "id", "register"]))
    def import_what_was_changed(self, data: st.DataObject, field: str) -> None:
        if self.foreign:
            row = data.draw(st.sampled_from(self.foreign))
            value: Any = data.draw(st.sampled_from(["", "1", '"x"', "NaN", "a\x00b", row.created]))
            changed = row._replace(**{field: value})
            if data.draw(st.booleans()):
                changed = changed._replace(hash=computed_hash(changed))
            self.triplets.all(lambda store: store.import_records([changed]))

    # --- what goes, and comes again ---

    @rule(stream=streams, stable=st.integers(0, 2))
    def let_go(self, stream: str, stable: int) -> None:
        triplets = self.triplets
        rows = triplets.run(rows_of(triplets.memory.ledger, Selection(streams=(stream,))))
        places = [(row.id, self.cursor.position + 1 + at) for at, row in enumerate(rows)]
        self.go_on(len(rows))
        position = self.cursor.position
        self.commit(Note(HUB, self.cursor, tuple(places)))
        self.outside()
        self.commit(Purge(HUB, self.cursor, position - stable, tuple(id for id, _ in places)))
        self.outside()
        self.gone.update({row.id: row for row in rows})

    @rule(data=st.data())
    def come_again(self, data: st.DataObject) -> None:
        if not self.gone:
            return
        rows = data.draw(st.lists(st.sampled_from([*self.gone.values()]), max_size=4))
        rows = sorted({row.id: row for row in rows}.values())
        self.commit(Rewind(HUB, EPOCH, self.cursor, BEGINNING))
        self.cursor = BEGINNING
        self.go_on(max((row.position for row in rows), default=0), *rows)
        for row in rows:
            del self.gone[row.id]

    def go_on(self, count: int, *records: StoredRecord) -> None:
        position = self.cursor.position + count
        end = self.cursor
        if count:
            end = Mark(position, sha256(str(position).encode()).digest())
        link = Link(HUB, EPOCH, self.cursor, end, scope="another")
        self.commit(Take(records, link=link))
        self.cursor = end

    def commit(self, request: Request) -> None:

        async def commit(store: EventStore) -> object:
            return list(await store.ledger.commit([request]))

        self.triplets.all(commit)

    def outside(self) -> None:
        async def outside(store: EventStore) -> object:
            upstreams = store.ledger.upstreams
            return list(await upstreams.outside(HUB, after=0, until=10_000, size=1_000))

        self.triplets.all(outside)
        self.triplets.all(lambda store: store.ledger.upstreams.first_tombstone())

    # --- relations and snapshots ---

    @rule(pairs=st.lists(st.tuples(relations, streams), min_size=1, max_size=4))
    def relate(self, pairs: list[tuple[str, str]]) -> None:
        self.triplets.all(lambda store: store.relations.add_many(pairs))

    @rule(pairs=st.lists(st.tuples(relations, streams), max_size=3))
    def part(self, pairs: list[tuple[str, str]]) -> None:
        self.triplets.all(lambda store: store.relations.remove_many(pairs))

    @rule(relation=relations, stream=streams, which=st.booleans())
    def clear(self, relation: str, stream: str, which: bool) -> None:
        if which:
            self.triplets.all(lambda store: store.relations.clear(relation))
        else:
            self.triplets.all(lambda store: store.relations.clear_streams(stream))

    @rule(names=st.lists(relations, max_size=2), members=st.lists(streams, max_size=3))
    def look_at_relations(self, names: list[str], members: list[str]) -> None:
        self.triplets.all(lambda store: store.relations.streams_of(*names))
        self.triplets.all(lambda store: store.relations.relations_of(*members))

    @rule(options=kept)
    def take_a_snapshot(self, options: Options) -> None:
        self.triplets.all(lambda store: store.snapshots.create(trace, **options))

    @rule(options=kept)
    def look_at_a_snapshot(self, options: Options) -> None:
        self.triplets.all(lambda store: store.snapshots.get(trace, **options))

    @rule(options=kept, named=st.booleans())
    def drop_snapshots(self, options: Options, named: bool) -> None:
        scope = {name: value for name, value in options.items() if name != "types"}
        self.triplets.all(lambda store: store.snapshots.delete(trace if named else None, **scope))

    # --- reading ---

    @rule(options=readings)
    def read(self, options: Options) -> None:
        async def read(store: EventStore) -> object:
            return await store.read(**options).to_list()

        self.triplets.all(read)

    @rule(options=readings, size=st.integers(1, 5), order=st.sampled_from(Order))
    def read_pages(self, options: Options, size: int, order: Order) -> None:
        self.triplets.all(pages(options, size, order))

    @rule(options=foldings)
    def fold(self, options: Options) -> None:
        async def fold(store: EventStore) -> object:
            try:
                return await store.reduce(trace, **options)
            except ContentGone as error:
                return str(error)

        folded = self.triplets.all(fold)
        if isinstance(folded, str):
            return

        # A snapshot never changes the answer: folding the records of the selection says the same.
        async def directly(store: EventStore) -> object:
            records = await store.read(**options).to_list()
            state: list[str] = []
            for record in sorted(records, key=lambda record: record.stored.order):
                state = trace(state, record)
            return state or None

        assert self.triplets.all(directly) == folded

    @rule(data=st.data())
    def ask_for_status(self, data: st.DataObject) -> None:
        if self.foreign:
            row = data.draw(st.sampled_from(self.foreign))

            async def status(store: EventStore) -> object:
                known = await store.find(row.id)
                [overtaken] = [await store.ledger.overtaken(row.stream, row.register, row.order)]
                return [known, overtaken] if known is None else [await store.status(known)]

            self.triplets.all(status)

    @invariant()
    def heads_are_equal(self) -> None:
        if hasattr(self, "triplets"):
            self.triplets.all(lambda store: store.info())
            self.triplets.all(lambda store: store.ledger.head())


def pages(options: Options, size: int, order: Order) -> Call:
    """Returns a call that reads a selection at the port, page by page."""

    async def read(store: EventStore) -> object:
        selection = store.read(**options)._selection  # pyright: ignore[reportPrivateUsage]
        backwards = selection.backwards and order is Order.POSITION
        selection = Selection(
            streams=selection.streams,
            relation=selection.relation,
            types=selection.types,
            after=selection.after,
            until=selection.until,
            as_of=selection.as_of,
            limit=selection.limit,
            backwards=backwards,
            order=order,
        )
        page = await store.ledger.read(selection, size=size)
        fixed, rows = page.selection, list(page.records)
        while page.cursor is not None:
            assert len(page.records) <= size
            page = await store.ledger.read(page.selection, cursor=page.cursor, size=size)
            rows += page.records
        # How records are cut into pages is the ledger's own affair, as long as none is too big.
        # And so is whether a later page asks for its history: one file is one history.
        return [fixed._replace(seen=None), rows]

    return read


# Three ledgers, one of them on a server: slower than most tests.
TestHistory = pytest.mark.timeout(600)(History.TestCase)
TestHistory.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class LongHistory(History):
    """The same for longer."""


TestLongHistory = pytest.mark.soak(pytest.mark.timeout(0)(LongHistory.TestCase))
LongHistory.TestCase.settings = settings(
    max_examples=600,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# --- a test of the test ---


@pytest.mark.parametrize("odd", ["memory", "sqlite", "postgres"])
def test_one_that_answers_otherwise_is_seen(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    triplets = Triplets("manual")
    try:
        triplets.all(lambda store: store.append("a", Noted(1), ids=["id"]))
        triplets.all(lambda store: store.find("id"))
        store: EventStore = getattr(triplets, odd)
        monkeypatch.setattr(store, "find", AsyncMock(return_value=None))
        with pytest.raises(AssertionError):
            triplets.all(lambda store: store.find("id"))
    finally:
        triplets.close()
