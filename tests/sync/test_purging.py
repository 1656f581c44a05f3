"""What is outside of a scope goes, once the hub has it for good and nothing here needs it."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
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
    reducer,
)
from everlog.core.sequencer import Append
from everlog.core.taking import Judged
from everlog.errors import ContentGone, NotSupported, UpstreamFault
from everlog.sync.hub import Hub
from everlog.wire.messages import Asked, Forked, Hello, Made, Offer, Pulled, Pushed, Welcome
from tests.store.watched import Noted, Notes, Said, run
from tests.sync.places import Place


@reducer("numbers", initial=list[int])
def numbers(state: list[int], record: Record[Any]) -> list[int]:
    return [*state, record.data.number]


async def ids(store: EventStore) -> list[str]:
    return sorted([record.id async for record in store.read()])


async def tombstones(store: EventStore) -> int:
    """Returns how many there are, in a log that is sound."""
    verification = await store.verify()
    assert verification.problems == ()
    return verification.tombstones


def test_what_an_edge_writes_outside_of_its_scope_goes_when_the_hub_has_it(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one") as (hub, one):
            await hub.append("b-1", Noted(1), ids=["b-1"])
            await one.append("a-1", Noted(1), ids=["a-1"])
            await one.append("b-2", Noted(2), Noted(3), ids=["b-2", "b-2-2"])
            sync = one.sync(hub, prefix="a-")
            done = await sync.once()
            assert (done.in_step, done.purged) == (True, 2)
            assert await ids(one) == ["a-1"]
            assert await ids(hub) == ["a-1", "b-1", "b-2", "b-2-2"]
            assert await tombstones(one) == 2
            assert (await sync.once()).idle
            assert (await sync.once()).purged == 0
            # It goes on where it was.
            [record] = await one.append("a-1", Noted(4), ids=["a-1-2"], expect=1)
            assert (record.position, record.version) == (4, 2)
            assert (await sync.once()).in_step
            assert await one.reduce(numbers, "a-1") == await hub.reduce(numbers, "a-1") == [1, 4]

    run(main)


def test_what_leaves_a_scope_goes_and_what_comes_into_it_again_is_back(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one") as (hub, one):
            for name in ("a", "b", "c"):
                await hub.append(name, Noted(1), Noted(2), ids=[name, f"{name}-2"])
            await hub.relations.add("tenant:acme", "a")
            await hub.relations.add("tenant:acme", "b")
            sync = one.sync(hub, relation="tenant:acme")
            await sync.once()
            assert await ids(one) == ["a", "a-2", "b", "b-2"]
            before = [record.stored async for record in one.read("a")]
            await hub.relations.remove("tenant:acme", "a")
            assert (await sync.once()).purged == 2
            assert await ids(one) == ["b", "b-2"]
            assert await tombstones(one) == 2
            await hub.append("a", Noted(3), ids=["a-3"])
            await hub.relations.add("tenant:acme", "a")
            assert (await sync.once()).in_step
            assert await ids(one) == ["a", "a-2", "a-3", "b", "b-2"]
            assert [record.stored async for record in one.read("a", until=4)] == before
            assert await one.reduce(numbers, "a") == [1, 2, 3]
            assert await tombstones(one) == 0
            # And with all of it there is nothing outside.
            await one.sync(hub, prefix="c").once()
            assert await ids(one) == ["c", "c-2"]
            assert (await one.sync(hub).once()).in_step
            assert await ids(one) == await ids(hub)
            assert await tombstones(one) == 0

    run(main)


def test_nothing_goes_above_the_stable_position_of_the_hub(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        stable = 0

        async def told() -> int:
            if stable < 0:
                raise OSError("the standby is away")
            return stable

        async with store() as hub, store() as one:
            await one.append("b", Noted(1), Noted(2), Noted(3), ids=["1", "2", "3"])
            sync = one.sync(hub.as_hub(stable=told), prefix="a")
            assert (await sync.once()).purged == 0
            assert await ids(one) == ["1", "2", "3"]
            stable = 2
            assert (await sync.once()).purged == 2
            assert await ids(one) == ["3"]
            stable = -1
            assert (await sync.once()).purged == 0
            assert await ids(one) == ["3"]
            stable = 1_000  # more than it has: the head
            assert (await sync.once()).purged == 1
            assert await ids(hub) == ["1", "2", "3"]
            await one.append("b", Noted(4))
            assert (await one.sync(hub.as_hub(stable=3), prefix="a").once()).purged == 0
            assert (await one.sync(hub.as_hub(stable=lambda: 4), prefix="a").once()).purged == 1

    run(main)
    assert "stable position is not known" in caplog.text


def test_what_tells_the_stable_position_must_be_able_to() -> None:
    async def main() -> None:
        async with store() as hub, store() as one:
            for wrong in (-1, True, "head", 1.5):
                with pytest.raises(InvalidInput, match="must be a position"):
                    hub.as_hub(stable=wrong)
            await one.append("b", Noted(1))
            for odd in ("head", None, -5, 1.5):
                line = hub.as_hub(stable=partial(_itself, odd))
                assert (await one.sync(line, prefix="a").once()).purged == 0
            with pytest.raises(InvalidInput, match='must be "purge" or "keep"'):
                one.sync(hub, out_of_scope="drop")

    run(main)


def test_who_wants_to_keep_it_keeps_it(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one") as (hub, one):
            await one.append("b", Noted(1), ids=["b"])
            assert (await one.sync(hub, prefix="a", out_of_scope="keep").once()).purged == 0
            assert await ids(one) == await ids(hub) == ["b"]
            assert (await one.sync(hub, prefix="a").once()).purged == 1
            assert await ids(one) == []

    run(main)


# --- who needs it ---


def test_what_a_subscription_has_not_passed_stays(place: Place) -> None:
    async def main() -> None:
        seen: list[str] = []
        projector = Projector()

        @projector.all(Noted)
        async def see(record: Record[Noted]) -> None:
            seen.append(record.id)

        async with place.open("hub", "one") as (hub, one):
            async with one.subscription("seeing", projector) as subscription:
                await subscription.caught_up()
            await one.append("b", Noted(1), Noted(2), ids=["1", "2"])
            sync = one.sync(hub, prefix="a")
            assert (await sync.once()).purged == 0
            assert await ids(one) == await ids(hub) == ["1", "2"]
            async with one.subscription("seeing", projector) as subscription:
                await subscription.caught_up()
            assert seen == ["1", "2"]
            assert (await sync.once()).purged == 2
            assert await ids(one) == []
            # It comes again, and nobody who had it is handed it again.
            await one.append("a", Noted(3), ids=["3"])
            await one.sync(hub).once()
            async with one.subscription("seeing", projector) as subscription:
                await subscription.caught_up()
            assert seen == ["1", "2", "3"]
            assert await ids(one) == ["1", "2", "3"]

    run(main)


def test_what_is_set_aside_stays_until_it_was_dealt_with(place: Place) -> None:
    async def main() -> None:
        projector = Projector()
        well = False

        @projector.all(Noted)
        async def refuse(record: Record[Noted]) -> None:
            if record.stream == "b" and not well:
                raise ValueError("no")

        async with place.open("hub", "one") as (hub, one):

            async def none_is_parked() -> bool:
                return not await one.subscriptions.parked("x")

            await one.append("b", Noted(1), Noted(2), ids=["1", "2"])
            await one.append("c", Noted(3), ids=["3"])
            async with one.subscription("x", projector, on_error="park") as subscription:
                await subscription.caught_up()
                sync = one.sync(hub, prefix="a")
                assert (await sync.once()).purged == 1
                assert await ids(one) == ["1", "2"]
                assert (await sync.once()).purged == 0
                well = True
                await one.subscriptions.retry("x")
                await until(none_is_parked)
                assert (await sync.once()).purged == 2
            assert await ids(one) == []

    run(main)


def test_what_an_effect_is_owed_for_stays_until_it_is_done(place: Place) -> None:
    async def main() -> None:
        projector = Projector()
        called: list[str] = []
        begun, go = asyncio.Event(), asyncio.Event()

        @projector.once(Noted, idempotent=True)
        async def call(record: Record[Noted]) -> None:
            called.append(record.id)
            begun.set()
            await go.wait()

        async with place.open("hub", "one") as (hub, one):
            async with one.subscription("x", projector) as subscription:
                await subscription.caught_up()
                await one.append("b", Noted(1), ids=["1"])
                await begun.wait()
                sync = one.sync(hub, prefix="a")
                assert (await sync.once()).purged == 0
                assert await ids(one) == ["1"]
                go.set()
                await subscription.caught_up()

                async def has_gone() -> int:
                    return (await sync.once()).purged

                await until(has_gone)
            assert called == ["1"]
            assert await ids(one) == []

    run(main)


def test_a_subscription_begins_behind_what_went(place: Place) -> None:
    async def main() -> None:
        seen: list[str] = []
        projector = Projector()

        @projector.all(Noted)
        async def see(record: Record[Noted]) -> None:
            seen.append(record.id)

        async with place.open("hub", "one") as (hub, one):
            await one.append("b", Noted(1), Noted(2), ids=["1", "2"])
            await one.append("a", Noted(3), ids=["3"])
            await one.append("b", Noted(4), ids=["4"])
            sync = one.sync(hub, prefix="a")
            assert (await sync.once()).purged == 3
            async with one.subscription("seeing", projector) as subscription:
                await subscription.caught_up()
                [status] = await one.subscriptions.status()
                assert status.behind == 0
            assert seen == ["3"]
            followed = one.follow(after=0)
            await one.append("a", Noted(5), ids=["5"])
            got: list[str] = []
            async for record in followed:
                got.append(record.id)
                if record.id == "5":
                    break
            assert got == ["3", "5"]

    run(main)


def test_where_others_may_need_it_nothing_goes(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one", "leaf") as (hub, one, leaf):
            await one.append("b", Noted(1), ids=["b"])
            await leaf.sync(one).once()
            assert (await one.sync(hub, prefix="a").once()).purged == 0
            assert await ids(one) == await ids(leaf) == await ids(hub) == ["b"]

    run(main)


def test_a_ledger_of_which_a_part_went_is_no_hub(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one", "leaf") as (hub, one, leaf):
            await one.append("b", Noted(1), ids=["b"])
            await one.sync(hub, prefix="a").once()
            with pytest.raises(NotSupported, match="cannot be a hub"):
                await leaf.sync(one).once()
            await one.sync(hub).once()  # all of it
            assert (await leaf.sync(one).once()).in_step
            assert await ids(leaf) == ["b"]
            # From here on nothing goes.
            assert (await one.sync(hub, prefix="a").once()).purged == 0

    run(main)


# --- what programs see ---


def test_a_stream_of_which_a_part_went_is_not_folded(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one", snapshots="manual") as (hub, one):
            await one.append("b", Noted(1), Noted(2), ids=["1", "2"])
            await one.snapshots.create(numbers, "b")
            await one.sync(hub, prefix="a").once()
            assert await one.read("b").to_list() == []
            with pytest.raises(WrongVersion):
                await one.append("b", Noted(3), expect=NEW)
            await one.append("b", Noted(3), ids=["3"], expect=2)
            with pytest.raises(ContentGone) as caught:
                await one.reduce(numbers, "b")
            assert (caught.value.stream, caught.value.position) == ("b", 1)
            with pytest.raises(ContentGone):
                await one.get(Notes, "b")
            await one.sync(hub).once()
            assert await one.reduce(numbers, "b") == [1, 2, 3]
            notes = await one.get(Notes, "b")
            assert notes is not None
            assert notes.total == 6

    run(main)


def test_a_retry_of_what_went_is_still_one(place: Place) -> None:
    async def main() -> None:
        async with place.open("hub", "one") as (hub, one):
            [first] = await one.append("b", Noted(1), ids=["1"])
            await one.sync(hub, prefix="a").once()
            assert await one.find("1") is None
            assert (await one.status(first)).exists
            [again] = await one.append("b", Noted(1), ids=["1"], expect=NEW)
            assert (again.position, again.hash, again.data) == (1, first.hash, Noted(1))
            assert [each async for each in one.read()] == []
            done = await one.import_records(hub.read())
            assert await ids(one) == []
            assert done is not None

    run(main)


def test_a_state_projection_is_left_as_it_was_made_of_the_whole_stream(place: Place) -> None:
    async def main() -> None:
        states: list[tuple[str, list[int]]] = []
        projector = Projector()

        @projector.state(numbers, Noted)
        async def show(state: list[int], record: Record[Any]) -> None:
            states.append((record.stream, state))

        async with (
            place.open("hub", "one") as (hub, one),
            one.subscription("x", projector) as subscription,
        ):
            await one.append("b", Noted(1), ids=["1"])
            await subscription.caught_up()
            assert (await one.sync(hub, prefix="a").once()).purged == 1
            await one.append("b", Noted(2), ids=["2"])
            await one.append("a", Noted(3), ids=["3"])
            await subscription.caught_up()
            assert states == [("b", [1]), ("a", [3])]
            assert (await one.sync(hub, prefix="a").once()).purged == 1

    run(main)


# --- hubs that say what cannot be ---


class Saying:
    """A hub that says of whatever it is offered that nobody wants it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def hello(self, hello: Hello) -> Welcome:
        return await self._hub.hello(hello)

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        return await self._hub.pull(asked, size=size)

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        answer = await self._hub.push(asked, offers)
        assert isinstance(answer, Pushed)
        judged = [Judged(each.id, "out_of_scope", each.position) for each in answer.judged]
        return answer._replace(judged=judged)

    async def append(self, hub: str, request: Append) -> Made:
        return await self._hub.append(hub, request)

    async def wait(self, position: int, *, timeout_s: float) -> int:
        return await self._hub.wait(position, timeout_s=timeout_s)


