"""Workers of one subscription that are stopped, killed and come back: each record applied once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from everlog import EventStore, to
from everlog.subscriptions.slices import slice_of
from tests.scenarios.processes import Process
from tests.scenarios.working import Added, tables

LEASE_S = 0.25
PATIENCE_S = 120
STREAMS = 23
SAME = "?views=same"


class Site:
    """A log, its read model, and the workers on it."""

    def __init__(self, kind: str, url: str, slices: int) -> None:
        self.kind, self.url, self.slices = kind, url, slices
        self.planted = False
        self.tries = 20

    def worker(self) -> Process:
        process = Process(
            "work",
            url=self.url,
            kind=self.kind,
            slices=self.slices,
            lease_s=LEASE_S,
            pause_s=0.02,
            tries=self.tries,
            planted=self.planted,
        )
        assert process.hear() == "working"
        return process

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        if self.kind == "postgres":
            with psycopg.connect(self.url, autocommit=True) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description is not None else []
        path = Path(self.url.removeprefix("sqlite:///").removesuffix(SAME))
        if not self.url.endswith(SAME):
            path = path.with_suffix(".views.db")
        views = sqlite3.connect(path, timeout=30)
        try:
            with views:
                return views.execute(statement).fetchall()
        finally:
            views.close()

    @property
    def hand_overs(self) -> int:
        """How often another process went on in a slice."""
        last: dict[int, int] = {}
        count = 0
        for stream, by in self.ask("SELECT stream, by FROM handled ORDER BY nr"):
            slice = slice_of(stream, self.slices)
            count += last.get(slice, by) != by
            last[slice] = by
        return count


@pytest.fixture(params=["sqlite", "same", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    if request.param == "sqlite":
        return Site("sqlite", f"sqlite:///{tmp_path / 'log.db'}", slices=1)
    if request.param == "same":
        return Site("sqlite", f"sqlite:///{tmp_path / 'log.db'}{SAME}", slices=1)
    server = request.getfixturevalue("postgres_server")
    return Site("postgres", server.new_database(), slices=1)


async def disturb(site: Site, hand_overs: int, seed: int, *, workers: int) -> int:
    """Has workers work, and stops and kills those who do, until others have gone on so often.

    Returns how many events there are.
    """
    rng = random.Random(seed)
    count = 1
    over = asyncio.Event()
    async with EventStore.open(site.url, events=[Added]) as store:
        await store.append("s-0", Added(0))
        running = [await asyncio.to_thread(site.worker) for _ in range(workers)]

        async def append() -> None:
            nonlocal count
            while not over.is_set():
                items = [
                    to(f"s-{rng.randrange(STREAMS)}", Added(rng.randrange(100))) for _ in range(5)
                ]
                await store.append_many(items)
                count += len(items)
                await asyncio.sleep(0.01)

        async def one_who_works() -> int:
            """Returns the number of a worker that holds a slice now; anyone, if nobody does."""
            [status] = await store.subscriptions.status()
            pids = [int(worker.split(":")[1]) for worker in status.workers]
            busy = [n for n, process in enumerate(running) if process.pid in pids]
            return rng.choice(busy or range(workers))

        async def harm() -> None:
            async with asyncio.timeout(PATIENCE_S):
                while site.hand_overs < hand_overs:
                    await asyncio.sleep(rng.random() * LEASE_S / 2)
                    victim = await one_who_works()
                    if rng.random() < 0.6:
                        os.kill(running[victim].pid, signal.SIGSTOP)
                        await asyncio.sleep(LEASE_S * (1 + rng.random()))
                        os.kill(running[victim].pid, signal.SIGCONT)
                    else:
                        with running[victim]:
                            running[victim].kill()
                        running[victim] = await asyncio.to_thread(site.worker)
            over.set()

        try:
            await asyncio.gather(append(), harm())
            async with asyncio.timeout(60):
                while True:
                    [status] = await store.subscriptions.status()
                    if status.lag == 0 and not (status.retrying or status.behind):
                        break
                    await asyncio.sleep(0.05)
        finally:
            for process in running:
                with process:
                    process.kill()
    return count


async def judge(site: Site) -> dict[str, int]:
    """Returns what differs between the read model and a fold of the log."""
    totals: Counter[str] = Counter()
    positions: list[int] = []
    async with EventStore.open(site.url, events=[Added]) as store:
        async for record in store.read(types=[Added]):
            totals[record.stream] += record.data.number
            positions.append(record.position)
    handled = site.ask("SELECT position, stream FROM handled ORDER BY nr")
    times = Counter(position for position, _ in handled)
    last: dict[str, int] = {}
    inverted = 0
    for position, stream in handled:
        inverted += position < last.get(stream, 0)
        last[stream] = position
    stored = dict(site.ask("SELECT stream, total FROM totals"))
    return {
        "twice": sum(count > 1 for count in times.values()),
        "missed": sum(position not in times for position in positions),
        "inverted": inverted,
        "wrong totals": sum(stored.get(stream, 0) != total for stream, total in totals.items()),
    }


NOTHING = {"twice": 0, "missed": 0, "inverted": 0, "wrong totals": 0}


async def prepare(site: Site) -> None:
    async with EventStore.open(site.url, events=[Added]) as store:
        await store.subscriptions.place()  # makes the file of the read models
    for statement in tables(site.kind):
        site.ask(statement)


@pytest.mark.parametrize("slices", [1, 4])
def test_workers_that_are_stopped_and_killed_apply_each_record_once(
    site: Site, slices: int
) -> None:
    async def main() -> None:
        site.slices = slices
        await prepare(site)
        count = await disturb(site, 20, seed=slices, workers=3)
        assert await judge(site) == NOTHING
        print(f"{site.kind}, {slices} slices: {count} events, {site.hand_overs} hand-overs")
        assert site.hand_overs >= 20
        assert count > 200

    asyncio.run(main())


def test_workers_that_commit_without_their_fence_are_seen(site: Site) -> None:
    async def main() -> None:
        site.planted = True
        await prepare(site)
        for seed in range(1, 10):
            await disturb(site, 4 * seed, seed=seed, workers=3)
            found = await judge(site)
            if found != NOTHING:
                print(f"{site.kind}: seen after {site.hand_overs} hand-overs: {found}")
                return
        pytest.fail("nobody noticed")

    asyncio.run(main())
