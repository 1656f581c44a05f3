"""Nothing hangs or spins: hooks that wait for the sync, hubs that are silent, or talk nonsense."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from everlog import NEW, EventStore
from everlog.errors import OutcomeUnknown, StoreClosed, TransportFailed
from everlog.subscriptions.projector import Appended
from everlog.sync import patience, syncing
from everlog.wire.messages import Asked, Forked, Made, Pulled
from tests.store.watched import Noted, run
from tests.sync.places import Place
from tests.sync.test_bad_input import Line, store


def test_a_hook_that_appends_to_a_strict_stream_does_not_wait_for_itself(place: Place) -> None:
    async def main() -> None:
        versions: list[int] = []
        ordered = asyncio.Event()
        async with (
            place.open("hub", strict=["order-"]) as [hub],
            place.open("one") as [one],
            one.sync(hub) as sync,
        ):
            await sync.in_step()

            async def order(appended: Appended) -> None:
                for record in appended.records:
                    if record.stream == "wishes":
                        async with asyncio.timeout(5):
                            [made] = await one.append("order-1", Noted(1), expect=NEW)
                        versions.append(made.version)
                        ordered.set()

            one.on_appended(order)
            await hub.append("wishes", Noted(1))
            await sync.in_step()
            async with asyncio.timeout(5):
                await ordered.wait()
        assert versions == [1]

    run(main)


def test_a_hook_may_wait_for_the_sync_and_stop_it() -> None:
    async def main() -> None:
        said: list[str] = []
        async with store() as hub, store() as one, one.sync(hub) as sync:

            async def tell(_: Appended) -> None:
                async with asyncio.timeout(5):
                    await sync.in_step()
                    said.append("in step")
                    await sync.stop()
                    said.append("stopped")

            one.on_appended(tell)
            await hub.append("a", Noted(1))
            await sync.wait()
            await one.drained()
        assert said == ["in step", "stopped"]

    run(main)


class Silent(Line):
    """A hub that does not answer what it is asked."""

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        await asyncio.Event().wait()
        raise AssertionError

    async def append(self, hub: str, request: Any) -> Made:
        await asyncio.Event().wait()
        raise AssertionError


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(patience, "ANSWER_S", 0.05)
        async with store() as hub, store() as one:
            with pytest.raises(TransportFailed, match=r"has not answered for 0\.05 s"):
                await one.sync(Silent(hub.as_hub())).once()
            async with one.sync(Silent(hub.as_hub())) as sync:
                await asyncio.sleep(0.5)
                status = await sync.status()
                assert status.error.startswith("TransportFailed")
                assert status.tries

    run(main)


def test_a_stop_does_not_wait_for_a_hub_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        monkeypatch.setattr(syncing, "STOP_S", 0.05)
        async with (
            store() as hub,
            store() as one,
            asyncio.timeout(5),
            one.sync(Silent(hub.as_hub())),
        ):
            await asyncio.sleep(0.05)

    run(main)


def test_what_became_of_an_append_at_a_hub_that_does_not_answer_is_not_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Deaf(Line):
        append = Silent.append

    async def main() -> None:
        monkeypatch.setattr(patience, "ANSWER_S", 0.05)
        async with (
            EventStore.open("memory:", events=[Noted], strict=["order-"]) as hub,
            store() as one,
            one.sync(Deaf(hub.as_hub())) as sync,
        ):
            await sync.in_step()
            with pytest.raises(OutcomeUnknown):
                await one.append("order-1", Noted(1))

    run(main)


def test_a_line_that_is_cut_is_tried_again() -> None:
    class Cut(Line):
        cuts = 2

        async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
            if self.cuts:
                self.cuts -= 1
                raise ConnectionResetError("cut")
            return await super().pull(asked, size=size)

    async def main() -> None:
        async with store() as hub, store() as one:
            await hub.append("a", Noted(1))
            async with one.sync(Cut(hub.as_hub())) as sync:
                await sync.in_step(timeout_s=30)
            assert (await one.info()).position == 1

    run(main)


@pytest.mark.parametrize("lie", [True, False])
def test_a_hub_that_always_says_it_has_news_is_not_asked_all_the_time(lie: bool) -> None:
    class Restless(Line):
        asked = 0

        async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
            self.asked += 1
            return await super().pull(asked, size=size)

        async def wait(self, position: int, *, timeout_s: float) -> int:
            if lie:
                return position + 1
            raise TransportFailed("cannot wait")

    async def main() -> None:
        async with store() as hub, store() as one:
            line = Restless(hub.as_hub())
            async with one.sync(line):
                await asyncio.sleep(0.5)
            assert 1 < line.asked < 50

    run(main)


def test_the_status_says_what_a_sync_has_stopped_of() -> None:
    async def main() -> None:
        async with store() as one:
            hub = await store()
            sync = one.sync(hub)
            await sync.__aenter__()
            await sync.in_step()
            await hub.close()
            with pytest.raises(StoreClosed):
                await sync.wait()
            status = await sync.status()
            assert status.error.startswith("StoreClosed")
            assert not status.in_step
            assert not status.works
            await sync.stop()

    run(main)


class Watched(Line):
    """A hub that tells when it was asked for a piece."""

    asked = 0
    begun: asyncio.Event

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        self.asked += 1
        self.begun.set()
        return await super().pull(asked, size=size)


def test_a_stop_waits_for_the_message_at_hand_and_not_for_all_that_follow() -> None:
    async def main() -> None:
        async with store() as hub, store() as one:
            for number in range(10):
                await hub.append(f"a{number}", *[Noted(each) for each in range(500)])
            line = Watched(hub.as_hub())
            line.begun = asyncio.Event()
            async with one.sync(line) as sync:
                await line.begun.wait()
                await sync.stop()
                await sync.wait()
            assert line.asked <= 2
            assert (await one.info()).position in (500, 1000)
            await one.sync(line).once()
            assert (await one.info()).position == 5000

    run(main)
