"""Turns: who writes, of those in this process who want to."""

from __future__ import annotations

import asyncio
from typing import Any

from everlog.errors import LedgerBusy, MisusedStore


class Turns:
    """One turn after another, in the order in which they were asked for."""

    def __init__(self, what: str, timeout_s: float) -> None:
        """`what` names the place in errors; nobody waits for longer than the timeout."""
        self._what = what
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[Any] | None = None

    @property
    def is_mine(self) -> bool:
        """Whether it is the turn of the task that asks: it would wait for itself."""
        return self._task is not None and self._task is asyncio.current_task()

    async def take(self, task: asyncio.Task[Any] | None = None) -> None:
        """Waits for its turn, which is that of another task if one is named.

        Raises `LedgerBusy`, and `MisusedStore` for who would wait for itself.
        """
        if self.is_mine:
            raise MisusedStore(
                f"this was called inside of a transaction on {self._what} that it would have to "
                "wait for; call it when the block has ended"
            )
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._lock.acquire()
        except TimeoutError:
            raise LedgerBusy(
                f"a transaction of this process on {self._what} took over {self._timeout_s} s; "
                "look for a handler that waits for something inside of it, then try again"
            ) from None
        self._task = asyncio.current_task() if task is None else task

    def give_back(self) -> None:
        """Lets the next one have its turn."""
        self._task = None
        self._lock.release()
