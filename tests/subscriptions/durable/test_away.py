"""A server that goes away for a while, with workers on it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from everlog import Projector, Record
from everlog.testing import PostgresServer
from tests.store.watched import Noted
from tests.subscriptions.durable.places import Place
from tests.subscriptions.durable.test_running import many, note


@pytest.mark.parametrize("busy", [True, False])
def test_a_server_that_was_away_is_gone_on_with_soon_and_nothing_is_skipped(
    durable_postgres: PostgresServer, busy: bool
) -> None:
    place = Place("postgres", durable_postgres.new_database())
    place.ask(place.create)
    projector = Projector()

    @projector.all(Noted)
    async def write(record: Record[Noted], tx: Any) -> None:
        await tx.execute(place.insert, (record.position, record.stream, record.data.number))
        if record.position % 50 == 0:
            await tx.fetch("SELECT 1")
            await asyncio.sleep(0.01)

    async def main() -> None:
        async with place.store() as store:
            await many(store, 2_000, 7)
            async with store.subscription("view", projector, on_error="stop") as subscription:
                if busy:
                    await asyncio.sleep(0.2)
                else:
                    await subscription.caught_up()
                durable_postgres.kill()
                await asyncio.sleep(5)  # so long its pools try to connect by themselves
                await asyncio.to_thread(durable_postgres.start)
                back = time.monotonic()
                async with asyncio.timeout(20):
                    await note(store, 1)
                    await subscription.caught_up(2_001, timeout_s=20)
                print(f"gone on with after {time.monotonic() - back:.1f} s")
            assert [row[0] for row in place.handled()] == list(range(1, 2_002))

    asyncio.run(main())
