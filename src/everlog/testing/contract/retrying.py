"""Retries: one record per event id, for ever."""

from __future__ import annotations

import asyncio

import pytest

from everlog.core.stream import NEW
from everlog.errors import IdConflict, InvalidInput, PartialRetry
from everlog.store.preparing import To, to
from everlog.subscriptions.projector import Appended
from everlog.testing.contract.events import (
    EVENTS,
    Auditor,
    Noted,
    NotedAnew,
    Opened,
    Renamed,
)
from everlog.testing.contract.scene import Contract, Scene, contract_test, ids_of, positions_of


class Retrying(Contract):
    """The same id again: a retry, or a conflict."""

    @contract_test
    async def test_a_retry_returns_the_original_records_whatever_expect_says(
        self, scene: Scene
    ) -> None:
        originals = await scene.store.append("a", Noted(1), Noted(2), ids=["x", "y"], expect=NEW)
        await scene.store.append("a", Noted(3))
        scene.clock.advance(ms=5_000)
        before = await scene.ledger.head()
        for expect in (NEW, 0, 1, 77):
            again = await scene.store.append("a", Noted(1), Noted(2), ids=["x", "y"], expect=expect)
            assert [record.stored for record in again] == [record.stored for record in originals]
        assert await scene.ledger.head() == before

    @contract_test
    async def test_a_retry_of_many_streams_returns_the_originals_in_the_order_asked(
        self, scene: Scene
    ) -> None:
        items = [to("a", Noted(1), id="x"), to("b", Noted(2), id="y"), to("a", Noted(3), id="z")]
        await scene.store.append_many(items)
        again = await scene.store.append_many(list(reversed(items)))
        assert ids_of(again) == ["z", "y", "x"]
        assert positions_of(again) == [3, 2, 1]

    @contract_test
    async def test_a_retry_does_not_bring_back_a_relation_that_was_removed_since(
        self, scene: Scene
    ) -> None:
        await scene.store.append("a", Noted(1), ids=["x"], relations=["r"])
        await scene.store.relations.remove("r", "a")
        await scene.store.append("a", Noted(1), ids=["x"], relations=["r"])
        assert await scene.store.relations.streams_of("r") == []

    @contract_test
    async def test_a_part_of_a_call_is_a_retry_too(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1), Noted(2), ids=["x", "y"])
        [again] = await scene.store.append("a", Noted(2), ids=["y"])
        assert again.position == 2

    @pytest.mark.parametrize(
        ("differs", "item"),
        [
            pytest.param("stream", to("b", Opened(owner="Jane"), id="x"), id="stream"),
            pytest.param("type", to("a", Renamed("Jane"), id="x"), id="type"),
            pytest.param("data", to("a", Opened(owner="June"), id="x"), id="data"),
            pytest.param(
                "meta", to("a", Opened(owner="Jane"), id="x", meta=Auditor(auditor="u")), id="meta"
            ),
        ],
    )
    @contract_test
    async def test_the_same_id_with_other_content_is_a_conflict(
        self, scene: Scene, differs: str, item: To
    ) -> None:
        auditor = Auditor(auditor="me")
        await scene.store.append("a", Opened(owner="Jane"), ids=["x"], meta=auditor)
        before = await scene.ledger.head()
        meta = None if isinstance(item.event, Renamed) else item.meta or auditor
        with pytest.raises(IdConflict) as caught:
            await scene.store.append_many([to(item.stream, item.event, meta=meta, id="x")])
        assert (caught.value.event_id, caught.value.differs) == ("x", differs)
        assert await scene.ledger.head() == before

    @contract_test
    async def test_the_same_id_with_another_schema_is_a_conflict(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1), ids=["x"])
        others = [cls for cls in EVENTS if cls is not Noted]
        newer = scene.over(scene.ledger, events=[*others, NotedAnew])
        with pytest.raises(IdConflict) as caught:
            await newer.append("a", NotedAnew(1), ids=["x"])
        assert caught.value.differs == "schema"

    @contract_test
    async def test_equal_data_in_other_words_are_equal(self, scene: Scene) -> None:
        await scene.store.append("a", Noted({"a": 1, "b": [1.0, -0.0]}), ids=["x"])
        [again] = await scene.store.append("a", Noted({"b": [1, 0], "a": 1.0}), ids=["x"])
        assert again.position == 1

    @contract_test
    async def test_a_call_that_mixes_known_and_new_ids_is_refused(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1), ids=["x"])
        with pytest.raises(PartialRetry) as caught:
            await scene.store.append("a", Noted(1), Noted(2), ids=["x", "y"])
        assert (caught.value.known, caught.value.unknown) == (("x",), ("y",))
        assert await scene.store.find("y") is None
        assert (await scene.ledger.head()).position == 1

    @contract_test
    async def test_the_same_id_twice_in_one_call_is_refused(self, scene: Scene) -> None:
        for second in ("a", "b"):
            with pytest.raises(InvalidInput, match="'x'"):
                await scene.store.append_many(
                    [to("a", Noted(1), id="x"), to(second, Noted(1), id="x")]
                )
        assert (await scene.ledger.head()).position == 0

    @contract_test
    async def test_an_id_for_each_event_or_none(self, scene: Scene) -> None:
        for ids in (["x"], ["x", "y", "z"], "xy"):
            with pytest.raises(InvalidInput):
                await scene.store.append("a", Noted(1), Noted(2), ids=ids)

    @contract_test
    async def test_the_same_append_from_many_tasks_is_stored_once(self, scene: Scene) -> None:
        answers = await asyncio.gather(
            *(scene.store.append("a", Noted(1), Noted(2), ids=["x", "y"]) for _ in range(25))
        )
        assert {tuple(positions_of(answer)) for answer in answers} == {(1, 2)}
        assert (await scene.ledger.head()).position == 2

    @contract_test
    async def test_one_of_many_tasks_with_one_id_and_different_events_wins(
        self, scene: Scene
    ) -> None:
        outcomes = await asyncio.gather(
            *(scene.store.append("a", Noted(number), ids=["x"]) for number in range(25)),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, list) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, IdConflict) for outcome in outcomes) == 24
        assert (await scene.ledger.head()).position == 1

    @contract_test
    async def test_hooks_are_not_told_of_a_retry(self, scene: Scene) -> None:
        told: list[int] = []

        def hook(appended: Appended) -> None:
            told.extend(record.position for record in appended.records)

        scene.store.on_appended(hook)
        for _ in range(3):
            await scene.store.append("a", Noted(1), ids=["x"])
        assert told == [1]

    @contract_test
    async def test_an_append_of_what_was_imported_is_a_retry(self, scene: Scene) -> None:
        other = await scene.elsewhere()
        [born] = await other.append("a", Noted(1), ids=["x"])
        await scene.store.import_records([born])
        [again] = await scene.store.append("a", Noted(1), ids=["x"], expect=NEW)
        assert (again.created, again.origin, again.hydrated) == (born.created, born.origin, True)

    @contract_test
    async def test_a_retry_is_known_after_the_store_was_opened_again(self, scene: Scene) -> None:
        [original] = await scene.store.append("a", Noted(1), ids=["x"])
        store = await scene.reopen()
        [again] = await store.append("a", Noted(1), ids=["x"])
        assert (again.stored == original.stored) == scene.capabilities.durable
        assert len(await scene.rows()) == 1
