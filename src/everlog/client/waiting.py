"""Waiting: a question that a hub answers when there is something new, or after a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

from everlog.client.asking import ask
from everlog.client.http import ANSWER_S, Http
from everlog.errors import StoreClosed
from everlog.wire.protocol import MAX_WAIT_S
from everlog.wire.talks import read_position


async def ask_wait(http: Http, position: int, wait_s: float) -> int:
    """Returns the position of the hub's head once it is past `position`, or after the time."""
    wait_s = min(wait_s, MAX_WAIT_S)
    return await ask(
        http,
        "GET",
        "/v1/wait",
        read_position,
        query=[("position", str(position)), ("timeout_s", f"{wait_s:g}")],
        answer_s=wait_s + ANSWER_S,
    )


class News:
    """Waits for the hub's log to grow, by one question for all who wait here."""

    def __init__(self, look: Callable[[int, float], Awaitable[int]]) -> None:
        """`look`: asks for the head once it is past a position, or after so many seconds."""
        self._look = look
        self._head = 0
        """The last that was heard of."""
        self._waiting: dict[asyncio.Future[int], int] = {}
        self._asked = 0
        """What the question at hand waits for."""
        self._task: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed: StoreClosed | None = None

    async def past(self, position: int, *, timeout_s: float) -> int:
        """Returns the head once it is past `position`, or after the time; raises what looking does.

        Raises `StoreClosed` when it is closed meanwhile.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(position)
        except TimeoutError:
            return await self._look(position, 0)

    async def close(self, error: StoreClosed) -> None:
        """Ends it; raises the error where somebody still waits."""
        self._closed = error
        self._tell(error)
        self._stop()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _answer(self, position: int) -> int:
        if self._closed is not None:
            raise self._closed
        if self._head > position:
            return self._head
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[future] = position
        if self._task is not None and position < self._asked:
            self._stop()  # what it waits for may be far behind what this one waits for
        if self._task is None or self._task.done():
            self._asked = min(self._waiting.values())
            # In nobody's context: it serves them all.
            self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
            self._ending.add(self._task)
            self._task.add_done_callback(self._ending.discard)
        try:
            return await future
        finally:
            del self._waiting[future]
            if future.done() and not future.cancelled():
                future.exception()  # has been seen, also where the wait ended by something else
            if not self._waiting:
                self._stop()  # nobody wants the answer any more

    async def _run(self) -> None:
        while self._waiting:
            self._asked = min(self._waiting.values())
            try:
                head = await self._look(self._asked, MAX_WAIT_S)
            except Exception as error:
                self._tell(error)
                return
            self._head = head  # also a smaller one: it was set back
            for future, position in self._waiting.items():
                if head > position and not future.done():
                    future.set_result(head)
            await asyncio.sleep(0)  # so that those who wait go on

    def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _tell(self, error: Exception) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(error)
