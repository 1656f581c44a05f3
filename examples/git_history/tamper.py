"""A flipped bit in a copy of the log: what verification makes of it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everlog import EventStore, Record, Verification
from examples.git_history.events import EVENTS
from examples.git_history.replay import url_of


@dataclass(frozen=True, slots=True)
class Tampered:
    """What was done to the copy, and what was found."""

    position: int
    """The position of the record that was changed."""
    before: str
    after: str
    """A piece of its data, before and after."""
    sqlite_finds: str
    """What SQLite's own integrity check says of the copy."""
    found: Verification

    @property
    def located(self) -> bool:
        """Whether verification names just this record."""
        return {problem.position for problem in self.found.problems} == {self.position}


async def tamper(store: EventStore, copy: str) -> Tampered | None:
    """Backs the log up, flips one bit of a record's data in the copy, and verifies the copy.

    The copy is deleted again. None if no record of the log is in one piece in the file.
    """
    _remove(copy)  # an earlier run may have been stopped here
    await store.backup(copy)
    try:
        content = bytearray(_read(copy))
        middle = (await store.info()).position // 2
        async for record in store.read(after=middle):
            at = _place(content, record)
            if at is not None:
                break
        else:
            return None
        before = _around(content, at)
        content[at] ^= 1
        _write(copy, content)
        async with EventStore.open(url_of(copy), events=EVENTS) as damaged:
            found = await damaged.verify()
        return Tampered(record.position, before, _around(content, at), _check(copy), found)
    finally:
        _remove(copy)


def _place(content: bytearray, record: Record[Any]) -> int | None:
    """Returns where in the file a letter of the record's commit id is; None if it is in pieces."""
    data = record.stored.data.encode()
    at = content.find(data)
    if at < 0 or content.find(data, at + 1) >= 0:
        return None  # spread over pages, or not only there
    return at + data.index(b'"commit":"') + len(b'"commit":"')


def _around(content: bytearray, at: int) -> str:
    return content[at : at + 10].decode(errors="replace")


def _check(path: str) -> str:
    connection = sqlite3.connect(path)
    try:
        [answer] = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)
    finally:
        connection.close()
    return str(answer)


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


def _write(path: str, content: bytes | bytearray) -> None:
    Path(path).write_bytes(content)


def _remove(path: str) -> None:
    for suffix in ("", "-wal", "-shm", "-lock"):
        Path(path + suffix).unlink(missing_ok=True)
