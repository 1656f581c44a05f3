"""The clock: created is later than all that came before, whatever the wall clock says."""

from __future__ import annotations

import pytest

from everlog.core.stamp import is_stamp
from everlog.errors import ClockAhead, InvalidInput
from everlog.testing.clock import FakeClock
from everlog.testing.contract.events import Noted
from everlog.testing.contract.folding import at
from everlog.testing.contract.scene import NOON_MS, Contract, Scene, contract_test


class Clocks(Contract):
    """Stamps."""

    @contract_test
    async def test_stamps_ascend_while_the_wall_clock_stands_still_or_goes_back(
        self, scene: Scene
    ) -> None:
        stamps: list[str] = []
        for move in (0, 0, -1, -3_600_000, -NOON_MS // 2, 3_600_000, 0, 2 * NOON_MS, -NOON_MS):
            scene.clock.advance(ms=move)
            stamps += [r.created for r in await scene.store.append("a", Noted(1), Noted(2))]
        assert stamps == sorted(set(stamps))
        assert all(is_stamp(stamp) for stamp in stamps)
        assert {stamp[16:] for stamp in stamps} == {scene.ledger.identity.node}

    @contract_test
    async def test_a_wall_clock_that_goes_on_is_followed(self, scene: Scene) -> None:
        for ms in (1, 2, 1_000):
            scene.clock.set(NOON_MS + ms)
            [record] = await scene.store.append("a", Noted(1))
            assert record.created == at(ms, node=scene.ledger.identity.node)

    @contract_test
    async def test_what_is_born_here_is_recorded_when_it_is_created(self, scene: Scene) -> None:
        records = await scene.store.append("a", Noted(1), Noted(2))
        assert [record.recorded for record in records] == [record.created for record in records]

    @contract_test
    async def test_a_wall_clock_that_was_set_back_is_reported(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1))
        assert (await scene.store.info()).clock_ahead_ms == 0
        scene.clock.advance(ms=-7_000)
        await scene.store.append("a", Noted(2))
        assert (await scene.store.info()).clock_ahead_ms == 7_000

    @contract_test
    async def test_recorded_ascends_with_position_also_for_imports(self, scene: Scene) -> None:
        past = scene.store.past
        for number in range(4):
            await scene.store.append("a", Noted(number))
            await scene.store.import_records(
                [past("a", Noted(0), created=at(ms)) for ms in (30_000 - number, -5, 40_000)]
            )
        recorded = [row.recorded for row in await scene.rows()]
        assert recorded == sorted(set(recorded))
        assert all(row.recorded >= row.created for row in await scene.rows())

    @contract_test
    async def test_what_is_born_after_an_import_is_created_after_it(self, scene: Scene) -> None:
        foreign = at(60_000, 0xABCD, "f" * 16)
        await scene.store.import_records([scene.store.past("a", Noted(1), created=foreign)])
        [record] = await scene.store.append("b", Noted(2))
        assert record.created > foreign
        assert record.recorded > (await scene.rows())[0].recorded

    @contract_test
    async def test_a_counter_that_is_used_up_borrows_a_millisecond(self, scene: Scene) -> None:
        full = at(10, 0xFFFF, "0" * 16)
        await scene.store.import_records([scene.store.past("a", Noted(1), created=full)])
        records = await scene.store.append("a", Noted(2), Noted(3))
        node = scene.ledger.identity.node
        [imported, *_] = await scene.rows()
        assert imported.recorded == at(11, 0, node)
        assert [record.created for record in records] == [at(11, 1, node), at(11, 2, node)]

    @contract_test
    async def test_what_is_written_is_created_after_all_that_its_writer_has_read_elsewhere(
        self, scene: Scene
    ) -> None:
        ahead = FakeClock(NOON_MS + 50_000)
        other = scene.over(await scene.open_ledger("elsewhere", clock=ahead), clock=ahead)
        [read] = await other.append("x", Noted(1))
        scene.store.observe(read)
        [written] = await scene.store.append("a", Noted(2))
        assert written.created > read.created
        with pytest.raises(ClockAhead):
            scene.store.observe(at(60_001))
        [written] = await scene.store.append("a", Noted(3))
        assert written.created < at(60_000)

    @contract_test
    async def test_a_stamp_more_than_the_offset_ahead_is_refused(self, scene: Scene) -> None:
        past = scene.store.past
        with pytest.raises(ClockAhead) as caught:
            await scene.store.import_records(
                [
                    past("a", Noted(1), created=at(0)),
                    past("a", Noted(2), created=at(60_001), id="ahead"),
                ]
            )
        assert (caught.value.ahead_ms, caught.value.max_offset_ms) == (60_001, 60_000)
        assert "ahead" in str(caught.value)
        assert await scene.rows() == []
        assert (await scene.store.info()).clock < at(0)
        await scene.store.import_records([past("a", Noted(1), created=at(60_000, 0xFFFF))])

    @contract_test
    async def test_the_offset_is_counted_from_the_wall_clock_and_can_be_chosen(
        self, scene: Scene
    ) -> None:
        record = scene.store.past("a", Noted(1), created=at(3_600_000))
        for offset in (-1, True, "1"):
            with pytest.raises(InvalidInput):
                await scene.store.import_records([record], max_offset_s=offset)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(ClockAhead):
            await scene.store.import_records([record], max_offset_s=3_599)
        await scene.store.import_records([record], max_offset_s=3_600)
        # The ledger's clock is ahead by an hour now; the wall clock is what counts.
        with pytest.raises(ClockAhead):
            await scene.store.import_records([scene.store.past("a", Noted(2), created=at(61_000))])
        assert len(await scene.store.read().to_list()) == 1

    @contract_test
    async def test_the_clock_is_saved_with_every_append(self, scene: Scene) -> None:
        for number in range(3):
            [record] = await scene.store.append("a", Noted(number))
            assert (await scene.ledger.head()).clock == record.created
        await scene.store.import_records([scene.store.past("a", Noted(1), created=at(90))])
        assert (await scene.ledger.head()).clock == (await scene.rows())[-1].recorded > at(90)

    @contract_test
    async def test_the_clock_goes_on_after_the_store_was_opened_again_on_an_earlier_day(
        self, scene: Scene
    ) -> None:
        [before] = await scene.store.append("a", Noted(1))
        scene.clock.advance(ms=-86_400_000)
        store = await scene.reopen()
        [after] = await store.append("a", Noted(2))
        assert (after.created > before.created) == scene.capabilities.durable

    @contract_test
    async def test_two_stores_over_one_ledger_share_its_clock(self, scene: Scene) -> None:
        if not scene.capabilities.shared:
            return
        behind = FakeClock(NOON_MS - 10_000_000)
        other = scene.over(await scene.open_ledger(clock=behind), clock=behind)
        stamps: list[str] = []
        for number in range(6):
            store = (scene.store, other)[number % 2]
            stamps += [record.created for record in await store.append("a", Noted(number))]
        assert stamps == sorted(set(stamps))
