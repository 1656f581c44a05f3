"""What stays, what ends, and what a caller who is called off leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from everlog.errors import LeaseLost, StoreClosed
from everlog.ports.checkpoints import Checkpoints
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


async def transact(checkpoints: Checkpoints) -> None:
    async with checkpoints.transaction() as transaction:
        await transaction.tx.fetch("SELECT 1")


CALLS: dict[str, Callable[[Checkpoints], Awaitable[object]]] = {
    "register": lambda each: each.register(NAME, slices=1, position=0, token=None),
    "claim": lambda each: each.claim(NAME, "w1", ttl_s=1, most=1),
    "seize": lambda each: each.seize(NAME, "w1", ttl_s=1),
    "renew": lambda each: each.renew(NAME, "w1", {0: 1}, ttl_s=1),
    "release": lambda each: each.release(NAME, {0: 1}),
    "workers": lambda each: each.workers(NAME),
    "transaction": transact,
    "attempt": lambda each: each.attempt(NAME, 0, 1, 1),
    "due": lambda each: each.due(NAME, [0]),
    "parked": lambda each: each.parked(),
    "retry": lambda each: each.retry(NAME, stream=None, position=None),
    "drop": lambda each: each.drop(NAME, stream=None, position=None),
    "statuses": lambda each: each.statuses(),
    "remove": lambda each: each.remove(NAME),
}


class Lifecycle(Binding):
    """Opening, closing, cancelling."""

    @checkpoints_test
    async def test_what_is_closed_refuses_everything(self, scene: Scene) -> None:
        await scene.checkpoints.close()
        for name, call in CALLS.items():
            with pytest.raises(StoreClosed):
                await call(scene.checkpoints)
                pytest.fail(f"{name} worked when closed")

    @checkpoints_test
    async def test_closing_twice_is_closing_once(self, scene: Scene) -> None:
        await scene.checkpoints.close()
        await scene.checkpoints.close()

    @checkpoints_test
    async def test_who_is_called_off_anywhere_in_a_transaction_leaves_all_of_it_or_nothing(
        self, scene: Scene
    ) -> None:
        [held] = await scene.held()
        position, called_off, steps = 0, 0, 0.0

        async def handle() -> None:
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (position + 1, "a"))
                await transaction.tx.fetch(scene.select)
                await transaction.tx.execute(scene.insert, (position + 1, "b"))
                await transaction.park([aside(position + 1)])
                await transaction.move(NAME, [step(held, position + 1, before=position)])

        # Until it was seen both ways often enough: on a slow machine a turn of the loop is long,
        # and few of them are enough to be through.
        while position < 3 or called_off <= 5:
            handling = asyncio.create_task(handle())
            for _ in range(int(steps)):
                await asyncio.sleep(0)
            handling.cancel()
            await asyncio.wait([handling])
            if handling.cancelled():
                called_off += 1
            else:
                handling.result()
            seen, [now] = await scene.seen(), await scene.positions()
            assert now in (position, position + 1)
            assert seen == [each for each in range(1, now + 1) for _ in "ab"]
            assert [each.position for each in await scene.checkpoints.parked()] == [
                *range(1, now + 1)
            ]
            steps = steps * 1.1 + 1 if now == position else 0.0
            position = now

    @pytest.mark.parametrize("name", [name for name in CALLS if name != "transaction"])
    @checkpoints_test
    async def test_a_call_that_is_called_off_anywhere_holds_up_nobody(
        self, scene: Scene, name: str
    ) -> None:
        await scene.checkpoints.register(NAME, slices=1, position=0, token=None)
        steps = 0.0
        while True:
            await park(scene.checkpoints, aside(1))
            calling = asyncio.ensure_future(CALLS[name](scene.checkpoints))
            for _ in range(int(steps)):
                await asyncio.sleep(0)
            calling.cancel()
            await asyncio.wait([calling])
            await transact(scene.checkpoints)
            if not calling.cancelled():
                error = calling.exception()
                assert error is None or isinstance(error, LeaseLost)
                return
            steps = steps * 1.5 + 1


class Shared(Binding):
    """For what several processes share: what one has done, another sees."""

    @checkpoints_test
    async def test_what_was_committed_is_there_when_opened_again(self, scene: Scene) -> None:
        [held] = await scene.held()
        async with scene.checkpoints.transaction() as transaction:
            await transaction.tx.execute(scene.insert, (1, "a"))
            await transaction.park([aside(1)])
            await transaction.move(NAME, [step(held, 1, token="t1")])
        assert await scene.checkpoints.attempt(NAME, held.slice, held.fence, 2) == 1
        await scene.reopen()
        assert await scene.seen() == [1]
        assert len(await scene.checkpoints.parked()) == 1
        [status] = await scene.checkpoints.statuses()
        assert (status.position, status.worker) == (1, "w1")
        assert await scene.checkpoints.attempt(NAME, held.slice, held.fence, 2) == 2

    @checkpoints_test
    async def test_closing_leaves_nothing_of_a_transaction_that_is_open(self, scene: Scene) -> None:
        other = await scene.another()
        with pytest.raises(StoreClosed):
            async with other.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await transaction.tx.fetch(scene.select)
                await other.close()
        assert await scene.seen() == []

    @checkpoints_test
    async def test_an_open_transaction_is_seen_by_nobody_else(self, scene: Scene) -> None:
        [held] = await scene.held()
        other = await scene.another()
        async with scene.checkpoints.transaction() as transaction:
            await transaction.park([aside(1)])
            await transaction.move(NAME, [step(held, 1)])
            for checkpoints in (scene.checkpoints, other):
                looking = asyncio.create_task(checkpoints.statuses())
                [status] = await asyncio.wait_for(looking, 20)
                assert (status.position, status.parked) == (0, 0)
                assert not await asyncio.create_task(checkpoints.parked())
                assert not await asyncio.create_task(checkpoints.due(NAME, [0]))
                assert len(await asyncio.create_task(checkpoints.workers(NAME))) == 1
        [status] = await other.statuses()
        assert (status.position, status.parked) == (1, 1)

    @checkpoints_test
    async def test_many_claims_from_two_places_give_each_slice_once(self, scene: Scene) -> None:
        other = await scene.another()
        await scene.checkpoints.register(NAME, slices=16, position=0, token=None)
        claiming = [
            checkpoints.claim(NAME, f"w{number}", ttl_s=LONG_S, most=3)
            for number in range(4)
            for checkpoints in (scene.checkpoints, other)
        ]
        taken = [each.slice for held in await asyncio.gather(*claiming) for each in held]
        assert sorted(taken) == list(range(16))

    @checkpoints_test
    async def test_a_worker_elsewhere_takes_over_and_the_old_one_commits_nothing(
        self, scene: Scene
    ) -> None:
        other = await scene.another()
        await scene.checkpoints.register(NAME, slices=1, position=0, token=None)
        [old] = await scene.checkpoints.claim(NAME, "w1", ttl_s=0, most=1)
        [new] = await other.claim(NAME, "w2", ttl_s=LONG_S, most=1)
        for checkpoints, held in ((scene.checkpoints, old), (other, new)):
            try:
                async with checkpoints.transaction() as transaction:
                    await transaction.tx.execute(scene.insert, (held.fence, "a"))
                    await transaction.move(NAME, [step(held, 1)])
            except LeaseLost:
                assert held is old
        assert await scene.seen() == [new.fence]

    @checkpoints_test
    async def test_what_is_written_with_the_fence_holds_until_the_commit(
        self, scene: Scene
    ) -> None:
        other = await scene.another()
        await scene.checkpoints.register(NAME, slices=1, position=0, token=None)
        [held] = await scene.checkpoints.claim(NAME, "w1", ttl_s=0, most=1)
        async with scene.checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(held, 0)])
            claiming = asyncio.create_task(other.claim(NAME, "w2", ttl_s=LONG_S, most=1))
            await asyncio.wait([claiming], timeout=0.1)
            # Whoever claims waits for the commit, or goes without the slice.
            taken_before = claiming.done() and claiming.result()
            assert not taken_before, "the slice was taken over before the commit"
            await transaction.tx.execute(scene.insert, (1, "a"))
        [new] = await claiming or await other.claim(NAME, "w2", ttl_s=LONG_S, most=1)
        assert new.fence > held.fence
        assert await scene.seen() == [1]
