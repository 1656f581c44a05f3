"""What a process writes down while it runs, so that it is known even if the process is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Answered(NamedTuple):
    """A call that was acknowledged. Times are of the clock that all processes share, in ns."""

    call: str
    of: int
    begun: int
    ended: int
    positions: Sequence[int]
    """Where its records are, as its writer was told; empty if it was not told."""


class Journal:
    """Lines of JSON in a file; each is there as soon as its method returns."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def acknowledged(self, answered: Answered) -> None:
        """Notes a call that must be in the ledger from now on."""
        self._write(["acknowledged", *answered])

    def refused(self, call: str) -> None:
        """Notes a call of which it was said that nothing was written."""
        self._write(["refused", call])

    def counted(self, what: str) -> None:
        """Notes that something happened once more."""
        self._write(["counted", what])

    def problem(self, what: str) -> None:
        """Notes something that must not happen."""
        self._write(["problem", what])

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def _write(self, line: list[Any]) -> None:
        # In one call of the system, past every buffer: a process may be killed at any moment.
        os.write(self._file, json.dumps(line).encode() + b"\n")


def lines_of(path: Path) -> Iterator[list[Any]]:
    """Returns what a journal holds; nothing if its process did not get to begin one."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
