"""How long after an append begins does a handler in another process have the event?

everlog has no `follow` yet. What is measured is what a user writes today: another process that
reads after the last position it has seen, every millisecond. The floor looks at SQLite's
`data_version` as often, and reads when it has changed.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path

from benchmarks.question import Asked, Figures, Question, Row, Target, check
from benchmarks.sides import make

P50 = Row(
    name="append to handler in another process, p50",
    unit="ms",
    target=Target(at_most=4, peer_ratio=1),
)
P99 = Row(
    name="append to handler in another process, p99",
    unit="ms",
    target=Target(at_most=20, peer_ratio=1),
)


async def ask(asked: Asked) -> Figures:
    """Appends one by one, a few milliseconds apart, while another process follows."""
    appends = asked.size.of(300, least=10)
    path = asked.folder / "log.db"
    chance = random.Random(1)
    side = asked.make()
    await side.open(path)
    try:
        await side.append("warm", (0,))
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.child", "follow"),
            *(asked.name, str(path), str(appends + 1)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        try:
            check(await child.stdout.readline(), b"ready\n")
            began: list[int] = []
            for index in range(appends):
                await asyncio.sleep(chance.uniform(0.001, 0.006))
                began.append(time.monotonic_ns())
                await side.append("followed", (index,))
            seen: list[tuple[int, int]] = json.loads(await child.stdout.read())
        finally:
            if child.returncode is None and child.stdout.at_eof() is False:
                child.kill()
            await child.wait()
    finally:
        await side.close()
    check([number for number, _ in seen[1:]], [1000 + index for index in range(appends)])
    waited = sorted((at - began[n]) / 1e6 for n, (_, at) in enumerate(seen[1:]))
    return {
        P50.name: waited[len(waited) // 2],
        P99.name: waited[min(len(waited) - 1, len(waited) * 99 // 100)],
    }


async def follow(name: str, path: Path, count: int) -> None:
    """The other process: says when it has caught up, and at the end what it saw when."""
    side = make(name)
    await side.open(path)
    after = 0
    seen: list[tuple[int, int]] = []
    try:
        while len(seen) < count:
            for position, number in await side.changes(after):
                if not seen:
                    print("ready", flush=True)
                seen.append((number, time.monotonic_ns()))
                after = position
            await asyncio.sleep(0.001)
    finally:
        await side.close()
    print(json.dumps(seen))


QUESTION = Question(
    name="follow",
    about="from an append to a handler in another process",
    rows=(P50, P99),
    ask=ask,
)
