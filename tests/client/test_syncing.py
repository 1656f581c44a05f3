"""`store.sync("http://...")`: what happens on the way changes nothing, and the status shows it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from everlog import NEW, EventStore, InvalidInput, Sync, SyncStatus, WrongVersion, blocking
from everlog.errors import InvalidUrl, Offline, TransportFailed
from tests.client.hubs import serving
from tests.client.running import run
from tests.store.watched import Noted

PATIENCE_S = 60.0
TOKEN = "canary-token-5f2e"
SECRET = b"of the receipts of this hub"


async def ids(store: EventStore) -> list[str]:
    return sorted([record.id async for record in store.read()])


def memory(**options: Any) -> Awaitable[EventStore]:
    return EventStore.open("memory:", events=[Noted], **options)


def at(port: int) -> str:
    """Returns the URL of a hub itself, without what stands before it."""
    return f"http://127.0.0.1:{port}"


async def until(sync: Sync, holds: Callable[[SyncStatus], bool]) -> SyncStatus:
    """Returns the status once it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds(status := await sync.status()):
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.02)
    return status


async def same(*stores: EventStore) -> None:
    """Returns once all have the same events."""
    deadline = time.monotonic() + PATIENCE_S
    while len({tuple(await ids(store)) for store in stores}) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_what_is_written_in_either_comes_into_the_other(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/one.db"
        async with (
            await memory() as hub,
            EventStore.open(url, events=[Noted]) as one,
            await memory() as two,
            serving(hub, secret=SECRET) as there,
        ):
            await hub.append("a", *(Noted(number) for number in range(1234)))
            await one.append("b", *(Noted(number) for number in range(777)))
            done = await one.sync(there.url, token=TOKEN).once()
            assert (done.new, done.pushed, done.in_step) == (1234, 777, True)
            assert (await one.sync(there.url).once()).idle
            async with one.sync(there.url) as first, two.sync(there.url) as second:
                await second.in_step()
                await two.append("a", Noted(-1))
                await hub.append("c", Noted(-2))
                await same(one, two, hub)
                await first.in_step()
                status = await first.status()
                assert (status.in_step, status.held, status.error) == (True, (), "")
                assert status.hub == hub.ledger.identity.ledger
            assert (await one.verify()).ok

    run(main)


def test_only_what_is_wanted_comes(tmp_path: Path) -> None:
    async def main() -> None:
        async with await memory() as hub, await memory() as one, serving(hub) as there:
            await hub.append("order-1", Noted(1), relations=["mine"])
            await hub.append("order-2", Noted(2))
            await hub.append("user-1", Noted(3), relations=["mine"])
            sync = one.sync(there.url, prefix="order-", relation="mine")
            assert (await sync.once()).new == 1
            await hub.relations.add("mine", "order-2")
            await one.append("user-9", Noted(4))
            async with one.sync(
                there.url, prefix="order-", relation="mine", out_of_scope="keep"
            ) as sync:
                await sync.in_step()
                assert len(await ids(one)) == 3
                [record] = await hub.append("order-2", Noted(5))
                await one.wait(after=3, timeout_s=PATIENCE_S)
                assert await one.find(record.id) is not None
            assert len(await ids(hub)) == 5

    run(main)


def test_a_blocking_store_is_kept_in_step(tmp_path: Path) -> None:
    async def main() -> None:
        async with await memory() as hub, serving(hub) as there:
            await hub.append("a", Noted(1))

            def elsewhere() -> list[str]:
                with blocking.EventStore.open("memory:", events=[Noted]) as one:
                    one.append("b", Noted(2))
                    with one.sync(there.url, token=TOKEN) as sync:
                        sync.in_step(timeout_s=PATIENCE_S)
                        assert sync.status().position == 2
                    assert one.sync(there.url).once().idle
                    return sorted(record.id for record in one.read())

            assert await asyncio.to_thread(elsewhere) == await ids(hub)

    run(main)


def test_what_the_hub_tells_is_not_asked_for() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            await memory() as one,
            serving(hub) as there,
            one.sync(there.url) as sync,
        ):
            await hub.append("a", Noted(0))
            await sync.in_step()
            # It listens by now, or does soon: what comes before that is asked for.
            await until(sync, lambda status: status.in_step)
            deadline = time.monotonic() + PATIENCE_S
            while True:
                before = there.asked.copy()
                for number in range(20):
                    await hub.append("a", Noted(number))
                    await same(hub, one)
                if before == there.asked:
                    return
                assert time.monotonic() < deadline

    run(main)


def test_who_asks_to_be_told_is_told_of_all_that_is_at_the_hub() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            await memory() as one,
            serving(hub) as there,
            one.sync(there.url) as sync,
        ):
            await sync.in_step()
            for number in range(50):
                [record] = await hub.append("a", Noted(number))
                await sync.in_step(timeout_s=PATIENCE_S)
                assert await one.find(record.id) is not None

    run(main)


