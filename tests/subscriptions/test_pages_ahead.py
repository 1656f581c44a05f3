"""Pages ahead: the next page is there when this one is done with, and nothing is lost with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from everlog.core.selection import Selection
from everlog.errors import StorageFailed
from everlog.subscriptions.feed import Feed
from everlog.subscriptions.pages_ahead import PagesAhead
from tests.subscriptions.test_feed import Watched

SIZE = 10


def run(test: Callable[[Watched], Coroutine[Any, Any, None]], *, count: int) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            ledger = Watched()
            await ledger.add(*"s" * count)
            await test(ledger)

    asyncio.run(bounded())


def pages_of(ledger: Watched, *, after: int = 0) -> PagesAhead:
    return PagesAhead(Feed(ledger, Selection(after=after), size=SIZE))


async def turns() -> None:
    """Lets tasks go on that wait for nothing else."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_next_page_is_read_while_this_one_is_dealt_with_and_none_after_it() -> None:
    async def test(ledger: Watched) -> None:
        pages = pages_of(ledger)
        await pages.step(0)
        assert len(ledger.reads) == 1
        page = pages.take()
        assert [record.position for record in page.records] == list(range(1, 11))
        assert (page.position, page.token and page.token.position) == (10, 10)
        await turns()
        assert [after for after, _ in ledger.reads] == [0, 10]
        await asyncio.wait(pages.end())

    run(test, count=100)


def test_each_record_comes_once_and_a_page_says_where_it_ends_and_not_where_the_next_one_does() -> (
    None
):
    async def test(ledger: Watched) -> None:
        pages = pages_of(ledger)
        seen: list[int] = []
        while len(seen) < 95:
            await asyncio.wait([pages.step(1)])
            page = pages.take()
            await turns()  # the next one is there
            seen += [record.position for record in page.records]
            assert page.position == seen[-1]
            assert page.token is not None
            assert page.token.position == seen[-1]
        assert seen == list(range(1, 96))
        assert list(pages.end()) == []

    run(test, count=95)


def test_at_the_head_nothing_is_waited_for_before_it_is_asked_for() -> None:
    async def test(ledger: Watched) -> None:
        pages = pages_of(ledger)
        await pages.step(0)
        pages.take()
        await turns()
        assert ledger.waits == 0
        assert list(pages.end()) == []

    run(test, count=3)


def test_who_does_not_wait_for_a_page_is_given_the_same_one_the_next_time() -> None:
    async def test(ledger: Watched) -> None:
        pages = pages_of(ledger, after=3)
        await pages.step(0)
        pages.take()
        waiting = pages.step(30)
        await ledger.waiting.wait()
        assert pages.step(30) is waiting
        await ledger.add("s")
        assert [record.position for record in (await waiting).records] == [4]
        assert [record.position for record in pages.take().records] == [4]
        await asyncio.wait(list(pages.end()) or [asyncio.create_task(turns())])

    run(test, count=3)


def test_what_a_read_ahead_fails_with_is_raised_at_its_turn_and_is_tried_again() -> None:
    async def test(ledger: Watched) -> None:
        pages = pages_of(ledger)
        await pages.step(0)
        ledger.failure = StorageFailed("a fault")
        assert len(pages.take().records) == SIZE
        await turns()  # it has failed by now
        await asyncio.wait([pages.step(0)])
        with pytest.raises(StorageFailed, match="a fault"):
            pages.take()
        ledger.failure = None
        await pages.step(0)
        assert [record.position for record in pages.take().records] == list(range(11, 21))
        await asyncio.wait(pages.end())

    run(test, count=100)


def test_an_end_leaves_no_task_behind() -> None:
    async def test(ledger: Watched) -> None:
        pages = pages_of(ledger)
        await pages.step(0)
        pages.take()
        waiting = pages.step(30)
        await ledger.waiting.wait()
        await asyncio.wait(pages.end())
        assert waiting.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(test, count=3)
