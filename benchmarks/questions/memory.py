"""How much memory does a process take that reads a million events, or makes a read model of them?

Each does so in a process of its own, from a log that was written beforehand in batches; once, as it
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
from benchmarks.views import contents

PEAK = Row(
    name="peak memory of reading 1 M",
    unit="MB",
    target=Target(at_most=60),
    note="One round. The process has loaded what its side needs; the line below is that alone.",
)
PROJECTED = Row(
    name="peak memory of a projection of 1 M",
    unit="MB",
    target=Target(at_most=60),
    note="One round: a durable subscription that catches up, one UPSERT a record.",
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
    events = batches * workload.COUNT
    peak, before = await peak_of_reading(asked.database, asked.name, address, events=events)
    figures = {PEAK.name: peak, BEFORE.name: before}
    if asked.name in PROJECTING:
        view = asked.new("view")
        async with started("project", asked.database, asked.name, address, str(events)) as child:
            answer, _ = await child.communicate(view.encode())  # an address: for nobody to see
        check(child.returncode, 0)
        place, figures[PROJECTED.name] = json.loads(answer)
        check((await contents(asked.database, place))[0], events)
    return figures


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


async def project(database: str, name: str, address: str, events: int) -> None:
    """The other process: is told where, prints where it has made a read model, and its peak."""
    view = sys.stdin.read()
    side = make(database, name)
    await side.open(address)
    try:
        place = await side.project(view, events)
    finally:
        await side.close()
    print(json.dumps([place, peak_mb()]))


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


PROJECTING = (FLOOR, EVERLOG)
"""Peers would take minutes: they commit every event by itself."""

QUESTION = Question(
    name="memory",
    about="peak memory while a million events are read, or a read model is made of them",
    rows=(PEAK, PROJECTED, BEFORE),
    ask=ask,
    sides=(FLOOR, BLOCKING_FLOOR, EVERLOG, EVERLOG_PYDANTIC, "eventsourcing"),
    rounds=1,
)
