"""A wall clock in the hand of a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from everlog.core.stamp import last_stamp_of
from everlog.errors import InvalidInput

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
"""Where a `FakeClock` stands, and when the first record of a scenario is created."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FakeClock:
    """A wall clock that stands still until it is moved, forwards or back.

    - `start`: an aware datetime, or milliseconds since 1970

    Raises `NaiveDatetime` for a datetime without a time zone, `InvalidInput` before 1970.

    >>> clock = FakeClock(datetime(2026, 1, 31, 12, 0, tzinfo=UTC))
    >>> async with EventStore.open("memory:", events=[UserCreated], clock=clock) as store:
    ...     clock.advance(seconds=90)
    ...     [record] = await store.append("user-1", UserCreated(email="jane@doe.com"))
    >>> record.created_at.isoformat()
    '2026-01-31T12:01:30+00:00'
    """

    def __init__(self, start: datetime | int = BEGINNING) -> None:
        self._ms = ms_of(start, where="start")

    def __call__(self) -> int:
        """Returns its time, in milliseconds since 1970."""
        return self._ms

    @property
    def now(self) -> datetime:
        """Its time, in UTC."""
        return _EPOCH + timedelta(milliseconds=self._ms)

    def advance(self, *, seconds: float = 0, ms: int = 0) -> None:
        """Moves it on by so much together; back, if that is negative."""
        self._ms = ms_of(self._ms + round(seconds * 1000) + ms, where="the clock")

    def set(self, moment: datetime | int) -> None:
        """Moves it to a moment: an aware datetime, or milliseconds since 1970."""
        self._ms = ms_of(moment, where="moment")

    def __repr__(self) -> str:
        return f"<FakeClock {self.now.isoformat()}>"


def ms_of(moment: datetime | int, *, where: str) -> int:
    """Returns milliseconds since 1970; raises `NaiveDatetime` or `InvalidInput`."""
    if isinstance(moment, datetime):
        return int(last_stamp_of(moment, where=where)[:12], 16)
    if moment < 0:
        raise InvalidInput(f"{where} is {moment} ms, but time begins with the year 1970")
    return moment
