"""Unfolding: records that are kept and that no fold has, as orphans or as others replace them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from everlog.core.aliases import first_id
from everlog.core.chain import HYDRATED, ORPHAN, OUTDATED, RESTAMPED, RETURNED
from everlog.core.record import StoredRecord, computed_hash
from everlog.core.relation import Relate
from everlog.core.selection import Order, Selection
from everlog.core.sequencer import Import
from everlog.core.snapshot import PutSnapshot, seal
from everlog.core.taking import Link, Restamp, Take, Taken
from everlog.errors import CursorMoved, InvalidInput
from everlog.ports.ledger import Ledger, Outcome
from everlog.testing.contract.committing import KEY, append, new, place, snapshot
from everlog.testing.contract.scene import NOON_MS, Contract, Scene, contract_test, ids_of
from everlog.testing.contract.synchronising import (
    HUB,
    OTHER,
    History,
    anew,
    born_anew,
    born_at,
    everything,
    keep,
    offered,
    offers,
    state_of,
    take,
)

AHEAD_MS = 3_600_000
"""By so much the clock runs ahead."""


def orphaned(hub: History, *records: StoredRecord) -> Sequence[StoredRecord]:
    """Has a hub take back what has no place in its strict stream any more."""
    vouched = frozenset(record.id for record in records)
    taking = Take(records, strict=("",), vouched=vouched, versions=[None] * len(records))
    rows = hub.add(taking)
    assert all(row.flags & ORPHAN for row in rows)
    return rows


async def folded(
    ledger: Ledger, selection: Selection | None = None, *, size: int = 500
) -> list[str]:
    """Returns the ids that a fold goes through, page by page."""
    selection = (selection or Selection())._replace(order=Order.CREATED)
    start = await ledger.fold_from(selection, None, size=size)
    page, ids = start.page, ids_of(start.page.records)
    while page.cursor is not None:
        page = await ledger.read(page.selection, cursor=page.cursor, size=size)
        ids += ids_of(page.records)
    return ids


async def all_folds(ledger: Ledger) -> list[str]:
    """Returns what a fold of everything goes through, and asserts that all others agree."""
    streams = ("a", "b")
    await ledger.commit([Relate(add=tuple(("both", stream) for stream in streams))])
    whole = await folded(ledger)
    records = {row.id: row for row in await ledger.find(whole) if row is not None}
    assert [records[id].order for id in whole] == sorted(row.order for row in records.values())
    of = {stream: [id for id in whole if records[id].stream == stream] for stream in streams}
    for size in (1, 2, 3, 500):
        assert await folded(ledger, size=size) == whole
        for stream in streams:
            assert await folded(ledger, Selection(streams=(stream,)), size=size) == of[stream]
        both = [id for id in whole if records[id].stream in streams]
        assert await folded(ledger, Selection(relation="both"), size=size) == both
        assert await folded(ledger, Selection(streams=("a", "b")), size=size) == both
        assert await folded(ledger, Selection(prefix="a"), size=size) == [
            id for id in whole if records[id].stream.startswith("a")
        ]
        assert await folded(ledger, Selection(types=("t",)), size=size) == [
            id for id in whole if records[id].type == "t"
        ]
    page = await ledger.read(Selection(order=Order.CREATED))
    assert ids_of(page.records) == whole
    return whole


async def orphans(ledger: Ledger) -> list[str]:
    """Returns the ids of all orphans."""
    return ids_of(await ledger.upstreams.orphans(after=0, size=10_000))


async def snapshots_at(ledger: Ledger, *positions: int) -> None:
    """Stores a snapshot at each of the positions."""
    for position in positions:
        key = replace(KEY, reducer=f"at {position}")
        assert await ledger.commit([PutSnapshot(seal(snapshot(position, key=key)))]) == [1]


async def kept(ledger: Ledger, *positions: int) -> list[int]:
    """Returns at which of the positions the snapshot is still stored."""
    keys = {each: replace(KEY, reducer=f"at {each}") for each in positions}
    return [each for each, key in keys.items() if await ledger.find_snapshot(key) is not None]


async def is_whole(scene: Scene) -> None:
    """Asserts that storage and history hold together."""
    assert await scene.ledger.check() == []
    verification = await scene.store.verify()
    assert verification.ok, verification.problems


async def restamp(ledger: Ledger, *ids: str, now_ms: int = NOON_MS) -> int:
    """Stamps events anew, which has to succeed."""
    [outcome] = await ledger.commit([Restamp(ids, now_ms)])
    assert isinstance(outcome, int), outcome
    return outcome


async def whole(ledger: Ledger) -> object:
    """Returns all that a ledger tells of itself."""
    rows = await ledger.read(Selection())
    return [await everything(ledger), rows.records, await folded(ledger), await orphans(ledger)]


def _again(hub: History) -> Link:
    """Returns where the whole history of a hub comes from that was restored."""
    link = hub.piece().link
    assert link is not None
    return link._replace(epoch="last")


class Unfolding(Contract):
    """Strict streams and their orphans, `Restamp`, and what folds have."""

    # --- strict streams ---

    @contract_test
    async def test_the_state_keeps_which_streams_are_strict(self, scene: Scene) -> None:
        hub = History()
        hub.append("1", "2")
        strict = ("order-", "\u00fc \U0001f600", "")
        first = hub.piece(0, 1)
        assert first.link is not None
        await take(scene.ledger, first._replace(link=first.link._replace(strict=strict)))
        assert (await state_of(scene.ledger)).strict == strict
        assert await keep(scene.ledger, hub.back(1, 0)) == 1
        assert (await state_of(scene.ledger)).strict == strict
        await scene.reopen()
        if scene.capabilities.durable:
            [state] = await scene.ledger.upstreams.states()
            assert state.strict == strict
            await take(scene.ledger, hub.piece(0))
            assert (await state_of(scene.ledger)).strict == ()

    @contract_test
    async def test_a_hub_takes_back_what_it_had_at_its_old_version_or_as_an_orphan(
        self, scene: Scene
    ) -> None:
        await place(scene.ledger, append(new("1"), new("2")))
        records = [born_at(f"lost {n}", n) for n in range(1, 5)]
        request = Take(
            (*records, born_at("never had", 9), born_at("behind it", 9), born_at("loose", 9, "b")),
            strict=("a",),
            vouched=frozenset(record.id for record in records),
            versions=[3, 3, 4, None, 5, 5, 9],
        )
        taken = await take(scene.ledger, request)
        assert [(each.id, each.verdict, each.position) for each in taken.judged] == [
            ("lost 1", "accepted", 3),
            ("lost 2", "accepted", 4),
            ("lost 3", "accepted", 5),
            ("lost 4", "accepted", 6),
            ("never had", "rejected", None),
            ("behind it", "waiting", None),
            ("loose", "accepted", 7),
        ]
        assert [(row.version, row.flags) for row in taken.new] == [
            (3, HYDRATED),
            (3, HYDRATED | ORPHAN),
            (4, HYDRATED),
            (4, HYDRATED | ORPHAN),
            (1, HYDRATED),
        ]
        assert (await scene.rows())[2:] == list(taken.new)
        assert await orphans(scene.ledger) == ["lost 2", "lost 4"]
        assert await all_folds(scene.ledger) == ["1", "2", "lost 1", "lost 3", "loose"]
        born = await place(scene.ledger, append(new("next", expect=4)))
        assert born.new[0].version == 5
        await is_whole(scene)

    # --- orphans ---

    @pytest.mark.parametrize("ms", [-5, 5], ids=["late", "on time"])
    @contract_test
    async def test_an_orphan_takes_no_version_no_register_and_is_in_no_fold(
        self, scene: Scene, ms: int
    ) -> None:
        hub = History()
        hub.append("1")
        hub.append("b1", stream="b")
        orphaned(hub, born_at("lost", ms))
        hub.append("2", "3")
        hub.add(Take((born_at("other", ms + 1, "b"),)))
        taken = await take(scene.ledger, hub.piece())
        rows = await scene.rows()
        assert rows == list(taken.new)
        assert [row.id for row in rows] == ["1", "b1", "lost", "2", "3", "other"]
        assert [row.version for row in rows] == [1, 1, 1, 2, 3, 2]
        assert [row.flags & ORPHAN for row in rows] == [0, 0, ORPHAN, 0, 0, 0]
        assert rows[3].flags == HYDRATED
        folds = await all_folds(scene.ledger)
        assert sorted(folds) == ["1", "2", "3", "b1", "other"]
        assert not await scene.ledger.overtaken("a", "t", rows[4].order)
        assert await orphans(scene.ledger) == ["lost"]
        assert await offered(scene.ledger) == []
        assert await offered(scene.ledger, OTHER) == ids_of(rows)
        await is_whole(scene)
        await scene.reopen()
        if scene.capabilities.durable:
            assert await all_folds(scene.ledger) == folds
            assert await orphans(scene.ledger) == ["lost"]
            await is_whole(scene)

    @contract_test
    async def test_an_orphan_outdates_nothing_and_is_outdated_as_anything(
        self, scene: Scene
    ) -> None:
        hub = History()
        orphaned(hub, born_at("first", 9))
        hub.add(Take((born_at("older", 1),)))
        orphaned(hub, born_at("oldest", 0))
        taken = await take(scene.ledger, hub.piece())
        flags = [row.flags & (ORPHAN | OUTDATED) for row in taken.new]
        assert flags == [ORPHAN, 0, ORPHAN | OUTDATED]
        assert [row.version for row in taken.new] == [0, 1, 1]
        assert not await scene.ledger.overtaken("a", "t", taken.new[1].order)
        await is_whole(scene)

    @contract_test
    async def test_orphans_come_in_pages_in_order_of_position(self, scene: Scene) -> None:
        hub = History()
        for number in range(1, 30):
            if number % 3:
                hub.append(f"{number}", stream=f"s{number}")
            else:
                orphaned(hub, born_at(f"{number}", 100 - number, f"s{number % 6}"))
        await take(scene.ledger, hub.piece())
        rows = await scene.rows()
        wanted = [row for row in rows if row.position % 3 == 0]
        upstreams = scene.ledger.upstreams
        assert list(await upstreams.orphans(after=0, size=100)) == wanted
        assert list(await upstreams.orphans(after=0, size=2)) == wanted[:2]
        assert list(await upstreams.orphans(after=6, size=2)) == wanted[2:4]
        assert list(await upstreams.orphans(after=5, size=1)) == wanted[1:2]
        assert list(await upstreams.orphans(after=27, size=100)) == []
        assert await folded(scene.ledger, size=3) == [r.id for r in rows if r.position % 3]

    @contract_test
    async def test_what_the_upstream_has_as_an_orphan_now_is_one_and_back(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2", "3")
        await take(scene.ledger, hub.piece(0, 3))
        before = await scene.rows()
        await snapshots_at(scene.ledger, 1, 2, 3)
        await keep(scene.ledger, hub.back(3, 0, epoch="next"))
        assert await all_folds(scene.ledger) == ["1", "2", "3"]
        # Another one has the place of 2 and 3 there.
        later = History(epoch="next")
        later.add(Take(tuple(hub.records[:1])))
        later.append("x")
        orphaned(later, *hub.records[1:])
        await take(scene.ledger, later.piece(0, 1))
        assert await kept(scene.ledger, 1, 2, 3) == [1, 2, 3]
        taken = await take(scene.ledger, later.piece(1))
        assert [each.verdict for each in taken.judged] == ["accepted", "duplicate", "duplicate"]
        assert (await scene.rows())[:3] == before
        assert await kept(scene.ledger, 1, 2, 3) == [1]
        assert await orphans(scene.ledger) == ["2", "3"]
        assert await all_folds(scene.ledger) == ["1", "x"]
        x = (await scene.rows())[3]
        assert (x.id, x.version) == ("x", 4)
        assert not await scene.ledger.overtaken("a", "t", x.order)
        await is_whole(scene)
        # And once more, which changes nothing.
        await snapshots_at(scene.ledger, 2, 4)
        await keep(scene.ledger, later.back(4, 1))
        await take(scene.ledger, later.piece(1))
        assert await kept(scene.ledger, 1, 2, 4) == [1, 2, 4]
        # The hub was set back, and has changed its mind.
        await keep(scene.ledger, later.back(4, 0, epoch="last"))
        last = History(epoch="last")
        last.add(Take(tuple(hub.records[:2])))
        orphaned(last, later.records[1])
        await take(scene.ledger, last.piece())
        assert await orphans(scene.ledger) == ["3", "x"]
        assert await all_folds(scene.ledger) == ["1", "2"]
        assert await kept(scene.ledger, 1, 2, 4) == [1]
        assert await offered(scene.ledger) == ["3"]
        assert not await scene.ledger.overtaken("a", "t", before[1].order)
        assert await scene.ledger.overtaken("a", "t", before[0].order)
        await is_whole(scene)

    @contract_test
    async def test_the_register_of_a_stream_that_has_only_orphans_is_empty(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", stream="b")
        await take(scene.ledger, hub.piece())
        [row] = await scene.rows()
        await keep(scene.ledger, hub.back(1, 0, epoch="next"))
        later = History(epoch="next")
        orphaned(later, hub.records[0])
        await take(scene.ledger, later.piece())
        assert not await scene.ledger.overtaken("b", "t", ("", ""))
        await is_whole(scene)
        taken = await take(scene.ledger, Take((born_at("older", -9, "b"),)))
        assert [each.flags for each in taken.new] == [HYDRATED]
        assert taken.new[0].version == row.version + 1
        await is_whole(scene)

    @contract_test
    async def test_each_request_of_a_batch_finds_which_are_orphans_by_those_before_it(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1")
        orphaned(hub, born_at("lost", 5), born_at("also", 6))
        hub.append("2")
        later = History(epoch="next")
        later.add(Take(tuple(hub.records[:2])))
        orphaned(later, *hub.records[2:])
        await snapshots_at(scene.ledger, 1)
        outcomes = await scene.ledger.commit(
            [hub.piece(), hub.back(4, 0, epoch="next"), later.piece()]
        )
        assert [type(each) for each in outcomes] == [Taken, int, Taken]
        assert await orphans(scene.ledger) == ["also", "2"]
        assert await all_folds(scene.ledger) == ["1", "lost"]
        lost = (await scene.rows())[1]
        assert not await scene.ledger.overtaken("a", "t", lost.order)
        assert await scene.ledger.overtaken("a", "t", (lost.created, "a"))
        assert await kept(scene.ledger, 1) == [1]
        await is_whole(scene)

    @contract_test
    async def test_a_refused_piece_makes_no_orphans(self, scene: Scene) -> None:
        hub = History()
        hub.append("1")
        await take(scene.ledger, hub.piece())
        later = History()
        orphaned(later, hub.records[0], born_at("lost", 5))
        before = await whole(scene.ledger)
        [outcome] = await scene.ledger.commit([later.piece()])
        assert isinstance(outcome, CursorMoved)
        assert await whole(scene.ledger) == before

    @contract_test
    async def test_an_orphan_is_offered_to_other_upstreams_and_after_a_rewind(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1")
        orphaned(hub, born_at("lost", 5))
        await take(scene.ledger, hub.piece(receipts=[None, b"r"]))
        assert await offered(scene.ledger, OTHER) == ["1", "lost"]
        await keep(scene.ledger, hub.back(2, 1))
        found = await offers(scene.ledger)
        [(record, version, receipt)] = found.records
        assert (record.id, version, receipt) == ("lost", 0, b"r")  # no place that it could have
        assert await orphans(scene.ledger) == ["lost"]

    # --- versions ---

    @contract_test
    async def test_the_version_that_an_upstream_has_given_is_told(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("own"), new("mine", "b")))
        hub = History()
        hub.append("1")
        orphaned(hub, born_at("lost", 5))
        hub.append("2", "3")
        await take(scene.ledger, hub.piece())
        version = scene.ledger.upstreams.version
        assert [row.version for row in await scene.rows()] == [1, 1, 2, 2, 3, 4]
        # Whoever has read less than is here is told nothing.
        assert [await version(HUB, "a", each) for each in range(6)] == [*[None] * 4, 3, None]
        assert await version(OTHER, "a", 2) is None
        assert await version(HUB, "b", 1) is None
        assert await version(HUB, "nobody", 1) is None
        await keep(scene.ledger, hub.back(4, 3))
        assert [await version(HUB, "a", each) for each in (3, 4)] == [2, None]

    # --- stamping anew ---

    async def ahead(self, scene: Scene, *ids: str, stream: str = "a") -> tuple[StoredRecord, ...]:
        """Appends events by a clock that runs ahead, one after the other."""
        records: list[StoredRecord] = []
        for id in ids:
            scene.clock.set(NOON_MS + AHEAD_MS + 10 * len(records))
            records += (await place(scene.ledger, append(new(id, stream)))).records
        scene.clock.set(NOON_MS)
        return tuple(records)

    @contract_test
    async def test_events_that_were_stamped_ahead_are_stamped_anew(self, scene: Scene) -> None:
        [first] = (await place(scene.ledger, append(new("1")))).records
        two, three, four = [
            *await self.ahead(scene, "2", "3"),
            *await self.ahead(scene, "4", stream="b"),
        ]
        assert await restamp(scene.ledger, "4", "2", "3", now_ms=NOON_MS + 5) == 3
        rows = await scene.rows()
        assert rows[:4] == [first, two, three, four]
        news = rows[4:]
        assert ids_of(news) == await anew(scene.ledger, "2", "3", "4")
        assert [(row.version, row.stream) for row in news] == [(4, "a"), (5, "a"), (2, "b")]
        assert [row.flags for row in news] == [RESTAMPED] * 3
        assert first.created < news[0].created < news[1].created < news[2].created < two.created
        for row, old in zip(news, (two, three, four), strict=True):
            assert first_id(row) == old.id != row.id
            assert row.created == row.recorded
            assert row.created[:12] == f"{NOON_MS + 5:012x}"
            assert row.nonce != old.nonce
            assert row.hash == computed_hash(row)
            # Each began a correlation of its own.
            assert (row.correlation, row.causation) == (row.id, None)
            same = ("stream", "type", "schema", "register", "origin", "data", "meta")
            assert [getattr(row, field) for field in same] == [
                getattr(old, field) for field in same
            ]
        assert len({row.nonce for row in rows}) == 7
        assert (await scene.ledger.head()).clock == news[-1].created
        assert await all_folds(scene.ledger) == ["1", *ids_of(news)]
        assert await orphans(scene.ledger) == []
        assert await offered(scene.ledger) == ["1", *ids_of(news)]
        assert (await offers(scene.ledger, after=1)).settled == 4
        assert not await scene.ledger.overtaken("a", "t", news[1].order)
        assert await scene.ledger.overtaken("a", "t", news[0].order)
        await is_whole(scene)

    @contract_test
    async def test_what_comes_after_a_restamp_is_stamped_after_it(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("1")))
        await self.ahead(scene, "2")
        other = await scene.open_ledger() if scene.capabilities.shared else scene.ledger
        # So that both could guess.
        for ledger, ids in ((other, "34"), (scene.ledger, "56")):
            for id in ids:
                await place(ledger, append(new(id, "b")))
        assert await restamp(scene.ledger, *"23456") == 5
        [newest] = [row for row in await scene.rows() if [row.id] == await anew(scene.ledger, "6")]
        first = (await place(other, append(new("7"), new("8", "b")))).records
        second = (await place(scene.ledger, append(new("9")))).records
        third = (await place(other, append(new("10", "b")))).records
        stamps = [row.created for row in (newest, *first, *second, *third)]
        assert stamps == sorted(stamps)
        assert stamps[-1][:12] == f"{NOON_MS:012x}"
        assert [row.version for row in (*first, *second, *third)] == [4, 9, 5, 10]
        anews = await anew(scene.ledger, *"23456")
        assert await all_folds(scene.ledger) == ["1", *anews, "7", "8", "9", "10"]
        await is_whole(scene)
        # And records of others are put in their places among them.
        late, newest = born_at("late", -1), born_at("newest", 1, "b")
        await take(scene.ledger, Take((late, newest)))
        assert await all_folds(scene.ledger) == [
            "late", "1", *anews, "7", "8", "9", "10", "newest",
        ]  # fmt: skip
        await is_whole(scene)
        await scene.reopen()
        if scene.capabilities.durable:
            assert len(await all_folds(scene.ledger)) == 12
            await is_whole(scene)

    @contract_test
    async def test_what_was_stamped_anew_can_be_once_more(self, scene: Scene) -> None:
        await self.ahead(scene, "1", "2")
        assert await restamp(scene.ledger, "2", now_ms=NOON_MS + AHEAD_MS) == 1
        [once] = await anew(scene.ledger, "2")
        assert await restamp(scene.ledger, "1", once) == 2
        news = await anew(scene.ledger, "1", "2")
        assert once not in news
        assert await all_folds(scene.ledger) == news
        assert await offered(scene.ledger) == news
        await is_whole(scene)

    @contract_test
    async def test_what_follows_from_each_other_still_does(self, scene: Scene) -> None:
        scene.clock.set(NOON_MS + AHEAD_MS)
        events = (
            new("1"),
            new("2")._replace(correlation="1", causation="1"),
            new("3")._replace(correlation="kept", causation="kept"),
        )
        await place(scene.ledger, append(*events))
        await restamp(scene.ledger, "1", "2", "3")
        one, two, three = (await scene.rows())[3:]
        assert (two.correlation, two.causation) == (one.id, one.id)
        assert (three.correlation, three.causation) == ("kept", "kept")

    @contract_test
    async def test_a_restamp_drops_the_snapshots_at_or_behind_its_first(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("1"), new("2")))
        await self.ahead(scene, "3", "4")
        await snapshots_at(scene.ledger, 1, 2, 3, 4)
        await restamp(scene.ledger, "4", "3")
        assert await kept(scene.ledger, 1, 2, 3, 4) == [1, 2]

    @contract_test
    async def test_the_first_of_them_by_position_counts_for_snapshots(self, scene: Scene) -> None:
        await self.ahead(scene, "1")
        await restamp(scene.ledger, "1", now_ms=NOON_MS + 1)
        await self.ahead(scene, "2")
        await place(scene.ledger, append(new("3")))
        await snapshots_at(scene.ledger, 1, 2, 3, 4)
        await restamp(scene.ledger, "3", "2")
        assert await kept(scene.ledger, 1, 2, 3, 4) == [1, 2]

    @contract_test
    async def test_a_retry_of_what_was_replaced_is_still_one(self, scene: Scene) -> None:
        records = await self.ahead(scene, "1", "2")
        await restamp(scene.ledger, "1", "2")
        again = await place(scene.ledger, append(new("1"), new("2")))
        assert (list(again.records), again.new) == (list(records), ())

    async def refused(self, scene: Scene, *ids: str) -> None:
        """Asserts that a restamp of these ids is refused and leaves nothing."""
        await snapshots_at(scene.ledger, 1)
        before = await whole(scene.ledger)
        [outcome] = await scene.ledger.commit([Restamp(ids, NOON_MS)])
        assert isinstance(outcome, InvalidInput)
        assert await whole(scene.ledger) == before
        assert await kept(scene.ledger, 1) == [1]
        await is_whole(scene)

    @contract_test
    async def test_a_restamp_of_what_is_not_here_or_not_from_here_is_refused(
        self, scene: Scene
    ) -> None:
        await self.ahead(scene, "own")
        mine = scene.ledger.identity.ledger
        await scene.ledger.commit([Import((born_at("imported", 9),))])
        await take(scene.ledger, Take((born_at("taken", 8), born_at("back", 7, origin=mine))))
        assert (await scene.rows())[-1].flags & RETURNED
        for id in ("nobody", "imported", "taken", "back"):
            await self.refused(scene, id)
            await self.refused(scene, "own", id)
        assert await restamp(scene.ledger, "own") == 1

    @contract_test
    async def test_a_restamp_of_what_an_upstream_has_or_had_is_refused(self, scene: Scene) -> None:
        records = await self.ahead(scene, "1", "2", "3")
        hub, other = History(), History(OTHER)
        hub.add(Take(records[:1], max_offset_ms=None))
        other.add(Take(records[1:2], max_offset_ms=None))
        await take(scene.ledger, hub.piece())
        await take(scene.ledger, other.piece())
        await self.refused(scene, "3", "1")
        await self.refused(scene, "2")
        await keep(scene.ledger, hub.back(1, 0))
        await self.refused(scene, "1")
        assert await restamp(scene.ledger, "3") == 1

    @contract_test
    async def test_a_restamp_of_what_was_replaced_is_refused(self, scene: Scene) -> None:
        await self.ahead(scene, "1", "2")
        await restamp(scene.ledger, "2")
        await self.refused(scene, "2")
        await self.refused(scene, "1", "2")

    @contract_test
    async def test_nothing_is_stamped_anew_that_would_come_to_stand_behind_a_later_one(
        self, scene: Scene
    ) -> None:
        await self.ahead(scene, "1", "2", "3")
        await self.refused(scene, "1")
        await self.refused(scene, "3", "1")
        assert await restamp(scene.ledger, "1", "2", "3") == 3

    @contract_test
    async def test_a_restamp_beside_other_requests_is_refused_and_they_stand(
        self, scene: Scene
    ) -> None:
        await self.ahead(scene, "1")
        outcomes: Sequence[Outcome] = await scene.ledger.commit(
            [append(new("2")), Restamp(("1",), NOON_MS), append(new("3"))]
        )
        assert isinstance(outcomes[1], InvalidInput)
        outcomes = await scene.ledger.commit([Restamp(("1",), NOON_MS), Restamp(("2",), NOON_MS)])
        assert [type(each) for each in outcomes] == [InvalidInput, InvalidInput]
        assert await all_folds(scene.ledger) == ["1", "2", "3"]
        await is_whole(scene)

    @contract_test
    async def test_a_restamp_of_nothing_changes_nothing(self, scene: Scene) -> None:
        await self.ahead(scene, "1")
        before = await whole(scene.ledger)
        assert await restamp(scene.ledger) == 0
        assert await whole(scene.ledger) == before

    @contract_test
    async def test_what_cannot_be_stamped_earlier_is_not_stamped_anew(self, scene: Scene) -> None:
        await self.ahead(scene, "1")
        [outcome] = await scene.ledger.commit([Restamp(("1",), NOON_MS + AHEAD_MS)])
        assert isinstance(outcome, InvalidInput)
        await place(scene.ledger, append(new("2")))
        await self.refused(scene, "2")

    @contract_test
    async def test_an_id_that_has_no_room_is_not_made_longer(self, scene: Scene) -> None:
        await self.ahead(scene, "x" * 207, "x" * 206)
        await self.refused(scene, "x" * 206, "x" * 207)
        assert await restamp(scene.ledger, "x" * 206) == 1
        assert [len(each) for each in await anew(scene.ledger, "x" * 206)] == [255]

    # --- several records of one event ---

    @contract_test
    async def test_of_the_records_of_one_event_folds_have_the_earliest_whatever_comes_first(
        self, scene: Scene
    ) -> None:
        """Copies of a disk have stamped it anew, each by its own clock, and the old one is late."""
        old, early, other = born_at("2", 90), born_anew("2", 3), born_anew("2", 4)
        old_b, early_b, other_b = (
            born_at("5", 90, "b"),
            born_anew("5", 3, "b"),
            born_anew("5", 4, "b"),
        )
        hub = History()
        hub.add(Take((born_at("1", 1), old, born_at("3", 2)), None))
        await take(scene.ledger, hub.piece())
        await snapshots_at(scene.ledger, 1, 2, 3)
        assert await all_folds(scene.ledger) == ["1", "3", "2"]
        # The new one behind the old one, by a push; then another one, and the old one again.
        taken = await take(scene.ledger, Take((early,), None))
        assert [(each.verdict, each.position) for each in taken.judged] == [("accepted", 4)]
        assert [row.flags & (HYDRATED | RESTAMPED) for row in taken.new] == [HYDRATED | RESTAMPED]
        assert await kept(scene.ledger, 1, 2, 3) == [1]
        assert await all_folds(scene.ledger) == ["1", "3", early.id]
        await snapshots_at(scene.ledger, 2, 4)
        before = await whole(scene.ledger)
        taken = await take(scene.ledger, Take((old, early), None))
        assert [each.verdict for each in taken.judged] == ["duplicate", "duplicate"]
        assert await whole(scene.ledger) == before
        assert await kept(scene.ledger, 2, 4) == [2, 4]
        await scene.ledger.commit([Import((other,), None)])
        assert await all_folds(scene.ledger) == ["1", "3", early.id]
        # The old one behind the new one, by a piece; and all in one piece.
        hub.add(Take((early_b, born_at("6", 5, "b"), old_b, other_b), None))
        await take(scene.ledger, hub.piece(3))
        assert await all_folds(scene.ledger) == ["1", "3", early.id, early_b.id, "6"]
        assert await offered(scene.ledger) == [early.id]
        assert await orphans(scene.ledger) == []
        # The newest of a register is one that folds have.
        [last_a, last_b] = await scene.ledger.find([early.id, "6"])
        assert last_a is not None
        assert last_b is not None
        assert not await scene.ledger.overtaken("a", "t", last_a.order)
        assert not await scene.ledger.overtaken("b", "t", last_b.order)
        taken = await take(scene.ledger, Take((born_at("7", 9), born_at("8", 9, "b")), None))
        assert [row.flags for row in taken.new] == [HYDRATED, HYDRATED]
        await is_whole(scene)
        await scene.reopen()
        if scene.capabilities.durable:
            folds = ["1", "3", early.id, early_b.id, "6", "7", "8"]
            assert await all_folds(scene.ledger) == folds
            await is_whole(scene)

    @contract_test
    async def test_what_others_call_so_is_no_record_of_an_event_from_here(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.add(Take((born_at("1", 9),), None))
        await take(scene.ledger, hub.piece())
        by_another = born_anew("1", 3, origin="f" * 32)
        elsewhere = born_anew("1", 4, "b")
        alike = born_at(f"1@{elsewhere.created}", 5)
        await take(scene.ledger, Take((by_another, elsewhere, alike), None))
        wanted = [by_another.id, elsewhere.id, alike.id, "1"]
        assert await all_folds(scene.ledger) == wanted
        await is_whole(scene)

    @contract_test
    async def test_an_event_that_comes_back_stamped_anew_takes_the_place_of_the_old_record(
        self, scene: Scene
    ) -> None:
        """The ledger was restored from a backup that was taken before its clock was found wrong."""
        await place(scene.ledger, append(new("1")))
        await self.ahead(scene, "2", "3")
        back = born_anew("2", 1, origin=scene.ledger.identity.ledger)
        hub = History()
        hub.add(Take((back,)))
        taken = await take(scene.ledger, hub.piece())
        assert [row.flags & ~OUTDATED for row in taken.new] == [HYDRATED | RETURNED | RESTAMPED]
        assert await offered(scene.ledger) == ["1", "3"]
        await self.refused(scene, "2")
        assert await restamp(scene.ledger, "3", now_ms=NOON_MS + 2) == 1
        [three] = await anew(scene.ledger, "3")
        assert await all_folds(scene.ledger) == ["1", back.id, three]
        assert len(await scene.rows()) == 5
        # Its program tries again what it had done before the backup, and what it had not.
        [old] = (await place(scene.ledger, append(new("2")))).records
        assert old.position == 2
        await is_whole(scene)

    @contract_test
    async def test_what_was_appended_again_and_comes_in_a_piece_is_replaced_by_that(
        self, scene: Scene
    ) -> None:
        """A program tried again what a restored ledger had forgotten, and the hub had anew."""
        back = born_anew("1", -5, origin=scene.ledger.identity.ledger)
        hub = History()
        hub.add(Take((back,)))
        await take(scene.ledger, hub.piece())
        again = (await place(scene.ledger, append(new("1")))).records
        await snapshots_at(scene.ledger, 1, 2)
        hub.add(Take(again))
        await take(scene.ledger, hub.piece(1))
        assert await all_folds(scene.ledger) == [back.id]
        assert await kept(scene.ledger, 1, 2) == [1]
        await is_whole(scene)

    # --- snapshots that are on their way ---

    @pytest.mark.parametrize("how", ["orphan", "no orphan", "restamp", "alias"])
    @contract_test
    async def test_what_was_folded_before_records_were_taken_out_is_not_stored_after_it(
        self, scene: Scene, how: str
    ) -> None:
        ledger, unfoldings = scene.ledger, scene.ledger.upstreams.unfoldings
        hub = History()
        hub.append("1", "2")
        await take(ledger, hub.piece())
        later = History(epoch="next")
        if how == "no orphan":
            orphaned(later, *hub.records)
            await keep(ledger, hub.back(2, 0, epoch="next"))
            await take(ledger, later.piece())
        await self.ahead(scene, "ahead")
        before = await unfoldings()
        folds = (
            Selection(streams=("a",), order=Order.CREATED),
            Selection(relation="r", order=Order.CREATED),
        )
        for key in (KEY, None):
            starts = [await ledger.fold_from(each, key) for each in folds]
            assert [each.unfoldings for each in starts] == [before, before]
        key = replace(KEY, reducer="on its way")
        storing = PutSnapshot(seal(snapshot(1, key=key)), before)
        assert await ledger.commit([storing]) == [1]
        assert await ledger.commit([storing]) == [1]
        if how == "restamp":
            await restamp(ledger, "ahead")
        elif how == "alias":
            await take(ledger, Take((born_anew("2", -9, origin=HUB),)))
        elif how == "orphan":
            await keep(ledger, hub.back(2, 0, epoch="next"))
            orphaned(later, *hub.records)
            await take(ledger, later.piece())
        else:
            await keep(ledger, later.back(2, 0, epoch="last"))
            await take(ledger, hub.piece()._replace(link=_again(hub)))
        assert await unfoldings() == before + 1
        assert await ledger.commit([storing]) == [0]
        after = await ledger.fold_from(folds[0], KEY)
        assert after.unfoldings == before + 1
        again = replace(storing, unfoldings=after.unfoldings)
        assert await ledger.commit([again]) == [1]
        # What changes nothing about it is counted by nobody.
        await place(ledger, append(new("3")))
        await take(ledger, Take((born_at("4", 5),)))
        assert await unfoldings() == before + 1
        await scene.reopen()
        if scene.capabilities.durable:
            assert await scene.ledger.upstreams.unfoldings() == before + 1

    @contract_test
    async def test_thousands_are_stamped_anew_at_once(self, scene: Scene) -> None:
        ids = [f"{number}" for number in range(2_500)]
        scene.clock.set(NOON_MS + AHEAD_MS)
        await place(scene.ledger, append(*(new(id, f"s{id[-1]}") for id in ids)))
        scene.clock.set(NOON_MS)
        assert await restamp(scene.ledger, *ids) == 2_500
        news = await anew(scene.ledger, *ids)
        assert await folded(scene.ledger) == news
        assert await folded(scene.ledger, size=999) == news
        assert await folded(scene.ledger, Selection(streams=("s7",))) == news[7::10]
        found = await offers(scene.ledger)
        assert ([each.record.id for each in found.records], found.settled) == (news, 2_500)
        await is_whole(scene)
