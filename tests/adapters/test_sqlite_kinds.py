"""What a damaged file gives to read is looked at before it is used: each column, in every row."""

from __future__ import annotations

import pytest

from everlog.adapters.sqlite.failures import as_records
from everlog.core.record import StoredRecord

ROW: tuple[object, ...] = (
    1, 1, "id", "stream", "type", 1, "register", "origin", "id", None, "created", "recorded", 0,
    b"nonce", "data", "meta", b"hash", b"chain",
)  # fmt: skip
SIZES = [1, 19, 20, 500]
"""Few rows are looked at one by one, many by columns."""


def another_kind(value: object) -> object:
    return "five" if isinstance(value, int) else 5


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("column", range(len(ROW)), ids=StoredRecord._fields)
def test_a_column_of_another_kind_is_named_in_a_page_of_any_size(size: int, column: int) -> None:
    rows: list[tuple[object, ...]] = [(number, *ROW[1:]) for number in range(1, size + 1)]
    odd = list(rows[-1])
    odd[column] = another_kind(odd[column])
    rows[-1] = tuple(odd)
    with pytest.raises(TypeError, match=f"has no {StoredRecord._fields[column]} of its kind"):
        as_records(rows)


@pytest.mark.parametrize("size", [0, *SIZES])
@pytest.mark.parametrize("causation", [None, "cause"])
def test_whole_rows_are_records_with_a_cause_or_without(size: int, causation: str | None) -> None:
    rows = [(*ROW[:9], causation, *ROW[10:])] * size
    records = as_records(rows)
    assert [tuple(record) for record in records] == rows
    assert all(type(record) is StoredRecord for record in records)


def test_some_rows_with_a_cause_and_some_without_are_records() -> None:
    rows = [(*ROW[:9], "cause" if number % 3 else None, *ROW[10:]) for number in range(100)]
    assert [record.causation for record in as_records(rows)] == [row[9] for row in rows]
