"""Effects: each called once, in order within its lane, and known for what it is whatever dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from everlog import EventStore, Projector, Record, Tx, retry, to
from everlog.core.portable import parse
from everlog.errors import (
    EventDefinitionError,
    HandlerFailed,
    InvalidInput,
    MisusedStore,
    NotFound,
    NotPortable,
    StorageFailed,
    WrongVersion,
)
from everlog.ports.effects import Effect
from everlog.subscriptions.effects import OnAmbiguous, Outcome
from everlog.subscriptions.projector import OnError, OnSuccess
from tests.store.watched import Noted, Said, run
from tests.subscriptions.durable.places import Place

QUICK = retry(3, first_s=0.01)


class Broken(Exception):
    """What a handler fails with."""


async def note(store: EventStore, *numbers: int, stream: str = "a") -> list[Record[Any]]:
    return await store.append(stream, *(Noted(number) for number in numbers))


async def until(look: Callable[[], Any], wanted: object, timeout_s: float = 8) -> None:
    deadline = time.monotonic() + timeout_s
    while (found := await look()) != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


async def statuses(store: EventStore, name: str = "mails") -> list[str]:
    return [each.status for each in await store.subscriptions.effects(name)]


async def settled(store: EventStore, *wanted: str, name: str = "mails") -> list[Effect]:
    """Waits until the effects of a subscription stand so; returns them."""
    await until(lambda: statuses(store, name), list(wanted))
    return await store.subscriptions.effects(name)


class Receiver:
    """Something outside, that notes what it is asked to do."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.keys: list[str] = []
        self.failing: Callable[[int], bool] = lambda number: False

    async def take(self, record: Record[Noted]) -> int:
        self.numbers.append(record.data.number)
        self.keys.append(record.idempotency_key)
        if self.failing(record.data.number):
            raise Broken(f"number {record.data.number}")
        return record.data.number


def mailing(
    receiver: Receiver,
    *,
    on_success: OnSuccess | None = None,
    on_error: OnError | None = None,
    on_ambiguous: OnAmbiguous | None = None,
) -> Projector:
    """Returns a projector with one effect, which is idempotent unless it is said otherwise."""
    projector = Projector()

    @projector.once(
        Noted,
        name="mail",
        on_success=on_success,
        on_error=on_error,
        on_ambiguous=on_ambiguous,
        idempotent=on_ambiguous is None,
    )
    async def mail(record: Record[Noted]) -> int:
        return await receiver.take(record)

    return projector


def table_of(place: Place) -> str:
    return "everlog.subscription_effects" if place.kind == "postgres" else "everlog_effects"


async def crashed(store: EventStore, place: Place, position: int, status: str = "intent") -> None:
    """Has an effect stand as a worker has left it that was killed during the call."""
    place.ask(
        f"UPDATE {table_of(place)} SET status = '{status}', due = NULL, tries = 1 "
        f"WHERE position = {position} AND status = 'pending'"
    )


async def owed(store: EventStore, projector: Projector, *numbers: int) -> None:
    """Has effects be owed by a worker that stops before it has begun any of them."""
    async with store.subscription("mails", projector, from_="now", effects_at_once=1) as worker:
        worker._worker._performing._most = 0  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
        await note(store, *numbers)
        await worker.caught_up()


def test_an_effect_is_called_once_for_each_event_that_is_born_here(place: Place) -> None:
    async def main() -> None:
        receiver = Receiver()
        projector = mailing(receiver)
        async with place.store() as store:
            await note(store, 1)  # before the handler was ever there
            async with store.subscription("mails", projector):
                await note(store, 2, 3)
                await settled(store, "done", "done")
            await note(store, 4)
            async with store.subscription("mails", projector, from_="beginning"):
                effects = await settled(store, "done", "done", "done")
        assert receiver.numbers == [2, 3, 4]
        assert [parse(each.result or "") for each in effects] == [2, 3, 4]
        assert [(each.position, each.tries, each.happened) for each in effects] == [
            (2, 1, True),
            (3, 1, True),
            (4, 1, True),
        ]
        assert {(each.handler, each.stream, each.error) for each in effects} == {("mail", "a", "")}

    run(main)


