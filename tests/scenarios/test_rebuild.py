"""A rebuild that is killed on its way and in its swap, while all append and the live one runs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, to
from tests.scenarios.processes import Process
from tests.scenarios.rebuilding import LEASE_S, TABLES
from tests.scenarios.working import Added
from tests.subscriptions.durable.places import Place

IN_THE_SWAP_S = (0.0, 0.02, 0.1, 0.16)
"""How long after its beginning the swap is killed; it is open for 0.15 s."""


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return Place("sqlite", f"sqlite:///{tmp_path / 'log.db'}")
    server = request.getfixturevalue("postgres_server")
    return Place("postgres", server.new_database())


def test_a_rebuild_that_is_killed_goes_on_and_is_swapped_once_and_whole(place: Place) -> None:
    async def main() -> None:
        async with EventStore.open(place.url, events=[Added]) as store:
            await store.subscriptions.place()  # makes the file of the read models
            for statement in [*TABLES, "INSERT INTO shown VALUES (1)"]:
                place.ask(statement)
            for first in range(0, 2_000, 500):
                await store.append_many(
                    [to(f"s-{n % 13}", Added(n)) for n in range(first, first + 500)]
                )
            async with asyncio.timeout(250):
                await scenario(place, store)

    asyncio.run(main())


async def scenario(place: Place, store: EventStore) -> None:
    def process(program: str, **arguments: Any) -> Process:
        return Process(program, url=place.url, kind=place.kind, **arguments)

    over = asyncio.Event()
    appending = asyncio.create_task(append(store, over))
    with process("run_version", version=1) as old:
        assert await asyncio.to_thread(old.hear) == "running"
        # Killed on its way: it goes on where it was.
        reached = 0
        for _ in range(2):
            with process("rebuild", pause_s=0.002, swap_s=0.0) as rebuild:
                begun = first = await asyncio.to_thread(rebuild.hear)
                assert begun >= reached
                while first < begun + 300:
                    first = await asyncio.to_thread(rebuild.hear)
                rebuild.kill()
                reached = await rebuilt_to(store)
                assert reached > 0
        # Killed in its swap: that is whole, or has not been.
        for kill_after_s in IN_THE_SWAP_S:
            with process("rebuild", pause_s=0.0, swap_s=0.15) as rebuild:
                if await until_said(rebuild, {"swapping", "swapped"}) == "swapped":
                    break
                await asyncio.sleep(kill_after_s)
                rebuild.kill()
            version = await judge_swap(place, store)
            assert version == 1 or kill_after_s > 0.0, "it was killed before its end"
        with process("rebuild", pause_s=0.0, swap_s=0.0) as rebuild:
            assert await until_said(rebuild, {"swapped"}) == "swapped"
            rebuild.wait()
        assert await judge_swap(place, store) == 2
        assert await asyncio.to_thread(old.hear) == 2, "it has stopped of itself, and says why"
        assert old.wait() == 0
    with process("run_version", version=2) as new:
        assert await asyncio.to_thread(new.hear) == "running"
        await asyncio.sleep(0.3)
        over.set()
        await appending
        head = (await store.info()).position
        await until_at(store, head)
        new.kill()
    log = [
        (record.position, record.stream, record.data.number)
        async for record in store.read(types=[Added])
    ]
    rows = sorted(place.ask("SELECT position, stream, number FROM rows_2"))
    times = Counter(row[0] for row in rows)
    assert [position for position, count in times.items() if count > 1] == []
    assert rows == log
    kept = sorted(place.ask("SELECT position, stream, number FROM rows_1"))
    assert kept == log[: len(kept)]


async def append(store: EventStore, over: asyncio.Event) -> None:
    """Appends all the while."""
    rng = random.Random(1)
    while not over.is_set():
        await store.append_many([to(f"s-{rng.randrange(13)}", Added(1)) for _ in range(5)])
        await asyncio.sleep(0.005)


async def until_said(process: Process, words: set[str]) -> str | None:
    while (said := await asyncio.to_thread(process.hear)) is not None:
        if said in words:
            return str(said)
    return None


async def status_of(store: EventStore, name: str) -> Any:
    [status] = [each for each in await store.subscriptions.status() if each.name == name]
    return status


async def until_at(store: EventStore, position: int) -> None:
    """Waits until the live version, in another process, has got to a position."""
    async with asyncio.timeout(20):
        while (await status_of(store, "view")).position < position:  # noqa: ASYNC110 - it is asked
            await asyncio.sleep(0.02)


async def rebuilt_to(store: EventStore) -> int:
    position: int = (await status_of(store, "view@2")).position
    return position


async def judge_swap(place: Place, store: EventStore) -> int:
    """Returns which version is live; what is shown, and where checkpoints are, say the same."""
    await asyncio.sleep(2 * LEASE_S)
    found = {each.name: each.version for each in await store.subscriptions.status()}
    [[shown]] = place.ask("SELECT version FROM shown")
    assert found["view"] == shown
    assert set(found) == ({"view", "view@2"} if shown == 1 else {"view", "view@1"})
    if shown == 1:  # and that goes on
        before = (await status_of(store, "view")).position
        await until_at(store, before + 1)
    return int(shown)
