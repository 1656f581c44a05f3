"""Who writes all the time keeps nobody from being in step with what there was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from everlog import EventStore
from everlog.sync.hub import Hub
from everlog.wire.messages import Asked, Forked, Offer, Pulled, Pushed
from tests.store.watched import Noted, run
from tests.sync.places import Place
from tests.sync.test_bad_input import Line, store


class Busy(Line):
    """A hub whose edge has written again, and again, by the time it answers."""

    def __init__(self, hub: Hub, edge: EventStore) -> None:
        super().__init__(hub)
        self.edge = edge
        self.pushes = 0
        self.many = asyncio.Event()

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        self.pushes += 1
        if self.pushes == 20:
            self.many.set()
        assert self.pushes < 1_000, "there is no end of it"
        await self.edge.append("busy", Noted(self.pushes))
        return await super().push(asked, offers)


def test_an_edge_that_is_written_to_all_the_time_gets_into_step(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one") as (hub, one), asyncio.timeout(30):
            line = Busy(hub.as_hub(), one)
            [record] = await one.append("a", Noted(0))
            result = await one.sync(line).once()
            assert result.in_step
            assert await hub.find(record.id) is not None
            async with one.sync(line) as sync:
                for number in range(3):
                    [record] = await one.append("a", Noted(number))
                    await sync.in_step(timeout_s=30)
                    assert await hub.find(record.id) is not None

    run(main)


def test_what_was_written_while_a_round_went_on_comes_with_the_next_at_once() -> None:
    async def main() -> None:
        async with store() as hub, store() as one, asyncio.timeout(4):
            line = Busy(hub.as_hub(), one)
            async with one.sync(line):
                await one.append("a", Noted(0))
                await line.many.wait()  # each brings the next

    run(main)


class Moving(Line):
    """A hub whose relation is another one whenever a piece of it is given."""

    def __init__(self, hub: EventStore) -> None:
        super().__init__(hub.as_hub())
        self.store = hub
        self.pulls = 0
        self.moves = True

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        self.pulls += 1
        if self.moves:
            await self.store.relations.add("wanted", f"s-{self.pulls}")
        return await super().pull(asked, size=size)


def test_a_relation_that_never_rests_keeps_nothing_from_coming(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one") as (hub, one), asyncio.timeout(60):
            line = Moving(hub)
            for number in range(4):
                await hub.relations.add("wanted", f"a{number}")
                await hub.append(f"a{number}", *[Noted(each) for each in range(500)])
            await hub.append("s-3", Noted(7), ids=["entered"])
            [record] = await one.append("mine", Noted(0))
            sync = one.sync(line, relation="wanted")
            assert not (await sync.once()).in_step, "some of what has entered may be missing"
            assert await hub.find(record.id) is not None
            there = [each.id async for each in hub.read(prefix="a")]
            assert [each.id async for each in one.read(prefix="a")] == there
            line.moves = False
            assert (await sync.once()).in_step
            assert await one.find("entered") is not None
            assert (await sync.once()).idle

    run(main)
