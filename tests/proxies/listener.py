"""A TCP server on loopback in a thread of its own, that can refuse and accept again."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

from tests.proxies.wire import Wire

T = TypeVar("T")

PATIENCE_S = 20.0


class Listener:
    """Hands every connection to `serve`, in an event loop of its own thread.

    The loop of the test may be busy, blocked or torn down meanwhile: this one goes on.
    """

    def __init__(
        self,
        serve: Callable[[Wire], Awaitable[None]],
        at_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`at_end`: called when nobody is served any more."""
        self._serve = serve
        self._at_end = at_end
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: socket.socket | None = None
        # Bound, and never listened on: the port stays ours while connections are refused.
        self._reserved = _bound(0)
        self.port: int = self._reserved.getsockname()[1]
        self._running: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        self._loop = self._running.result(PATIENCE_S)

    @property
    def serving(self) -> int:
        """How many connections there are."""
        return len(self._tasks)

    def accept(self) -> None:
        """Listens (again)."""
        self.call(self._accept())

    def refuse(self) -> None:
        """Does not listen any more: who connects is refused, as where no server runs."""
        self.call(self._refuse())

    def refuse_here(self) -> None:
        """Does the same for who runs in the listener's own thread."""
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs work in the loop, and returns its result. To be called from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def close(self) -> None:
        """Ends all that is being served, and the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive(), "the proxy's thread does not end"
            self._reserved.close()

    async def _run(self) -> None:
        self._running.set_result(asyncio.get_running_loop())
        await self._stop.wait()
        await self._refuse()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._at_end is not None:
            await self._at_end()

    async def _accept(self) -> None:
        # Not by asyncio's own server: whom it has accepted when it is closed it may drop, unserved,
        # and its socket stays open until the garbage is collected, in some other test.
        if self._listening is None:
            self._listening = _bound(self.port)
            self._listening.setblocking(False)
            self._listening.listen(512)
            self._loop.add_reader(self._listening, self._accept_one, self._listening)

    async def _refuse(self) -> None:
        self.refuse_here()

    def _accept_one(self, listening: socket.socket) -> None:
        try:
            accepted, _ = listening.accept()
        except OSError:  # it is gone again
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._serve_one(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also of one that is cancelled before it has begun.
        task.add_done_callback(lambda _: accepted.close())

    async def _serve_one(self, accepted: socket.socket) -> None:
        wire = Wire(*await asyncio.open_connection(sock=accepted))
        try:
            await self._serve(wire)
        except asyncio.CancelledError:
            wire.cut()  # whoever does not read must not hold up the end
            raise
        finally:
            wire.close()
            await wire.closed()


class Proxy:
    """Something that stands in front of a server, as long as a `with` block lasts."""

    _listener: Listener

    def refuse(self) -> None:
        """Refuses whoever connects; those who are connected stay so."""
        self._listener.refuse()

    def accept(self) -> None:
        """Accepts connections again."""
        self._listener.accept()

    def close(self) -> None:
        """Cuts all, and ends."""
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def place_of(url: str) -> tuple[str, int]:
    """Returns host and port of a URL."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return parts.hostname, parts.port or 5432


def at_port(url: str, port: int) -> str:
    """Returns the URL with another port, on loopback."""
    parts = urlsplit(url)
    user, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}"))


def _bound(port: int) -> socket.socket:
    # With its protocol named, asyncio turns off Nagle's algorithm: without, 40 ms a message.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