@pytest.mark.parametrize("from_", ["beginning", 1, None, "now"])
def test_what_was_there_before_is_called_only_if_that_is_said(place: Place, from_: Any) -> None:
    async def main() -> None:
        receiver, seen = Receiver(), list[int]()
        projector = mailing(receiver)

        @projector.all(Noted)
        async def see(record: Record[Noted]) -> None:
            seen.append(record.data.number)

        async with place.store() as store:
            await note(store, 1, 2, 3)
            async with store.subscription("mails", projector, from_=from_) as subscription:
                await subscription.caught_up()
                await note(store, 4)
                expected = {"beginning": [1, 2, 3, 4], 1: [2, 3, 4], None: [4], "now": [4]}[from_]
                await settled(store, *["done"] * len(expected))
        assert receiver.numbers == expected
        assert seen == ([1, 2, 3, 4] if from_ is None else expected)

    run(main)


def test_a_handler_that_is_added_later_begins_there(place: Place) -> None:
    async def main() -> None:
        receiver, added = Receiver(), Receiver()
        async with place.store() as store:
            async with store.subscription("mails", mailing(receiver), from_="beginning"):
                await note(store, 1)
                await settled(store, "done")
            await note(store, 2)
            projector = mailing(receiver)

            @projector.once(Noted, name="sms", idempotent=True)
            async def text(record: Record[Noted]) -> None:
                await added.take(record)

            async with store.subscription("mails", projector, from_="beginning"):
                await note(store, 3)
                await settled(store, "done", "done", "done", "done")
        assert receiver.numbers == [1, 2, 3]
        assert added.numbers == [3]

    run(main)


def test_imported_outdated_and_replayed_events_call_nothing(place: Place) -> None:
    async def main() -> None:
        receiver = Receiver()
        projector = mailing(receiver)
        async with (
            place.store() as store,
            EventStore.open("memory:", events=[Noted]) as other,
            store.subscription("mails", projector) as subscription,
        ):
            await note(other, 1)
            await store.import_records(other.read())
            past = store.past("b", Noted(2), created="0" * 12 + "0000" + "a" * 16, id="x")
            await note(store, 3, stream="b")
            await store.import_records([past])
            await subscription.caught_up()
            await projector.replay(store.read())
            await settled(store, "done")
        assert receiver.numbers == [3]

    run(main)


def test_effects_of_a_stream_are_called_in_order_and_streams_side_by_side(place: Place) -> None:
    async def main() -> None:
        calls: list[tuple[str, int]] = []
        hanging = asyncio.Event()
        projector = Projector()

        @projector.once(Noted, name="mail", idempotent=True)
        async def mail(record: Record[Noted]) -> None:
            if record.stream == "hangs":
                await hanging.wait()
            await asyncio.sleep(0.001)
            calls.append((record.stream, record.data.number))

        async with (
            place.store() as store,
            store.subscription("mails", projector) as subscription,
        ):
            await note(store, 1, 2, stream="hangs")
            await store.append_many([to(f"s-{n % 5}", Noted(n)) for n in range(60)])
            await subscription.caught_up()  # the checkpoint does not wait for them
            try:
                await until(lambda: counted(calls), 60)
                await until(lambda: pending(store), 2)
                [status] = await store.subscriptions.status()
                assert status.lag == 0
                assert status.oldest_effect_s > 0
            finally:
                hanging.set()
            await until(lambda: counted(calls), 62)
        for stream in {stream for stream, _ in calls}:
            numbers = [number for each, number in calls if each == stream]
            assert numbers == sorted(numbers)

    run(main)


async def pending(store: EventStore) -> int:
    [status] = await store.subscriptions.status()
    return status.pending_effects


async def counted(calls: list[Any]) -> int:
    return len(calls)


