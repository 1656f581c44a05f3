"""Records that were set aside: they hold up their own stream, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from everlog.ports.checkpoints import Checkpoints, Parked
from tests.contract.checkpoints.scene import NAME, Binding, Scene, aside, checkpoints_test, park


def briefly(parked: Sequence[Parked]) -> list[tuple[int, str, int]]:
    """Returns position, status and tries of each."""
    return [(each.position, each.status, each.tries) for each in parked]


async def due(checkpoints: Checkpoints, *slices: int) -> list[tuple[str, int, str]]:
    """Returns stream, position and when for each record that is to be tried first."""
    found = await checkpoints.due(NAME, slices or (0,))
    return [(each.stream, each.position, when(each.due_s)) for each in found]


def when(due_s: float | None) -> str:
    return "not by itself" if due_s is None else "now" if due_s <= 0 else "later"


class SettingAside(Binding):
    """park, unpark, due, parked, retry, drop."""

    @checkpoints_test
    async def test_what_is_set_aside_is_listed_as_it_was_given(self, scene: Scene) -> None:
        given = [
            aside(7, "retrying", stream="b", slice=3, tries=2, due_s=60, error="Ünlucky\n'%s' ?"),
            aside(5, "parked", tries=9),
            aside(6, "behind", tries=0, error=""),
            aside(8, "skipped"),
            aside(9, "dropped"),
            aside(2, name="archive"),
        ]
        await park(scene.checkpoints, *given)
        found = await scene.checkpoints.parked()
        expected = [given[5], given[1], given[2], given[0], given[3], given[4]]
        assert [(each.name, each.position) for each in found] == [
            (each.name, each.position) for each in expected
        ]
        for one, other in zip(found, expected, strict=True):
            assert (one.slice, one.stream, one.id) == (other.slice, other.stream, other.id)
            assert (one.status, one.tries, one.error) == (other.status, other.tries, other.error)
            assert 0 <= one.since_s < 30
            if other.due_s is None:
                assert one.due_s is None
            else:
                assert one.due_s is not None
                assert 30 < one.due_s <= 60

    @checkpoints_test
    async def test_a_listing_can_be_narrowed_down(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await park(
            checkpoints,
            *(aside(number, stream="ab"[number % 2]) for number in range(1, 7)),
            aside(3, stream="b", name="archive"),
        )
        assert [each.position for each in await checkpoints.parked(NAME)] == [1, 2, 3, 4, 5, 6]
        assert [each.position for each in await checkpoints.parked(NAME, stream="b")] == [1, 3, 5]
        assert [each.position for each in await checkpoints.parked(NAME, limit=2)] == [1, 2]
        assert [each.name for each in await checkpoints.parked(stream="b")] == [
            "archive",
            *[NAME] * 3,
        ]
        assert not await checkpoints.parked("nobody's")

    @checkpoints_test
    async def test_a_record_that_is_set_aside_again_is_there_once(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await park(checkpoints, aside(1, "retrying", tries=1, due_s=0, error="first"))
        await asyncio.sleep(0.05)
        await park(checkpoints, aside(1, "parked", tries=2, error="second"))
        [found] = await checkpoints.parked()
        assert (found.status, found.tries, found.error) == ("parked", 2, "second")
        assert found.due_s is None
        assert found.since_s > 0.04, "it was set aside the first time"

    @checkpoints_test
    async def test_a_record_that_was_handled_after_all_is_taken_out(self, scene: Scene) -> None:
        checkpoints = scene.checkpoints
        await park(checkpoints, aside(1), aside(2), aside(1, name="archive"))
        async with checkpoints.transaction() as transaction:
            await transaction.unpark(NAME, 1)
            await transaction.unpark(NAME, 99)
        found = await checkpoints.parked()
        assert [(each.name, each.position) for each in found] == [("archive", 1), (NAME, 2)]

    @checkpoints_test
    async def test_only_the_first_that_is_held_up_in_a_stream_is_to_be_tried(
        self, scene: Scene
    ) -> None:
        await park(
            scene.checkpoints,
            aside(1, "parked", stream="a"),
            aside(2, "retrying", stream="a", due_s=0),
            aside(3, "retrying", stream="b", due_s=60),
            aside(4, "behind", stream="b"),
            aside(5, "retrying", stream="c", due_s=0, tries=4),
            aside(6, "behind", stream="c"),
        )
        assert await due(scene.checkpoints) == [
            ("a", 1, "not by itself"),
            ("b", 3, "later"),
            ("c", 5, "now"),
        ]
        third = (await scene.checkpoints.due(NAME, [0]))[2]
        assert (third.slice, third.tries) == (0, 4)

    @checkpoints_test
    async def test_what_was_given_up_holds_nothing_up(self, scene: Scene) -> None:
        await park(
            scene.checkpoints,
            aside(1, "skipped", stream="a"),
            aside(2, "dropped", stream="a"),
            aside(3, "behind", stream="a"),
            aside(4, "skipped", stream="b"),
        )
        assert await due(scene.checkpoints) == [("a", 3, "now")]

    @checkpoints_test
    async def test_what_is_due_is_told_of_the_slices_that_were_asked_for(
        self, scene: Scene
    ) -> None:
        await park(
            scene.checkpoints,
            aside(1, stream="a", slice=0),
            aside(2, stream="b", slice=1),
            aside(3, stream="c", slice=2),
            aside(4, stream="d", slice=1, name="archive"),
        )
        found = await scene.checkpoints.due(NAME, [1, 2, 7])
        assert [(each.slice, each.stream) for each in found] == [(1, "b"), (2, "c")]
        assert not await scene.checkpoints.due(NAME, [])

    @checkpoints_test
    async def test_a_retry_comes_due_by_itself(self, scene: Scene) -> None:
        await park(scene.checkpoints, aside(1, "retrying", due_s=0.2))
        [first] = await scene.checkpoints.due(NAME, [0])
        assert first.due_s is not None
        assert first.due_s < 0.21
        while await due(scene.checkpoints) != [("a", 1, "now")]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)

    @checkpoints_test
    async def test_parked_records_are_retried_now_with_their_tries_forgotten(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await park(
            checkpoints,
            aside(1, "parked", stream="a", tries=5),
            aside(2, "behind", stream="a"),
            aside(3, "parked", stream="b", tries=5),
            aside(4, "retrying", stream="c", tries=3, due_s=60),
            aside(5, "skipped", stream="d"),
            aside(6, "dropped", stream="d"),
            aside(7, "parked", name="archive", tries=5),
        )
        assert await checkpoints.retry(NAME, stream=None, position=None) == 2
        assert briefly(await checkpoints.parked(NAME)) == [
            (1, "retrying", 0),
            (2, "behind", 1),
            (3, "retrying", 0),
            (4, "retrying", 3),
            (5, "skipped", 1),
            (6, "dropped", 1),
        ]
        assert await due(checkpoints) == [("a", 1, "now"), ("b", 3, "now"), ("c", 4, "later")]
        assert briefly(await checkpoints.parked("archive")) == [(7, "parked", 5)]
        assert await checkpoints.retry(NAME, stream=None, position=None) == 0
        [first] = await checkpoints.parked(NAME, limit=1)
        assert first.error == "it failed", "what was wrong is still told"

    @pytest.mark.parametrize("give_up", [False, True])
    @checkpoints_test
    async def test_one_record_or_one_stream_can_be_told(self, scene: Scene, give_up: bool) -> None:
        checkpoints = scene.checkpoints
        await park(
            checkpoints,
            *(aside(number, "parked", stream="ab"[number % 2]) for number in range(1, 7)),
        )
        told = checkpoints.drop if give_up else checkpoints.retry
        assert await told(NAME, stream=None, position=2) == 1
        assert await told(NAME, stream="a", position=3) == 0
        assert await told(NAME, stream="b", position=None) == 3
        assert await told(NAME, stream="nobody's", position=None) == 0
        assert await told("nobody's", stream=None, position=None) == 0
        left = [each.position for each in await checkpoints.parked() if each.status == "parked"]
        assert left == [4, 6]

    @checkpoints_test
    async def test_dropped_records_leave_a_trace_and_what_waited_behind_them_is_due(
        self, scene: Scene
    ) -> None:
        checkpoints = scene.checkpoints
        await park(
            checkpoints,
            aside(1, "parked", stream="a", tries=5),
            aside(2, "behind", stream="a"),
            aside(3, "retrying", stream="b", tries=2, due_s=60),
            aside(4, "behind", stream="b"),
            aside(5, "skipped", stream="c"),
        )
        assert await checkpoints.drop(NAME, stream=None, position=None) == 2
        assert briefly(await checkpoints.parked(NAME)) == [
            (1, "dropped", 5),
            (2, "behind", 1),
            (3, "dropped", 2),
            (4, "behind", 1),
            (5, "skipped", 1),
        ]
        assert {each.due_s for each in await checkpoints.parked(NAME)} == {None}
        assert await due(checkpoints) == [("a", 2, "now"), ("b", 4, "now")]
        assert await checkpoints.drop(NAME, stream=None, position=2) == 0, "it is only behind"

    @checkpoints_test
    async def test_names_and_streams_are_texts_like_any_other(self, scene: Scene) -> None:
        odd = 'o\'%s ? :name "x" ; -- \N{SNOWMAN}'
        checkpoints = scene.checkpoints
        await checkpoints.register(odd, slices=1, position=0, token=odd)
        [held] = await checkpoints.claim(odd, odd, ttl_s=60, most=1)
        assert held.token == odd
        await park(checkpoints, aside(1, name=odd, stream=odd, error=odd))
        [found] = await checkpoints.parked(odd, stream=odd)
        assert (found.name, found.stream, found.error) == (odd, odd, odd)
        assert await checkpoints.drop(odd, stream=odd, position=None) == 1
        await checkpoints.release(odd, {0: held.fence}, error=odd)
        [status] = await checkpoints.statuses()
        assert (status.name, status.error) == (odd, odd)
        assert await checkpoints.remove(odd)
