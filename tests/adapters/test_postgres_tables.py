"""The log only grows, and what is kept beside it stays small, however many commits there were."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from tests.adapters.schema import Schema, eventually
from tests.store.watched import Noted

STREAMS = 10


class Table(NamedTuple):
    """What the server has counted of a table."""

    inserted: int
    updated: int
    in_place: int
    """Updates that changed no index (HOT), and whose dead rows need no vacuum."""
    deleted: int
    dead: int
    size: int
    """Bytes of its rows."""


def table(schema: Schema, name: str) -> Table:
    [row] = schema.ask(
        "SELECT n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del, n_dead_tup, "
        "pg_relation_size(relid) FROM pg_stat_user_tables WHERE schemaname = %s AND relname = %s",
        schema.name,
        name,
    )
    return Table(*row)


async def append(schema: Schema, *, alone: int, together: int = 0, before: int = 0) -> None:
    """Appends one by one, and then by the hundred; returns when the server has counted all."""
    async with schema.store() as store:
        for number in range(alone):
            await store.append(f"stream {number % STREAMS}", Noted(number))
        for start in range(0, together, 100):
            numbers = range(start, start + 100)
            await asyncio.gather(
                *(store.append(f"stream {n % STREAMS}", Noted(n)) for n in numbers)
            )
    # A connection that ends tells what it has counted.
    count = before + alone + together
    await eventually(lambda: table(schema, "records").inserted == count, "all is counted")


def check(schema: Schema, *, commits: int) -> None:
    """Asserts that the log has only grown, and that the rest has not."""
    records = table(schema, "records")
    assert (records.updated, records.deleted, records.dead) == (0, 0, 0)
    for name in ("ledger_head", "registers"):
        beside = table(schema, name)
        assert beside.updated >= commits - STREAMS
        assert beside.in_place > 0.95 * beside.updated, name
        assert beside.size <= 8 * 8192, name
        assert beside.deleted == 0


def test_ten_thousand_appends_leave_no_dead_row_in_the_log_and_few_beside_it(
    schema: Schema,
) -> None:
    asyncio.run(append(schema, alone=1_000, together=9_000))
    check(schema, commits=1_000)


@pytest.mark.parametrize(
    "careless",
    [
        "CREATE INDEX ON {}.ledger_head (position)",
        "CREATE INDEX ON {}.registers (created)",
        "ALTER TABLE {}.records DISABLE TRIGGER USER; UPDATE {}.records SET size = size",
    ],
)
def test_what_would_leave_dead_rows_is_seen(schema: Schema, careless: str) -> None:
    asyncio.run(append(schema, alone=1))
    schema.ask(careless)
    asyncio.run(append(schema, alone=100, before=1))
    with pytest.raises(AssertionError):
        check(schema, commits=100)
