"""How long after an append begins does a handler in another process have the event?

everlog: another process iterates over `store.follow()`. The floor looks every millisecond whether
there is anything, at SQLite's `data_version` or at the one row of its head, and reads then.
"""

from __future__ import annotations

import asyncio
import random
import time

from benchmarks import workload
from benchmarks.child import line_of, started
from benchmarks.databases import POSTGRES
from benchmarks.question import Asked, Figures, Question, Row, Target, check
from benchmarks.sides import OURS, make

PATIENCE_S = 30

P50 = Row(
    name="append to handler in another process, p50",
    unit="ms",
    target=Target(at_most=4, peer_ratio=1),
    on={POSTGRES: Target(at_most=5, peer_ratio=1)},
    note="everlog follows: the other process iterates over `store.follow()`. The floor looks every "
    "millisecond whether there is anything, and reads then.",
)
P99 = Row(
    name="append to handler in another process, p99",
    unit="ms",
    target=Target(at_most=20, peer_ratio=1),
    on={POSTGRES: Target(at_most=25, peer_ratio=1)},
)


async def ask(asked: Asked) -> Figures:
    """Appends one by one, a few milliseconds apart, while another process follows."""
    # Fewer of peers, as one of them takes a tenth of a second for each.
    appends = asked.size.of(300 if asked.name in OURS else 50, least=10)
    address = asked.new("log")
    chance = random.Random(1)
    side = asked.make()
    await side.open(address)
    try:
        await side.append("warm", (0,))
        waited: list[float] = []
        async with started(
            "follow", asked.database, asked.name, address, str(appends + 1)
        ) as child:
            await line_of(child, patience_s=PATIENCE_S)  # it has caught up
            for index in range(appends):
                # The next once the last has arrived: latency, and not how a backlog is worked off.
                await asyncio.sleep(chance.uniform(0.001, 0.006))
                began = time.monotonic_ns()
                await side.append("followed", (index,))
                number, at = map(int, (await line_of(child, patience_s=PATIENCE_S)).split())
                check(number, workload.COUNT + index)
                waited.append((at - began) / 1e6)
            check(await asyncio.wait_for(child.wait(), PATIENCE_S), 0)
    finally:
        await side.close()
    waited.sort()
    return {
        P50.name: waited[len(waited) // 2],
        P99.name: waited[min(len(waited) - 1, len(waited) * 99 // 100)],
    }


async def follow(database: str, name: str, address: str, count: int) -> None:
    """The other process: says what it has seen, and when."""
    side = make(database, name)
    await side.open(address)
    after = seen = 0
    try:
        while seen < count:
            for position, number in await side.changes(after):
                print(number, time.monotonic_ns(), flush=True)
                after = position
                seen += 1
            await asyncio.sleep(0.001)
    finally:
        await side.close()


QUESTION = Question(
    name="follow",
    about="from an append to a handler in another process",
    rows=(P50, P99),
    ask=ask,
)
