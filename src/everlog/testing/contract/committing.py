"""The port's `commit`: requests in one transaction, each judged on its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from everlog.core.relation import Relate, Related
from everlog.core.selection import Order, Selection
from everlog.core.sequencer import EMPTY, Append, Import, NewEvent, Placed
from everlog.core.snapshot import DropSnapshots, PutSnapshot, Snapshot, SnapshotKey
from everlog.core.stream import ANY, EXISTS, NEW, Expectation
from everlog.errors import ClockAhead, IdConflict, PartialRetry, WrongVersion
from everlog.ports.ledger import Ledger
from everlog.testing.contract.events import Noted
from everlog.testing.contract.folding import at
from everlog.testing.contract.scene import Contract, Scene, contract_test, ids_of, positions_of

KEY = SnapshotKey(scope="stream:a", reducer="r", reducer_version=1, shape="s", filter="")


def new(
    id: str, stream: str = "a", *, data: str = "1", expect: Expectation = ANY, type: str = "t"
) -> NewEvent:
    """Returns an event to be appended."""
    return NewEvent(
        id=id,
        stream=stream,
        type=type,
        schema=1,
        register=type,
        data=data,
        meta="null",
        correlation=id,
        causation=None,
        nonce=id.encode()[:32].ljust(32, b"."),
        expect=expect,
    )


def append(*events: NewEvent, relations: tuple[tuple[str, str], ...] = ()) -> Append:
    """Returns a request to append."""
    return Append(events, relations)


def snapshot(position: int, *, key: SnapshotKey = KEY, **changes: Any) -> Snapshot:
    """Returns a snapshot taken at a position."""
    made = Snapshot(
        key=key,
        position=position,
        created=at(position),
        id="x",
        version=position,
        count=position,
        revision=0,
        state=f"[{position}]",
    )
    return replace(made, **changes)


async def place(ledger: Ledger, request: Append | Import) -> Placed:
    """Commits one request that has to succeed."""
    [outcome] = await ledger.commit([request])
    assert isinstance(outcome, Placed)
    return outcome


class Committing(Contract):
    """`commit`, `head`, `find`, `overtaken`, `find_snapshot`, `check`."""

    @contract_test
    async def test_an_empty_ledger_is_empty(self, scene: Scene) -> None:
        assert await scene.ledger.head() == EMPTY
        assert await scene.ledger.commit([]) == []
        assert await scene.ledger.find([]) == []
        assert await scene.ledger.find(["x"]) == [None]
        assert await scene.ledger.streams_of([]) == []
        assert await scene.ledger.check() == []
        assert await scene.ledger.head() == EMPTY

    @contract_test
    async def test_an_outcome_is_what_the_request_asked_for(self, scene: Scene) -> None:
        imported = scene.store.past("a", Noted(1), created=at(1), id="late").stored
        outcomes = await scene.ledger.commit(
            [
                append(new("1"), new("2")),
                Import((imported,)),
                Relate(add=(("r", "a"), ("r", "b"))),
                PutSnapshot(snapshot(2)),
                DropSnapshots("stream:a"),
            ]
        )
        placed, taken, *others = outcomes
        assert isinstance(placed, Placed)
        assert isinstance(taken, Placed)
        assert ids_of(placed.records) == ids_of(placed.new) == ["1", "2"]
        assert ids_of(taken.new) == ["late"]
        assert others == [Related(2, 0), 1, 1]

    @contract_test
    async def test_bad_neighbours_are_refused_alone_and_leave_nothing_behind(
        self, scene: Scene
    ) -> None:
        await place(scene.ledger, append(new("known")))
        ahead = scene.store.past("a", Noted(1), created=at(60_001), id="ahead").stored
        outcomes = await scene.ledger.commit(
            [
                append(new("1", expect=1)),
                append(new("2", "b"), new("3", "a", expect=NEW), relations=(("r", "b"),)),
                append(new("4", "b", expect=NEW), relations=(("r", "a"),)),
                append(new("known", data="2")),
                append(new("5"), new("known")),
                Import((ahead,)),
                append(new("6", "c", expect=EXISTS)),
                append(new("7", expect=2)),
            ]
        )
        kinds = [Placed, WrongVersion, Placed, IdConflict, PartialRetry, ClockAhead, WrongVersion]
        assert [type(outcome) for outcome in outcomes] == [*kinds, Placed]
        rows = await scene.rows()
        assert [(row.position, row.id, row.version) for row in rows] == [
            (1, "known", 1),
            (2, "1", 2),
            (3, "4", 1),
            (4, "7", 3),
        ]
        assert await scene.ledger.find(["2", "3", "5", "6", "ahead"]) == [None] * 5
        assert await scene.ledger.streams_of(["r"]) == ["a"]
        assert (await scene.ledger.head()).clock == rows[-1].created
        assert await scene.ledger.check() == []
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_a_batch_of_refusals_writes_nothing(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("1")))
        before = await scene.ledger.head()
        outcomes = await scene.ledger.commit(
            [append(new(f"{number}", expect=number)) for number in range(2, 9)]
        )
        assert {type(outcome) for outcome in outcomes} == {WrongVersion}
        assert await scene.ledger.head() == before

    @contract_test
    async def test_conditions_see_the_requests_before_them_in_the_batch(self, scene: Scene) -> None:
        outcomes = await scene.ledger.commit(
            [
                append(new("1", expect=NEW)),
                append(new("2", expect=1), new("3", expect=2)),
                append(new("4", expect=1)),
                append(new("5", expect=3)),
            ]
        )
        refused = outcomes[2]
        assert isinstance(refused, WrongVersion)
        assert (refused.stream, refused.expected, refused.actual) == ("a", 1, 3)
        assert ids_of(await scene.rows()) == ["1", "2", "3", "5"]

    @contract_test
    async def test_a_retry_is_known_within_its_own_batch(self, scene: Scene) -> None:
        first, again, other, mixed = await scene.ledger.commit(
            [
                append(new("1"), new("2")),
                append(new("1", expect=NEW), new("2")),
                append(new("1", data="2")),
                append(new("2"), new("3")),
            ]
        )
        assert isinstance(first, Placed)
        assert isinstance(again, Placed)
        assert (again.records, again.new) == (first.records, ())
        assert isinstance(other, IdConflict)
        assert isinstance(mixed, PartialRetry)
        assert len(await scene.rows()) == 2

    @contract_test
    async def test_a_retry_without_the_original_nonce_returns_the_original(
        self, scene: Scene
    ) -> None:
        first = await place(scene.ledger, append(new("1")))
        again = await place(
            scene.ledger, append(new("1")._replace(nonce=bytes(32), correlation="other"))
        )
        assert again.records == first.records

    @contract_test
    async def test_what_is_outdated_counts_the_batch_it_came_in(self, scene: Scene) -> None:
        past = scene.store.past
        old, older = (past("a", Noted(1), created=at(-ms), id=f"{ms}").stored for ms in (1, 2))
        register = old.register
        born = new("born")._replace(register=register)
        outcomes = await scene.ledger.commit([Import((old,)), append(born), Import((older,))])
        flags = [outcome.new[0].flags for outcome in outcomes if isinstance(outcome, Placed)]
        assert flags == [1, 0, 3]
        assert await scene.ledger.overtaken("a", register, old.order)

    @contract_test
    async def test_a_refused_import_leaves_no_mark_of_what_was_newest(self, scene: Scene) -> None:
        past = scene.store.past
        newer = past("a", Noted(1), created=at(9), id="newer").stored
        ahead = past("a", Noted(1), created=at(99_999), id="ahead").stored
        older = past("a", Noted(1), created=at(3), id="older").stored
        refused, taken = await scene.ledger.commit([Import((newer, ahead)), Import((older,))])
        assert isinstance(refused, ClockAhead)
        assert isinstance(taken, Placed)
        assert taken.new[0].flags == 1
        assert not await scene.ledger.overtaken("a", older.register, older.order)

    @contract_test
    async def test_overtaken_asks_for_what_stands_strictly_after(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(new("m"), new("x", "b")))
        record = placed.records[0]
        created, overtaken = record.created, scene.ledger.overtaken
        assert not await overtaken("a", "t", record.order)
        assert await overtaken("a", "t", (created, "l"))
        assert not await overtaken("a", "t", (created, "n"))
        assert await overtaken("a", "t", (at(-1), "z"))
        assert not await overtaken("a", "other", (at(-1), "z"))
        assert not await overtaken("nobody", "t", (at(-1), "z"))

    @contract_test
    async def test_find_answers_in_the_order_asked(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(*(new(f"{n}") for n in range(700))))
        one, two = placed.records[5], placed.records[6]
        assert await scene.ledger.find(["6", "x", "5", "6"]) == [two, None, one, two]
        assert await scene.ledger.find(ids_of(placed.records)) == list(placed.records)

    @contract_test
    async def test_the_head_tells_how_far_the_ledger_has_got(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(new("1"), new("2")))
        last = placed.records[-1]
        head = await scene.ledger.head()
        assert (head.position, head.chain, head.clock) == (2, last.chain, last.created)
        assert head.newest == last.order
        late = scene.store.past("a", Noted(1), created=at(-9), id="late").stored
        taken = (await place(scene.ledger, Import((late,)))).new[0]
        head = await scene.ledger.head()
        assert (head.position, head.chain, head.clock) == (3, taken.chain, taken.recorded)
        assert head.newest == last.order

    @contract_test
    async def test_relations_are_cleared_removed_and_added_in_this_order(
        self, scene: Scene
    ) -> None:
        await scene.ledger.commit([Relate(add=(("r", "a"), ("r", "b"), ("q", "a"), ("q", "c")))])
        [outcome] = await scene.ledger.commit(
            [
                Relate(
                    add=(("r", "a"), ("r", "c"), ("q", "c")),
                    remove=(("q", "c"), ("q", "nobody")),
                    clear=("r",),
                    clear_streams=("a",),
                )
            ]
        )
        assert outcome == Related(added=3, removed=4)
        assert await scene.ledger.streams_of(["r"]) == ["a", "c"]
        assert await scene.ledger.streams_of(["q"]) == ["c"]

    @contract_test
    async def test_a_membership_revision_counts_changes_and_nothing_else(
        self, scene: Scene
    ) -> None:
        async def revision(relation: str = "r") -> int:
            selection = Selection(relation=relation, order=Order.CREATED)
            return (await scene.ledger.fold_from(selection, None)).revision

        seen = [await revision()]
        for request in (
            Relate(add=(("r", "a"), ("r", "b"))),
            Relate(remove=(("r", "a"),)),
            Relate(clear=("r",)),
            append(new("1"), relations=(("r", "a"),)),
            Relate(clear_streams=("a",)),
            Relate(add=(("r", "a"),)),
        ):
            await scene.ledger.commit([request])
            seen.append(await revision())
        assert seen == sorted(set(seen))
        for request in (
            Relate(add=(("r", "a"),)),
            Relate(remove=(("r", "x"),)),
            Relate(clear=("q",)),
            Relate(clear_streams=("x",)),
            append(new("2")),
            append(new("3"), relations=(("r", "a"),)),
            Relate(add=(("q", "a"),)),
        ):
            await scene.ledger.commit([request])
        assert await revision() == seen[-1]
        assert await revision("nobody") == seen[0] == 0

    @contract_test
    async def test_a_snapshot_is_found_by_its_whole_key(self, scene: Scene) -> None:
        await scene.ledger.commit([PutSnapshot(snapshot(3))])
        assert await scene.ledger.find_snapshot(KEY) == snapshot(3)
        for changes in (
            {"scope": "relation:a"},
            {"reducer": "q"},
            {"reducer_version": 2},
            {"shape": "t"},
            {"filter": "t"},
        ):
            other = replace(KEY, **changes)
            assert await scene.ledger.find_snapshot(other) is None

    @contract_test
    async def test_an_older_snapshot_is_passed_over(self, scene: Scene) -> None:
        commit = scene.ledger.commit
        assert await commit([PutSnapshot(snapshot(5))]) == [1]
        assert await commit([PutSnapshot(snapshot(4, state="[]"))]) == [0]
        assert await scene.ledger.find_snapshot(KEY) == snapshot(5)
        assert await commit([PutSnapshot(snapshot(5, state="[5,5]"))]) == [1]
        assert await commit([PutSnapshot(snapshot(2, revision=1))]) == [1]
        assert await commit([PutSnapshot(snapshot(9))]) == [0]
        assert await scene.ledger.find_snapshot(KEY) == snapshot(2, revision=1)

    @contract_test
    async def test_snapshots_are_dropped_by_scope_and_reducer(self, scene: Scene) -> None:
        keys = [
            replace(KEY, reducer=reducer, reducer_version=version, scope=scope)
            for scope in ("stream:a", "stream:b")
            for reducer in ("r", "q")
            for version in (1, 2)
        ]
        await scene.ledger.commit([PutSnapshot(snapshot(1, key=key)) for key in keys])
        outcomes = await scene.ledger.commit(
            [
                DropSnapshots("stream:a", "r"),
                DropSnapshots("stream:a", "r"),
                DropSnapshots("stream:b"),
                DropSnapshots("stream:c"),
            ]
        )
        assert outcomes == [2, 0, 4, 0]
        left = [key for key in keys if await scene.ledger.find_snapshot(key) is not None]
        assert [(key.scope, key.reducer) for key in left] == [("stream:a", "q")] * 2

    @contract_test
    async def test_a_commit_that_is_cancelled_is_whole_or_not_there(self, scene: Scene) -> None:
        for turns in range(24):
            ids = [f"{turns}-{index}" for index in range(3)]
            request = append(*(new(id) for id in ids))
            task = asyncio.ensure_future(scene.ledger.commit([request]))
            for _ in range(turns % 4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            again = await place(scene.ledger, request)  # behind the first, if that began
            assert len(again.new) in (0, 3)
        rows = await scene.rows()
        assert positions_of(rows) == list(range(1, 73))
        assert len({row.id for row in rows}) == 72
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_identity_and_capabilities_are_plain_facts(self, scene: Scene) -> None:
        before = scene.ledger.identity
        await place(scene.ledger, append(new("1")))
        assert scene.ledger.identity == before
        capabilities = scene.ledger.capabilities
        facts = (capabilities.durable, capabilities.shared, capabilities.backup)
        assert all(fact is True or fact is False for fact in facts)

    @pytest.mark.parametrize("size", [1, 499, 500, 501], ids=str)
    @contract_test
    async def test_an_append_of_any_size_is_one(self, scene: Scene, size: int) -> None:
        placed = await place(scene.ledger, append(*(new(f"{n}", f"s{n % 3}") for n in range(size))))
        assert positions_of(placed.records) == list(range(1, size + 1))
        assert await scene.rows() == list(placed.records)
