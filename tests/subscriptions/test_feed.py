"""The feed: each record once and in order, whatever happens between two pages."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from everlog.adapters.memory.ledger import MemoryLedger
from everlog.core.chain import GENESIS
from everlog.core.record import StoredRecord
from everlog.core.relation import Relate
from everlog.core.selection import Cursor, Order, Page, Selection
from everlog.core.token import ResumeToken
from everlog.errors import InvalidInput, LogDiverged, StorageFailed, StoreClosed
from everlog.ports.seams import Seams
from everlog.subscriptions import feed as feed_module
from everlog.subscriptions.feed import Feed
from everlog.testing import FakeClock
from everlog.testing.contract.committing import append, new, place

PATIENCE_S = 10.0
"""Longer than anything here takes."""


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await test()
        except TimeoutError:
            raise AssertionError("it waits for ever") from None

    asyncio.run(bounded())


class Watched(MemoryLedger):
    """A ledger that counts what it is asked, and fails or is exchanged when a test says so."""

    def __init__(self) -> None:
        # The same chance and time: two of them are two histories of one ledger.
        super().__init__(seams=Seams(now_ms=FakeClock(), random_bytes=random.Random(0).randbytes))
        self.reads: list[tuple[int, int]] = []
        self.waits = 0
        self.failure: Exception | None = None
        self.waiting = asyncio.Event()

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        self.reads.append((selection.after, size))
        if self.failure is not None:
            raise self.failure
        return await super().read(selection, cursor=cursor, size=size)

    async def wait(self, position: int, *, timeout_s: float) -> int:
        self.waits += 1
        self.waiting.set()
        return await super().wait(position, timeout_s=timeout_s)

    async def add(self, *streams: str) -> None:
        count = (await self.head()).position
        events = [new(f"{count + number}", stream) for number, stream in enumerate(streams)]
        await place(self, append(*events))

    def become(self, other: Watched) -> None:
        """Is from now on what another server has, which took its place."""
        vars(self)["_tables"] = vars(other)["_tables"]


def positions(records: Sequence[StoredRecord]) -> list[int]:
    return [record.position for record in records]


def test_it_gives_what_there_is_page_by_page_and_then_what_comes() -> None:
    async def test() -> None:
        ledger = Watched()
        await ledger.add(*"aaaaa")
        feed = Feed(ledger, Selection(), size=2)
        given: Sequence[StoredRecord]
        for page, caught_up in (([1, 2], False), ([3, 4], False), ([5], True)):
            given = await feed.next()
            assert positions(given) == page
            assert feed.caught_up is caught_up
            assert feed.position == page[-1]
            last = given[-1]
            identity = ledger.identity
            assert feed.token == ResumeToken(
                identity.ledger, identity.epoch, last.position, last.chain
            )
        coming = asyncio.create_task(feed.next())
        await ledger.waiting.wait()
        await ledger.add("a", "a", "a")
        assert positions(await coming) == [6, 7]
        assert not feed.caught_up
        assert positions(await feed.next()) == [8]
        assert feed.caught_up

    run(test)


def test_after_its_time_it_gives_none_and_goes_on() -> None:
    async def test() -> None:
        ledger = Watched()
        feed = Feed(ledger, Selection())
        for timeout_s in (0, 0.01, 0):
            assert list(await feed.next(timeout_s)) == []
            assert feed.caught_up
            assert feed.position == 0
        await ledger.add("a")
        assert positions(await feed.next(0)) == [1]

    run(test)


def test_its_position_moves_past_what_is_left_out_and_so_does_its_token() -> None:
    async def test() -> None:
        ledger = Watched()
        feed = Feed(ledger, Selection(prefix="b"))
        await ledger.add("a", "b", "a")
        assert positions(await feed.next(0)) == [2]
        assert feed.position == 3
        await ledger.add("a", "a")
        assert list(await feed.next(0)) == []
        assert feed.position == 5
        head = await ledger.head()
        assert feed.token is not None
        assert (feed.token.position, feed.token.chain) == (5, head.chain)
        # Who goes on from there is given what comes and looks at nothing twice.
        other = Feed(ledger, Selection(prefix="b", after=5, seen=feed.token))
        await ledger.add("b")
        assert positions(await other.next(0)) == positions(await feed.next(0)) == [6]

    run(test)


def test_a_step_tells_that_it_moved_though_nothing_was_selected() -> None:
    async def test() -> None:
        ledger = Watched()
        feed = Feed(ledger, Selection(prefix="b"))
        assert list(await feed.step()) == []
        moving = asyncio.create_task(feed.step())
        await ledger.waiting.wait()
        await ledger.add("a")
        assert list(await moving) == []
        assert feed.position == 1

    run(test)


def test_what_was_left_out_does_not_end_the_wait_for_what_is_selected() -> None:
    async def test() -> None:
        ledger = Watched()
        feed = Feed(ledger, Selection(prefix="b"))
        coming = asyncio.create_task(feed.next())
        await ledger.waiting.wait()
        for _ in range(5):
            await ledger.add("a")
            await asyncio.sleep(0)
        await ledger.add("b")
        assert positions(await coming) == [6]

    run(test)


def test_at_the_head_it_waits_and_reads_only_when_there_is_something() -> None:
    async def test() -> None:
        ledger = Watched()
        await ledger.add("a")
        feed = Feed(ledger, Selection())
        await feed.next()
        assert (len(ledger.reads), ledger.waits) == (1, 0)  # it may be far behind: it reads first
        await feed.next(0.01)
        assert (len(ledger.reads), ledger.waits) == (1, 1)
        await ledger.add("a")
        await feed.next()
        assert (len(ledger.reads), ledger.waits) == (2, 2)

    run(test)


def test_a_position_beyond_the_head_is_waited_for() -> None:
    async def test() -> None:
        ledger = Watched()
        await ledger.add("a", "a")
        feed = Feed(ledger, Selection(after=4))
        assert list(await feed.next(0)) == []
        assert (feed.position, feed.token) == (4, None)
        await ledger.add(*"aaaa")
        assert positions(await feed.next()) == [5, 6]
        assert feed.token is not None

    run(test)


def test_there_is_a_token_of_the_beginning_and_none_of_a_bare_number_before_a_page() -> None:
    async def test() -> None:
        ledger = Watched()
        await ledger.add("a", "a")
        identity = ledger.identity
        beginning = ResumeToken(identity.ledger, identity.epoch, 0, GENESIS)
        assert Feed(ledger, Selection()).token == beginning
        feed = Feed(ledger, Selection(after=1))
        assert feed.token is None
        await feed.next()
        assert feed.token is not None

    run(test)


@pytest.mark.parametrize("instead", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, None])
def test_where_the_log_is_exchanged_beneath_it_it_says_so_and_skips_nothing(
    instead: int, size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LOOK_AGAIN_S", 0.01)

    async def test() -> None:
        ledger, standby = Watched(), Watched()
        for each in (ledger, standby):
            await each.add("a", "a")
        await ledger.add("lost", "lost")
        for _ in range(instead):
            await standby.add("instead")
        feed = Feed(ledger, Selection(), size=size)
        while not feed.caught_up:
            await feed.next()
        ledger.become(standby)
        for _ in range(2):  # and goes on saying so
            with pytest.raises(LogDiverged) as caught:
                await feed.next()
            assert caught.value.position == 4
            assert feed.position == 4

    run(test)


def test_between_two_pages_of_what_there_was_it_says_so_too() -> None:
    async def test() -> None:
        ledger, standby = Watched(), Watched()
        await ledger.add(*["lost"] * 4)
        await standby.add(*["instead"] * 4)
        feed = Feed(ledger, Selection(), size=2)
        await feed.next()
        ledger.become(standby)
        with pytest.raises(LogDiverged):
            await feed.next()

    run(test)


def test_after_an_error_it_goes_on_where_it_was() -> None:
    async def test() -> None:
        ledger = Watched()
        await ledger.add(*"aaa")
        feed = Feed(ledger, Selection(), size=2)
        given = [*await feed.next()]
        ledger.failure = StorageFailed("gone")
        with pytest.raises(StorageFailed):
            await feed.next()
        assert feed.position == 2
        ledger.failure = None
        given += await feed.next()
        assert positions(given) == [1, 2, 3]

    run(test)


def test_cancelled_at_any_await_it_loses_nothing_and_repeats_nothing() -> None:
    async def test() -> None:
        ledger = Watched()
        feed = Feed(ledger, Selection(), size=3)
        chance = random.Random(7)
        given: list[int] = []
        appended = 0
        while appended < 300:
            reading = asyncio.create_task(feed.next())
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            if chance.random() < 0.7:
                count = chance.randrange(1, 5)
                await ledger.add(*["a"] * count)
                appended += count
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            reading.cancel()
            [outcome] = await asyncio.gather(reading, return_exceptions=True)
            if not isinstance(outcome, BaseException):
                given += positions(outcome)
        while rest := await feed.next(0):
            given += positions(rest)
        assert given == [*range(1, appended + 1)]

    run(test)


def test_who_waits_is_told_that_the_store_was_closed() -> None:
    async def test() -> None:
        ledger = Watched()
        feed = Feed(ledger, Selection())
        waiting = asyncio.create_task(feed.next())
        await ledger.waiting.wait()
        await ledger.close()
        with pytest.raises(StoreClosed):
            await waiting
        with pytest.raises(StoreClosed):
            await feed.next(0)

    run(test)


def test_the_streams_of_a_relation_are_those_of_when_a_page_is_read() -> None:
    async def test() -> None:
        ledger = Watched()
        await ledger.commit([Relate(add=(("r", "a"),))])
        await ledger.add(*"abab")
        feed = Feed(ledger, Selection(relation="r"), size=1)
        assert positions(await feed.next()) == [1]
        await ledger.commit([Relate(add=(("r", "b"),))])
        assert positions(await feed.next()) == [2]
        await ledger.commit([Relate(remove=(("r", "a"),))])
        assert positions(await feed.next()) == [4]
        assert feed.position == 4

    run(test)


def test_pages_of_a_wide_relation_are_larger_unless_a_size_is_given() -> None:
    async def test() -> None:
        ledger = Watched()
        await ledger.commit([Relate(add=tuple(("r", f"s{n}") for n in range(8_000)))])
        for size, asked in ((None, [1_000, 2_000]), (7, [7, 7])):
            ledger.reads.clear()
            feed = Feed(ledger, Selection(relation="r"), size=size)
            for _ in range(2):
                await ledger.add("other")
                await feed.next(0)
            assert [size for _, size in ledger.reads] == asked

    run(test)


@pytest.mark.parametrize(
    "selection",
    [
        Selection(until=3),
        Selection(limit=3),
        Selection(as_of="0" * 32),
        Selection(backwards=True),
        Selection(order=Order.CREATED),
        Selection(resolved=True),
    ],
)
def test_what_has_an_end_or_another_order_is_refused(selection: Selection) -> None:
    async def test() -> None:
        with pytest.raises(InvalidInput):
            Feed(Watched(), selection)
        with pytest.raises(InvalidInput):
            Feed(Watched(), Selection(), size=0)

    run(test)
