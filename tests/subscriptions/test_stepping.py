"""Stepping: work that cancels its own task has failed, in whichever of its steps it does so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from everlog.subscriptions.causation import caused_by, current_cause, handling, inside_handler
from everlog.subscriptions.stepping import in_steps
from tests.store.watched import run

Work = Callable[[], Awaitable[None]]


async def _stepped(work: Awaitable[None]) -> bool:
    """Runs it to its end; returns whether there was anything left to be awaited."""
    rest = in_steps(work, asyncio.current_task())
    if rest is not None:
        await rest
    return rest is not None


def _cancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def _waits_for_nothing() -> None: ...


async def _waits() -> None:
    await asyncio.sleep(0)


async def _cancels_at_once() -> None:
    _cancel()


async def _cancels_and_waits() -> None:
    _cancel()
    await asyncio.sleep(1)


async def _cancels_behind_a_wait() -> None:
    await asyncio.sleep(0)
    _cancel()


async def _cancels_and_fails() -> None:
    _cancel()
    raise KeyError("its own")


def test_what_waits_for_nothing_has_ended_at_once() -> None:
    async def main() -> None:
        assert not await _stepped(_waits_for_nothing())
        assert await _stepped(_waits())

    run(main)


@pytest.mark.parametrize("work", [_cancels_at_once, _cancels_and_waits, _cancels_behind_a_wait])
def test_work_that_cancels_its_own_task_has_failed_and_the_task_goes_on(work: Work) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="has cancelled the task"):
            await _stepped(work())
        await asyncio.sleep(0)  # where a cancellation that was not taken back would come
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run(main)


def test_what_it_fails_with_is_not_hidden_by_its_cancellation() -> None:
    async def main() -> None:
        with pytest.raises(KeyError, match="its own"):
            await _stepped(_cancels_and_fails())
        await asyncio.sleep(0)

    run(main)


def test_who_else_cancels_the_task_cancels_it() -> None:
    async def main() -> None:
        began = asyncio.Event()

        async def hang() -> None:
            began.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(_stepped(hang()))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(main)


def test_a_task_that_outlives_its_handler_is_not_inside_of_it() -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def look() -> tuple[bool, bool]:
            inside = inside_handler()
            await ended.wait()
            return inside, inside_handler()

        with caused_by("request-1"):
            with handling(None):
                task = asyncio.create_task(look())
                await asyncio.sleep(0)
            ended.set()
            assert await task == (True, False)
            assert current_cause() == ("request-1", None)

    run(main)