@pytest.mark.parametrize("prefix", [None, "a"])
def test_nothing_goes_on_the_word_of_a_hub_that_contradicts_the_scope(prefix: str | None) -> None:
    async def main() -> None:
        async with store() as hub, store() as one:
            await one.append("a", Noted(1), ids=["1"])
            with pytest.raises(UpstreamFault, match="in the scope"):
                await one.sync(Saying(hub.as_hub()), prefix=prefix).once()
            assert await ids(one) == ["1"]

    run(main)


# --- what the database keeps ---


def test_of_what_went_nothing_is_left_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    secret = "a-word-that-nobody-may-find"

    def everywhere() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.glob("one.db*"))

    @reducer("words", initial=list[str])
    def words(state: list[str], record: Record[Any]) -> list[str]:
        return [*state, record.stream, str(record.json)]

    async def main() -> None:
        async with store() as hub:
            async with EventStore.open(f"sqlite:///{path}", events=[Noted, Said]) as one:
                for number in range(50):
                    await one.append("b", Said(secret * (200 if number % 7 == 0 else 1)))
                await one.append("a", Noted(1))
                await one.snapshots.create(words, "b")
                assert secret.encode() in everywhere()
                assert (await one.sync(hub, prefix="a").once()).purged == 50
            # Closed: its write-ahead log has become part of it.
            assert secret.encode() not in everywhere()
            async with EventStore.open(f"sqlite:///{path}", events=[Noted, Said]) as one:
                assert await tombstones(one) == 50
                assert len(await ids(hub)) == 51

    run(main)


def _itself(value: Any) -> Any:
    return value


async def until(true: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(25):
        while not await true():  # noqa: ASYNC110 - of what others write there is no event
            await asyncio.sleep(0.01)


def store() -> Any:
    return EventStore.open("memory:", events=[Noted])
