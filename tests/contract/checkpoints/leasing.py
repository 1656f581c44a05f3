"""Slices are held by one worker at a time, under leases that run out."""

from __future__ import annotations

import asyncio
import time

import pytest

from everlog.errors import LeaseLost, MisusedStore
from everlog.ports.checkpoints import Held
from tests.contract.checkpoints.scene import (
    LONG_S,
    NAME,
    Binding,
    Scene,
    aside,
    checkpoints_test,
    park,
    step,
)


class Leasing(Binding):
    """register, claim, renew, release, workers, statuses, remove."""

    @checkpoints_test
    async def test_registering_again_changes_nothing(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        assert await checkpoints.register(NAME, slices=4, position=7, token="t7") == 4
        assert await checkpoints.register(NAME, slices=9, position=0, token=None) == 4
        held = await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=100)
        assert [(each.slice, each.position, each.token) for each in held] == [
            (slice, 7, "t7") for slice in range(4)
        ]

    @checkpoints_test
    async def test_many_that_register_at_once_make_one_subscription(self, scene: Scene) -> None:
        registering = [
            scene.checkpoints.register(NAME, slices=slices, position=0, token=None)
            for slices in range(1, 9)
        ]
        [slices] = {*await asyncio.gather(*registering)}
        assert await scene.positions() == [0] * slices

    @checkpoints_test
    async def test_a_slice_is_held_by_one_worker(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=3, position=0, token=None)
        first = await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=2)
        second = await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=2)
        assert [each.slice for each in first] == [0, 1]
        assert [each.slice for each in second] == [2]
        for worker in ("w1", "w2", "w3"):
            assert not await checkpoints.claim(NAME, worker, ttl_s=LONG_S, most=3)

    @checkpoints_test
    async def test_who_asks_for_no_slice_gets_none(self, scene: Scene) -> None:
        await scene.checkpoints.register(NAME, slices=3, position=0, token=None)
        assert not await scene.checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=0)
        assert not await scene.checkpoints.claim("nobody's", "w1", ttl_s=LONG_S, most=3)

    @checkpoints_test
    async def test_many_that_claim_at_once_get_each_slice_once(self, scene: Scene) -> None:
        await scene.checkpoints.register(NAME, slices=16, position=0, token=None)
        claiming = [
            scene.checkpoints.claim(NAME, f"w{number}", ttl_s=LONG_S, most=3) for number in range(8)
        ]
        taken = [each.slice for held in await asyncio.gather(*claiming) for each in held]
        assert sorted(taken) == list(range(16))

    @checkpoints_test
    async def test_a_lease_that_has_run_out_is_taken_over_with_a_greater_fence(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=1, position=0, token=None)
        taken: list[Held] = []
        for worker, ttl_s in (("w1", 0), ("w2", 0), ("w1", LONG_S), ("w2", LONG_S)):
            taken += await checkpoints.claim(NAME, worker, ttl_s=ttl_s, most=1)
        assert len(taken) == 3, "the last lease has not run out"
        first, second, third = taken
        assert first.fence < second.fence < third.fence
        assert first.clean
        assert not second.clean, "w1 did not let go of it"
        assert not third.clean

    @checkpoints_test
    async def test_a_lease_runs_out_by_itself_and_not_before_its_time(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=1, position=0, token=None)
        began = time.monotonic()
        await checkpoints.claim(NAME, "w1", ttl_s=0.3, most=1)
        while not await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=1):
            assert time.monotonic() < began + 20, "it never ran out"
            await asyncio.sleep(0.01)
        assert time.monotonic() - began > 0.29

    @checkpoints_test
    async def test_what_was_let_go_of_is_free_at_once_where_it_stood(self, scene: Scene) -> None:
        [first] = await scene.held(position=3)
        async with scene.checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(first, 8, token="t8")])
        await scene.checkpoints.release(NAME, {first.slice: first.fence})
        [second] = await scene.checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=1)
        assert second.fence > first.fence
        assert second == (0, second.fence, 8, "t8", True)

    @checkpoints_test
    async def test_an_old_fence_lets_go_of_nothing_and_renews_nothing(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=2, position=0, token=None)
        old = await checkpoints.claim(NAME, "w1", ttl_s=0, most=2)
        [new] = await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=1)
        fences = {each.slice: each.fence for each in old}
        assert await checkpoints.renew(NAME, "w1", fences, ttl_s=LONG_S) == {1}
        await checkpoints.release(NAME, {new.slice: fences[new.slice]})
        assert not await checkpoints.claim(NAME, "w3", ttl_s=LONG_S, most=2)

    @checkpoints_test
    async def test_a_renewed_lease_does_not_run_out(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=1, position=0, token=None)
        [held] = await checkpoints.claim(NAME, "w1", ttl_s=0, most=1)
        fences = {held.slice: held.fence}
        assert await checkpoints.renew(NAME, "w2", fences, ttl_s=LONG_S) == frozenset()
        assert await checkpoints.renew(NAME, "w1", fences, ttl_s=LONG_S) == {held.slice}
        assert not await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=1)
        assert await checkpoints.renew(NAME, "w1", fences, ttl_s=0) == {held.slice}
        assert await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=1)

    @checkpoints_test
    async def test_workers_are_those_who_hold_or_have_tried_to_of_late(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=2, position=0, token=None)
        assert len(await checkpoints.workers(NAME)) == 0
        held = await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=2)
        assert len(await checkpoints.workers(NAME)) == 1
        await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=0)
        assert len(await checkpoints.workers(NAME)) == 1
        await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=0)
        assert len(await checkpoints.workers(NAME)) == 2, "w2 has tried"
        await checkpoints.claim(NAME, "w3", ttl_s=0, most=2)
        assert len(await checkpoints.workers(NAME)) == 2, "the time of w3 has run out"
        assert len(await checkpoints.workers("another")) == 0
        await checkpoints.release(NAME, {held[0].slice: held[0].fence})
        assert len(await checkpoints.workers(NAME)) == 2, "w1 still holds one"
        await checkpoints.release(NAME, {held[1].slice: held[1].fence})
        assert len(await checkpoints.workers(NAME)) == 1, "w1 has gone"

    @checkpoints_test
    async def test_workers_are_told_with_whether_they_hold_something(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await scene.held(worker="w2#a")
        await checkpoints.claim(NAME, "w1#b", ttl_s=LONG_S, most=1)
        assert list(await checkpoints.workers(NAME)) == [("w1#b", False), ("w2#a", True)]

    @checkpoints_test
    async def test_nothing_is_claimed_beside_a_worker_with_another_fingerprint(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=4, position=0, token=None)
        [first] = await checkpoints.claim(NAME, "w1#old", ttl_s=LONG_S, most=1)
        assert not await checkpoints.claim(NAME, "w2#new", ttl_s=LONG_S, most=1)
        [second] = await checkpoints.claim(NAME, "w3#old", ttl_s=LONG_S, most=1)
        [third] = await checkpoints.claim(NAME, "w4", ttl_s=LONG_S, most=1)
        await checkpoints.release(NAME, {first.slice: first.fence})
        assert not await checkpoints.claim(NAME, "w2#new", ttl_s=LONG_S, most=1)
        await checkpoints.release(NAME, {second.slice: second.fence})
        taken = await checkpoints.claim(NAME, "w2#new", ttl_s=LONG_S, most=9)
        assert {held.slice for held in taken} == {0, 1, 2, 3} - {third.slice}

    @checkpoints_test
    async def test_who_is_taken_over_by_another_fingerprint_moves_none_of_its_slices(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=2, position=0, token=None)
        old = await checkpoints.claim(NAME, "w1#old", ttl_s=0, most=2)
        [new] = await checkpoints.claim(NAME, "w2#new", ttl_s=LONG_S, most=1)
        other = next(held for held in old if held.slice != new.slice)
        fences = {held.slice: held.fence for held in old}
        assert not await checkpoints.renew(NAME, "w1#old", fences, ttl_s=LONG_S)
        with pytest.raises(LeaseLost):
            async with checkpoints.transaction() as transaction:
                await transaction.move(NAME, [step(other, 5)])
        assert not await checkpoints.claim(NAME, "w1#old", ttl_s=LONG_S, most=2)
        [rest] = await checkpoints.claim(NAME, "w3#new", ttl_s=LONG_S, most=2)
        assert (rest.slice, rest.position, rest.clean) == (other.slice, 0, False)

    @checkpoints_test
    async def test_two_fingerprints_that_claim_at_the_same_time_never_both_get_something(
        self, scene: Scene
    ) -> None:
        checkpoints, elsewhere = scene.checkpoints, await scene.another()
        for turn in range(20):
            name = f"{NAME}-{turn}"
            await checkpoints.register(name, slices=8, position=0, token=None)
            taken = await asyncio.gather(
                *(
                    at.claim(name, f"w{number}#{number % 2}", ttl_s=LONG_S, most=2)
                    for number, at in enumerate([checkpoints, elsewhere] * 2)
                )
            )
            by = {number % 2 for number, held in enumerate(taken) if held}
            assert len(by) == 1, taken

    @checkpoints_test
    async def test_who_holds_is_a_worker_also_long_after_it_has_claimed(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=1, position=0, token=None)
        [held] = await checkpoints.claim(NAME, "w1", ttl_s=0, most=1)
        assert len(await checkpoints.workers(NAME)) == 0
        await checkpoints.renew(NAME, "w1", {held.slice: held.fence}, ttl_s=LONG_S)
        assert len(await checkpoints.workers(NAME)) == 1

    @checkpoints_test
    async def test_statuses_tell_what_is_known_of_every_slice(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        assert not await checkpoints.statuses()
        await checkpoints.register(NAME, slices=2, position=5, token=None)
        await checkpoints.register("archive", slices=1, position=0, token=None)
        await checkpoints.claim(NAME, "w1", ttl_s=60, most=1)
        await park(
            checkpoints,
            aside(1, "parked", stream="a", slice=0),
            aside(2, "behind", stream="a", slice=0),
            aside(3, "behind", stream="a", slice=0),
            aside(4, "retrying", stream="b", slice=0, due_s=9),
            aside(5, "skipped", stream="c", slice=0),
            aside(6, "dropped", stream="c", slice=0),
            aside(7, "parked", stream="d", slice=1),
            aside(8, "parked", name="archive"),
        )
        archive, first, second = await checkpoints.statuses()
        assert (archive.name, archive.slice, archive.slices) == ("archive", 0, 1)
        assert (archive.position, archive.worker, archive.lease_s) == (0, None, None)
        assert (archive.parked, archive.retrying, archive.behind) == (1, 0, 0)
        assert (first.name, first.slice, first.slices, first.position) == (NAME, 0, 2, 5)
        assert first.worker == "w1"
        assert first.lease_s is not None
        assert 30 < first.lease_s <= 60
        assert 0 <= first.moved_s < 30
        assert (first.parked, first.retrying, first.behind) == (1, 1, 2)
        assert (second.name, second.slice, second.worker) == (NAME, 1, None)
        assert (second.parked, second.retrying, second.behind) == (1, 0, 0)
        assert (first.error, second.error) == ("", "")

    @checkpoints_test
    async def test_a_lease_that_has_run_out_is_shown_as_that(self, scene: Scene) -> None:
        await scene.checkpoints.register(NAME, slices=1, position=0, token=None)
        await scene.checkpoints.claim(NAME, "w1", ttl_s=-5, most=1)
        [status] = await scene.checkpoints.statuses()
        assert status.worker == "w1"
        assert status.lease_s is not None
        assert -30 < status.lease_s <= -5

    @checkpoints_test
    async def test_why_a_worker_stopped_is_told_until_the_checkpoint_moves_on(
        self, scene: Scene
    ) -> None:
        async def errors() -> list[str]:
            return [status.error for status in await scene.checkpoints.statuses()]

        held = await scene.held(slices=2)
        fences = {each.slice: each.fence for each in held}
        await scene.checkpoints.release(NAME, fences, error="it broke")
        assert await errors() == ["it broke", "it broke"]
        first, second = await scene.held(slices=2)
        assert await errors() == ["it broke", "it broke"]
        async with scene.checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(first, 1), step(second, 0)])
        assert await errors() == ["", "it broke"]
        await scene.checkpoints.release(NAME, {second.slice: second.fence})
        assert await errors() == ["", ""]

    @checkpoints_test
    async def test_a_subscription_that_somebody_runs_is_not_removed(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        [held] = await scene.held(position=5)
        await park(checkpoints, aside(1))
        with pytest.raises(MisusedStore, match=NAME):
            await checkpoints.remove(NAME)
        assert await scene.positions() == [5]
        assert len(await checkpoints.parked()) == 1
        await checkpoints.release(NAME, {held.slice: held.fence})
        assert await checkpoints.remove(NAME)
        assert not await checkpoints.statuses()
        assert not await checkpoints.parked()
        assert len(await checkpoints.workers(NAME)) == 0
        assert not await checkpoints.remove(NAME)

    @checkpoints_test
    async def test_a_subscription_whose_leases_have_run_out_is_removed_and_no_other(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=2, position=0, token=None)
        await checkpoints.register("archive", slices=2, position=0, token=None)
        await park(checkpoints, aside(1), aside(1, name="archive"))
        await checkpoints.claim(NAME, "w1", ttl_s=0, most=2)
        assert await checkpoints.remove(NAME)
        assert await scene.positions("archive") == [0, 0]
        assert [each.name for each in await checkpoints.parked()] == ["archive"]

    @checkpoints_test
    async def test_a_worker_of_a_removed_subscription_moves_nothing_of_its_successor(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=1, position=0, token=None)
        [old] = await checkpoints.claim(NAME, "w1", ttl_s=0, most=1)
        await checkpoints.remove(NAME)
        [new] = await scene.held(worker="w2")
        assert new.fence > old.fence
        with pytest.raises(LeaseLost):
            async with checkpoints.transaction() as transaction:
                await transaction.move(NAME, [step(old, 1)])
        assert await scene.positions() == [0]
