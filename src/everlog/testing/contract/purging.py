"""Purging: records whose content goes, as they are outside of a scope, and comes again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from everlog.core.record import StoredRecord, tombstone_of
from everlog.core.relation import Relate
from everlog.core.selection import Order, Selection
from everlog.core.sequencer import Import
from everlog.core.snapshot import PutSnapshot, Snapshot, SnapshotKey
from everlog.core.taking import BEGINNING, Note, Outside, Purge, Rewind, Take
from everlog.errors import CursorMoved, IdConflict, InvalidInput
from everlog.ports.ledger import Ledger
from everlog.testing.contract.committing import KEY, append, new, place, snapshot
from everlog.testing.contract.scene import (
    NOON_MS,
    Contract,
    Scene,
    contract_test,
    ids_of,
    rows_of,
)
from everlog.testing.contract.synchronising import (
    HUB,
    OTHER,
    History,
    all_offers,
    born_anew,
    born_at,
    changed,
    keep,
    offered,
    refused,
    state_of,
    take,
)
from everlog.testing.contract.unfolding import AHEAD_MS, folded, is_whole, restamp

ALL = Selection(tombstones=True)


async def outside(
    ledger: Ledger, *, after: int = 0, until: int = 2**62, size: int = 100
) -> list[Outside]:
    """Returns what may go."""
    return [*await ledger.upstreams.outside(HUB, after=after, until=until, size=size)]


def names_of(found: Sequence[Outside]) -> list[str]:
    """Returns the ids, in order."""
    return [each.id for each in found]


async def purge(ledger: Ledger, hub: History, *ids: str, stable: int | None = None) -> int:
    """Lets content go that has to be let go."""
    at = (await state_of(ledger)).cursor
    return await keep(ledger, Purge(HUB, at, hub.end if stable is None else stable, ids))


async def edge(scene: Scene) -> History:
    """Makes an edge of a hub that gives `b`, and has of `a` what was born here: 1, 3 and 4.

    At the hub they stand at 1, 3 and 4, and 2 is of `b`.
    """
    hub = History()
    await place(
        scene.ledger,
        append(new("1", data='"one"'), new("3", data='"three"'), new("4", "a2", data='"four"')),
    )
    born = {row.id: row for row in await scene.rows()}
    hub.add(Import((born["1"],)))
    hub.append("2", stream="b")
    hub.add(Import((born["3"], born["4"])))
    piece = hub.piece(scope="b")
    await take(scene.ledger, piece._replace(records=(hub.records[1],)))
    note = Note(HUB, hub.at(4), (("1", 1), ("3", 3), ("4", 4)))
    assert await keep(scene.ledger, note) == 3
    return hub


async def kept(ledger: Ledger) -> tuple[int | None, list[StoredRecord]]:
    """Returns all that is there, with what stays of records whose content went."""
    return await ledger.upstreams.first_tombstone(), await rows_of(ledger, ALL)


class Purging(Contract):
    """`commit` of `Purge`, of a `Take` that gives content again, and what reads make of both."""

    # --- what may go ---

    @contract_test
    async def test_what_an_upstream_has_and_does_not_give_is_known_in_its_order(
        self, scene: Scene
    ) -> None:
        assert await outside(scene.ledger) == []
        hub = await edge(scene)
        assert await outside(scene.ledger) == [
            Outside("1", 1, (1,)),
            Outside("3", 3, (2,)),
            Outside("4", 4, (3,)),
        ]
        assert names_of(await outside(scene.ledger, until=3)) == ["1", "3"]
        assert names_of(await outside(scene.ledger, after=1)) == ["3", "4"]
        assert names_of(await outside(scene.ledger, size=2)) == ["1", "3"]
        # What it has lost, it has not.
        await keep(scene.ledger, hub.back(4, 2))
        assert names_of(await outside(scene.ledger)) == ["1"]
        assert await offered(scene.ledger) == ["3", "4"]

    @contract_test
    async def test_what_a_link_gives_is_not_outside_any_more(self, scene: Scene) -> None:
        hub = await edge(scene)
        await keep(scene.ledger, hub.back(4, 0))
        assert await outside(scene.ledger) == []
        await take(scene.ledger, hub.piece())
        assert await outside(scene.ledger) == []
        assert await purge(scene.ledger, hub, "1", "2", "3") == 0
        assert await kept(scene.ledger) == (None, await scene.rows())

    @contract_test
    async def test_a_note_leaves_no_version_of_what_was_given_before_and_the_rest_alone(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2")
        await take(scene.ledger, hub.piece(receipts=(b"r" * 32, None)))
        await keep(scene.ledger, hub.back(2, 0))
        await take(scene.ledger, hub.piece()._replace(records=()))
        await keep(scene.ledger, Note(HUB, hub.at(2), (("2", 2),)))
        assert names_of(await outside(scene.ledger)) == ["2"]
        await keep(scene.ledger, hub.back(2, 0))
        found = {each.record.id: each for each in await all_offers(scene.ledger)}
        assert [(found[id].version, found[id].receipt) for id in "12"] == [
            (1, b"r" * 32),
            (0, None),
        ]

    # --- how it goes ---

    @contract_test
    async def test_of_a_record_whose_content_goes_all_else_stays(self, scene: Scene) -> None:
        hub = await edge(scene)
        rows = await scene.rows()
        head = await scene.ledger.head()
        assert await purge(scene.ledger, hub, "1", "4") == 2
        assert await kept(scene.ledger) == (
            1,
            [tombstone_of(rows[0]), rows[1], tombstone_of(rows[2]), rows[3]],
        )
        assert await scene.ledger.head() == head
        assert await scene.ledger.upstreams.first_tombstone("a") == 1
        assert await scene.ledger.upstreams.first_tombstone("a2") == 3
        assert await scene.ledger.upstreams.first_tombstone("b") is None
        assert names_of(await outside(scene.ledger)) == ["3"]
        assert await purge(scene.ledger, hub, "1", "4") == 0
        assert await offered(scene.ledger) == []
        assert await scene.ledger.check() == []
        verification = await scene.store.verify()
        assert (verification.ok, verification.records, verification.tombstones) == (True, 4, 2)

    @contract_test
    async def test_nothing_goes_above_the_stable_position(self, scene: Scene) -> None:
        hub = await edge(scene)
        assert await purge(scene.ledger, hub, "1", "3", "4", stable=2) == 1
        assert ids_of(await scene.rows()) == ["3", "4", "2"]
        assert await purge(scene.ledger, hub, "1", "3", "4", stable=0) == 0
        assert await purge(scene.ledger, hub, "3", stable=3) == 1

    @contract_test
    async def test_nothing_goes_that_the_upstream_gives_or_has_not(self, scene: Scene) -> None:
        hub = await edge(scene)
        await place(scene.ledger, append(new("mine")))
        rows = await scene.rows()
        assert await purge(scene.ledger, hub, "2", "mine", "nobody's") == 0
        assert await scene.rows() == rows

    @contract_test
    async def test_from_another_place_than_the_cursor_nothing_goes(self, scene: Scene) -> None:
        hub = await edge(scene)
        for at in (BEGINNING, hub.at(3)):
            error = await refused(scene.ledger, Purge(HUB, at, 4, ("1",)))
            assert isinstance(error, CursorMoved)
            assert (error.expected, error.actual) == (at.position, 4)
        error = await refused(scene.ledger, Purge(OTHER, hub.at(4), 4, ("1",)))
        assert isinstance(error, CursorMoved)
        assert names_of(await outside(scene.ledger)) == ["1", "3", "4"]

    @contract_test
    async def test_nothing_goes_that_another_upstream_may_need(self, scene: Scene) -> None:
        hub = await edge(scene)
        await take(scene.ledger, History(OTHER).piece())
        assert await outside(scene.ledger) == []
        error = await refused(scene.ledger, Purge(HUB, hub.at(4), 4, ("1",)))
        assert isinstance(error, InvalidInput)
        assert OTHER in str(error)

    @contract_test
    async def test_nothing_goes_that_edges_of_this_ledger_may_need(self, scene: Scene) -> None:
        hub = await edge(scene)
        own = scene.ledger.identity
        await keep(scene.ledger, Rewind(own.ledger, own.epoch, BEGINNING, BEGINNING))
        assert await outside(scene.ledger) == []
        error = await refused(scene.ledger, Purge(HUB, hub.at(4), 4, ("1",)))
        assert isinstance(error, InvalidInput)

    @contract_test
    async def test_a_purge_is_alone_in_its_batch(self, scene: Scene) -> None:
        hub = await edge(scene)
        request = Purge(HUB, hub.at(4), 4, ("1",))
        one, other = await scene.ledger.commit([request, append(new("x"))])
        assert isinstance(one, InvalidInput)
        assert not isinstance(other, InvalidInput)
        assert await scene.ledger.upstreams.first_tombstone() is None

    @contract_test
    async def test_what_was_stamped_anew_goes_with_what_has_its_place(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("1", "a"), new("2", "a")))
        assert await restamp(scene.ledger, "1", "2", now_ms=NOON_MS - 60_000) == 2
        *_, one, two = await scene.rows()
        hub = History()
        hub.add(Import((one, two)))
        await take(scene.ledger, hub.piece(scope="b")._replace(records=()))
        await keep(scene.ledger, Note(HUB, hub.at(2), ((one.id, 1), (two.id, 2))))
        assert await outside(scene.ledger) == [
            Outside(one.id, 1, (3, 1)),
            Outside(two.id, 2, (4, 2)),
        ]
        assert await purge(scene.ledger, hub, one.id) == 2
        assert ids_of(await scene.rows()) == ["2", two.id]
        await is_whole(scene)

    @contract_test
    async def test_what_was_stamped_anew_twice_goes_with_both(self, scene: Scene) -> None:
        scene.clock.set(NOON_MS + AHEAD_MS)
        await place(scene.ledger, append(new("1", "a")))
        assert await restamp(scene.ledger, "1", now_ms=NOON_MS + 1_000) == 1
        once = (await scene.rows())[-1].id
        assert await restamp(scene.ledger, once, now_ms=NOON_MS) == 1
        twice = (await scene.rows())[-1].id
        scene.clock.set(NOON_MS)
        hub = History()
        hub.append("x")
        await take(scene.ledger, hub.piece(scope="b")._replace(records=()))
        await keep(scene.ledger, Note(HUB, hub.at(1), ((twice, 1),)))
        assert await outside(scene.ledger) == [Outside(twice, 1, (3, 1, 2))]
        assert await purge(scene.ledger, hub, twice) == 3
        assert await scene.rows() == []
        await is_whole(scene)

    @contract_test
    async def test_of_an_event_that_went_no_other_record_comes_to_count(self, scene: Scene) -> None:
        old, early, late = born_at("2", 90), born_anew("2", 3), born_anew("2", 4)
        hub = History()
        hub.add(Take((old, early, late), None))
        await take(scene.ledger, Take((old, early), None))
        await take(scene.ledger, hub.piece(scope="b")._replace(records=()))
        await keep(scene.ledger, Note(HUB, hub.at(3), ((early.id, 2),)))
        assert await outside(scene.ledger) == [Outside(early.id, 2, (2, 1))]
        assert await purge(scene.ledger, hub, early.id) == 2
        await is_whole(scene)
        # One that is older than what went, and the newest of all: neither counts beside it.
        taken = await take(scene.ledger, Take((late,), None))
        assert [each.verdict for each in taken.judged] == ["accepted"]
        assert await folded(scene.ledger) == []
        await is_whole(scene)
        # Its content comes again: it is there once.
        await keep(scene.ledger, hub.back(3, 0))
        await take(scene.ledger, hub.piece(scope="c")._replace(records=(hub.records[1],)))
        assert await folded(scene.ledger) == [early.id]
        assert await scene.ledger.upstreams.first_tombstone() == 1  # what was replaced stays one
        await is_whole(scene)
        first = born_anew("2", 2)
        await take(scene.ledger, Take((first,), None))
        assert await folded(scene.ledger) == [first.id]
        await is_whole(scene)

    @contract_test
    async def test_an_older_record_of_an_event_that_went_counts_once(self, scene: Scene) -> None:
        old, early, first = born_at("2", 90), born_anew("2", 3), born_anew("2", 2)
        hub = History()
        hub.add(Take((old, early), None))
        await take(scene.ledger, Take((old, early), None))
        await take(scene.ledger, hub.piece(scope="b")._replace(records=()))
        await keep(scene.ledger, Note(HUB, hub.at(2), ((early.id, 2),)))
        assert await purge(scene.ledger, hub, early.id) == 2
        await take(scene.ledger, Take((first,), None))
        assert await folded(scene.ledger) == [first.id]
        await is_whole(scene)

    @contract_test
    async def test_what_is_noted_once_more_has_been_let_go_still(self, scene: Scene) -> None:
        """Another process has offered it before its content went, and hears of it afterwards."""
        hub = await edge(scene)
        await purge(scene.ledger, hub, "1")
        await keep(scene.ledger, Note(HUB, hub.at(4), (("1", 1),)))
        assert names_of(await outside(scene.ledger)) == ["3", "4"]
        assert await scene.ledger.upstreams.first_tombstone() == 1
        await is_whole(scene)

    # --- what reads make of it ---

    @contract_test
    async def test_no_read_has_what_is_left_of_it(self, scene: Scene) -> None:
        hub = await edge(scene)
        hub.add(append(new("late", "a")), now_ms=NOON_MS - 60_000)
        hub.append("5", stream="b")
        await take(scene.ledger, hub.piece(4, scope="b"))
        await keep(scene.ledger, hub.back(6, 4))
        piece = hub.piece(4, scope="b")
        await take(scene.ledger, piece._replace(records=(hub.records[5],)))
        await keep(scene.ledger, Note(HUB, hub.at(6), (("late", 5),)))
        assert await purge(scene.ledger, hub, "1", "late") == 2
        ledger = scene.ledger
        left = ["3", "4", "2", "5"]
        assert ids_of(await rows_of(ledger)) == left
        for size in (1, 2, 3):
            for selection in (
                Selection(),
                Selection(backwards=True),
                Selection(order=Order.CREATED),
                Selection(prefix=""),
                Selection(streams=("a", "a2", "b")),
            ):
                page = await ledger.read(selection, size=size)
                found = ids_of(page.records)
                while page.cursor is not None:
                    page = await ledger.read(page.selection, cursor=page.cursor, size=size)
                    found += ids_of(page.records)
                in_order = selection.order is Order.CREATED or selection.backwards
                assert (sorted(found) if in_order else found) == (
                    sorted(left) if in_order else left
                )
        for selection in (Selection(streams=("a",)), Selection(streams=("a",), types=("t",))):
            assert ids_of(await rows_of(ledger, selection)) == ["3"]
            folds = selection._replace(order=Order.CREATED)
            assert ids_of((await ledger.fold_from(folds, None)).page.records) == ["3"]
        assert ids_of((await ledger.read(Selection(limit=1))).records) == ["3"]
        found_records = await ledger.find(["1", "3", "late"])
        assert [row is not None and row.is_tombstone for row in found_records] == [
            True,
            False,
            True,
        ]
        assert await scene.store.find("1") is None
        assert await scene.store.find("3") is not None
        assert ids_of(await scene.store.read("a").to_list()) == ["3"]
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_pages_of_tombstones_alone_end_and_say_where(self, scene: Scene) -> None:
        hub = await edge(scene)
        assert await purge(scene.ledger, hub, "1", "3", "4") == 3
        page = await scene.ledger.read(Selection(until=3), size=1)
        assert (list(page.records), page.cursor) == ([], None)
        page = await scene.ledger.read(Selection(after=0), size=1)
        assert ids_of(page.records) == ["2"]
        for size in (1, 2, 10):
            rows = await scene.ledger.read(ALL, size=size)
            found = list(rows.records)
            while rows.cursor is not None:
                rows = await scene.ledger.read(rows.selection, cursor=rows.cursor, size=size)
                found += rows.records
            assert ids_of(found) == ["1", "3", "4", "2"]
            assert [row.is_tombstone for row in found] == [True, True, True, False]

    @contract_test
    async def test_a_read_that_has_begun_passes_what_goes_meanwhile(self, scene: Scene) -> None:
        hub = await edge(scene)
        page = await scene.ledger.read(Selection(), size=1)
        assert ids_of(page.records) == ["1"]
        await purge(scene.ledger, hub, "1", "3")
        page = await scene.ledger.read(page.selection, cursor=page.cursor, size=10)
        assert ids_of(page.records) == ["4", "2"]

    @contract_test
    async def test_an_orphan_whose_content_went_is_not_listed(self, scene: Scene) -> None:
        hub = History()
        [one, two] = hub.append("1", "2")
        hub.records[:] = [one, two._replace(flags=8, version=1)]
        await take(scene.ledger, hub.piece())
        assert ids_of(await scene.ledger.upstreams.orphans(after=0, size=9)) == ["2"]
        await keep(scene.ledger, hub.back(2, 0))
        await take(scene.ledger, hub.piece(scope="b")._replace(records=()))
        await keep(scene.ledger, Note(HUB, hub.at(2), (("1", 1), ("2", 2))))
        assert await purge(scene.ledger, hub, "1", "2") == 2
        assert ids_of(await scene.ledger.upstreams.orphans(after=0, size=9)) == []

    # --- retries ---

    @contract_test
    async def test_an_append_of_its_id_is_still_a_retry(self, scene: Scene) -> None:
        hub = await edge(scene)
        rows = await scene.rows()
        await purge(scene.ledger, hub, "1")
        placed = await place(scene.ledger, append(new("1", data='"one"')))
        assert placed.new == ()
        [record] = placed.records
        assert (record.position, record.hash) == (rows[0].position, rows[0].hash)
        assert (record.data, record.meta) == ('"one"', "null")
        assert await scene.ledger.upstreams.first_tombstone() == 1
        for other in (new("1", "elsewhere"), new("1", type="other")):
            [outcome] = await scene.ledger.commit([append(other)])
            assert isinstance(outcome, IdConflict)

    @contract_test
    async def test_an_import_of_it_is_known_and_stays_without_content(self, scene: Scene) -> None:
        hub = await edge(scene)
        rows = await scene.rows()
        await purge(scene.ledger, hub, "1")
        placed = await place(scene.ledger, Import((rows[0],)))
        assert (placed.records, placed.new) == ((rows[0],), ())
        assert await scene.ledger.upstreams.first_tombstone() == 1
        [outcome] = await scene.ledger.commit([Import((changed(rows[0]),))])
        assert isinstance(outcome, IdConflict)

    # --- snapshots ---

    @contract_test
    async def test_with_it_go_the_snapshots_that_may_have_it(self, scene: Scene) -> None:
        hub = await edge(scene)
        ledger = scene.ledger
        await ledger.commit([Relate(add=(("r", "a"), ("r", "b"), ("s", "b")))])
        revision = await ledger.upstreams.revision("r")
        unrelated = await ledger.upstreams.revision("s")
        of_a, of_b = KEY, _key("stream:b")
        of_r, of_s = _key("relation:r"), _key("relation:s")

        async def put(key: SnapshotKey, **changes: int) -> Snapshot | None:
            await ledger.commit([PutSnapshot(snapshot(4, key=key, **changes))])
            return await ledger.find_snapshot(key)

        assert await put(of_a)
        assert await put(of_b)
        assert await put(of_r, revision=revision)
        assert await put(of_s, revision=unrelated)
        before = await put(_key("stream:a2"))
        await purge(ledger, hub, "3")
        assert await ledger.find_snapshot(of_a) is None
        assert await ledger.find_snapshot(of_r) is None
        assert await ledger.find_snapshot(of_b)
        assert await ledger.find_snapshot(_key("stream:a2")) == before
        # What was folded before, and is stored afterwards.
        assert await put(of_a) is None
        assert await put(of_r, revision=revision) is None
        assert await ledger.upstreams.revision("r") > revision
        assert await ledger.upstreams.revision("s") == unrelated
        assert await put(of_r, revision=await ledger.upstreams.revision("r"))

    @contract_test
    async def test_a_snapshot_from_before_it_stays(self, scene: Scene) -> None:
        hub = await edge(scene)
        early = snapshot(1, key=_key("stream:a"))
        await scene.ledger.commit([PutSnapshot(early)])
        await purge(scene.ledger, hub, "3")
        assert await scene.ledger.find_snapshot(early.key) == early

    @contract_test
    async def test_what_was_folded_before_content_went_or_came_is_not_stored_after_it(
        self, scene: Scene
    ) -> None:
        hub = await edge(scene)
        ledger, unfoldings = scene.ledger, scene.ledger.upstreams.unfoldings
        key = _key("stream:b")  # none of it went, but who folds pages of more cannot know
        storing = PutSnapshot(snapshot(1, key=key), await unfoldings())
        assert await ledger.commit([storing]) == [1]
        await purge(ledger, hub, "1")
        assert await ledger.commit([storing]) == [0]
        storing = PutSnapshot(snapshot(1, key=key), await unfoldings())
        assert await ledger.commit([storing]) == [1]
        assert await purge(ledger, hub, "1") == 0
        assert await ledger.commit([storing]) == [1]
        # Of chosen types, a part of a stream can be folded while the rest is away.
        storing = PutSnapshot(snapshot(1), await unfoldings())
        await keep(ledger, hub.back(4, 0))
        await take(ledger, hub.piece())
        assert await ledger.commit([storing]) == [0]

    # --- it comes again ---

    @contract_test
    async def test_content_that_is_given_again_is_back_in_its_place(self, scene: Scene) -> None:
        hub = await edge(scene)
        rows = await scene.rows()
        await purge(scene.ledger, hub, "1", "3", "4")
        await keep(scene.ledger, hub.back(4, 0))
        assert await offered(scene.ledger) == ["2"]  # what has no content is not
        head = await scene.ledger.head()
        taken = await take(scene.ledger, hub.piece())
        assert [each.verdict for each in taken.judged] == ["duplicate"] * 4
        assert [each.position for each in taken.judged] == [1, 4, 2, 3]
        assert taken.new == ()
        assert await scene.rows() == rows
        assert await scene.ledger.head() == head
        assert await scene.ledger.upstreams.first_tombstone() is None
        assert await outside(scene.ledger) == []
        assert await scene.ledger.check() == []
        assert (await scene.store.verify()).tombstones == 0

    @contract_test
    async def test_another_content_of_its_id_is_not_taken_for_it(self, scene: Scene) -> None:
        hub = await edge(scene)
        await purge(scene.ledger, hub, "1")
        await keep(scene.ledger, hub.back(4, 0))
        piece = hub.piece()
        other = changed(hub.records[0])._replace(position=1)
        taken = await take(scene.ledger, piece._replace(records=(other, *hub.records[1:])))
        assert taken.judged[0].verdict == "tampered"
        assert await scene.ledger.upstreams.first_tombstone() == 1
        assert "1" not in ids_of(await scene.rows())

    @contract_test
    async def test_with_content_that_comes_again_go_the_snapshots_without_it(
        self, scene: Scene
    ) -> None:
        hub = await edge(scene)
        ledger = scene.ledger
        await ledger.commit([Relate(add=(("r", "a"),))])
        await purge(ledger, hub, "1")
        revision = await ledger.upstreams.revision("r")
        key = _key("relation:r")
        await ledger.commit([PutSnapshot(snapshot(4, key=key, revision=revision))])
        assert await ledger.find_snapshot(key)
        await keep(ledger, hub.back(4, 0))
        await take(ledger, hub.piece())
        assert await ledger.find_snapshot(key) is None
        assert await ledger.upstreams.revision("r") > revision
        await ledger.commit([PutSnapshot(snapshot(4))])
        assert await ledger.find_snapshot(KEY)

    @contract_test
    async def test_it_can_go_again(self, scene: Scene) -> None:
        hub = await edge(scene)
        await purge(scene.ledger, hub, "1")
        await keep(scene.ledger, hub.back(4, 0))
        await take(scene.ledger, hub.piece())
        await keep(scene.ledger, hub.back(4, 0))
        await take(scene.ledger, hub.piece(scope="b")._replace(records=(hub.records[1],)))
        await keep(scene.ledger, Note(HUB, hub.at(4), (("1", 1), ("3", 3), ("4", 4))))
        assert await purge(scene.ledger, hub, "1", "3", "4") == 3
        assert ids_of(await scene.rows()) == ["2"]

    @pytest.mark.parametrize("size", [1, 40_000])
    @contract_test
    async def test_large_and_odd_content_comes_again_as_it_was(
        self, scene: Scene, size: int
    ) -> None:
        data = '{"é":"' + "ü\\n" * size + '"}'
        await place(scene.ledger, append(new("1", data=data), new("2", data='"a\\tb"')))
        rows = await scene.rows()
        hub = History()
        hub.add(Import(tuple(rows)))
        await take(scene.ledger, hub.piece(scope="b")._replace(records=()))
        await keep(scene.ledger, Note(HUB, hub.at(2), (("1", 1), ("2", 2))))
        assert await purge(scene.ledger, hub, "1", "2") == 2
        assert await scene.rows() == []
        await keep(scene.ledger, hub.back(2, 0))
        await take(scene.ledger, hub.piece())
        assert await scene.rows() == rows


def _key(scope: str) -> SnapshotKey:
    return SnapshotKey(scope=scope, reducer="r", reducer_version=1, shape="s", filter="")
