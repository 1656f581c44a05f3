"""A proxy that pools by transaction, as PgBouncer does in `pool_mode=transaction`.

A client has a server connection for as long as a transaction lasts, and for the next one another:
on purpose, and also where there is no need. What belongs to a session (settings, prepared
statements, LISTEN, advisory locks of the session) stays with the server connection and meets
whoever gets it next.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import deque
from collections.abc import Callable

from tests.proxies.listener import Listener, Proxy, at_port, place_of
from tests.proxies.wire import (
    AUTHENTICATION,
    BACKEND_KEY,
    CANCEL_REQUEST,
    COPY_IN,
    ERROR,
    IDLE,
    PARAMETER,
    READY,
    SYNC,
    TERMINATE,
    Message,
    Startup,
    Wire,
    authenticated,
    backend_key,
    begins_a_request,
    ends_a_request,
    error,
    key_of,
    query,
    ready,
    startup,
)

TRACKED = {
    "user",
    "database",
    "application_name",
    "client_encoding",
    "datestyle",
    "timezone",
    "standard_conforming_strings",
}
"""What PgBouncer takes from a client's startup. All else it refuses, `options` among it."""


class PoolingProxy(Proxy):
    """Few server connections for many clients. The server has to trust whoever connects.

    Its methods may be called from any thread but its own.
    """

    def __init__(self, url: str, *, size: int = 3, forgets: bool = False) -> None:
        """`size`: server connections for each user and database.

        `forgets`: after each transaction the server forgets the session (DISCARD ALL), as with
        PgBouncer's `server_reset_query_always`; otherwise the next client meets what is left.
        """
        self._place = place_of(url)
        self._size = size
        self._forgets = forgets
        self._pools: dict[Startup, _Pool] = {}
        self._clients: dict[tuple[int, bytes], _Client] = {}
        self._numbers = itertools.count(1)
        self.transactions = 0
        """How many transactions have begun."""
        self.swaps = 0
        """How many of them got another server connection than their client's one before."""
        self._listener = Listener(self._serve, self._let_go)
        self.url = at_port(url, self._listener.port)
        self._listener.accept()

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    async def _let_go(self) -> None:
        for pool in self._pools.values():
            await pool.close()

    async def _serve(self, wire: Wire) -> None:
        asked = await wire.read_startup()
        if asked is None:
            return
        if asked.code == CANCEL_REQUEST:
            await self._cancel(asked)
            return
        for name in asked.parameters:
            if name.lower() not in TRACKED:
                text = f"unsupported startup parameter: {name}"
                await wire.send(error("08P01", text, severity="FATAL"))
                return
        # Who asks for the same gets the same connections.
        wanted = startup(dict(sorted(asked.parameters.items())))
        pool = self._pools.get(wanted)
        if pool is None:
            pool = self._pools[wanted] = _Pool(self._place, wanted, self._size, self._forgets)
        client = _Client(wire, pool)
        key = (next(self._numbers), os.urandom(4))
        self._clients[key] = client
        try:
            if await client.welcome(key):
                await client.serve(self._count)
        finally:
            del self._clients[key]
            client.leave()

    def _count(self, swapped: bool) -> None:
        self.transactions += 1
        self.swaps += swapped

    async def _cancel(self, asked: Startup) -> None:
        """Cancels what runs on the server connection that the client has now, if it has one."""
        client = self._clients.get(key_of(asked))
        if client is None or client.backend is None:
            return
        key = backend_key(*client.backend.key)
        try:
            server = await Wire.to(*self._place)
        except OSError:
            return
        try:
            await server.send(Startup(CANCEL_REQUEST, key.body))
            await server.read()  # nothing is answered: the server closes when it has done it
        finally:
            server.close()
            await server.closed()


class _Refused(Exception):
    """The server cannot be had; with what it said."""

    def __init__(self, answer: Message) -> None:
        super().__init__()
        self.answer = answer


class _Pool:
    """The server connections for one user and database."""

    def __init__(self, place: tuple[str, int], wanted: Startup, size: int, forgets: bool) -> None:
        self._place = place
        self._wanted = wanted
        self._size = size
        self._forgets = forgets
        self._all: set[_Backend] = set()
        self._connecting = 0
        self._idle: deque[_Backend] = deque()
        """The one that has been idle for longest is the first."""
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, other_than: _Backend | None = None) -> _Backend:
        """Returns a connection that nobody has, another one if there is one; may raise `_Refused`.

        Waits while all are taken.
        """
        while True:
            others = [backend for backend in self._idle if backend is not other_than]
            if others:
                self._idle.remove(others[0])
                return others[0]
            if len(self._all) + self._connecting < self._size:
                return await self._connect()
            if self._idle and not any(backend.forgetting for backend in self._all):
                return self._idle.popleft()
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def give(self, backend: _Backend) -> None:
        """Takes back a connection outside of a transaction."""
        if backend in self._all:
            self._idle.append(backend)
            self._wake()

    def drop(self, backend: _Backend) -> None:
        """Closes a connection that cannot be used any more."""
        backend.wire.close()
        self._all.discard(backend)
        if backend in self._idle:
            self._idle.remove(backend)
        self._wake()

    async def close(self) -> None:
        for backend in list(self._all):
            await backend.close()

    async def _connect(self) -> _Backend:
        self._connecting += 1
        try:
            backend = await _Backend.connected(self, self._place, self._wanted, self._forgets)
            self._all.add(backend)
            return backend
        finally:
            self._connecting -= 1
            self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()