def test_what_fails_is_called_again_and_parked_and_holds_up_its_lane_alone(place: Place) -> None:
    async def main() -> None:
        receiver = Receiver()
        receiver.failing = lambda number: number == 1
        projector = mailing(receiver)
        other = Receiver()

        @projector.once(Noted, name="sms", idempotent=True)
        async def text(record: Record[Noted]) -> None:
            await other.take(record)

        async with (
            place.store() as store,
            store.subscription("mails", projector, on_error=QUICK),
        ):
            await note(store, 1, 2, stream="a")
            await note(store, 3, stream="b")
            await settled(store, "parked", "done", "pending", "done", "done", "done")
            # Between two streams there is no order.
            assert sorted(receiver.numbers) == [1, 1, 1, 3]
            assert sorted(other.numbers) == [1, 2, 3]
            assert len(set(receiver.keys)) == 2, "one key in all tries"
            [parked] = await store.subscriptions.effects("mails", status="parked")
            assert (parked.handler, parked.tries, parked.happened) == ("mail", 3, False)
            assert parked.error == "Broken: number 1"
            [status] = await store.subscriptions.status()
            assert (status.parked_effects, status.pending_effects) == (1, 1)
            assert (status.parked, status.ambiguous_effects) == (0, 0)

            receiver.failing = lambda number: False
            await store.subscriptions.settle("mails", parked.position, as_="retry")
            await settled(store, *["done"] * 6)
        assert [number for number in receiver.numbers if number != 3] == [1, 1, 1, 1, 2]

    run(main)


@pytest.mark.parametrize("as_", ["done", "drop"])
def test_a_parked_effect_can_be_said_to_be_done_or_dropped(place: Place, as_: Any) -> None:
    async def main() -> None:
        receiver, told = Receiver(), list[Any]()
        receiver.failing = lambda number: number == 1

        async def tell(record: Record[Any], result: Any) -> None:
            told.append((record.data.number, result))

        projector = mailing(receiver, on_success=tell)
        async with (
            place.store() as store,
            store.subscription("mails", projector, on_error="park"),
        ):
            await note(store, 1, 2)
            await settled(store, "parked", "pending")
            result = {"by": "hand"} if as_ == "done" else None
            await store.subscriptions.settle("mails", 1, as_=as_, result=result)
            await settled(store, "dropped" if as_ == "drop" else "done", "done")
        assert receiver.numbers == [1, 2]
        assert told == ([(1, {"by": "hand"}), (2, 2)] if as_ == "done" else [(2, 2)])

    run(main)


@pytest.mark.parametrize("policy", ["skip", "stop"])
def test_the_policy_says_what_follows_the_last_try(place: Place, policy: Any) -> None:
    async def main() -> None:
        receiver = Receiver()
        receiver.failing = lambda number: number == 1
        projector = mailing(receiver)
        async with place.store() as store:
            if policy == "skip":
                async with store.subscription("mails", projector, on_error="skip"):
                    await note(store, 1, 2)
                    await settled(store, "dropped", "done")
                assert receiver.numbers == [1, 2]
            else:
                await owed(store, projector, 1, 2)
                with pytest.raises(HandlerFailed):
                    async with store.subscription("mails", projector, on_error="stop") as worker:
                        await worker.wait()
                assert await statuses(store) == ["retrying", "pending"]
                receiver.failing = lambda number: False
                async with store.subscription("mails", projector, on_error="stop"):
                    await settled(store, "done", "done")
                assert receiver.numbers == [1, 1, 2]

    run(main)


def test_an_effect_that_fails_for_good_is_told_to_its_on_error(place: Place) -> None:
    async def main() -> None:
        receiver, told = Receiver(), list[str]()
        receiver.failing = lambda number: number == 1

        def tell(record: Record[Any], error: Exception, outcome: Outcome) -> None:
            told.append(repr(error))
            outcome.append("failures", Said(str(error)), Said("the end"))

        projector = mailing(receiver, on_error=tell)
        async with place.store() as store:
            async with store.subscription("mails", projector, on_error=QUICK):
                await note(store, 1, 2)
                [first, _] = await settled(store, "failed", "done")
            said = await store.read("failures").to_list()
            assert [record.data.text for record in said] == ["number 1", "the end"]
            assert {record.causation for record in said} == {first.id}
            assert first.error == "Broken: number 1"
        assert receiver.numbers == [1, 1, 1, 2]
        assert told == ["Broken('number 1')"]

    run(main)


