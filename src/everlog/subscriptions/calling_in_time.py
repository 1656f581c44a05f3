"""Calling in time: what a user wrote is called for so long at most, and left behind if need be."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from everlog.core.record import Record
from everlog.errors import HandlersLeftBehind
from everlog.subscriptions import time_limit
from everlog.subscriptions.calling import call, name_of
from everlog.subscriptions.handler_thread import HandlerThread
from everlog.subscriptions.time_limit import TimeLimit
from everlog.subscriptions.watch import Watch

MOST_LEFT = 32
"""So many that were cut off may run at the same time, of one worker, before it begins no more."""

_log = logging.getLogger("everlog")


class CallingInTime:
    """The calls of one worker that run in threads or in tasks of their own."""

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self._idle: list[HandlerThread] = []
        """Threads that run nothing; others are with those who call."""
        self._left: list[threading.Thread | asyncio.Task[Any]] = []
        """What was cut off and may still run."""

    def check(self) -> None:
        """Raises `HandlersLeftBehind` if too much of what was cut off still runs."""
        if self._left and (count := self._count_left()) >= MOST_LEFT:
            raise HandlersLeftBehind(self._limit.subscription, count)

    async def call(self, function: Callable[..., Any], record: Record[Any], *args: Any) -> Any:
        """Returns what a function returns that is called for an effect of a record.

        As `call`, with what it raises contained; but a `def` has a thread that no other waits for,
        and that keeps no interpreter from ending. Raises `HandlerTimedOut`.
        """
        thread = self._idle.pop() if self._idle else HandlerThread()
        watch = Watch(self._limit)
        try:
            return await self.call_in(
                thread, function, record, record, *args, watch=watch, contained=True
            )
        finally:
            watch.close()
            self._idle.append(thread)

    async def call_in(
        self,
        thread: HandlerThread,
        function: Callable[..., Any],
        record: Record[Any],
        *args: Any,
        watch: Watch,
        contained: bool = False,
        cut_off: Callable[[], None] | None = None,
    ) -> Any:
        """Returns what a function returns: as `call`, a `def` in this thread.

        Raises `HandlerTimedOut` for one that takes too long. It is cancelled, or its thread is left
        behind, and so is a task that goes on after it was cancelled. `cut_off` is called first.
        """
        seconds = self._limit.seconds
        watch.begin(function, record)
        try:
            if seconds is None:
                return await call(function, *args, in_thread=thread.run, contained=contained)
            until = _now() + seconds
            task = asyncio.create_task(
                call(function, *args, in_thread=thread.run, contained=contained)
            )
            try:
                await asyncio.wait([task], timeout=seconds)
                while not task.done() and watch.is_excused:
                    until = _now() + seconds
                    await asyncio.wait([task], timeout=seconds)
            except asyncio.CancelledError:
                # Who is called off waits for the end of a thread, as it cannot be cancelled; but no
                # longer than for any other call.
                task.cancel()
                await asyncio.wait([task], timeout=max(0.0, until - _now()))
                raise
            finally:
                is_over = not task.done()
                if is_over:
                    if cut_off is not None:
                        cut_off()
                    await self._leave(task, thread, function, record)
                elif not task.cancelled():
                    task.exception()  # looked at, also if another one is raised
            if not is_over:
                return task.result()
        finally:
            watch.end()
        raise self._limit.error(function, record)

    async def _leave(
        self,
        task: asyncio.Task[Any],
        thread: HandlerThread,
        function: Callable[..., Any],
        record: Record[Any],
    ) -> None:
        """Has a call end that took too long, or leaves it behind."""
        left = thread.leave_behind()
        if left is None:
            task.cancel()
        else:
            self._leave_behind(left, function, record)
        await asyncio.wait([task], timeout=time_limit.GRACE_S)
        if not task.done():
            self._leave_behind(task, function, record)
        elif not task.cancelled():
            task.exception()  # looked at, so that nobody is told that it was not

    def close(self) -> None:
        """Lets threads that run nothing end."""
        for thread in self._idle:
            thread.stop()
        self._idle.clear()

    def _leave_behind(
        self,
        left: threading.Thread | asyncio.Task[Any],
        function: Callable[..., Any],
        record: Record[Any],
    ) -> None:
        self._left.append(left)
        thread = isinstance(left, threading.Thread)
        _log.warning(
            "subscription %r: handler %s for record %s (position %d) took over %g s and still "
            "runs, %s; it is left behind, as one of %d (%d at most)",
            self._limit.subscription,
            name_of(function),
            record.id,
            record.position,
            self._limit.seconds,
            "in a thread, which cannot be stopped" if thread else "after it was cancelled",
            self._count_left(),
            MOST_LEFT,
        )

    def _count_left(self) -> int:
        self._left = [each for each in self._left if _runs(each)]
        return len(self._left)


def _runs(left: threading.Thread | asyncio.Task[Any]) -> bool:
    return left.is_alive() if isinstance(left, threading.Thread) else not left.done()


def _now() -> float:
    return asyncio.get_running_loop().time()
