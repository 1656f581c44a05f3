"""One version of a projection in the place of another, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from everlog.errors import LeaseLost, OtherVersion
from everlog.ports.checkpoints import Checkpointing, Held
from tests.contract.checkpoints.scene import (
    LONG_S,
    NAME,
    Binding,
    Scene,
    aside,
    checkpoints_test,
    step,
)

NEW, OLD = f"{NAME}@2", f"{NAME}@1"


async def rebuilt(scene: Scene, *, slices: int = 1, position: int = 0) -> list[Held]:
    """Registers the new version beside the old one, and holds all of it."""
    checkpoints = scene.checkpoints
    await checkpoints.register(NEW, slices=slices, position=position, token="t", version=2)
    return list(await checkpoints.claim(NEW, "w2", ttl_s=LONG_S, most=slices, version=2))


def fences_of(held: Sequence[Held]) -> dict[int, int]:
    return {each.slice: each.fence for each in held}


async def swap(transaction: Checkpointing, live: Sequence[Held], new: Sequence[Held]) -> None:
    await transaction.swap(
        NAME,
        fences=fences_of(live),
        rebuilt=NEW,
        rebuilt_fences=fences_of(new),
        kept=OLD,
    )


async def versions(scene: Scene) -> dict[str, tuple[int, list[int]]]:
    """Returns version and positions of all that is there."""
    found: dict[str, tuple[int, list[int]]] = {}
    for each in await scene.checkpoints.statuses():
        found.setdefault(each.name, (each.version, []))[1].append(each.position)
    return found


class Swapping(Binding):
    """versions, seize, swap."""

    @checkpoints_test
    async def test_another_version_is_neither_registered_nor_claimed(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=2, position=0, token=None, version=2)
        for version in (1, 3):
            with pytest.raises(OtherVersion, match=f"version 2 .* not {version}"):
                await checkpoints.register(NAME, slices=2, position=0, token=None, version=version)
            for most in (0, 2):
                with pytest.raises(OtherVersion) as caught:
                    await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=most, version=version)
                other = caught.value
                assert (other.name, other.live, other.asked) == (NAME, 2, version)
        assert len(await checkpoints.workers(NAME)) == 0
        assert [each.version for each in await checkpoints.statuses()] == [2, 2]
        assert len(await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=2, version=2)) == 2

    @checkpoints_test
    async def test_who_seizes_takes_all_slices_whoever_holds_them(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(NAME, slices=3, position=5, token="t", version=7)
        [one] = await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=1, version=7)
        seized = await checkpoints.seize(NAME, "w2", ttl_s=LONG_S)
        assert [(each.slice, each.position, each.token) for each in seized] == [
            (slice, 5, "t") for slice in range(3)
        ]
        assert [each.clean for each in seized] == [False, True, True]
        assert seized[0].fence > one.fence, "the only slice that was held before"
        assert not await checkpoints.renew(NAME, "w1", {0: one.fence}, ttl_s=LONG_S)
        assert not await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=3, version=7)
        with pytest.raises(LeaseLost):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await transaction.move(NAME, [step(one, 6)])
        assert await scene.seen() == []
        async with checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(each, 6) for each in seized])
        await checkpoints.release(NAME, fences_of(seized))
        assert len(await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=3, version=7)) == 3

    @checkpoints_test
    async def test_of_what_is_not_there_nothing_is_seized(self, scene: Scene) -> None:
        assert not await scene.checkpoints.seize("nobody's", "w1", ttl_s=LONG_S)

    @checkpoints_test
    async def test_one_takes_the_place_of_another_with_all_that_belongs_to_it(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        live = await scene.held(position=4)
        new = await rebuilt(scene, slices=2, position=6)
        async with checkpoints.transaction() as transaction:
            await transaction.park([aside(3, stream="old"), aside(2, stream="new", name=NEW)])
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(scene.insert, (1, "a"))
            await swap(transaction, live, new)
        assert await scene.seen() == [1]
        assert await versions(scene) == {NAME: (2, [6, 6]), OLD: (1, [4])}
        parked = {(each.name, each.stream) for each in await checkpoints.parked()}
        assert parked == {(NAME, "new"), (OLD, "old")}
        assert {each.worker for each in await checkpoints.statuses()} == {None}
        for name in (NAME, NEW, OLD):
            assert len(await checkpoints.workers(name)) == 0
        with pytest.raises(OtherVersion):
            await checkpoints.claim(NAME, "w1", ttl_s=LONG_S, most=1)
        claimed = await checkpoints.claim(NAME, "w3", ttl_s=LONG_S, most=9, version=2)
        assert [(each.position, each.token, each.clean) for each in claimed] == [
            (6, "t", True),
            (6, "t", True),
        ]
        await checkpoints.register(NEW, slices=1, position=0, token=None, version=2)  # once more

    @checkpoints_test
    async def test_no_fence_from_before_is_good_for_anything(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        live, new = await scene.held(slices=2, position=4), await rebuilt(scene, position=4)
        async with checkpoints.transaction() as transaction:
            await swap(transaction, live, new)
        for held in (*live, *new):
            for name in (NAME, NEW, OLD):
                for after in (4, 5):
                    with pytest.raises(LeaseLost):
                        async with checkpoints.transaction() as transaction:
                            await transaction.tx.execute(scene.insert, (1, "a"))
                            await transaction.move(name, [step(held, after)])
                assert not await checkpoints.renew(name, "w1", {held.slice: held.fence}, ttl_s=9)
        assert await scene.seen() == []

    @checkpoints_test
    async def test_a_swap_that_fails_changes_nothing(self, scene: Scene) -> None:
        live, new = await scene.held(position=4), await rebuilt(scene, position=6)
        with pytest.raises(ZeroDivisionError):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await swap(transaction, live, new)
                raise ZeroDivisionError
        assert await scene.seen() == []
        assert await versions(scene) == {NAME: (1, [4]), NEW: (2, [6])}
        async with scene.checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(live[0], 5)])
            await transaction.move(NEW, [step(new[0], 7)])

    @pytest.mark.parametrize("lost", ["live", "new", "a slice", "all"])
    @checkpoints_test
    async def test_a_swap_takes_all_slices_of_both(self, scene: Scene, lost: str) -> None:
        checkpoints = scene.checkpoints
        live = await scene.held(slices=2, position=4)
        new = await rebuilt(scene, slices=2, position=6)
        match lost:
            case "live":
                await checkpoints.seize(NAME, "w9", ttl_s=LONG_S)
            case "new":
                await checkpoints.release(NEW, {0: new[0].fence})
            case "a slice":
                live = live[:1]
            case _:
                live = []
        with pytest.raises(LeaseLost):
            async with checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await swap(transaction, live, new)
        assert await scene.seen() == []
        assert await versions(scene) == {NAME: (1, [4, 4]), NEW: (2, [6, 6])}

    @checkpoints_test
    async def test_what_was_kept_can_take_its_place_again(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        live, new = await scene.held(position=4), await rebuilt(scene, position=6)
        async with checkpoints.transaction() as transaction:
            await swap(transaction, live, new)
        now = await checkpoints.seize(NAME, "w", ttl_s=LONG_S)
        old = await checkpoints.seize(OLD, "w", ttl_s=LONG_S)
        async with checkpoints.transaction() as transaction:
            await transaction.move(OLD, [step(old[0], 6)])
            await transaction.swap(
                NAME, fences=fences_of(now), rebuilt=OLD, rebuilt_fences=fences_of(old), kept=NEW
            )
        assert await versions(scene) == {NAME: (1, [6]), NEW: (2, [6])}

    @checkpoints_test
    async def test_what_was_kept_before_is_forgotten(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await checkpoints.register(OLD, slices=3, position=1, token=None)
        async with checkpoints.transaction() as transaction:
            await transaction.park([aside(1, name=OLD)])
        live, new = await scene.held(position=4), await rebuilt(scene, position=6)
        async with checkpoints.transaction() as transaction:
            await swap(transaction, live, new)
        assert await versions(scene) == {NAME: (2, [6]), OLD: (1, [4])}
        assert not await checkpoints.parked()
