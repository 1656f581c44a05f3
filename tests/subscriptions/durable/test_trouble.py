"""Handlers that do what no handler should, and workers that go on all the same."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from everlog import Projector, Record, Tx, retry
from everlog.errors import HandlerFailed, StorageFailed
from tests.store.watched import Noted, run
from tests.subscriptions.durable.places import Place
from tests.subscriptions.durable.test_running import counts, many, note, until, writing


class Odd(BaseException):
    """What no `except Exception` catches."""


class Speechless(Exception):
    """Cannot even be put into words."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [SystemExit(3), Odd()], ids=repr)
@pytest.mark.parametrize("is_async", [True, False])
def test_what_is_no_exception_is_a_failure_of_the_record_as_well(
    place: Place, error: BaseException, is_async: bool
) -> None:
    async def main() -> None:
        projector = Projector()

        async def write(record: Record[Noted], tx: Tx) -> None:
            if place.kind != "postgres":
                await tx.execute(place.create)
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))
            if record.data.number == 2:
                raise error

        def write_in_thread(record: Record[Noted], tx: Any) -> None:
            if place.kind != "postgres":
                tx.execute(place.create)
            tx.execute(place.insert, (record.position, record.stream, record.data.number))
            if record.data.number == 2:
                raise error

        projector.all(Noted)(write if is_async else write_in_thread)
        async with place.store() as store:
            for number in range(5):
                await note(store, number, stream=f"s-{number}")
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up(timeout_s=30)
            assert [row[2] for row in place.handled()] == [0, 1, 3, 4]
            [parked] = await store.subscriptions.parked("view")
            assert type(error).__name__ in parked.error

    run(main)


@pytest.mark.parametrize(
    "error", [ValueError("a file \udcff"), Speechless()], ids=["bytes", "none"]
)
def test_an_error_in_words_that_cannot_be_kept_is_parked_like_another(
    place: Place, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Captured, such words could not even be sent from one process of pytest to another.
    monkeypatch.setattr(logging.getLogger("everlog"), "disabled", True)

    async def main() -> None:
        def fails(record: Record[Noted]) -> bool:
            if record.data.number == 2:
                raise error
            return False

        async with place.store() as store:
            await note(store, 1, 2)
            await note(store, 3, stream="b")
            async with store.subscription(
                "view", writing(place, fails), on_error="park"
            ) as subscription:
                await subscription.caught_up(timeout_s=30)
            assert [row[2] for row in place.handled()] == [1, 3]
            [parked] = await store.subscriptions.parked("view")
            assert parked.error.startswith(type(error).__name__)

    run(main)


def test_a_stream_with_many_traces_is_gone_on_with(place: Place) -> None:
    async def main() -> None:
        broken = True
        tried = 0

        def fails(record: Record[Noted]) -> bool:
            nonlocal tried
            tried += 1
            return broken

        async with place.store() as store:
            await note(store, *range(120))
            projector = writing(place, fails)
            async with store.subscription("view", projector, on_error="skip") as subscription:
                await subscription.caught_up()
            traces = await store.subscriptions.parked("view")
            assert [trace.status for trace in traces] == ["skipped"] * 120
            async with store.subscription("view", projector, on_error="park") as subscription:
                await note(store, 120, 121)
                await subscription.caught_up()
                await until(lambda: counts(store), (1, 0, 1))
                broken = False
                await store.subscriptions.retry("view")
                await until(lambda: counts(store), (0, 0, 0))
            assert [row[2] for row in place.handled()] == [120, 121]

    run(main)


@pytest.mark.parametrize("policy", ["skip", "stop", "park"])
def test_a_place_that_fails_under_a_handler_is_no_failure_of_its_record(
    place: Place, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        gone = 0
        projector = Projector()

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Any) -> None:
            nonlocal gone
            if place.kind != "postgres":
                await tx.execute(place.create)
            if record.data.number == 2 and gone < 3:
                gone += 1
                break_place(place, tx, monkeypatch)
            await tx.fetch("SELECT 1")
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))

        async with place.store() as store:
            await note(store, 1, 2, 3)
            async with store.subscription("view", projector, on_error=policy) as subscription:
                await subscription.caught_up()
            assert gone == 3
            assert [row[2] for row in place.handled()] == [1, 2, 3]
            assert await store.subscriptions.parked("view") == []

    run(main)


def break_place(place: Place, tx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the place fail at the next statement, and be well again."""
    if place.kind == "postgres":
        place.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND state LIKE 'idle in transaction%'"
        )
        return
    work = tx._writer.work

    def fail(*args: Any, **kw: Any) -> Any:
        tx._writer.work = work
        raise StorageFailed("the disk is gone for a moment")

    tx._writer.work = fail


def test_all_who_wait_are_told_of_what_a_worker_has_stopped(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            projector = writing(place, lambda record: True)
            subscription = store.subscription("view", projector, on_error="stop")
            async with asyncio.timeout(10):
                await subscription.__aenter__()
                waiting = [
                    asyncio.create_task(subscription.caught_up(1)),
                    asyncio.create_task(subscription.caught_up(1)),
                    asyncio.create_task(subscription.wait()),
                ]
                await note(store, 1)
                found = await asyncio.gather(*waiting, return_exceptions=True)
                assert [type(each) for each in found] == [HandlerFailed] * 3
                with pytest.raises(HandlerFailed):
                    await subscription.wait()

    run(main)


def test_a_batch_that_fails_late_is_stopped_after_the_record_at_hand(place: Place) -> None:
    async def main() -> None:
        began = asyncio.Event()
        failed = False
        calls = 0
        projector = Projector()

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Tx) -> None:
            nonlocal failed, calls
            calls += 1
            if place.kind != "postgres":
                await tx.execute(place.create)
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))
            if record.data.number == 300:
                failed = True
                await tx.execute("INSERT INTO missing VALUES (1)")
            elif failed:
                began.set()
                await asyncio.sleep(0.05)

        async with place.store() as store:
            await many(store, 301, 301)
            async with store.subscription("view", projector, on_error="park") as subscription:
                await began.wait()
                before = calls
                await subscription.stop()
                assert calls - before <= 2
            async with store.subscription("view", projector, on_error="park") as subscription:
                failed = False
                await subscription.caught_up()
            assert [row[2] for row in place.handled()] == list(range(300))

    run(main)


@pytest.mark.parametrize("policy", ["park", retry(4, first_s=0.01)], ids=["park", "retry"])
def test_a_record_that_breaks_its_connection_again_and_again_is_set_aside(
    place: Place, policy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        projector = Projector()
        tries = 0

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Any) -> None:
            nonlocal tries
            if place.kind != "postgres":
                await tx.execute(place.create)
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))
            if record.data.number == 2:
                tries += 1
                if place.kind == "postgres":
                    await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                else:
                    break_place(place, tx, monkeypatch)

        async with place.store(timeout_s=0.5) as store:
            for number in range(5):
                await note(store, number, stream=f"s-{number}")
            async with store.subscription("view", projector, on_error=policy) as subscription:
                await subscription.caught_up(timeout_s=20)
                [status] = await store.subscriptions.status()
                assert status.error == ""
            assert [row[2] for row in place.handled()] == [0, 1, 3, 4]
            [parked] = await store.subscriptions.parked("view")
            assert (parked.status, parked.position) == ("parked", 3)
            assert 3 <= tries <= 6

    run(main)
