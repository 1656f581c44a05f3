"""What is done with a long log takes as much memory as with a short one."""

from __future__ import annotations

import asyncio
import gc
import io
import tracemalloc
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from everlog import EventStore, ImportedFile, Record, event, reducer, to
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.core.selection import Cursor, Page, Selection
from tests.store.programs import MOMENT

SLACK_BYTES = 256 * 1024
"""For what grows a little with a log, such as longer numbers."""
STREAMS = [f"stream-{number}" for number in range(20)]


@event("test:counted")
@dataclass
class Counted:
    """One of many."""

    number: int


@reducer("total", initial=int)
def total(state: int, record: Record[Any]) -> int:
    """The sum of all numbers."""
    return state + int(record.data.number)


async def add(store: EventStore, first: int, end: int) -> None:
    """Adds events; every tenth comes late, so that a fold has to put it in its place."""
    for start in range(first, end, 1_000):
        numbers = range(start, min(start + 1_000, end))
        await store.append_many(
            [to(STREAMS[n // 10 % 20], Counted(n), relations=["all"]) for n in numbers if n % 10]
        )
        await store.import_records(
            [
                store.past(STREAMS[n // 10 % 20], Counted(n), created=MOMENT - timedelta(seconds=n))
                for n in numbers
                if n % 10 == 0
            ]
        )


async def count(records: AsyncIterable[Record[Any]]) -> int:
    seen = 0
    async for record in records:
        assert record.data.number >= 0
        seen += 1
    return seen


async def _verify(store: EventStore) -> int:
    verification = await store.verify()
    assert verification.ok
    return verification.records


class Nowhere(io.RawIOBase):
    """A file that keeps nothing."""

    def writable(self) -> bool:
        return True

    def write(self, text: object) -> int:
        return len(cast("bytes", text))


async def _export(store: EventStore) -> int:
    return (await store.export(cast("BinaryIO", Nowhere()))).records


Work = Callable[[EventStore], Awaitable[object]]
WORKS: dict[str, Work] = {
    "reading": lambda store: count(store.read()),
    "reducing": lambda store: store.reduce(total, relation="all"),
    "verifying": _verify,
    "exporting": _export,
}


async def peak_of(store: EventStore, work: Work) -> tuple[object, int]:
    """Returns what the work gives, and how many bytes it had at most at one time."""
    gc.collect()
    tracemalloc.start()
    try:
        answer = await work(store)
        return answer, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def peaks(path: Path, few: int, many: int) -> dict[str, tuple[int, int]]:
    """Returns the peak of each work over few records and over many."""

    async def measure(store: EventStore, size: int) -> dict[str, int]:
        found: dict[str, int] = {}
        for name, work in WORKS.items():
            answer, found[name] = await peak_of(store, work)
            assert answer == (sum(range(size)) if name == "reducing" else size), name
        return found

    async with EventStore.open(path, events=[Counted], durability="relaxed") as store:
        await add(store, 0, few)
        await measure(store, few)  # what is made once and kept does not count
        of_few = await measure(store, few)
        await add(store, few, many)
        of_many = await measure(store, many)
    for name in WORKS:
        print(f"{name}: {of_few[name]:,} and {of_many[name]:,} bytes at most")
    return {name: (of_few[name], of_many[name]) for name in WORKS}


def grown(found: dict[str, tuple[int, int]]) -> list[str]:
    return [name for name, (few, many) in found.items() if many > 2 * few + SLACK_BYTES]


def test_a_log_ten_times_as_long_takes_no_more_memory(tmp_path: Path) -> None:
    found = asyncio.run(peaks(tmp_path / "log.db", 5_000, 50_000))
    assert grown(found) == [], found


def test_work_that_takes_all_at_once_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SqliteLedger.read

    async def read_all(
        self: SqliteLedger, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        page = await original(self, selection, cursor=cursor, size=size)
        records = list(page.records)
        while page.cursor is not None:
            page = await original(self, page.selection, cursor=page.cursor, size=size)
            records += page.records
        return replace(page, records=records)

    monkeypatch.setattr(SqliteLedger, "read", read_all)
    found = asyncio.run(peaks(tmp_path / "log.db", 1_000, 5_000))
    assert grown(found) == list(WORKS), found


def test_a_file_ten_times_as_long_is_imported_in_no_more_memory(tmp_path: Path) -> None:
    async def peak(records: int) -> int:
        file = tmp_path / f"{records}.ndjson"
        async with EventStore.open(tmp_path / f"{records}.db", events=[Counted]) as store:
            await add(store, 0, records)
            await store.export(file)
        async with EventStore.open(tmp_path / f"copy-{records}.db") as copy:
            answer, peak = await peak_of(copy, lambda store: store.import_file(file))
            assert answer == ImportedFile(stored=records, known=0, left_out=0)
            return peak

    async def main() -> None:
        await peak(100)  # what is made once and kept does not count
        few, many = await peak(2_000), await peak(20_000)
        print(f"importing: {few:,} and {many:,} bytes at most")
        assert many <= 2 * few + SLACK_BYTES

    asyncio.run(main())
