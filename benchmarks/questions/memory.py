"""How much memory does a process take that reads a million events?

Each reads in a process of its own, from a log that was written beforehand in batches; once, as it
takes long and hardly varies.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from benchmarks import workload
from benchmarks.child import started
from benchmarks.question import Asked, Figures, Question, Row, Target, check
from benchmarks.sides import BLOCKING_FLOOR, EVERLOG, EVERLOG_PYDANTIC, FLOOR, make

PEAK = Row(
    name="peak memory of reading 1 M",
    unit="MB",
    target=Target(at_most=60),
    note="One round. The process has loaded what its side needs; the line below is that alone.",
)
BEFORE = Row(name="the same process before it reads", unit="MB")


async def ask(asked: Asked) -> Figures:
    """Writes a log, then lets another process read it."""
    batches = asked.size.of(1000)
    address = asked.new("log")
    side = asked.make()
    await side.open(address)
    try:
        for number in range(batches):
            await side.append(f"batch-{number}", workload.INDICES)
    finally:
        await side.close()
    peak, before = await peak_of_reading(
        asked.database, asked.name, address, events=batches * workload.COUNT
    )
    return {PEAK.name: peak, BEFORE.name: before}


async def peak_of_reading(
    database: str, name: str, address: str, *, events: int
) -> tuple[float, float]:
    """Returns the peak of a process of its own that reads everything, and its peak before that."""
    async with started("read", database, name, address) as child:
        answer, _ = await child.communicate()
    check(child.returncode, 0)
    before, peak, count, _ = json.loads(answer)
    check(count, events)
    return peak, before


async def read(database: str, name: str, address: str) -> None:
    """The other process: prints its peak before and after, and what it has read."""
    side = make(database, name)
    await side.open(address)
    try:
        before = peak_mb()
        seen = await side.read_all()
    finally:
        await side.close()
    print(json.dumps([before, peak_mb(), *seen]))


def peak_mb() -> float:
    """Returns the greatest memory that this process has ever had, in MB (10^6 bytes)."""
    try:
        # Linux hands on the peak of whoever started us in ru_maxrss, but not in VmHWM.
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except FileNotFoundError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


QUESTION = Question(
    name="memory",
    about="peak memory while a million events are read",
    rows=(PEAK, BEFORE),
    ask=ask,
    sides=(FLOOR, BLOCKING_FLOOR, EVERLOG, EVERLOG_PYDANTIC, "eventsourcing"),
    rounds=1,
)
