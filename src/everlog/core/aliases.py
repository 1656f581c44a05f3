"""Aliases: an event that was stamped anew has another record, under another id.

Any number of copies of a ledger may stamp an event anew, each by its own clock, and the old record
may turn up long after the new one: each of them is history, and is kept. The id of a new record
tells which event it is, so that every ledger that has several of one event folds the same of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from everlog.core.stream import MAX_NAME_BYTES

if TYPE_CHECKING:
    from everlog.core.record import StoredRecord

_MARK = "@"
_STAMP, _TAIL = 32, 16
"""Characters of a stamp, and of a nonce as hex that tell two records of one stamp apart."""
_SUFFIX = len(_MARK) + _STAMP + _TAIL


class Named(Protocol):
    """What tells which event a record is of."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> str: ...


def first_id(record: Named) -> str:
    """Returns the id under which a record's event was born.

    The id of a record that was stamped anew ends with its own stamp. No other does: who gives an
    event its id does not know how the ledger will stamp it.
    """
    id = record.id
    at = len(id) - _SUFFIX
    if at > 0 and id[at] == _MARK and id[at + 1 : at + 1 + _STAMP] == record.created:
        return id[:at]
    return id


def none_is_anew(records: Sequence[Named]) -> bool:
    """Whether none of these records was stamped anew: so it is nearly always."""
    # One look at all of them tells, unless somebody has the mark in an id for a reason of his own.
    ids = [record.id for record in records]
    return _MARK not in "".join(ids) or all(first_id(record) == record.id for record in records)


def can_be_anew(record: Named) -> bool:
    """Whether there is room in an id for what tells that it is not the first."""
    return len(first_id(record).encode()) + _SUFFIX <= MAX_NAME_BYTES


def id_anew(record: Named, *, created: str, nonce: bytes) -> str:
    """Returns the id of a record that takes the place of one."""
    return f"{first_id(record)}{_MARK}{created}{nonce.hex()[:_TAIL]}"


def aliases_between(first: str) -> tuple[str, str]:
    """Returns the first and the last of the ids that other records of an event may have."""
    return f"{first}{_MARK}", f"{first}{_MARK}g"


class Event(NamedTuple):
    """Which event a record is of. Who writes in a ledger can speak for events of that one only."""

    origin: str
    stream: str
    first: str


def event_of(record: StoredRecord) -> Event:
    """Returns which event a record is of."""
    return Event(record.origin, record.stream, first_id(record))


def by_event(records: Iterable[StoredRecord]) -> dict[Event, list[StoredRecord]]:
    """Returns the records of each event."""
    found: dict[Event, list[StoredRecord]] = {}
    for record in records:
        found.setdefault(event_of(record), []).append(record)
    return found


def replaced_by(records: Sequence[StoredRecord]) -> Mapping[int, str]:
    """Returns which of the records of one event no fold has: by position, the id of what has it.

    It is the one that stands first in the order of folds, so the same in every ledger that has it;
    and as no record is stamped anew to a later time, it keeps events in their order.
    """
    if len(records) < 2:
        return {}
    counts = min(records, key=lambda record: record.order)
    return {each.position: counts.id for each in records if each is not counts}
