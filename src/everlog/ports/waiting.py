"""Waiting for what is not there yet: one look at a time, for all who wait for the same ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context

from everlog.errors import StoreClosed


class Waiting:
    """Those who wait for a ledger to get past a position, and the one task that looks for them.

    Hints wake it at once; without one it looks every `poll_s` seconds. The look decides, so a hint
    that is lost or wrong costs time and nothing else. It runs only while somebody waits.
    """

    def __init__(
        self, look: Callable[[], Awaitable[int]], *, poll_s: Callable[[], float | None]
    ) -> None:
        """`look` tells the head's position; `poll_s` how long to go without a hint, or None."""
        self._look = look
        self._poll_s = poll_s
        self._waiting: dict[asyncio.Future[int], int] = {}
        """Who waits, and for a head past which position."""
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed: StoreClosed | None = None

    @property
    def anybody(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def hint(self) -> None:
        """Says that there may be something new."""
        self._hint.set()

    async def wait(self, position: int, timeout_s: float) -> int:
        """Returns the position of the head as soon as it is past `position`, or after the time.

        Raises what looking raises, and `StoreClosed` when it is closed meanwhile.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(position)
        except TimeoutError:
            # They are told whatever it is then: by one look for all whose time is up at once.
            return await self._answer(-1)

    async def close(self, error: StoreClosed) -> None:
        """Ends the task; raises the error where somebody still waits."""
        self._closed = error
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _answer(self, position: int) -> int:
        """Returns the first head past the position that a look from now on finds."""
        if self._closed is not None:
            raise self._closed
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[future] = position
        self._hint.set()
        if self._task is None or self._task.done():
            # In nobody's context: it serves them all.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        try:
            return await future
        finally:
            del self._waiting[future]
            if not self._waiting:
                self._hint.set()  # so that the task ends
            if future.done() and not future.cancelled():
                future.exception()  # has been seen, also where the wait ended by something else

    async def _run(self) -> None:
        while self._waiting:
            self._hint.clear()  # before the look: what happens during it is looked for again
            asked = list(self._waiting.items())  # and who comes during it is told by the next
            try:
                head = await self._look()
            except Exception as error:
                for future in self._waiting:
                    if not future.done():
                        future.set_exception(error)
                return
            except BaseException:  # cancelled: nobody must wait for an answer that does not come
                for future in self._waiting:
                    future.cancel()
                raise
            for future, position in asked:
                if head > position and not future.done():
                    future.set_result(head)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s()):
                    await self._hint.wait()
