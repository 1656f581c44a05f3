"""A disk in memory that knows what was synced: what a power cut may leave of a folder.

The rules, for each file by itself:

- What was written before its last sync is there.
- Of what was written after it, each sector of 512 bytes is found at any one of the states that it
  has gone through since: so any subset of the unsynced sectors may be there. Bytes that no write
  named keep what they were; SQLite relies on that too ("powersafe overwrite").
- Its size is any one that it has had since; where it grew and nothing arrived, there are zeros.
- Its name in the folder is a file of its own kind: it leads to any one of the files (or to none)
  that it has led to since the folder was last synced. So a file that was created may be missing,
  one that was deleted may be there again.

When is the folder synced? As SQLite's file system for Unix does: with the first sync of a journal
or WAL since it was opened (a flag that its xOpen sets), and with an xDelete that asks for it.
Everything before it in the folder is kept then, whichever file it was done for.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

SECTOR = 512

Choice = Literal["none", "all", "all but one", "only the last", "up to one", "any half", "anything"]
CHOICES: tuple[Choice, ...] = (
    "none",
    "all",
    "all but one",
    "only the last",
    "up to one",
    "any half",
    "anything",
)
"""Which of the unsynced sectors are found: by what, beside chance, a hole is most likely hit."""

Image = Mapping[str, bytes]
"""The files of a folder, by name."""


class Disk:
    """The files of one folder."""

    def __init__(self, files: Image | None = None) -> None:
        """Begins with these files, synced."""
        self._names: dict[str, list[_File | None]] = {
            name: [_File(bytearray(data))] for name, data in (files or {}).items()
        }

    def __contains__(self, name: str) -> bool:
        return self._at(name) is not None

    def create(self, name: str) -> None:
        """Creates an empty file, if there is none of this name."""
        if self._at(name) is None:
            self._names.setdefault(name, [None]).append(_File(bytearray()))

    def delete(self, name: str) -> None:
        """Takes a name away."""
        if self._at(name) is not None:
            self._names[name].append(None)

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Writes to a file."""
        self._get(name).write(offset, data)

    def truncate(self, name: str, size: int) -> None:
        """Cuts a file off at a size."""
        self._get(name).truncate(size)

    def sync(self, name: str) -> None:
        """Keeps what was written to a file."""
        self._get(name).sync()

    def forget(self, name: str) -> None:
        """Fails to sync a file: what was written to it is lost, and no later sync will keep it.

        So does Linux: after a failed fsync the pages in memory count as written.
        """
        self._get(name).forget()

    def sync_folder(self) -> None:
        """Keeps which names there are."""
        for name, files in self._names.items():
            self._names[name] = files[-1:]

    def unsynced(self, name: str) -> bool:
        """Whether something of a file may be lost."""
        return bool(self._at(name) and self._get(name).unsynced)

    def now(self) -> dict[str, bytes]:
        """Returns the files as programs see them, and as a killed process leaves them."""
        files = {name: self._at(name) for name in self._names}
        return {name: bytes(file.now) for name, file in files.items() if file is not None}

    def cut(self, choice: Choice, rng: random.Random) -> dict[str, bytes]:
        """Returns what a power cut leaves."""
        image: dict[str, bytes] = {}
        for name, files in self._names.items():
            file = files[_place(choice, len(files), rng)]
            if file is not None:
                image[name] = file.cut(choice, rng)
        return image

    def _at(self, name: str) -> _File | None:
        files = self._names.get(name)
        return None if files is None else files[-1]

    def _get(self, name: str) -> _File:
        file = self._at(name)
        assert file is not None, name
        return file


def _place(choice: Choice, count: int, rng: random.Random) -> int:
    """Returns which of `count` states is found, the first being the synced one."""
    if choice == "none":
        return 0
    if choice in ("all", "all but one", "only the last"):
        return count - 1
    return rng.randrange(count)


@dataclass(slots=True, eq=False)
class _File:
    synced: bytearray
    """As of the last sync."""
    now: bytearray = field(default_factory=bytearray)
    sizes: list[int] = field(default_factory=list[int])
    """All sizes since the last sync, the synced one first."""
    states: dict[int, list[tuple[int, bytes]]] = field(
        default_factory=dict[int, list[tuple[int, bytes]]]
    )
    """Of each sector since the last sync: after which call it was how."""
    calls: int = 0
    """How many there were since the last sync."""

    def __post_init__(self) -> None:
        self.now = bytearray(self.synced)
        self.sizes = [len(self.now)]

    @property
    def unsynced(self) -> bool:
        return bool(self.states) or len(self.sizes) > 1

    def write(self, offset: int, data: bytes) -> None:
        now, end = self.now, offset + len(data)
        if end > len(now):
            now.extend(bytes(end - len(now)))
            self.sizes.append(end)
        now[offset:end] = data
        self._note(offset, end)

    def truncate(self, size: int) -> None:
        was = len(self.now)
        if size == was:
            return
        if size > was:
            self.now.extend(bytes(size - was))
        else:
            del self.now[size:]
        self.sizes.append(size)
        self._note(min(size, was), max(size, was))

    def sync(self) -> None:
        size = len(self.now)
        del self.synced[size:]
        self.synced.extend(bytes(size - len(self.synced)))
        for sector in self.states:
            at = sector * SECTOR
            self.synced[at : at + SECTOR] = self.now[at : at + SECTOR]
        self.sizes, self.calls = [size], 0
        self.states.clear()

    def forget(self) -> None:
        # Programs go on reading `now`; what of it is written again will be kept.
        self.sizes, self.calls = [len(self.synced), len(self.now)], 0
        self.states.clear()

    def cut(self, choice: Choice, rng: random.Random) -> bytes:
        if choice == "none" or not self.unsynced:
            return bytes(self.synced)
        found = bytearray(self.synced)
        for sector, data in self._chosen(choice, rng):
            at = sector * SECTOR
            if at > len(found):
                found.extend(bytes(at - len(found)))
            found[at : at + SECTOR] = data
        size = self.sizes[_place(choice, len(self.sizes), rng)]
        found.extend(bytes(max(0, size - len(found))))
        return bytes(found[:size])

    def _chosen(self, choice: Choice, rng: random.Random) -> Iterable[tuple[int, bytes]]:
        """Returns the sectors that are not as of the last sync, and what is found in them."""
        states, last = self.states, self.calls
        left_out = rng.choice(list(states)) if choice == "all but one" and states else -1
        until = rng.randrange(last + 1) if choice == "up to one" else last
        for sector, history in states.items():
            bound = until
            if choice == "all but one":
                bound = 0 if sector == left_out else last
            elif choice == "only the last":
                bound = last if history[-1][0] == last else 0
            elif choice == "any half":
                bound = rng.choice((0, last))
            elif choice == "anything":
                bound = rng.randrange(last + 1)
            arrived = [data for call, data in history if call <= bound]
            if arrived:
                yield sector, arrived[-1]

    def _note(self, start: int, end: int) -> None:
        self.calls += 1
        for sector in range(start // SECTOR, -(-end // SECTOR)):
            at = sector * SECTOR
            data = bytes(self.now[at : at + SECTOR]).ljust(SECTOR, b"\0")
            self.states.setdefault(sector, []).append((self.calls, data))