def test_who_asks_at_the_same_time_as_others_is_told_of_all_too() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            await memory() as one,
            await memory() as two,
            serving(hub) as there,
        ):
            first, second = one.sync(there.url), two.sync(there.url)
            for number in range(50):
                await hub.append("a", Noted(number))
                asking = asyncio.create_task(first.once())
                await asyncio.sleep(number * 0.0005)  # wherever it has got to by then
                if number % 2:
                    await asking
                [record] = await hub.append("a", Noted(number))
                await second.once()
                assert await two.find(record.id) is not None
                await asking

    run(main)


def test_a_proxy_that_keeps_events_back_is_noticed_and_passed_by() -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            await memory() as one,
            serving(hub, keeps_events_back=True) as there,
            one.sync(there.url) as sync,
        ):
            await sync.in_step()
            deadline = time.monotonic() + PATIENCE_S
            while not there.asked.get("/v1/wait"):
                assert time.monotonic() < deadline
                await hub.append("a", Noted(1))
                await asyncio.sleep(0.1)
            await same(hub, one)
            asked = there.asked["/v1/wait"]
            for number in range(5):
                await hub.append("a", Noted(number))
                await same(hub, one)
            assert there.asked["/v1/wait"] > asked
            for number in range(40):  # for longer than a line that was cut is not tried again
                await hub.append("a", Noted(number))
                await asyncio.sleep(0.1)
            assert there.proxy.kept_back == 1  # it is not tried again and again
            assert (await sync.status()).error == ""

    run(main)


def test_what_is_cut_on_the_way_comes_all_the_same() -> None:
    async def main() -> None:
        async with await memory() as hub, await memory() as one, serving(hub) as there:
            cuts = 0
            async with one.sync(there.url) as sync:
                for number in range(60):
                    await one.append("a", *(Noted(number) for _ in range(20)))
                    await hub.append("b", *(Noted(number) for _ in range(20)))
                    await asyncio.sleep(0.01 * (number % 5))
                    cuts += there.proxy.cut()
                await sync.in_step(timeout_s=PATIENCE_S)
            assert cuts >= 10
            assert await ids(one) == await ids(hub)
            assert len(await ids(one)) == 2400

    run(main)


def test_a_hub_that_is_away_is_waited_for_and_nothing_is_lost() -> None:
    async def main() -> None:
        async with await memory() as hub, await memory() as one:
            async with serving(hub) as there:
                sync = one.sync(at(there.port), token=TOKEN)
                await sync.__aenter__()
                await sync.in_step()
            await one.append("a", Noted(1))
            status = await until(sync, lambda status: status.tries >= 3)
            assert status.error.startswith("TransportFailed: http://127.0.0.1:")
            assert (status.hub, status.in_step) == (hub.ledger.identity.ledger, False)
            await one.append("a", Noted(2))
            with pytest.raises(TimeoutError):
                await sync.in_step(timeout_s=0.1)
            async with serving(hub, port=there.port):
                await sync.in_step(timeout_s=PATIENCE_S)
                assert await ids(one) == await ids(hub)
                assert (await sync.status()).error == ""
                await sync.stop()
            with pytest.raises(TransportFailed, match="cannot be reached"):
                await one.sync(at(there.port)).once()

    run(main)


def test_another_hub_at_the_same_place_is_met_anew() -> None:
    async def main() -> None:
        async with await memory() as hub, await memory() as other, await memory() as one:
            await hub.append("a", Noted(1))
            await other.append("b", Noted(2))
            async with serving(hub) as there:
                sync = one.sync(at(there.port))
                await sync.__aenter__()
                await sync.in_step()
            async with serving(other, port=there.port):
                await sync.in_step(timeout_s=PATIENCE_S)
                assert (await sync.status()).hub == other.ledger.identity.ledger
                assert await ids(one) == await ids(other)
                await sync.stop()

    run(main)


def test_a_hub_that_was_set_back_gets_back_what_it_has_lost(tmp_path: Path) -> None:
    from tests.sync.places import Place, SetBack

    async def main() -> None:
        place = Place("sqlite", tmp_path)
        async with SetBack(place, "hub") as hub, await memory() as one, await memory() as two:
            await hub.store.append("a", Noted(1))
            await hub.back_up()
            async with serving(hub.store, secret=SECRET) as there:
                first, second = one.sync(at(there.port)), two.sync(at(there.port))
                await first.__aenter__()
                await second.__aenter__()
                await one.append("b", *(Noted(number) for number in range(700)))
                await hub.store.append("a", Noted(3))
                await first.in_step(timeout_s=PATIENCE_S)
                await second.in_step(timeout_s=PATIENCE_S)
            await hub.restore()
            assert len(await ids(hub.store)) == 1
            await two.append("c", Noted(4))
            async with serving(hub.store, port=there.port, secret=SECRET):
                await first.in_step(timeout_s=PATIENCE_S)
                await second.in_step(timeout_s=PATIENCE_S)
                await same(hub.store, one, two)
                assert len(await ids(one)) == 703
                assert (await second.status()).held == ()
                await first.stop()
                await second.stop()

    run(main)


