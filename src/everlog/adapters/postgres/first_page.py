"""The first page of a read in one trip, with all that the read begins with."""

from __future__ import annotations

import json
from dataclasses import dataclass

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Script, ask
from everlog.adapters.postgres.failures import as_records
from everlog.adapters.postgres.paging import LOG, STREAM, Sizes, conditions_of, ends
from everlog.adapters.postgres.writing import key_values
from everlog.core.fold_order import LATE
from everlog.core.record import StoredRecord
from everlog.core.selection import PAGE_BYTES, Cursor, Order, Page, Selection, page_size
from everlog.core.snapshot import Snapshot, SnapshotKey
from everlog.core.token import ResumeToken, require

NO_KEY = SnapshotKey("", "", 0, "", "")


@dataclass(frozen=True, slots=True)
class FirstPage:
    """What one statement has found."""

    snapshot: Snapshot | None
    """What is stored, whether it holds or not; the page begins behind it."""
    page: Page
    unfoldings: int
    """As `FoldStart` has it."""


def resolved(
    selection: Selection, ledger: str, epoch: str, until: int, chain: bytes | None
) -> Selection:
    """Returns the selection with its end, and the history in which that stands."""
    # Without a record at its end the log is empty, or damaged.
    seen = None if chain is None else ResumeToken(ledger, epoch, until, chain)
    return selection._replace(until=until, seen=seen, resolved=True)


def first_page(
    selection: Selection, key: SnapshotKey | None, size: int, sizes: Sizes
) -> Script[FirstPage | None]:
    """Gives the beginning and the first page of a log or a stream; None where that takes more.

    Raises `LogDiverged` unless the log has the place that the selection has seen.

    More than one trip is needed by relations, several streams, folds of the whole log, and by folds
    of more than a page in which some came late.
    """
    size = page_size(selection, None, size)
    folds = selection.order is Order.CREATED
    one_stream = selection.streams is not None and len(selection.streams) == 1
    if size == 0 or selection.relation is not None or (not one_stream and folds):
        return None
    if selection.tombstones:
        return None
    if not one_stream and selection.streams is not None:
        return None
    seen = selection.seen
    end = schema.LAST if selection.until is None else selection.until
    source = STREAM if one_stream else LOG
    where, values = conditions_of(source, "", selection._replace(until=end, seen=None))
    values |= key_values(NO_KEY if key is None else key)
    values |= {"limit": size + 1, "room": PAGE_BYTES}
    if seen is not None:
        values["seen"] = seen.position
    order = source.descending if selection.backwards else source.order
    sized = not sizes.seem_to_fit(size + 1)
    template = schema.select_first_page(
        where, order, sized=sized, folds=folds, resumes=seen is not None
    )
    beginning, *records = as_records((yield from ask(template, values)))
    largest, fits, late, head, chain, unfoldings, *place = json.loads(beginning.data)
    if seen is not None:
        # In the statement of the page: what it gives is of the log in which the place stands.
        require(
            seen,
            ledger=beginning.id,
            epoch=beginning.stream,
            position=head,
            chain=None if chain is None else bytes.fromhex(chain),
        )
    sizes.learn(beginning.position, largest)
    if not fits:
        return None
    selection = resolved(
        selection, beginning.id, beginning.stream, beginning.position, beginning.chain
    )
    snapshot = None
    if key is not None and place[0] is not None:
        position, version, count, revision = place
        snapshot = Snapshot(
            key, position, beginning.created, beginning.recorded, version, count, revision,
            beginning.type,
        )  # fmt: skip
    following = None
    if not ends(records, size, PAGE_BYTES, fits=not sized):
        if late:
            return None
        records = records[:size]
        ended = LATE if folds else ""
        following = Cursor(records[-1].position, None, len(records), ended)
        if selection.limit is not None and following.given >= selection.limit:
            following = None
    elif late:
        records.sort(key=_order)
    return FirstPage(snapshot, Page(records, selection, following), unfoldings)


def _order(record: StoredRecord) -> tuple[str, str]:
    return record.order
