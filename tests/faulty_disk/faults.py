"""I/O faults: the n-th call that SQLite makes to its disk fails, once or from then on."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.faulty_disk import vfs
from tests.faulty_disk.disk import SECTOR, Disk
from tests.faulty_disk.recording import Recorder, Step, play

Kind = Literal[
    "EIO on read",
    "EIO on write",
    "EIO after write",
    "torn write",
    "ENOSPC on write",
    "short write",
    "EIO on sync",
    "EIO on sync, unsynced lost",
    "EIO elsewhere",
    "EIO on everything",
]

CALLS: Mapping[Kind, tuple[vfs.Operation, ...]] = {
    "EIO on read": ("read",),
    # Nothing of it reaches the file; all of it does, and is reported as failed; some sectors do.
    "EIO on write": ("write",),
    "EIO after write": ("write",),
    "torn write": ("write",),
    # A disk is full for what makes a file grow, so a part may arrive; where there are bytes already
    # it takes all of them or, if it copies on write, none. SQLite calls both a full disk.
    "ENOSPC on write": ("write",),
    "short write": ("write",),
    "EIO on sync": ("sync",),
    # As Linux has it: the pages count as written after a failed fsync, and the next one succeeds.
    "EIO on sync, unsynced lost": ("sync",),
    "EIO elsewhere": ("open", "truncate", "delete"),
    "EIO on everything": ("read", "write", "sync", "open", "truncate", "delete"),
}
"""The calls that a kind of fault makes fail; the n-th is counted among them."""

WRITER, READERS, ANY_THREAD = "everlog-writer", "everlog-reader", ""
"""Beginnings of the names of the store's threads."""

_CODES: Mapping[vfs.Operation, int] = {
    "open": vfs.CANTOPEN,
    "read": vfs.IOERR_READ,
    "write": vfs.IOERR_WRITE,
    "sync": vfs.IOERR_FSYNC,
    "truncate": vfs.IOERR_TRUNCATE,
    "delete": vfs.IOERR_DELETE,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Which call fails, and how."""

    kind: Kind
    nth: int
    lasting: bool = False
    """Whether all such calls after it fail as well."""
    threads: str = WRITER
    """Only the calls of threads whose name begins so fail."""


class Faults:
    """Makes calls on the files of a folder fail, and keeps the disk that they leave."""

    def __init__(self, folder: Path) -> None:
        self.fired = 0
        """How many calls the last plan made fail."""
        self._folder = folder.resolve()
        self._recorder = Recorder(folder)
        self._disk = Disk({path.name: path.read_bytes() for path in folder.iterdir()})
        self._played = 0
        self._plan: Plan | None = None
        self._calls = 0
        self._lock = threading.Lock()

    def plan(self, plan: Plan) -> None:
        """Makes calls fail from now on."""
        with self._lock:
            self._plan, self._calls, self.fired = plan, 0, 0

    def end(self) -> None:
        """Lets all calls through again."""
        with self._lock:
            self._plan = None

    def disk(self) -> Disk:
        """Returns the disk as it is now."""
        steps = self._recorder.steps
        for step in steps[self._played :]:
            play(step, self._disk)
        self._played = len(steps)
        return self._disk

    def watch(self, call: vfs.Call) -> int:
        """Answers a call."""
        plan = self._falls_on(call)
        if plan is None:
            return self._recorder.watch(call)
        if call.operation == "write":
            grows = call.offset + call.size > os.path.getsize(call.path)
            for start, end in _parts(plan.kind, call.size, grows):
                self._recorder.write(call, start, end)
            no_room = plan.kind in ("ENOSPC on write", "short write")
            return vfs.FULL if no_room else vfs.IOERR_WRITE
        if plan.kind == "EIO on sync, unsynced lost":
            self._recorder.take(Step("forget", Path(call.path).name))
        return _CODES[call.operation]

    def _falls_on(self, call: vfs.Call) -> Plan | None:
        with self._lock:
            plan = self._plan
            if (
                plan is None
                or call.operation not in CALLS[plan.kind]
                or Path(call.path).parent != self._folder
                or not threading.current_thread().name.startswith(plan.threads)
            ):
                return None
            self._calls += 1
            if self._calls != plan.nth and not (plan.lasting and self._calls > plan.nth):
                return None
            self.fired += 1
            return plan


def _parts(kind: Kind, size: int, grows: bool) -> list[tuple[int, int]]:
    """Returns which bytes of a write reach the file all the same."""
    if kind == "EIO after write":
        return [(0, size)]
    if kind == "short write" and grows:
        return [(0, size // 2)]
    if kind == "torn write":  # the first and the last arrive, so that it looks whole at both ends
        sectors = list(range(0, size, SECTOR))
        kept = {*sectors[::2], sectors[-1]} if len(sectors) > 1 else set[int]()
        return [(at, min(at + SECTOR, size)) for at in sorted(kept)]
    return []


@contextmanager
def faulty(folder: Path) -> Generator[Faults]:
    """Puts a disk that can fail under the files of a folder."""
    faults = Faults(folder)
    with vfs.watched(faults.watch, "read", "write", "truncate", "sync", "delete"):
        yield faults
