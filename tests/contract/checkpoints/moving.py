"""A checkpoint moves with what its handler wrote, and by one worker only."""

from __future__ import annotations

import pytest

from everlog.errors import LeaseLost
from everlog.ports.checkpoints import Move
from tests.contract.checkpoints.scene import (
    LONG_S,
    NAME,
    Binding,
    Scene,
    aside,
    checkpoints_test,
    step,
)


class Moving(Binding):
    """move and attempt."""

    @checkpoints_test
    async def test_a_checkpoint_moves_with_what_was_written(self, scene: Scene) -> None:
        [held] = await scene.held()
        async with scene.checkpoints.transaction() as transaction:
            await transaction.tx.execute(scene.insert, (1, "a"))
            await transaction.tx.execute(scene.insert, (2, "b"))
            await transaction.move(NAME, [step(held, 2, token="t2")])
        assert await scene.seen() == [1, 2]
        assert await scene.positions() == [2]
        async with scene.checkpoints.transaction() as transaction:
            await transaction.tx.execute(scene.insert, (3, "a"))
            await transaction.move(NAME, [step(held, 3, before=2, token="t3")])
        assert await scene.seen() == [1, 2, 3]
        await scene.checkpoints.release(NAME, {held.slice: held.fence})
        [held] = await scene.held()
        assert (held.position, held.token) == (3, "t3")

    @checkpoints_test
    async def test_a_handler_that_fails_leaves_neither_its_writes_nor_a_move(
        self, scene: Scene
    ) -> None:
        [held] = await scene.held()
        with pytest.raises(ZeroDivisionError):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await transaction.park([aside(1)])
                await transaction.move(NAME, [step(held, 1)])
                raise ZeroDivisionError
        assert await scene.seen() == []
        assert await scene.positions() == [0]
        assert not await scene.checkpoints.parked()

    @checkpoints_test
    async def test_a_worker_whose_slice_was_taken_over_commits_nothing(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=1, position=0, token=None)
        [old] = await checkpoints.claim(NAME, "w1", ttl_s=0, most=1)
        [new] = await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=1)
        with pytest.raises(LeaseLost, match=NAME):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await transaction.park([aside(1)])
                await transaction.move(NAME, [step(old, 1)])
        assert await scene.seen() == []
        assert await scene.positions() == [0]
        assert not await checkpoints.parked()
        async with checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(new, 1)])
        assert await scene.positions() == [1]

    @pytest.mark.parametrize("before", [0, 4, 6])
    @checkpoints_test
    async def test_a_checkpoint_moves_only_from_where_it_stands(
        self, scene: Scene, before: int
    ) -> None:
        [held] = await scene.held(position=5)
        with pytest.raises(LeaseLost):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await transaction.move(NAME, [step(held, 9, before=before)])
        assert await scene.seen() == []
        assert await scene.positions() == [5]

    @checkpoints_test
    async def test_a_batch_that_was_committed_is_not_committed_again(self, scene: Scene) -> None:
        [held] = await scene.held()
        for expected in ([1], [1]):
            try:
                async with scene.checkpoints.transaction() as transaction:
                    await transaction.tx.execute(scene.insert, (1, "a"))
                    await transaction.move(NAME, [step(held, 1)])
            except LeaseLost:
                pass
            assert await scene.seen() == expected

    @checkpoints_test
    async def test_of_many_steps_all_are_made_or_none(self, scene: Scene) -> None:
        held = await scene.held(slices=3)
        wrong = [step(held[0], 4), step(held[1], 4)._replace(fence=0), step(held[2], 4)]
        with pytest.raises(LeaseLost):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.move(NAME, wrong)
        assert await scene.positions() == [0, 0, 0]
        async with scene.checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(each, 4 + each.slice) for each in held])
        assert await scene.positions() == [4, 5, 6]

    @checkpoints_test
    async def test_a_lost_lease_is_not_forgotten_by_whoever_catches_it(self, scene: Scene) -> None:
        [held] = await scene.held()
        with pytest.raises(LeaseLost):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                with pytest.raises(LeaseLost):
                    await transaction.move(NAME, [step(held, 1)._replace(fence=0)])
        assert await scene.seen() == []

    @checkpoints_test
    async def test_a_step_to_where_it_stands_checks_the_fence_alone(self, scene: Scene) -> None:
        [held] = await scene.held(position=5)
        async with scene.checkpoints.transaction() as transaction:
            await transaction.tx.execute(scene.insert, (1, "a"))
            await transaction.move(NAME, [Move(0, held.fence, 2, 2, "t")])
        assert await scene.seen() == [1]
        assert await scene.positions() == [5]
        with pytest.raises(LeaseLost):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (2, "a"))
                await transaction.move(NAME, [Move(0, held.fence - 1, 5, 5, None)])
        assert await scene.seen() == [1]
        await scene.checkpoints.release(NAME, {0: held.fence})
        [held] = await scene.held()
        assert held.token is None, "the token did not move either"

    @checkpoints_test
    async def test_who_has_let_go_of_a_slice_moves_it_no_more(self, scene: Scene) -> None:
        [held] = await scene.held()
        await scene.checkpoints.release(NAME, {held.slice: held.fence})
        for after in (0, 1):
            with pytest.raises(LeaseLost):
                async with scene.checkpoints.transaction() as transaction:
                    await transaction.move(NAME, [step(held, after)])
        with pytest.raises(LeaseLost):
            await scene.checkpoints.attempt(NAME, held.slice, held.fence, 1)

    @checkpoints_test
    async def test_a_lease_that_has_run_out_is_one_until_somebody_claims_it(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=1, position=0, token=None)
        [held] = await checkpoints.claim(NAME, "w1", ttl_s=0, most=1)
        async with checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(held, 1)])
        assert await scene.positions() == [1]

    @checkpoints_test
    async def test_what_nobody_registered_does_not_move(self, scene: Scene) -> None:
        for move in (Move(0, 1, 0, 1, None), Move(0, 0, 0, 0, None)):
            with pytest.raises(LeaseLost):
                async with scene.checkpoints.transaction() as transaction:
                    await transaction.move("nobody's", [move])

    @checkpoints_test
    async def test_tries_are_counted_for_one_position_and_outlive_their_worker(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=2, position=0, token=None)
        first, second = await checkpoints.claim(NAME, "w1", ttl_s=0, most=2)

        async def tries(fence: int, position: int, slice: int = 0) -> int:
            return await checkpoints.attempt(NAME, slice, fence, position)

        assert [await tries(first.fence, 3) for _ in range(3)] == [1, 2, 3]
        assert await tries(second.fence, 3, slice=1) == 1
        first, second = await checkpoints.claim(NAME, "w2", ttl_s=0, most=2)
        assert await tries(first.fence, 3) == 4
        assert await tries(first.fence, 4) == 1
        assert await tries(first.fence, 4) == 2
        assert await tries(second.fence, 3, slice=1) == 2

    @checkpoints_test
    async def test_a_try_is_counted_though_the_transaction_behind_it_fails(
        self, scene: Scene
    ) -> None:
        [held] = await scene.held()
        for expected in (1, 2, 3):
            assert await scene.checkpoints.attempt(NAME, 0, held.fence, 1) == expected
            with pytest.raises(ZeroDivisionError):
                async with scene.checkpoints.transaction() as transaction:
                    await transaction.move(NAME, [step(held, 1)])
                    raise ZeroDivisionError

    @checkpoints_test
    async def test_tries_are_forgotten_where_the_worker_let_go(self, scene: Scene) -> None:
        first, second = await scene.held(slices=2)
        for each in (first, second):
            assert await scene.checkpoints.attempt(NAME, each.slice, each.fence, 1) == 1
        await scene.checkpoints.release(NAME, {first.slice: first.fence})
        [again] = await scene.checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=2)
        assert await scene.checkpoints.attempt(NAME, again.slice, again.fence, 1) == 1
        assert await scene.checkpoints.attempt(NAME, second.slice, second.fence, 1) == 2

    @checkpoints_test
    async def test_who_lost_a_slice_counts_no_tries_in_it(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=1, position=0, token=None)
        [old] = await checkpoints.claim(NAME, "w1", ttl_s=0, most=1)
        [new] = await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=1)
        with pytest.raises(LeaseLost):
            await checkpoints.attempt(NAME, 0, old.fence, 1)
        assert await checkpoints.attempt(NAME, 0, new.fence, 1) == 1
