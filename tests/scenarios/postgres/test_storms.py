"""Thousands of callers called off at random, and eight stores with the same ids: all once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from everlog import EventStore, to
from everlog.store.committer import Committer
from everlog.subscriptions.projector import Appended
from tests.scenarios.postgres.checkouts import Checkouts
from tests.scenarios.postgres.site import EVENTS, Noted, Site, eventually, sound
from tests.scenarios.postgres.test_cancellation import committed_by_the_caller
from tests.store.stopping import MODES

LANES = 24
READERS = 4
STREAMS = 7

Call = Callable[[], Awaitable[Any]]


class Storm:
    """Callers who write and read, and are called off again and again until each is answered."""

    def __init__(self, store: EventStore, rng: random.Random, wanted: int) -> None:
        self._store = store
        self._rng = rng
        self._wanted = wanted
        self._loop = asyncio.get_running_loop()
        self._calls = 0
        self.called_off: Counter[str] = Counter()
        """How many of each kind of call."""
        self.ids: list[str] = []
        """What has been answered as appended."""
        self.told: list[str] = []
        store.on_appended(self._tell)

    async def blow(self) -> None:
        """Returns when so many have been called off, and all have been answered."""
        async with asyncio.TaskGroup() as group:
            for _ in range(LANES):
                group.create_task(self._lane())
        await self._store.drained()

    async def _lane(self) -> None:
        while self.called_off.total() < self._wanted:
            self._calls += 1
            number = self._calls
            if self._rng.random() < 0.5:
                ids = [f"{number}-{index}" for index in range(self._rng.choice((1, 1, 2, 5)))]
                await self._until_answered("append", partial(self._append, ids, number))
                self.ids += ids
            else:
                kind = self._rng.choice(list(self._reads))
                await self._until_answered(kind, self._reads[kind])

    async def _append(self, ids: list[str], number: int) -> None:
        items = [to(f"s{(number + i) % STREAMS}", Noted(number), id=id) for i, id in enumerate(ids)]
        records = await self._store.append_many(items)
        assert [record.id for record in records] == ids

    @property
    def _reads(self) -> dict[str, Call]:
        store = self._store
        return {
            "read": store.read("s1").to_list,
            "read backwards": store.read(backwards=True).first,
            "find": lambda: store.find("1-0"),
            "relations": lambda: store.relations.streams_of("r"),
            "info": store.info,
        }

    async def _until_answered(self, kind: str, call: Call) -> None:
        while not await self._answered(kind, call):
            pass

    async def _answered(self, kind: str, call: Call) -> bool:
        mode = self._rng.choice(["cancelled", "timed out"])
        task, call_off = MODES[mode](call)
        await asyncio.sleep(0)  # it begins: a timeout that was not entered cannot expire
        if self.called_off.total() < self._wanted and self._rng.random() < 0.7:
            # Some after so many turns of the loop, some after a moment that the server needs.
            if self._rng.random() < 0.5:
                self._after(self._rng.randrange(40), task, call_off)
            else:
                delay_s = self._rng.uniform(0, 0.01)
                self._loop.call_later(delay_s, self._after, 0, task, call_off)
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            return True
        error = None if task.cancelled() else task.exception()
        assert isinstance(error, (TimeoutError, type(None))), error
        self.called_off[kind] += 1
        return False

    def _after(self, turns: int, task: asyncio.Task[Any], call_off: Callable[[], None]) -> None:
        if task.done():
            return
        if turns:
            self._loop.call_soon(self._after, turns - 1, task, call_off)
        else:
            call_off()

    async def _tell(self, appended: Appended) -> None:
        self.told += [record.id for record in appended.records]


async def everything_once_and_nothing_left(
    site: Site, monkeypatch: pytest.MonkeyPatch, rng: random.Random, wanted: int
) -> None:
    checkouts = Checkouts(monkeypatch)
    url = site.straight_url(readers=READERS)
    async with EventStore.open(url, events=EVENTS) as store:
        storm = Storm(store, rng, wanted)
        await storm.blow()
        assert Counter(site.ids()) == Counter(storm.ids)
        assert storm.told == site.ids()  # once each, in the order of commits
        await sound(store)

        assert checkouts.unclean == []
        assert checkouts.most <= READERS
        await eventually(lambda: checkouts.out == 0, "all connections are back")
        await asyncio.gather(*(store.read().first() for _ in range(READERS)))
        # One that writes beside those that read, and none in a transaction.
        await eventually(
            lambda: (
                len(site.backends()) <= READERS + 1
                and not any(open for _, _, open in site.backends())
            ),
            "there are as many connections as before, and nothing is open",
        )
        print(f"called off: {dict(storm.called_off)}; {checkouts.count} times out of the pool")
        assert all(storm.called_off[kind] for kind in ("append", "read", "find", "info"))
    await eventually(lambda: site.backends() == [], "no connection is left")


def test_callers_called_off_at_random_leave_every_append_once_and_the_pool_as_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    asyncio.run(everything_once_and_nothing_left(site, monkeypatch, rng, 1_000))


@pytest.mark.soak
def test_ten_thousand_callers_called_off_at_random_leave_the_pool_as_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    asyncio.run(everything_once_and_nothing_left(site, monkeypatch, rng, 10_000))


RACERS = 8
BATCHES = 200
EACH = 3


def test_eight_stores_that_append_the_same_ids_store_each_once_and_answer_all_alike(
    site: Site, rng: random.Random
) -> None:
    firsts = Counter[str]()

    async def race(store: EventStore, seed: float) -> list[list[Any]]:
        mine = random.Random(seed)

        async def tell(appended: Appended) -> None:
            assert appended.batch is not None
            firsts[appended.batch] += 1

        store.on_appended(tell)
        answers: list[list[Any]] = []
        batch = 0
        while batch < BATCHES:
            some = range(batch, min(BATCHES, batch + mine.randrange(1, 5)))
            batch = some.stop
            answers += await asyncio.gather(*(append_batch(store, number) for number in some))
        return answers

    async def append_batch(store: EventStore, number: int) -> list[Any]:
        ids = [f"{number}-{index}" for index in range(EACH)]
        items = [to(f"s{(number + i) % STREAMS}", Noted(number), id=id) for i, id in enumerate(ids)]
        records = await store.append_many(items, batch=f"{number}")
        return [record.stored for record in records]

    async def main() -> None:
        async with AsyncExitStack() as stack:
            stores = [
                await stack.enter_async_context(
                    EventStore.open(site.straight_url(readers=1), events=EVENTS)
                )
                for _ in range(RACERS)
            ]
            every = await asyncio.gather(*(race(store, rng.random()) for store in stores))
            for answers in every:
                assert answers == every[0]
            await asyncio.gather(*(store.drained() for store in stores))
            await sound(stores[0])
        assert firsts == Counter(str(number) for number in range(BATCHES))
        assert len(site.ids()) == BATCHES * EACH
        print(f"{firsts.total()} were first, {RACERS * BATCHES - firsts.total()} were retries")

    asyncio.run(main())


# --- tests of the tests --------------------------------------------------------------------------


def test_a_storm_over_commits_in_their_callers_tasks_is_seen(
    site: Site, monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    monkeypatch.setattr(Committer, "commit", committed_by_the_caller)
    with pytest.raises((AssertionError, ExceptionGroup)):
        asyncio.run(everything_once_and_nothing_left(site, monkeypatch, rng, 100))


def test_a_connection_that_is_handed_out_in_a_transaction_is_seen(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def left_as_it_is(*_: object) -> None:
        return

    async def main() -> None:
        checkouts = Checkouts(monkeypatch)
        kwargs = {"autocommit": True}
        async with AsyncConnectionPool(site.database, min_size=1, kwargs=kwargs) as pool:
            connection = await pool.getconn()
            await connection.execute("BEGIN")
            assert checkouts.out == 1
            await pool.putconn(connection)
            connection = await pool.getconn()
            assert checkouts.unclean == []  # it was rolled back when it came back
            monkeypatch.setattr(pool, "_reset_connection", left_as_it_is)
            await connection.execute("BEGIN")
            await pool.putconn(connection)
            await pool.putconn(await pool.getconn())
            assert checkouts.unclean == ["INTRANS"]

    asyncio.run(main())
