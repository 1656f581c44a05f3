"""Reading: the scripts of pages of records, and of what else is looked up.

None needs a transaction: what a read begins with is found in one statement, and the records up to
there never change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from psycopg import errors

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Script, ask
from everlog.adapters.postgres.failures import as_head, as_records
from everlog.adapters.postgres.writing import key_values
from everlog.core.fold_order import LATE, ON_TIME, merge
from everlog.core.record import DATA, META, StoredRecord
from everlog.core.selection import PAGE_BYTES, Cursor, Order, Page, Selection, page_size
from everlog.core.sequencer import Head
from everlog.core.snapshot import Snapshot, SnapshotKey, is_whole, overtakes, reaches_past
from everlog.core.token import ResumeToken, require
from everlog.errors import LogDiverged
from everlog.ports.ledger import FoldStart, Problem

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

    def fit(self, count: int, until: int | None) -> bool:
        """Whether so many records up to a position are surely less than a page of bytes."""
        known = until is not None and until <= self._until
        return known and count * self._largest < PAGE_BYTES


def read_page(selection: Selection, cursor: Cursor | None, size: int, sizes: Sizes) -> Script[Page]:
    """Gives the next page."""
    seen = selection.seen
    if not selection.resolved:
        [(largest, *place)] = yield from ask(schema.SELECT_BEGINNING, _beginning(selection))
        selection = _resolved(selection, *place)
        assert selection.until is not None
        sizes.learn(selection.until, largest)
        page = yield from _first(selection, size, sizes)
        if seen is not None:
            yield from _require(seen)
        return page
    try:
        return (yield from _page(selection, cursor, size, sizes))
    except errors.DivisionByZero:  # see OF_ONE_HISTORY
        assert seen is not None
        yield from _require(seen)
        raise LogDiverged(seen.position, "chain") from None


def fold_start(
    selection: Selection, key: SnapshotKey | None, size: int, sizes: Sizes
) -> Script[FoldStart]:
    """Gives a snapshot that holds and the first page after it."""
    values = key_values(_NO_KEY if key is None else key) | _beginning(selection)
    [row] = yield from ask(schema.SELECT_FOLD_BEGINNING, values)
    largest, ledger, epoch, end, chain, members, revision, *found = row
    snapshot = None if key is None or found[0] is None else Snapshot(key, *found)
    resolved = _resolved(selection, ledger, epoch, end, chain, members)
    sizes.learn(end, largest)
    start: FoldStart | None = None
    if (
        snapshot is not None
        and snapshot.revision == revision
        and not reaches_past(snapshot, resolved)
    ):
        after = resolved._replace(after=max(resolved.after, snapshot.position))
        page = yield from _first(after, size, sizes)
        if not overtakes(page.records, snapshot):
            start = FoldStart(snapshot, page, revision)
    if start is None:
        page = yield from _first(resolved, size, sizes)
        start = FoldStart(None, page, revision)
    if selection.seen is not None:
        yield from _require(selection.seen)
    return start


_NO_KEY = SnapshotKey("", "", 0, "", "")


def find(ids: Sequence[str]) -> Script[list[StoredRecord | None]]:
    """Gives the records of the ids, None where there is none."""
    rows = yield from ask(schema.SELECT_BY_IDS, {"names": json.dumps(list(ids))})
    found = {record.id: record for record in as_records(rows)}
    return [found.get(id) for id in ids]


def overtaken(stream: str, register: str, place: tuple[str, str]) -> Script[bool]:
    """Tells whether a record of the stream and register stands after the place."""
    values = {"stream": stream, "register": register}
    rows = yield from ask(schema.SELECT_REGISTER, values)
    return bool(rows) and rows[0] > place


def names(template: str, keys: Sequence[str]) -> Script[list[str]]:
    """Gives the one column that a statement over a list of keys has."""
    rows = yield from ask(template, {"names": json.dumps(list(keys))})
    return [name for [name] in rows]


def find_snapshot(key: SnapshotKey) -> Script[Snapshot | None]:
    """Gives the stored snapshot, whether it holds or not."""
    rows = yield from ask(schema.SELECT_SNAPSHOT, key_values(key))
    return Snapshot(key, *rows[0]) if rows else None


def head() -> Script[Head]:
    """Tells how far the ledger has got."""
    [row] = yield from ask(schema.SELECT_HEAD)
    return as_head(row)


def position() -> Script[int]:
    """Gives the position of the last record; 0 if there is none."""
    [[position]] = yield from ask(schema.SELECT_POSITION)
    return int(position)


def check() -> Script[list[Problem]]:
    """Finds what the tables contradict in each other."""
    problems: list[Problem] = []
    for [at] in (yield from ask(schema.CHECK_LATE)):
        problems.append(Problem(at, "its mark of having come late is wrong"))
    for stream, register in (yield from ask(schema.CHECK_REGISTERS)):
        what = f"the newest record of register {register!r} in {stream!r} is wrong"
        problems.append(Problem(None, what))
    if (yield from ask(schema.CHECK_NEWEST)):
        problems.append(Problem(None, "the newest record of the ledger is wrong"))
    for row in (yield from ask(schema.SELECT_SNAPSHOTS)):
        snapshot = Snapshot(SnapshotKey(*row[:5]), *row[5:])
        if not is_whole(snapshot):
            what = (
                f"the snapshot of {snapshot.key.reducer!r} over {snapshot.key.scope!r} is damaged "
                "and not used; delete it: store.snapshots.delete(...)"
            )
            problems.append(Problem(None, what))
    return problems


def _beginning(selection: Selection) -> dict[str, object]:
    """Returns the values of the statement with which a read begins."""
    until = _LAST if selection.until is None else selection.until
    return {"relation": selection.relation, "until": until}


_LAST = 2**63 - 1


def _resolved(
    selection: Selection,
    ledger: str,
    epoch: str,
    end: int,
    chain: bytes | None,
    members: str | None,
) -> Selection:
    streams = selection.streams
    if selection.relation is not None:
        related: list[str] = json.loads(members) if members else []
        streams = tuple(related if streams is None else sorted({*related} & {*streams}))
    # Without a record at its end the log is empty, or damaged.
    seen = None if chain is None else ResumeToken(ledger, epoch, end, chain)
    return selection._replace(until=end, streams=streams, relation=None, seen=seen, resolved=True)


def _require(seen: ResumeToken) -> Script[None]:
    """Raises `LogDiverged` unless the log has the place.

    Asked behind the page: between two statements a proxy may have gone over to another server, from
    the one that failed to the one that took its place, and never back.
    """
    values = {"position": seen.position}
    [[ledger, epoch, position, chain]] = yield from ask(schema.SELECT_PLACE, values)
    require(seen, ledger=ledger, epoch=epoch, position=position, chain=chain)


def _first(selection: Selection, size: int, sizes: Sizes) -> Script[Page]:
    """Gives the first page; only the others need to be of the log in which this one ends."""
    page = yield from _page(selection._replace(seen=None), None, size, sizes)
    return replace(page, selection=selection)


def _page(selection: Selection, cursor: Cursor | None, size: int, sizes: Sizes) -> Script[Page]:
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
        source = _LOG if selection.streams is None else _STREAM
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
            _LOG, conditions, window, size - len(found), sizes, descending=descending, room=room
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
    source: _Source,
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


class _Source(NamedTuple):
    """Where a run of records comes from, and how it is ordered."""

    where: str
    order: str
    descending: str


_LOG = _Source(
    "position > %(after)s AND position <= %(until)s",
    "position",
    "position DESC",
)
# By the pair: only one index has that order, so no plan walks through the whole log instead.
_STREAM = _Source(
    "(stream, position) > (%(stream)s, %(after)s) "
    "AND (stream, position) <= (%(stream)s, %(until)s)",
    "stream, position",
    "stream DESC, position DESC",
)
_LATE = _Source("late AND position > %(after)s AND position <= %(until)s", "created, id", "")
_LATE_IN_STREAM = _Source(
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
    source: _Source,
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
    values: dict[str, object] = {
        "after": selection.after,
        "until": selection.until,
        "created": place[0],
        "id": place[1],
        "limit": size + 1,
        "room": room,
    }
    where = source.where + conditions
    if selection.seen is not None:
        ledger, epoch, position, chain = selection.seen
        where = schema.OF_ONE_HISTORY + where
        values |= {"ledger": ledger, "epoch": epoch, "seen": position, "chain": chain}
    if selection.streams is not None:
        if len(selection.streams) == 1:
            values["stream"] = selection.streams[0]
        else:
            where += " AND stream = ANY(ARRAY(SELECT json_array_elements_text(%(streams)s::json)))"
            values["streams"] = json.dumps(selection.streams)
    if selection.types is not None:
        where += " AND type = ANY(ARRAY(SELECT json_array_elements_text(%(types)s::json)))"
        values["types"] = json.dumps(selection.types)
    if selection.as_of is not None:
        where += " AND created <= %(as_of)s"
        values["as_of"] = selection.as_of
    order = source.descending if descending else source.order
    fits = sizes.fit(size + 1, selection.until)
    template = schema.select_small_page if fits else schema.select_page
    records = as_records((yield from ask(template(where, order), values)))
    if len(records) > size:
        return records[:size], False
    # Fewer than asked for: that is all, unless there was no more room.
    return records, fits or not _is_full(records, room)


def _is_full(records: Sequence[StoredRecord], room: int) -> bool:
    characters = sum(map(len, map(DATA, records))) + sum(map(len, map(META, records)))
    # In UTF-8 a character has four bytes at most.
    return 4 * characters >= room and _bytes_of(records) >= room


def _bytes_of(records: Sequence[StoredRecord]) -> int:
    texts = [*map(DATA, records), *map(META, records)]
    return sum([len(text) if text.isascii() else len(text.encode()) for text in texts])
