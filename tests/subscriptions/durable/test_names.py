"""One name, several versions of the code: who waits for whom, and where a new handler begins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from everlog import EventStore, Projector, Record, Tx
from everlog.errors import InvalidInput, LeaseLost, NotFound, OtherVersion
from everlog.ports.checkpoints import Move
from everlog.subscriptions import beginning as beginning_module
from everlog.subscriptions.beginning import Beginning
from everlog.subscriptions.fingerprint import difference, fingerprint_of, handled_by
from everlog.subscriptions.holding import Holding
from everlog.subscriptions.slices import slice_of
from everlog.subscriptions.subscription import Subscription
from tests.store.watched import Noted, Said, run
from tests.subscriptions.durable.places import Place
from tests.subscriptions.durable.test_effects import note, settled, until

LEASE_S = 0.4
LASTING_S = 5.0
"""Of a lease that a loaded machine does not let expire."""


class Calls:
    """What was called: which handler, of which number."""

    def __init__(self) -> None:
        self.of: dict[str, list[int]] = {}

    @property
    def sorted(self) -> dict[str, list[int]]:
        return {name: sorted(numbers) for name, numbers in self.of.items()}

    def projector(self, *names: str) -> Projector:
        """Returns a projector with an effect of each name."""
        projector = Projector()
        for name in names:

            @projector.once(Noted, name=name, idempotent=True)
            async def call(record: Record[Noted], name: str = name) -> None:
                self.of.setdefault(name, []).append(record.data.number)

        return projector


async def lag_of(store: EventStore) -> int:
    [status] = await store.subscriptions.status()
    return status.lag


async def ignore(record: Record[Said]) -> None: ...


async def ended(subscription: Subscription) -> None:
    """Runs a subscription until it has ended by itself; raises what it has ended of."""
    async with subscription:
        await subscription.wait()


async def begun(store: EventStore) -> Mapping[str, int]:
    """Returns behind which position the handlers of the subscription begin that have begun."""
    checkpoints = await store.subscriptions._opened()  # pyright: ignore[reportPrivateUsage]
    return await checkpoints.handlers("mails")


async def waiting(store: EventStore, count: int) -> None:
    async def look() -> int:
        return sum(len(each.waiting) for each in await store.subscriptions.status())

    await until(look, count)


def test_a_fingerprint_is_of_kind_type_and_name_and_not_of_the_code() -> None:
    def of(kind: str, cls: type[Any], name: str, told: object = None) -> str:
        projector = Projector()

        async def handler(record: Record[Any]) -> None:
            print(told)

        handler.__qualname__ = name
        getattr(projector, kind)(cls)(handler)
        return fingerprint_of(handled_by(projector))

    assert of("on", Noted, "keep") == of("on", Noted, "keep", told=1)
    different = {
        of("on", Noted, "keep"),
        of("all", Noted, "keep"),
        of("on", Said, "keep"),
        of("on", Noted, "store"),
    }
    assert len(different) == 4


def test_a_handler_without_a_name_of_its_own_has_one_fingerprint_in_every_process() -> None:
    class Handler:
        async def __call__(self, record: Record[Any]) -> None: ...

    one, two = Projector(), Projector()
    one.on(Noted)(Handler())
    two.on(Noted)(Handler())
    assert handled_by(one) == handled_by(two)


def test_what_differs_is_said_in_words() -> None:
    calls = Calls()
    ours, theirs = calls.projector("first", "second"), calls.projector("first", "third")
    assert difference(handled_by(ours), handled_by(theirs)) == (
        "more here: once second of noted; missing here: once third of noted"
    )


def test_two_different_projectors_under_one_name_in_one_store_are_refused(place: Place) -> None:
    async def main() -> None:
        calls = Calls()
        first, both = calls.projector("first"), calls.projector("first", "second")
        async with place.store() as store:
            async with store.subscription("mails", first):
                with pytest.raises(InvalidInput, match=r"more here: once second of noted.*name"):
                    await store.subscription("mails", both).__aenter__()
                async with store.subscription("mails", calls.projector("first")):
                    pass
                async with store.subscription("others", both):
                    pass
            async with store.subscription("mails", both) as subscription:
                await note(store, 1)
                await subscription.caught_up()

    run(main)


def test_a_worker_with_other_handlers_waits_and_says_so_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        calls = Calls()
        async with place.store() as old, place.store() as new:
            old_worker = old.subscription("mails", calls.projector("first"), lease_s=LEASE_S)
            async with old_worker:
                await note(old, 1)
                await until(lambda: asyncio.sleep(0, calls.of.get("first")), [1])
                with caplog.at_level(logging.WARNING, "everlog"):
                    async with new.subscription(
                        "mails", calls.projector("first", "second"), lease_s=LEASE_S
                    ):
                        await waiting(new, 1)
                        [status] = await new.subscriptions.status()
                        assert len(status.workers) == 1
                        assert status.workers[0].partition("#")[2]
                        await asyncio.sleep(3 * LEASE_S)  # it asks again and again
                        await old_worker.stop()
                        await waiting(new, 0)
                        await note(new, 2)
                        wanted = {"first": [1, 2], "second": [2]}
                        await until(lambda: asyncio.sleep(0, calls.sorted), wanted)
        said = [each.getMessage() for each in caplog.records if "waits" in each.getMessage()]
        assert len(said) == 1, said
        assert "once handlers new here: second" in said[0]

    run(main)


@pytest.mark.parametrize("slices", [1, 4])
def test_a_handler_begins_behind_what_an_older_worker_passed(place: Place, slices: int) -> None:
    """From there on it is called for everything: for what the older one left, too."""

    async def main() -> None:
        calls = Calls()
        async with place.store() as old, place.store() as new:
            options: dict[str, Any] = {"slices": slices, "lease_s": LASTING_S}
            older = old.subscription("mails", calls.projector("first"), **options)
            async with older:
                await note(old, 1)
                async with new.subscription("mails", calls.projector("first", "second"), **options):
                    await waiting(new, 1)
                    [record] = await note(old, 2)
                    await older.caught_up(record.position)
                    assert "second" not in await begun(new)
                    await older.stop()
                    await note(new, 3, stream="b")
                    await note(new, 4)
                    wanted = {"first": [1, 2, 3, 4], "second": [3, 4]}
                    await until(lambda: asyncio.sleep(0, calls.sorted), wanted)
                    assert (await begun(new))["second"] == record.position

    run(main)


def test_what_came_while_it_waited_and_nobody_passed_is_called(place: Place) -> None:
    async def main() -> None:
        calls = Calls()
        async with place.store() as store:
            async with store.subscription("mails", calls.projector("first")) as older:
                await note(store, 1)
                await older.caught_up()
            checkpoints = await store.subscriptions._opened()  # pyright: ignore[reportPrivateUsage]
            await note(store, 2)
            [held] = await checkpoints.claim("mails", "somebody#else", ttl_s=60, most=1)
            async with store.subscription(
                "mails", calls.projector("first", "second"), lease_s=LEASE_S
            ):
                await waiting(store, 1)
                await note(store, 3)
                await checkpoints.release("mails", {held.slice: held.fence})
                await until(lambda: asyncio.sleep(0, calls.of.get("second")), [3])
                await until(lambda: asyncio.sleep(0, calls.of.get("first")), [1, 2, 3])

    run(main)


def test_a_worker_that_ends_between_its_claim_and_that_has_begun_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others pass after it is not owed, and what the first start has said is kept."""

    async def main() -> None:
        calls = Calls()
        dies = True
        of = Beginning.of

        async def dying(self: Beginning, holding: Holding) -> Any:
            if dies:
                raise RuntimeError("it dies here")
            return await of(self, holding)

        monkeypatch.setattr(beginning_module.Beginning, "of", dying)
        async with place.store() as store:
            await note(store, 1)
            both = calls.projector("first", "second")
            with pytest.raises(RuntimeError, match="dies"):
                await ended(store.subscription("mails", both, from_="beginning"))
            dies = False
            await note(store, 2)
            async with store.subscription("mails", calls.projector("first"), from_="beginning"):
                await until(lambda: asyncio.sleep(0, calls.of.get("first")), [1, 2])
            async with store.subscription("mails", both, from_="beginning"):
                await note(store, 3)
                await until(lambda: asyncio.sleep(0, calls.of.get("second")), [3])
            async with store.subscription("fresh", both, from_="beginning"):
                await until(lambda: asyncio.sleep(0, calls.of["second"]), [3, 1, 2, 3])

    run(main)


