"""How much work SQLite does for a read grows with what is read, not with its square.

Counted in SQLite's own virtual machine instructions, so that no clock decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import BaseModel

from everlog import EventStore, event, to
from everlog.adapters.sqlite import reading, schema
from everlog.adapters.sqlite.connections import Place, connect_reader
from everlog.core.selection import Order, Selection, page_records
from everlog.store.ids import IdSource

STEP = 100


@event("work:noted")
class Noted(BaseModel):
    number: int = 0


async def on_time(store: EventStore, count: int) -> Selection:
    for first in range(0, count, 1000):
        await store.append("s", *[Noted(number=n) for n in range(first, first + 1000)])
    return Selection(streams=("s",))


async def nearly_all_late(store: EventStore, count: int) -> Selection:
    async with EventStore.open("memory:", events=[Noted]) as elsewhere:
        await on_time(elsewhere, count)
        stamp = (await elsewhere.info()).clock
        store.observe(stamp)
        await store.append("s", Noted(number=-1))
        await store.import_records(elsewhere.read())
    return Selection(streams=("s",))


async def late_and_on_time_by_turns(store: EventStore, count: int) -> Selection:
    async with EventStore.open("memory:", events=[Noted]) as elsewhere:
        await on_time(elsewhere, count)
        records = await elsewhere.read().to_list()
    half = len(records) // 2
    for first in range(0, half, 250):
        await store.import_records(records[half + first : half + first + 250])
        await store.import_records(records[first : first + 250])
    return Selection(streams=("s",))


async def many_streams(store: EventStore, count: int) -> Selection:
    for first in range(0, count, 1000):
        await store.append_many([to(f"s{n}", Noted(number=n)) for n in range(first, first + 1000)])
    await store.relations.add("all", *[f"s{n}" for n in range(count)])
    return Selection(relation="all")


def instructions(path: Path, selection: Selection, order: Order, count: int) -> int:
    """How many instructions it takes to read the whole selection, page by page."""
    steps = 0

    def tick() -> None:
        nonlocal steps
        steps += 1

    with closing(connect_reader(Place(str(path), "full", 5.0, False))) as connection:
        connection.set_progress_handler(tick, STEP)
        given = 0
        page = reading.read_page(connection, selection._replace(order=order), None, 500)
        given += len(page.records)
        while page.cursor is not None:
            page = reading.read_page(
                connection, page.selection, page.cursor, page_records(page.selection)
            )
            given += len(page.records)
    assert given >= count
    return steps * STEP


Fill = Callable[[EventStore, int], Awaitable[Selection]]


def growth(tmp_path: Path, fill: Fill, order: Order) -> float:
    """How many times the work grows when there is four times as much to read."""
    work: list[int] = []
    for count in (4_000, 16_000):
        path = tmp_path / f"{count}.db"

        async def main(path: Path = path, count: int = count) -> Selection:
            async with EventStore.open(path, events=[Noted]) as store:
                return await fill(store, count)

        selection = asyncio.run(main())
        work.append(instructions(path, selection, order, count))
    return work[1] / work[0]


@pytest.mark.parametrize("order", list(Order), ids=lambda order: order.value)
@pytest.mark.parametrize(
    "fill", [on_time, nearly_all_late, late_and_on_time_by_turns, many_streams]
)
def test_four_times_as_many_records_are_about_four_times_the_work(
    tmp_path: Path, fill: Fill, order: Order
) -> None:
    assert growth(tmp_path, fill, order) < 6


def test_a_fold_that_walks_the_log_for_late_records_is_seen_to_be_quadratic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "SELECT_LATE", schema.SELECT_BETWEEN + " AND late = 1")
    monkeypatch.setattr(reading, "LATE", "never told")
    assert growth(tmp_path, on_time, Order.CREATED) > 8


def test_ids_ascend_however_the_wall_clock_goes() -> None:
    times = iter([5, 5, 4, 9, 9, 1])
    source = IdSource(lambda: next(times), lambda count: b"\xff" * count)
    made = [source.next() for _ in range(6)]
    assert made == sorted(set(made))