def test_its_outcome_is_appended_once_with_the_record_as_its_cause(place: Place) -> None:
    async def main() -> None:
        receiver, told = Receiver(), list[int]()

        async def tell(record: Record[Any], result: int, outcome: Outcome) -> None:
            told.append(result)
            outcome.append("mails", Said(f"sent {result}"), relations=["sent"])

        projector = mailing(receiver, on_success=tell)
        async with place.store() as store:
            async with store.subscription("mails", projector):
                [record] = await note(store, 1)
                await settled(store, "done")
            [said] = await store.read(relation="sent").to_list()
            assert (said.data.text, said.causation) == ("sent 1", record.id)
            assert said.correlation == record.correlation

            # A crash between the events and `done`: they are found, and not appended again.
            due = "clock_timestamp()" if place.kind == "postgres" else "0"
            place.ask(f"UPDATE {table_of(place)} SET status = 'succeeded', tries = 0, due = {due}")
            async with store.subscription("mails", projector):
                await settled(store, "done")
            assert len(await store.read("mails").to_list()) == 1
        assert receiver.numbers == [1]
        assert told == [1], "its events are the last that is done before it is written down"

    run(main)


def test_an_on_success_that_fails_is_tried_again_without_the_effect(place: Place) -> None:
    async def main() -> None:
        receiver, tries = Receiver(), list[int]()

        async def tell(record: Record[Any], result: int, outcome: Outcome) -> None:
            tries.append(result)
            version = 0 if record.data.number == 1 or len(tries) < 4 else 1
            outcome.append("mails", Said(f"sent {result}"), expect=version)

        projector = mailing(receiver, on_success=tell)
        async with place.store() as store:
            await store.append("mails", Said("somebody was faster"))
            async with store.subscription("mails", projector, on_error=QUICK):
                await note(store, 1)
                [parked] = await settled(store, "parked")
                assert parked.happened
                assert parked.error.startswith(WrongVersion.__name__)
                assert tries == [1, 1, 1]
                with pytest.raises(InvalidInput, match="no result"):
                    await store.subscriptions.settle("mails", 2, as_="retry", result=1)
                await store.subscriptions.settle("mails", 2, as_="retry")
                await until(lambda: counted(tries), 6)
                await settled(store, "parked")
                await store.subscriptions.settle("mails", 2, as_="done")
                [done] = await settled(store, "done")
                assert done.result == "1"
        assert receiver.numbers == [1], "it is known to have happened"

    run(main)


def test_a_result_that_is_no_json_is_null_and_the_effect_has_happened(place: Place) -> None:
    async def main() -> None:
        told: list[object] = []
        projector = Projector()

        def tell(record: Record[Any], result: object) -> None:
            told.append(result)

        @projector.once(Noted, idempotent=True, on_success=tell)
        def mail(record: Record[Noted]) -> object:
            return object()

        async with place.store() as store:
            async with store.subscription("mails", projector):
                await note(store, 1)
                [done] = await settled(store, "done")
            assert done.result == "null"
            assert "kept as null" in done.error
            assert done.handler.endswith("mail")
        assert told == [None]

    run(main)


def test_an_effect_left_begun_is_called_again_if_its_receiver_knows_it(place: Place) -> None:
    async def main() -> None:
        receiver = Receiver()
        projector = mailing(receiver)
        async with place.store() as store:
            await owed(store, projector, 1, 2)
            await crashed(store, place, 1)
            async with store.subscription("mails", projector):
                [first, _] = await settled(store, "done", "done")
            assert first.tries == 2
        assert receiver.numbers == [1, 2]

    run(main)


