"""The news of a commit: who waits is woken also when it was lost and found, and it does not fail
where the server has no room to tell others.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
import pytest

from everlog import EventStore
from everlog.adapters.postgres import waking
from everlog.adapters.postgres.waking import QUIET_S, Waker
from everlog.errors import StorageFailed, Unreachable
from everlog.testing import postgres
from everlog.testing.postgresql.binaries import binaries_of_the_wheel
from tests.proxies.faults import COMMIT, AnswerLost
from tests.scenarios.postgres.site import EVENTS, Noted, Site, eventually
from tests.scenarios.postgres.test_lost_answers import GUESS, alone_for_a_while


def _never(_: Waker) -> bool:
    return False


LISTENING: LiteralString = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'LISTEN %' AND state = 'idle'"
)


@pytest.mark.parametrize("alone", [True, False], ids=["by a guess", "by a look"])
def test_a_commit_that_was_lost_and_found_wakes_those_who_wait_at_once(
    site: Site, alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither a poll nor a NOTIFY in the commit itself may be what wakes them.
    monkeypatch.setattr(waking, "POLL_LISTENING_S", 60.0)
    monkeypatch.setattr(Waker, "_is_due", _never)

    async def main() -> None:
        async with (
            EventStore.open(site.url(), events=EVENTS) as store,
            EventStore.open(site.straight_url(), events=EVENTS) as other,
        ):
            await alone_for_a_while(store, "before")
            if not alone:
                await other.append("other", Noted(1))
                await store.append("a", Noted(1))
            head = (await store.info()).position
            waits = [asyncio.create_task(s.wait(after=head, timeout_s=10)) for s in (store, other)]
            await eventually(lambda: site.values(LISTENING) == [2], "both listen")
            await asyncio.sleep(0.1)  # what they look at before they wait
            fault = site.relay.plan(AnswerLost(GUESS if alone else COMMIT))
            await store.append("a", Noted(2), ids=["lost"])
            assert fault.happened
            began = time.monotonic()
            assert await asyncio.gather(*waits) == [head + 1] * 2
            assert time.monotonic() - began < 5

    asyncio.run(main())


def test_behind_a_transaction_that_was_looked_up_nothing_is_guessed(site: Site) -> None:
    async def main() -> None:
        async with EventStore.open(site.url(), events=EVENTS) as store:
            await alone_for_a_while(store, "before")
            connection = await psycopg.AsyncConnection.connect(site.relay.url)
            fault = site.relay.plan(AnswerLost(COMMIT))
            async with store.transaction(connection) as block:
                block.append("b", Noted(1), ids=["theirs"])
            assert fault.happened
            await connection.close()
            site.relay.statements.clear()
            await store.append("a", Noted(2), ids=["ours"])
            assert site.ids()[-2:] == ["theirs", "ours"]
            assert not [ran.sql for ran in site.relay.statements if re.search(GUESS, ran.sql)]

    asyncio.run(main())


@contextmanager
def no_room_to_notify(url: str) -> Generator[None]:
    """Fills the queue of notifications, with somebody who listens and does not hear."""
    with (
        psycopg.connect(url, autocommit=True) as deaf,
        psycopg.connect(url, autocommit=True) as loud,
    ):
        deaf.execute("LISTEN noise")
        deaf.execute("BEGIN")
        there_is_room = True
        while there_is_room:
            try:
                loud.execute("SELECT pg_notify('noise', repeat('x', 7900))")
            except psycopg.errors.ProgramLimitExceeded:
                there_is_room = False
        yield


def test_a_commit_does_not_fail_where_the_server_has_no_room_to_notify() -> None:
    async def main(url: str) -> None:
        async with EventStore.open(url, events=EVENTS, timeout_s=2) as store:
            await alone_for_a_while(store, "before")
            head = (await store.info()).position
            with no_room_to_notify(url):
                await asyncio.sleep(2 * QUIET_S)  # so that the next one is to be told
                await store.append("a", Noted(1))
                waiting = asyncio.create_task(store.wait(after=head + 1, timeout_s=20))
                assert await store.relations.add("r", "a") == 1
                async with (
                    await psycopg.AsyncConnection.connect(url) as connection,
                    store.transaction(connection) as block,
                ):
                    block.append("b", Noted(2))
                assert await waiting == head + 2
            assert (await store.verify()).ok
        async with (
            EventStore.open(url, events=EVENTS) as store,
            await psycopg.AsyncConnection.connect(url) as connection,
        ):
            with no_room_to_notify(url):
                with pytest.raises(StorageFailed, match="run it again"):
                    async with store.transaction(connection) as block:
                        block.append("b", Noted(3))
                async with store.transaction(connection) as block:
                    block.append("b", Noted(3))
            assert (await store.info()).position == head + 3

    settings = {"max_notify_queue_pages": "64"}
    with postgres(settings=settings, binaries=binaries_of_the_wheel()) as server:
        asyncio.run(main(server.new_database()))


def test_where_all_connections_that_read_are_in_use_it_is_said_what_to_do(site: Site) -> None:
    async def main() -> None:
        url = site.url(timeout_s=0.5, readers=1)
        async with EventStore.open(url, events=EVENTS) as store:
            await store.append("a", Noted(1))
            with site.direct.transaction():
                site.direct.execute(f"LOCK TABLE {site.schema}.records".encode())
                checking = asyncio.create_task(store.ledger.check())
                await asyncio.sleep(0.1)
                with pytest.raises(Unreachable, match=r"all 1 connections .* in use .* readers"):
                    await store.info()
            assert await checking == []

    asyncio.run(main())
