"""Prepared logs: what is read in every round is written once a run, by each side in its own file.

A log of full size holds 10 streams of 1,000 events, and one of 1,000 with a snapshot after 990.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks import workload
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

    def __init__(self, folder: Path, size: Size) -> None:
        self._folder, self._size = folder, size
        self._made: set[str] = set()

    async def of(self, name: str, make: Callable[[], Side]) -> Path:
        """Returns the file of a side's log; makes it first, if this is the first time."""
        path = self._folder / name / "log.db"
        if name not in self._made:
            path.parent.mkdir()
            try:
                await _make(path, make, streams_in_log(self._size))
            except BaseException:
                shutil.rmtree(path.parent)
                raise
            self._made.add(name)
        return path


async def _make(path: Path, make: Callable[[], Side], streams: int) -> None:
    side = make()
    await side.open(path)
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