def test_an_effect_left_begun_waits_for_a_person_and_holds_up_its_lane(place: Place) -> None:
    async def main() -> None:
        receiver = Receiver()
        projector = mailing(receiver, on_ambiguous="park")
        async with place.store() as store:
            await owed(store, projector, 1, 2)
            await note(store, 3, stream="b")
            await crashed(store, place, 1)
            for _ in range(2):
                async with store.subscription("mails", projector):
                    await settled(store, "ambiguous", "pending", "done")
            [status] = await store.subscriptions.status()
            assert (status.ambiguous_effects, status.parked_effects) == (1, 0)
            assert (await store.subscriptions.effects("mails"))[0].due_s is None
            async with store.subscription("mails", projector):
                await store.subscriptions.settle("mails", 1, as_="done", result="by hand")
                [first, *_] = await settled(store, "done", "done", "done")
            assert first.result == '"by hand"'
        assert receiver.numbers == [3, 2]

    run(main)


@pytest.mark.parametrize("verdict", [True, ("done", {"id": 7}), False])
def test_an_effect_left_begun_is_as_its_receiver_says(place: Place, verdict: Any) -> None:
    async def main() -> None:
        receiver, asked, told = Receiver(), list[int](), list[Any]()

        async def verify(record: Record[Any]) -> Any:
            asked.append(record.data.number)
            if len(asked) == 1:
                raise Broken("not now")
            return verdict

        async def tell(record: Record[Any], result: Any) -> None:
            told.append(result)

        projector = mailing(receiver, on_ambiguous=verify, on_success=tell)
        async with place.store() as store:
            await owed(store, projector, 1)
            await crashed(store, place, 1)
            async with store.subscription("mails", projector, on_error=QUICK):
                await settled(store, "done")
        assert asked == [1, 1]
        assert receiver.numbers == ([1] if verdict is False else [])
        assert told == [1 if verdict is False else {"id": 7} if verdict is not True else None]

    run(main)


def test_a_stopped_worker_ends_its_effects_and_a_cancelled_one_leaves_them_ambiguous(
    place: Place,
) -> None:
    async def main() -> None:
        began, may_end, ended = asyncio.Event(), asyncio.Event(), list[int]()
        projector = Projector()

        @projector.once(Noted, name="mail", on_ambiguous="park")
        async def mail(record: Record[Noted]) -> None:
            began.set()
            await may_end.wait()
            ended.append(record.data.number)

        async with place.store() as store:
            async with store.subscription("mails", projector, lease_s=0.3) as subscription:
                await note(store, 1, 2)
                await began.wait()
                stopping = asyncio.create_task(subscription.stop())
                await asyncio.sleep(0.6)  # longer than a lease
                assert not stopping.done()
                may_end.set()
                await stopping
            assert await statuses(store) == ["done", "pending"]
            began.clear()
            may_end.clear()
            async with store.subscription("mails", projector) as subscription:
                await began.wait()
                stopping = asyncio.create_task(subscription.stop())
                await asyncio.sleep(0.05)
                stopping.cancel()
                await asyncio.wait([stopping])
            assert await statuses(store) == ["done", "intent"]
            may_end.set()
            async with store.subscription("mails", projector):
                await settled(store, "done", "ambiguous")
        assert ended == [1]

    run(main)


@pytest.mark.usefixtures("attentive")
def test_a_worker_that_has_lost_its_slice_writes_nothing_of_an_effect_down(place: Place) -> None:
    async def main() -> None:
        began, may_end = asyncio.Event(), asyncio.Event()
        projector = Projector()

        @projector.once(Noted, name="mail", on_ambiguous="park")
        async def mail(record: Record[Noted]) -> None:
            began.set()
            await may_end.wait()

        async with (
            place.store() as store,
            place.store() as other,
            store.subscription("mails", projector, lease_s=0.6) as subscription,
        ):
            await note(store, 1)
            await began.wait()
            checkpoints = subscription._checkpoints  # pyright: ignore[reportPrivateUsage]
            held = subscription._worker.holding  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
            assert checkpoints is not None
            await checkpoints.release("mails", {0: held.fence(0)})
            await other.subscriptions.status()
            theirs = other.subscriptions._checkpoints  # pyright: ignore[reportPrivateUsage]
            assert theirs is not None
            [taken] = await theirs.claim("mails", "another", ttl_s=60, most=1)
            assert await theirs.mark_ambiguous("mails", {0: taken.fence}) == 1
            may_end.set()
            await until(lambda: slices_of(subscription), frozenset[int]())
            assert await statuses(store) == ["ambiguous"]
            await theirs.release("mails", {0: taken.fence})
            await until(lambda: slices_of(subscription), frozenset({0}))
            await asyncio.sleep(0.3)  # what it knows of the call comes too late
            assert await statuses(store) == ["ambiguous"]

    run(main)


