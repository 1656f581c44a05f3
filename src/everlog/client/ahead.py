"""Ahead: what comes next of a hub's history is asked for before it is wanted.

While a piece is taken in, the one behind it is read, and the one behind that is on its way. Each
ends where the next begins, which its last line says before the others are read. What was asked for
in vain, or is no piece, is dropped: it is asked for again, and says then what it is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeAlias

from everlog.client.http import Answer
from everlog.errors import EverlogError
from everlog.wire.messages import Asked, Pulled
from everlog.wire.pieces import end_of

MOST = 2
"""So many pieces are asked for ahead: one to be read, and one to be on its way meanwhile."""

Fetch = Callable[[Asked, int], Awaitable[Answer]]
"""Asks a hub for the piece of at most so many records behind a cursor."""
_Comes: TypeAlias = Coroutine[Any, Any, Pulled | None]
Read = Callable[[Asked, int, Answer], Awaitable[Pulled]]
"""Returns the piece that a hub has answered with."""


class Ahead:
    """The pieces that come next, as far as they were asked for."""

    def __init__(self, fetch: Fetch, read: Read) -> None:
        self._fetch = fetch
        self._read = read
        self._coming: deque[_Coming] = deque()
        self._last: _Coming | None = None
        """What was asked for last, also if it has been taken from those."""
        self._wanted: _Coming | None = None
        """What is waited for, and so is none of those any more."""

    def begin(self, asked: Asked, size: int) -> None:
        """Asks for what comes behind a cursor, unless something was asked for already."""
        if not self._coming:
            self._start(asked, size)

    async def next(self, asked: Asked, size: int) -> Pulled | None:
        """Returns the next piece if it was asked for before; None if it has to be asked for.

        That there is no more is not taken from it: it may have been said before whoever waits for
        this began to. `read` has made the others `open_ended`.
        """
        if not self._coming:
            return None
        if not self._coming[0].is_of(asked, size):
            await self.drop()
            return None
        # Whoever drops the others meanwhile does not end it under who waits for it.
        self._wanted = self._coming.popleft()
        found: Pulled | None = None
        try:
            with suppress(EverlogError):
                pulled = await self._wanted.task
                if pulled is not None and not pulled.up_to_date:
                    found = pulled
        finally:
            self._wanted = None
            if found is None:
                await self.drop()
        self._lengthen()
        return found

    async def drop(self) -> None:
        """Ends what was asked for in vain."""
        tasks = [each.task for each in self._coming]
        self._coming.clear()
        self._last = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.exception()  # has been seen

    def _start(self, asked: Asked, size: int) -> None:
        self._last = _Coming(asked, size, self._come)
        self._coming.append(self._last)

    def _lengthen(self) -> None:
        """Asks for one more, once it is known where the last ends."""
        last = self._last
        count = len(self._coming) + (self._wanted is not None)
        if last is not None and last.behind is not None and count < MOST:
            self._start(last.behind, last.size)

    async def _come(self, coming: _Coming) -> Pulled | None:
        asked, size = coming.asked, coming.size
        answer = await self._fetch(asked, size)
        if answer.status != 200:
            return None
        end = end_of(answer.body)
        if end is not None and end.position > asked.cursor.position:
            coming.behind = asked.behind(end)
            self._lengthen()
        return await self._read(asked, size, answer)


def open_ended(pulled: Pulled) -> Pulled:
    """Returns a piece that was asked for ahead without its word that there is no more.

    That may have been so before anybody wanted it. So it is asked for what is behind it, and not
    for the piece again; unless it says nothing else.
    """
    if pulled.up_to_date and pulled.end != pulled.start:
        return pulled._replace(up_to_date=False)
    return pulled


class _Coming:
    """A piece that was asked for."""

    __slots__ = ("asked", "behind", "size", "task")

    def __init__(self, asked: Asked, size: int, come: Callable[[_Coming], _Comes]) -> None:
        self.asked = asked
        self.size = size
        self.behind: Asked | None = None
        """What comes behind it; None if that is not known, or if there was no more."""
        self.task: asyncio.Task[Pulled | None] = asyncio.create_task(come(self))

    def is_of(self, asked: Asked, size: int) -> bool:
        """Whether it is what is asked for."""
        mine = self.asked
        same = (asked.edge, asked.hub, asked.cursor, asked.scope, size)
        return (mine.edge, mine.hub, mine.cursor, mine.scope, self.size) == same
