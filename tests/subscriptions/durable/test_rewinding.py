"""Rewinding: what is behind the place is handled again, once, and nothing else changes."""

from __future__ import annotations

import asyncio

import pytest

from everlog import EventStore, Projector, Record
from everlog.errors import InvalidInput, LogDiverged, MisusedStore, NotFound
from tests.store.watched import Noted, Said, run
from tests.subscriptions.durable.places import Place


class Seen:
    """What was handled, by whom, and which numbers fail."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.paid: list[int] = []
        self.failing: set[int] = set()

    def projector(self) -> Projector:
        projector = Projector()

        @projector.on(Noted)
        async def see(record: Record[Noted]) -> None:
            if record.data.number in self.failing:
                raise ValueError("no")
            self.numbers.append(record.data.number)

        @projector.once(Noted, name="pay", idempotent=True)
        async def pay(record: Record[Noted]) -> None:
            self.paid.append(record.data.number)

        return projector


async def go(store: EventStore, seen: Seen, *, paid: int, slices: int = 1) -> None:
    """Runs the subscription until all is handled and so many effects have happened."""
    async with store.subscription(
        "view", seen.projector(), from_="beginning", on_error="park", slices=slices
    ) as view:
        await view.caught_up()
        async with asyncio.timeout(60):
            while len(await store.subscriptions.effects("view", status="done")) < paid:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def fill(store: EventStore) -> None:
    for stream in ("a", "b", "c"):
        await store.append(stream, Noted(1), Noted(2))


@pytest.mark.parametrize("slices", [1, 3])
def test_what_is_behind_the_place_is_handled_again_and_effects_are_not_owed_twice(
    place: Place, slices: int
) -> None:
    async def main() -> None:
        seen = Seen()
        async with place.store() as store:
            await fill(store)
            await go(store, seen, paid=6, slices=slices)
            assert sorted(seen.numbers) == [1, 1, 1, 2, 2, 2]
            await store.subscriptions.rewind("view", to=4)
            [status] = await store.subscriptions.status()
            assert (status.position, status.lag, status.workers) == (4, 2, ())
            seen.numbers.clear()
            await go(store, seen, paid=6, slices=slices)
            assert seen.numbers == [1, 2], "those of stream c"
            token = store.token((await store.read(limit=1).to_list())[0])
            await store.subscriptions.rewind("view", to=token)
            seen.numbers.clear()
            await go(store, seen, paid=6, slices=slices)
            assert sorted(seen.numbers) == [1, 1, 2, 2, 2]
            assert sorted(seen.paid) == [1, 1, 1, 2, 2, 2]

    run(main)


def test_what_was_set_aside_behind_the_place_is_met_again_and_what_is_before_it_stays(
    place: Place,
) -> None:
    async def main() -> None:
        seen = Seen()
        seen.failing = {1}
        async with place.store() as store:
            await fill(store)
            await go(store, seen, paid=6)
            found = await store.subscriptions.parked("view")
            assert [(each.position, each.status) for each in found] == [
                (1, "parked"),
                (2, "behind"),
                (3, "parked"),
                (4, "behind"),
                (5, "parked"),
                (6, "behind"),
            ]
            await store.subscriptions.rewind("view", to=2)
            assert [each.position for each in await store.subscriptions.parked("view")] == [1, 2]
            seen.failing = set()
            await go(store, seen, paid=6)
            assert seen.numbers == [1, 2, 1, 2]
            assert [each.position for each in await store.subscriptions.parked("view")] == [1, 2]

    run(main)


def test_what_runs_is_not_rewound(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await fill(store)
            async with store.subscription("view", Seen().projector(), slices=2) as view:
                await view.caught_up()
                with pytest.raises(MisusedStore, match="'view' is running"):
                    await store.subscriptions.rewind("view", to=0)
                assert (await store.subscriptions.status())[0].lag == 0
                await store.append("a", Noted(3))
                await view.caught_up()

    run(main)


def test_a_place_that_is_none_or_ahead_is_refused(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            with pytest.raises(NotFound):
                await store.subscriptions.rewind("view", to=0)
            await fill(store)
            await go(store, Seen(), paid=6)
            await store.append("a", Said("x"))
            for there in (6, 7):
                with pytest.raises(InvalidInput, match="cannot go back"):
                    await store.subscriptions.rewind("view", to=there)
            with pytest.raises(InvalidInput):
                await store.subscriptions.rewind("view", to=100)
            async with EventStore.open("memory:", events=[Noted]) as other:
                [record] = await other.append("a", Noted(1))
                with pytest.raises(LogDiverged):
                    await store.subscriptions.rewind("view", to=other.token(record))

    run(main)
