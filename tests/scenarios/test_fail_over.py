"""Fail-over to a standby that lost the tail: who had read it is told, and nothing is skipped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from everlog import EventStore, LogDiverged, Record, event
from everlog.core.selection import PAGE_RECORDS
from everlog.testing import PostgresServer, postgres
from everlog.testing.postgresql.binaries import binaries_of_the_wheel

COMMON, LOST, INSTEAD = 300, 200, 200


@event("failing-over:noted")
@dataclass
class Noted:
    where: str
    number: int


@dataclass
class Pair:
    """A primary, and a standby that follows it asynchronously."""

    primary: PostgresServer
    standby: PostgresServer

    @property
    def url(self) -> str:
        """Whichever of them takes writes."""
        hosts = ",".join(
            f"{one.hostname}:{one.port}"
            for one in (urlsplit(self.primary.url), urlsplit(self.standby.url))
        )
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"

    def catch_up(self) -> None:
        """Returns when the standby has all that the primary has written."""
        with (
            psycopg.connect(self.primary.url, autocommit=True) as there,
            psycopg.connect(self.standby.url, autocommit=True) as here,
        ):
            [[written]] = there.execute("SELECT pg_current_wal_lsn()").fetchall()
            query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            for _ in range(3000):
                [[done]] = here.execute(query, (written,)).fetchall()
                if done:
                    return
                time.sleep(0.01)
        raise AssertionError("the standby does not follow")

    def fail_over(self) -> None:
        """Kills the primary as a power cut does; the standby takes its place as it is."""
        self.primary.kill()
        self.standby.start()
        self.standby.promote()


@pytest.fixture
def pair() -> Generator[Pair]:
    with (
        postgres(binaries=binaries_of_the_wheel()) as primary,
        primary.standby() as standby,
    ):
        yield Pair(primary, standby)


async def note(store: EventStore, where: str, count: int) -> list[Record[Any]]:
    """Appends so many events, in calls of ten."""
    records: list[Record[Any]] = []
    for begin in range(0, count, 10):
        events = [Noted(where, number) for number in range(begin, begin + 10)]
        records += await store.append(f"s{begin % 3}", *events)
    return records


def test_who_read_the_lost_tail_is_told_and_by_its_position_it_would_have_skipped_all_that_came(
    pair: Pair,
) -> None:
    async def test() -> None:
        async with EventStore.open(pair.primary.url, events=[Noted]) as store:
            await note(store, "common", COMMON)
            pair.catch_up()
            pair.standby.stop()  # it receives nothing more
            await note(store, "lost", LOST)
            followed = await store.read().to_list()  # by a subscriber, before the power is cut
            tokens = [store.token(record) for record in followed]
            assert len(followed) == COMMON + LOST
            pair.fail_over()

        async with EventStore.open(pair.standby.url, events=[Noted]) as store:
            assert (await store.info()).position == COMMON
            assert await told(store, tokens[-1]) == (COMMON + LOST, "end")
            appended = await note(store, "instead", INSTEAD)
            there = followed[:COMMON] + appended

            # The planted fault: by its position alone a subscriber is given none of what came.
            by_position = await store.read(after=followed[-1].position).to_list()
            skipped = INSTEAD - len(by_position)
            print(f"resuming by position skips {skipped} of the next {INSTEAD} events")
            assert skipped == 200

            for record, token in zip(followed, tokens, strict=True):
                if record.position > COMMON:
                    assert await told(store, token) == (record.position, "chain")
                else:
                    rest = await store.read(after=token).to_list()
                    assert followed[: record.position] + rest == there
            assert (await store.verify()).ok

    asyncio.run(test())


def test_a_subscriber_that_is_connected_all_the_while_is_told_in_the_middle_of_its_reading(
    pair: Pair,
) -> None:
    async def test() -> None:
        async with (
            EventStore.open(pair.url, events=[Noted]) as store,
            EventStore.open(pair.url, events=[Noted]) as subscriber,
        ):
            common = await note(store, "common", PAGE_RECORDS + 200)
            pair.catch_up()
            pair.standby.stop()
            lost = await note(store, "lost", 2 * PAGE_RECORDS)

            followed: list[Record[Any]] = []

            async def follow() -> None:
                async for record in subscriber.read():
                    followed.append(record)
                    if len(followed) == 2 * PAGE_RECORDS:  # two pages, the second in the tail
                        await asyncio.to_thread(pair.fail_over)
                        await note(store, "instead", 2 * PAGE_RECORDS)

            with pytest.raises(LogDiverged) as caught:
                await follow()
            assert caught.value.differs == "chain"
            assert followed == (common + lost)[: 2 * PAGE_RECORDS]

            # It goes on with the last token that is good, or is told at once.
            assert (await told(subscriber, subscriber.token(followed[-1])))[1] == "chain"
            token = subscriber.token(common[-1])
            rest = await subscriber.read(after=token).to_list()
            assert common + rest == await store.read().to_list()
            assert [record.data.where for record in rest] == ["instead"] * 2 * PAGE_RECORDS

    asyncio.run(test())


def test_a_subscriber_that_waits_is_told_that_the_tail_is_gone(pair: Pair) -> None:
    async def test() -> None:
        async with (
            EventStore.open(pair.url, events=[Noted]) as store,
            EventStore.open(pair.url, events=[Noted]) as subscriber,
        ):
            common = await note(store, "common", 20)
            pair.catch_up()
            pair.standby.stop()
            lost = await note(store, "lost", 10)
            token = subscriber.token(lost[-1])
            waiting = asyncio.create_task(subscriber.wait(after=token, timeout_s=3))
            await asyncio.to_thread(pair.fail_over)
            with pytest.raises(LogDiverged):
                await waiting
            with pytest.raises(LogDiverged):
                await subscriber.wait(after=token, timeout_s=30)

            # One that goes on from what is there is woken as ever.
            token = subscriber.token(common[-1])
            waiting = asyncio.create_task(subscriber.wait(after=token, timeout_s=30))
            await note(store, "instead", 10)
            assert await waiting > 20

    asyncio.run(test())


def test_a_standby_that_is_behind_refuses_the_token_and_serves_it_when_it_has_caught_up(
    pair: Pair,
) -> None:
    async def test() -> None:
        async with EventStore.open(pair.primary.url, events=[Noted]) as store:
            await note(store, "common", 20)
            pair.catch_up()
            with paused(pair.standby):
                records = await note(store, "more", 20)
                token = store.token(records[9])
                async with EventStore.open(pair.standby.url, events=[Noted]) as behind:
                    assert await told(behind, token) == (30, "end")
            pair.catch_up()
            async with EventStore.open(pair.standby.url, events=[Noted]) as behind:
                assert await behind.read(after=token).to_list() == records[10:]

    asyncio.run(test())


async def told(store: EventStore, token: str) -> tuple[int, str]:
    """Returns what a reader is told that resumes with a token which is not of this history."""
    with pytest.raises(LogDiverged) as caught:
        await store.read(after=token).to_list()
    return caught.value.position, caught.value.differs


@contextmanager
def paused(standby: PostgresServer) -> Generator[None]:
    """Keeps a standby from taking over what it receives."""
    with psycopg.connect(standby.url, autocommit=True) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        query = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
        for _ in range(3000):
            if connection.execute(query).fetchall() == [(True,)]:
                break
            time.sleep(0.01)
        yield
        connection.execute("SELECT pg_wal_replay_resume()")
