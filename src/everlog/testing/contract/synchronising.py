"""Upstreams: what a ledger keeps of the histories of those that it synchronises with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from everlog.core.aliases import first_id, id_anew
from everlog.core.chain import GENESIS, HYDRATED, ORPHAN, OUTDATED, RESTAMPED, RETURNED
from everlog.core.epoch import BeginEpoch, is_older
from everlog.core.record import StoredRecord, computed_hash
from everlog.core.relation import Relate, Related
from everlog.core.selection import Order, Selection
from everlog.core.sequencer import EMPTY, Append, Identity, Placing, Sequencer, streams_of
from everlog.core.snapshot import DropSnapshots, PutSnapshot
from everlog.core.taking import (
    BEGINNING,
    MAX_EPOCHS,
    MAX_MARKS,
    Held,
    Hold,
    Judged,
    Keeping,
    Link,
    Mark,
    Note,
    Release,
    Restamp,
    Rewind,
    Take,
    Taken,
    UpstreamState,
    Verdict,
    thinned,
)
from everlog.errors import CursorMoved, EverlogError, InvalidInput, StorageFailed
from everlog.ports.ledger import Ledger
from everlog.ports.upstreams import Offers, Unconfirmed
from everlog.testing.contract.committing import KEY, append, new, place, snapshot
from everlog.testing.contract.scene import (
    NOON_MS,
    Contract,
    Scene,
    contract_test,
    folded_rows,
    ids_of,
    rows_of,
)

HUB = "f" * 32
OTHER = "0" * 32


class History:
    """The history of a made-up upstream, as that one has it."""

    def __init__(self, upstream: str = HUB, epoch: str = "1" * 16) -> None:
        self.upstream = upstream
        self.epoch = epoch
        self.records: list[StoredRecord] = []
        self._head = EMPTY

    def add(self, request: Placing, *, now_ms: int = NOON_MS) -> Sequence[StoredRecord]:
        """Adds the events of a request; returns them as they stand there."""
        sequencer = Sequencer(
            self._head,
            Identity(self.upstream, "2" * 16, self.epoch),
            now_ms=now_ms,
            known={},
            versions={stream: self._version(stream) for stream in streams_of([request])},
            newest=lambda stream, register: None,
        )
        sequencer.place(request)
        self.records += sequencer.rows
        self._head = sequencer.head
        return sequencer.rows

    def append(self, *ids: str, stream: str = "a") -> Sequence[StoredRecord]:
        """Adds events that are born there."""
        return self.add(append(*(new(id, stream) for id in ids)))

    def at(self, position: int) -> Mark:
        """Returns a place in it."""
        return Mark(position, self.records[position - 1].chain if position else GENESIS)

    @property
    def end(self) -> int:
        """The last position."""
        return len(self.records)

    def piece(
        self,
        start: int = 0,
        end: int | None = None,
        *,
        receipts: Sequence[bytes | None] = (),
        settled: int = 0,
        strict: tuple[str, ...] = (),
        scope: str = "",
    ) -> Take:
        """Returns a request to take in what stands behind a position, up to another."""
        end = self.end if end is None else end
        places = (self.at(start), self.at(end))
        link = Link(
            self.upstream,
            self.epoch,
            *places,
            receipts,
            settled=settled,
            strict=strict,
            scope=scope,
        )
        return Take(tuple(self.records[start:end]), link=link)

    def back(
        self, at: int, to: int, *, epoch: str | None = None, scope: str | None = None
    ) -> Rewind:
        """Returns a request to go back from a position to another."""
        return Rewind(self.upstream, epoch or self.epoch, self.at(at), self.at(to), scope)

    def _version(self, stream: str) -> int:
        versions = (each.version for each in reversed(self.records) if each.stream == stream)
        return next(versions, 0)


def held(
    id: str,
    stream: str = "a",
    *,
    verdict: Verdict = "rejected",
    reason: str = "no",
    since_ms: int = 7,
    record: str | None = None,
) -> Held:
    """Returns a record that was set aside."""
    return Held(id, stream, verdict, reason, since_ms, record)


async def take(ledger: Ledger, request: Take) -> Taken:
    """Commits a request that has to succeed."""
    [outcome] = await ledger.commit([request])
    assert isinstance(outcome, Taken)
    return outcome


async def keep(ledger: Ledger, request: Keeping) -> int:
    """Commits a request that has to succeed."""
    [outcome] = await ledger.commit([request])
    assert isinstance(outcome, int)
    return outcome


async def restamp(ledger: Ledger, *ids: str) -> int:
    """Has events stamped anew, a second before noon."""
    [outcome] = await ledger.commit([Restamp(ids, NOON_MS - 1_000)])
    assert isinstance(outcome, int)
    return outcome


async def refused(ledger: Ledger, request: Take | Keeping | Restamp) -> EverlogError:
    """Commits a request that has to be refused and to leave everything as it was."""
    before = await everything(ledger)
    [outcome] = await ledger.commit([request])
    assert isinstance(outcome, EverlogError)
    assert await everything(ledger) == before
    return outcome


async def everything(ledger: Ledger) -> object:
    """Returns all that a ledger tells of its head and upstreams."""
    upstreams = ledger.upstreams
    states = await upstreams.states()
    names = [HUB, OTHER, *(state.upstream for state in states)]
    return [
        await ledger.head(),
        states,
        *[await upstreams.held(name) for name in names],
        *[await upstreams.unconfirmed(name, after=0, size=10_000) for name in names],
    ]


async def state_of(ledger: Ledger, upstream: str = HUB) -> UpstreamState:
    """Returns the state of an upstream that is known."""
    state = await ledger.upstreams.state(upstream)
    assert state is not None
    return state


async def offers(
    ledger: Ledger, upstream: str = HUB, *, after: int = 0, size: int = 10_000
) -> Offers:
    """Returns a page of what is unconfirmed."""
    return await ledger.upstreams.unconfirmed(upstream, after=after, size=size)


async def offered(ledger: Ledger, upstream: str = HUB) -> list[str]:
    """Returns the ids of all that is unconfirmed and not left out."""
    return [each.record.id for each in await all_offers(ledger, upstream)]


async def all_offers(ledger: Ledger, upstream: str = HUB) -> list[Unconfirmed]:
    """Returns all pages of what is unconfirmed."""
    found: list[Unconfirmed] = []
    after = 0
    while True:
        page = await offers(ledger, upstream, after=after)
        found += page.records
        if page.ended:
            return found
        assert page.until > after
        after = page.until


async def orphans(ledger: Ledger) -> list[str]:
    """Returns the ids of all that no fold has."""
    return ids_of(await ledger.upstreams.orphans(after=0, size=10_000))


async def folded(ledger: Ledger, *streams: str) -> list[StoredRecord]:
    """Returns the records of streams in the order of folds."""
    selection = Selection(streams=streams, order=Order.CREATED)
    whole = await rows_of(ledger, selection)
    start = await ledger.fold_from(selection, None)
    assert list(start.page.records) == whole
    one_by_one = await ledger.read(selection, size=1)
    found = list(one_by_one.records)
    while one_by_one.cursor is not None:
        one_by_one = await ledger.read(one_by_one.selection, cursor=one_by_one.cursor, size=1)
        found += one_by_one.records
    assert found == whole
    return whole


def changed(record: StoredRecord) -> StoredRecord:
    """Returns another event under the same id."""
    history = History()
    [other] = history.add(Append((new(record.id, record.stream, data='"another"'),)))
    return other._replace(position=record.position, version=record.version, chain=record.chain)


def born_at(id: str, ms: int, stream: str = "a", *, origin: str = OTHER) -> StoredRecord:
    """Returns an event that was born in another ledger, at a time relative to noon."""
    [record] = History(origin).add(append(new(id, stream)), now_ms=NOON_MS + ms)
    return record


def born_anew(first: str, ms: int, stream: str = "a", *, origin: str = OTHER) -> StoredRecord:
    """Returns the record of an event that a copy of its ledger has stamped anew."""
    record = born_at(first, ms, stream, origin=origin)
    renamed = record._replace(id=id_anew(record, created=record.created, nonce=record.nonce))
    return renamed._replace(hash=computed_hash(renamed))


async def anew(ledger: Ledger, *firsts: str) -> list[str]:
    """Returns the ids of the newest records of events that were stamped anew."""
    page = await ledger.read(Selection(), size=10_000)
    found = {
        first_id(record): record.id for record in page.records if record.id != first_id(record)
    }
    return [found[first] for first in firsts]


class Synchronising(Contract):
    """`commit` of `Take`, `Rewind`, `Hold` and `Release`, and `upstreams`."""

    # --- what is not known yet ---

    @contract_test
    async def test_of_an_upstream_never_heard_of_nothing_is_known_and_it_has_nothing(
        self, scene: Scene
    ) -> None:
        upstreams = scene.ledger.upstreams
        assert list(await upstreams.states()) == []
        assert await upstreams.state(HUB) is None
        assert list(await upstreams.held(HUB)) == []
        empty = await offers(scene.ledger)
        assert (list(empty.records), *empty[1:]) == ([], 0, 0, True)
        placed = await place(scene.ledger, append(new("1"), new("2", "b")))
        found = await offers(scene.ledger)
        assert list(found.records) == [Unconfirmed(row, None, None) for row in placed.records]
        assert found[1:] == (2, 0, True)
        assert await upstreams.state(HUB) is None

    # --- links ---

    @contract_test
    async def test_a_piece_of_history_is_taken_in_and_the_cursor_is_behind_it(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2")
        taken = await take(scene.ledger, hub.piece(settled=0))
        assert taken.judged == (Judged("1", "accepted", 1), Judged("2", "accepted", 2))
        rows = await scene.rows()
        assert list(taken.new) == rows
        for row, given in zip(rows, hub.records, strict=True):
            assert row.flags == HYDRATED
            assert (row.id, row.hash, row.created) == (given.id, given.hash, given.created)
            assert (row.position, row.version) == (given.position, given.version)
            assert row.chain != given.chain  # of other flags
        state = await state_of(scene.ledger)
        assert state == UpstreamState(HUB, hub.epoch, (), (BEGINNING, hub.at(2)), 0)
        assert state.cursor == hub.at(2)
        assert await scene.ledger.upstreams.states() == [state]
        assert await offered(scene.ledger) == []
        assert await scene.ledger.check() == []
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_each_piece_begins_where_the_last_one_ended(self, scene: Scene) -> None:
        hub = History()
        hub.append("1", "2", "3", "4")
        await take(scene.ledger, hub.piece(0, 1))
        await take(scene.ledger, hub.piece(1, 3))
        assert (await state_of(scene.ledger)).cursor == hub.at(3)
        await take(scene.ledger, hub.piece(3))
        assert (await state_of(scene.ledger)).cursor == hub.at(4)
        assert ids_of(await scene.rows()) == ["1", "2", "3", "4"]

    @contract_test
    async def test_a_piece_without_records_makes_the_state_at_the_beginning(
        self, scene: Scene
    ) -> None:
        hub = History()
        assert await take(scene.ledger, hub.piece(settled=0)) == Taken((), ())
        state = await state_of(scene.ledger)
        assert state == UpstreamState(HUB, hub.epoch, (), (BEGINNING,), 0)
        await take(scene.ledger, hub.piece(settled=5))
        assert await state_of(scene.ledger) == replace(state, settled=5)
        assert await scene.ledger.head() == EMPTY

    @contract_test
    async def test_a_piece_that_begins_elsewhere_is_refused_and_leaves_nothing(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2", "3")
        error = await refused(scene.ledger, hub.piece(1, 2))
        assert isinstance(error, CursorMoved)
        assert (error.upstream, error.expected, error.actual) == (HUB, 1, 0)
        await take(scene.ledger, hub.piece(0, 2))
        error = await refused(scene.ledger, hub.piece(0, 3))
        assert isinstance(error, CursorMoved)
        assert (error.expected, error.actual) == (0, 2)
        parted = History()
        parted.append("x", "y", "z")
        assert isinstance(await refused(scene.ledger, parted.piece(2)), CursorMoved)
        assert isinstance(await refused(scene.ledger, hub.piece(3, 3)), CursorMoved)
        assert ids_of(await scene.rows()) == ["1", "2"]

    @contract_test
    async def test_a_refused_piece_leaves_the_other_requests_of_the_batch(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2", "3", "4")
        outcomes = await scene.ledger.commit(
            [
                append(new("own", "b")),
                hub.piece(0, 2),
                hub.piece(0, 3),
                Relate(add=(("r", "b"),)),
                hub.piece(2, 3),
                hub.piece(2, 4),
                hub.back(4, 0),
            ]
        )
        kinds = [type(outcome) for outcome in outcomes[1:]]
        assert kinds == [Taken, CursorMoved, Related, Taken, CursorMoved, CursorMoved]
        assert ids_of(await scene.rows()) == ["own", "1", "2", "3"]
        assert (await state_of(scene.ledger)).cursor == hub.at(3)
        assert await offered(scene.ledger) == ["own"]
        assert await scene.ledger.streams_of(["r"]) == ["b"]
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_each_request_of_a_batch_finds_what_those_before_it_left(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2", "3")
        hub.append("4", stream="b")
        outcomes = await scene.ledger.commit(
            [
                hub.piece(0, 3),
                hub.back(3, 1),
                Hold(HUB, (held("2"), held("4", "b"))),
                hub.piece(1, 2),
                Release(HUB, ("2", "4")),
                hub.back(2, 0),
            ]
        )
        assert [each for each in outcomes if not isinstance(each, Taken)] == [2, 2, 1, 2]
        assert await state_of(scene.ledger) == UpstreamState(HUB, hub.epoch, (), (BEGINNING,), 0)
        assert await offered(scene.ledger) == ["1", "2", "3"]
        assert list(await scene.ledger.upstreams.held(HUB)) == []

    @contract_test
    async def test_what_is_here_already_is_noted_where_the_upstream_has_it(
        self, scene: Scene
    ) -> None:
        own = (await place(scene.ledger, append(new("own"), new("other", "b")))).records
        hub = History()
        hub.append("1")
        hub.add(Take((own[0],)))
        taken = await take(scene.ledger, hub.piece())
        assert taken.judged == (Judged("1", "accepted", 3), Judged("own", "duplicate", 1))
        assert ids_of(taken.new) == ["1"]
        assert await offered(scene.ledger) == ["other"]
        assert (await scene.rows())[0] == own[0]

    @contract_test
    async def test_a_stamp_far_ahead_is_taken_in_a_piece_and_none_waits(self, scene: Scene) -> None:
        hub = History()
        hub.add(append(new("ahead")), now_ms=NOON_MS + 10**9)
        hub.append("1")
        taken = await take(scene.ledger, hub.piece())
        assert [each.verdict for each in taken.judged] == ["accepted", "accepted"]
        assert (await scene.ledger.head()).clock > hub.records[1].created

    @contract_test
    async def test_what_was_settled_never_goes_back_but_by_a_rewind(self, scene: Scene) -> None:
        hub = History()
        hub.append("1", "2", "3")
        seen: list[int] = []
        for start, settled in ((0, 5), (1, 3), (2, 6)):
            await take(scene.ledger, hub.piece(start, start + 1, settled=settled))
            seen.append((await state_of(scene.ledger)).settled)
        assert seen == [5, 5, 6]
        await keep(scene.ledger, hub.back(3, 2))
        assert (await state_of(scene.ledger)).settled == 0

    @contract_test
    async def test_the_epoch_joins_the_past_where_another_takes_its_place(
        self, scene: Scene
    ) -> None:
        hub = History(epoch="e1")
        hub.append("1", "2")
        await take(scene.ledger, hub.piece(0, 1))
        hub.epoch = "e2"
        await take(scene.ledger, hub.piece(1, 2))
        state = await state_of(scene.ledger)
        assert (state.epoch, state.past) == ("e2", ("e1",))
        await take(scene.ledger, hub.piece(2))
        assert await state_of(scene.ledger) == state
        await keep(scene.ledger, hub.back(2, 1, epoch="e3"))
        state = await state_of(scene.ledger)
        assert (state.epoch, state.past) == ("e3", ("e1", "e2"))
        for number in range(4, 80):
            await keep(scene.ledger, hub.back(1, 1, epoch=f"e{number}"))
        state = await state_of(scene.ledger)
        assert state.epoch == "e79"
        assert state.past == tuple(f"e{number}" for number in range(79 - MAX_EPOCHS, 79))

    @contract_test
    async def test_the_marks_are_thinned_and_the_last_is_the_cursor(self, scene: Scene) -> None:
        hub = History()
        hub.append(*(f"{number}" for number in range(150)))
        wanted: Sequence[Mark] = (BEGINNING,)
        pieces = [hub.piece(at, at + 1) for at in range(hub.end)]
        for at in range(0, hub.end, 25):
            await scene.ledger.commit(pieces[at : at + 25])
        for at in range(hub.end):
            wanted = thinned((*wanted, hub.at(at + 1)))
        state = await state_of(scene.ledger)
        assert state.marks == wanted
        assert len(state.marks) <= MAX_MARKS
        assert state.cursor == hub.at(150)

    @contract_test
    async def test_a_piece_of_thousands_is_one_request(self, scene: Scene) -> None:
        hub = History()
        for number in range(2_500):
            hub.append(f"{number}", stream=f"s{number % 7}")
        receipts = [f"{number}".encode() if number % 3 else None for number in range(2_500)]
        taken = await take(scene.ledger, hub.piece(receipts=receipts))
        assert [each.position for each in taken.judged] == list(range(1, 2_501))
        assert await scene.rows() == list(taken.new)
        assert await offered(scene.ledger) == []
        assert await keep(scene.ledger, hub.back(2_500, 500)) == 2_000
        found = await all_offers(scene.ledger)
        assert [(each.record.id, each.version, each.receipt) for each in found] == [
            (record.id, record.version, receipts[at + 500])
            for at, record in enumerate(hub.records[500:])
        ]
        again = await take(scene.ledger, hub.piece(500))
        assert {each.verdict for each in again.judged} == {"duplicate"}
        assert again.new == ()
        assert await offered(scene.ledger) == []
        assert await scene.ledger.check() == []

    @contract_test
    async def test_a_piece_that_has_a_record_twice_stores_it_once(self, scene: Scene) -> None:
        hub = History()
        hub.append("1", "2")
        hub.records.append(hub.records[0]._replace(position=3))  # as no hub of ours would
        taken = await take(scene.ledger, hub.piece())
        assert taken.judged == (
            Judged("1", "accepted", 1),
            Judged("2", "accepted", 2),
            Judged("1", "duplicate", 1),
        )
        assert ids_of(await scene.rows()) == ids_of(taken.new) == ["1", "2"]
        assert await offered(scene.ledger) == []
        assert await scene.ledger.check() == []

    @contract_test
    async def test_a_known_record_that_comes_twice_as_an_orphan_is_one(self, scene: Scene) -> None:
        hub = History()
        [record] = hub.append("1")
        await take(scene.ledger, Take((record,)))
        first = record._replace(flags=ORPHAN)
        hub.records[:] = [first, first._replace(position=2)]
        taken = await take(scene.ledger, hub.piece())
        assert taken == Taken((Judged("1", "duplicate", 1), Judged("1", "duplicate", 1)), ())
        assert ids_of(await scene.ledger.upstreams.orphans(after=0, size=9)) == ["1"]
        assert await scene.ledger.check() == []

    # --- what cannot be stored ---

    @contract_test
    async def test_another_event_of_the_same_id_is_set_aside_whole_and_passed(
        self, scene: Scene
    ) -> None:
        await place(scene.ledger, append(new("1"), new("2")))
        hub = History()
        hub.append("1", "3")
        hub.records[0] = theirs = changed(hub.records[0])
        taken = await take(scene.ledger, hub.piece())
        assert [each.verdict for each in taken.judged] == ["tampered", "accepted"]
        assert taken.judged[0].position is None
        [kept] = await scene.ledger.upstreams.held(HUB)
        assert (kept.id, kept.stream, kept.verdict) == ("1", "a", "tampered")
        assert kept.reason == taken.judged[0].reason != ""
        assert kept.since_ms == NOON_MS
        assert kept.record is not None
        fields = json.loads(kept.record)
        assert {
            name: bytes.fromhex(value) if name in ("nonce", "hash", "chain") else value
            for name, value in fields.items()
        } == theirs._asdict()
        assert (await state_of(scene.ledger)).cursor == hub.at(2)
        # It alone is not offered, and no longer is anything in its stream held up by it.
        assert await offered(scene.ledger) == ["2"]
        assert (await offers(scene.ledger)).settled == 0
        assert [row.data for row in await scene.rows()] == ["1", "1", "1"]

    # --- rewinds ---

    @contract_test
    async def test_a_rewind_offers_again_what_stood_above_and_versions_and_receipts_stay(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2")
        hub.append("3", stream="b")
        hub.append("4", "5")
        receipts = [b"one", b"two", b"", None, b"\x00\xff"]
        await take(scene.ledger, hub.piece(0, 4, receipts=receipts[:4]))
        await take(scene.ledger, hub.piece(4, receipts=receipts[4:]))
        before = await scene.rows()
        assert await keep(scene.ledger, hub.back(5, 1)) == 4
        found = await all_offers(scene.ledger)
        assert [each.record for each in found] == before[1:]
        assert [each.version for each in found] == [2, 1, 3, 4]
        assert [each.receipt for each in found] == receipts[1:]
        state = await state_of(scene.ledger)
        assert state == UpstreamState(HUB, hub.epoch, (), (BEGINNING, hub.at(1)), 0)
        assert await scene.rows() == before

    @contract_test
    async def test_a_record_that_stands_elsewhere_now_is_noted_there(self, scene: Scene) -> None:
        hub = History()
        hub.append("1", "2", "3")
        await take(scene.ledger, hub.piece(receipts=[b"1", b"2", b"3"]))
        await keep(scene.ledger, hub.back(3, 0, epoch="next"))
        again = History(epoch="next")
        again.append("new")
        again.add(Take(tuple(reversed(hub.records[1:]))))
        await take(scene.ledger, again.piece(receipts=[None, b"c", b"b"]))
        [left] = await all_offers(scene.ledger)
        assert (left.record.id, left.version, left.receipt) == ("1", 1, b"1")
        assert await keep(scene.ledger, again.back(3, 2)) == 1
        found = [
            (each.record.id, each.version, each.receipt) for each in await all_offers(scene.ledger)
        ]
        assert found == [("1", 1, b"1"), ("2", 3, b"b")]
        assert await keep(scene.ledger, again.back(2, 0)) == 2

    @contract_test
    async def test_a_rewind_forgets_the_marks_above_and_goes_to_none_that_must_be_known(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2", "3", "4")
        for at in range(4):
            await take(scene.ledger, hub.piece(at, at + 1))
        await keep(scene.ledger, hub.back(4, 3))
        assert (await state_of(scene.ledger)).marks[-1] == hub.at(3)
        await keep(scene.ledger, hub.back(3, 3))
        marks = (await state_of(scene.ledger)).marks
        assert list(marks) == sorted(set(marks))
        await keep(scene.ledger, hub.back(3, 0))
        assert (await state_of(scene.ledger)).marks == (BEGINNING,)
        assert await offered(scene.ledger) == ["1", "2", "3", "4"]

    @contract_test
    async def test_a_rewind_from_elsewhere_is_refused_and_leaves_nothing(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2", "3")
        assert isinstance(await refused(scene.ledger, hub.back(2, 1)), CursorMoved)
        await take(scene.ledger, hub.piece(0, 2, settled=4))
        error = await refused(scene.ledger, hub.back(3, 1))
        assert isinstance(error, CursorMoved)
        assert (error.upstream, error.expected, error.actual) == (HUB, 3, 2)
        parted = History()
        parted.append("x", "y")
        assert isinstance(await refused(scene.ledger, parted.back(2, 0)), CursorMoved)

    @contract_test
    async def test_the_first_rewind_makes_the_state_at_the_beginning(self, scene: Scene) -> None:
        assert await keep(scene.ledger, Rewind(HUB, "e", BEGINNING, BEGINNING)) == 0
        assert await state_of(scene.ledger) == UpstreamState(HUB, "e", (), (BEGINNING,), 0)

    # --- what is set aside ---

    @contract_test
    async def test_what_is_held_is_left_out_with_all_of_its_stream(self, scene: Scene) -> None:
        await place(
            scene.ledger, append(new("1"), new("2"), new("3", "b"), new("4"), new("5", "c"))
        )
        await take(scene.ledger, History().piece())
        assert await keep(scene.ledger, Hold(HUB, (held("2"),))) == 1
        assert await offered(scene.ledger) == ["3", "5"]
        assert await keep(scene.ledger, Hold(HUB, (held("5", "c", record="{}"),))) == 1
        assert await offered(scene.ledger) == ["3"]
        await place(scene.ledger, append(new("6"), new("7", "c")))
        assert await offered(scene.ledger) == ["3", "7"]

    @contract_test
    async def test_held_keeps_all_that_was_said_oldest_first(self, scene: Scene) -> None:
        await take(scene.ledger, History().piece())
        each = [
            held("z", since_ms=5, reason='na\u00efve "quoted"\nline\t\\ \U0001f600'),
            held("b", "\u00fc", since_ms=7, verdict="clock_ahead", record='{"a": "\\u0000"}'),
            held("B", since_ms=7, verdict="tampered", reason=""),
            held("a", since_ms=2**41),
        ]
        assert await keep(scene.ledger, Hold(HUB, tuple(reversed(each)))) == 4
        [z, b, other, a] = each
        assert await scene.ledger.upstreams.held(HUB) == [z, other, b, a]

    @contract_test
    async def test_a_hold_keeps_the_time_of_what_is_held_already(self, scene: Scene) -> None:
        await take(scene.ledger, History().piece())
        await keep(scene.ledger, Hold(HUB, (held("1", since_ms=5),)))
        again = Hold(HUB, (held("1", since_ms=9), held("2", since_ms=9), held("2", since_ms=11)))
        assert await keep(scene.ledger, again) == 1
        found = await scene.ledger.upstreams.held(HUB)
        assert [(each.id, each.since_ms) for each in found] == [("1", 5), ("2", 9)]
        assert await keep(scene.ledger, Hold(HUB, ())) == 0

    @contract_test
    async def test_what_is_released_is_offered_again(self, scene: Scene) -> None:
        await place(scene.ledger, append(*(new(f"{n}", f"s{n}") for n in range(5))))
        await take(scene.ledger, History().piece())
        await keep(scene.ledger, Hold(HUB, tuple(held(f"{n}", f"s{n}") for n in range(4))))
        assert await offered(scene.ledger) == ["4"]
        assert await keep(scene.ledger, Release(HUB, ("1", "nobody", "4", "1"))) == 1
        assert await offered(scene.ledger) == ["1", "4"]
        assert await keep(scene.ledger, Release(HUB, ())) == 0
        assert await keep(scene.ledger, Release(HUB)) == 3
        assert await offered(scene.ledger) == ["0", "1", "2", "3", "4"]
        assert await keep(scene.ledger, Release(HUB)) == 0

    @contract_test
    async def test_a_held_record_that_turns_up_in_a_piece_is_released(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(new("1"), new("2"), new("3")))
        hub = History()
        hub.add(Take(placed.records[:1]))
        await take(scene.ledger, hub.piece(0, 0))
        await keep(scene.ledger, Hold(HUB, (held("1"), held("3"))))
        await take(scene.ledger, hub.piece(0))
        assert [each.id for each in await scene.ledger.upstreams.held(HUB)] == ["3"]
        await keep(scene.ledger, Release(HUB))
        assert await offered(scene.ledger) == ["2", "3"]

    @contract_test
    async def test_a_hold_or_release_of_an_upstream_never_heard_of_is_refused(
        self, scene: Scene
    ) -> None:
        requests: list[Keeping] = [Hold(HUB, (held("1"),)), Release(HUB), Release(HUB, ("1",))]
        for request in requests:
            assert isinstance(await refused(scene.ledger, request), InvalidInput)
        outcomes = await scene.ledger.commit([requests[0], append(new("1")), requests[1]])
        assert isinstance(outcomes[0], InvalidInput)
        assert isinstance(outcomes[2], InvalidInput)
        assert ids_of(await scene.rows()) == ["1"]
        assert await scene.ledger.upstreams.state(HUB) is None

    @contract_test
    async def test_a_rewind_leaves_what_is_held(self, scene: Scene) -> None:
        hub = History()
        hub.append("1", "2")
        await take(scene.ledger, hub.piece())
        await keep(scene.ledger, Hold(HUB, (held("own", "b"),)))
        await keep(scene.ledger, hub.back(2, 0))
        assert [each.id for each in await scene.ledger.upstreams.held(HUB)] == ["own"]

    # --- pages ---

    @pytest.mark.parametrize("size", [1, 2, 7, 500], ids=str)
    @contract_test
    async def test_pages_together_are_all_that_is_unconfirmed(
        self, scene: Scene, size: int
    ) -> None:
        hub = History()
        ids = [f"{number}" for number in range(40)]
        placed = await place(scene.ledger, append(*(new(id, f"s{id[-1]}") for id in ids)))
        hub.add(Take(tuple(row for row in placed.records if row.position % 3 == 0)))
        await take(scene.ledger, hub.piece())
        await keep(scene.ledger, Hold(HUB, (held("4", "s4"), held("9", "s9", record="{}"))))
        wanted = [
            row.id
            for row in placed.records
            if row.position % 3 and row.stream != "s4" and row.id != "9"
        ]
        found: list[str] = []
        after = 0
        while True:
            page = await offers(scene.ledger, after=after, size=size)
            rows = [each.record for each in page.records]
            assert len(rows) <= size
            assert all(after < row.position <= page.until for row in rows)
            found += ids_of(rows)
            if page.ended:
                break
            assert page.until > after
            after = page.until
        assert found == wanted
        assert page.until == 40
        after_the_end = await offers(scene.ledger, after=40, size=size)
        assert (list(after_the_end.records), *after_the_end[1:]) == ([], 40, 40, True)

    @contract_test
    async def test_a_page_says_up_to_where_nothing_is_unconfirmed(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(*(new(f"{n}", f"s{n}") for n in range(1, 9))))
        hub = History()
        hub.add(Take(tuple(placed.records[at - 1] for at in (1, 2, 3, 6, 7, 8))))
        await take(scene.ledger, hub.piece())
        assert (await offers(scene.ledger)).settled == 3
        assert (await offers(scene.ledger, size=1)).settled == 3
        assert (await offers(scene.ledger, after=2)).settled == 3
        assert (await offers(scene.ledger, after=4)).settled == 4
        assert (await offers(scene.ledger, after=5)).settled == 8
        # What is left out is unconfirmed all the same.
        await keep(scene.ledger, Hold(HUB, (held("4", "s4"),)))
        found = await offers(scene.ledger)
        assert (found.settled, [each.record.id for each in found.records]) == (3, ["5"])
        await keep(scene.ledger, Hold(HUB, (held("5", "s5", record="{}"),)))
        found = await offers(scene.ledger)
        assert (list(found.records), *found[1:]) == ([], 8, 3, True)

    @contract_test
    async def test_a_page_is_cut_by_bytes_but_for_a_single_record(self, scene: Scene) -> None:
        sizes = [1_500_000, 1_500_000, 1_500_000, 5_000_000, 10, 10]
        events = [new(f"{n}", data=f'"{"x" * size}"') for n, size in enumerate(sizes)]
        for event in events:
            await place(scene.ledger, Append((event,)))
        pages: list[list[str]] = []
        after = 0
        while True:
            page = await offers(scene.ledger, after=after, size=100)
            pages.append([each.record.id for each in page.records])
            if page.ended:
                break
            after = page.until
        assert pages == [["0", "1"], ["2"], ["3"], ["4", "5"]]

    @contract_test
    async def test_what_is_left_out_takes_no_room_of_a_page(self, scene: Scene) -> None:
        large = f'"{"x" * 3_000_000}"'
        for id, stream, data in (
            ("1", "a", large),
            ("2", "b", "1"),
            ("3", "a", large),
            ("4", "c", large),
        ):
            await place(scene.ledger, Append((new(id, stream, data=data),)))
        await take(scene.ledger, History().piece())
        await keep(scene.ledger, Hold(HUB, (held("1"),)))
        found = await offers(scene.ledger, size=2)
        assert ([each.record.id for each in found.records], found.ended) == (["2", "4"], True)

    # --- several ---

    @contract_test
    async def test_several_upstreams_are_kept_side_by_side(self, scene: Scene) -> None:
        hubs = [History(name) for name in ("b", "B", "a", "\u00e9", "10", "9")]
        for hub in hubs:
            hub.append(f"of {hub.upstream}", stream=hub.upstream)
            await take(scene.ledger, hub.piece())
        states = await scene.ledger.upstreams.states()
        assert [state.upstream for state in states] == sorted(hub.upstream for hub in hubs)
        for hub in hubs:
            others = [f"of {each.upstream}" for each in hubs if each is not hub]
            assert await offered(scene.ledger, hub.upstream) == others
        [one, two, *_] = hubs
        await keep(scene.ledger, Hold("b", (held("of B", "B"),)))
        assert "of B" not in await offered(scene.ledger, "b")
        assert "of B" in await offered(scene.ledger, "a")
        await keep(scene.ledger, one.back(1, 0))
        assert await offered(scene.ledger, "B") == ["of b", "of a", "of \u00e9", "of 10", "of 9"]
        assert "of b" in await offered(scene.ledger, "b")
        await scene.ledger.commit([Release("b"), two.back(1, 0)])
        assert len(await offered(scene.ledger, "B")) == 6
        assert len(await offered(scene.ledger, "b")) == 6

    # --- strict streams and orphans ---

    @contract_test
    async def test_which_streams_are_strict_is_what_the_upstream_said_last(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2")
        await take(scene.ledger, hub.piece(0, 1, strict=("order-", 'b"\u00fc')))
        assert (await state_of(scene.ledger)).strict == ("order-", 'b"\u00fc')
        await keep(scene.ledger, hub.back(1, 1))
        assert (await state_of(scene.ledger)).strict == ("order-", 'b"\u00fc')
        await take(scene.ledger, hub.piece(1))
        assert (await state_of(scene.ledger)).strict == ()

    @contract_test
    async def test_an_orphan_of_the_upstream_is_kept_here_and_no_fold_has_it(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2", "3", "4")
        hub.records[1] = hub.records[1]._replace(flags=HYDRATED | ORPHAN)
        taken = await take(scene.ledger, hub.piece())
        assert [row.flags & ORPHAN for row in taken.new] == [0, ORPHAN, 0, 0]
        assert [row.version for row in taken.new] == [1, 1, 2, 3]
        assert ids_of(await scene.rows()) == ["1", "2", "3", "4"]
        assert ids_of(await folded_rows(scene.ledger)) == ["1", "3", "4"]
        assert ids_of(await folded(scene.ledger, "a")) == ["1", "3", "4"]
        assert await orphans(scene.ledger) == ["2"]
        assert (await place(scene.ledger, append(new("5", expect=3)))).new[0].version == 4
        assert await scene.ledger.check() == []
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_what_came_late_and_is_an_orphan_is_in_no_fold_either(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("own"), new("other", "b")))
        hub = History()
        hub.add(append(new("1")), now_ms=NOON_MS - 5)
        hub.add(append(new("2")), now_ms=NOON_MS - 4)
        hub.records[0] = hub.records[0]._replace(flags=HYDRATED | ORPHAN)
        await take(scene.ledger, hub.piece())
        assert ids_of(await folded_rows(scene.ledger)) == ["2", "own", "other"]
        assert ids_of(await folded(scene.ledger, "a")) == ["2", "own"]
        assert ids_of(await folded(scene.ledger, "a", "b")) == ["2", "own", "other"]
        assert await scene.ledger.check() == []
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_an_event_becomes_an_orphan_where_the_upstream_has_it_so_and_ceases_to_be_one(
        self, scene: Scene
    ) -> None:
        placed = await place(scene.ledger, append(new("1"), new("2"), new("3", "b"), new("4")))
        hub = History()
        hub.add(Take(placed.records[:3]))
        hub.records[1] = hub.records[1]._replace(flags=HYDRATED | ORPHAN)
        await scene.ledger.commit(
            [PutSnapshot(snapshot(at, key=replace(KEY, reducer=f"{at}"))) for at in (1, 2, 3)]
        )
        await take(scene.ledger, hub.piece())
        assert await orphans(scene.ledger) == ["2"]
        assert ids_of(await folded(scene.ledger, "a")) == ["1", "4"]
        assert await scene.rows() == list(placed.records)
        left = [
            at
            for at in (1, 2, 3)
            if await scene.ledger.find_snapshot(replace(KEY, reducer=f"{at}"))
        ]
        assert left == [1]
        # As it was in the last piece that had it.
        await keep(scene.ledger, hub.back(3, 0, epoch="next"))
        assert await orphans(scene.ledger) == ["2"]
        again = History(epoch="next")
        again.add(Take(placed.records))
        await scene.ledger.commit([PutSnapshot(snapshot(4))])
        await take(scene.ledger, again.piece())
        assert await orphans(scene.ledger) == []
        assert ids_of(await folded(scene.ledger, "a")) == ["1", "2", "4"]
        assert await scene.ledger.find_snapshot(KEY) is None

    @contract_test
    async def test_a_piece_that_changes_no_orphan_leaves_snapshots(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(new("1"), new("2")))
        await scene.ledger.commit([PutSnapshot(snapshot(2))])
        hub = History()
        hub.add(Take(placed.records))
        hub.append("3", stream="b")
        hub.records[2] = hub.records[2]._replace(flags=HYDRATED | ORPHAN)
        await take(scene.ledger, hub.piece())
        assert await scene.ledger.find_snapshot(KEY) == snapshot(2)
        assert await orphans(scene.ledger) == ["3"]

    @contract_test
    async def test_of_two_upstreams_in_a_batch_the_last_says_what_is_an_orphan(
        self, scene: Scene
    ) -> None:
        one, two = History(), History(OTHER)
        one.append("1", "2", "3")
        one.records[0] = one.records[0]._replace(flags=HYDRATED | ORPHAN)
        two.add(Take(tuple(one.records)))
        two.records[1] = two.records[1]._replace(flags=HYDRATED | ORPHAN)
        await scene.ledger.commit([one.piece(), two.piece()])
        assert await orphans(scene.ledger) == ["2"]
        assert ids_of(await folded_rows(scene.ledger)) == ["1", "3"]

    @contract_test
    async def test_orphans_come_by_position_and_by_pages(self, scene: Scene) -> None:
        hub = History()
        hub.append(*(f"{number}" for number in range(9)))
        for at in (0, 3, 4, 8):
            hub.records[at] = hub.records[at]._replace(flags=HYDRATED | ORPHAN)
        await take(scene.ledger, hub.piece())
        rows = await scene.rows()
        find = scene.ledger.upstreams.orphans
        assert list(await find(after=0, size=10)) == [rows[0], rows[3], rows[4], rows[8]]
        assert list(await find(after=1, size=2)) == [rows[3], rows[4]]
        assert list(await find(after=5, size=2)) == [rows[8]]
        assert list(await find(after=9, size=2)) == []
        assert list(await find(after=0, size=0)) == []

    @contract_test
    async def test_of_strict_streams_a_ledger_takes_back_what_it_has_had_in_its_place(
        self, scene: Scene
    ) -> None:
        await place(scene.ledger, append(new("1", "order-1")))
        records = (
            born_at("2", 1, "order-1"),
            born_at("late", 2, "order-1"),
            born_at("never had", 3, "order-2"),
            born_at("behind", 4, "order-2"),
            born_at("merge", 5, "note"),
            born_at("no version", 6, "order-3"),
        )
        taken = await take(
            scene.ledger,
            Take(
                records,
                vouched=frozenset(["2", "late", "no version"]),
                strict=("order-", "bill-"),
                versions=(2, 2, 1, 2, None, None),
            ),
        )
        assert [each.verdict for each in taken.judged] == [
            "accepted",
            "accepted",
            "rejected",
            "waiting",
            "accepted",
            "accepted",
        ]
        assert [(row.id, row.version, row.flags & ORPHAN) for row in taken.new] == [
            ("2", 2, 0),
            ("late", 2, ORPHAN),
            ("merge", 1, 0),
            ("no version", 0, ORPHAN),
        ]
        assert await orphans(scene.ledger) == ["late", "no version"]
        assert ids_of(await folded_rows(scene.ledger)) == ["1", "2", "merge"]
        assert await scene.ledger.check() == []
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_who_has_read_all_that_is_here_is_told_the_version_that_it_has_there(
        self, scene: Scene
    ) -> None:
        own = (await place(scene.ledger, append(new("own"), new("b", "b")))).records
        hub = History()
        hub.append("1")
        hub.add(
            Take(
                (born_at("2", 0),),
                vouched=frozenset(["2"]),
                strict=("a",),
                versions=[None],
            )
        )
        hub.append("3")
        hub.add(Take(own[:1]))
        assert [(row.id, row.version) for row in hub.records] == [
            ("1", 1),
            ("2", 1),
            ("3", 2),
            ("own", 3),
        ]
        await take(scene.ledger, hub.piece())
        rows = await scene.rows()
        assert [(row.id, row.version) for row in rows if row.stream == "a"] == [
            ("own", 1),
            ("1", 2),
            ("2", 2),
            ("3", 3),
        ]
        version = scene.ledger.upstreams.version
        # What is last there came first here.
        assert [await version(HUB, "a", each) for each in range(5)] == [None, None, None, 3, None]
        assert await version(HUB, "b", 1) is None
        assert await version(HUB, "nobody", 1) is None
        assert await version(OTHER, "a", 1) is None
        # Whether the upstream has what it had is not known; then, that it has it as an orphan.
        await keep(scene.ledger, hub.back(4, 3))
        assert [await version(HUB, "a", each) for each in range(5)] == [None] * 5
        hub.records[3] = hub.records[3]._replace(version=2, flags=HYDRATED | ORPHAN)
        await take(scene.ledger, hub.piece(3))
        assert [await version(HUB, "a", each) for each in range(5)] == [None, None, None, 2, None]
        # One that came last and stands nowhere there is not what is last there.
        hub.append("4")
        await take(scene.ledger, hub.piece(4))
        assert await version(HUB, "a", 4) == 3
        await keep(scene.ledger, hub.back(5, 4))
        assert [await version(HUB, "a", each) for each in range(5)] == [None, None, None, 2, None]

    # --- scopes ---

    @contract_test
    async def test_a_copy_is_of_one_scope_and_another_one_begins_anew(self, scene: Scene) -> None:
        hub = History()
        hub.append("1", "2", "3")
        await take(scene.ledger, hub.piece(0, 1, scope="s"))
        assert (await state_of(scene.ledger)).scope == "s"
        assert isinstance(await refused(scene.ledger, hub.piece(1, 2)), CursorMoved)
        await take(scene.ledger, hub.piece(1, 2, scope="s"))
        before = await state_of(scene.ledger)
        error = await refused(scene.ledger, hub.back(2, 0, scope="another"))
        assert isinstance(error, CursorMoved)
        assert await state_of(scene.ledger) == before
        await keep(scene.ledger, hub.back(2, 0, scope="s"))
        await take(scene.ledger, hub.piece(0, 3, scope='a "\u00fc"'))
        assert (await state_of(scene.ledger)).scope == 'a "\u00fc"'

    @contract_test
    async def test_what_the_upstream_has_and_does_not_give_is_noted(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("1"), new("2"), new("3")))
        hub = History()
        hub.append("theirs", "more", stream="b")
        note = Note(HUB, hub.at(2), (("1", 1), ("3", 2)))
        assert isinstance(await refused(scene.ledger, note), CursorMoved)
        await take(scene.ledger, hub.piece(0, 1))
        error = await refused(scene.ledger, note)
        assert isinstance(error, CursorMoved)
        assert (error.expected, error.actual) == (2, 1)
        await take(scene.ledger, hub.piece(1))
        assert await keep(scene.ledger, note) == 2
        assert await offered(scene.ledger) == ["2"]
        assert await keep(scene.ledger, Note(HUB, hub.at(2), ())) == 0
        assert await scene.ledger.upstreams.version(HUB, "a", 3) is None
        await keep(scene.ledger, hub.back(2, 1))
        assert await offered(scene.ledger) == ["2", "3", "more"]

    @contract_test
    async def test_what_is_noted_keeps_the_receipt_that_was_given_with_it_once(
        self, scene: Scene
    ) -> None:
        hub = History()
        hub.append("1", "2")
        await take(scene.ledger, hub.piece(receipts=(b"r" * 32, None)))
        await keep(scene.ledger, hub.back(2, 0))
        await take(scene.ledger, Take((), link=hub.piece(0, 2).link))
        assert await keep(scene.ledger, Note(HUB, hub.at(2), (("1", 1), ("2", 2)))) == 2
        await keep(scene.ledger, hub.back(2, 0))
        found = [(each.record.id, each.receipt) for each in await all_offers(scene.ledger)]
        assert found == [("1", b"r" * 32), ("2", None)]

    @contract_test
    async def test_the_revision_of_a_relation_is_that_of_its_folds(self, scene: Scene) -> None:
        revision = scene.ledger.upstreams.revision
        assert await revision("r") == 0
        await scene.ledger.commit([Relate(add=(("r", "a"),))])
        one = await revision("r")
        selection = Selection(relation="r", order=Order.CREATED)
        assert one == (await scene.ledger.fold_from(selection, None)).revision > 0
        await scene.ledger.commit([Relate(remove=(("r", "a"),))])
        assert await revision("r") > one
        assert await revision("nobody") == 0

    # --- without a link ---

    @contract_test
    async def test_without_a_link_each_record_is_judged_alone_and_no_account_is_kept(
        self, scene: Scene
    ) -> None:
        own = (await place(scene.ledger, append(new("own", "o"), new("known", "k")))).records
        request = Take(
            (
                born_at("ok", 0),
                born_at("ahead", 60_001),
                born_at("behind it", 0),
                own[0],
                changed(own[1]),
                born_at("behind that", 0, "k"),
                born_at("vouched", 90_000, "v"),
                born_at("near", 59_000, "n"),
                born_at("ok", 0),
            ),
            max_offset_ms=60_000,
            vouched=frozenset(["vouched"]),
        )
        taken = await take(scene.ledger, request)
        assert [(each.id, each.verdict, each.position) for each in taken.judged] == [
            ("ok", "accepted", 3),
            ("ahead", "clock_ahead", None),
            ("behind it", "waiting", None),
            ("own", "duplicate", 1),
            ("known", "tampered", None),
            ("behind that", "waiting", None),
            ("vouched", "accepted", 4),
            ("near", "accepted", 5),
            ("ok", "waiting", None),
        ]
        assert all((each.reason == "") == (each.position is not None) for each in taken.judged)
        assert ids_of(taken.new) == ["ok", "vouched", "near"]
        assert (await scene.rows())[2:] == list(taken.new)
        assert await scene.ledger.upstreams.states() == []
        assert (await scene.store.verify()).ok

    @contract_test
    async def test_without_a_bound_any_stamp_is_taken(self, scene: Scene) -> None:
        taken = await take(scene.ledger, Take((born_at("1", 10**9),), max_offset_ms=None))
        assert taken.judged == (Judged("1", "accepted", 1),)

    @contract_test
    async def test_a_record_that_comes_twice_is_stored_once(self, scene: Scene) -> None:
        record = born_at("1", 0)
        taken = await take(scene.ledger, Take((record, record)))
        assert taken.judged == (Judged("1", "accepted", 1), Judged("1", "duplicate", 1))
        assert len(await scene.rows()) == 1
        again = await take(scene.ledger, Take((record,)))
        assert again == Taken((Judged("1", "duplicate", 1),), ())

    @contract_test
    async def test_what_comes_late_is_marked_and_moves_the_clock(self, scene: Scene) -> None:
        await place(scene.ledger, append(new("own")))
        old, next_ = born_at("old", -5), born_at("next", 500, "b")
        taken = await take(scene.ledger, Take((old, next_)))
        assert [row.flags for row in taken.new] == [HYDRATED | OUTDATED, HYDRATED]
        assert (await scene.ledger.head()).clock > next_.created
        assert await scene.ledger.check() == []
        born = await place(scene.ledger, append(new("after")))
        assert born.new[0].created > next_.created

    @contract_test
    async def test_an_event_of_ones_own_that_was_forgotten_comes_back_as_such(
        self, scene: Scene
    ) -> None:
        mine = scene.ledger.identity.ledger
        hub = History()
        hub.append("theirs")
        hub.add(Take((born_at("forgotten", 1, origin=mine),)))
        taken = await take(scene.ledger, hub.piece())
        assert [row.flags for row in taken.new] == [HYDRATED, HYDRATED | RETURNED]
        other = await take(scene.ledger, Take((born_at("another", 0, "b", origin=mine),)))
        assert [row.flags for row in other.new] == [HYDRATED | RETURNED]
        again = await take(scene.ledger, Take((born_at("old", -9, origin=mine),)))
        assert [row.flags for row in again.new] == [HYDRATED | RETURNED | OUTDATED]
        assert (await scene.store.verify()).ok
        assert all(record.hydrated for record in await scene.store.read().to_list())

    # --- what was stamped by a clock that ran ahead ---

    @contract_test
    async def test_what_is_stamped_anew_gets_another_record_in_its_place(
        self, scene: Scene
    ) -> None:
        before = (await place(scene.ledger, append(new("1"), new("2", "b")))).records
        scene.clock.advance(seconds=3600)
        ahead = (
            await place(
                scene.ledger,
                append(
                    new("3"),
                    new("4", "b")._replace(correlation="3", causation="3"),
                    new("5")._replace(correlation="1", causation="2"),
                ),
            )
        ).records
        scene.clock.set(NOON_MS)
        for at in (2, 3, 5):
            await scene.ledger.commit(
                [PutSnapshot(snapshot(at, key=replace(KEY, reducer=f"{at}")))]
            )
        assert await restamp(scene.ledger, "5", "3", "4") == 3
        rows = await scene.rows()
        assert rows[:5] == [*before, *ahead]
        three, four, five = rows[5:]
        assert [first_id(row) for row in rows[5:]] == ["3", "4", "5"]
        assert not {row.id for row in rows[5:]} & {"3", "4", "5"}
        assert [(row.stream, row.version, row.flags) for row in rows[5:]] == [
            ("a", 4, RESTAMPED),
            ("b", 3, RESTAMPED),
            ("a", 5, RESTAMPED),
        ]
        assert (three.correlation, three.causation) == (three.id, None)
        assert (four.correlation, four.causation) == (three.id, three.id)
        assert (five.correlation, five.causation) == ("1", "2")
        for old, row in zip(ahead, rows[5:], strict=True):
            assert (row.data, row.meta, row.type) == (old.data, old.meta, old.type)
            assert before[-1].created < row.created < ahead[0].created
            assert row.nonce != old.nonce
        assert three.created < four.created < five.created
        head = await scene.ledger.head()
        assert (head.position, head.chain, head.clock) == (8, five.chain, five.created)
        assert ids_of(await folded_rows(scene.ledger)) == ["1", "2", three.id, four.id, five.id]
        assert ids_of(await folded(scene.ledger, "a")) == ["1", three.id, five.id]
        assert await offered(scene.ledger) == ["1", "2", three.id, four.id, five.id]
        assert await orphans(scene.ledger) == []
        left = [
            at
            for at in (2, 3, 5)
            if await scene.ledger.find_snapshot(replace(KEY, reducer=f"{at}"))
        ]
        assert left == [2]
        await scene.ledger.commit([DropSnapshots(KEY.scope)])
        assert await scene.ledger.check() == []
        assert (await scene.store.verify()).ok
        after = (await place(scene.ledger, append(new("6")))).new[0]
        assert five.created < after.created < ahead[0].created

    @contract_test
    async def test_what_was_replaced_is_not_offered_and_holds_up_nothing(
        self, scene: Scene
    ) -> None:
        await place(scene.ledger, append(new("1")))
        assert await restamp(scene.ledger, "1") == 1
        found = await offers(scene.ledger)
        assert [each.record.id for each in found.records] == await anew(scene.ledger, "1")
        assert (found.until, found.settled, found.ended) == (2, 1, True)
        hub = History()
        hub.add(Take((found.records[0].record,)))
        await take(scene.ledger, hub.piece())
        assert (await offers(scene.ledger)).settled == 2
        assert await scene.ledger.upstreams.version(HUB, "a", 1) is None
        assert await scene.ledger.upstreams.version(HUB, "a", 2) == 1

    @contract_test
    async def test_only_what_was_born_here_and_nobody_can_have_is_stamped_anew(
        self, scene: Scene
    ) -> None:
        placed = await place(scene.ledger, append(*(new(f"{n}") for n in range(3))))
        scene.clock.set(NOON_MS + 9)
        await place(scene.ledger, append(new("3")))
        hub = History()
        hub.append("theirs")
        hub.add(Take(placed.records[:1]))
        await take(scene.ledger, hub.piece())
        await keep(scene.ledger, hub.back(2, 0))  # it had it once
        assert await restamp(scene.ledger, "3") == 1
        for wrong in ("nobody", "theirs", "0", "3"):
            error = await refused(scene.ledger, Restamp(("2", wrong), NOON_MS))
            assert isinstance(error, InvalidInput)
            assert wrong in str(error)
        outcomes = await scene.ledger.commit([append(new("x")), Restamp(("2",), NOON_MS)])
        assert isinstance(outcomes[1], InvalidInput)
        assert ids_of(await scene.rows())[-1] == "x"
        assert await restamp(scene.ledger) == 0

    @contract_test
    async def test_what_was_replaced_stays_so_whatever_an_upstream_has(self, scene: Scene) -> None:
        placed = await place(scene.ledger, append(new("1"), new("2")))
        await restamp(scene.ledger, "1", "2")
        hub = History()
        hub.add(Take(placed.records))
        hub.records[1] = hub.records[1]._replace(flags=HYDRATED | ORPHAN)
        await take(scene.ledger, hub.piece())
        assert ids_of(await folded_rows(scene.ledger)) == await anew(scene.ledger, "1", "2")
        assert await orphans(scene.ledger) == []

    # --- epochs ---

    @contract_test
    async def test_another_epoch_is_later_and_stays(self, scene: Scene) -> None:
        before = scene.ledger.identity
        other = await scene.open_ledger() if scene.capabilities.shared else None
        outcomes = await scene.ledger.commit([append(new("1")), BeginEpoch(), append(new("2"))])
        epoch = scene.ledger.identity.epoch
        assert outcomes[1] == epoch
        assert scene.ledger.identity == replace(before, epoch=epoch)
        assert before.epoch != epoch
        assert not is_older(epoch, than=before.epoch)
        scene.clock.set(NOON_MS - 60_000)  # a clock that is behind begins no earlier one
        [again] = await scene.ledger.commit([BeginEpoch()])
        assert isinstance(again, str)
        assert is_older(epoch, than=again)
        assert not is_older(again, than=epoch)
        await place(scene.ledger, append(new("3")))
        assert ids_of(await scene.rows()) == ["1", "2", "3"]
        if other is not None:
            # It is refused, or it is another life's: nobody takes it for what goes on.
            with suppress(StorageFailed):
                await other.commit([append(new("4"))])
            assert other.identity.epoch == before.epoch
        await scene.reopen()
        if scene.capabilities.durable:
            assert scene.ledger.identity.epoch == again

    # --- chains ---

    @contract_test
    async def test_chains_are_those_of_this_ledger_and_none_where_no_record_is(
        self, scene: Scene
    ) -> None:
        chains = scene.ledger.upstreams.chains
        assert list(await chains([])) == []
        assert list(await chains([0, 1])) == [GENESIS, None]
        placed = await place(scene.ledger, append(*(new(f"{n}") for n in range(5))))
        rows = placed.records
        asked = [5, 0, 3, 6, 3, 2**63, -1, 10**30, 1]
        assert list(await chains(asked)) == [
            rows[4].chain,
            GENESIS,
            rows[2].chain,
            None,
            rows[2].chain,
            None,
            None,
            None,
            rows[0].chain,
        ]

    # --- what stays ---

    @contract_test
    async def test_what_is_known_stays_where_the_ledger_is_durable(self, scene: Scene) -> None:
        hub = History()
        hub.append("1", "2", "3")
        await place(scene.ledger, append(new("own", "b")))
        await take(scene.ledger, hub.piece(0, 2, receipts=[b"x", None], settled=0))
        await take(scene.ledger, hub.piece(2, receipts=[b"z"]))
        await keep(scene.ledger, hub.back(3, 1, epoch="next"))
        await keep(scene.ledger, Hold(HUB, (held("own", "b"),)))
        before = await everything(scene.ledger)
        found = await all_offers(scene.ledger)
        assert [(each.record.id, each.version, each.receipt) for each in found] == [
            ("2", 2, None),
            ("3", 3, b"z"),
        ]
        await scene.reopen()
        if scene.capabilities.durable:
            assert await everything(scene.ledger) == before
        else:
            assert await scene.ledger.upstreams.states() == []

    @contract_test
    async def test_the_port_of_the_store_tells_of_upstreams(self, scene: Scene) -> None:
        hub = History()
        hub.append("1")
        await scene.store.ledger.commit([hub.piece(receipts=[b"r"]), append(new("own", "b"))])
        upstreams = scene.store.ledger.upstreams
        state = await upstreams.state(HUB)
        assert state is not None
        assert state.cursor == hub.at(1)
        assert await upstreams.states() == [state]
        found = await upstreams.unconfirmed(HUB, after=0, size=5)
        assert [each.record.id for each in found.records] == ["own"]
        assert list(await upstreams.held(HUB)) == []
        assert list(await upstreams.chains([0])) == [GENESIS]
