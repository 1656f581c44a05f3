"""Waiting: one look serves all, none is answered by what was before, and no end is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from everlog.errors import StorageFailed, StoreClosed
from everlog.ports.waiting import Waiting

PATIENCE_S = 30.0


class Log:
    """A head that a test moves, and looks at it that a test holds up."""

    def __init__(self, *, poll_s: float | None = None) -> None:
        self.head = 0
        self.looks = 0
        self.failure: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.looking = asyncio.Event()
        self.waiting = Waiting(self._look, poll_s=lambda: poll_s)

    def start(self, position: int, timeout_s: float = PATIENCE_S) -> asyncio.Task[int]:
        return asyncio.create_task(self.waiting.wait(position, timeout_s))

    async def _look(self) -> int:
        self.looks += 1
        found = self.head  # of the moment in which the look begins
        self.looking.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return found

    async def held_up(self) -> None:
        """Holds up the looks from the next one on; to be followed by what makes it begin."""
        self.gate.clear()
        self.looking.clear()


async def told(*waits: asyncio.Task[int]) -> list[int]:
    """Returns what they are told; fails where nobody tells them in time."""
    _, left = await asyncio.wait(waits, timeout=PATIENCE_S / 3)
    assert not left, "they wait for ever"
    return [wait.result() for wait in waits]


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_one_look_answers_all_who_wait() -> None:
    async def test() -> None:
        log = Log()
        waits = [log.start(0) for _ in range(500)]
        await settled()
        assert log.looks == 1
        log.head = 1
        log.waiting.hint()
        assert await told(*waits) == [1] * 500
        assert log.looks == 2

    run(test)


def test_one_look_tells_all_whose_time_is_up_at_once() -> None:
    async def test() -> None:
        log = Log()
        waits = [log.start(9, timeout_s=0.01) for _ in range(500)]
        assert await told(*waits) == [0] * 500
        assert log.looks <= 50  # as timers of one moment come in a few turns of the loop

    run(test)


def test_what_happens_during_a_look_is_looked_for_again() -> None:
    async def test() -> None:
        log = Log()
        await log.held_up()
        wait = log.start(0)
        await log.looking.wait()  # it has found nothing yet
        log.head = 1
        log.waiting.hint()
        log.gate.set()
        assert await told(wait) == [1]

    run(test)


def test_who_comes_during_a_look_is_not_told_what_was_before() -> None:
    async def test() -> None:
        log = Log()
        await log.held_up()
        first = log.start(9)
        await log.looking.wait()
        log.head = 3
        late = log.start(9, timeout_s=0)
        await settled()
        log.gate.set()
        assert await told(late) == [3]
        first.cancel()

    run(test)


def test_without_hints_it_is_looked_for_by_the_clock_and_only_while_somebody_waits() -> None:
    async def test() -> None:
        log = Log(poll_s=0.001)
        wait = log.start(0)
        for _ in range(3):
            log.looking.clear()
            await log.looking.wait()
        log.head = 1
        assert await told(wait) == [1]
        await settled()
        looks = log.looks
        await asyncio.sleep(0.02)
        assert log.looks == looks

    run(test)


def test_a_look_that_fails_is_told_to_all_and_the_next_wait_looks_anew() -> None:
    async def test() -> None:
        log = Log()
        await log.held_up()
        log.failure = StorageFailed("no")
        waits = [log.start(0) for _ in range(3)]
        await log.looking.wait()
        waits.append(log.start(0))  # also who comes while it is about to fail
        await settled()
        log.gate.set()
        for wait in waits:
            with pytest.raises(StorageFailed):
                await told(wait)
        log.failure, log.head = None, 1
        assert await log.start(0) == 1

    run(test)


def test_a_look_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def test() -> None:
        log = Log()
        log.failure = asyncio.CancelledError()
        wait = log.start(0)
        with pytest.raises(asyncio.CancelledError):
            await wait
        log.failure, log.head = None, 1
        assert await log.start(0) == 1

    run(test)


def test_who_is_cancelled_is_cancelled_though_an_answer_comes_at_the_same_moment() -> None:
    async def test() -> None:
        log = Log()
        wait = log.start(0)
        await settled()
        [future] = log.waiting._waiting  # pyright: ignore[reportPrivateUsage]
        future.set_result(1)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait

    run(test)


def test_the_last_who_leaves_ends_the_task() -> None:
    async def test() -> None:
        log = Log()
        mine = asyncio.all_tasks()
        waits = [log.start(0) for _ in range(3)]
        await settled()
        assert len(asyncio.all_tasks() - mine) == 4
        for left, wait in zip((2, 1, 0), waits, strict=True):
            wait.cancel()
            await settled()
            assert log.waiting.anybody is (left > 0)
            assert len(asyncio.all_tasks() - mine) == (left + 1 if left else 0)

    run(test)


def test_closing_is_told_to_all_and_ends_the_task_whatever_it_does() -> None:
    async def test() -> None:
        for looking in (True, False):
            log = Log()
            mine = asyncio.all_tasks()
            if looking:
                await log.held_up()
            waits = [log.start(0), log.start(0, timeout_s=0)] if looking else [log.start(0)]
            await settled()
            await log.waiting.close(StoreClosed("closed"))
            for wait in waits:
                with pytest.raises(StoreClosed):
                    await told(wait)
            with pytest.raises(StoreClosed):
                await log.waiting.wait(0, 0)
            assert asyncio.all_tasks() == mine

    run(test)
