"""Reading: the scripts of pages of records, and of what else is looked up.

None needs a transaction: what a read begins with is found in one statement, and the records up to
there never change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from psycopg import errors

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Script, ask
from everlog.adapters.postgres.failures import as_head, as_records
from everlog.adapters.postgres.first_page import NO_KEY, first_page, resolved
from everlog.adapters.postgres.paging import Sizes, next_page
from everlog.adapters.postgres.writing import key_values
from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Head
from everlog.core.snapshot import Snapshot, SnapshotKey, is_whole, overtakes, reaches_past
from everlog.core.token import ResumeToken, require
from everlog.errors import LogDiverged
from everlog.ports.ledger import FoldStart, Problem
from everlog.ports.listing import StreamInfo


def read_page(selection: Selection, cursor: Cursor | None, size: int, sizes: Sizes) -> Script[Page]:
    """Gives the next page."""
    seen = selection.seen
    if not selection.resolved:
        found = yield from first_page(selection, None, size, sizes)
        if found is not None:
            return found.page
        page = yield from _begin(selection, size, sizes)
        if seen is not None:
            yield from _require(seen)
        return page
    try:
        return (yield from next_page(selection, cursor, size, sizes))
    except errors.DivisionByZero:  # see OF_ONE_HISTORY
        assert seen is not None
        yield from _require(seen)
        raise LogDiverged(seen.position, "chain") from None


def fold_start(
    selection: Selection, key: SnapshotKey | None, size: int, sizes: Sizes
) -> Script[FoldStart]:
    """Gives a snapshot that holds and the first page after it."""
    found = yield from first_page(selection, key, size, sizes)
    if found is not None and _holds(found.snapshot, found.page, revision=0):
        return FoldStart(found.snapshot, found.page, 0, found.unfoldings)
    start = yield from _begin_fold(selection, key, size, sizes)
    if selection.seen is not None:
        yield from _require(selection.seen)
    return start


def _begin(selection: Selection, size: int, sizes: Sizes) -> Script[Page]:
    """Gives the first page of any selection."""
    [row] = yield from ask(schema.SELECT_BEGINNING, _beginning(selection))
    largest, ledger, epoch, end, chain, members = row
    selection = _resolved(selection, ledger, epoch, end, chain, members)
    sizes.learn(end, largest)
    return (yield from _first(selection, size, sizes))


def _begin_fold(
    selection: Selection, key: SnapshotKey | None, size: int, sizes: Sizes
) -> Script[FoldStart]:
    """Gives where a fold of any selection starts."""
    values = key_values(NO_KEY if key is None else key) | _beginning(selection)
    [row] = yield from ask(schema.SELECT_FOLD_BEGINNING, values)
    largest, ledger, epoch, end, chain, members, revision, unfoldings, *found = row
    snapshot = None if key is None or found[0] is None else Snapshot(key, *found)
    selection = _resolved(selection, ledger, epoch, end, chain, members)
    sizes.learn(end, largest)
    if snapshot is not None and _fits(snapshot, selection, revision):
        after = selection._replace(after=max(selection.after, snapshot.position))
        page = yield from _first(after, size, sizes)
        if _holds(snapshot, page, revision=revision):
            return FoldStart(snapshot, page, revision, unfoldings)
    page = yield from _first(selection, size, sizes)
    return FoldStart(None, page, revision, unfoldings)


def _holds(snapshot: Snapshot | None, page: Page, *, revision: int) -> bool:
    """Whether a fold can start from the snapshot with a page of what stands behind it."""
    return snapshot is None or (
        _fits(snapshot, page.selection, revision) and not overtakes(page.records, snapshot)
    )


def _fits(snapshot: Snapshot, selection: Selection, revision: int) -> bool:
    return snapshot.revision == revision and not reaches_past(snapshot, selection)


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


def streams(prefix: str, after: str, limit: int) -> Script[list[StreamInfo]]:
    """Gives streams in order of their names, each by its last record."""
    values = {"prefix": prefix, "after": after, "limit": limit}
    rows = yield from ask(schema.SELECT_STREAMS, values)
    return [StreamInfo(*row) for row in rows]


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
    for [at] in (yield from ask(schema.CHECK_UNFOLDED)):
        what = "that no fold has it is said of another record than there is"
        problems.append(Problem(at, what))
    for [at] in (yield from ask(schema.CHECK_TOMBSTONES)):
        problems.append(Problem(at, "its content is missing, and was not let go"))
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
    until = schema.LAST if selection.until is None else selection.until
    return {"relation": selection.relation, "until": until}


def _resolved(
    selection: Selection,
    ledger: str,
    epoch: str,
    end: int,
    chain: bytes | None,
    members: str | None,
) -> Selection:
    if selection.relation is not None:
        related: list[str] = json.loads(members) if members else []
        streams = selection.streams
        streams = tuple(related if streams is None else sorted({*related} & {*streams}))
        selection = selection._replace(streams=streams, relation=None)
    return resolved(selection, ledger, epoch, end, chain)


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
    page = yield from next_page(selection._replace(seen=None), None, size, sizes)
    return replace(page, selection=selection)