@pytest.mark.usefixtures("attentive")
def test_a_worker_that_has_its_slice_back_knows_how_its_own_call_ended(place: Place) -> None:
    async def main() -> None:
        began, may_end = asyncio.Event(), asyncio.Event()
        projector = Projector()

        @projector.once(Noted, name="mail", on_ambiguous="park")
        async def mail(record: Record[Noted]) -> None:
            began.set()
            await may_end.wait()

        async with (
            place.store() as store,
            store.subscription("mails", projector, lease_s=0.6) as subscription,
        ):
            await note(store, 1)
            await began.wait()
            checkpoints = subscription._checkpoints  # pyright: ignore[reportPrivateUsage]
            assert checkpoints is not None
            worker: Any = subscription._worker  # pyright: ignore[reportPrivateUsage]
            before = worker.holding.fence(0)
            await checkpoints.release("mails", {0: before})
            try:
                await until(lambda: is_another(worker, before), True)
                await asyncio.sleep(0.1)
                assert await statuses(store) == ["intent"], "it is being called"
            finally:
                may_end.set()
            await settled(store, "done")

    run(main)


async def is_another(worker: Any, fence: int) -> bool:
    return 0 in worker.holding.slices and worker.holding.fence(0) != fence


def test_a_slice_is_not_left_while_an_effect_runs_in_it(place: Place) -> None:
    async def main() -> None:
        began, may_end = asyncio.Event(), asyncio.Event()
        projector = Projector()

        @projector.once(Noted, name="mail", on_ambiguous="park")
        async def mail(record: Record[Noted]) -> None:
            began.set()
            await may_end.wait()

        async with (
            place.store() as store,
            place.store() as other,
            store.subscription("mails", projector, slices=2, lease_s=3) as first,
        ):
            await store.append_many([to(f"s-{n}", Noted(n)) for n in range(8)])
            await began.wait()
            async with other.subscription("mails", projector, slices=2, lease_s=3) as second:
                try:
                    await asyncio.sleep(2.4)  # a third of a lease, more than twice
                    assert len(await slices_of(first)) == 2, "effects run in both"
                finally:
                    may_end.set()
                await settled(store, *["done"] * 8)
                await until(lambda: slices_of(second), frozenset({1}))
                assert await statuses(store) == ["done"] * 8

    run(main)


async def slices_of(subscription: Any) -> frozenset[int]:
    slices: frozenset[int] = subscription._worker.holding.slices
    return slices


def test_a_read_model_that_fails_does_not_hold_up_an_effect(place: Place) -> None:
    async def main() -> None:
        receiver = Receiver()
        projector = mailing(receiver)

        @projector.all(Noted)
        async def fail(record: Record[Noted], tx: Tx) -> None:
            raise Broken("the read model")

        async with (
            place.store() as store,
            store.subscription("mails", projector, on_error="park"),
        ):
            await note(store, 1, 2)
            await settled(store, "done", "done")
            [status] = await store.subscriptions.status()
            assert status.parked == 1
            await store.subscriptions.drop("mails")
        assert receiver.numbers == [1, 2]

    run(main)


