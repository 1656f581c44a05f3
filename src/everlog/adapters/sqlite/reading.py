"""Reading: pages of records, and what else is looked up. Runs on a reader's thread."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from everlog.adapters.sqlite import schema
from everlog.adapters.sqlite.failures import as_head, as_records
from everlog.adapters.sqlite.log_tables import LOG_TABLES
from everlog.core.fold_order import LATE, ON_TIME, merge
from everlog.core.record import StoredRecord, content_length
from everlog.core.selection import PAGE_BYTES, Cursor, Order, Page, Selection, page_size
from everlog.core.sequencer import Head, Place
from everlog.core.snapshot import Snapshot, SnapshotKey, is_whole, overtakes, reaches_past
from everlog.core.token import ResumeToken, require
from everlog.ports.ledger import FoldStart, Problem
from everlog.ports.listing import StreamInfo

T = TypeVar("T")

Run = tuple[list[StoredRecord], bool]
"""The next records of an ordered query, and whether there are no more behind them."""


class one_moment:  # in lower case, as it reads as words; a class, as it is quicker than a generator
    """Makes all statements inside see the same state of the ledger."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        if self._connection.in_transaction:  # an I/O error has ended it, and is what is raised
            self._connection.execute("COMMIT")


def read_page(
    connection: sqlite3.Connection, selection: Selection, cursor: Cursor | None, size: int
) -> Page:
    """Returns the next page."""
    if selection.resolved and selection.seen is None:
        return _page(connection, selection, cursor, size)
    with one_moment(connection):
        if selection.seen is not None:
            _require(connection, selection.seen)
        if selection.resolved:
            return _page(connection, selection, cursor, size)
        return _first(connection, _resolve(connection, selection), size)


def fold_start(
    connection: sqlite3.Connection, selection: Selection, key: SnapshotKey | None, size: int
) -> FoldStart:
    """Returns a snapshot that holds and the first page after it."""
    with one_moment(connection):
        if selection.seen is not None:
            _require(connection, selection.seen)
        revision = 0
        if selection.relation is not None:
            row = connection.execute(schema.SELECT_REVISION, (selection.relation,)).fetchone()
            revision = 0 if row is None else row[0]
        snapshot: Snapshot | None = None
        head: int | None = None
        if key is None:
            [unfoldings] = connection.execute(schema.SELECT_UNFOLDINGS).fetchone()
        else:
            beginning = connection.execute(schema.SELECT_HEAD_AND_SNAPSHOT, _of(key))
            head, unfoldings, *found = beginning.fetchone()
            snapshot = None if found[0] is None else Snapshot(key, *found)
        resolved = _resolve(connection, selection, head)
        if (
            snapshot is not None
            and snapshot.revision == revision
            and not reaches_past(snapshot, resolved)
        ):
            after = resolved._replace(after=max(resolved.after, snapshot.position))
            page = _first(connection, after, size)
            if not overtakes(page.records, snapshot):
                return FoldStart(snapshot, page, revision, unfoldings)
        page = _first(connection, resolved, size)
        return FoldStart(None, page, revision, unfoldings)


def find(connection: sqlite3.Connection, ids: Sequence[str]) -> list[StoredRecord | None]:
    """Returns the records of the ids, None where there is none."""
    rows = connection.execute(schema.SELECT_BY_IDS, (json.dumps(list(ids)),)).fetchall()
    found = {record.id: record for record in as_records(rows)}
    return [found.get(id) for id in ids]


def overtaken(
    connection: sqlite3.Connection, stream: str, register: str, place: tuple[str, str]
) -> bool:
    """Whether a record of the stream and register stands after the place."""
    row = connection.execute(schema.SELECT_REGISTER, (stream, register)).fetchone()
    return row is not None and row > place


def names(connection: sqlite3.Connection, statement: str, keys: Sequence[str]) -> list[str]:
    """Returns the one column that a statement over a list of keys gives."""
    return [name for [name] in connection.execute(statement, (json.dumps(list(keys)),))]


