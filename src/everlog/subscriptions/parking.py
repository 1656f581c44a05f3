"""Parking: records that failed are set aside, with what follows them in their streams."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from everlog.core.record import Record
from everlog.ports.checkpoints import Checkpoints, Due, Parked, ParkedAs

BEHIND = ""
"""The error of a record that waits for another one."""

MOST_CHARACTERS = 2_000
"""Of an error, that are kept."""


def text_of(error: BaseException) -> str:
    """Returns what is kept of an error: its kind and its words, and those of its cause."""
    cause = error.__cause__
    said = error if cause is None else cause
    try:
        words = str(said)
    except Exception as failure:  # a handler's own error can be anything
        words = f"(its __str__ raised {type(failure).__name__})"
    text = f"{type(said).__name__}: {words}"[:MOST_CHARACTERS]
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate cannot be stored


class Parking:
    """The streams that are held up in what a worker holds, and when they are tried again.

    What the database has is the truth. It is looked at when slices are claimed, and now and then,
    as a person may have asked for a record to be tried again or given up.
    """

    LOOK_S = 1.0
    """How often, in seconds, while anything is held up."""

    def __init__(self, checkpoints: Checkpoints, name: str) -> None:
        self._checkpoints = checkpoints
        self._name = name
        self._streams: dict[str, Due] = {}
        self._due_at: dict[str, float] = {}
        self._look_at = 0.0

    def holds_up(self, stream: str) -> bool:
        """Whether records of a stream have to wait behind one."""
        return stream in self._streams

    @property
    def next_in_s(self) -> float | None:
        """In how many seconds something is to be done; None while nothing is held up."""
        if not self._streams:
            return None
        soonest = min([self._look_at, *self._due_at.values()])
        return max(0.0, soonest - _now())

    async def look(self, slices: Iterable[int], *, at_once: bool = False) -> None:
        """Looks at what is held up, if it is time to."""
        if not at_once and (not self._streams or _now() < self._look_at):
            return
        found = await self._checkpoints.due(self._name, sorted(slices))
        self._streams = {due.stream: due for due in found}
        self._due_at = {due.stream: _now() + due.due_s for due in found if due.due_s is not None}
        self._look_at = _now() + self.LOOK_S

    def look_soon(self) -> None:
        """Has the next `look` be one."""
        self._look_at = 0.0

    def due(self) -> list[Due]:
        """Returns the first record of each stream whose time has come."""
        now = _now()
        return [self._streams[stream] for stream, at in self._due_at.items() if at <= now]

    def hold_up(self, parked: Parked) -> None:
        """Takes in that a record has been set aside which holds its stream up."""
        if not self._streams:
            self._look_at = _now() + self.LOOK_S
        stream = parked.stream
        self._streams[stream] = Due(
            parked.slice, stream, parked.position, parked.tries, parked.due_s
        )
        self._due_at.pop(stream, None)
        if parked.due_s is not None:
            self._due_at[stream] = _now() + parked.due_s

    def let_go(self, stream: str) -> None:
        """Takes in that nothing holds a stream up any more."""
        self._streams.pop(stream, None)
        self._due_at.pop(stream, None)


def parked(
    name: str,
    slice: int,
    record: Record[object],
    status: ParkedAs,
    *,
    tries: int = 0,
    due_s: float | None = None,
    error: str = BEHIND,
) -> Parked:
    """Returns how a record is set aside."""
    place = (record.position, record.stream, record.id)
    return Parked(name, slice, *place, status, tries, due_s, error)


def _now() -> float:
    return asyncio.get_running_loop().time()
