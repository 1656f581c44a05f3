"""Workers killed by `kill -9` around an effect: never lost, or never repeated, as was said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.ports.effects import Effect
from tests.scenarios.effecting import EVENTS, LEASE_S, MODES, POINTS, Ordered, projector_of
from tests.scenarios.processes import Process

AT_ONCE = 10
"""Workers side by side."""
PATIENCE_S = 60.0

LEFT = {
    "before intent": "pending",
    "after intent": "intent",
    "during the call": "intent",
    "after the call": "intent",
    "before done": "succeeded",
}
"""How an effect stands when its worker was killed there."""
REQUESTS = {
    "before intent": 1,
    "after intent": 0,
    "during the call": 1,
    "after the call": 1,
    "before done": 1,
}
"""How often the receiver has been asked in the end where a person is to decide."""


class Receiver:
    """A server outside of everything, which does what it is asked once for each key."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.effects: dict[str, set[str]] = {}
        self.held: set[str] = set()
        """Names of subscriptions that are given no answer."""
        self.address: tuple[str, int] = ("", 0)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            self.address = server.sockets[0].getsockname()[:2]
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if not line.endswith(b"\n"):
                return  # who was killed before it had asked
            request = json.loads(line)
            self.requests[request["name"]] += 1
            self.effects.setdefault(request["name"], set()).add(request["key"])
            writer.write(b"held\n" if request["name"] in self.held else b"done\n")
        except ConnectionError:
            return
        finally:
            writer.close()


class Trial:
    """Workers that are killed, each at a point of its own, and those who go on."""

    def __init__(self, url: str, receiver: Receiver, points: list[str]) -> None:
        self.url, self.receiver, self.points = url, receiver, points

    async def kill(self, *, planted: bool = False) -> None:
        """Has each worker come to its point, and kills it there."""
        with Process(
            "fork_effect_workers",
            url=self.url,
            address=self.receiver.address,
            planted=planted,
        ) as forker:
            pids: dict[int, int] = {}
            try:
                assert await asyncio.to_thread(forker.hear) == "ready"
                numbers = list(enumerate(self.points))
                for first in range(0, len(numbers), AT_ONCE):
                    await self._kill_some(forker, numbers[first : first + AT_ONCE], pids)
            finally:
                for pid in filter(None, pids.values()):
                    os.kill(pid, signal.SIGKILL)

    async def _kill_some(
        self, forker: Process, some: list[tuple[int, str]], pids: dict[int, int]
    ) -> None:
        for number, point in some:
            if point == "during the call":
                self.receiver.held |= {f"{mode}-{number}" for mode in MODES}
            forker.say(json.dumps([number, point]))
        alive = len(some)
        async with asyncio.timeout(PATIENCE_S):
            while alive:
                word = await asyncio.to_thread(forker.hear)
                assert word is not None, "the forker has ended"
                number, pid = word["number"], word["pid"]
                if "there" in word:
                    os.kill(pid, signal.SIGKILL)
                    pids[number] = 0
                    alive -= 1
                else:
                    pids.setdefault(number, pid)

    async def go_on(self, store: EventStore) -> None:
        """Works on all subscriptions until nothing goes on by itself any more."""
        self.receiver.held.clear()
        for first in range(0, len(self.points), AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, len(self.points)))
            async with AsyncExitStack() as running, asyncio.timeout(PATIENCE_S):
                names = [(f"{mode}-{number}", mode) for number in numbers for mode in MODES]
                for name, mode in names:
                    await running.enter_async_context(
                        store.subscription(
                            name,
                            projector_of(name, mode, self.receiver.address),
                            from_="beginning",
                            lease_s=LEASE_S,
                        )
                    )
                for name, _ in names:
                    while not await is_at_rest(store, name):  # noqa: ASYNC110 - nobody tells
                        await asyncio.sleep(0.05)

    async def judge(self, store: EventStore, left: dict[str, Effect]) -> Counter[str]:
        """Returns what is not as was promised: how often each."""
        found: Counter[str] = Counter()
        for number, point in enumerate(self.points):
            for mode in MODES:
                name = f"{mode}-{number}"
                [effect] = await store.subscriptions.effects(name)
                requests = self.receiver.requests[name]
                effects = len(self.receiver.effects.get(name, ()))
                outcomes = len(await store.read(f"outcome-{name}").to_list())
                found["otherwise left"] += left[name].status != LEFT[point]
                known = mode == "key" or LEFT[point] != "intent"
                found["not as it is"] += effect.status != ("done" if known else "ambiguous")
                found["outcomes"] += outcomes != (effect.status == "done")
                if mode == "key":
                    found["effects"] += effects != 1
                else:
                    found["repeated"] += requests > 1
                    found["requests"] += requests != REQUESTS[point]
        return +found


async def is_at_rest(store: EventStore, name: str) -> bool:
    return all(
        each.status == "done" or (each.status == "ambiguous" and each.due_s is None)
        for each in await store.subscriptions.effects(name)
    )


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'log.db'}"
    url: str = request.getfixturevalue("postgres_server").new_database()
    return url


async def tried(url: str, points: list[str], *, planted: bool = False) -> Counter[str]:
    receiver = Receiver()
    async with receiver.open(), EventStore.open(url, events=EVENTS) as store:
        await store.append("orders", Ordered(1))
        trial = Trial(url, receiver, points)
        await trial.kill(planted=planted)
        left = {each.name: each for each in await store.subscriptions.effects(limit=100_000)}
        assert len(left) == len(MODES) * len(points)
        await trial.go_on(store)
        statuses = {each.name: each for each in await store.subscriptions.status()}
        for number, point in enumerate(points):
            if LEFT[point] == "intent" and not planted:
                assert statuses[f"park-{number}"].ambiguous_effects == 1
        return await trial.judge(store, left)


# Both databases together: twenty of each point, and two hundred.
@pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.soak)])
def test_a_kill_around_an_effect_loses_none_or_repeats_none_as_was_said(
    url: str, times: int
) -> None:
    points = list(POINTS) * times
    assert asyncio.run(tried(url, points)) == Counter()


def test_an_intent_that_is_written_after_the_call_is_seen(url: str) -> None:
    found = asyncio.run(tried(url, list(POINTS), planted=True))
    assert found["repeated"] >= 1
    assert found["otherwise left"] >= 1


def test_an_intent_that_is_taken_for_pending_after_a_crash_is_seen(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any
    if url.startswith("sqlite"):
        from everlog.adapters.sqlite import views_schema as module
    else:
        from everlog.adapters.postgres import checkpoint_statements as module
    planted = module.MARK_AMBIGUOUS.replace("status = 'ambiguous'", "status = 'pending'")
    assert planted != module.MARK_AMBIGUOUS
    monkeypatch.setattr(module, "MARK_AMBIGUOUS", planted)

    async def main() -> Counter[str]:
        receiver = Receiver()
        async with receiver.open(), EventStore.open(url, events=EVENTS) as store:
            await store.append("orders", Ordered(1))
            trial = Trial(url, receiver, list(POINTS))
            await trial.kill()
            left = {each.name: each for each in await store.subscriptions.effects()}
            await trial.go_on(store)
            return await trial.judge(store, left)

    found = asyncio.run(main())
    assert found["repeated"] == 2
    assert found["not as it is"] == 3