def streams(
    connection: sqlite3.Connection, prefix: str, after: str, limit: int
) -> list[StreamInfo]:
    """Returns streams in order of their names, each by its last record."""
    values = {"prefix": prefix, "after": after, "limit": limit}
    return [StreamInfo(*row) for row in connection.execute(schema.SELECT_STREAMS, values)]


def find_snapshot(connection: sqlite3.Connection, key: SnapshotKey) -> Snapshot | None:
    """Returns the stored snapshot, whether it holds or not."""
    row = connection.execute(schema.SELECT_SNAPSHOT, _of(key)).fetchone()
    return None if row is None else Snapshot(key, *row)


def _of(key: SnapshotKey) -> tuple[str, str, int, str, str]:
    return key.scope, key.reducer, key.reducer_version, key.shape, key.filter


def head(connection: sqlite3.Connection) -> Head:
    """Returns how far the ledger has got."""
    return as_head(connection.execute(schema.SELECT_HEAD).fetchone())


def position(connection: sqlite3.Connection) -> int:
    """Returns the position of the last record; 0 if there is none."""
    [position] = connection.execute(schema.SELECT_POSITION).fetchone()
    return int(position)


def check(connection: sqlite3.Connection) -> list[Problem]:
    """Returns what the file contradicts in itself."""
    problems: list[Problem] = []
    for look in (
        _check_structure,
        _check_late,
        _check_registers,
        _check_newest,
        _check_unfolded,
        _check_tombstones,
        _check_snapshots,
    ):
        try:
            problems += look(connection)
        except sqlite3.Error as error:
            problems.append(Problem(None, f"the file cannot be read through: {error}"))
    return problems


def _check_structure(connection: sqlite3.Connection) -> Iterator[Problem]:
    for [answer] in connection.execute("PRAGMA integrity_check(10000)").fetchall():
        if answer != "ok" and not _is_of_others(answer):
            yield Problem(None, f"SQLite's integrity check: {answer}")


def _is_of_others(answer: str) -> bool:
    """Whether it says that a row of another's table is not as that table now wants its rows.

    Read models can be beside the log. What their tables want is changed without a look at the rows,
    which is no damage: that is told of pages and indexes, whosever they are.
    """
    wanted = _WANTED.match(answer)
    return wanted is not None and wanted["table"] not in LOG_TABLES


_WANTED = re.compile(
    r"(?:CHECK constraint failed in|(?:NULL|NUMERIC|TEXT) value in) (?P<table>[^.]*)"
)


def _check_late(connection: sqlite3.Connection) -> Iterator[Problem]:
    for [position] in connection.execute(schema.CHECK_LATE).fetchall():
        yield Problem(position, "its mark of having come late is wrong")


def _check_registers(connection: sqlite3.Connection) -> Iterator[Problem]:
    for stream, register in connection.execute(schema.CHECK_REGISTERS).fetchall():
        yield Problem(None, f"the newest record of register {register!r} in {stream!r} is wrong")


def _check_newest(connection: sqlite3.Connection) -> Iterator[Problem]:
    if connection.execute(schema.CHECK_NEWEST).fetchone() is not None:
        yield Problem(None, "the newest record of the ledger is wrong")


def _check_unfolded(connection: sqlite3.Connection) -> Iterator[Problem]:
    for [position] in connection.execute(schema.CHECK_UNFOLDED).fetchall():
        yield Problem(position, "that no fold has it is said of another record than there is")


def _check_tombstones(connection: sqlite3.Connection) -> Iterator[Problem]:
    for [position] in connection.execute(schema.CHECK_TOMBSTONES).fetchall():
        yield Problem(position, "its content is missing, and was not let go")


def _check_snapshots(connection: sqlite3.Connection) -> Iterator[Problem]:
    for row in connection.execute(schema.SELECT_SNAPSHOTS):
        snapshot = Snapshot(SnapshotKey(*row[:5]), *row[5:])
        if not is_whole(snapshot):
            yield Problem(
                None,
                f"the snapshot of {snapshot.key.reducer!r} over {snapshot.key.scope!r} is damaged "
                "and not used; delete it: store.snapshots.delete(...)",
            )


