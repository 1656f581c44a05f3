"""A durable subscription: each record once, in order; what fails holds up its own stream."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from everlog import EventStore, Projector, Record, Tx, event, retry, to
from everlog.errors import HandlerFailed, InvalidInput, MisusedStore, NotFound, UnknownEvent
from everlog.subscriptions import subscription as subscription_module
from everlog.subscriptions import worker as worker_module
from everlog.subscriptions.policies import Policy
from everlog.subscriptions.subscription import Subscription
from everlog.subscriptions.worker import Worker
from tests.store.watched import Noted, Said, run
from tests.subscriptions.durable.places import Place


@event("unknown-here")
@dataclass
class Other:
    """An event that the store is not given."""


QUICK = retry(3, first_s=0.01)


class Broken(Exception):
    """What a handler fails with."""


def writing(place: Place, fails: Callable[[Record[Any]], bool] = lambda record: False) -> Projector:
    """Returns a projector that writes down what it handles."""
    projector = Projector()

    @projector.all(Noted)
    async def write(record: Record[Noted], tx: Tx) -> None:
        if place.kind != "postgres":
            await tx.execute(place.create)
        await tx.execute(place.insert, (record.position, record.stream, record.data.number))
        if fails(record):
            raise Broken(f"number {record.data.number}")

    return projector


async def note(store: EventStore, *numbers: int, stream: str = "a") -> None:
    await store.append(stream, *(Noted(number) for number in numbers))


async def many(store: EventStore, count: int, streams: int) -> None:
    await store.append_many([to(f"s-{n % streams}", Noted(n)) for n in range(count)])


def test_a_read_model_is_what_the_log_says_and_goes_on_where_it_was(place: Place) -> None:
    async def main() -> None:
        projector = writing(place)
        async with place.store() as store:
            await many(store, 1_200, 7)
            async with store.subscription("view", projector) as subscription:
                await subscription.caught_up()
                assert [row[0] for row in place.handled()] == list(range(1, 1_201))
                await note(store, 1, 2)  # live
                await subscription.caught_up()
            await note(store, 3)
            [status] = await store.subscriptions.status()
            assert (status.position, status.lag, status.workers) == (1_202, 1, ())
        async with place.store() as store:
            async with store.subscription("view", projector) as subscription:
                await subscription.caught_up()
            [status] = await store.subscriptions.status()
            assert (status.name, status.lag, status.lag_s, status.error) == ("view", 0, 0.0, "")
        rows = place.handled()
        assert [row[0] for row in rows] == list(range(1, 1_204))
        assert [row[2] for row in rows[-3:]] == [1, 2, 3]

    run(main)


@pytest.mark.parametrize("live", [False, True], ids=["in a batch", "live"])
def test_what_fails_is_parked_and_holds_up_its_own_stream_in_order(
    place: Place, live: bool
) -> None:
    async def main() -> None:
        broken = True

        def fails(record: Record[Noted]) -> bool:
            return broken and record.stream == "s-3" and record.data.number == 13

        projector = writing(place, fails)
        async with place.store() as store:
            if not live:
                await many(store, 1_000, 10)
            async with store.subscription("view", projector, on_error=QUICK) as subscription:
                if live:
                    for first in range(0, 1_000, 10):
                        items = [to(f"s-{n % 10}", Noted(n)) for n in range(first, first + 10)]
                        await store.append_many(items)
                await subscription.caught_up()
                others = [number for _, stream, number in place.handled() if stream != "s-3"]
                assert others == [n for n in range(1_000) if n % 10 != 3]
                assert [row[2] for row in place.handled() if row[1] == "s-3"] == [3]

                await until(lambda: counts(store), (1, 0, 98))
                broken_one, *behind = await store.subscriptions.parked("view")
                assert (broken_one.status, broken_one.tries) == ("parked", 3)
                assert (broken_one.stream, broken_one.error) == ("s-3", "Broken: number 13")
                assert {each.status for each in behind} == {"behind"}

                broken = False
                assert await store.subscriptions.retry("view", stream="s-3") == 1
                await until(lambda: counts(store), (0, 0, 0))
                ours = [row[2] for row in place.handled() if row[1] == "s-3"]
                assert ours == list(range(3, 1_000, 10))

    run(main)


async def counts(store: EventStore) -> tuple[int, int, int]:
    [status] = await store.subscriptions.status()
    return status.parked, status.retrying, status.behind


async def until(look: Callable[[], Any], wanted: object) -> None:
    deadline = time.monotonic() + 15
    while (found := await look()) != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


def test_a_record_that_fails_for_a_while_is_tried_again_by_itself(place: Place) -> None:
    async def main() -> None:
        tries = 0

        def fails(record: Record[Noted]) -> bool:
            nonlocal tries
            tries += record.data.number == 2
            return record.data.number == 2 and tries < 3

        async with (
            place.store() as store,
            store.subscription(
                "view", writing(place, fails), on_error=retry(9, first_s=0.01)
            ) as subscription,
        ):
            await note(store, 1, 2, 3)
            await subscription.caught_up()
            await until(lambda: counts(store), (0, 0, 0))
            assert [row[2] for row in place.handled()] == [1, 2, 3]
            assert await store.subscriptions.parked("view") == []

    run(main)


def test_a_skipped_record_leaves_a_trace_and_nothing_waits(place: Place) -> None:
    async def main() -> None:
        projector = writing(place, lambda record: record.data.number == 2)
        async with (
            place.store() as store,
            store.subscription("view", projector, on_error="skip") as subscription,
        ):
            await note(store, 1, 2, 3)
            await subscription.caught_up()
            assert [row[2] for row in place.handled()] == [1, 3]
            [trace] = await store.subscriptions.parked("view")
            assert (trace.status, trace.position) == ("skipped", 2)
            assert await counts(store) == (0, 0, 0)

    run(main)


def test_a_dropped_record_leaves_a_trace_and_what_was_behind_it_follows(place: Place) -> None:
    async def main() -> None:
        projector = writing(place, lambda record: record.data.number == 2)
        async with (
            place.store() as store,
            store.subscription("view", projector, on_error="park") as subscription,
        ):
            await note(store, 1, 2, 3, 4)
            await subscription.caught_up()
            assert [row[2] for row in place.handled()] == [1]
            assert await store.subscriptions.drop("view", position=2) == 1
            await until(lambda: counts(store), (0, 0, 0))
            assert [row[2] for row in place.handled()] == [1, 3, 4]
            [trace] = await store.subscriptions.parked("view", stream="a")
            assert trace.status == "dropped"

    run(main)


@pytest.mark.parametrize("policy", ["stop", retry(2, first_s=0.01, then="stop")], ids=str)
def test_a_subscription_that_stops_says_why_and_loses_nothing(place: Place, policy: Policy) -> None:
    async def main() -> None:
        broken = True
        projector = writing(place, lambda record: broken and record.data.number == 2)
        async with place.store() as store:
            await note(store, 1, 2, 3)
            with pytest.raises(HandlerFailed) as caught:
                async with store.subscription("view", projector, on_error=policy) as subscription:
                    await subscription.wait()
            assert isinstance(caught.value.__cause__, Broken)
            [status] = await store.subscriptions.status()
            assert status.error == "Broken: number 2"
            assert [row[2] for row in place.handled()] == [1]
            broken = False
            async with store.subscription("view", projector, on_error=policy) as subscription:
                await store.subscriptions.retry("view")
                await subscription.caught_up()
                await until(lambda: counts(store), (0, 0, 0))
            assert [row[2] for row in place.handled()] == [1, 2, 3]

    run(main)


def test_a_statement_that_fails_late_fails_the_record_it_belongs_to(place: Place) -> None:
    async def main() -> None:
        projector = Projector()

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Tx) -> None:
            if place.kind != "postgres":
                await tx.execute(place.create)
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))
            if record.data.number % 10 == 7:
                await tx.execute("INSERT INTO missing VALUES (1)")

        async with place.store() as store:
            await many(store, 30, 30)
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up()
            wanted = [n for n in range(30) if n % 10 != 7]
            assert [row[2] for row in place.handled()] == wanted
            parked = await store.subscriptions.parked("view")
            assert [each.position for each in parked] == [8, 18, 28]
            assert all("missing" in each.error for each in parked)

    run(main)


@pytest.mark.parametrize("caught", [False, True])
def test_a_handler_that_would_end_the_transaction_fails_and_stops_nobody(
    place: Place, caught: bool
) -> None:
    async def main() -> None:
        projector = Projector()

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Tx) -> None:
            if place.kind != "postgres":
                await tx.execute(place.create)
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))
            if record.data.number == 2:
                try:
                    await tx.execute("COMMIT")
                except MisusedStore:
                    if not caught:
                        raise

        async with place.store() as store:
            for number in range(5):
                await note(store, number, stream=f"s-{number}")
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up()
            assert [row[2] for row in place.handled()] == [0, 1, 3, 4]
            [parked] = await store.subscriptions.parked("view")
            assert "MisusedStore" in parked.error

    run(main)


@pytest.mark.parametrize("from_", ["now", 2, "token"])
def test_it_begins_where_it_is_told_and_only_the_first_time(place: Place, from_: Any) -> None:
    async def main() -> None:
        async with place.store() as store:
            await note(store, 1, 2)
            start = (await store.info()).token if from_ == "token" else from_
            projector = writing(place)
            async with store.subscription("view", projector, from_=start) as subscription:
                await note(store, 3)
                await subscription.caught_up()
            async with store.subscription("view", projector, from_="beginning") as subscription:
                await note(store, 4)
                await subscription.caught_up()
            assert [row[2] for row in place.handled()] == [3, 4]

    run(main)


def test_records_that_nobody_handles_are_passed_and_read_your_writes_holds(place: Place) -> None:
    async def main() -> None:
        async with (
            place.store() as store,
            store.subscription("view", writing(place)) as subscription,
        ):
            for number in range(5):
                [record] = await store.append("a", Said("x"))
                await subscription.caught_up(record.position, timeout_s=30)
                [record] = await store.append("a", Noted(number))
                await subscription.caught_up(record.position, timeout_s=30)
                assert place.handled()[-1][0] == record.position

    run(main)


def test_handlers_in_threads_write_in_the_same_transaction(place: Place) -> None:
    async def main() -> None:
        projector = Projector()

        @projector.all(Noted)
        def write(record: Record[Noted], tx: Any) -> None:
            if place.kind != "postgres":
                tx.execute(place.create)
            tx.execute(place.insert, (record.position, record.stream, record.data.number))
            [[count]] = tx.fetch("SELECT count(*) FROM handled")
            assert count == record.position
            if record.data.number == 2:
                raise Broken

        async with place.store() as store:
            await note(store, 1, 2)
            async with store.subscription("view", projector, on_error="park") as subscription:
                await subscription.caught_up()
            assert [row[2] for row in place.handled()] == [1]

    run(main)


def test_a_store_that_is_closed_stops_its_subscriptions_after_the_record_at_hand(
    place: Place,
) -> None:
    async def main() -> None:
        began = asyncio.Event()
        projector = Projector()

        @projector.all(Noted)
        async def write(record: Record[Noted], tx: Tx) -> None:
            if place.kind != "postgres":
                await tx.execute(place.create)
            began.set()
            await asyncio.sleep(0.05)
            await tx.execute(place.insert, (record.position, record.stream, record.data.number))

        store = await place.store()
        await note(store, 1, 2, 3)
        subscription = store.subscription("view", projector)
        await subscription.__aenter__()
        await began.wait()
        await store.close()
        await subscription.wait()
        assert not subscription.is_running
        assert [row[2] for row in place.handled()] == [1]
        async with place.store() as store, store.subscription("view", projector) as subscription:
            await subscription.caught_up()
        assert [row[2] for row in place.handled()] == [1, 2, 3]

    run(main)


def test_who_loses_its_leases_between_two_steps_takes_them_again_and_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = 0
    try_again = Worker._try_again  # pyright: ignore[reportPrivateUsage]

    async def lose(worker: Worker) -> None:
        nonlocal lost
        await try_again(worker)
        if lost < 2:
            lost += 1
            worker.holding.forget()  # as who renews them does when another has taken them over

    monkeypatch.setattr(Worker, "_try_again", lose)

    async def main() -> None:
        async with (
            place.store() as store,
            store.subscription("view", writing(place), lease_s=0.5) as subscription,
        ):
            await note(store, 1, 2, 3)
            await subscription.caught_up()
            assert [row[2] for row in place.handled()] == [1, 2, 3]

    run(main)
    assert lost == 2


def test_what_is_dealt_with_while_somebody_looks_is_not_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_module, "POLL_S", 60.0)
    monkeypatch.setattr(worker_module, "IDLE_S", 60.0)
    has_caught_up = Subscription._has_caught_up  # pyright: ignore[reportPrivateUsage]

    async def slow(subscription: Subscription, position: int) -> bool:
        found = await has_caught_up(subscription, position)
        while await subscription.position() < position:  # noqa: ASYNC110 - nobody says so
            await asyncio.sleep(0.001)
        return found

    monkeypatch.setattr(Subscription, "_has_caught_up", slow)

    async def main() -> None:
        async with place.store() as store:
            await note(store, 1, 2, 3)
            async with store.subscription("view", writing(place)) as subscription:
                await subscription.caught_up(timeout_s=10)

    run(main)


def test_bad_input_is_refused_before_anything_is_kept(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            projector = writing(place)
            stranger = Projector()

            @stranger.all(Other)
            async def wait(record: Record[Other]) -> None: ...

            refusals: tuple[Callable[[], object], ...] = (
                lambda: store.subscription("", projector),
                lambda: store.subscription("view", Projector()),
                lambda: store.subscription("view", projector, slices=0),
                lambda: store.subscription("view", projector, lease_s=0.01),
                lambda: store.subscription("view", projector, from_=-1),
                lambda: store.subscription("view", projector, from_="no token"),
                lambda: store.subscription("view", projector, on_error="ignore"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
                lambda: store.subscription("view", write_nothing),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            )
            for refused in refusals:
                with pytest.raises(InvalidInput):
                    refused()
            with pytest.raises(UnknownEvent):
                store.subscription("view", stranger)
            with pytest.raises(InvalidInput, match="no record at position"):
                async with store.subscription("view", projector, from_=5):
                    pass
            with pytest.raises(NotFound):
                await store.subscriptions.remove("view")
            assert await store.subscriptions.status() == []

    run(main)


def write_nothing() -> None:
    """Is no projector."""


def test_a_status_says_who_works_and_how_long_what_is_behind_has_waited(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            async with store.subscription("view", writing(place), slices=2) as subscription:
                await note(store, 1)
                await subscription.caught_up()
                [status] = await store.subscriptions.status()
                [worker] = status.workers  # one, though it holds two slices
                assert worker.split(":")[1] == str(os.getpid())
                assert (status.slices, status.lag_s) == (2, 0.0)
            await note(store, 2)
            await asyncio.sleep(0.2)
            await note(store, 3)
            [status] = await store.subscriptions.status()
            assert status.workers == ()
            assert (status.position, status.lag) == (1, 2)
            assert 0.2 <= status.lag_s < 20  # of the first one that waits, not of the last

    run(main)
