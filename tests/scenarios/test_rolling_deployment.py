"""A rolling deployment: the new version starts beside the old one, and goes on where that ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from tests.scenarios.deploying import Ordered
from tests.scenarios.processes import Process

PATIENCE_S = 30.0


@pytest.fixture(params=["sqlite", "same", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_server").new_database()
        return found
    return f"sqlite:///{tmp_path / 'log.db'}" + ("?views=same" if request.param == "same" else "")


async def until(look: Callable[[], Any], wanted: object) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await look() != wanted:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("slices", [1, 4])
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_handler_that_is_new_misses_nothing_once_it_has_begun(
    url: str, tmp_path: Path, slices: int, killed: bool
) -> None:
    """And an old handler is called for everything once, whoever runs it."""
    calls = tmp_path / "calls"
    calls.touch()

    def called() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for line in calls.read_text().splitlines():
            name, number = line.split()
            found.setdefault(name, []).append(int(number))
        return {name: sorted(numbers) for name, numbers in found.items()}

    def worker(*names: str) -> Process:
        return Process("deploy", url=url, names=names, calls=str(calls), slices=slices)

    async def main() -> None:
        async with EventStore.open(url, events=[Ordered]) as store:
            number = 0

            async def order(count: int) -> list[int]:
                nonlocal number
                numbers = list(range(number, number + count))
                for number in numbers:
                    await store.append(f"order-{number % 7}", Ordered(number))
                number += 1
                return numbers

            async def seen() -> tuple[int, int]:
                status = await store.subscriptions.status()
                workers = [len(each.workers) for each in status]
                return sum(workers), sum(len(each.waiting) for each in status)

            async def finished() -> int:
                return len(await store.subscriptions.effects("mails", status="done"))

            with ExitStack() as stack:
                old = stack.enter_context(worker("first"))
                assert await asyncio.to_thread(old.hear) == "started"
                before = await order(5)
                await until(lambda: asyncio.to_thread(called), {"first": before})
                new = stack.enter_context(worker("first", "second"))
                assert await asyncio.to_thread(new.hear) == "started"
                await until(seen, (1, 1))
                meanwhile = await order(5)
                both = [*before, *meanwhile]
                await until(lambda: asyncio.to_thread(called), {"first": both})
                await until(finished, 10)  # or the next one would find a call without an outcome
                if killed:
                    old.kill()
                else:
                    old.say("stop")
                    assert await asyncio.to_thread(old.hear) == "stopped"
                behind = await order(5)
                wanted = {"first": [*both, *behind], "second": behind}
                await until(lambda: asyncio.to_thread(called), wanted)
                await until(finished, 20)
                assert await seen() == (1, 0)
                new.say("stop")
                assert await asyncio.to_thread(new.hear) == "stopped"
            effects = await store.subscriptions.effects("mails", limit=10_000)
            owed = Counter((each.handler, each.status) for each in effects)
            assert owed == {("first", "done"): 15, ("second", "done"): 5}

    asyncio.run(main())
