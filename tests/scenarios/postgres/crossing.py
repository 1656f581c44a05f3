"""A program whose transactions go through tables and streams in opposite orders.

`python -m tests.scenarios.postgres.crossing URL TASKS ROUNDS [early]` prints how many committed, as
JSON; or says what went wrong, and ends with 1.

In every round some write to a row of the shop's and begin the block then, others begin the block
and write to the row in it; each appends to two streams, in one order or in the other. `early` takes
the ledger's lock when a block begins, as a naive implementation would.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import psycopg

from everlog import EventStore
from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import ask
from everlog.adapters.postgres.joining import Joined
from tests.store.watched import Noted

STREAMS = ("a", "b")


async def main(url: str, tasks: int, rounds: int) -> int:
    async with EventStore.open(url, events=[Noted]) as store:
        return sum(await asyncio.gather(*(cross(store, url, n, rounds) for n in range(tasks))))


async def cross(store: EventStore, url: str, task: int, rounds: int) -> int:
    dsn = url.partition("?")[0]
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("SET deadlock_timeout = '50ms'")
        await connection.commit()
        for number in range(rounds):
            first = (task + number) % 2 == 0
            if first:
                await touch(connection)
            async with store.transaction(connection) as tx:
                for stream in STREAMS if first else reversed(STREAMS):
                    tx.append(stream, Noted(number))
                if not first:
                    await touch(connection)
    return rounds


async def touch(connection: psycopg.AsyncConnection[Any]) -> None:
    await connection.execute("UPDATE touched SET times = times + 1")


begin = Joined.begin


async def begin_with_the_lock(self: Any) -> None:
    await begin(self)
    values = self._place.patience | {"key": self._place.lock_key}
    await self._connection.run(ask(schema.LOCK_AND_SET, values))


def lock_early() -> None:
    """Plants the fault."""
    Joined.begin = begin_with_the_lock  # type: ignore[method-assign]


if __name__ == "__main__":
    url, tasks, rounds, *fault = sys.argv[1:]
    if fault:
        lock_early()
    try:
        print(json.dumps(asyncio.run(main(url, int(tasks), int(rounds)))))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {error}")
