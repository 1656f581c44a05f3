"""How fast do events come from a hub to its edges over HTTP, and what does an idle edge cost?

The hub is a process of its own, and so are the many who listen to it. All on one machine: what a
network adds is not in it.
"""

from __future__ import annotations

import asyncio
import random
import time
from asyncio.subprocess import Process

from benchmarks.child import line_of, started
from benchmarks.logs import records_in_log
from benchmarks.question import Asked, Figures, Question, Row, Target, Watch, check
from benchmarks.sides import EVERLOG

PATIENCE_S = 600
WRITERS = 64
MANY = 200
PROCESSES = 2

CATCH_UP = Row(
    name="catch-up over HTTP, hub to edge",
    unit="µs/event",
    target=Target(at_most=50),
    note="`store.sync(url).once()` of an empty store from a hub in another process.",
)
LIVE = Row(
    name="live over HTTP, hub to edge",
    unit="µs/event",
    target=Target(at_most=333),
    note=f"{WRITERS} tasks append at the hub while an edge is in step: from the first append until "
    "the edge has all.",
)
P50 = Row(name="append at hub to handler at edge, p50", unit="ms")
P99 = Row(
    name="append at hub to handler at edge, p99",
    unit="ms",
    target=Target(at_most=50),
    note="One by one: from before the append until `store.follow()` of the edge gives the record, "
    "which is in the edge's own log then.",
)
MANY_P99 = Row(
    name=f"append at hub to {MANY} who listen, p99",
    unit="ms",
    target=Target(at_most=250),
    note=f"{MANY} lines of the client in {PROCESSES} other processes, each event told to all of "
    "them; what an edge then does with it is not in it.",
)
IDLE_HUB = Row(
    name="an idle edge, at the hub's database",
    unit="calls/s",
    target=Target(at_most=1),
    note="Calls of the storage contract, but for the one that waits for news, in 20 s.",
)
IDLE_EDGE = Row(name="an idle edge, at its own database", unit="calls/s", target=Target(at_most=1))


async def ask(asked: Asked) -> Figures:
    """Asks everlog with msgspec events; nobody else has a hub."""
    return {**await _catch_up(asked), **await _live(asked), **await _many(asked)}


async def _catch_up(asked: Asked) -> Figures:
    from benchmarks.hub_side import opened

    source, count = await asked.log(), records_in_log(asked.size)
    async with started("hub", asked.database, asked.name, source) as hub:
        url = (await line_of(hub, patience_s=PATIENCE_S)).strip()
        store, _ = await opened(asked.new("empty"))
        async with store:
            with Watch() as watch:
                new = (await store.sync(url).once()).new
    check(new, count)
    return {CATCH_UP.name: watch.seconds / count * 1e6}


async def _live(asked: Asked) -> Figures:
    from benchmarks.hub_side import opened

    many, few = asked.size.of(20_000, least=50), asked.size.of(300, least=10)
    chance = random.Random(1)
    async with started("hub", asked.database, asked.name, asked.new("hub")) as hub:
        url = (await line_of(hub, patience_s=PATIENCE_S)).strip()
        store, counted = await opened(asked.new("edge"))
        async with store, store.sync(url) as sync:
            await _tell(hub, "one 0")
            await store.wait(after=0, timeout_s=PATIENCE_S)
            told = asyncio.create_task(_tell(hub, f"many {many} {WRITERS}"))
            while (await store.wait(after=many, timeout_s=PATIENCE_S)) <= many:
                pass
            ended = time.monotonic_ns()
            live = (ended - int(await told)) / many / 1e3
            waited: list[float] = []
            following = aiter(store.follow(after=many + 1))
            for number in range(few):
                await asyncio.sleep(chance.uniform(0.001, 0.006))
                told = asyncio.create_task(_tell(hub, f"one {number}"))
                await anext(following)
                ended = time.monotonic_ns()
                waited.append((ended - int(await told)) / 1e6)
            await sync.in_step(timeout_s=PATIENCE_S)
            idle_s = 20 * asked.size.scale
            before = int(await _tell(hub, "calls")), counted.calls
            await asyncio.sleep(idle_s)
            after = int(await _tell(hub, "calls")), counted.calls
    waited.sort()
    return {
        LIVE.name: live,
        P50.name: waited[len(waited) // 2],
        P99.name: waited[min(len(waited) - 1, len(waited) * 99 // 100)],
        # Never nothing, so that it can be told from what was not measured.
        IDLE_HUB.name: max(after[0] - before[0], 0.01) / max(idle_s, 1),
        IDLE_EDGE.name: max(after[1] - before[1], 0.01) / max(idle_s, 1),
    }


async def _many(asked: Asked) -> Figures:
    events = asked.size.of(100, least=3)
    each = asked.size.of(MANY, least=2 * PROCESSES) // PROCESSES
    address = asked.new("hub of many")
    chance = random.Random(2)
    async with started("hub", asked.database, asked.name, address) as hub:
        url = (await line_of(hub, patience_s=PATIENCE_S)).strip()
        await _tell(hub, "one 0")
        async with (
            started("listen", asked.database, asked.name, url, str(each)) as one,
            started("listen", asked.database, asked.name, url, str(each)) as other,
        ):
            for child in (one, other):
                await line_of(child, patience_s=PATIENCE_S)
            await asyncio.sleep(min(5.0, 5 * asked.size.scale + 1))  # all lines stand by then
            waited: list[float] = []
            for number in range(events):
                await asyncio.sleep(chance.uniform(0.05, 0.15))
                began = int(await _tell(hub, f"one {number}"))
                for child in (one, other):
                    position, *times = map(
                        int, (await line_of(child, patience_s=PATIENCE_S)).split()
                    )
                    check(position, number + 2)
                    check(len(times), each)
                    waited += [(at - began) / 1e6 for at in times]
    waited.sort()
    return {MANY_P99.name: waited[min(len(waited) - 1, len(waited) * 99 // 100)]}


async def _tell(child: Process, line: str) -> str:
    """Tells the other process what to do, and returns what it says when it has."""
    assert child.stdin is not None
    child.stdin.write(f"{line}\n".encode())
    await child.stdin.drain()
    return await line_of(child, patience_s=PATIENCE_S)


QUESTION = Question(
    name="http",
    about="from a hub to its edges over HTTP",
    rows=(CATCH_UP, LIVE, P50, P99, MANY_P99, IDLE_HUB, IDLE_EDGE),
    ask=ask,
    sides=(EVERLOG,),
)
