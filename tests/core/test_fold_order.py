"""The order of folds: two runs merged, page by page, are what sorting it all would give."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog.core import fold_order
from everlog.core.fold_order import LATE, merge
from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor

START = Cursor(0, None, 0)


def recorded(stamps: Sequence[int]) -> list[tuple[StoredRecord, bool]]:
    """Records at positions 1, 2, ... created at these moments, and whether each came late."""
    newest = ("", "")
    rows: list[tuple[StoredRecord, bool]] = []
    for position, stamp in enumerate(stamps, 1):
        created = f"{stamp:032x}"
        row = StoredRecord(
            position, 1, f"id-{position:04}", "a", "t", 1, "t", "o", "c", None, created, created,
            0, b"", "null", "null", b"", b"",
        )  # fmt: skip
        rows.append((row, row.order < newest))
        newest = max(newest, row.order)
    return rows


def pages(
    rows: Sequence[tuple[StoredRecord, bool]], *, size: int, fetch: int
) -> list[list[StoredRecord]]:
    """Reads everything in pages, as an adapter does: at most `fetch` of each run at a time."""
    on_time = [row for row, late in rows if not late]
    late = sorted((row for row, is_late in rows if is_late), key=lambda row: row.order)
    cursor: Cursor | None = START
    read: list[list[StoredRecord]] = []
    while cursor is not None:
        here = cursor
        first = [row for row in on_time if row.position > here.position]
        second = [row for row in late if here.late is None or row.order > here.late]
        page, cursor = merge(
            first[:fetch],
            second[:fetch],
            on_time_ended=len(first) <= fetch,
            late_ended=len(second) <= fetch,
            start=here,
            size=size,
        )
        read.append(page)
        assert len(page) <= size
        assert cursor is None or page, "a page that goes on moves on"
        if cursor is not None:
            assert cursor.given == here.given + len(page)
    return read


moments = st.lists(st.integers(0, 12), max_size=30)


@given(moments, st.integers(1, 8), st.integers(1, 8))
def test_pages_of_any_size_are_what_sorting_everything_gives(
    stamps: list[int], size: int, fetch: int
) -> None:
    rows = recorded(stamps)
    read = list(itertools.chain.from_iterable(pages(rows, size=size, fetch=fetch)))
    assert read == sorted((row for row, _ in rows), key=lambda row: row.order)


@given(moments, st.sets(st.integers(1, 30)), st.integers(1, 8))
def test_so_is_any_selection_of_them(stamps: list[int], chosen: set[int], size: int) -> None:
    rows = [(row, late) for row, late in recorded(stamps) if row.position in chosen]
    read = list(itertools.chain.from_iterable(pages(rows, size=size, fetch=size)))
    assert read == sorted((row for row, _ in rows), key=lambda row: row.order)


@given(moments)
def test_those_on_time_are_in_order_by_position(stamps: list[int]) -> None:
    on_time = [row for row, late in recorded(stamps) if not late]
    assert on_time == sorted(on_time, key=lambda row: row.order)


def test_where_nothing_was_late_a_page_holds_as_many_as_are_asked_for() -> None:
    read = pages(recorded(range(10)), size=4, fetch=4)
    assert [len(page) for page in read] == [4, 4, 2]


def test_an_empty_run_is_an_end() -> None:
    assert merge([], [], on_time_ended=True, late_ended=True, start=START, size=5) == ([], None)


def test_a_run_that_has_not_ended_stops_the_page_and_not_the_reading() -> None:
    # The late one may only be given when the next on time is known to stand after it.
    [(first, _), (late, _)] = recorded([5, 3])
    page, cursor = merge([], [late], on_time_ended=False, late_ended=True, start=START, size=5)
    assert (page, cursor) == ([], START)
    page, cursor = merge([first], [late], on_time_ended=False, late_ended=True, start=START, size=5)
    assert page == [late, first]
    assert cursor == Cursor(first.position, late.order, 2, LATE)


def test_a_merge_that_does_not_wait_for_the_other_run_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hasty(
        on_time: Sequence[StoredRecord],
        late: Sequence[StoredRecord],
        *,
        on_time_ended: bool,
        late_ended: bool,
        start: Cursor,
        size: int,
    ) -> tuple[list[StoredRecord], Cursor | None]:
        both = sorted([*on_time, *late], key=lambda row: row.order)[:size]
        if not both:
            return [], None
        given_late = [row.order for row in both if row in late]
        given_on_time = [row.position for row in both if row in on_time]
        return both, Cursor(
            max(given_on_time, default=start.position),
            max(given_late, default=start.late),
            start.given + len(both),
        )

    monkeypatch.setitem(globals(), "merge", hasty)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_pages_of_any_size_are_what_sorting_everything_gives()
    assert fold_order.merge is not hasty