def _resolve(
    connection: sqlite3.Connection, selection: Selection, position: int | None = None
) -> Selection:
    if position is None:
        [position] = connection.execute(schema.SELECT_POSITION).fetchone()
        assert position is not None
    until = position if selection.until is None else min(selection.until, position)
    streams = selection.streams
    if selection.relation is not None:
        related = names(connection, schema.SELECT_STREAMS_OF, [selection.relation])
        streams = tuple(related if streams is None else sorted({*related} & {*streams}))
    return selection._replace(until=until, streams=streams, relation=None, resolved=True)


def _first(connection: sqlite3.Connection, selection: Selection, size: int) -> Page:
    """Returns the first page, and in which history it ends: there the next is to be read.

    A fold goes no further than its last page, so it need not know.
    """
    page = _page(connection, selection, None, size)
    if page.cursor is None and selection.order is Order.CREATED:
        return page
    assert selection.until is not None
    ledger, epoch, _, chain = connection.execute(schema.SELECT_PLACE, (selection.until,)).fetchone()
    # Without a record at its end the log is damaged, and whoever reads it may want to know how.
    seen = None if chain is None else ResumeToken(ledger, epoch, selection.until, chain)
    return replace(page, selection=selection._replace(seen=seen))


def _require(connection: sqlite3.Connection, seen: ResumeToken) -> None:
    """Raises `LogDiverged` unless the log has the place."""
    ledger, epoch, position, chain = connection.execute(
        schema.SELECT_PLACE, (seen.position,)
    ).fetchone()
    require(seen, ledger=ledger, epoch=epoch, position=position, chain=chain)


def _page(
    connection: sqlite3.Connection, selection: Selection, cursor: Cursor | None, size: int
) -> Page:
    size = page_size(selection, cursor, size)
    if size == 0 or selection.streams == ():
        return Page((), selection, None)
    if selection.order is Order.CREATED:
        records, following = _page_by_creation(connection, selection, cursor, size)
    else:
        records, following = _page_by_position(connection, selection, cursor, size)
    if following is not None and selection.limit is not None and following.given >= selection.limit:
        following = None
    return Page(records, selection, following)


def _page_by_position(
    connection: sqlite3.Connection, selection: Selection, cursor: Cursor | None, size: int
) -> tuple[list[StoredRecord], Cursor | None]:
    assert selection.until is not None
    given = 0 if cursor is None else cursor.given
    if selection.backwards:
        until = selection.until if cursor is None else cursor.position - 1
        records, ended = _by_position(
            connection, selection._replace(until=until), size, descending=True
        )
    else:
        after = selection.after if cursor is None else cursor.position
        records, ended = _by_position(connection, selection._replace(after=after), size)
    if ended:
        return records, None
    return records, Cursor(records[-1].position, None, given + len(records))


def _by_position(
    connection: sqlite3.Connection,
    selection: Selection,
    size: int,
    ending: str = " ORDER BY position",
    *,
    descending: bool = False,
    beyond: Place | None = None,
) -> Run:
    """Returns the next records in order of position, ascending or descending."""
    if not _several(selection):
        if beyond is not None:
            return _run_beyond(connection, selection, size, ending, beyond)
        return _run(connection, selection, size, ending, descending=descending)
    # Over several streams SQLite would collect and sort all that is left for every page. So they
    # are asked for in windows of positions, wider and wider until a page is full: stream by stream
    # in a window that is wider than they are many, record by record in a narrower one.
    assert selection.until is not None
    assert selection.streams is not None
    found: list[StoredRecord] = []
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
        records, ended = _run(
            connection,
            window,
            size - len(found),
            ending,
            descending=descending,
            by_stream=len(selection.streams) < end - start,
        )
        found += records
        if beyond is not None and found and found[-1].order > beyond:
            return found, False
        if not ended or (len(found) >= size and low < high):
            return found, False
        width *= 2
    return found, True


