"""A store far away: what it does when the hub does not answer, and what it says that it cannot."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from everlog import (
    NEW,
    Appended,
    EventStore,
    InvalidInput,
    OutcomeUnknown,
    Projector,
    WrongVersion,
    blocking,
)
from everlog.core.sequencer import Append, NewEvent
from everlog.errors import CannotOpen, InvalidUrl, NotSupported, StorageError, Unreachable
from everlog.server import serve
from tests.client.hubs import LIMITS, serving
from tests.client.running import run
from tests.client.test_syncing import ids, memory
from tests.store.watched import Noted


def test_it_appends_reads_folds_and_follows() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            serving(hub) as there,
            EventStore.open(there.url, events=[Noted], token="canary-token") as far,
        ):
            [first] = await far.append("a", Noted(1), expect=NEW, relations=["r"])
            with pytest.raises(WrongVersion):
                await far.append("a", Noted(2), expect=NEW)
            assert [record.id async for record in far.read(relation="r")] == [first.id]
            assert await far.find(first.id) == first
            assert (await far.status(first)).exists
            following = aiter(far.follow())
            assert (await anext(following)).id == first.id
            coming = asyncio.ensure_future(anext(following))
            [second] = await hub.append("a", Noted(2))
            assert (await coming).id == second.id
            assert (await far.info()).position == 2
            assert (await far.verify()).ok
            assert await ids(far) == await ids(hub)

    run(main)


def test_what_is_too_large_for_one_answer_is_found_in_several() -> None:
    async def main() -> None:
        small = replace(LIMITS, body_bytes=50_000)
        async with (
            await memory() as hub,
            serve(hub, port=0, limits=small) as server,
            EventStore.open(server.url, events=[Noted]) as far,
        ):
            ids = [f"m{n}" for n in range(5)]
            for id in ids:
                data = f'{{"t":"{"x" * 20_000}"}}'
                event = NewEvent(id, "a", "t", 1, "t", data, "null", id, None, bytes(32))
                await hub.ledger.commit([Append((event,))])
            found = await far.ledger.find([*ids, "none"])
            assert [each and each.id for each in found] == [*ids, None]

    run(main)


def test_a_blocking_store_can_be_far_away() -> None:
    async def main() -> None:
        async with await memory() as hub, serving(hub) as there:

            def elsewhere() -> list[str]:
                with blocking.EventStore.open(there.url, events=[Noted]) as far:
                    far.append("a", Noted(1))
                    return [record.id for record in far.read()]

            assert await asyncio.to_thread(elsewhere) == await ids(hub)

    run(main)


def test_an_append_whose_answer_is_lost_is_unknown_and_can_be_repeated() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            serving(hub) as there,
            EventStore.open(there.url, events=[Noted], timeout_s=1) as far,
        ):
            told: list[str] = []

            async def hear(appended: Appended) -> None:
                told.extend(record.id for record in appended.records)

            far.on_appended(hear)
            there.proxy.loses_answers = True
            with pytest.raises(OutcomeUnknown) as caught:
                await far.append("a", Noted(1), ids=["e1"])
            assert caught.value.ids == ("e1",)
            assert await ids(hub) == ["e1"]
            there.proxy.loses_answers = False
            assert (await far.append("a", Noted(1), ids=["e1"]))[0].position == 1
            assert await ids(hub) == ["e1"]
            assert told == []  # by whom it was written nobody here can say

    run(main)


def test_an_append_whose_answer_is_late_is_made_once() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            serving(hub) as there,
            EventStore.open(there.url, events=[Noted], timeout_s=60) as far,
        ):
            there.proxy.loses_answers = True
            appending = asyncio.create_task(far.append("a", Noted(1)))
            await hub.wait(after=0, timeout_s=60)
            there.proxy.loses_answers = False
            [record] = await appending
            assert await ids(hub) == [record.id]

    run(main)


def test_a_hub_that_is_away_is_a_place_that_is_not_reached_and_nothing_is_written() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            serving(hub) as there,
            EventStore.open(there.url, events=[Noted], timeout_s=0.5) as far,
        ):
            there.proxy.refuse()
            there.proxy.cut()
            with pytest.raises(Unreachable, match="cannot be reached"):
                await far.append("a", Noted(1))
            with pytest.raises(StorageError):
                await far.read().to_list()
            there.proxy.accept()
            await far.append("a", Noted(2))
            assert len(await ids(hub)) == 1
            there.proxy.refuse()
            there.proxy.cut()
            with pytest.raises(CannotOpen, match="cannot be reached"):
                await EventStore.open(there.url)

    run(main)


def test_what_it_cannot_says_what_to_do_instead() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            await memory() as other,
            serving(hub) as there,
            EventStore.open(there.url, events=[Noted]) as far,
        ):
            [record] = await far.append("a", Noted(1))
            projector = Projector()

            @projector.all(Noted)
            async def note(_: object) -> None: ...

            async def subscribe() -> None:
                async with far.subscription("notes", projector):
                    pass

            for call in (
                lambda: far.import_records([record]),
                lambda: far.relations.add("r", "a"),
                lambda: far.backup("copy.db"),
                lambda: far.sync(other).once(),
                lambda: far.orphans(),
                subscribe,
            ):
                with pytest.raises(NotSupported, match="open a store here"):
                    await call()

    run(main)


def test_what_cannot_be_opened_is_said_before_anything_is_sent() -> None:
    async def main() -> None:
        for url, words in {
            "http://hub.example.com": "is another machine",
            "https://a:kumquat@hub.example.com": "user or password",
            "https://hub.example.com?token=kumquat": "passed as token=",
        }.items():
            with pytest.raises(InvalidUrl, match=words) as caught:
                await EventStore.open(url)
            assert "kumquat" not in str(caught.value)
        with pytest.raises(InvalidInput, match="not shown"):
            await EventStore.open("https://hub.example.com", token="two kumquats")
        with pytest.raises(InvalidUrl, match="knows no option"):
            await EventStore.open("https://hub.example.com", schema="x")

    run(main)
