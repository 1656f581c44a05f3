"""Silence: how long the other end of a connection may say nothing, until the connection is cut.

A server that is stopped, a proxy that hangs and a network that swallows everything have one thing
in common: nothing fails. Keep-alives do not tell, as somebody's operating system answers them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from contextvars import Context
from typing import TypeVar

import psycopg

T = TypeVar("T")
Asked = TypeVar("Asked")
Ready = TypeVar("Ready")

_AGAIN_S = 0.02
"""So much later it is looked a second time: the loop may have had no time for what has come."""

_SOON_S = 1.0

_NOBODYS = Context()


class ServerSilent(psycopg.OperationalError):
    """The other end said nothing for too long, and the connection was cut."""


class Watch:
    """Cuts a connection whose other end neither says nor takes anything for too long.

    What goes on is not cut, however long it takes: each byte that comes or goes counts.
    """

    __slots__ = ("_cut", "_loop", "_since", "_timer", "_warned", "has_cut", "limit_s")

    def __init__(self, cut: Callable[[], None]) -> None:
        self._cut = cut
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None
        """Since when it is waited for; None while nothing is."""
        self._timer: asyncio.TimerHandle | None = None
        self._warned = False
        self.limit_s: float | None = None
        """How long is too long. None: for ever is not."""
        self.has_cut = False

    def begin(self) -> None:
        """Says that something is waited for, from now on."""
        if self.limit_s is None:
            return
        now = self._since = self._loop.time()
        # One timer serves many waits: it is not set anew for each, but looks when it is time.
        if self._timer is not None:
            if self._timer.when() <= now + self.limit_s:
                return
            self._timer.cancel()
        self._set(self.limit_s)

    def end(self) -> None:
        """Says that nothing is waited for any more."""
        self._since = None

    def close(self) -> None:
        """Watches no more."""
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def noting(self, waiting: Generator[Asked, Ready, T]) -> Generator[Asked, Ready, T]:
        """Returns what waits as the driver has it, so that each sign of life is noted."""
        try:
            asked = next(waiting)
            while True:
                ready = yield asked
                if ready:  # otherwise nothing has come: the driver looks ten times a second
                    self._since = self._loop.time()
                asked = waiting.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _set(self, delay_s: float) -> None:
        self._timer = self._loop.call_later(delay_s, self._look, context=_NOBODYS)

    def _look(self) -> None:
        self._timer = None
        since, limit_s = self._since, self.limit_s
        if since is None or limit_s is None:
            self._warned = False
            return
        left_s = since + limit_s - self._loop.time()
        if left_s > 0:
            self._warned = False
            self._set(left_s)
        elif not self._warned:
            self._warned = True
            self._set(_AGAIN_S)
        else:
            self.has_cut = True
            self._cut()


class Attempts:
    """Attempts to connect: each ends in time, and all of them soon when they are called off."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._under_way: set[asyncio.Timeout] = set()

    async def make(self, making: Awaitable[T]) -> T:
        """Returns what comes of it; raises `psycopg.Error` if that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._within_s) as limit:
                self._under_way.add(limit)
                try:
                    return await making
                finally:
                    self._under_way.discard(limit)
        raise ServerSilent(f"no connection was made in {self._within_s:.3g} s")

    def call_off(self) -> None:
        """Ends those that are under way, in a second: who closes is not to wait for longer."""
        # At once would leave a server's healthy answers unread, and the pool would complain.
        self._within_s = min(self._within_s, _SOON_S)
        soon = asyncio.get_running_loop().time() + self._within_s
        for limit in self._under_way:
            limit.reschedule(min(soon, limit.when() or soon))


def cut(number: int) -> None:
    """Cuts a connection, whatever is done with it: who waits for it gets an error.

    `number`: of its socket, which stays open.
    """
    # By a copy of its number: who waits for the connection waits for the number that it has.
    with (
        suppress(OSError),
        socket.fromfd(number, socket.AF_INET, socket.SOCK_STREAM) as copy,
    ):
        copy.shutdown(socket.SHUT_RDWR)
