"""A log that was written on PostgreSQL goes to a file and back, and is the same log."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from everlog import EventStore, Record, reducer, to
from everlog.core.record import StoredRecord
from everlog.testing import PostgresServer
from everlog.testing.contract.events import (
    EVENTS,
    Activated,
    Auditor,
    Deactivated,
    Moved,
    Noted,
    Opened,
    Renamed,
)

STREAMS = ["a", "b", "aa", "\u00e9", "\U0001f600", "a b"]
HAPPENINGS: list[tuple[object, object]] = [
    (Activated(), None),
    (Deactivated(), None),
    (Renamed("\u00e9\U0001f600"), None),
    (Moved("b", 1), None),
    (Noted({"b": 1e21, "a": [0.1, "\\N\n\t", None]}), None),
    (Noted("x" * 100_000), None),
    (Opened(owner="Jane"), Auditor(auditor="me")),
]


@dataclass
class Trace:
    steps: list[str] = field(default_factory=list[str])


@reducer("trace", initial=Trace)
def trace(state: Trace, record: Record[Any]) -> Trace:
    state.steps.append(f"{record.id} {record.stream} {record.type} {record.json!r:.40}")
    return state


async def live(store: EventStore, elsewhere: EventStore, rng: random.Random) -> None:
    """Appends and imports, some of it late, so that all kinds of records are there."""
    for turn in range(120):
        if turn % 3:
            items = [
                to(rng.choice(STREAMS), event, meta=meta)
                for event, meta in rng.choices(HAPPENINGS, k=rng.randrange(1, 25))
            ]
            await store.append_many(items)
        else:
            [event, meta] = rng.choice(HAPPENINGS)
            await elsewhere.append(rng.choice(STREAMS), event, meta=meta)
            await store.append(rng.choice(STREAMS), Activated())
            if turn % 2:  # what is older than that comes behind it
                await store.import_records(elsewhere.read())


def travels(record: StoredRecord) -> tuple[object, ...]:
    """Returns what a record takes along, and its place among those of its stream."""
    local = {"position", "recorded", "flags", "chain"}
    return tuple(value for name, value in record._asdict().items() if name not in local)


async def all_of(store: EventStore) -> list[tuple[object, ...]]:
    assert (await store.verify()).ok
    return [travels(record.stored) async for record in store.read()]


async def folds(store: EventStore) -> dict[str, Any]:
    found: dict[str, Any] = {name: await store.reduce(trace, name) for name in STREAMS}
    return found | {"all": await store.reduce(trace)}


def test_a_log_goes_from_postgresql_to_sqlite_and_back_and_is_the_same(
    postgres_server: PostgresServer, tmp_path: Path, rng: random.Random
) -> None:
    url = postgres_server.new_database()

    async def main() -> None:
        async with (
            EventStore.open(f"{url}?schema=first", events=EVENTS) as first,
            EventStore.open(f"sqlite:///{tmp_path}/log.db", events=EVENTS) as file,
            EventStore.open(f"{url}?schema=second", events=EVENTS) as second,
            EventStore.open("memory:", events=EVENTS) as elsewhere,
        ):
            await live(first, elsewhere, rng)
            records, states = await all_of(first), await folds(first)
            assert len(records) > 500  # more than a chunk of an import

            for store, source in ((file, first), (second, file)):
                result = await store.import_records(source.read())
                assert result.stored == len(records)
                assert await all_of(store) == records
                assert await folds(store) == states
                head, theirs = await store.info(), await first.info()
                assert head.ledger != theirs.ledger

            # At home everything is known, and nothing is stored twice.
            result = await first.import_records(second.read())
            assert (result.stored, result.known) == (0, len(records))
            assert await all_of(first) == records
            # Each goes on by itself, behind what it has taken in.
            for store in (first, file, second):
                [born] = await store.append("a", Noted("born"))
                assert born.position == len(records) + 1
                assert (await folds(store))["all"].steps[:-1] == states["all"].steps

    asyncio.run(main())
