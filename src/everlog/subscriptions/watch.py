"""Watch: who looks at the clock while an `async def` handler runs, and cuts it off."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from everlog.core.record import Record
from everlog.ports.checkpoints import Checkpointing
from everlog.subscriptions import time_limit
from everlog.subscriptions.stepping import forget
from everlog.subscriptions.time_limit import TimeLimit


class Watch:
    """Watches the calls of one worker, one at a time.

    With one timer for all of them: most calls take less time than it takes to make one.
    """

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self.gave_up = False
        """Whether the call at hand has gone on after it was cancelled: it is not to be resumed."""
        self._cancels = 0
        """How often the task of the call at hand was cancelled here."""
        self.transaction: Checkpointing | None = None
        """That of the call at hand."""
        self._call: tuple[Callable[..., Any], Record[Any]] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._due = self._long = math.inf
        self._timer: asyncio.TimerHandle | None = None

    async def in_time(
        self,
        rest: Awaitable[None],
        task: asyncio.Task[Any],
        handler: Callable[..., Any],
        record: Record[Any],
    ) -> None:
        """Waits for the rest of a call in this task. One that takes too long is cancelled there.

        Raises `HandlerTimedOut` then, however it ends. One that goes on all the same has a moment
        to clean up, and is left where it waits.
        """
        before = task.cancelling()
        self.begin(handler, record, task)
        failure: BaseException | None = None
        try:
            await rest
        except BaseException as error:
            if not self.end() or isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                raise
            failure = error
        else:
            if not self.end():
                return
        cancels, self._cancels = self._cancels, 0
        await forget(cancels)
        if task.cancelling() > before:  # by somebody else, too
            raise asyncio.CancelledError
        timed_out = self._limit.error(handler, record)
        if not isinstance(failure, asyncio.CancelledError):
            timed_out.__context__ = failure  # what it had to say of it
        raise timed_out

    def begin(
        self,
        handler: Callable[..., Any],
        record: Record[Any],
        task: asyncio.Task[Any] | None = None,
    ) -> None:
        """A call begins; `task`: to be cancelled when it has taken too long. None for who sees to
        that otherwise."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        seconds = self._limit.seconds
        self._call = handler, record
        self._task = task
        self._due = math.inf if task is None or seconds is None else now + seconds
        self._long = now + time_limit.LONG_S
        self._cancels = 0
        self.gave_up = False
        at = min(self._due, self._long)
        if self._timer is None or self._timer.when() > at:
            self._arm(loop, at)

    @property
    def is_excused(self) -> bool:
        """Whether the call at hand waits for others, for which its time begins again.

        Nobody waits for them for ever: the place itself gives up in the end.
        """
        return self.transaction is not None and self.transaction.is_waiting

    def end(self) -> bool:
        """The call has ended; returns whether it was cut off."""
        self._call = self._task = None
        return self._cancels > 0

    def close(self) -> None:
        """Looks at nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self.close()
        if at < math.inf:
            self._timer = loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._call is None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._due and not self._cancels and self.is_excused:
            self._due = now + (self._limit.seconds or math.inf)
        elif now >= self._due:
            assert self._task is not None
            self.gave_up = self._cancels > 0
            self._due = math.inf if self.gave_up else now + time_limit.GRACE_S
            self._long = math.inf
            self._cancels += 1
            self._task.cancel()
        elif now >= self._long:
            self._long = math.inf
            self._limit.say_it_is_long(*self._call)
        self._arm(loop, min(self._due, self._long))
