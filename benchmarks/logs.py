"""Prepared logs: what is read in every round is written once a run, by each side in its own log.

A log of full size holds 10 streams of 1,000 events, and one of 1,000 with a snapshot after 990.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from benchmarks import workload
from benchmarks.databases import Database, New
from benchmarks.question import Size
from benchmarks.side import CannotDo, Side


def records_in_log(size: Size) -> int:
    """Returns how many records a prepared log holds."""
    return (streams_in_log(size) + 1) * workload.COUNT


def streams_in_log(size: Size) -> int:
    """Returns how many streams of 1,000 a prepared log holds, beside the one with a snapshot."""
    return size.of(10)


class Logs:
    """The prepared logs of one run."""

    def __init__(self, database: Database, new: New, size: Size) -> None:
        self._database, self._new, self._size = database, new, size
        self._made: dict[str, str] = {}

    async def of(self, name: str, make: Callable[[], Side]) -> str:
        """Returns the address of a side's log; makes it first, if this is the first time."""
        if name not in self._made:
            address = self._new(name)
            await _make(address, make, streams_in_log(self._size))
            self._database.settle(address)
            self._made[name] = address
        return self._made[name]


async def _make(address: str, make: Callable[[], Side], streams: int) -> None:
    side = make()
    await side.open(address)
    try:
        await _fill(side, streams)
    finally:
        await side.close()


async def _fill(side: Side, streams: int) -> None:
    for number in range(streams):
        await side.append(workload.stream_of(number), workload.INDICES)
    await side.append(workload.SNAPSHOTTED, workload.INDICES[: workload.SNAPSHOT_AT])
    with suppress(CannotDo):
        await side.snapshot(workload.SNAPSHOTTED)
    await side.append(workload.SNAPSHOTTED, workload.INDICES[workload.SNAPSHOT_AT :])
