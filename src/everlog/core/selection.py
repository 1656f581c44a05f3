"""What to read: which records, up to where, in which order, and how far a reader has got."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from everlog.core.record import StoredRecord
from everlog.core.token import ResumeToken


class Order(enum.Enum):
    """The two orders in which a ledger can be read."""

    POSITION = "position"
    """As recorded here: the order of followers."""
    CREATED = "created"
    """By `(created, id)`: the order of folds, the same in every ledger."""


class Selection(NamedTuple):
    """Which records to read. All conditions hold together."""

    streams: tuple[str, ...] | None = None
    """Records of these streams only."""
    relation: str | None = None
    """Records of the streams in this relation; the membership is taken when the read begins."""
    prefix: str | None = None
    """Records of the streams whose names begin so, code point by code point."""
    types: tuple[str, ...] | None = None
    """Records of these types only."""
    after: int = 0
    """Records with a position above this one."""
    until: int | None = None
    """Records up to and including this position; the head when the read begins, if None."""
    as_of: str | None = None
    """Records created at or before this stamp."""
    limit: int | None = None
    """So many records at most."""
    backwards: bool = False
    """From the last to the first; only in order of position."""
    order: Order = Order.POSITION
    seen: ResumeToken | None = None
    """What the log must have had when a page was read: first what a reader brings along, then the
    end of the first page, so that all pages are of one history. None where no record stands there:
    at the end of an empty log, or a damaged one."""
    resolved: bool = False
    """Whether a first page has fixed its end and its streams."""
    tombstones: bool = False
    """Also what stays of records whose content went, as `StoredRecord.is_tombstone` tells; only in
    order of position. Otherwise they are left out."""


class Cursor(NamedTuple):
    """How far a reader has got. It holds no resource: reading can stop anywhere, for ever."""

    position: int
    """All up to this position has been read; in order of creation, all that came on time."""
    late: tuple[str, str] | None
    """In order of creation: `(created, id)` of the last record read of those that came late."""
    given: int
    """How many records have been read, to keep to a limit."""
    ended: str = ""
    """In order of creation: which run has no more records, `on time` or `late`; empty for none."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the selected records, and where to go on."""

    records: Sequence[StoredRecord]
    selection: Selection
    """The selection with its end and streams fixed: pass it on to read the next page."""
    cursor: Cursor | None
    """Where the next page begins; None when nothing is left. A last page may be empty."""


PAGE_RECORDS = 1_000
"""Records in a page, as a rule."""
MAX_PAGE_RECORDS = 10_000
"""Records in a page of very many streams."""
PAGE_BYTES = 4 * 1024 * 1024
"""Characters of data and meta in a page, about: one more record ends the page."""


def page_records(selection: Selection) -> int:
    """Returns how many records to ask for at a time.

    Every page of a relation carries the list of its streams, so the pages of a wide one are larger:
    otherwise their number, times the length of the list, is quadratic.
    """
    streams = 0 if selection.streams is None else len(selection.streams)
    return max(PAGE_RECORDS, min(streams // 4, MAX_PAGE_RECORDS))


def page_size(selection: Selection, cursor: Cursor | None, wanted: int) -> int:
    """Returns how many records the next page may hold."""
    if selection.limit is None:
        return wanted
    given = 0 if cursor is None else cursor.given
    return max(0, min(wanted, selection.limit - given))
