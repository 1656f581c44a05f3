"""Following: each record once and in order, from what there is into what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from everlog.core.record import Record
from everlog.core.selection import PAGE_RECORDS
from everlog.errors import (
    InvalidInput,
    InvalidName,
    InvalidToken,
    LogDiverged,
    MisusedStore,
    StoreClosed,
    UnknownEvent,
)
from everlog.store.following import Following
from everlog.testing.contract.events import Activated, Noted, Renamed
from everlog.testing.contract.resuming import forged
from everlog.testing.contract.scene import Contract, Scene, contract_test, history, positions_of

PATIENCE_S = 10.0
"""Longer than anything here takes."""

FILTERS: dict[str, tuple[dict[str, Any], Callable[[Record[Any]], bool]]] = {
    "all": ({}, lambda record: True),
    "a stream": ({"stream": "s3"}, lambda record: record.stream == "s3"),
    "a prefix": ({"prefix": "s1"}, lambda record: record.stream.startswith("s1")),
    "a relation": ({"relation": "some"}, lambda record: record.stream in ("s0", "s2")),
    "a type": ({"types": [Noted]}, lambda record: record.type == "contract:noted"),
    "all together": (
        {"prefix": "s", "types": [Renamed, "contract:activated"], "after": 17},
        lambda record: record.type != "contract:noted" and record.position > 17,
    ),
    "nothing": ({"prefix": "nobody"}, lambda record: False),
}


@asynccontextmanager
async def in_time() -> AsyncGenerator[None]:
    """Fails where what is inside waits for ever."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield
    except TimeoutError:
        raise AssertionError("it waits for ever") from None


async def take(following: Following[Any], count: int) -> list[Record[Any]]:
    """Returns the next so many records."""
    async with in_time():
        return [await anext(following) for _ in range(count)]