def test_after_a_crash_at_its_first_start_a_subscription_begins_where_it_was_started(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        calls = Calls()
        projector = calls.projector("first")
        with monkeypatch.context() as patched:

            async def dying(self: Beginning, holding: Holding) -> Any:
                raise RuntimeError("it dies here")

            patched.setattr(beginning_module.Beginning, "of", dying)
            async with place.store() as store:
                await note(store, 1)
                for name, from_ in ("all", "beginning"), ("from now", "now"), ("unsaid", None):
                    with pytest.raises(RuntimeError, match="dies"):
                        await ended(store.subscription(name, projector, from_=from_))
        async with place.store() as store:
            await note(store, 2)
            for name, from_, wanted in (
                ("all", "beginning", [1, 2]),
                ("from now", "now", [2]),
                ("unsaid", None, [2]),
            ):
                calls.of.clear()
                async with store.subscription(name, projector, from_=from_):
                    await until(lambda: asyncio.sleep(0, calls.of.get("first")), wanted)

    run(main)


def test_who_was_taken_over_before_its_handlers_began_begins_none(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            checkpoints = await store.subscriptions._opened()  # pyright: ignore[reportPrivateUsage]
            await checkpoints.register("mails", slices=1, position=0, token=None)
            holding = Holding(checkpoints, "mails", "w#new", slices=1, ttl_s=0)
            assert await holding.claim()
            assert await checkpoints.claim("mails", "w#old", ttl_s=60, most=1)
            with pytest.raises(LeaseLost):
                await Beginning(checkpoints, "mails", ["second"], head=0).of(holding)
            assert await checkpoints.handlers("mails") == {}

    run(main)


def test_a_swap_that_fails_begins_no_handler_of_the_new_version(place: Place) -> None:
    """The live version goes on without it, and what it passes would be owed by nobody."""

    async def main() -> None:
        calls = Calls()
        fails = True

        async def swap(tx: Tx) -> None:
            if fails:
                raise ValueError("not yet")

        first, both = calls.projector("first"), calls.projector("first", "second")
        both.all(Said)(ignore)
        first.all(Said)(ignore)
        async with place.store() as store:
            async with store.subscription("mails", first) as live:
                await note(store, 1)
                await settled(store, "done")  # a call under way would be ambiguous
                async with store.rebuild("mails", both, version=2, swap=swap) as rebuild:
                    with pytest.raises(ValueError, match="not yet"):
                        await rebuild.swap()
                    assert "second" not in await begun(store)
                    [record] = await note(store, 2)
                    await live.caught_up(record.position)
                    await settled(store, "done", "done")
                    fails = False
                    await rebuild.swap()
                    assert (await begun(store))["second"] == record.position
                with pytest.raises(OtherVersion):
                    await live.wait()
            async with store.subscription("mails", both, version=2):
                await note(store, 3)
                wanted = {"first": [1, 2, 3], "second": [3]}
                await until(lambda: asyncio.sleep(0, calls.sorted), wanted)

    run(main)


def test_who_waits_takes_no_share_from_those_who_work(place: Place) -> None:
    async def main() -> None:
        calls = Calls()
        streams = {slice_of(name, 4): name for name in map(str, range(100))}
        async with place.store() as old, place.store() as new:
            options: dict[str, Any] = {"slices": 4, "lease_s": LEASE_S}
            async with (
                old.subscription("mails", calls.projector("first"), **options),
                new.subscription("mails", calls.projector("first", "second"), **options),
            ):
                await waiting(new, 1)
                await asyncio.sleep(LEASE_S)  # it looks at its share meanwhile
                for number, stream in enumerate(streams.values()):
                    await note(old, number, stream=stream)
                await until(lambda: lag_of(old), 0)

    run(main)


def test_who_is_committing_still_holds_its_slice(place: Place) -> None:
    """Otherwise it would pass records of which the next one's handlers know nothing."""

    async def main() -> None:
        async with place.store() as store, place.store() as other:
            checkpoints = await store.subscriptions._opened()  # pyright: ignore[reportPrivateUsage]
            elsewhere = await other.subscriptions._opened()  # pyright: ignore[reportPrivateUsage]
            await checkpoints.register("mails", slices=2, position=0, token=None)
            held = await checkpoints.claim("mails", "w#old", ttl_s=0, most=2)
            async with checkpoints.transaction() as transaction:
                moves = [Move(each.slice, each.fence, 0, 5, None) for each in held[:1]]
                await transaction.move("mails", moves)
                claiming = asyncio.create_task(elsewhere.claim("mails", "w#new", ttl_s=60, most=1))
                await asyncio.wait([claiming], timeout=0.3)
            # At once nothing, or all behind the commit.
            taken = await claiming or await elsewhere.claim("mails", "w#new", ttl_s=60, most=1)
            assert [(each.slice, each.position) for each in taken] == [(0, 5)]

    run(main)


def test_a_worker_with_other_handlers_goes_on_where_one_has_died(place: Place) -> None:
    async def main() -> None:
        calls = Calls()
        async with place.store() as store:
            await note(store, 1)
            checkpoints = await store.subscriptions._opened()  # pyright: ignore[reportPrivateUsage]
            await checkpoints.register("mails", slices=2, position=0, token=None)
            await checkpoints.claim("mails", "dead#old", ttl_s=LEASE_S, most=2)
            async with store.subscription("mails", calls.projector("first")) as subscription:
                await subscription.caught_up(timeout_s=10)

    run(main)


def test_of_a_subscription_that_there_is_not_nothing_is_tried_again_dropped_or_settled(
    place: Place,
) -> None:
    async def main() -> None:
        async with place.store() as store:
            async with store.subscription("mails", Calls().projector("first")):
                pass
            assert await store.subscriptions.retry("mails") == 0
            assert await store.subscriptions.drop("mails", position=1) == 0
            with pytest.raises(NotFound, match="'mial'"):
                await store.subscriptions.retry("mial")
            with pytest.raises(NotFound, match="'mial'"):
                await store.subscriptions.drop("mial", stream="a")
            with pytest.raises(NotFound, match="no subscription 'mial'"):
                await store.subscriptions.settle("mial", 1, as_="done")
            with pytest.raises(NotFound, match="no effect"):
                await store.subscriptions.settle("mails", 1, as_="done")

    run(main)
