"""Appending: whole or not at all, in order, seen when it returns."""

from __future__ import annotations

import asyncio

import pytest

from everlog.core.sequencer import MAX_BATCH_EVENTS
from everlog.core.stream import NEW
from everlog.errors import (
    Conflict,
    EventValidationError,
    InvalidInput,
    TooLarge,
    UnknownEvent,
    WrongVersion,
)
from everlog.store.preparing import to
from everlog.subscriptions.causation import caused_by
from everlog.testing.contract.events import (
    Activated,
    Auditor,
    Deactivated,
    Moved,
    Noted,
    NotedAnew,
    Opened,
    Renamed,
)
from everlog.testing.contract.scene import (
    Contract,
    Gate,
    Scene,
    contract_test,
    ids_of,
    positions_of,
)


class Appending(Contract):
    """Appends to one stream and to many."""

    @contract_test
    async def test_an_append_returns_its_records_with_position_and_version(
        self, scene: Scene
    ) -> None:
        await scene.store.append("other", Noted(0))
        records = await scene.store.append("a", Noted(1), Noted(2))
        assert [(record.position, record.version) for record in records] == [(2, 1), (3, 2)]
        assert [record.stream for record in records] == ["a", "a"]

    @contract_test
    async def test_a_record_reads_back_as_it_was_returned(self, scene: Scene) -> None:
        [first] = await scene.store.append(
            "a", Opened(owner="Jane", balance=3), meta=Auditor(auditor="me")
        )
        [second] = await scene.store.append("a", Moved(to="b", amount=2))
        [third] = await scene.store.append("a", Activated())
        read = await scene.store.read("a").to_list()
        assert [record.stored for record in read] == [first.stored, second.stored, third.stored]
        assert read[0].data == Opened(owner="Jane", balance=3)
        assert read[0].meta == Auditor(auditor="me")
        assert (read[1].data, read[1].meta) == (Moved(to="b", amount=2), None)
        assert (read[2].data, read[2].json) == (Activated(), None)

    @contract_test
    async def test_what_is_born_here_is_neither_hydrated_nor_outdated(self, scene: Scene) -> None:
        records = await scene.store.append("a", Renamed("x"), Renamed("y"))
        assert [record.stored.flags for record in records] == [0, 0]
        assert {record.origin for record in records} == {scene.ledger.identity.ledger}

    @contract_test
    async def test_a_record_carries_type_schema_and_register(self, scene: Scene) -> None:
        [plain, joined] = await scene.store.append("a", Renamed("x"), Deactivated())
        assert (plain.type, plain.schema, plain.register) == (
            "contract:renamed",
            1,
            "contract:renamed",
        )
        assert (joined.type, joined.register) == ("contract:deactivated", "contract:active")

    @contract_test
    async def test_every_event_gets_an_id_of_its_own(self, scene: Scene) -> None:
        records = await scene.store.append("a", *[Noted(number) for number in range(50)])
        assert len({record.id for record in records}) == 50
        assert len({record.stored.nonce for record in records}) == 50

    @contract_test
    async def test_an_event_correlates_with_itself_unless_something_caused_it(
        self, scene: Scene
    ) -> None:
        [first] = await scene.store.append("a", Noted(1))
        with caused_by(first):
            [second] = await scene.store.append("b", Noted(2))
        found = await scene.store.find(second.id)
        assert (first.correlation, first.causation) == (first.id, None)
        assert found is not None
        assert (found.correlation, found.causation) == (first.id, first.id)

    @contract_test
    async def test_append_many_interleaves_streams_in_the_order_given(self, scene: Scene) -> None:
        records = await scene.store.append_many(
            [to("a", Noted(1)), to("b", Noted(2)), to("a", Noted(3)), to("b", Noted(4))]
        )
        assert [(record.stream, record.version) for record in records] == [
            ("a", 1),
            ("b", 1),
            ("a", 2),
            ("b", 2),
        ]
        assert positions_of(records) == [1, 2, 3, 4]
        assert [record.json for record in await scene.store.read("b").to_list()] == [2, 4]

    @contract_test
    async def test_nothing_of_a_refused_append_many_remains(self, scene: Scene) -> None:
        await scene.store.append("c", Noted(0))
        before = await scene.ledger.head()
        with pytest.raises(WrongVersion):
            await scene.store.append_many(
                [
                    to("a", Noted(1), id="first", relations=["r"]),
                    to("b", Noted(2)),
                    to("c", Noted(3), expect=NEW),
                ],
            )
        assert await scene.ledger.head() == before
        assert await scene.store.read("a").to_list() == []
        assert await scene.store.find("first") is None
        assert await scene.store.relations.streams_of("r") == []

    @contract_test
    async def test_refused_appends_leave_no_hole(self, scene: Scene) -> None:
        for number in range(10):
            await scene.store.append(f"s{number % 2}", Noted(number))
            with pytest.raises(WrongVersion):
                await scene.store.append("s0", Noted("no"), expect=77)
        records = await scene.store.read().to_list()
        assert positions_of(records) == list(range(1, 11))
        for stream in ("s0", "s1"):
            versions = [record.version for record in records if record.stream == stream]
            assert versions == [1, 2, 3, 4, 5]

    @contract_test
    async def test_an_append_is_seen_by_its_own_reader_when_it_returns(self, scene: Scene) -> None:
        for number in range(20):
            [record] = await scene.store.append("a", Noted(number))
            last = await scene.store.read("a", backwards=True).first()
            assert last == record
            assert await scene.store.find(record.id) == record
            assert (await scene.store.status(record)).exists

    @contract_test
    async def test_an_append_adds_its_stream_to_relations(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1), relations=["tenant:acme", "all"])
        await scene.store.append_many([to("b", Noted(2), relations=["all"])])
        assert await scene.store.relations.streams_of("all") == ["a", "b"]
        assert await scene.store.relations.relations_of("a") == ["all", "tenant:acme"]

    @contract_test
    async def test_an_append_of_nothing_is_refused(self, scene: Scene) -> None:
        with pytest.raises(InvalidInput):
            await scene.store.append("a")
        with pytest.raises(InvalidInput):
            await scene.store.append_many([])

    @contract_test
    async def test_an_event_that_the_store_was_not_given_is_refused(self, scene: Scene) -> None:
        for stranger in (NotedAnew(1), object(), Noted):
            with pytest.raises(UnknownEvent):
                await scene.store.append_many([to("a", Noted(1)), to("a", stranger)])
        assert (await scene.ledger.head()).position == 0

    @contract_test
    async def test_invalid_data_and_meta_are_refused_and_every_field_is_named(
        self, scene: Scene
    ) -> None:
        opened = Opened(owner="Jane")
        vars(opened).update(owner=3, balance="much")
        with pytest.raises(EventValidationError) as caught:
            await scene.store.append("a", opened, meta=Auditor(auditor="me"))
        assert [path for path, _ in caught.value.problems] == ["data.owner", "data.balance"]
        with pytest.raises(EventValidationError, match=r"data\.amount"):
            await scene.store.append("a", Moved("b", "many"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(EventValidationError, match="meta"):
            await scene.store.append("a", Opened(owner="Jane"))
        with pytest.raises(EventValidationError, match="meta"):
            await scene.store.append("a", Noted(1), meta=Auditor(auditor="me"))
        assert (await scene.ledger.head()).position == 0

    @contract_test
    async def test_a_call_holds_10_000_events_and_no_more(self, scene: Scene) -> None:
        events = [Activated() for _ in range(MAX_BATCH_EVENTS + 1)]
        with pytest.raises(TooLarge):
            await scene.store.append("a", *events)
        assert (await scene.ledger.head()).position == 0
        records = await scene.store.append("a", *events[1:])
        assert records[-1].version == MAX_BATCH_EVENTS

    @contract_test
    async def test_200_concurrent_appends_get_gapless_positions_and_each_its_own_outcome(
        self, scene: Scene
    ) -> None:
        await scene.store.append("taken", Noted("first"))

        async def append(number: int) -> tuple[int, int] | WrongVersion:
            try:
                if number % 5 == 0:
                    await scene.store.append("taken", Noted(number), expect=NEW)
                records = await scene.store.append(f"s{number % 9}", Noted(number), Noted(number))
            except WrongVersion as error:
                return error
            assert [record.json for record in records] == [number, number]
            assert records[1].position == records[0].position + 1
            return records[0].position, records[1].position

        outcomes = await asyncio.gather(*(append(number) for number in range(200)))
        for number, outcome in enumerate(outcomes):
            assert isinstance(outcome, WrongVersion) == (number % 5 == 0)
        given = [place for outcome in outcomes if isinstance(outcome, tuple) for place in outcome]
        assert sorted(given) == list(range(2, 322))
        assert positions_of(await scene.store.read().to_list()) == list(range(1, 322))

    @contract_test
    async def test_one_of_many_writers_that_expect_the_same_version_wins(
        self, scene: Scene
    ) -> None:
        async def append(number: int, expect: int) -> int:
            try:
                [record] = await scene.store.append("a", Noted(number), expect=expect)
            except WrongVersion as error:
                return -error.actual
            return record.version

        for expect in range(5):
            versions = await asyncio.gather(*(append(number, expect) for number in range(20)))
            assert sorted(versions) == [-(expect + 1)] * 19 + [expect + 1]

    @contract_test
    async def test_appends_from_concurrent_tasks_are_committed_together(self, scene: Scene) -> None:
        gate = Gate(scene.ledger)
        store = scene.over(gate.as_ledger)
        first = asyncio.create_task(store.append("a", Noted(0)))
        await gate.entered.wait()
        others = [asyncio.create_task(store.append("a", Noted(n))) for n in range(1, 40)]
        await asyncio.sleep(0)  # each task runs up to its place in the queue
        gate.open.set()
        await asyncio.gather(first, *others)
        assert gate.batches == [1, 39]

    @contract_test
    async def test_a_bad_neighbour_in_a_batch_costs_nothing(self, scene: Scene) -> None:
        gate = Gate(scene.ledger)
        store = scene.over(gate.as_ledger)
        first = asyncio.create_task(store.append("a", Noted(0), ids=["id"]))
        await gate.entered.wait()
        tasks = [
            asyncio.create_task(store.append("a", Noted(1))),
            asyncio.create_task(store.append("a", Noted(2), expect=9)),
            asyncio.create_task(store.append("a", Noted(3), ids=["id"])),
            asyncio.create_task(store.append("a", Noted(4))),
        ]
        await asyncio.sleep(0)
        gate.open.set()
        await first
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.batches == [1, 4]
        assert [isinstance(outcome, Conflict) for outcome in outcomes] == [
            False,
            True,
            True,
            False,
        ]
        assert [record.json for record in await store.read().to_list()] == [0, 1, 4]

    @contract_test
    async def test_an_append_that_is_cancelled_in_the_queue_leaves_nothing(
        self, scene: Scene
    ) -> None:
        gate = Gate(scene.ledger)
        store = scene.over(gate.as_ledger)
        first = asyncio.create_task(store.append("a", Noted(1)))
        await gate.entered.wait()
        queued = asyncio.create_task(store.append("a", Noted(2), Noted(3), ids=["x", "y"]))
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        gate.open.set()
        await first
        await store.drained()
        assert [record.json for record in await store.read().to_list()] == [1]
        records = await store.append("a", Noted(2), Noted(3), ids=["x", "y"])
        assert positions_of(records) == [2, 3]

    @contract_test
    async def test_an_append_that_is_cancelled_while_it_commits_is_whole(
        self, scene: Scene
    ) -> None:
        gate = Gate(scene.ledger)
        store = scene.over(gate.as_ledger)
        task = asyncio.create_task(store.append("a", Noted(1), Noted(2), ids=["x", "y"]))
        await gate.entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        await store.drained()
        assert ids_of(await store.read().to_list()) == ["x", "y"]
        again = await store.append("a", Noted(1), Noted(2), ids=["x", "y"], expect=NEW)
        assert positions_of(again) == [1, 2]

    @contract_test
    async def test_appends_cancelled_at_any_moment_are_whole_or_not_there(
        self, scene: Scene
    ) -> None:
        async def append(number: int) -> None:
            await scene.store.append(
                "a", *[Noted(number)] * 3, ids=[f"{number}-{i}" for i in "abc"]
            )

        for turns in range(40):
            task = asyncio.create_task(append(turns))
            for _ in range(turns % 8):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await scene.store.drained()
        rows = await scene.rows()
        assert positions_of(rows) == list(range(1, len(rows) + 1))
        stored = {row.id for row in rows}
        for number in range(40):
            ids = {f"{number}-{i}" for i in "abc"}
            assert len(ids & stored) in (0, 3)
            await append(number)  # a retry tells which: it never stores a part or a second copy
        assert len(await scene.rows()) == 120