async def nothing_comes(following: Following[Any]) -> None:
    """Returns when a follower has waited a little and was given nothing."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await anext(following)


async def waiting(following: Following[Any]) -> asyncio.Task[Record[Any]]:
    """Returns a task that waits for the next record, when it does."""

    async def following_record() -> Record[Any]:
        return await anext(following)

    task = asyncio.create_task(following_record())
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # looked at
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert not task.done()
    return task


class FollowingRecords(Contract):
    """`store.follow`."""

    @contract_test
    async def test_every_filter_follows_what_a_plain_filter_would(self, scene: Scene) -> None:
        await scene.store.relations.add("some", "s0", "s2")
        before = await history(scene.store, 60, streams=12)
        followings = {name: scene.store.follow(**options) for name, (options, _) in FILTERS.items()}
        seen: dict[str, list[Record[Any]]] = {name: [] for name in FILTERS}

        async def follow(name: str) -> None:
            async for record in followings[name]:
                seen[name].append(record)

        tasks = [asyncio.create_task(follow(name)) for name in FILTERS]
        async with in_time():
            for following in followings.values():
                await following.caught_up()
            after = [
                record
                for number in range(40)
                for record in await scene.store.append(
                    f"s{number % 12}", (Noted(1), Renamed("x"), Activated())[number % 3]
                )
            ]
            for following in followings.values():
                await following.caught_up()
        await asyncio.sleep(0)  # who iterates takes what was handed out last
        for name, (_, matches) in FILTERS.items():
            wanted = [record for record in [*before, *after] if matches(record)]
            assert seen[name] == wanted, name
            assert followings[name].position == 100, name
            assert followings[name].is_caught_up, name
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @contract_test
    async def test_pages_go_over_into_what_comes_without_a_seam(self, scene: Scene) -> None:
        count = 2 * PAGE_RECORDS + 7
        await history(scene.store, count)
        following = scene.store.follow()
        for position in range(1, count + 1):
            if position % 500 == 0:
                await scene.store.append("a", Noted(position))
            [record] = await take(following, 1)
            assert record.position == following.position == position
        assert positions_of(await take(following, 4)) == [*range(count + 1, count + 5)]
        await nothing_comes(following)

    @contract_test
    async def test_who_follows_is_given_what_is_appended_elsewhere(self, scene: Scene) -> None:
        if not scene.capabilities.shared:
            return
        other = await scene.elsewhere("main")
        following = scene.store.follow()
        for position in range(1, 4):
            coming = await waiting(following)
            await other.append("a", Noted(position))
            async with in_time():
                assert (await coming).position == position

    @contract_test
    async def test_a_follower_goes_on_behind_a_position_or_a_token(self, scene: Scene) -> None:
        records = await history(scene.store, 12)
        token = scene.store.token(records[4])
        for after in (5, token):
            assert positions_of(await take(scene.store.follow(after=after), 7)) == [*range(6, 13)]
        following = scene.store.follow(after=14)
        await nothing_comes(following)
        await scene.store.append("a", *[Noted(1)] * 3)
        assert positions_of(await take(following, 1)) == [15]

    @contract_test
    async def test_its_token_goes_on_right_behind_what_it_has_handed_out(
        self, scene: Scene
    ) -> None:
        records = await history(scene.store, 20)
        following = scene.store.follow()
        for record in records:
            assert await take(following, 1) == [record]
            assert following.token == scene.store.token(record)
        few = scene.store.follow(types=[Renamed])
        given = 0
        while few.position < 20:
            await take(few, 1)
            given += 1
            token = few.token
            assert token is not None
            rest = [
                record for record in records[few.position :] if record.type == "contract:renamed"
            ]
            assert await scene.store.read(types=[Renamed], after=token).to_list() == rest

    @contract_test
    async def test_a_bare_number_has_no_token_before_anything_was_read(self, scene: Scene) -> None:
        await history(scene.store, 3)
        assert scene.store.follow(after=1).token is None
        beginning = scene.store.follow().token
        assert beginning is not None
        assert len(await scene.store.read(after=beginning).to_list()) == 3

    @contract_test
    async def test_another_log_than_that_of_the_token_is_told(self, scene: Scene) -> None:
        records = await history(scene.store, 8)
        token = scene.store.token(records[4])
        for wrong in (
            forged(token, ledger="f" * 32),
            forged(token, epoch="f" * 16, chain=bytes(32)),
            forged(token, position=9),
            forged(token, chain=bytes(32)),
        ):
            for options in ({}, {"stream": "s1"}, {"prefix": "s"}, {"relation": "r"}):
                with pytest.raises(LogDiverged):
                    await take(scene.store.follow(after=wrong, **options), 1)

    @contract_test
    async def test_left_and_iterated_again_it_goes_on(self, scene: Scene) -> None:
        await history(scene.store, 9)
        following = scene.store.follow()
        seen: list[int] = []
        for last in (3, 4, 9):
            async for record in following:
                seen.append(record.position)
                if record.position == last:
                    break
        assert seen == [*range(1, 10)]

    @contract_test
    async def test_two_at_once_over_one_following_are_refused(self, scene: Scene) -> None:
        following = scene.store.follow()
        coming = await waiting(following)
        with pytest.raises(MisusedStore, match="once for each"):
            await take(following, 1)
        await scene.store.append("a", Noted(1))
        assert (await coming).position == 1
        both = [scene.store.follow(), scene.store.follow()]
        assert [positions_of(await take(each, 1)) for each in both] == [[1], [1]]

    @contract_test
    async def test_cancelled_while_it_waits_it_misses_nothing(self, scene: Scene) -> None:
        following = scene.store.follow()
        for position in range(1, 6):
            coming = await waiting(following)
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            await scene.store.append("a", Noted(position))
            assert positions_of(await take(following, 1)) == [position]

    @contract_test
    async def test_a_follower_that_is_left_leaves_nothing_behind(self, scene: Scene) -> None:
        await history(scene.store, 30)
        await scene.ledger.wait(99, timeout_s=0)  # what is kept for the next is there from here on

        async def calm() -> set[asyncio.Task[Any]]:
            for _ in range(100):
                await asyncio.sleep(0.001)
            return asyncio.all_tasks()

        before = await calm()
        for number in range(20):
            async for record in scene.store.follow():
                if record.position == number + 1:
                    break
        tasks = [await waiting(scene.store.follow(after=30)) for _ in range(5)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await calm() == before

    @contract_test
    async def test_caught_up_returns_when_all_up_to_there_was_handed_out(
        self, scene: Scene
    ) -> None:
        await history(scene.store, 9)
        following = scene.store.follow(types=[Noted])
        waits = {
            position: asyncio.create_task(following.caught_up(position))
            for position in (None, 0, 4, 9, 10)
        }
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert [position for position, wait in waits.items() if wait.done()] == [0]
        assert not following.is_caught_up

        async def follow() -> None:
            async for _ in following:
                pass

        task = asyncio.create_task(follow())
        async with in_time():
            await asyncio.gather(*(waits[position] for position in (None, 4, 9)))
            assert following.position == 9
            assert not waits[10].done()
            await scene.store.append("a", Renamed("not followed"))
            await waits[10]
            await following.caught_up()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @contract_test
    async def test_closing_ends_it_wherever_it_waits(self, scene: Scene) -> None:
        await history(scene.store, 3)
        following = scene.store.follow()
        await take(following, 3)
        nobodys = scene.store.follow()
        half_read = scene.store.follow()
        await take(half_read, 1)
        coming = await waiting(following)
        waits = [
            asyncio.create_task(following.caught_up(9)),
            asyncio.create_task(nobodys.caught_up()),
        ]
        await asyncio.sleep(0.01)
        await scene.store.close()
        async with in_time():
            for wait in (coming, *waits):
                with pytest.raises(StoreClosed):
                    await wait
            for each in (following, nobodys):
                with pytest.raises(StoreClosed):
                    await anext(each)
                with pytest.raises(StoreClosed):
                    await each.caught_up(9)
            assert positions_of([await anext(half_read), await anext(half_read)]) == [2, 3]
            with pytest.raises(StoreClosed):
                await anext(half_read)

    @contract_test
    async def test_a_stream_that_joins_is_followed_from_where_the_follower_is(
        self, scene: Scene
    ) -> None:
        await scene.store.append("a", Noted(1), relations=["r"])
        await scene.store.append("b", Noted(2))
        following = scene.store.follow(relation="r")
        assert positions_of(await take(following, 1)) == [1]
        coming = await waiting(following)
        await scene.store.relations.add("r", "b")  # its record 2 has been passed
        await scene.store.append("b", Noted(3))
        assert (await coming).position == 3
        await scene.store.append("c", Noted(4), relations=["r"])
        assert positions_of(await take(following, 1)) == [4]
        await scene.store.relations.remove("r", "b")
        await scene.store.append("b", Noted(5))
        await scene.store.append("a", Noted(6))
        assert positions_of(await take(following, 1)) == [6]

    @contract_test
    async def test_what_cannot_be_followed_is_refused_before_anything_is_read(
        self, scene: Scene
    ) -> None:
        wrong: list[tuple[dict[str, Any], type[Exception]]] = [
            ({"after": -1}, InvalidInput),
            ({"after": True}, InvalidInput),
            ({"after": 1.0}, InvalidInput),
            ({"after": "no token"}, InvalidToken),
            ({"stream": "a", "prefix": "a"}, InvalidInput),
            ({"stream": "a", "relation": "a"}, InvalidInput),
            ({"prefix": "a", "relation": "a"}, InvalidInput),
            ({"prefix": ""}, InvalidName),
            ({"stream": "a\n"}, InvalidName),
            ({"types": [int]}, UnknownEvent),
            ({"types": Noted}, InvalidInput),
        ]
        for options, error in wrong:
            with pytest.raises(error):
                scene.store.follow(**options)
        for position in (-1, True, 1.5, "1"):
            with pytest.raises(InvalidInput):
                await scene.store.follow().caught_up(position)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