class _Backend:
    """One server connection, and what is on its way in it."""

    key: tuple[int, bytes]
    _reading: asyncio.Task[None]

    def __init__(self, pool: _Pool, wire: Wire, forgets: bool) -> None:
        self._pool = pool
        self.wire = wire
        self._forgets = forgets
        self.forgetting = False
        self.parameters: dict[bytes, Message] = {}
        self.client: _Client | None = None
        self._awaited: deque[Message] = deque()
        """What has been sent and will be answered by a "ready"."""
        self._in_between = False
        """Whether something has been sent that the next of these will be the end of."""

    @classmethod
    async def connected(
        cls, pool: _Pool, place: tuple[str, int], wanted: Startup, forgets: bool
    ) -> _Backend:
        try:
            wire = await Wire.to(*place)
        except OSError as why:
            raise _Refused(error("08006", f"server is away: {why}", severity="FATAL")) from why
        backend = cls(pool, wire, forgets)
        try:
            await backend._begin(wanted)
        except BaseException:
            wire.close()
            raise
        backend._reading = asyncio.create_task(backend._read())
        return backend

    async def close(self) -> None:
        self.wire.cut()
        await asyncio.wait([self._reading])

    async def send(self, message: Message) -> None:
        if ends_a_request(message):
            self._awaited.append(message)
            self._in_between = False
        elif begins_a_request(message):
            self._in_between = True
        await self.wire.send(message)

    async def _begin(self, wanted: Startup) -> None:
        await self.wire.send(wanted)
        while (message := await self.wire.read()) is not None:
            if message.kind == ERROR:
                raise _Refused(message)
            if message.kind == AUTHENTICATION and message != authenticated():
                text = "the server behind the proxy wants a password; the proxy knows none"
                raise _Refused(error("08P01", text, severity="FATAL"))
            if message.kind == PARAMETER:
                self.parameters[message.body.split(b"\0")[0]] = message
            if message.kind == BACKEND_KEY:
                self.key = key_of(message)
            if message.kind == READY:
                return
        raise _Refused(error("08006", "server closed the connection", severity="FATAL"))

    async def _read(self) -> None:
        while (message := await self.wire.read()) is not None:
            client = self.client
            if client is None:  # a notification, or a part of forgetting
                if message.kind == READY and self.forgetting:
                    self.forgetting = False
                    self._pool.give(self)
                continue
            if message.kind == COPY_IN and self._awaited[0].kind == SYNC:
                # It came before the data, and so will be passed over; another one will come.
                self._awaited.popleft()
            over = False
            if message.kind == READY:
                self._awaited.popleft()
                over = message.body == IDLE and not self._awaited and not self._in_between
            if over:
                self.client = client.backend = None
                if self._forgets:
                    self.forgetting = True
                    await self.wire.send(query("DISCARD ALL"))
                else:
                    self._pool.give(self)
            await client.wire.send(message)
        self._pool.drop(self)
        client, self.client = self.client, None
        if client is not None:
            client.backend = None
            await client.wire.send(error("08P01", "server conn crashed?", severity="FATAL"))
            client.wire.close()
        await self.wire.closed()


class _Client:
    """One client, with the server connection that it has now."""

    def __init__(self, wire: Wire, pool: _Pool) -> None:
        self.wire = wire
        self._pool = pool
        self.backend: _Backend | None = None
        self._last: _Backend | None = None

    async def welcome(self, key: tuple[int, bytes]) -> bool:
        """Answers the startup; false if the server cannot be had."""
        try:
            backend = await self._pool.take()
        except _Refused as refused:
            await self.wire.send(refused.answer)
            return False
        parameters = [*backend.parameters.values()]
        self._pool.give(backend)
        await self.wire.send(authenticated(), *parameters, backend_key(*key), ready(IDLE))
        return True

    async def serve(self, count: Callable[[bool], None]) -> None:
        """Passes on what the client sends, until its end."""
        while (message := await self.wire.read()) is not None and message.kind != TERMINATE:
            if self.backend is None:
                try:
                    backend = await self._pool.take(other_than=self._last)
                except _Refused as refused:
                    await self.wire.send(refused.answer)
                    return
                count(self._last is not None and backend is not self._last)
                self.backend = self._last = backend
                backend.client = self
            await self.backend.send(message)

    def leave(self) -> None:
        """Lets go of the server connection. In the middle of a transaction, it cannot be used."""
        if self.backend is not None:
            backend, self.backend = self.backend, None
            backend.client = None
            self._pool.drop(backend)
