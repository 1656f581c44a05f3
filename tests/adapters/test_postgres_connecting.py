"""A connection that is called off while it is made: nothing of it is left at the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from everlog.adapters.postgres.connections import (
    Place,
    connect,
    connect_writer,
    open_readers,
    parameters_of,
)
from everlog.adapters.postgres.executing import OurConnection
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.testing import PostgresServer
from tests.proxies.relay import Relay
from tests.scenarios.postgres.site import eventually
from tests.scenarios.postgres.stepping import Steps


@pytest.fixture
def relay(postgres_server: PostgresServer) -> Iterator[Relay]:
    with Relay(postgres_server.new_database()) as relay:
        yield relay


async def one_that_writes(relay: Relay) -> OurConnection:
    return await connect_writer(Place(parameters_of(relay.url)))


async def one_that_reads(relay: Relay) -> OurConnection:
    return await connect(Place(parameters_of(relay.url)))


async def a_ledger(relay: Relay) -> PostgresLedger:
    return await PostgresLedger.open(relay.url, schema="connecting")


@pytest.mark.parametrize("make", [one_that_writes, one_that_reads, a_ledger])
def test_what_is_called_off_at_any_await_leaves_no_connection_whoever_keeps_its_error(
    relay: Relay, make: Callable[[Relay], Awaitable[OurConnection | PostgresLedger]]
) -> None:
    async def main() -> None:
        # Who keeps an error keeps the frames that it came through, and all that these know.
        kept: list[asyncio.CancelledError] = []

        async def keeping() -> OurConnection | PostgresLedger:
            try:
                return await make(relay)
            except asyncio.CancelledError as error:
                kept.append(error)
                raise

        await (await make(relay)).close()  # its tables are there
        steps = Steps()
        nth = 0
        while nth == 0 or steps.acted:
            nth += 1
            task = asyncio.create_task(keeping())
            steps.at(nth, task.cancel)
            await asyncio.wait([task])
            if not task.cancelled():
                await task.result().close()
        assert len(kept) > 3
        await eventually(lambda: relay.serving == 0, "no connection is left")

    asyncio.run(main())


def test_a_server_that_does_not_answer_has_no_connection_of_whom_was_called_off(
    relay: Relay,
) -> None:
    async def main() -> None:
        relay.swallow()
        connecting = asyncio.create_task(one_that_writes(relay))
        await eventually(lambda: relay.serving == 1, "it connects")
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError) as kept:
            await connecting
        await eventually(lambda: relay.serving == 0, "no connection is left")
        del kept

    asyncio.run(main())


def test_who_is_called_off_as_a_connection_is_given_to_him_does_not_go_on(
    postgres_server: PostgresServer,
) -> None:
    """`asyncio.wait_for` of Python 3.11, by which the pool waits, would forget that."""

    async def main() -> None:
        pool = await open_readers(Place(parameters_of(postgres_server.new_database())), most=1)

        async def borrow() -> None:
            async with pool.one():
                await asyncio.Event().wait()

        try:
            for turns in range(12):
                async with pool.one():
                    waiting = asyncio.create_task(borrow())
                    for _ in range(20):
                        await asyncio.sleep(0)
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiting.cancel()
                _, still_there = await asyncio.wait([waiting], timeout=10)
                for task in still_there:
                    task.cancel()
                    await asyncio.wait([task])
                assert not still_there, f"called off after {turns} turns, it goes on"
                assert waiting.cancelled()
            async with pool.one(timeout_s=10.0):  # and it is not lost
                pass
        finally:
            await pool.close()

    asyncio.run(main())