def test_an_effect_has_to_say_what_becomes_of_it_when_nobody_knows(place: Place) -> None:
    async def main() -> None:
        silent, named_twice, with_tx = Projector(), Projector(), Projector()

        @silent.once(Noted)
        async def mail(record: Record[Noted]) -> None: ...

        @named_twice.once(Noted, name="mail", idempotent=True)
        async def one(record: Record[Noted]) -> None: ...

        @named_twice.once(Said, name="mail", idempotent=True)
        async def other(record: Record[Said]) -> None: ...

        @with_tx.once(Noted, idempotent=True)
        async def write(record: Record[Noted], tx: Tx) -> None: ...

        async with place.store() as store:
            with pytest.raises(EventDefinitionError, match=r"idempotent=True.*park.*verify"):
                store.subscription("mails", silent)
            with pytest.raises(EventDefinitionError, match="idempotent"):
                store.subscription("mails", silent.wrapped(lambda handler: handler))
            store.subscription("mails", mailing(Receiver()).wrapped(lambda handler: handler))
            with pytest.raises(EventDefinitionError, match="two effects are named mail"):
                store.subscription("mails", named_twice)
            with pytest.raises(EventDefinitionError, match="asks for `tx`"):
                store.subscription("mails", with_tx)
            with pytest.raises(EventDefinitionError, match="on_ambiguous"):
                silent.once(Noted, on_ambiguous="hope")(mail)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
            with pytest.raises(InvalidInput):
                store.subscription("mails", mailing(Receiver()), effects_at_once=0)

    run(main)


def test_only_what_waits_for_a_person_is_settled_by_one(place: Place) -> None:
    async def main() -> None:
        receiver = Receiver()
        projector = mailing(receiver, on_ambiguous="park")

        @projector.once(Noted, name="sms", on_ambiguous="park")
        async def text(record: Record[Noted]) -> None: ...

        async with place.store() as store:
            subscriptions = store.subscriptions
            await owed(store, projector, 1)
            with pytest.raises(NotFound):
                await subscriptions.settle("mails", 2, as_="done")
            with pytest.raises(NotFound):
                await subscriptions.settle("mails", 1, handler="fax", as_="done")
            with pytest.raises(InvalidInput, match="mail is 'pending'"):
                await subscriptions.settle("mails", 1, as_="done")
            await crashed(store, place, 1, "ambiguous")
            with pytest.raises(InvalidInput, match="several"):
                await subscriptions.settle("mails", 1, as_="done")
            with pytest.raises(InvalidInput, match="not known"):
                await subscriptions.settle("mails", 1, handler="mail", as_="undo")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            with pytest.raises(NotPortable):
                await subscriptions.settle("mails", 1, handler="mail", as_="done", result=object())
            await subscriptions.settle("mails", 1, handler="mail", as_="drop")
            await subscriptions.settle("mails", 1, as_="retry")
            assert await statuses(store) == ["dropped", "retrying"]
            with pytest.raises(InvalidInput):
                await subscriptions.effects(limit=0)

    run(main)


class Odd(BaseException):
    """What no `except Exception` catches."""


@pytest.mark.parametrize("error", [SystemExit(3), Odd()], ids=repr)
@pytest.mark.parametrize("is_async", [True, False])
def test_an_effect_that_raises_what_is_no_exception_has_failed_like_another(
    place: Place, error: BaseException, is_async: bool
) -> None:
    async def main() -> None:
        receiver, projector = Receiver(), Projector()

        def send(record: Record[Noted]) -> None:
            receiver.numbers.append(record.data.number)
            if record.data.number == 1:
                raise error

        async def send_async(record: Record[Noted]) -> None:
            send(record)

        handler = send_async if is_async else send
        projector.once(Noted, name="mail", idempotent=True)(handler)
        async with place.store() as store:
            async with store.subscription("mails", projector, on_error=retry(2, first_s=0.01)):
                await note(store, 1, stream="a")
                await note(store, 2, stream="b")
                parked, _ = await settled(store, "parked", "done")
            assert type(error).__name__ in parked.error
        assert sorted(receiver.numbers) == [1, 1, 2]

    run(main)


def test_an_effect_that_stops_its_own_subscription_does_not_wait_for_itself(place: Place) -> None:
    async def main() -> None:
        projector, others = Projector(), list[asyncio.Task[None]]()

        @projector.once(Noted, name="mail", idempotent=True)
        async def mail(record: Record[Noted]) -> None:
            with pytest.raises(MisusedStore, match="wait for itself"):
                await worker.wait()
            with pytest.raises(MisusedStore, match="wait for itself"):
                await worker.caught_up()
            others.append(asyncio.create_task(worker.wait()))  # as the error says
            await worker.stop()

        async with place.store() as store:
            worker = store.subscription("mails", projector)
            async with worker:
                await note(store, 1)
                await asyncio.wait_for(asyncio.shield(worker.wait()), 5)
            await settled(store, "done")
            await asyncio.gather(*others)

    run(main)


