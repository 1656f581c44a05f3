"""Importing: records from elsewhere, as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from everlog.core.record import Record, StoredRecord, computed_hash
from everlog.core.sequencer import LAST_STAMP, MAX_BATCH_EVENTS
from everlog.errors import (
    IdConflict,
    InvalidInput,
    InvalidName,
    NaiveDatetime,
    TamperedRecord,
    TooLarge,
    UnknownEvent,
)
from everlog.store.writing import Imported
from everlog.subscriptions.causation import caused_by
from everlog.subscriptions.projector import Appended
from everlog.testing.clock import FakeClock
from everlog.testing.contract.events import Auditor, Noted, Opened, Renamed
from everlog.testing.contract.folding import at
from everlog.testing.contract.scene import (
    Contract,
    Scene,
    contract_test,
    history,
    ids_of,
    positions_of,
)

KEPT = (
    "id",
    "stream",
    "type",
    "schema",
    "register",
    "origin",
    "correlation",
    "causation",
    "created",
    "nonce",
    "data",
    "meta",
    "hash",
)


def rehashed(row: StoredRecord, **changes: Any) -> StoredRecord:
    """Returns a changed record whose hash fits again."""
    changed = row._replace(**changes)
    return changed._replace(hash=computed_hash(changed))


TAMPERED: dict[str, Callable[[StoredRecord], StoredRecord]] = {
    "data": lambda row: row._replace(data='"other"'),
    "meta": lambda row: row._replace(meta="{}"),
    "stream": lambda row: row._replace(stream="other"),
    "type": lambda row: row._replace(type="other"),
    "schema": lambda row: row._replace(schema=2),
    "register": lambda row: row._replace(register="other"),
    "origin": lambda row: row._replace(origin="0" * 32),
    "correlation": lambda row: row._replace(correlation="other"),
    "causation": lambda row: row._replace(causation="other"),
    "created": lambda row: row._replace(created=at(-1)),
    "nonce": lambda row: row._replace(nonce=bytes(32)),
    "hash": lambda row: row._replace(hash=bytes(32)),
    "id": lambda row: row._replace(id="other"),
    "not canonical data": lambda row: rehashed(row, data='{"b": 1}'),
    "not canonical meta": lambda row: rehashed(row, meta="[1.0]"),
    "no stamp": lambda row: rehashed(row, created="yesterday"),
    "no schema": lambda row: rehashed(row, schema=0),
    "a short nonce": lambda row: rehashed(row, nonce=b"short"),
    "no time left": lambda row: rehashed(row, created="f" * 32),
}


class Importing(Contract):
    """`store.import_records` and `store.past`."""

    @contract_test
    async def test_an_imported_record_keeps_all_that_is_hashed(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        with caused_by("request-1"):
            [first] = await other.append("a", Opened(owner="J"), meta=Auditor(auditor="me"))
        with caused_by(first):
            await other.append("b", Renamed("x"), ids=["id"])
        await scene.store.append("b", Noted("here"))
        assert await scene.store.import_records(other.read()) == Imported(stored=2, known=0)
        [_, one, two] = await scene.rows()
        for taken, given in zip((one, two), await other.read().to_list(), strict=True):
            for name in KEPT:
                assert getattr(taken, name) == getattr(given.stored, name), name
        assert [(row.position, row.version) for row in (one, two)] == [(2, 1), (3, 2)]
        assert (two.correlation, two.causation) == ("request-1", first.id)

    @contract_test
    async def test_an_imported_record_is_hydrated_and_recorded_now(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        [given] = await other.append("a", Noted(1))
        scene.clock.advance(ms=5_000)
        await scene.store.import_records([given])
        taken = await scene.store.find(given.id)
        assert taken is not None
        assert (taken.hydrated, given.hydrated) == (True, False)
        assert taken.recorded_at - taken.created_at == timedelta(seconds=5)
        assert taken.recorded[16:] == scene.ledger.identity.node

    @contract_test
    async def test_an_import_can_be_repeated(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        await history(other, 20)
        await scene.store.import_records(other.read(limit=12))
        before = await scene.rows()
        assert await scene.store.import_records(other.read(limit=12)) == Imported(0, 12)
        assert await scene.rows() == before
        assert await scene.store.import_records(other.read()) == Imported(stored=8, known=12)
        assert ids_of(await scene.rows()) == ids_of(await other.read().to_list())

    @contract_test
    async def test_what_went_round_through_other_ledgers_is_known(self, scene: Scene) -> None:
        other, third = await scene.elsewhere(), await scene.elsewhere("third")
        await history(scene.store, 15)
        await other.import_records(scene.store.read())
        await third.import_records(other.read())
        assert await scene.store.import_records(third.read()) == Imported(stored=0, known=15)
        assert [row.hash for row in await scene.rows()] == [
            record.stored.hash for record in await third.read().to_list()
        ]

    @contract_test
    async def test_a_list_is_taken_in_all_or_nothing(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        good = [record.stored for record in await history(other, 5)]
        bad = good[3]._replace(data='"other"')
        with pytest.raises(TamperedRecord) as caught:
            await scene.store.import_records([*good[:3], bad, good[4]])
        assert caught.value.event_id == bad.id
        assert await scene.rows() == []

    @contract_test
    async def test_an_iterator_is_taken_in_by_chunks_and_goes_on(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        rows = [record.stored for record in await history(other, 1_100)]

        async def broken() -> AsyncIterator[StoredRecord]:
            for row in rows[:700]:
                yield row
            yield rows[700]._replace(data='"other"')

        with pytest.raises(TamperedRecord):
            await scene.store.import_records(broken())
        assert ids_of(await scene.rows()) == ids_of(rows[:500])
        assert await scene.store.import_records(iter(rows)) == Imported(stored=600, known=500)

    @pytest.mark.parametrize("what", TAMPERED)
    @contract_test
    async def test_a_record_that_does_not_fit_its_hash_or_cannot_be_one_is_refused(
        self, scene: Scene, what: str
    ) -> None:
        other = await scene.elsewhere()
        [record] = await other.append("a", Noted(1))
        with pytest.raises(TamperedRecord):
            await scene.store.import_records([TAMPERED[what](record.stored)])
        assert (await scene.ledger.head()).position == 0

    @contract_test
    async def test_the_same_id_with_other_content_stamp_or_origin_is_a_conflict(
        self, scene: Scene
    ) -> None:
        past = scene.store.past
        await scene.store.import_records([past("a", Noted(1), created=at(1), id="x")])
        before = await scene.rows()
        for other in (
            past("a", Noted(2), created=at(1), id="x"),
            past("b", Noted(1), created=at(1), id="x"),
            past("a", Noted(1), created=at(2), id="x"),
            past("a", Noted(1), created=at(1), id="x", origin="somewhere"),
        ):
            with pytest.raises(IdConflict):
                await scene.store.import_records([past("b", Noted(0), created=at(0)), other])
        assert await scene.rows() == before

    @contract_test
    async def test_a_record_twice_in_one_list_is_stored_once(self, scene: Scene) -> None:
        record = scene.store.past("a", Noted(1), created=at(1), id="x")
        other = scene.store.past("a", Noted(2), created=at(1), id="x")
        with pytest.raises(IdConflict):
            await scene.store.import_records([record, other])
        assert await scene.rows() == []
        assert await scene.store.import_records([record, record]) == Imported(stored=1, known=1)
        assert ids_of(await scene.rows()) == ["x"]

    @contract_test
    async def test_types_need_not_be_known(self, scene: Scene) -> None:
        await scene.store.append("a", Renamed("x"))
        stranger = scene.over(await scene.open_ledger("elsewhere"), events=[])
        await stranger.import_records(scene.store.read())
        [record] = await stranger.read("a").to_list()
        assert (record.type, record.json) == ("contract:renamed", "x")
        assert [r.json for r in await stranger.read(types=["contract:renamed"]).to_list()] == ["x"]
        with pytest.raises(UnknownEvent):
            _ = record.data

    @contract_test
    async def test_a_register_travels_with_its_record(self, scene: Scene) -> None:
        stranger = scene.over(await scene.open_ledger("elsewhere"), events=[])
        past = scene.store.past
        rows = [
            past("a", Renamed("new"), created=at(9), id="1").stored,
            rehashed(
                past("a", Noted(1), created=at(3), id="2").stored, register="contract:renamed"
            ),
        ]
        await stranger.import_records(rows)
        assert [record.outdated for record in await stranger.read().to_list()] == [False, True]

    @contract_test
    async def test_names_that_no_ledger_takes_are_refused(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        [record] = await other.append("a", Noted(1))
        for name in ("id", "stream", "type", "register", "origin", "correlation", "causation"):
            for value in ("", "x" * 256, "a\x00b", "\ud800"):
                changes: dict[str, Any] = {name: value}
                row = record.stored._replace(**changes)
                with pytest.raises(InvalidName):
                    await scene.store.import_records([row])
        assert await scene.rows() == []

    @contract_test
    async def test_a_list_holds_10_000_records_and_no_more(self, scene: Scene) -> None:
        record = scene.store.past("a", Noted(1), created=at(1)).stored
        rows = [
            rehashed(record, id=f"{number}", correlation=f"{number}")
            for number in range(MAX_BATCH_EVENTS + 1)
        ]
        with pytest.raises(TooLarge):
            await scene.store.import_records(rows)
        assert await scene.rows() == []
        assert (await scene.store.import_records(rows[1:])).stored == MAX_BATCH_EVENTS

    @contract_test
    async def test_only_records_are_imported(self, scene: Scene) -> None:
        things: Any = [Noted(1)]
        with pytest.raises(InvalidInput):
            await scene.store.import_records(things)
        assert await scene.store.import_records([]) == Imported(0, 0)
        assert await scene.store.import_records(scene.store.read("nobody")) == Imported(0, 0)

    @contract_test
    async def test_hooks_are_told_of_what_is_new_in_an_import_and_only_of_that(
        self, scene: Scene
    ) -> None:
        told: list[Record[Any]] = []
        scene.store.on_appended(lambda appended: told.extend(appended.records))
        batches: list[str | None] = []

        def hook(appended: Appended) -> None:
            batches.append(appended.batch)

        scene.store.on_appended(hook)
        past = scene.store.past
        records = [past("a", Noted(n), created=at(n), id=str(n)) for n in range(3)]
        await scene.store.import_records(records[:2], batch="b")
        await scene.store.import_records(records)
        await scene.store.import_records(records)
        assert [(record.id, record.hydrated) for record in told] == [
            ("0", True),
            ("1", True),
            ("2", True),
        ]
        assert batches == ["b", None]
        assert positions_of(told) == [1, 2, 3]

    @contract_test
    async def test_the_past_is_written_down_with_its_own_time(self, scene: Scene) -> None:
        moment = datetime(2001, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
        record = scene.store.past("a", Noted(1), created=moment, id="x", origin="paper")
        assert await scene.rows() == []
        await scene.store.import_records([record])
        [read] = await scene.store.read().to_list()
        assert (read.created_at, read.origin, read.json) == (moment, "paper", 1)
        with pytest.raises(NaiveDatetime):
            scene.store.past("a", Noted(1), created=moment.replace(tzinfo=None))
        for wrong in ("", "yesterday", "0" * 31):
            with pytest.raises(InvalidInput):
                scene.store.past("a", Noted(1), created=wrong)

    @contract_test
    async def test_a_stamp_at_the_end_of_time_leaves_room_to_go_on(self, scene: Scene) -> None:
        far = FakeClock(int(LAST_STAMP[:12], 16))
        store = scene.over(await scene.open_ledger("far", clock=far), clock=far)
        await store.import_records([store.past("a", Noted(1), created=LAST_STAMP)])
        [record] = await store.append("a", Noted(2))
        assert record.created > LAST_STAMP
        assert (await store.verify()).ok
