"""Reading: pages of records, as a database would give them."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from everlog.adapters.memory.tables import Tables
from everlog.core.fold_order import LATE, ON_TIME, merge
from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor, Order, Page, Selection, page_size
from everlog.core.sequencer import Identity
from everlog.core.snapshot import SnapshotKey, overtakes, reaches_past
from everlog.core.token import ResumeToken, require
from everlog.ports.ledger import FoldStart


def read_page(
    tables: Tables, identity: Identity, selection: Selection, cursor: Cursor | None, size: int
) -> Page:
    """Returns the next page."""
    if selection.seen is not None:
        _require(tables, identity, selection.seen)
    if not selection.resolved:
        selection = _resolve(tables, identity, selection)
    return _page(tables, selection, cursor, size)


def _page(tables: Tables, selection: Selection, cursor: Cursor | None, size: int) -> Page:
    size = page_size(selection, cursor, size)
    if size == 0 or selection.streams == ():
        return Page((), selection, None)
    if selection.order is Order.CREATED:
        records, following = _page_by_creation(tables, selection, cursor, size)
    else:
        records, following = _page_by_position(tables, selection, cursor, size)
    if following is not None and selection.limit is not None and following.given >= selection.limit:
        following = None
    return Page(records, selection, following)


def fold_start(
    tables: Tables, identity: Identity, selection: Selection, key: SnapshotKey | None, size: int
) -> FoldStart:
    """Returns a snapshot that holds and the first page after it."""
    if selection.seen is not None:
        _require(tables, identity, selection.seen)
    relation = selection.relation
    revision = 0 if relation is None else tables.revisions.get(relation, 0)
    resolved = _resolve(tables, identity, selection)
    snapshot = None if key is None else tables.snapshots.get(key)
    if (
        snapshot is not None
        and snapshot.revision == revision
        and not reaches_past(snapshot, resolved)
    ):
        after = resolved._replace(after=max(resolved.after, snapshot.position))
        page = _page(tables, after, None, size)
        if not overtakes(page.records, snapshot):
            return FoldStart(snapshot, page, revision, tables.unfoldings)
    page = _page(tables, resolved, None, size)
    return FoldStart(None, page, revision, tables.unfoldings)


def _resolve(tables: Tables, identity: Identity, selection: Selection) -> Selection:
    head = tables.head.position
    until = head if selection.until is None else min(selection.until, head)
    streams = selection.streams
    if selection.relation is not None:
        related = tables.streams_of([selection.relation])
        streams = tuple(related if streams is None else sorted({*related} & {*streams}))
    chain = tables.chain_at(until)
    seen = None if chain is None else ResumeToken(identity.ledger, identity.epoch, until, chain)
    return selection._replace(until=until, streams=streams, relation=None, seen=seen, resolved=True)


def _require(tables: Tables, identity: Identity, seen: ResumeToken) -> None:
    require(
        seen,
        ledger=identity.ledger,
        epoch=identity.epoch,
        position=tables.head.position,
        chain=tables.chain_at(seen.position),
    )


def _page_by_position(
    tables: Tables, selection: Selection, cursor: Cursor | None, size: int
) -> tuple[list[StoredRecord], Cursor | None]:
    assert selection.until is not None
    low, high = selection.after, selection.until
    if cursor is not None:
        low, high = (low, cursor.position - 1) if selection.backwards else (cursor.position, high)
    found = _between(tables, selection, low, high)
    if selection.backwards:
        found = reversed(list(found))
    records = list(islice(found, size + 1))
    if len(records) <= size:
        return records, None
    given = 0 if cursor is None else cursor.given
    return records[:size], Cursor(records[size - 1].position, None, given + size)


def _page_by_creation(
    tables: Tables, selection: Selection, cursor: Cursor | None, size: int
) -> tuple[list[StoredRecord], Cursor | None]:
    assert selection.until is not None
    start = cursor or Cursor(selection.after, None, 0)
    on_time = list(
        islice(
            (
                record
                for record in _between(tables, selection, start.position, selection.until)
                if record.position not in tables.late_positions and record.id not in tables.unfolded
            ),
            0 if start.ended == ON_TIME else size + 1,
        )
    )
    matches = _filter(selection)
    first = 0
    if start.late is not None:
        first = bisect.bisect_right(tables.late, start.late, key=lambda record: record.order)
    late = list(
        islice(
            (
                record
                for record in islice(tables.late, first, None)
                if selection.after < record.position <= selection.until
                and matches(record)
                and record.id not in tables.unfolded
            ),
            0 if start.ended == LATE else size + 1,
        )
    )
    return merge(
        on_time[:size],
        late[:size],
        on_time_ended=len(on_time) <= size,
        late_ended=len(late) <= size,
        start=start,
        size=size,
    )


def _between(tables: Tables, selection: Selection, low: int, high: int) -> Iterator[StoredRecord]:
    """Yields what the selection matches above `low` and up to `high`, by position."""
    matches = _filter(selection)
    candidates: Iterable[StoredRecord]
    if selection.streams is not None and len(selection.streams) == 1:
        positions = tables.by_stream.get(selection.streams[0], [])
        first, last = bisect.bisect_right(positions, low), bisect.bisect_right(positions, high)
        candidates = (tables.records[position - 1] for position in positions[first:last])
    else:
        candidates = islice(tables.records, low, max(low, high))
    return filter(matches, candidates)


def _filter(selection: Selection) -> Callable[[StoredRecord], bool]:
    streams = None if selection.streams is None else frozenset(selection.streams)
    types = None if selection.types is None else frozenset(selection.types)
    prefix = selection.prefix or ""
    as_of, tombstones = selection.as_of, selection.tombstones

    def matches(record: StoredRecord) -> bool:
        return (
            (tombstones or not record.is_tombstone)
            and (streams is None or record.stream in streams)
            and record.stream.startswith(prefix)
            and (types is None or record.type in types)
            and (as_of is None or record.created <= as_of)
        )

    return matches
