"""The first page in one trip is the page that several trips give, and it is one trip."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from everlog import EventStore, LogDiverged, every, reducer, to
from everlog.adapters.postgres import reading
from everlog.adapters.postgres.executing import Executor, Script
from everlog.adapters.postgres.first_page import first_page
from everlog.core.event import Registry
from everlog.core.record import Record, StoredRecord
from everlog.core.selection import Order, Selection
from everlog.core.snapshot import Snapshot, SnapshotKey
from everlog.core.token import decode
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.store.folding import fold_of_reducer, key_of
from everlog.testing import FakeClock
from tests.adapters.schema import Schema
from tests.store.watched import Noted, Said

LARGE = Said("x" * (1024 * 1024 - 100))


@reducer("count", initial=int)
def count(state: int, record: Record) -> int:
    """Counts."""
    return state + 1


def never(*_: Any) -> Script[None]:
    """Finds no first page in one trip."""
    yield from ()


SELECTIONS = {
    "all": Selection(),
    "backwards": Selection(backwards=True),
    "a stream": Selection(streams=("a",)),
    "a stream, backwards": Selection(streams=("a",), backwards=True),
    "no stream": Selection(streams=()),
    "a stream that is not there": Selection(streams=("z",)),
    "two streams": Selection(streams=("a", "b")),
    "a type": Selection(types=("said",)),
    "a stream, a type": Selection(streams=("a",), types=("noted",)),
    "a relation": Selection(relation="r"),
    "a prefix": Selection(prefix="b"),
    "a prefix, backwards": Selection(prefix="a", types=("noted",), backwards=True),
    "behind": Selection(after=7),
    "up to": Selection(streams=("a",), until=9),
    "a few": Selection(limit=4),
    "a few of a stream": Selection(streams=("a",), limit=2),
    "none": Selection(limit=0),
}


Pages = list[list[StoredRecord]]


async def pages_of(ledger: Ledger, selection: Selection, size: int) -> Pages:
    page = await ledger.read(selection, size=size)
    pages = [list(page.records)]
    while page.cursor is not None:
        page = await ledger.read(page.selection, cursor=page.cursor, size=size)
        pages.append(list(page.records))
    return pages


async def fold_of(
    ledger: Ledger, selection: Selection, key: SnapshotKey | None, size: int
) -> tuple[Snapshot | None, int, Pages]:
    start = await ledger.fold_from(selection, key, size=size)
    page = start.page
    pages = [list(page.records)]
    while page.cursor is not None:
        page = await ledger.read(page.selection, cursor=page.cursor, size=size)
        pages.append(list(page.records))
    return start.snapshot, start.revision, pages


@asynccontextmanager
async def history(schema: Schema, seed: int) -> AsyncGenerator[EventStore]:
    """A log with records that came late, with large ones, and with a snapshot somewhere in it."""
    dice = random.Random(seed)
    clock = FakeClock()
    ledger = await schema.ledger(seams=Seams(now_ms=clock))
    async with schema.over(ledger) as store:
        for turn in range(6):
            clock.advance(seconds=dice.randint(0, 60))
            events = [Noted(), Said("x"), LARGE if dice.random() < 0.2 else Noted()]
            items = [to(dice.choice("ab"), event, relations=["r"]) for event in events]
            await store.append_many(items)
            if dice.random() < 0.5:
                then = clock.now
                clock.advance(seconds=-dice.randint(1, 100))
                late = [store.past(dice.choice("ab"), Noted(), created=clock.now) for _ in "xy"]
                await store.import_records(late)
                clock.advance(seconds=(then - clock.now).total_seconds())
            if turn == 2 + seed % 3:
                await store.snapshots.create(count, "a")
        yield store


async def everything(store: EventStore, size: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, selection in SELECTIONS.items():
        found[name] = await pages_of(store.ledger, selection, size)
        if not selection.backwards:
            folded = selection._replace(order=Order.CREATED)
            key = key_of(fold_of_reducer(count), folded, Registry())
            found[f"{name}, folded"] = await pages_of(store.ledger, folded, size)
            found[f"{name}, as a fold"] = await fold_of(store.ledger, folded, key, size)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_first_page_in_one_trip_is_the_page_that_several_give(
    schema: Schema, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with history(schema, seed) as store:
            snapshots = 0
            for size in (1, 3, 5, 100):
                in_one = await everything(store, size)
                with monkeypatch.context() as patched:
                    patched.setattr(reading, "first_page", never)
                    in_many = await everything(store, size)
                for name, pages in in_one.items():
                    assert pages == in_many[name], (name, size)
                snapshots += in_one["a stream, as a fold"][0] is not None
            assert snapshots in (0, 4)

    asyncio.run(main())


def test_a_page_behind_a_place_is_refused_where_that_is_another_however_it_is_read(
    schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with history(schema, 1) as store:
            record = await store.read(limit=1, after=4).first()
            assert record is not None
            seen = decode(store.token(record))
            wrong = {
                "ledger": seen._replace(ledger="f" * 32),
                "epoch": seen._replace(epoch="f" * 16, chain=bytes(32)),
                "end": seen._replace(position=10**6),
                "chain": seen._replace(chain=bytes(32)),
            }
            for way in (first_page, never):
                monkeypatch.setattr(reading, "first_page", way)
                for order in Order:
                    for name, base in SELECTIONS.items():
                        if base.backwards and order is Order.CREATED:
                            continue
                        selection = base._replace(order=order)
                        before = seen._replace(epoch="f" * 16)  # of the same history
                        await store.ledger.read(selection._replace(seen=before))
                        await store.ledger.read(selection._replace(seen=seen))
                        for differs, place in wrong.items():
                            with pytest.raises(LogDiverged) as caught:
                                await store.ledger.read(selection._replace(seen=place))
                            assert caught.value.differs == differs, (name, order)

    asyncio.run(main())


class Trips:
    """Counts what is sent to the database, but for what is told to those who wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        take = vars(Executor)["_take"]

        async def taken(executor: Executor, *step: Any) -> Any:
            connection, what = step
            self._count += "pg_notify" not in str(what)
            return await take(executor, connection, what)

        monkeypatch.setattr(Executor, "_take", taken)

    async def of(self, call: Callable[[], Any]) -> int:
        before = self._count
        await call()
        return self._count - before


@pytest.mark.parametrize("event", [Noted(), LARGE], ids=["small", "large"])
def test_a_read_or_a_fold_of_one_page_is_one_trip(
    schema: Schema, event: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with schema.over(await schema.ledger(), snapshots=every(3)) as store:
            await store.append("a", event)
            await store.append("b", event)
            await store.read().to_list()  # how large they are is found by the first read
            trips = Trips(monkeypatch)
            assert await trips.of(lambda: store.read().to_list()) == 1
            assert await trips.of(lambda: store.read("a").to_list()) == 1
            assert await trips.of(lambda: store.read("a", backwards=True).to_list()) == 1
            assert await trips.of(lambda: store.read(prefix="a").to_list()) == 1
            token = (await store.info()).token
            several: list[dict[str, Any]] = [
                {},
                {"stream": "a"},
                {"prefix": "a"},
                {"types": [Noted]},
            ]
            for options in several:
                reading = store.read(after=token, **options)
                assert await trips.of(reading.to_list) == 1
            assert await trips.of(lambda: store.reduce(count, "a")) == 1
            for _ in range(2):
                await store.append("a", event)
            await store.reduce(count, "a")  # stores a snapshot
            await store.append("a", event)
            assert await trips.of(lambda: store.reduce(count, "a")) == 1

    asyncio.run(main())
