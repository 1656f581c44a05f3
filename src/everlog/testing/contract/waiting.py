"""Waiting for what comes: who follows the log is woken, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from everlog.core.relation import Relate
from everlog.errors import InvalidInput, StoreClosed
from everlog.testing.contract.committing import append, new, place
from everlog.testing.contract.events import Noted
from everlog.testing.contract.scene import Contract, Scene, contract_test, positions_of

PATIENCE_S = 30.0
"""Longer than anything here takes: who waits so long waits for ever."""


async def begun(*waits: asyncio.Task[int]) -> None:
    """Returns when these have begun to wait, and a look has found nothing for them."""
    for _ in range(50):
        await asyncio.sleep(0.001)  # a poll of SQLite takes two
    assert not any(wait.done() for wait in waits)


async def told(*waits: asyncio.Task[int]) -> list[int]:
    """Returns what they are told; fails where nobody tells them before their time is up."""
    _, left = await asyncio.wait(waits, timeout=PATIENCE_S / 2)
    assert not left, "they were not woken"
    return [wait.result() for wait in waits]


class WaitingForRecords(Contract):
    """`store.wait`, and the port's `wait`."""

    @contract_test
    async def test_who_is_behind_does_not_wait(self, scene: Scene) -> None:
        records = await scene.store.append("a", Noted(1), Noted(2), Noted(3))
        for after in (0, 2, scene.store.token(records[0])):
            assert await scene.store.wait(after=after, timeout_s=PATIENCE_S) == 3
        assert await scene.store.wait() == 3
        for position in (0, 1, 2):
            assert await scene.ledger.wait(position, timeout_s=PATIENCE_S) == 3

    @contract_test
    async def test_who_waits_is_woken_by_the_next_commit(self, scene: Scene) -> None:
        for position in range(3):
            waits = [
                asyncio.create_task(scene.store.wait(after=position, timeout_s=PATIENCE_S)),
                asyncio.create_task(scene.ledger.wait(position, timeout_s=PATIENCE_S)),
            ]
            await begun(*waits)
            await scene.store.append("a", Noted(position))
            assert await told(*waits) == [position + 1] * 2

    @contract_test
    async def test_who_waits_is_woken_by_what_is_appended_elsewhere(self, scene: Scene) -> None:
        if not scene.capabilities.shared:
            return
        other = await scene.elsewhere("main")
        for position in range(3):
            wait = asyncio.create_task(scene.store.wait(after=position, timeout_s=PATIENCE_S))
            await begun(wait)
            await other.append("a", Noted(position))
            assert await told(wait) == [position + 1]

    @contract_test
    async def test_who_waits_for_more_is_not_woken_by_less(self, scene: Scene) -> None:
        far = asyncio.create_task(scene.ledger.wait(5, timeout_s=PATIENCE_S))
        near = asyncio.create_task(scene.ledger.wait(1, timeout_s=PATIENCE_S))
        for position in range(1, 6):
            await scene.store.append("a", Noted(position))
            await scene.ledger.commit([Relate(add=(("r", f"s{position}"),))])
            if position == 2:
                assert await told(near) >= [2]
        await begun(far)
        await scene.store.append("a", Noted(6))
        assert await told(far) == [6]

    @contract_test
    async def test_who_waited_long_enough_is_told_how_far_it_is(self, scene: Scene) -> None:
        for position in range(3):
            for timeout_s in (0, 0.001, 0.02):
                assert await scene.store.wait(after=7, timeout_s=timeout_s) == position
                assert await scene.ledger.wait(7, timeout_s=timeout_s) == position
            head = (await scene.store.info()).token
            assert await scene.store.wait(after=head, timeout_s=0) == position
            await scene.store.append("a", Noted(1))

    @contract_test
    async def test_who_is_told_the_time_is_up_is_told_of_every_append_before_it(
        self, scene: Scene
    ) -> None:
        waits = [asyncio.create_task(scene.ledger.wait(999, timeout_s=PATIENCE_S))]  # looks go on
        for position in range(1, 20):
            await place(scene.ledger, append(new(f"{position}")))
            assert await scene.ledger.wait(999, timeout_s=0) == position
        for wait in waits:
            wait.cancel()

    @contract_test
    async def test_many_wait_and_each_is_woken(self, scene: Scene) -> None:
        waits = [
            asyncio.create_task(scene.ledger.wait(number % 4, timeout_s=PATIENCE_S))
            for number in range(200)
        ]
        await begun(*waits)
        for number in range(4):
            await scene.store.append("a", Noted(number))
        heads = await told(*waits)
        assert all(head > number % 4 for number, head in enumerate(heads))

    @contract_test
    async def test_a_follower_that_waits_misses_nothing_and_never_waits_in_vain(
        self, scene: Scene
    ) -> None:
        seen: list[int] = []
        appends = 60
        beginning = (await scene.store.info()).token

        async def follow(token: str) -> None:
            while len(seen) < appends:
                last = seen[-1] if seen else 0
                assert await scene.store.wait(after=token, timeout_s=PATIENCE_S) > last
                async for record in scene.store.read(after=token):
                    seen.append(record.position)
                    token = scene.store.token(record)

        async def write() -> None:
            for number in range(appends):
                await scene.store.append("a", Noted(number))
                for _ in range(number % 7):  # at each point of what the follower does
                    await asyncio.sleep(0)

        following = asyncio.create_task(follow(beginning))
        await write()
        await following
        assert seen == positions_of(await scene.rows())

    @contract_test
    async def test_who_stops_waiting_leaves_nothing_behind(self, scene: Scene) -> None:
        await scene.ledger.wait(9, timeout_s=0)  # what is kept for the next is there from here on

        async def calm() -> set[asyncio.Task[Any]]:
            for _ in range(100):
                await asyncio.sleep(0.001)
            return asyncio.all_tasks()

        before = await calm()
        waits = [asyncio.create_task(scene.ledger.wait(9, timeout_s=PATIENCE_S)) for _ in range(20)]
        waits += [asyncio.create_task(scene.ledger.wait(9, timeout_s=0.01)) for _ in range(20)]
        await begun(*waits[:20])
        assert asyncio.all_tasks() > before
        for wait in waits[:20]:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        assert [wait.cancelled() for wait in waits] == [True] * 20 + [False] * 20
        assert await calm() == before
        await scene.store.append("a", Noted(1))
        assert await scene.ledger.wait(0, timeout_s=PATIENCE_S) == 1

    @contract_test
    async def test_closing_ends_every_wait(self, scene: Scene) -> None:
        waits = [
            asyncio.create_task(scene.ledger.wait(9, timeout_s=PATIENCE_S)),
            asyncio.create_task(scene.store.wait(after=9, timeout_s=PATIENCE_S)),
        ]
        await begun(*waits)
        await scene.store.close()
        for wait in waits:
            with pytest.raises(StoreClosed):
                await told(wait)

    @pytest.mark.parametrize("timeout_s", [-1, float("nan"), float("inf"), 86_401, "1", None, True])
    @contract_test
    async def test_a_time_that_is_none_is_refused(self, scene: Scene, timeout_s: Any) -> None:
        with pytest.raises(InvalidInput):
            await scene.store.wait(timeout_s=timeout_s)
        for after in (-1, 1.0, True, None):
            with pytest.raises(InvalidInput):
                await scene.store.wait(after=after, timeout_s=0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
