"""Stepping: running what may cancel the task that it runs in, without being cancelled with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Generator
from types import coroutine
from typing import Any, Protocol


class Watching(Protocol):
    """Who looks at the clock meanwhile."""

    @property
    def gave_up(self) -> bool:
        """Whether the work is not to be resumed, as it goes on after it was cancelled."""
        ...


@coroutine
def _steps(
    work: Coroutine[Any, Any, Any],
    task: asyncio.Task[Any],
    own: list[int],
    waits_for: Any,
    watch: Watching | None,
) -> Generator[Any, Any, Any]:
    """Is `yield from` behind its first step, which waits for that.

    Counts how often the work has cancelled the task in its own steps.
    """
    while True:
        said: Any = None
        failure: BaseException | None = None
        try:
            said = yield waits_for
        except BaseException as error:
            failure = error
        before = task.cancelling()
        try:
            if watch is not None and watch.gave_up:
                work.close()
                return None
            waits_for = work.send(said) if failure is None else work.throw(failure)
        except StopIteration as end:
            return end.value
        finally:
            # Whoever else cancels does so while it waits. Below zero: what a timeout takes back.
            own[0] = max(0, own[0] + task.cancelling() - before)


def in_steps(
    work: Awaitable[Any], task: asyncio.Task[Any] | None, watch: Watching | None = None
) -> Awaitable[None] | None:
    """Runs the work up to where it first waits; returns what is left of it to be awaited, if any.

    That raises `RuntimeError` if the work has cancelled the task in which it runs: the caller's,
    which is given. It is no task of its own, which would cost more than what most handlers do; and
    most wait for nothing, so that even a coroutine around them would be dear.

    `watch`: asked before each further step.
    """
    if task is None:
        return work
    if not asyncio.iscoroutine(work):
        work = _awaited(work)
    before = task.cancelling()
    try:
        waits_for = work.send(None)
    except StopIteration:
        own = task.cancelling() - before
        return _refused(own) if own > 0 else None
    except BaseException as error:
        own = task.cancelling() - before
        if own > 0:
            return _refused(own, error)
        raise
    return _rest(work, task, max(0, task.cancelling() - before), waits_for, watch)


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


async def _rest(
    work: Coroutine[Any, Any, Any],
    task: asyncio.Task[Any],
    cancelled: int,
    waits_for: Any,
    watch: Watching | None,
) -> None:
    own = [cancelled]
    try:
        await _steps(work, task, own, waits_for, watch)
    except BaseException as error:
        if not own[0]:
            raise
        await _refused(own[0], error)
    else:
        await _refused(own[0])


async def _refused(own: int, error: BaseException | None = None) -> None:
    """Takes back the work's own cancellations; raises what it ends with."""
    await forget(own)
    if own and (error is None or isinstance(error, asyncio.CancelledError)):
        raise RuntimeError("a handler has cancelled the task that it runs in") from error
    if error is not None:
        raise error


async def forget(count: int) -> None:
    """Takes back so many cancellations of the running task by itself."""
    task = asyncio.current_task()
    if task is None or not count:
        return
    for _ in range(count):
        task.uncancel()
    if not task.cancelling():
        try:
            await asyncio.sleep(0)  # where one that has not come yet does
        except asyncio.CancelledError:
            if task.cancelling():  # of somebody else, meanwhile
                raise
