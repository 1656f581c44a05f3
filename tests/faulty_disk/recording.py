"""A recording of all that a program asks of its disk, to be played to a `Disk` up to any point."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from tests.faulty_disk import vfs
from tests.faulty_disk.disk import Disk

Deed = Literal["create", "write", "truncate", "sync", "forget", "sync folder", "delete"]


class Step(NamedTuple):
    """Something that was done to the disk, and had been done when it was noted."""

    deed: Deed
    name: str
    offset: int = 0
    data: bytes = b""


Spare = Callable[[Step], bool]
"""A planted fault: whether a step is answered as if it had been taken, and is not."""


def nothing(_step: Step) -> bool:
    """Spares no step."""
    return False


class Recorder:
    """Notes what is done to the files of one folder, in order. Safe from several threads."""

    def __init__(self, folder: Path, *, spare: Spare = nothing) -> None:
        self.steps: list[Step] = []
        self._folder = os.path.realpath(folder)
        self._spare = spare
        self._lock = threading.Lock()
        self._known = {path.name for path in folder.iterdir()}
        self._new: set[int] = set()
        """Open files whose first sync syncs the folder, too."""

    def watch(self, call: vfs.Call) -> int:
        """Forwards a call, and notes it if it was done."""
        folder, name = os.path.split(call.path)
        # Held around the call itself: what is noted first was done first.
        with self._lock:
            result = call.forward()
            if folder == self._folder and result == vfs.OK:
                self._note(call, name)
            return result

    def write(self, call: vfs.Call, start: int, end: int) -> None:
        """Does a part of a write, and notes it."""
        data = call.data[start:end]
        with self._lock:
            assert call.write(call.offset + start, data) == vfs.OK
            self.take(Step("write", os.path.basename(call.path), call.offset + start, data))

    def take(self, step: Step) -> None:
        """Notes a step."""
        if not self._spare(step):
            self.steps.append(step)

    def _note(self, call: vfs.Call, name: str) -> None:
        match call.operation:
            case "open":
                self._new.discard(call.file)
                if call.flags & vfs.OPEN_CREATES:
                    if call.flags & (vfs.OPEN_JOURNAL | vfs.OPEN_WAL):
                        self._new.add(call.file)
                    if name not in self._known:
                        self._known.add(name)
                        self.take(Step("create", name))
            case "write":
                self.take(Step("write", name, call.offset, call.data))
            case "truncate":
                self.take(Step("truncate", name, call.offset))
            case "sync":
                self.take(Step("sync", name))
                if call.file in self._new:
                    self._new.discard(call.file)
                    self.take(Step("sync folder", ""))
            case "delete":
                self._known.discard(name)
                self.take(Step("delete", name))
                if call.flags:
                    self.take(Step("sync folder", ""))
            case "read":
                pass


@contextmanager
def recorded(folder: Path, *, spare: Spare = nothing) -> Generator[Recorder]:
    """Records what SQLite does to the files in a folder, from those on that are in it."""
    recorder = Recorder(folder, spare=spare)
    with vfs.watched(recorder.watch, "write", "truncate", "sync", "delete"):
        yield recorder


def play(step: Step, disk: Disk) -> None:
    """Does to a disk what was noted."""
    match step.deed:
        case "create":
            disk.create(step.name)
        case "write":
            disk.write(step.name, step.offset, step.data)
        case "truncate":
            disk.truncate(step.name, step.offset)
        case "sync":
            disk.sync(step.name)
        case "forget":
            disk.forget(step.name)
        case "sync folder":
            disk.sync_folder()
        case "delete":
            disk.delete(step.name)
