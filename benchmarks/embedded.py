"""The SQLite store beside the floor: appends, batches, reads and folds.

Every round runs both, one after the other, on new files; a figure is the median of the rounds. A
ratio is the floor's time divided by everlog's: 1.0 is as fast as hand-written code.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from benchmarks.floor.sqlite_floor import SqliteFloor
from everlog import EventStore, Record, event, reducer


@event("bench:noted")
class Noted(BaseModel):
    """About 200 bytes of JSON."""

    number: int
    text: str


@reducer("bench", initial=int)
def total(state: int, record: Record) -> int:
    """Looks at every record's data, as a real reducer does."""
    return state + (record.data.number if isinstance(record.data, Noted) else 0)


TEXT = "x" * 170

T = TypeVar("T")


@dataclass(slots=True)
class Row:
    """One kind of work: microseconds an event, per round."""

    floor: list[float] = field(default_factory=list[float])
    everlog: list[float] = field(default_factory=list[float])


async def run(*, rounds: int, scale: float) -> dict[str, Row]:
    """Returns the figures of all rows. `scale` 1.0 is the full size."""
    rows: dict[str, Row] = {}
    lone, tasks, batches = (
        max(4, int(300 * scale)),
        max(4, int(64 * scale)),
        max(1, int(10 * scale)),
    )
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            await _floor_round(rows, Path(folder), lone, tasks, batches)
            await _everlog_round(rows, Path(folder), lone, tasks, batches)
    return rows


async def _floor_round(
    rows: dict[str, Row], folder: Path, lone: int, tasks: int, batches: int
) -> None:
    floor = SqliteFloor(str(folder / "floor.db"))
    events = [{"number": number, "text": TEXT} for number in range(1000)]

    async def one_by_one() -> None:
        for number in range(lone):
            await floor.append("lone", [events[number % 1000]])

    async def together() -> None:
        async def worker(name: int) -> None:
            for number in range(20):
                await floor.append_grouped(f"task-{name}", [events[number]])

        await asyncio.gather(*(worker(name) for name in range(tasks)))

    async def in_batches() -> None:
        for number in range(batches):
            await floor.append(f"batch-{number}", events)

    async def fold() -> int:
        return sum(data["number"] for _, data in await floor.read("batch-0"))

    try:
        await _time(rows, "append 1, one writer", "floor", lone, one_by_one)
        await _time(rows, f"append 1, {tasks} tasks", "floor", tasks * 20, together)
        await _time(rows, "batch of 1,000", "floor", batches * 1000, in_batches)
        count = lone + tasks * 20 + batches * 1000
        found = await _time(rows, "read everything", "floor", count, lambda: floor.read(None))
        assert len(found) == count
        assert await _time(rows, "fold 1,000", "floor", 1000, fold) == 499_500
    finally:
        floor.close()


async def _everlog_round(
    rows: dict[str, Row], folder: Path, lone: int, tasks: int, batches: int
) -> None:
    events = [Noted(number=number, text=TEXT) for number in range(1000)]
    async with EventStore.open(f"sqlite:///{folder}/everlog.db", events=[Noted]) as store:

        async def one_by_one() -> None:
            for number in range(lone):
                await store.append("lone", events[number % 1000])

        async def together() -> None:
            async def worker(name: int) -> None:
                for number in range(20):
                    await store.append(f"task-{name}", events[number])

            await asyncio.gather(*(worker(name) for name in range(tasks)))

        async def in_batches() -> None:
            for number in range(batches):
                await store.append(f"batch-{number}", *events)

        async def read() -> int:
            count = 0
            async for record in store.read():
                assert record.data is not None
                count += 1
            return count

        await _time(rows, "append 1, one writer", "everlog", lone, one_by_one)
        await _time(rows, f"append 1, {tasks} tasks", "everlog", tasks * 20, together)
        await _time(rows, "batch of 1,000", "everlog", batches * 1000, in_batches)
        count = lone + tasks * 20 + batches * 1000
        assert await _time(rows, "read everything", "everlog", count, read) == count
        folded = await _time(
            rows, "fold 1,000", "everlog", 1000, lambda: store.reduce(total, "batch-0")
        )
        assert folded == 499_500
        verified = await store.verify()
        assert (verified.ok, verified.records) == (True, count)


async def _time(
    rows: dict[str, Row], name: str, who: str, events: int, work: Callable[[], Awaitable[T]]
) -> T:
    began = time.perf_counter()
    result = await work()
    taken = (time.perf_counter() - began) / events * 1e6
    getattr(rows.setdefault(name, Row()), who).append(taken)
    return result


def table(rows: dict[str, Row]) -> str:
    """Returns the figures as text."""
    lines = [f"{'us an event':24} {'floor':>8} {'everlog':>8} {'ratio':>6}  spread of the ratio"]
    for name, row in rows.items():
        ratios = [floor / mine for floor, mine in zip(row.floor, row.everlog, strict=True)]
        lines.append(
            f"{name:24} {statistics.median(row.floor):8.1f} {statistics.median(row.everlog):8.1f} "
            f"{statistics.median(ratios):6.2f}  {min(ratios):.2f} to {max(ratios):.2f}"
        )
    return "\n".join(lines)
