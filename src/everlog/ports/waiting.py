"""Waiting for what is not there yet: one look at a time, for all who wait for the same ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context


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
        self._waiting: list[tuple[int, asyncio.Future[int]]] = []
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def anybody(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def hint(self) -> None:
        """Says that there may be something new."""
        self._hint.set()

    async def wait(self, position: int, timeout_s: float) -> int:
        """Returns the position of the head as soon as it is past `position`, or after the time.

        Raises what looking raises.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        entry = (position, future)
        self._waiting.append(entry)
        self._hint.set()
        if self._task is None or self._task.done():
            # In nobody's context: it serves them all.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        try:
            # Shielded from nothing: who stops waiting takes only their own place away.
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return await self._look()
        finally:
            with suppress(ValueError):
                self._waiting.remove(entry)

    async def close(self) -> None:
        """Ends the task; who still waits is told that the wait was cancelled."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        for _, future in self._waiting:
            future.cancel()

    async def _run(self) -> None:
        while self._waiting:
            self._hint.clear()  # before the look: what happens during it is looked for again
            try:
                head = await self._look()
            except Exception as error:
                for _, future in self._waiting:
                    if not future.done():
                        future.set_exception(error)
                return
            for position, future in self._waiting:
                if head > position and not future.done():
                    future.set_result(head)
            self._waiting = [entry for entry in self._waiting if not entry[1].done()]
            if self._waiting:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hint.wait(), self._poll_s())
