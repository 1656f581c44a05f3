"""Comparing what the ledger holds with what its writers were told and its readers saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import NamedTuple

from everlog.core.portable import parse
from everlog.core.record import StoredRecord
from everlog.testing.torture.events import OWN, ids_of, part_of
from everlog.testing.torture.following import line_of
from everlog.testing.torture.journal import Answered

WORST_FIRST = ("lost", "passed", "twice", "order", "halves", "refused", "parts", "phantoms")
SHOWN = 5
"""Problems of one kind that are told one by one."""


class Judge:
    """Takes the table first, record by record, and then everything else that is to be judged."""

    def __init__(self, run: str, start: int) -> None:
        """`run` marks what belongs to this torture; `start` is where the ledger was before."""
        self._run = run
        self._last = start
        self._versions: dict[str, int] = {}
        self._lines: list[str] = []
        self._places: dict[str, int] = {}
        """Positions by id."""
        self._parts: Counter[str] = Counter()
        """How many events of each call are there."""
        self._whole: dict[str, int] = {}
        """And how many each has."""
        self._lost: set[str] = set()
        self._twice: set[str] = set()
        self._inverted: set[str] = set()
        self._found: dict[str, list[str]] = {}
        self.gaps = 0
        self.acknowledged = 0

    @property
    def events(self) -> int:
        """How many records there are."""
        return len(self._lines)

    @property
    def lost(self) -> int:
        """How many were acknowledged and are not there, or passed over by a reader."""
        return len(self._lost)

    @property
    def twice(self) -> int:
        """How many are there, or came to a reader, more than once."""
        return len(self._twice)

    @property
    def inverted(self) -> int:
        """How many stand, or came to a reader, before one that was there earlier."""
        return len(self._inverted)

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything found, in words."""
        return tuple(self._told())

    def found(self, kind: str, what: str) -> None:
        """Notes a problem."""
        self._found.setdefault(kind, []).append(what)

    # --- the table ---

    def record(self, record: StoredRecord) -> None:
        """Takes the next record of the ledger, by position, and judges it by itself."""
        id, position = record.id, record.position
        if id in self._places:
            self._twice.add(id)
            self.found("twice", f"{id} is stored at {self._places[id]} and at {position}")
        if position <= self._last:
            self._inverted.add(id)
            self.found("order", f"position {position} stands after {self._last}")
        elif position > self._last + 1:
            self.gaps += position - self._last - 1
            self.found("gaps", f"nothing is stored between {self._last} and {position}")
        version = self._versions.get(record.stream, 0)
        if record.version <= version:
            self._inverted.add(id)
            self.found("order", f"{record.stream} goes from version {version} to {record.version}")
        elif record.version > version + 1:
            self.gaps += record.version - version - 1
            self.found("gaps", f"{record.stream} goes from version {version} to {record.version}")
        self._last, self._versions[record.stream] = position, record.version
        self._lines.append(line_of(record))
        self._places[id] = position
        part = part_of(id)
        if part is None or not id.startswith(f"{self._run}."):
            self.found("others", f"{id} at {position} is nobody's: does anyone else write here?")
            return
        self._parts[part.call] += 1
        self._whole[part.call] = part.of
        said = {"call": part.call, "number": part.number, "of": part.of, "stream": record.stream}
        if parse(record.data) != said:
            self.found("content", f"{id} does not hold what was written under it")

    def calls(self) -> None:
        """Judges, once the table is there, that calls are in it whole."""
        for call, of in self._whole.items():
            if self._parts[call] != of:
                self.found("parts", f"{self._parts[call]} of {of} events of {call} are stored")

    # --- the writers ---

    def answers(self, answered: Sequence[Answered], refused: Iterable[str]) -> None:
        """Judges what writers were told: of calls that are stored, and of those that are not."""
        for call in answered:
            ids = ids_of(call.call, call.of)
            self.acknowledged += len(ids)
            missing = [id for id in ids if id not in self._places]
            self._lost.update(missing)
            for id in missing:
                self.found("lost", f"{id} was acknowledged and is not stored")
            if call.positions and not missing:
                there = [self._places[id] for id in ids]
                if there != call.positions:
                    self.found(
                        "answers", f"{call.call} was told {call.positions}, but is at {there}"
                    )
        for name in refused:
            if self._parts[name]:
                self.found("refused", f"{name} was refused, and is stored all the same")
        self._in_time([call for call in answered if self._parts[call.call]])

    def _in_time(self, answered: Sequence[Answered]) -> None:
        """Judges that what was acknowledged before something else began stands before it."""
        stored = [_Stored.of(call, self._places) for call in answered]
        by_last = sorted(stored, key=lambda call: call.last)
        earliest: _Stored | None = None
        """Of all that reach behind the one looked at: the one that had ended first."""
        for call in sorted(stored, key=lambda call: call.first, reverse=True):
            while by_last and by_last[-1].last > call.first:
                behind = by_last.pop()
                if earliest is None or behind.ended < earliest.ended:
                    earliest = behind
            if earliest is not None and earliest.ended < call.begun:
                self._inverted.add(call.name)
                self.found(
                    "order",
                    f"{call.name} began after {earliest.name} had been acknowledged, "
                    f"and stands at {call.first}, before {earliest.last}",
                )

    def together(self, rows: Set[str]) -> None:
        """Judges calls in users' transactions by the rows that those wrote: both, or neither."""
        stored = {call for call in self._whole if call.endswith(OWN)}
        for call in sorted(stored - rows):
            self.found("halves", f"{call} is stored, the row of its transaction is not")
        for call in sorted(rows - stored):
            self.found("halves", f"{call} is not stored, the row of its transaction is")

    # --- the readers ---

    def reader(self, name: str, lines: Sequence[str]) -> None:
        """Judges what a reader saw: exactly the table, in order."""
        if lines != self._lines:
            self._order(name, lines)
            self._difference(name, lines)

    def _order(self, name: str, lines: Sequence[str]) -> None:
        seen: set[str] = set()
        last = 0
        for line in lines:
            id, position = _id(line), int(line.split("\t")[1])
            if id in seen:
                self._twice.add(id)
                self.found("twice", f"{name} saw {id} twice")
            if position <= last:
                self._inverted.add(id)
                self.found("order", f"{name} saw position {position} after {last}")
            seen.add(id)
            last = max(last, position)

    def _difference(self, name: str, lines: Sequence[str]) -> None:
        there, seen = set(self._lines), set(lines)
        passed = {_id(line) for line in there - seen}
        others = {_id(line) for line in seen - there}
        for id in sorted(passed - others):
            self._lost.add(id)
            self.found("passed", f"{name} passed over {id} at {self._places[id]}")
        for id in sorted(passed & others):
            self.found("changed", f"{name} saw {id} in another place, or with another chain")
        for id in sorted(others - passed):
            self.found("phantoms", f"{name} saw {id}, which is not stored")

    def _told(self) -> Iterator[str]:
        last = len(WORST_FIRST)
        rank = {kind: place for place, kind in enumerate(WORST_FIRST)}
        for kind in sorted(self._found, key=lambda kind: rank.get(kind, last)):
            several = self._found[kind]
            yield from several[:SHOWN]
            if len(several) > SHOWN:
                yield f"... and {len(several) - SHOWN:,} more of this kind"


class _Stored(NamedTuple):
    name: str
    first: int
    last: int
    begun: int
    ended: int

    @staticmethod
    def of(call: Answered, places: dict[str, int]) -> _Stored:
        there = [places[id] for id in ids_of(call.call, call.of) if id in places]
        return _Stored(call.call, min(there), max(there), call.begun, call.ended)


def _id(line: str) -> str:
    return line.partition("\t")[0]
