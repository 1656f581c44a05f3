"""Pages are cut by bytes before large values are looked at; nothing is skipped, nothing is more."""

from __future__ import annotations

import asyncio

import pytest

from everlog import EventStore, to
from everlog.adapters.postgres.writing import COPY_FROM
from everlog.core.record import StoredRecord
from everlog.core.selection import PAGE_BYTES, Order, Selection
from everlog.ports.seams import Seams
from everlog.testing import FakeClock
from tests.adapters.schema import Schema
from tests.store.watched import Said

MIB = 1024 * 1024
TEXTS = {
    "one byte a character": "a" * (MIB - 100),
    "two bytes": "\u00e9" * (MIB // 2 - 100),
    "four bytes": "\U0001f600" * (MIB // 4 - 100),
}


def bytes_of(record: StoredRecord) -> int:
    return len(record.data.encode()) + len(record.meta.encode())


async def pages_of(store: EventStore, selection: Selection) -> list[list[StoredRecord]]:
    page = await store.ledger.read(selection)
    pages = [list(page.records)]
    while page.cursor is not None:
        page = await store.ledger.read(page.selection, cursor=page.cursor)
        pages.append(list(page.records))
    return pages


async def many_large_events(store: EventStore, clock: FakeClock, large: Said) -> int:
    """Writes some on time, then as many that came late and stand behind nearly all of those."""
    for _ in range(2):  # a call holds less than 16 MiB
        await store.append_many([to("ab"[n % 2], large, relations=["r"]) for n in range(6)])
    clock.advance(seconds=100)
    await store.append("a", Said("the last"))
    clock.advance(seconds=-50)
    late = [store.past("ab"[n % 2], large, created=clock.now) for n in range(6)]
    await store.import_records(late)
    return (await store.info()).position


SELECTIONS = {
    "all": (Selection(), 19),
    "backwards": (Selection(backwards=True), 19),
    "a stream": (Selection(streams=("a",)), 10),
    "some streams": (Selection(streams=("a", "b", "c")), 19),
    "a relation, backwards": (Selection(relation="r", backwards=True), 19),
    "a type": (Selection(types=("said",)), 19),
    "all, in the order of folds": (Selection(order=Order.CREATED), 19),
    "a stream, in the order of folds": (Selection(streams=("a",), order=Order.CREATED), 10),
    "some streams, in the order of folds": (
        Selection(streams=("a", "b", "c"), order=Order.CREATED),
        19,
    ),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_page_of_large_events_ends_in_time_and_nothing_is_skipped_at_its_cut(
    schema: Schema, text: str
) -> None:
    async def main() -> None:
        clock = FakeClock()
        ledger = await schema.ledger(seams=Seams(now_ms=clock))
        async with schema.over(ledger) as store:
            assert await many_large_events(store, clock, Said(TEXTS[text])) == 19
            for name, (selection, count) in SELECTIONS.items():
                pages = await pages_of(store, selection)
                ids = [record.id for page in pages for record in page]
                assert len(ids) == len(set(ids)) == count, name
                # In the order of folds, a page is merged of two.
                runs = 1 if selection.order is Order.POSITION else 2
                for page in pages:
                    assert sum(map(bytes_of, page)) < runs * (PAGE_BYTES + MIB), name

    asyncio.run(main())


WAYS: dict[str, tuple[int, bool]] = {
    "one event": (1, False),
    "some events": (3, False),
    "one event, by a guess": (1, True),
    "some events, by a guess": (3, True),
    "by COPY": (COPY_FROM, False),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_size_of_a_record_is_that_of_its_bytes_whatever_way_it_came(
    schema: Schema, way: str
) -> None:
    count, guesses = WAYS[way]

    async def main() -> None:
        async with schema.store() as store:
            for _ in range(3 if guesses else 0):
                await store.append("warm", Said())
            await store.append("a", *[Said("\u00e9\U0001f600" * n) for n in range(count)])
            await store.import_records([store.past("p", Said("\u00e9"), created="0" * 31 + "1")])
            # As the records themselves say.
            sizes = [bytes_of(record.stored) async for record in store.read()]
            stored = schema.ask("SELECT size FROM {}.records ORDER BY position")
            assert [size for (size,) in stored] == sizes
            assert schema.ask("SELECT largest FROM {}.ledger_head") == [(max(sizes),)]

    asyncio.run(main())
