"""From catch-up to live: nothing is missed there and nothing comes twice, however often it happens.

Writers append at full speed, here and in another process, while followers start, stop and resume by
token at random. Each has to see every record once and in order.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import FIRST_COMPLETED
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, Following
from everlog.core.token import decode
from everlog.store import following as following_module
from everlog.subscriptions.feed import Feed
from everlog.testing import PostgresServer
from tests.scenarios.processes import Process
from tests.scenarios.programs import EVENTS, Moved

WRITERS, FOLLOWERS = 3, 6
HAND_OVERS = 100
PATIENCE_S = 30.0

Follow = Callable[[EventStore, str | int], Following[Any]]


def by_token(store: EventStore, after: str | int) -> Following[Any]:
    return store.follow(after=after)


@dataclass
class Follower:
    """One who follows from the beginning, a while at a time."""

    seen: list[int] = field(default_factory=list[int])
    token: str | int = 0
    resumed: int = 0
    hand_overs: int = 0
    """How often one that began behind the head had caught up and was then given what came."""

    async def follow(self, following: Following[Any], *, count: int, live: int) -> None:
        """Follows until so many records have come, or so many that came when it had caught up."""
        behind, was_caught_up, came_live = False, False, 0
        try:
            async for record in following:
                self.seen.append(record.position)
                count -= 1
                came_live += was_caught_up
                self.hand_overs += behind and came_live == 1
                if came_live == 1:
                    behind = False
                was_caught_up = was_caught_up or following.is_caught_up
                behind = behind or not was_caught_up
                if count == 0 or came_live == live > 0:
                    break
        finally:
            self.token = following.token or 0
            self.resumed += 1


@dataclass
class Race:
    """What is going on at once."""

    store: EventStore
    chance: random.Random
    follow: Follow
    followers: list[Follower]
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, number: int) -> None:
        while not self.stopped.is_set():
            count = self.chance.choice((1, 1, 1, 2, 7))
            await self.store.append(f"s{number}", *[Moved(number, 0)] * count)
            # Now and then followers come to the head, and wait there.
            pause_s = self.chance.uniform(0, 0.005) if self.chance.random() < 0.3 else 0
            await asyncio.sleep(pause_s)

    async def come_and_go(self, follower: Follower) -> None:
        ended = asyncio.create_task(self.stopped.wait())
        while not self.stopped.is_set():
            following = self.follow(self.store, follower.token)
            for _ in range(self.chance.choice((1, 1, 2))):  # left, and sometimes gone on with
                count, live = self.chance.choice(((1, 0), (50, 0), (0, 1), (0, 3), (0, 20)))
                task = asyncio.create_task(follower.follow(following, count=count, live=live))
                limit_s = self.chance.uniform(0, 0.1) if self.chance.random() < 0.3 else None
                await asyncio.wait([task, ended], timeout=limit_s, return_when=FIRST_COMPLETED)
                task.cancel()
                await asyncio.wait([task])
                if not task.cancelled():
                    task.result()
            await asyncio.sleep(self.chance.uniform(0, 0.02))

    async def finish(self, follower: Follower, head: int) -> None:
        """Follows on to the head."""
        following = self.follow(self.store, follower.token)
        while following.position < head:
            await follower.follow(following, count=1, live=0)

    @property
    def hand_overs(self) -> int:
        return sum(follower.hand_overs for follower in self.followers)


async def race(
    store: EventStore, *, seed: float, for_s: float, other: Process | None, follow: Follow
) -> Race:
    """Lets them race for a time, and until there were enough hand-overs; then all follow on."""
    running = Race(store, random.Random(seed), follow, [Follower() for _ in range(FOLLOWERS)])
    now = asyncio.get_running_loop().time
    began = now()
    async with asyncio.timeout(for_s + PATIENCE_S), asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            group.create_task(running.write(number))
        for follower in running.followers:
            group.create_task(running.come_and_go(follower))
        while now() - began < for_s or running.hand_overs < HAND_OVERS:  # noqa: ASYNC110 - two conditions, one of them the time
            await asyncio.sleep(0.05)
        running.stopped.set()
    if other is not None:
        other.say("stop")
        assert await asyncio.to_thread(other.hear) > 100, "the other process wrote too little"
    head = (await store.info()).position
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(running.finish(each, head) for each in running.followers))
    for each in running.followers:
        judge(each.seen, head)
    return running


def judge(seen: list[int], head: int) -> None:
    """Fails unless every record was seen once and in order."""
    if seen == [*range(1, head + 1)]:
        return
    for before, position in zip([0, *seen], seen, strict=False):
        assert position == before + 1, f"{position} came after {before}, of {head}"
    raise AssertionError(f"{seen[-1:]} came last, of {head}")


def lengths(for_s: float) -> list[Any]:
    return [
        pytest.param(for_s, id="short"),
        pytest.param(60.0, id="long", marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
    ]


@pytest.mark.parametrize("for_s", lengths(2.5))
@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_every_follower_sees_every_record_once_whenever_it_catches_up_stops_and_resumes(
    kind: str, for_s: float, tmp_path: Path, rng: random.Random, request: pytest.FixtureRequest
) -> None:
    url = {"memory": "memory:", "sqlite": f"sqlite:///{tmp_path / 'log.db'}"}.get(kind)
    if url is None:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.new_database()

    async def main() -> None:
        async with EventStore.open(url, events=EVENTS) as store:
            with ExitStack() as stack:
                other = None
                if kind != "memory":
                    other = stack.enter_context(Process("append_until_told", url=url))
                    assert await asyncio.to_thread(other.hear) == "ready"
                ended = await race(
                    store, seed=rng.random(), for_s=for_s, other=other, follow=by_token
                )
                resumed = sum(follower.resumed for follower in ended.followers)
                print(f"{kind}: {(await store.info()).position} records, {resumed} followings, ")
                print(f"{ended.hand_overs} hand-overs from catch-up to live")
                assert ended.hand_overs >= HAND_OVERS

    asyncio.run(main())


# --- tests of the test ---------------------------------------------------------------------------


def found_out(follow: Follow, rng: random.Random) -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=EVENTS) as store:
            await race(store, seed=rng.random(), for_s=0.5, other=None, follow=follow)

    asyncio.run(main())


def test_a_follower_that_resumes_one_too_far_is_found_out(rng: random.Random) -> None:
    def one_too_far(store: EventStore, after: str | int) -> Following[Any]:
        if isinstance(after, str):
            after = decode(after).position + 1
        return store.follow(after=after)

    with pytest.raises(AssertionError, match="came after"):
        found_out(one_too_far, rng)


def test_a_follower_that_resumes_where_its_last_record_stands_is_found_out(
    rng: random.Random,
) -> None:
    def once_more(store: EventStore, after: str | int) -> Following[Any]:
        if isinstance(after, str):
            after = max(0, decode(after).position - 1)
        return store.follow(after=after)

    with pytest.raises(AssertionError, match="came after"):
        found_out(once_more, rng)


class Deaf(Feed):
    """Waits for what comes after the head as it is when it begins to wait."""

    async def step(self, timeout_s: float | None = None) -> Any:
        if self._caught_up:
            self._position = (await self._ledger.head()).position
            self._seen = None
        return await super().step(timeout_s)


def test_a_follower_that_misses_what_commits_before_it_waits_is_found_out(
    rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_module, "Feed", Deaf)
    with pytest.raises(AssertionError, match="came after"):
        found_out(by_token, rng)
