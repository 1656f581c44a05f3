"""Processes that are stopped hold the others up for a moment only: a client's, or the server's."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest

from everlog import EventStore, OutcomeUnknown
from everlog.adapters.postgres.connections import Place
from everlog.errors import CannotOpen, LedgerBusy, Unreachable
from everlog.testing import PostgresServer, postgres
from everlog.testing.postgresql.binaries import binaries_of_the_wheel
from everlog.testing.postgresql.processes import descendants_of
from tests.adapters.schema import Schema, eventually
from tests.scenarios.processes import Process
from tests.scenarios.programs import Moved


@pytest.mark.parametrize("pooler", ["none", "transaction"])
def test_who_is_stopped_with_the_lock_in_its_hands_loses_it_and_goes_on_where_it_was(
    schema: Schema, pooler: str
) -> None:
    # It is stopped behind a trip whose answers came late, as over a network: where they are there
    # when all is sent, the driver would have no reason for the Flush that `Pipeline` leaves out.
    lock = Place({}, schema.name).lock_key

    def url(timeout_s: float) -> str:
        return f"{schema.database}?schema={schema.name}&pooler={pooler}&timeout_s={timeout_s}"

    async def main() -> None:
        # It may be silent for a second; the other would wait for six.
        async with EventStore.open(url(timeout_s=6), events=[Moved]) as store:
            with (
                psycopg.connect(schema.database, autocommit=True) as keeper,
                Process("stop_in_the_middle", url=url(timeout_s=1)) as process,
            ):
                keeper.execute("SELECT pg_advisory_lock(%s)", [lock])
                process.say("go on")
                await eventually(lambda: schema.waiting() == 1, "it waits for the lock")
                # For the answer, too, and not on its way from having sent to waiting for it.
                await asyncio.sleep(0.5)
                keeper.execute("SELECT pg_advisory_unlock_all()")
                await asyncio.to_thread(process.wait_until_stopped)
                [record] = await store.append("a", Moved(2, 1))
                assert record.position == 1
                process.go_on()
                # It has been away for longer than its patience, and looks once all the same.
                assert await asyncio.to_thread(process.hear) == [2, ""]
            assert [record.id async for record in store.read("stopped")] == ["stopped"]
            assert (await store.verify()).ok

    asyncio.run(main())


def test_who_is_stopped_in_a_copy_keeps_the_lock_and_others_are_told_so(schema: Schema) -> None:
    url = f"{schema.database}?schema={schema.name}&timeout_s=1"

    async def main() -> None:
        async with EventStore.open(url, events=[Moved]) as store:
            with Process("stop_in_a_copy", url=url) as process:
                await asyncio.to_thread(process.wait_until_stopped)
                for _ in range(2):  # for longer than a silent transaction may last
                    with pytest.raises(LedgerBusy):
                        await store.append("a", Moved(2, 1))
                process.go_on()
                assert await asyncio.to_thread(process.hear) == 1
            [record] = await store.append("a", Moved(2, 1))
            assert record.position == 2
            assert (await store.verify()).ok

    asyncio.run(main())


@contextmanager
def stopped(server: PostgresServer) -> Generator[None]:
    """Stops every process of a server: its connections stay, and its system takes new ones."""
    pids = [server.pid, *descendants_of(server.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_whoever_calls_a_server_that_is_stopped_is_told_in_time_and_goes_on_with_it() -> None:
    # Each has `timeout_s`, a margin of a second, and another one to look for what was written.
    in_time_s = 0.5 + 1 + 1 + 4

    async def ended(store: EventStore, what: str, expected: tuple[type[Exception], ...]) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(in_time_s):
                with pytest.raises(expected):
                    await (store.append("a", Moved(0, 1), ids=[what]) if what else store.info())
        except TimeoutError:
            raise AssertionError("it does not end") from None
        assert time.monotonic() - began < in_time_s

    async def main(server: PostgresServer) -> None:
        url = f"{server.url}?timeout_s=0.5"
        async with EventStore.open(url, events=[Moved]) as store:
            for number in range(3):
                await store.append("a", Moved(0, number))
            assert (await store.info()).position == 3
            with stopped(server):
                await ended(store, "unknown", (OutcomeUnknown,))  # it was a guess, and was sent
                await ended(store, "", (Unreachable,))
                await ended(store, "not sent", (Unreachable,))
                with pytest.raises(CannotOpen):
                    await EventStore.open(url)
            deadline = time.monotonic() + 20
            ids: list[str] = []
            while not ids:
                try:
                    await store.append("a", Moved(0, 1), ids=["unknown"])
                    ids = [record.id async for record in store.read("a")]
                except (LedgerBusy, OutcomeUnknown, Unreachable):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.05)
            assert ids[3:] == ["unknown"]
            assert (await store.verify()).ok

    with postgres(binaries=binaries_of_the_wheel()) as server:
        asyncio.run(main(server))
