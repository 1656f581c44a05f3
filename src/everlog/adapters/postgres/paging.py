"""Paging: the scripts of pages of records, by position and in the order of folds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Script, ask
from everlog.adapters.postgres.failures import as_records
from everlog.core.fold_order import LATE, ON_TIME, merge
from everlog.core.record import DATA, META, StoredRecord, content_length
from everlog.core.selection import PAGE_BYTES, Cursor, Order, Page, Selection, page_size

Run = tuple[list[StoredRecord], bool]
"""The next records of an ordered query, and whether there are no more behind them."""


class Sizes:
    """What is known of the sizes of records: most pages need not be cut by their bytes."""

    __slots__ = ("_largest", "_until")

    def __init__(self) -> None:
        self._largest = 0
        self._until = 0

    def learn(self, until: int, largest: int) -> None:
        """Takes in that no record up to a position has more bytes of data and meta."""
        self._until, self._largest = max(self._until, until), max(self._largest, largest)

    def seem_to_fit(self, count: int) -> bool:
        """Whether so many records would be less than a page of bytes, of all that is known."""
        return count * self._largest < PAGE_BYTES

    def fit(self, count: int, until: int | None) -> bool:
        """Whether so many records up to a position are surely less than a page of bytes."""
        known = until is not None and until <= self._until
        return known and count * self._largest < PAGE_BYTES


def next_page(selection: Selection, cursor: Cursor | None, size: int, sizes: Sizes) -> Script[Page]:
    """Gives the page behind the cursor, or the first one."""
    size = page_size(selection, cursor, size)
    if size == 0 or selection.streams == ():
        return Page((), selection, None)
    if selection.order is Order.CREATED:
        records, following = yield from _page_by_creation(selection, cursor, size, sizes)
    else:
        records, following = yield from _page_by_position(selection, cursor, size, sizes)
    if following is not None and selection.limit is not None and following.given >= selection.limit:
        following = None
    return Page(records, selection, following)


def _page_by_position(
    selection: Selection, cursor: Cursor | None, size: int, sizes: Sizes
) -> Script[tuple[list[StoredRecord], Cursor | None]]:
    assert selection.until is not None
    given = 0 if cursor is None else cursor.given
    if selection.backwards:
        until = selection.until if cursor is None else cursor.position - 1
        left = selection._replace(until=until)
    else:
        left = selection._replace(after=selection.after if cursor is None else cursor.position)
    records, ended = yield from _by_position(left, size, sizes, descending=selection.backwards)
    if ended:
        return records, None
    return records, Cursor(records[-1].position, None, given + len(records))


def _page_by_creation(
    selection: Selection, cursor: Cursor | None, size: int, sizes: Sizes
) -> Script[tuple[list[StoredRecord], Cursor | None]]:
    start = cursor or Cursor(selection.after, None, 0)
    on_time: list[StoredRecord] = []
    late: list[StoredRecord] = []
    on_time_ended = late_ended = True
    if start.ended != LATE:
        late, late_ended = yield from _late(selection, start.late, size, sizes)
    if start.ended != ON_TIME:
        on_time, on_time_ended = yield from _by_position(
            selection._replace(after=start.position),
            size,
            sizes,
            on_time=True,
            # What stands after the last late one is not needed yet, and may be far away.
            beyond=None if late_ended else late[-1].order,
        )
    return merge(
        on_time,
        late,
        on_time_ended=on_time_ended,
        late_ended=late_ended,
        start=start,
        size=size,
    )


def _by_position(
    selection: Selection,
    size: int,
    sizes: Sizes,
    *,
    descending: bool = False,
    on_time: bool = False,
    beyond: tuple[str, str] | None = None,
) -> Script[Run]:
    """Gives the next records in order of position, ascending or descending.

    `beyond`: only up to the first that stands after this place in a fold.
    """
    conditions = " AND NOT late" if on_time else ""
    if selection.streams is None or len(selection.streams) == 1:
        source = LOG if selection.streams is None else STREAM
        if beyond is None:
            return (
                yield from _run(source, conditions, selection, size, sizes, descending=descending)
            )
        return (yield from _run_beyond(source, conditions, selection, size, sizes, beyond))
    # Of several streams a plan may collect and sort all that is left, for every page. So they are
    # asked for in windows of positions, wider and wider until a page is full.
    assert selection.until is not None
    found: list[StoredRecord] = []
    room = PAGE_BYTES
    low, high = selection.after, selection.until
    width = 4 * size
    while low < high:
        if descending:
            start, end = max(low, high - width), high
            high = start
        else:
            start, end = low, min(high, low + width)
            low = end
        window = selection._replace(after=start, until=end)
        records, ended = yield from _run(
            LOG, conditions, window, size - len(found), sizes, descending=descending, room=room
        )
        found += records
        room -= _bytes_of(records)
        if beyond is not None and found and found[-1].order > beyond:
            return found, False
        if not ended or (len(found) >= size and low < high):
            return found, False
        width *= 2
    return found, True


def _run_beyond(
    source: Source,
    conditions: str,
    selection: Selection,
    size: int,
    sizes: Sizes,
    beyond: tuple[str, str],
) -> Script[Run]:
    # One, then two, then four: what is not needed yet may be very far away, and one row too many
    # would be searched for again on every page.
    found: list[StoredRecord] = []
    room = PAGE_BYTES
    wanted = 1
    while len(found) < size and room > 0 and (not found or found[-1].order < beyond):
        after = found[-1].position if found else selection.after
        records, ended = yield from _run(
            source, conditions, selection._replace(after=after), wanted, sizes, room=room
        )
        found += records
        room -= _bytes_of(records)
        if ended:
            return found, True
        wanted = min(2 * wanted, 100, max(1, size - len(found)))
    return found, False


class Source(NamedTuple):
    """Where a run of records comes from, and how it is ordered."""

    where: str
    order: str
    descending: str


LOG = Source(
    "position > %(after)s AND position <= %(until)s",
    "position",
    "position DESC",
)
# By the pair: only one index has that order, so no plan walks through the whole log instead.
STREAM = Source(
    "(stream, position) > (%(stream)s, %(after)s) "
    "AND (stream, position) <= (%(stream)s, %(until)s)",
    "stream, position",
    "stream DESC, position DESC",
)
_LATE = Source("late AND position > %(after)s AND position <= %(until)s", "created, id", "")
_LATE_IN_STREAM = Source(
    "late AND stream = %(stream)s AND position > %(after)s AND position <= %(until)s",
    "created, id",
    "",
)


def _late(
    selection: Selection, after: tuple[str, str] | None, size: int, sizes: Sizes
) -> Script[Run]:
    in_stream = selection.streams is not None and len(selection.streams) == 1
    conditions = "" if after is None else " AND (created, id) > (%(created)s, %(id)s)"
    source = _LATE_IN_STREAM if in_stream else _LATE
    return (yield from _run(source, conditions, selection, size, sizes, place=after or ("", "")))


def _run(
    source: Source,
    conditions: str,
    selection: Selection,
    size: int,
    sizes: Sizes,
    *,
    descending: bool = False,
    place: tuple[str, str] = ("", ""),
    room: int = PAGE_BYTES,
) -> Script[Run]:
    """Gives the next records of one ordered query: at most `size`, and up to the one that no longer
    fits into so many bytes.
    """
    where, values = conditions_of(source, conditions, selection)
    tombstones = selection.tombstones
    values |= {"created": place[0], "id": place[1], "limit": size + 1, "room": room}
    order = source.descending if descending else source.order
    fits = sizes.fit(size + 1, selection.until)
    template = schema.select_small_page if fits else schema.select_page
    records = as_records((yield from ask(template(where, order, tombstones=tombstones), values)))
    return records[:size], ends(records, size, room, fits=fits)


def ends(records: Sequence[StoredRecord], size: int, room: int, *, fits: bool) -> bool:
    """Whether what came of `size + 1` asked for is all that there is."""
    # Fewer than asked for: that is all, unless there was no more room.
    return len(records) <= size and (fits or not _is_full(records, room))


def conditions_of(
    source: Source, conditions: str, selection: Selection
) -> tuple[str, dict[str, object]]:
    """Returns which records a selection takes from a source, and the values of that."""
    values: dict[str, object] = {"after": selection.after, "until": selection.until}
    where = source.where + conditions
    if not selection.tombstones:
        where += schema.WITH_CONTENT
    if selection.seen is not None:
        ledger, _, position, chain = selection.seen
        where = schema.OF_ONE_HISTORY + where
        values |= {"ledger": ledger, "seen": position, "chain": chain}
    if selection.streams is not None:
        if len(selection.streams) == 1:
            values["stream"] = selection.streams[0]
        else:
            where += " AND stream = ANY(ARRAY(SELECT json_array_elements_text(%(streams)s::json)))"
            values["streams"] = json.dumps(selection.streams)
    if selection.prefix is not None:
        # Not by `starts_with`, for which a plan may look in the index of streams: what has the
        # prefix would be sorted anew for every page.
        where += " AND left(stream, char_length(%(prefix)s)) = %(prefix)s"
        values["prefix"] = selection.prefix
    if selection.types is not None:
        where += " AND type = ANY(ARRAY(SELECT json_array_elements_text(%(types)s::json)))"
        values["types"] = json.dumps(selection.types)
    if selection.as_of is not None:
        where += " AND created <= %(as_of)s"
        values["as_of"] = selection.as_of
    if selection.order is Order.CREATED:
        where += schema.FOLDED
    return where, values


def _is_full(records: Sequence[StoredRecord], room: int) -> bool:
    characters = content_length(records)
    # In UTF-8 a character has four bytes at most.
    return 4 * characters >= room and _bytes_of(records) >= room


def _bytes_of(records: Sequence[StoredRecord]) -> int:
    texts = [*map(DATA, records), *map(META, records)]
    return sum([len(text) if text.isascii() else len(text.encode()) for text in texts])
