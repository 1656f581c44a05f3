"""The order of folds: `(created, id)`, read from a log that is ordered by position.

A record is *late* when an older position already stood after it in the order of folds. The others
are in that order by themselves: each was the newest of the whole ledger when it was recorded. So a
ledger in the order of folds is two runs merged, those on time by position and the late ones by
`(created, id)`; any selection of both is, too. Where nothing was late it is a plain read.
"""

from __future__ import annotations

from collections.abc import Sequence

from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor

ON_TIME = "on time"
LATE = "late"
"""What a cursor says of a run that has ended, so that it is not looked for again on every page."""


def merge(
    on_time: Sequence[StoredRecord],
    late: Sequence[StoredRecord],
    *,
    on_time_ended: bool,
    late_ended: bool,
    start: Cursor,
    size: int,
) -> tuple[list[StoredRecord], Cursor | None]:
    """Returns the next records in the order of folds, and where to go on, or None at the end.

    Each run holds its next records after `start`; it has ended if there are no more behind them.
    """
    merged: list[StoredRecord] = []
    i, j = 0, 0
    if late_ended and not late:  # as nearly always: nothing to merge with
        merged += on_time[:size]
        i = len(merged)
    while len(merged) < size:
        if i == len(on_time) and not on_time_ended:
            break
        if j == len(late) and not late_ended:
            break
        if i == len(on_time) and j == len(late):
            return merged, None
        if j == len(late) or (i < len(on_time) and on_time[i].order < late[j].order):
            merged.append(on_time[i])
            i += 1
        else:
            merged.append(late[j])
            j += 1
    if i == len(on_time) and on_time_ended and j == len(late) and late_ended:
        return merged, None
    ended = ""
    if i == len(on_time) and on_time_ended:
        ended = ON_TIME
    elif j == len(late) and late_ended:
        ended = LATE
    # Up to the next record on time, if it has been seen: what lies before it is not searched again.
    position = on_time[i - 1].position if i else start.position
    if i < len(on_time):
        position = on_time[i].position - 1
    return merged, Cursor(
        position,
        late[j - 1].order if j else start.late,
        start.given + len(merged),
        ended,
    )
