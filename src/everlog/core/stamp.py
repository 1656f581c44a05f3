"""Stamps of a hybrid logical clock: when an event was created, in an order all ledgers agree on.

A stamp is 32 lower-case hex characters, and the order of the text is the order of time:

    019c11597000 0003 8f1e2d3c4b5a6978
    |            |    node: whose clock made it; breaks ties
    |            counter: events of one millisecond, or of a wall clock that stands still
    milliseconds since 1970, UTC

A `Clock` is a value. Whoever owns one keeps the newest that `tick` or `receive` returned:

    >>> clock = Clock(ms=0, counter=0, node="8f1e2d3c4b5a6978")
    >>> clock = tick(clock, now_ms=1_769_817_600_000)
    >>> clock.stamp
    '019c1159700000008f1e2d3c4b5a6978'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from everlog.errors import ClockAhead, InvalidStamp, NaiveDatetime

Stamp: TypeAlias = str


@dataclass(frozen=True, slots=True)
class Clock:
    """The latest moment that a clock has given or received. `Clock(*parse_stamp(s))` resumes at s.

    `ms` is milliseconds since 1970 in UTC, `node` 16 lower-case hex characters.
    """

    ms: int
    counter: int
    node: str

    def __post_init__(self) -> None:
        if not 0 <= self.ms <= _MAX_MS:
            raise InvalidStamp(
                f"a clock cannot stand at {self.ms} ms: stamps hold the years 1970 to 10889; "
                "set the machine's clock right"
            )
        if not 0 <= self.counter <= _MAX_COUNTER:
            raise InvalidStamp(f"a clock's counter is 0 to {_MAX_COUNTER}, not {self.counter}")
        if not _is_node(self.node):
            raise InvalidStamp(
                f"a clock's node is 16 lower-case hex characters, not {_shown(self.node)}"
            )

    @property
    def stamp(self) -> Stamp:
        """The stamp of the last `tick`. After a `receive`, tick first: this one was not given."""
        return f"{self.ms << 16 | self.counter:016x}{self.node}"


def tick(clock: Clock, *, now_ms: int) -> Clock:
    """The clock moved on: its stamp is later than all it has given or received.

    The wall clock only ever moves it forward; one that stands still or went back makes it count.
    A counter that is used up borrows the next millisecond. InvalidStamp after the year 10889.
    """
    if now_ms > clock.ms:
        return Clock(now_ms, 0, clock.node)
    if clock.counter < _MAX_COUNTER:
        return Clock(clock.ms, clock.counter + 1, clock.node)
    return Clock(clock.ms + 1, 0, clock.node)


def stamps_after(stamp: Stamp, *, node: str, now_ms: int, count: int) -> list[Stamp]:
    """The next stamps of a clock that stands at `stamp`: what so many `tick`s would give.

    The node of `stamp` does not count: the clock is that of `node`, which is not checked. Raises
    InvalidStamp as `tick`.
    """
    # Milliseconds and counter are one number, so a used-up counter borrows by itself.
    last = int(stamp[:16], 16)
    if last < now_ms << 16:
        last = (now_ms << 16) - 1
    if last + count >> 64:
        Clock((last + count) >> 16, 0, node)  # says what is wrong
    if count == 1:  # by far the most
        return [f"{last + 1:016x}{node}"]
    return [f"{moment:016x}{node}" for moment in range(last + 1, last + 1 + count)]


def receive(
    clock: Clock, stamp: Stamp, *, now_ms: int, max_offset_ms: int | None = 60_000
) -> Clock:
    """The clock moved past a stamp that was made elsewhere, so that the next `tick` is later.

    Raises ClockAhead if the stamp lies more than `max_offset_ms` after `now_ms`: one clock that is
    set wrong would drag all others along. None takes any stamp, for what is stored already.
    """
    ms, counter, _ = parse_stamp(stamp)
    _check_ahead(stamp, ms, now_ms, max_offset_ms)
    if (ms, counter) <= (clock.ms, clock.counter):
        return clock
    return Clock(ms, counter, clock.node)


def stamp_behind(
    seen: Stamp, stamp: Stamp, *, node: str, now_ms: int, max_offset_ms: int | None = 60_000
) -> Stamp:
    """The next stamp of a clock that stands at `seen`, once it has received `stamp`.

    What a `receive` and a `tick` would give, on the path of every record that comes from elsewhere;
    as in `stamps_after`, the clock is that of `node`. Raises as those two.
    """
    if not is_stamp(stamp):
        parse_stamp(stamp)  # says what is wrong
    if max_offset_ms is not None:
        _check_ahead(stamp, int(stamp[:12], 16), now_ms, max_offset_ms)
    latest = seen if seen > stamp else stamp
    last = int(latest[:16], 16)
    if last < now_ms << 16 or last == _LAST:
        return stamps_after(latest, node=node, now_ms=now_ms, count=1)[0]
    return f"{last + 1:016x}{node}"


def _check_ahead(stamp: Stamp, ms: int, now_ms: int, max_offset_ms: int | None) -> None:
    if max_offset_ms is not None and ms > now_ms + max_offset_ms:
        raise ClockAhead(f"event {stamp}", ahead_ms=ms - now_ms, max_offset_ms=max_offset_ms)


# --- stamps as text -----------------------------------------------------------------------------


_LAST = 2**64 - 1
"""Milliseconds and counter of the last stamp that there is."""


def is_stamp(text: object) -> bool:
    """Whether this is the text of a stamp."""
    return isinstance(text, str) and _STAMP(text) is not None


def parse_stamp(text: str) -> tuple[int, int, str]:
    """The milliseconds, the counter and the node of a stamp. Raises InvalidStamp."""
    if not is_stamp(text):
        raise InvalidStamp(f"{_shown(text)} is no stamp: {_why_not(text)}; expected {_FORM}")
    return int(text[:12], 16), int(text[12:16], 16), text[16:]


def stamp_time(stamp: Stamp) -> datetime:
    """The moment of a stamp in UTC, to the millisecond.

    Raises InvalidStamp for a stamp after the year 9999, which sorts well but fits no datetime.
    """
    ms, _, _ = parse_stamp(stamp)
    try:
        return _EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        raise InvalidStamp(f"{stamp} lies after the year 9999: no datetime holds it") from None


# --- moments as bounds --------------------------------------------------------------------------


def last_stamp_of(moment: datetime, *, where: str = "moment") -> Stamp:
    """The greatest stamp of a moment's millisecond: all that was created by then is at or below it.

    Raises NaiveDatetime without a time zone and InvalidStamp before 1970; `where` names the
    argument in their messages.
    """
    if moment.utcoffset() is None:
        raise NaiveDatetime(where)
    ms = (moment - _EPOCH) // _MILLISECOND
    if not 0 <= ms <= _MAX_MS:
        raise InvalidStamp(f"{where} is {moment.isoformat()}, but stamps begin with the year 1970")
    return f"{ms:012x}ffffffffffffffffffff"


def moment_bound(as_of: datetime | Stamp, *, where: str) -> Stamp:
    """The greatest stamp that counts as at or before `as_of`: a stamp itself, or a moment's last.

    Raises NaiveDatetime or InvalidStamp; `where` names the argument in their messages.
    """
    if isinstance(as_of, datetime):
        return last_stamp_of(as_of, where=where)
    if is_stamp(as_of):
        return as_of
    raise InvalidStamp(
        f"{where} is {_shown(as_of)}: {_why_not(as_of)}; "
        f"expected a datetime with a time zone, or a stamp of {_FORM}"
    )


# --- the stamps of the original TypeScript library ----------------------------------------------


def from_original(text: str, *, node: str) -> Stamp:
    """Our stamp for one of the original's, `base36 milliseconds-counter`, as made by `node`.

    >>> from_original("mkdsn5a8-00003", node="8f1e2d3c4b5a6978")
    '019bbbbf2a8000038f1e2d3c4b5a6978'
    """
    match = _original(text)
    if match is None:
        raise InvalidStamp(
            f"{_shown(text)} is no stamp of the original library; expected milliseconds in "
            "lower-case base 36, '-', and a counter of 5 digits, like 'mkdsn5a8-00003'"
        )
    ms, counter = int(match[1], 36), int(match[2])
    if ms > _MAX_MS or counter > _MAX_COUNTER:
        raise InvalidStamp(
            f"{_shown(text)} does not fit a stamp, which holds times up to the year 10889 "
            f"and counters up to {_MAX_COUNTER}"
        )
    return Clock(ms, counter, node).stamp


def to_original(stamp: Stamp) -> str:
    """A stamp as the original library writes it. The node is lost: it has no place there."""
    ms, counter, _ = parse_stamp(stamp)
    digits = ""
    while ms or not digits:
        ms, digit = divmod(ms, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"{digits}-{counter:05d}"


# --- helpers ------------------------------------------------------------------------------------

_MAX_MS = 2**48 - 1
_MAX_COUNTER = 2**16 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FORM = "32 lower-case hex characters: 12 of milliseconds, 4 of a counter, 16 of a node"

_STAMP = re.compile(r"[0-9a-f]{32}").fullmatch
_is_node = re.compile(r"[0-9a-f]{16}").fullmatch
_ORIGINAL = re.compile(r"(0|[1-9a-z][0-9a-z]{0,9})-([0-9]{5})").fullmatch


def _original(value: object) -> re.Match[str] | None:
    return _ORIGINAL(value) if isinstance(value, str) else None


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _why_not(value: object) -> str:
    """The reason why something is no stamp."""
    if not isinstance(value, str):
        return f"it is of type {type(value).__name__}"
    if _original(value):
        return "it is one of the original library, which from_original() converts"
    if len(value) != 32:
        return f"it has {len(value)} characters"
    if _STAMP(value.lower()):
        return "it has capital letters"
    wrong = next(i for i, char in enumerate(value) if char not in "0123456789abcdefABCDEF")
    return f"character {wrong + 1} is {value[wrong]!a}"
