"""A follower of a log that judges, at every moment, what it has seen so far."""

from __future__ import annotations

from collections.abc import Sequence

from everlog.core.record import StoredRecord


class Follower:
    """Takes records as they are read, and notes everything that a ledger promises and breaks."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.ids: list[str] = []
        """Ids by position: that of position P at P - 1."""
        self._versions: dict[str, int] = {}
        self._seen: set[str] = set()

    @property
    def position(self) -> int:
        """The position up to which everything has been seen."""
        return len(self.ids)

    def take(self, record: StoredRecord) -> None:
        """Takes the next record: its position and version must follow those before it."""
        if record.position != self.position + 1:
            self._found(f"position {record.position} came after {self.position}")
        version = self._versions.get(record.stream, 0) + 1
        if record.version != version:
            self._found(f"{record.stream} went to version {record.version}, not {version}")
        if record.id in self._seen:
            self._found(f"{record.id} came twice")
        self._versions[record.stream] = record.version
        self._seen.add(record.id)
        self.ids.append(record.id)

    def compare(self, records: Sequence[StoredRecord]) -> None:
        """Compares a second reading of what has been seen with the first."""
        if not records:
            return
        first = records[0].position
        if [record.id for record in records] != self.ids[first - 1 : first - 1 + len(records)]:
            self._found(f"from {first} on, another reading gives other records")
        if records[-1].position != self.position:
            self._found(f"another reading ends at {records[-1].position}, not {self.position}")

    def _found(self, problem: str) -> None:
        self.problems.append(problem)
