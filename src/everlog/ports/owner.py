"""The owner of an open ledger: one process, one event loop, until it is closed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

from everlog.errors import ForkedConnection, StoreClosed, WrongEventLoop


class Owner:
    """Remembers where a ledger was opened, and refuses its use elsewhere."""

    __slots__ = ("_loop", "_pid", "_what", "closed")

    def __init__(self, what: str) -> None:
        """`what` names the ledger in errors. To be made in the running loop that opens it."""
        self._what = what
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self.closed = False

    @property
    def forked(self) -> bool:
        """Whether this process is a child of the one that opened the ledger."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Raises `ForkedConnection`, `StoreClosed` or `WrongEventLoop` if it must not be used."""
        if os.getpid() != self._pid:
            raise ForkedConnection(
                f"{self._what} was opened by process {self._pid} and is used in its child "
                f"{os.getpid()}; open the store again after the fork"
            )
        if self.closed:
            raise StoreClosed(
                f"{self._what} is closed; use it inside the `with` block that opens it"
            )
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:  # `read` and `new` are not awaited: they can be called anywhere
            running = None
        if running is not self._loop and getattr(_acting, "loop", None) is not self._loop:
            raise WrongEventLoop(
                f"{self._what} was opened in another event loop than the one running here; "
                "open a store in each loop, they can share one file"
            )


_acting = threading.local()


@contextmanager
def acting_for(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """Lets this thread call what waits for nothing, and changes nothing, in the place of a loop.

    For a store that many threads share: it spares them the way to its loop and back.
    """
    before = getattr(_acting, "loop", None)
    _acting.loop = loop
    try:
        yield
    finally:
        _acting.loop = before
