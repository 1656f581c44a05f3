"""Following PostgreSQL: through lost connections, with few of them, never over to another log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from everlog import Following, LogDiverged
from everlog.subscriptions import feed
from tests.adapters.databases import PATIENCE_S
from tests.adapters.schema import Schema, eventually
from tests.store.watched import Noted

END_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'everlog'"
)


async def take(following: Following[Any], count: int) -> list[int]:
    """Returns the positions of the next so many records."""
    async with asyncio.timeout(PATIENCE_S):
        return [(await anext(following)).position for _ in range(count)]


async def waiting(following: Following[Any], count: int) -> asyncio.Task[list[int]]:
    """Returns a task that waits for the next so many records, when it does."""
    task = asyncio.create_task(take(following, count))
    await asyncio.sleep(0.05)
    assert not task.done()
    return task


def test_a_follower_whose_connections_are_ended_goes_on_and_misses_nothing(schema: Schema) -> None:
    async def main() -> None:
        async with schema.store() as store, schema.store() as other:
            following = store.follow()
            seen: list[int] = []
            for turn in range(5):
                coming = await waiting(following, 3)
                await asyncio.to_thread(schema.ask, END_ALL)
                await other.append("a", *[Noted()] * 3)
                seen += await coming
                if turn % 2:  # and where none had been waited for
                    await other.append("a", Noted())
                    await asyncio.to_thread(schema.ask, END_ALL)
                    seen += await take(following, 1)
            assert seen == [*range(1, 18)]

    asyncio.run(main())


def test_followers_that_wait_hold_no_connection(schema: Schema) -> None:
    async def main() -> None:
        async with schema.store(readers=1) as store:
            await store.append("a", Noted())
            followings = [store.follow() for _ in range(30)]
            for each in followings:
                await take(each, 1)
            tasks = [asyncio.create_task(take(each, 1)) for each in followings]
            await asyncio.sleep(0.05)
            async with asyncio.timeout(PATIENCE_S):
                assert len(await store.read().to_list()) == 1
            # One that writes, one that reads, one that listens; those of before end by and by.
            await eventually(lambda: schema.connections() <= 3, "they hold no connection")
            await store.append("a", Noted())
            assert await asyncio.gather(*tasks) == [[2]] * 30

    asyncio.run(main())


@pytest.mark.parametrize("instead", [0, 2, 3])
@pytest.mark.parametrize("options", [{}, {"stream": "a"}, {"prefix": "a"}, {"relation": "r"}])
def test_a_live_follower_is_told_when_a_server_without_the_tail_takes_over(
    schema: Schema, options: dict[str, Any], instead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "LOOK_AGAIN_S", 0.1)

    async def main() -> None:
        async with schema.store() as store:
            await store.append("a", Noted(), relations=["r"])
            await asyncio.to_thread(schema.save)
            await store.append("a", Noted(), Noted())
            following = store.follow(**options)
            assert await take(following, 3) == [1, 2, 3]
            # Several statements, of which the follower must see nothing: it waits afterwards.
            await asyncio.to_thread(schema.lose_tail)
            coming = asyncio.create_task(take(following, 1))
            if instead:
                async with schema.store() as other:
                    await other.append("a", *[Noted()] * instead)
            with pytest.raises(LogDiverged):
                await coming
            assert following.position == 3

    asyncio.run(main())