def test_an_append_to_a_strict_stream_is_made_at_the_hub() -> None:
    async def main() -> None:
        async with await memory(strict=["order-"]) as hub, await memory() as one:
            async with serving(hub) as there, one.sync(there.url) as sync:
                await sync.in_step()
                [record] = await one.append("order-1", Noted(1), expect=NEW, ids=["e1"])
                assert (record.version, record.hydrated) == (1, True)
                assert (await one.append("order-1", Noted(1), ids=["e1"]))[0].id == "e1"
                with pytest.raises(WrongVersion) as caught:
                    await one.append("order-1", Noted(2), expect=NEW)
                assert (caught.value.stream, caught.value.actual) == ("order-1", 1)
            with pytest.raises(Offline):
                await one.append("order-1", Noted(3))

    run(main)


@pytest.mark.parametrize("behind", [-1, 1])
def test_a_hub_of_another_protocol_is_named_and_tried_again(
    behind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with (
            await memory() as hub,
            await memory() as one,
            serving(hub) as there,
        ):
            await one.append("a", Noted(1))
            with monkeypatch.context() as other:
                other.setattr("everlog.sync.hub.PROTOCOL", 1 + behind)
                async with one.sync(there.url) as sync:
                    status = await until(sync, lambda status: status.tries >= 2)
                    assert status.error.startswith("NotSupported: this hub speaks protocol")
                    other.undo()  # the older of the two was updated
                    await sync.in_step(timeout_s=PATIENCE_S)
            assert await ids(one) == await ids(hub)

    run(main)


def test_a_clock_that_is_an_hour_ahead_is_set_right_by_the_hub() -> None:
    async def main() -> None:
        def fast() -> int:
            return time.time_ns() // 1_000_000 + 3_600_000

        async with (
            await memory() as hub,
            await memory(clock=fast) as one,
            await memory(clock=fast) as two,
            serving(hub) as there,
        ):
            await one.append("a", Noted(1), ids=["e1"])
            done = await one.sync(there.url).once()
            assert (done.restamped, done.held, done.in_step) == (1, 0, True)
            assert len(await ids(hub)) == 1
            # Of what others may have, nothing is stamped anew: it is held until its time has come.
            async with await memory(max_offset_s=7200) as third:
                await third.sync(two).once()
                await two.append("b", Noted(2), ids=["e2"])
                await third.sync(two).once()
            async with two.sync(there.url) as sync:
                await sync.in_step(timeout_s=PATIENCE_S)
                [held] = (await sync.status()).held
                assert (held.id, held.verdict) == ("e2", "clock_ahead")
            assert await two.find("e2") is not None

    run(main)


def test_what_is_no_hub_is_said_before_anything_is_sent() -> None:
    async def main() -> None:
        async with await memory() as one, await memory() as hub:
            for url in ("http://hub.example.com", "https://a:b@hub", "sqlite:///hub.db", "hub"):
                with pytest.raises(InvalidUrl):
                    one.sync(url)
            with pytest.raises(InvalidInput, match="not shown"):
                one.sync("https://hub.example.com", token="two words")
            with pytest.raises(InvalidInput, match="for a hub's URL"):
                one.sync(hub, token=TOKEN)

    run(main)


def test_no_log_error_or_repr_has_the_token(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with await memory() as hub, await memory() as one:
            async with serving(hub) as there:
                sync = one.sync(at(there.port), token=TOKEN)
                await sync.__aenter__()
                await sync.in_step()
                await hub.append("a", Noted(1))
                await same(hub, one)
                shown = [repr(sync), repr(await sync.status())]
            shown.append(repr(await until(sync, lambda status: status.tries >= 2)))
            await sync.stop()
            with pytest.raises(TransportFailed) as caught:
                await one.sync(at(there.port), token=TOKEN).once()
            error: BaseException | None = caught.value
            while error is not None:
                shown += [repr(error), str(error), repr(error.__dict__)]
                error = error.__cause__ or error.__context__
            assert not [each for each in shown if TOKEN in each]

    with caplog.at_level(logging.DEBUG):
        run(main)
    assert any("HTTP" in record.getMessage() for record in caplog.records)
    assert not [record for record in caplog.records if TOKEN in record.getMessage()]
