"""Subscriptions that are ended at a bad moment, or by their own handlers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from everlog import Appended, Projector, Record, Tx
from everlog.errors import FileReplaced, MisusedStore, StoreClosed
from everlog.subscriptions.subscription import Subscription
from tests.store.watched import Noted, run
from tests.subscriptions.durable.places import Place
from tests.subscriptions.durable.test_running import note, until, writing


async def more_threads(before: int) -> bool:
    return threading.active_count() > before


def test_a_handler_that_never_returns_is_cancelled_when_the_time_of_a_close_is_over(
    place: Place,
) -> None:
    async def main() -> None:
        began = asyncio.Event()
        projector = Projector()

        @projector.all(Noted)
        async def wait(record: Record[Noted]) -> None:
            began.set()
            await asyncio.Event().wait()

        store = await place.store()
        await note(store, 1)
        subscription = store.subscription("view", projector)
        await subscription.__aenter__()
        await began.wait()
        async with asyncio.timeout(10):
            await store.close(timeout_s=0.2)
        assert not subscription.is_running
        assert [task for task in asyncio.all_tasks() if "everlog" in task.get_name()] == []

    run(main)


@pytest.mark.parametrize("swallows", [False, True])
def test_a_handler_that_cancels_its_own_task_fails_and_its_worker_goes_on(
    place: Place, swallows: bool
) -> None:
    async def main() -> None:
        projector = Projector()

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Tx) -> None:
            if place.kind != "postgres":
                await tx.execute(place.create)
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))
            if record.data.number == 2:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                if not swallows:
                    await asyncio.sleep(1)

        async with place.store() as store:
            for number in range(5):
                await note(store, number, stream=f"s-{number}")
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up(timeout_s=30)
                assert subscription.is_running
            assert [row[2] for row in place.handled()] == [0, 1, 3, 4]
            [parked] = await store.subscriptions.parked("view")
            assert parked.position == 3

    run(main)


@pytest.mark.parametrize("what", ["stop", "wait", "caught_up", "close"])
def test_a_handler_that_ends_its_own_subscription_does_not_wait_for_itself(
    place: Place, what: str
) -> None:
    async def main() -> None:
        projector = Projector()
        subscription: Subscription
        errors: list[BaseException] = []
        before = threading.active_count()

        @projector.all(Noted)
        async def end(record: Record[Noted], tx: Tx) -> None:
            calls: dict[str, Callable[[], Any]] = {
                "stop": subscription.stop,
                "wait": subscription.wait,
                "caught_up": subscription.caught_up,
                "close": store.close,
            }
            try:
                async with asyncio.timeout(5):
                    await calls[what]()
            except BaseException as error:
                errors.append(error)
                raise

        store = await place.store()
        async with asyncio.timeout(15):
            await note(store, 1)
            subscription = store.subscription("view", projector, on_error="park")
            async with subscription:
                if what in ("stop", "close"):
                    await subscription.wait()
                else:
                    await subscription.caught_up()
            if what != "close":
                await store.close()
        kinds = {type(error) for error in errors}
        assert kinds == (set() if what in ("stop", "close") else {MisusedStore})
        await until(lambda: more_threads(before), False)

    run(main)


def test_nothing_is_opened_anew_while_a_store_is_being_closed(place: Place) -> None:
    async def main() -> None:
        projector = writing(place)
        before = threading.active_count()
        store = await place.store()
        found: list[object] = []

        @store.on_appended
        async def look(appended: Appended) -> None:
            await asyncio.sleep(0.2)
            try:
                found.append(await store.subscriptions.status())
            except StoreClosed as error:
                found.append(error)

        async with store.subscription("view", projector) as subscription:
            appending = asyncio.create_task(note(store, 1))
            assert await store.wait(after=0, timeout_s=30) == 1
            await subscription.caught_up()
        await store.close()
        await appending
        assert len(found) == 1
        await until(lambda: more_threads(before), False)

    run(main)


def test_a_file_that_was_exchanged_ends_the_worker(tmp_path: Path) -> None:
    async def main() -> None:
        place = Place("sqlite", f"sqlite:///{tmp_path / 'log.db'}")
        async with place.store() as store:
            subscription = store.subscription("view", writing(place))
            await subscription.__aenter__()
            await note(store, 1)
            await subscription.caught_up()
            os.replace(tmp_path / "log.views.db", tmp_path / "elsewhere.db")
            await note(store, 2)
            async with asyncio.timeout(10):
                with pytest.raises(FileReplaced):
                    await subscription.wait()

    run(main)


def test_a_removed_subscription_has_not_caught_up(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            first = store.subscription("view", writing(place), lease_s=0.3)
            second = store.subscription("view", writing(place), lease_s=0.3)
            async with first, second:
                await note(store, 1)
                await second.caught_up()
                await first.stop()
                await second.stop()
                await store.subscriptions.remove("view")
                with pytest.raises(TimeoutError):
                    await second.caught_up(1, timeout_s=0.3)

    run(main)
