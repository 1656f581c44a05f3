"""Records that subscriptions have yet to deal with: they are to stay, though nobody else asks."""

from __future__ import annotations

import pytest

from everlog.ports.effects import UNFINISHED, EffectStatus
from tests.contract.checkpoints.owing import owe, owed
from tests.contract.checkpoints.scene import (
    NAME,
    Binding,
    Scene,
    aside,
    checkpoints_test,
    park,
    step,
)


class Needing(Binding):
    """needed."""

    @checkpoints_test
    async def test_without_a_subscription_nothing_is_needed(self, scene: Scene) -> None:
        assert list(await scene.checkpoints.needed([1, 2, 3])) == []
        assert list(await scene.checkpoints.needed([])) == []

    @checkpoints_test
    async def test_what_a_checkpoint_has_not_passed_is_needed(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        [held] = await scene.held(position=2)
        assert sorted(await checkpoints.needed([1, 2, 3, 4])) == [3, 4]
        async with checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(held, 3)])
        assert sorted(await checkpoints.needed([4, 1, 3])) == [4]
        # Also of one that nobody runs, of a kept version, and of each of several slices.
        await checkpoints.register("other@1", slices=3, position=1, token=None)
        assert sorted(await checkpoints.needed([1, 2, 3, 4])) == [2, 3, 4]
        assert await checkpoints.remove("other@1")
        assert sorted(await checkpoints.needed([1, 2, 3, 4])) == [4]

    @checkpoints_test
    async def test_a_lease_is_no_subscription(self, scene: Scene) -> None:
        await scene.checkpoints.register("$sync:hub", slices=1, position=0, token=None)
        assert list(await scene.checkpoints.needed([1, 2])) == []

    @checkpoints_test
    async def test_what_is_held_up_is_needed_and_traces_are_not(self, scene: Scene) -> None:
        await scene.held(position=10)
        await park(
            scene.checkpoints,
            aside(2, "retrying", due_s=60),
            aside(3, "parked"),
            aside(4, "behind"),
            aside(5, "skipped"),
            aside(6, "dropped"),
        )
        assert sorted(await scene.checkpoints.needed([1, 2, 3, 4, 5, 6, 7])) == [2, 3, 4]
        assert sorted(await scene.checkpoints.needed([4, 5])) == [4]

    @pytest.mark.parametrize("status", [*UNFINISHED, "done", "dropped", "failed"])
    @checkpoints_test
    async def test_what_an_unfinished_effect_is_of_is_needed(
        self, scene: Scene, status: EffectStatus
    ) -> None:
        await scene.held(position=10)
        await owe(scene.checkpoints, owed(2, status), owed(3, "done"))
        wanted = [2] if status in UNFINISHED else []
        assert list(await scene.checkpoints.needed([1, 2, 3])) == wanted
