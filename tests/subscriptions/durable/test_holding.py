"""What a worker holds, while leases are renewed beside its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from everlog import Projector, Record, Tx, retry, to
from everlog.ports.checkpoints import Held, Working
from everlog.subscriptions import worker as working
from everlog.subscriptions.holding import Holding
from tests.store.watched import Noted, run
from tests.subscriptions.durable.places import Place
from tests.subscriptions.durable.test_running import Broken, counts, many, note, until, writing


def waiting(place: Place, fails: Callable[[int], Awaitable[bool]]) -> Projector:
    """Returns a projector that waits before it writes down what it handles."""
    projector = Projector()

    @projector.all(Noted)
    async def write(record: Record[Noted], tx: Tx) -> None:
        if await fails(record.data.number):
            raise Broken(f"number {record.data.number}")
        if place.kind != "postgres":
            await tx.execute(place.create)
        await tx.execute(place.insert, (record.position, record.stream, record.data.number))

    return projector


class SlowAnswers:
    """Checkpoints of which a renewal answers late: what was claimed meanwhile is not in it."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.free = [Held(0, 1, 0, None, True)]

    async def workers(self, name: str) -> Sequence[Working]:
        return [Working("worker", True)]

    async def claim(
        self, name: str, worker: str, *, ttl_s: float, most: int, version: int = 1
    ) -> Sequence[Held]:
        taken, self.free = self.free, []
        return taken

    async def renew(
        self, name: str, worker: str, fences: Mapping[int, int], *, ttl_s: float
    ) -> frozenset[int]:
        await self.answer.wait()
        return frozenset(fences)


def test_what_was_claimed_while_leases_were_renewed_is_held() -> None:
    async def main() -> None:
        checkpoints: Any = SlowAnswers()
        holding = Holding(checkpoints, "view", "worker", slices=2, ttl_s=1)
        await holding.claim()
        renewing = asyncio.create_task(holding.renew())
        await asyncio.sleep(0)
        checkpoints.free = [Held(1, 2, 0, None, True)]
        await holding.claim()
        checkpoints.answer.set()
        assert await renewing
        assert holding.slices == {0, 1}

    run(main)


def test_a_worker_that_loses_all_it_holds_claims_it_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        next_of = working.Worker._next  # pyright: ignore[reportPrivateUsage]
        lost = 0

        async def lose_all(worker: working.Worker, *args: Any) -> Any:
            nonlocal lost
            lost += 1
            if lost == 2:  # as a renewal does that comes too late
                await worker.holding.release()
            return await next_of(worker, *args)

        monkeypatch.setattr(working.Worker, "_next", lose_all)
        async with place.store() as store:
            await note(store, 1)
            async with store.subscription("view", writing(place)) as subscription:
                await subscription.caught_up()
                await note(store, 2)
                await subscription.caught_up()
            assert lost > 2
            assert [row[2] for row in place.handled()] == [1, 2]

    run(main)


def test_many_streams_that_are_tried_again_do_not_stop_the_others(place: Place) -> None:
    async def main() -> None:
        broken = True
        slow = False

        async def fails(number: int) -> bool:
            if number < 300 and slow:
                await asyncio.sleep(0.1)
            return number < 300 and broken

        projector = waiting(place, fails)
        async with place.store() as store:
            await many(store, 300, 300)
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up()
                assert await counts(store) == (300, 0, 0)
                slow = True
                await store.subscriptions.retry("view")
                for number in range(1000, 1005):  # 300 tries take 30 s and more
                    [record] = await store.append(f"other-{number}", Noted(number))
                    await subscription.caught_up(record.position, timeout_s=20)
                    assert record.position in [row[0] for row in place.handled()]
                parked, retrying, _ = await counts(store)
                assert retrying > 0, "it was not seen beside the tries"
                broken = slow = False
                await until(lambda: counts(store), (parked, 0, 0))

    run(main)


def test_a_record_that_was_dropped_while_it_was_tried_stays_dropped(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            tried = asyncio.Event()
            drop = asyncio.Event()

            async def wait(number: int) -> bool:
                if number == 2 and (await counts(store))[1]:
                    tried.set()
                    await drop.wait()
                return number == 2

            projector = waiting(place, wait)
            policy = retry(9, first_s=0.01)
            async with store.subscription("view", projector, on_error=policy) as subscription:
                await store.append_many([to("a", Noted(n)) for n in (1, 2, 3)])
                await tried.wait()
                assert await store.subscriptions.drop("view", position=2) == 1
                drop.set()
                await subscription.caught_up()
                await until(lambda: counts(store), (0, 0, 0))
            assert [row[2] for row in place.handled()] == [1, 3]
            [trace] = await store.subscriptions.parked("view")
            assert trace.status == "dropped"

    run(main)