def test_what_a_handler_that_was_renamed_owes_is_given_up_by_a_person(place: Place) -> None:
    async def main() -> None:
        receiver = Receiver()
        named = Projector()

        @named.once(Noted, name="post", idempotent=True)
        async def post(record: Record[Noted]) -> None:
            receiver.numbers.append(record.data.number)

        async with place.store() as store:
            await owed(store, mailing(receiver), 1, 2)
            async with store.subscription("mails", named) as subscription:
                await subscription.caught_up()
                for position in (1, 2):
                    with pytest.raises(InvalidInput, match="mail is 'pending'"):
                        await store.subscriptions.settle("mails", position, as_="retry")
                    await store.subscriptions.settle("mails", position, as_="drop")
                with pytest.raises(InvalidInput, match="mail is 'dropped'"):
                    await store.subscriptions.settle("mails", 1, as_="drop")
                await note(store, 3)
                await settled(store, "dropped", "dropped", "done")
            [status] = await store.subscriptions.status()
            assert (status.pending_effects, status.oldest_effect_s) == (0, 0.0)
        assert receiver.numbers == [3]

    run(main)


def test_how_a_call_has_ended_is_written_down_when_the_database_is_back(place: Place) -> None:
    async def main() -> None:
        receiver, failures = Receiver(), 0
        async with place.store() as store:
            checkpoints: Any = await store.subscriptions._opened()  # pyright: ignore[reportPrivateUsage]
            change_effect = checkpoints.change_effect

            async def fail(name: str, change: Any, **options: Any) -> bool:
                nonlocal failures
                if change.status == "done" and failures < 3:
                    failures += 1
                    raise StorageFailed("not now")
                changed: bool = await change_effect(name, change, **options)
                return changed

            checkpoints.change_effect = fail
            projector = mailing(receiver, on_ambiguous="park")
            async with store.subscription("mails", projector):
                await note(store, 1)
                await settled(store, "done")
        assert failures == 3
        assert receiver.numbers == [1]

    run(main)


def test_effects_in_memory_live_as_long_as_their_process() -> None:
    async def main() -> None:
        receiver = Receiver()
        projector = mailing(receiver)

        @projector.all(Noted)
        async def wait(record: Record[Noted], tx: Tx) -> None:
            await tx.execute("CREATE TABLE IF NOT EXISTS seen (number)")
            await asyncio.sleep(0.01)

        async with (
            EventStore.open("memory:", events=[Noted]) as store,
            store.subscription("mails", projector),
        ):
            await store.append_many([to(f"s-{n}", Noted(n)) for n in range(20)])
            await settled(store, *["done"] * 20)
        assert sorted(receiver.numbers) == list(range(20))

    run(main)


def test_a_hook_has_no_outcome_to_give() -> None:
    async def main() -> None:
        def tell(record: Record[Any], result: Any, outcome: Outcome) -> None: ...

        async with EventStore.open("memory:", events=[Noted]) as store:
            [record] = await note(store, 1)
            with pytest.raises(HandlerFailed) as failed:
                await mailing(Receiver(), on_success=tell).push(record)
            assert isinstance(failed.value.__cause__, MisusedStore)

    run(main)


def test_the_key_of_an_event_is_the_same_everywhere() -> None:
    async def main() -> None:
        async with (
            EventStore.open("memory:", events=[Noted]) as store,
            EventStore.open("memory:", events=[Noted]) as other,
        ):
            [record] = await store.append("a", Noted(1), ids=["message-17"])
            await other.append("b", Noted(0))
            await other.import_records(store.read())
            twin = await other.find("message-17")
            assert twin is not None
            assert record.idempotency_key == twin.idempotency_key
            assert record.idempotency_key == "3b3d8043-b89c-51b5-aebc-8b3cd564150e"

    run(main)
