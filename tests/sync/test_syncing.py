"""`store.sync`: two stores that run become one, and stay so."""

# pyright: reportPrivateUsage=false
# The tables of a ledger in memory are its disk: a copy of them is its backup.

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from everlog import (
    NEW,
    EventStore,
    InvalidInput,
    Projector,
    Record,
    WrongVersion,
    blocking,
    reducer,
    to,
)
from everlog.errors import Offline
from tests.store.watched import Noted, run
from tests.sync.places import Place, SetBack


@reducer("numbers", initial=list[int])
def numbers(state: list[int], record: Record[Any]) -> list[int]:
    return [*state, record.data.number]


async def ids(store: EventStore) -> list[str]:
    return sorted([record.id async for record in store.read()])


def test_what_is_written_in_either_comes_into_the_other_while_it_runs(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one", "two") as (hub, one, two):
            await one.append("a", Noted(1))
            async with one.sync(hub) as first, two.sync(hub) as second:
                await first.in_step()
                await second.in_step()
                assert await ids(one) == await ids(two) == await ids(hub)
                await two.append("a", Noted(2))
                await one.wait(after=1, timeout_s=30)
                await hub.append("b", Noted(3))
                await one.wait(after=2, timeout_s=30)
                await second.in_step()
                assert await ids(one) == await ids(two) == await ids(hub)
                status = await first.status()
                assert (status.in_step, status.held, status.error) == (True, (), "")

    run(main)


def test_once_brings_them_into_step_and_ends(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one") as (hub, one):
            await one.append("a", *(Noted(n) for n in range(1234)))
            await hub.append("b", *(Noted(n) for n in range(777)))
            done = await one.sync(hub).once()
            assert (done.pushed, done.new, done.in_step) == (1234, 777, True)
            assert await ids(one) == await ids(hub)
            assert (await one.sync(hub).once()).idle

    run(main)


def test_blocking_stores_are_kept_in_step_too(place: Place) -> None:
    with (
        blocking.EventStore.open(place.url("hub"), events=[Noted]) as hub,
        blocking.EventStore.open(place.url("one"), events=[Noted]) as one,
    ):
        one.append("a", Noted(1))
        with one.sync(hub) as sync:
            sync.in_step()
            hub.append("a", Noted(2))
            sync.in_step()
            assert sync.status().position == 2
        assert [record.id for record in one.read()] == [record.id for record in hub.read()]
        assert one.sync(hub).once().idle


def test_an_append_to_a_strict_stream_is_made_at_the_hub(place: Place) -> None:
    async def main() -> None:
        async with (
            place.open("hub", strict=["order-"]) as [hub],
            place.open("one", "two") as (one, two),
        ):
            async with one.sync(hub) as first, two.sync(hub) as second:
                await first.in_step()
                await second.in_step()
                await hub.append("x", Noted(0))
                [record] = await one.append("order-1", Noted(1), expect=NEW, ids=["e1"])
                assert (record.version, record.hydrated) == (1, True)
                assert (await one.append("order-1", Noted(1), ids=["e1"]))[0].id == "e1"
                with pytest.raises(WrongVersion) as caught:
                    await two.append("order-1", Noted(2), expect=NEW)
                assert caught.value.actual == 1
                await second.in_step()
                a, b = await two.append("order-1", Noted(2), Noted(3), expect=1)
                assert (a.version, b.version) == (2, 3)
                with pytest.raises(InvalidInput, match="not appended to in the same ledger"):
                    await one.append_many([to("order-1", Noted(4)), to("y", Noted(5))])
                await first.in_step()
                assert await ids(one) == await ids(two) == await ids(hub)
            assert [record.origin for record in await hub.read("order-1").to_list()] == [
                hub.ledger.identity.ledger
            ] * 3
            head = (await one.info()).position
            with pytest.raises(Offline):
                await one.append("order-2", Noted(6))
            assert (await one.info()).position == head

    run(main)


def test_who_has_another_hub_now_appends_to_its_strict_streams(tmp_path: Path) -> None:
    async def main() -> None:
        place = Place("sqlite", tmp_path)
        async with (
            place.open("old", "new", strict=["order-"]) as (old, new),
            place.open("one") as [one],
        ):
            await one.sync(old).once()
            async with one.sync(new) as sync:
                await sync.in_step()
                [record] = await one.append("order-1", Noted(1), expect=NEW)
                assert record.origin == new.ledger.identity.ledger
            with pytest.raises(Offline, match=new.ledger.identity.ledger):
                await one.append("order-1", Noted(2))
        for last in ("old", "new"):  # whichever of the two is first in the ledger
            async with (
                place.open(last, strict=["order-"]) as [hub],
                place.open("one") as [one],
                one.sync(hub) as sync,
            ):
                await sync.in_step()
                [record] = await one.append(f"order-of-{last}", Noted(1), expect=NEW)
                assert record.origin == hub.ledger.identity.ledger

    run(main)


def test_what_a_hub_has_lost_of_a_strict_stream_has_its_old_place_or_is_an_orphan(
    place: Place,
) -> None:
    async def main() -> None:
        async with (
            SetBack(place, "hub", strict=["order-"]) as main_hub,
            place.open("one", "two") as (one, two),
        ):
            await main_hub.store.append("order-1", Noted(1), ids=["e1"])
            await main_hub.back_up()
            await main_hub.store.append("order-1", Noted(2), ids=["e2"])
            await main_hub.store.append("order-2", Noted(3), ids=["f1"])
            await one.sync(main_hub.store).once()
            await main_hub.restore()
            hub = main_hub.store
            await hub.append("order-1", Noted(4), ids=["g2"])
            await two.sync(hub).once()
            for store in (one, two, one, two):
                await store.sync(hub).once()
            for store in (hub, one, two):
                assert await ids(store) == ["e1", "e2", "f1", "g2"]
                assert [record.id for record in await store.orphans()] == ["e2"]
                assert (await store.verify()).ok, (await store.verify()).problems
            versions = {record.id: record.version for record in await hub.read().to_list()}
            assert versions == {"e1": 1, "g2": 2, "e2": 2, "f1": 1}
            for store in (hub, one, two):
                assert await store.reduce(numbers, "order-1") == [1, 4]
            async with one.sync(hub) as sync:
                await sync.in_step()
                [local] = [r for r in await one.read("order-1").to_list() if r.id == "g2"]
                assert local.version == 3  # here it came behind what is an orphan now
                await one.append("order-1", Noted(5), expect=local.version)
            assert [r.version for r in await hub.read("order-1").to_list()] == [1, 2, 2, 3]

    run(main)


def test_who_expects_the_version_of_an_orphan_is_told_where_its_stream_is(place: Place) -> None:
    async def main() -> None:
        async with SetBack(place, "hub", strict=["order-"]) as hub, place.open("one") as [one]:
            async with one.sync(hub.store) as sync:
                await sync.in_step()
                await one.append("order-1", Noted(1), expect=NEW)
            await hub.back_up()
            async with one.sync(hub.store) as sync:
                await sync.in_step()
                [lost] = await one.append("order-1", Noted(2), expect=1)
            await hub.restore()
            await hub.store.append("order-1", Noted(3), expect=1)
            async with one.sync(hub.store) as sync:
                await sync.in_step()
                assert [record.id for record in await one.orphans()] == [lost.id]
                with pytest.raises(WrongVersion, match="load it again") as caught:
                    await one.append("order-1", Noted(4), expect=lost.version)
                assert caught.value.actual == 3
                [last] = await one.append("order-1", Noted(4), expect=3)
                assert await one.reduce(numbers, "order-1") == [1, 3, 4]
                assert last.version == 4

    run(main)


def test_who_is_in_step_can_append_where_what_is_last_at_the_hub_came_first_here(
    place: Place,
) -> None:
    async def main() -> None:
        async with SetBack(place, "hub", strict=["order-"]) as hub, place.open("one") as [one]:
            await hub.store.append("order-1", Noted(1), ids=["e1"])
            await hub.back_up()
            await hub.store.append("order-1", Noted(2), Noted(3), ids=["e2", "e3"])
            await one.sync(hub.store).once()
            await hub.restore()
            await hub.store.append("order-1", Noted(4), ids=["g2"])
            async with one.sync(hub.store) as sync:
                await sync.in_step()
                there = await hub.store.read("order-1").to_list()
                assert [(r.id, r.version) for r in there if not r.orphan] == [
                    ("e1", 1),
                    ("g2", 2),
                    ("e3", 3),
                ]
                here = {r.id: r.version for r in await one.read("order-1").to_list()}
                assert here == {"e1": 1, "e2": 2, "e3": 3, "g2": 4}
                with pytest.raises(WrongVersion):
                    await one.append("order-1", Noted(5), expect=here["e3"])
                await one.append("order-1", Noted(5), ids=["e5"], expect=here["g2"])
            [last] = [r for r in await hub.store.read("order-1").to_list() if r.id == "e5"]
            assert last.version == 4
            assert await one.reduce(numbers, "order-1") == [1, 3, 4, 5]

    run(main)


def test_of_two_stores_of_one_file_one_works_and_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'one.db'}"

    async def main() -> None:
        async with (
            EventStore.open("memory:", events=[Noted]) as hub,
            EventStore.open(url, events=[Noted]) as one,
            EventStore.open(url, events=[Noted]) as again,
            one.sync(hub) as first,
            again.sync(hub) as second,
        ):
            for _ in range(2):  # both are in step when they are asked
                await asyncio.gather(first.in_step(), second.in_step())
            works = [(await sync.status()).works for sync in (first, second)]
            assert sorted(works) == [False, True]
            await (first if works[0] else second).stop()
            async with asyncio.timeout(15):
                await (second if works[0] else first).in_step()

    run(main)


class Machine:
    """A machine whose clock somebody sets."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return 1_800_000_000_000 + self.ahead_ms


def test_what_was_stamped_by_a_clock_an_hour_ahead_is_stamped_anew_and_comes_over(
    place: Place,
) -> None:
    async def main() -> None:
        right, wrong = Machine(), Machine()
        async with (
            place.open("hub", clock=right.now_ms) as [hub],
            place.open("one", clock=wrong.now_ms) as [one],
        ):
            await one.append("a", Noted(1), ids=["e1"])
            await one.sync(hub).once()
            wrong.ahead_ms = 3_600_000
            await one.append("a", Noted(2), Noted(3), ids=["e2", "e3"])
            await one.snapshots.create(numbers, "a")
            await hub.append("a", Noted(4), ids=["h4"])
            done = await one.sync(hub).once()
            assert (done.restamped, done.pushed, done.held, done.in_step) == (1, 2, 0, True)
            assert await hub.reduce(numbers, "a") == await one.reduce(numbers, "a")
            assert {*(await hub.reduce(numbers, "a") or ())} == {1, 2, 3, 4}
            assert (await one.append("a", Noted(2), Noted(3), ids=["e2", "e3"]))[0].id == "e2"
            await one.append("a", Noted(5), ids=["e5"])
            done = await one.sync(hub).once()
            assert (done.restamped, done.pushed, done.in_step) == (0, 1, True)
            for store in (one, hub):
                assert (await store.verify()).ok, (await store.verify()).problems
                assert (await store.info()).clock_ahead_ms < 1000
            assert {record.id for record in await hub.read().to_list()} & {"e2", "e3"} == set()
            assert await one.orphans() == []

    run(main)


def test_who_is_set_back_to_before_it_was_stamped_anew_does_not_hand_in_the_old_ones(
    place: Place,
) -> None:
    async def main() -> None:
        right, wrong = Machine(), Machine()
        async with (
            place.open("hub", clock=right.now_ms) as [hub],
            SetBack(place, "one", clock=wrong.now_ms) as one,
        ):
            wrong.ahead_ms = 3_600_000
            await one.store.append("a", Noted(1), Noted(2), ids=["e1", "e2"])
            await one.back_up()
            assert (await one.store.sync(hub).once()).restamped == 1
            await one.restore()
            right.ahead_ms = wrong.ahead_ms = 7_200_000  # by now the hub would take them
            assert (await one.store.sync(hub).once()).in_step
            for store in (hub, one.store):
                assert await store.reduce(numbers, "a") == [1, 2]
                assert (await store.verify()).ok, (await store.verify()).problems
            assert (await one.store.sync(hub).once()).idle
            assert (await one.store.append("a", Noted(1), ids=["e1"]))[0].id == "e1"

    run(main)


def test_what_comes_after_a_hubs_own_wrong_clock_is_stamped_anew_once_and_held(
    place: Place,
) -> None:
    async def main() -> None:
        wrong, right = Machine(), Machine()
        async with (
            place.open("hub", clock=wrong.now_ms) as [hub],
            place.open("one", clock=right.now_ms) as [one],
        ):
            wrong.ahead_ms = 3_600_000
            await hub.append("a", Noted(1), ids=["h1"])
            await one.sync(hub).once()
            wrong.ahead_ms = 0  # somebody has set it right
            await one.append("a", Noted(2), ids=["e2"])
            async with asyncio.timeout(5):
                done = await one.sync(hub).once()
            assert (done.restamped, done.held, done.in_step) == (1, 1, True)
            wrong.ahead_ms = right.ahead_ms = 3_600_000
            assert (await one.sync(hub).once()).pushed == 1
            assert await hub.reduce(numbers, "a") == await one.reduce(numbers, "a") == [1, 2]

    run(main)


def test_what_comes_after_another_hubs_wrong_clock_is_stamped_anew_once_and_held(
    place: Place,
) -> None:
    async def main() -> None:
        wrong, right = Machine(), Machine()
        async with (
            place.open("ahead", clock=wrong.now_ms) as [ahead],
            place.open("hub", "one", clock=right.now_ms) as (hub, one),
        ):
            wrong.ahead_ms = 3_600_000
            await ahead.append("a", Noted(1), ids=["h1"])
            await one.sync(ahead).once()
            await one.append("b", Noted(2), ids=["e2"])
            async with asyncio.timeout(5):
                done = await one.sync(hub).once()
            assert (done.restamped, done.held, done.in_step) == (1, 2, True)
            assert (await one.sync(hub).once()).idle
            right.ahead_ms = 3_600_000
            assert (await one.sync(hub).once()).pushed == 2
            assert await hub.reduce(numbers, "b") == await one.reduce(numbers, "b") == [2]
            assert (await one.verify()).ok

    run(main)


def test_a_hub_of_others_does_not_stamp_anew_but_holds(place: Place) -> None:
    async def main() -> None:
        right, wrong = Machine(), Machine()
        async with (
            place.open("hub", clock=right.now_ms) as [hub],
            place.open("one", "two", clock=wrong.now_ms) as (one, two),
        ):
            wrong.ahead_ms = 3_600_000
            await one.append("a", Noted(1), ids=["e1"])
            await two.sync(one).once()
            await one.append("b", Noted(2), ids=["e2"])
            done = await one.sync(hub).once()
            assert (done.restamped, done.held, done.in_step) == (0, 2, True)
            async with one.sync(hub) as sync:
                await sync.in_step()
                held = (await sync.status()).held
            assert [(each.id, each.verdict) for each in held] == [
                ("e1", "clock_ahead"),
                ("e2", "clock_ahead"),
            ]
            right.ahead_ms = 3_590_000
            done = await one.sync(hub).once()
            assert (done.pushed, done.held) == (2, 0)
            assert await ids(hub) == await ids(one) == ["e1", "e2"]

    run(main)


@pytest.mark.parametrize("policy", ["park", "retry"])
def test_the_effect_of_an_own_event_that_comes_back_is_ambiguous(policy: Any, place: Place) -> None:
    async def main() -> None:
        called = list[str]()
        projector = Projector()

        @projector.once(Noted, name="mail", on_ambiguous=policy)
        async def mail(record: Record[Noted]) -> None:
            called.append(record.id)

        async with place.open("hub") as [hub], SetBack(place, "one") as restored:
            await restored.back_up()
            await restored.store.append("a", Noted(1), ids=["e1"])
            await restored.store.sync(hub).once()
            await restored.restore()
            one = restored.store
            assert (await one.sync(hub).once()).new == 1
            [record] = await one.read().to_list()
            assert (record.hydrated, record.origin) == (True, one.ledger.identity.ledger)
            async with one.subscription("mails", projector, from_="beginning") as subscription:
                await subscription.caught_up()
                wanted = "ambiguous" if policy == "park" else "done"
                deadline = time.monotonic() + 10
                while (await one.subscriptions.effects("mails"))[0].status != wanted:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.01)
            assert called == ([] if policy == "park" else ["e1"])
            # Nobody else's ledger has anything to do with it.
            async with hub.subscription("mails", projector, from_="beginning") as subscription:
                await subscription.caught_up()
                assert await hub.subscriptions.effects("mails") == []

    run(main)


def test_a_scope_by_prefix_brings_its_streams_and_takes_whatever_is_written(place: Place) -> None:
    async def main() -> None:
        async with SetBack(place, "hub") as main_hub, place.open("one") as [one]:
            hub = main_hub.store
            for name in ("a-1", "b-1", "a-2", "b-2"):
                await hub.append(name, Noted(1), ids=[name])
            await one.append("b-3", Noted(2), ids=["b-3"])
            await one.append("a-3", Noted(2), ids=["a-3"])
            sync = one.sync(hub, prefix="a-", out_of_scope="keep")
            assert (await sync.once()).in_step
            assert await ids(one) == ["a-1", "a-2", "a-3", "b-3"]
            assert await ids(hub) == ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3"]
            assert (await sync.once()).idle
            await main_hub.back_up()
            hub = main_hub.store
            sync = one.sync(hub, prefix="a-", out_of_scope="keep")
            await hub.append("a-1", Noted(3), ids=["a-1-2"])
            await one.append("b-3", Noted(4), ids=["b-3-2"])
            assert (await sync.once()).in_step
            await main_hub.restore()
            hub = main_hub.store
            sync = one.sync(hub, prefix="a-", out_of_scope="keep")
            await hub.append("b-1", Noted(5), ids=["b-1-2"])
            assert (await sync.once()).in_step
            assert {"a-1-2", "b-3-2"} <= {*await ids(hub)}
            # Another scope: all that it wants, and what is there stays.
            assert (await one.sync(hub, prefix="b-", out_of_scope="keep").once()).in_step
            assert {"b-1", "b-2", "b-1-2", "a-1", "a-1-2"} <= {*await ids(one)}
            assert (await one.sync(hub).once()).in_step
            assert await ids(one) == await ids(hub)
            assert (await one.verify()).ok

    run(main)


def test_a_scope_by_relation_grows_with_it(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one") as (hub, one):
            for name in ("a", "b", "c"):
                await hub.append(name, Noted(1), ids=[name])
            await hub.relations.add("tenant:acme", "a")
            async with one.sync(hub, relation="tenant:acme") as sync:
                await sync.in_step()
                assert await ids(one) == ["a"]
                await hub.relations.add("tenant:acme", "b")
                await hub.append("b", Noted(2), ids=["b-2"])
                await hub.append("c", Noted(2), ids=["c-2"])
                await sync.in_step()
                assert await ids(one) == ["a", "b", "b-2"]
                await hub.relations.remove("tenant:acme", "a")
                await hub.append("a", Noted(3), ids=["a-3"])
                await one.append("a", Noted(4), ids=["a-4"])
                await sync.in_step()
                assert await ids(one) == ["b", "b-2"]
                assert "a-4" in await ids(hub)
                assert (await sync.status()).held == ()

    run(main)


def test_what_is_handed_in_and_out_of_the_scope_counts_as_pushed() -> None:
    async def main() -> None:
        async with (
            EventStore.open("memory:", events=[Noted]) as hub,
            EventStore.open("memory:", events=[Noted]) as one,
        ):
            await one.append("mine", Noted(1), Noted(2))
            await one.append("other", Noted(3))
            sync = one.sync(hub, prefix="mine")
            done = await sync.once()
            assert (done.pushed, done.idle, done.in_step) == (3, False, True)
            done = await sync.once()
            assert (done.pushed, done.idle, done.in_step) == (0, True, True)
            await one.append("other", Noted(4))
            done = await sync.once()
            assert (done.pushed, done.idle) == (1, False)
            assert len(await hub.read().to_list()) == 4

    run(main)


def test_a_relation_that_was_set_back_and_changed_as_often_is_another_one(place: Place) -> None:
    async def main() -> None:
        async with SetBack(place, "hub") as hub, place.open("one") as [one]:
            for name in ("a", "b", "c"):
                await hub.store.append(name, Noted(1), ids=[name])
            await hub.store.relations.add("tenant:acme", "a")
            await hub.back_up()
            await hub.store.relations.add("tenant:acme", "b")
            await one.sync(hub.store, relation="tenant:acme").once()
            assert await ids(one) == ["a", "b"]
            await hub.restore()
            await hub.store.relations.add("tenant:acme", "c")
            await one.sync(hub.store, relation="tenant:acme").once()
            assert "c" in await ids(one)

    run(main)


def test_an_append_to_a_strict_stream_that_is_not_wanted_is_told_as_the_hub_has_it(
    place: Place,
) -> None:
    async def main() -> None:
        async with place.open("hub", strict=["order-"]) as [hub], place.open("one") as [one]:
            await hub.append("x", Noted(0))
            async with one.sync(hub, prefix="note-") as sync:
                await sync.in_step()
                [record] = await one.append("order-1", Noted(1), expect=NEW, ids=["e1"])
                [again] = await one.append("order-1", Noted(1), expect=NEW, ids=["e1"])
                assert (record.id, record.position, record.version) == ("e1", 2, 1)
                assert again.stored == record.stored
                with pytest.raises(WrongVersion):
                    await one.append("order-1", Noted(2), expect=1)  # which it cannot have read
                [mine] = await one.append("note-1", Noted(3))
                assert mine.created > record.created
            assert await ids(one) == [mine.id]

    run(main)
