"""A hub on PostgreSQL: what edges are given and give, also while its database is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.errors import StorageError
from everlog.testing import PostgresServer
from everlog.wire.messages import Offer
from everlog.wire.pieces import read_piece
from tests.client.hubs import serving
from tests.client.test_syncing import at, ids, same, until
from tests.server.calling import append, call, event, offered, push, records_of
from tests.server.calling import until as until_it_is
from tests.server.sockets import get, line_to, served
from tests.server.test_sockets import records_seen
from tests.store.watched import Noted

SECRET = b"of the receipts of this hub"


async def test_an_edge_catches_up_piece_by_piece(postgres_server: PostgresServer) -> None:
    async with offered(postgres_server.new_database()) as (store, hub):
        for number in range(7):
            await append(hub, *(event(f"a-{number}", data={"n": n}) for n in range(10)))
        cursor, found, pieces = "0", list[str](), 0
        while True:
            reply = await call(hub, "GET", "/v1/pull", query=f"cursor={cursor}&limit=16")
            piece = read_piece(reply.body)
            found += [record.id for record in piece.records]
            pieces += 1
            if piece.up_to_date:
                break
            cursor = reply.lines[-1]["cursor"]
        assert pieces == 5
        assert found == [record.id for record in await records_of(store)]
        assert len(found) == 70


async def test_a_push_is_judged_and_stored_once(postgres_server: PostgresServer) -> None:
    async with offered() as (edge, there):
        await append(there, event("a-1"), event("a-1"), event("b-1"))
        records = await records_of(edge)
    bad = Offer(records[0]._replace(data='{"n":2}'))
    async with offered(postgres_server.new_database()) as (store, hub):
        offers = [Offer(record) for record in records]
        # Two at the same time, as after an answer that was lost: each is stored once.
        pushes = [push(hub, offers, ledger=records[0].origin) for _ in range(2)]
        replies = await asyncio.gather(*pushes, push(hub, [bad], ledger=records[0].origin))
        said = [[each["status"] for each in reply.json["results"]] for reply in replies]
        assert sorted(said[:2]) == [["accepted"] * 3, ["duplicate"] * 3]
        assert said[2] == ["tampered"]
        assert [record.hash for record in await records_of(store)] == [
            record.hash for record in records
        ]


async def test_who_follows_has_what_another_process_appends(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    async with (
        served(url) as (_, server),
        EventStore.open(url, events=[Noted]) as other,
        line_to(server) as line,
    ):
        await line.send(
            b"GET /v1/pull HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        )
        following = asyncio.create_task(records_seen(line, 30))
        for number in range(30):
            await other.append("a", Noted(number))
        assert await following == 30


async def test_an_edge_goes_on_with_a_hub_that_was_started_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.new_database()
    async with EventStore.open(tmp_path / "edge.db", events=[Noted]) as edge:
        async with (
            EventStore.open(url, events=[Noted]) as hub,
            serving(hub, secret=SECRET) as there,
        ):
            sync = edge.sync(at(there.port))
            await sync.__aenter__()
            await hub.append("a", *(Noted(number) for number in range(600)))
            await edge.append("b", Noted(1))
            await sync.in_step(timeout_s=60)
        await edge.append("b", Noted(2))
        await until(sync, lambda status: status.tries >= 1)
        async with EventStore.open(url, events=[Noted]) as hub:
            await hub.append("a", Noted(-1))
            async with serving(hub, port=there.port, secret=SECRET):
                await sync.in_step(timeout_s=60)
                assert await ids(edge) == await ids(hub)
                assert len(await ids(hub)) == 603
                await sync.stop()


async def test_a_sqlite_store_and_a_hub_on_postgresql_become_one(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with (
        EventStore.open(postgres_server.new_database(), events=[Noted]) as hub,
        EventStore.open(tmp_path / "one.db", events=[Noted]) as one,
        EventStore.open(tmp_path / "two.db", events=[Noted]) as two,
        serving(hub, secret=SECRET) as there,
    ):
        await hub.append("a", *(Noted(number) for number in range(1234)))
        for number in range(777):
            await one.append(f"b-{number % 7}", Noted(number))
        done = await one.sync(there.url).once()
        assert (done.new, done.pushed, done.in_step) == (1234, 777, True)
        assert (await one.sync(there.url).once()).idle
        async with one.sync(there.url) as first, two.sync(there.url) as second:
            await second.in_step(timeout_s=60)
            for number in range(20):
                await asyncio.gather(
                    one.append("c", Noted(number)),
                    two.append("c", Noted(number)),
                    hub.append("c", Noted(number)),
                )
            await first.in_step(timeout_s=60)
            await second.in_step(timeout_s=60)
            await same(hub, one, two)
        found = [
            sorted([(record.id, record.hash) async for record in store.read()])
            for store in (hub, one, two)
        ]
        assert found[0] == found[1] == found[2]
        assert len(found[0]) == 1234 + 777 + 60
        assert all([(await store.verify()).ok for store in (hub, one, two)])


async def test_while_its_database_is_away_a_hub_says_so_and_goes_on_after_that(
    durable_postgres: PostgresServer, tmp_path: Path
) -> None:
    url = durable_postgres.new_database()
    async with (
        served(f"{url}?timeout_s=1") as (_, server),
        EventStore.open(tmp_path / "edge.db", events=[Noted]) as edge,
    ):
        sync = edge.sync(server.url)
        await edge.append("a", Noted(1))
        await sync.__aenter__()
        await sync.in_step(timeout_s=60)
        await asyncio.to_thread(durable_postgres.kill)
        try:
            reply = await get(server, "/v1/read")
            head, _, body = reply.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 "), reply
            assert b"retry-after: " in head.lower()
            assert str(durable_postgres.url).split("@")[-1].encode() not in body
            assert (await get(server, "/healthz")).startswith(b"HTTP/1.1 200 ")
            await edge.append("a", Noted(2))
            await until(sync, lambda status: bool(status.error))
            with pytest.raises(StorageError):
                await edge.sync(server.url).once()
        finally:
            await asyncio.to_thread(durable_postgres.start)
        await sync.in_step(timeout_s=100)
        assert b'"version":2' in await get(server, "/v1/streams/a")
        await sync.stop()
        await until_it_is(lambda: server.application.answering.live == 0, what="nobody follows")