def _page_by_creation(
    connection: sqlite3.Connection, selection: Selection, cursor: Cursor | None, size: int
) -> tuple[list[StoredRecord], Cursor | None]:
    start = cursor or Cursor(selection.after, None, 0)
    on_time: list[StoredRecord] = []
    late: list[StoredRecord] = []
    on_time_ended = late_ended = True
    if start.ended != LATE:
        late, late_ended = _run(
            connection,
            selection,
            size,
            " ORDER BY created, id"
            if start.late is None
            else " AND (created, id) > (?, ?) ORDER BY created, id",
            extra=start.late or (),
            select=schema.SELECT_LATE,
            # Several streams: all that came late, in the order asked for, and no sorting.
            by_stream=not _several(selection),
        )
    if start.ended != ON_TIME:
        on_time, on_time_ended = _by_position(
            connection,
            selection._replace(after=start.position),
            size,
            " AND late = 0 ORDER BY position",
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


def _run_beyond(
    connection: sqlite3.Connection, selection: Selection, size: int, ending: str, beyond: Place
) -> Run:
    """Returns the next records up to the first that stands after a place in a fold.

    It looks for one, then two, then four: what is not needed yet may be very far away, and one row
    too many would be searched for again on every page.
    """
    found: list[StoredRecord] = []
    wanted = 1
    while len(found) < size and (not found or found[-1].order < beyond):
        after = found[-1].position if found else selection.after
        conditions, values = _conditions(selection, by_stream=True)
        rows = connection.execute(
            # sql: only fixed text is joined, every value is bound
            schema.SELECT_BETWEEN + conditions + ending + " LIMIT ?",
            (after, selection.until, *values, wanted),
        ).fetchall()
        found += as_records(rows)
        if len(rows) < wanted:
            return found, True
        wanted = min(2 * wanted, 100, max(1, size - len(found)))
    return found, False


def _run(
    connection: sqlite3.Connection,
    selection: Selection,
    size: int,
    ending: str,
    *,
    descending: bool = False,
    extra: Sequence[str] = (),
    select: str = schema.SELECT_BETWEEN,
    by_stream: bool = True,
) -> Run:
    """Returns the next records of one ordered query: at most `size`, and a page of bytes."""
    conditions, values = _conditions(selection, by_stream=by_stream)
    if selection.tombstones:
        select = schema.SELECT_ALL_BETWEEN
    cursor = connection.execute(
        # sql: only fixed text is joined, every value is bound
        select + conditions + ending + (" DESC LIMIT ?" if descending else " LIMIT ?"),
        (selection.after, selection.until, *values, *extra, size + 1),
    )
    records: list[StoredRecord] = []
    room = PAGE_BYTES
    try:
        while room > 0:
            wanted = min(100, size + 1 - len(records))
            found = as_records(cursor.fetchmany(wanted))
            records += found
            if len(records) > size:
                return records[:size], False
            if len(found) < wanted:
                return records, True
            room -= content_length(found)
        return records, False
    finally:
        cursor.close()


def _several(selection: Selection) -> bool:
    return selection.streams is not None and len(selection.streams) > 1


def _conditions(selection: Selection, *, by_stream: bool) -> tuple[str, list[object]]:
    """Returns what a selection asks besides positions, as SQL with its values.

    `by_stream`: whether the streams may be looked up in an index; otherwise they only filter.
    """
    sql = ""
    values: list[object] = []
    if selection.streams is not None:
        if len(selection.streams) == 1:
            sql += " AND stream = ?"
            values.append(selection.streams[0])
        else:
            sql += " AND stream IN " if by_stream else " AND +stream IN "
            sql += "(SELECT value FROM json_each(?))"
            values.append(json.dumps(selection.streams))
    if selection.prefix is not None:
        # Never looked up in an index: what has the prefix would be sorted anew for every page.
        sql += " AND substr(stream, 1, ?) = ?"
        values += (len(selection.prefix), selection.prefix)
    if selection.types is not None:
        sql += " AND type IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(selection.types))
    if selection.as_of is not None:
        sql += " AND created <= ?"
        values.append(selection.as_of)
    if selection.order is Order.CREATED:
        sql += schema.FOLDED
    return sql, values
