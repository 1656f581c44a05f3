"""Effects: owed with the step of the checkpoint, changed from how they stand, under a fence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from everlog.errors import LeaseLost
from everlog.ports.checkpoints import Checkpoints
from everlog.ports.effects import UNFINISHED, Change, Effect, EffectStatus
from tests.contract.checkpoints.scene import LONG_S, NAME, Binding, Scene, checkpoints_test, step


def owed(
    position: int,
    status: EffectStatus = "pending",
    *,
    handler: str = "welcome",
    stream: str = "a",
    slice: int = 0,
    tries: int = 0,
    due_s: float | None = 0.0,
    name: str = NAME,
) -> Effect:
    """Returns an effect that is to be owed."""
    return Effect(name, handler, slice, position, stream, f"id-{position}", status, tries, due_s)


async def owe(checkpoints: Checkpoints, *effects: Effect) -> None:
    """Owes effects, in a transaction of their own."""
    async with checkpoints.transaction() as transaction:
        await transaction.owe(effects)


def change(
    position: int,
    before: EffectStatus,
    status: EffectStatus,
    *,
    handler: str = "welcome",
    before_tries: int = 0,
    tries: int = 0,
    due_s: float | None = None,
) -> Change:
    return Change(handler, position, before, before_tries, status, tries, due_s)


def briefly(effects: Sequence[Effect]) -> list[tuple[int, str, str]]:
    """Returns position, handler and status of each."""
    return [(each.position, each.handler, each.status) for each in effects]


async def lanes(checkpoints: Checkpoints, *slices: int, within_s: float = 0.0) -> list[list[str]]:
    found = await checkpoints.lanes(NAME, slices or (0,), within_s=within_s)
    return [[each.handler, each.stream] for each in found]


class Owing(Binding):
    """register_handlers, owe, lanes, lane, change_effect, mark_ambiguous, effects, their counts."""

    @checkpoints_test
    async def test_a_handler_begins_where_it_was_first_registered(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        first = await checkpoints.register_handlers(NAME, ["a", "b"], position=7)
        assert first == {"a": 7, "b": 7}
        again = await checkpoints.register_handlers(NAME, ["b", "c"], position=9)
        assert again == {"b": 7, "c": 9}
        assert await checkpoints.register_handlers("archive", ["a"], position=0) == {"a": 0}
        assert await checkpoints.register_handlers(NAME, [], position=9) == {}
        assert await checkpoints.handlers(NAME) == {"a": 7, "b": 7, "c": 9}
        assert await checkpoints.handlers("unknown") == {}

    @checkpoints_test
    async def test_handlers_begin_with_a_transaction_that_holds_its_fence_or_not_at_all(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        [held] = await scene.held()
        await checkpoints.register_handlers(NAME, ["a"], position=7)
        async with checkpoints.transaction() as transaction:
            await transaction.begin_handlers(NAME, ["a", "b"], position=9)
            await transaction.move(NAME, [step(held, held.position)])
        assert await checkpoints.handlers(NAME) == {"a": 7, "b": 9}
        await checkpoints.release(NAME, {held.slice: held.fence})
        with pytest.raises(LeaseLost):
            async with checkpoints.transaction() as transaction:
                await transaction.begin_handlers(NAME, ["c"], position=11)
                await transaction.move(NAME, [step(held, held.position)])
        assert await checkpoints.handlers(NAME) == {"a": 7, "b": 9}

    @checkpoints_test
    async def test_an_effect_is_owed_with_the_step_or_not_at_all(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        [held] = await scene.held()
        async with checkpoints.transaction() as transaction:
            await transaction.owe([owed(1), owed(2, handler="charge")])
            await transaction.move(NAME, [step(held, 2)])
        found = await checkpoints.effects()
        assert briefly(found) == [(1, "welcome", "pending"), (2, "charge", "pending")]
        [first, _] = found
        assert (first.name, first.slice, first.stream, first.id) == (NAME, 0, "a", "id-1")
        assert (first.tries, first.result, first.happened, first.error) == (0, None, False, "")
        assert first.intent_s is None
        assert 0 <= first.since_s < 30
        with pytest.raises(LeaseLost):
            async with checkpoints.transaction() as transaction:
                await transaction.owe([owed(3)])
                await transaction.move(NAME, [step(held, 3)])  # from where it is not any more
        assert len(await checkpoints.effects()) == 2

    @checkpoints_test
    async def test_what_is_owed_already_stays_as_it_is(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await owe(checkpoints, owed(1))
        assert await checkpoints.change_effect(NAME, change(1, "pending", "done"))
        await owe(checkpoints, owed(1), owed(1, handler="charge"))
        found = await checkpoints.effects()
        assert briefly(found) == [(1, "charge", "pending"), (1, "welcome", "done")]

    @checkpoints_test
    async def test_only_the_first_unfinished_effect_of_a_handler_and_stream_is_to_be_done(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await owe(
            checkpoints,
            owed(1, "parked", stream="a", due_s=None),
            owed(2, stream="a"),
            owed(1, handler="charge", stream="a"),
            owed(3, "done", stream="b", due_s=None),
            owed(4, stream="b"),
            owed(5, "retrying", stream="c", due_s=60),
            owed(6, stream="c"),
            owed(7, "intent", stream="d", due_s=None),
            owed(8, stream="e", slice=1),
            owed(9, stream="f", name="archive"),
            owed(10, "retrying", stream="g", due_s=0.2),
        )
        assert await lanes(checkpoints) == [["charge", "a"], ["welcome", "b"]]
        assert await lanes(checkpoints, 0, 1) == [
            ["charge", "a"],
            ["welcome", "b"],
            ["welcome", "e"],
        ]
        assert await lanes(checkpoints, within_s=5.0) == [
            ["charge", "a"],
            ["welcome", "b"],
            ["welcome", "g"],
        ]
        while ["welcome", "g"] not in await lanes(checkpoints):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
        found = await checkpoints.lanes(NAME, [0], within_s=0, behind=("charge", "a"), limit=1)
        assert [each[:3] for each in found] == [("welcome", "b", 0)]
        assert not await checkpoints.lanes(NAME, [], within_s=0)

    @checkpoints_test
    async def test_a_lane_is_told_in_order_without_what_is_finished(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        finished: tuple[EffectStatus, ...] = ("done", "failed", "dropped")
        for position, status in enumerate((*finished, *UNFINISHED), 1):
            await owe(checkpoints, owed(position, status))
        await owe(checkpoints, owed(99, stream="b"), owed(98, handler="charge"))
        found = await checkpoints.lane(NAME, "welcome", "a")
        assert [each.status for each in found] == list(UNFINISHED)
        assert [each.position for each in found] == [4, 5, 6, 7, 8, 9]
        assert len(await checkpoints.lane(NAME, "welcome", "a", limit=2)) == 2

    @checkpoints_test
    async def test_an_effect_changes_only_from_how_it_stands(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await owe(checkpoints, owed(1))
        begun = change(1, "pending", "intent", tries=1)
        assert await checkpoints.change_effect(NAME, begun)
        assert not await checkpoints.change_effect(NAME, begun), "it is not pending any more"
        assert not await checkpoints.change_effect(NAME, change(1, "intent", "done"))
        assert not await checkpoints.change_effect("archive", change(1, "intent", "done"))
        [found] = await checkpoints.effects()
        assert (found.status, found.tries, found.due_s) == ("intent", 1, None)
        assert found.intent_s is not None
        assert 0 <= found.intent_s < 30
        outcome = Change(
            "welcome", 1, "intent", 1, "succeeded", 0, 60.0, '{"a":1}', True, "Ünlucky"
        )
        assert await checkpoints.change_effect(NAME, outcome)
        [found] = await checkpoints.effects()
        assert (found.status, found.tries, found.result) == ("succeeded", 0, '{"a":1}')
        assert (found.happened, found.error) == (True, "Ünlucky")
        assert found.due_s is not None
        assert 30 < found.due_s <= 60
        assert found.intent_s is not None

    @checkpoints_test
    async def test_a_worker_that_lost_its_lease_changes_no_effect(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        [held] = await scene.held()
        await owe(checkpoints, owed(1))
        begun = change(1, "pending", "intent", tries=1)
        assert await checkpoints.change_effect(NAME, begun, slice=0, fence=held.fence)
        await checkpoints.release(NAME, {0: held.fence})
        done = change(1, "intent", "done", before_tries=1, tries=1)
        with pytest.raises(LeaseLost):
            await checkpoints.change_effect(NAME, done, slice=0, fence=held.fence)
        [other] = await checkpoints.claim(NAME, "w2", ttl_s=LONG_S, most=1)
        with pytest.raises(LeaseLost):
            await checkpoints.change_effect(NAME, done, slice=0, fence=held.fence)
        assert [each.status for each in await checkpoints.effects()] == ["intent"]
        assert await checkpoints.change_effect(NAME, done, slice=0, fence=other.fence)

    @checkpoints_test
    async def test_what_was_begun_by_nobody_who_is_left_is_ambiguous(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        held = await scene.held(slices=2)
        await owe(
            checkpoints,
            owed(1, "intent", due_s=None, tries=3),
            owed(2, "intent", due_s=None, stream="b"),
            owed(2, "intent", due_s=None, stream="b", handler="charge"),
            owed(3, "intent", due_s=None, stream="c", slice=1),
            owed(4, stream="d"),
            owed(1, "intent", due_s=None, name="archive"),
        )
        mine = {0: held[0].fence, 1: held[1].fence - 1}
        assert await checkpoints.mark_ambiguous(NAME, mine, but=[("charge", 2)]) == 2
        assert briefly(await checkpoints.effects(NAME)) == [
            (1, "welcome", "ambiguous"),
            (2, "charge", "intent"),
            (2, "welcome", "ambiguous"),
            (3, "welcome", "intent"),
            (4, "welcome", "pending"),
        ]
        [first, *_] = await checkpoints.effects(NAME)
        assert first.tries == 3
        assert first.due_s is not None
        assert first.due_s <= 0
        assert await checkpoints.mark_ambiguous(NAME, mine, but=[("charge", 2)]) == 0
        assert await checkpoints.mark_ambiguous(NAME, {1: held[1].fence}) == 1

    @checkpoints_test
    async def test_effects_are_listed_and_counted(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await owe(
            checkpoints,
            owed(5),
            owed(2, "retrying", stream="b"),
            owed(1, "ambiguous", due_s=None),
            owed(1, "parked", due_s=None, handler="charge"),
            owed(3, "done", due_s=None),
            owed(9, "done", due_s=None, name="archive"),
        )
        found = await checkpoints.effects()
        assert [(each.name, each.position, each.handler) for each in found] == [
            ("archive", 9, "welcome"),
            (NAME, 1, "charge"),
            (NAME, 1, "welcome"),
            (NAME, 2, "welcome"),
            (NAME, 3, "welcome"),
            (NAME, 5, "welcome"),
        ]
        assert briefly(await checkpoints.effects(NAME, status="done")) == [(3, "welcome", "done")]
        assert len(await checkpoints.effects(NAME, position=1)) == 2
        assert briefly(await checkpoints.effects(stream="b")) == [(2, "welcome", "retrying")]
        assert len(await checkpoints.effects(limit=2)) == 2
        [counts] = await checkpoints.effect_counts()
        assert (counts.name, counts.pending, counts.ambiguous, counts.parked) == (NAME, 2, 1, 1)
        assert 0 <= counts.oldest_s < 30

    @checkpoints_test
    async def test_a_removed_subscription_owes_nothing(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        [held] = await scene.held()
        await checkpoints.register_handlers(NAME, ["welcome"], position=7)
        await owe(checkpoints, owed(1), owed(1, name="archive"))
        await checkpoints.release(NAME, {0: held.fence})
        assert await checkpoints.remove(NAME)
        assert [each.name for each in await checkpoints.effects()] == ["archive"]
        known = await checkpoints.register_handlers(NAME, ["welcome"], position=9)
        assert known == {"welcome": 9}

    @checkpoints_test
    async def test_what_is_said_of_effects_is_text_like_any_other(self, scene: Scene) -> None:
        odd = 'o\'%s ? :name "x" ; -- \N{SNOWMAN}'
        checkpoints = scene.checkpoints
        await checkpoints.register_handlers(odd, [odd], position=1)
        await owe(checkpoints, owed(1, name=odd, handler=odd, stream=odd))
        said = Change(odd, 1, "pending", 0, "intent", 1, None, f'"{odd}"', False, odd)
        assert await checkpoints.change_effect(odd, said)
        [found] = await checkpoints.effects(odd, stream=odd)
        assert (found.handler, found.result, found.error) == (odd, f'"{odd}"', odd)
        [held] = await self._held(checkpoints, odd)
        assert await checkpoints.mark_ambiguous(odd, {0: held}, but=[(odd, 1)]) == 0
        assert await checkpoints.mark_ambiguous(odd, {0: held}, but=[(odd, 2)]) == 1
        [lane] = await checkpoints.lanes(odd, [0], within_s=1)
        assert (lane.handler, lane.stream) == (odd, odd)

    async def _held(self, checkpoints: Checkpoints, name: str) -> list[int]:
        await checkpoints.register(name, slices=1, position=0, token=None)
        return [each.fence for each in await checkpoints.claim(name, "w", ttl_s=LONG_S, most=1)]
