"""Connections: what happens on a socket before there is a request, and when a reader has stopped.

uvicorn gives a connection all the time there is to send its headers, or to read what was written.
Here one look a second goes over all of them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from typing import Any, cast

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import get_remote_addr
from uvicorn.server import ServerState

from everlog.server.limits import Limits
from everlog.server.sending import ABORT
from everlog.wire.problems import plain_problem
from everlog.wire.protocol import PROBLEM

LOOK_S = 1.0
"""Connections are looked at so often."""


class Connections:
    """All connections of one server, and who has stayed too long."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.tls: ssl.SSLContext | None = None
        """With what they are made safe, if they are."""
        self._open: set[Connection | Handshake] = set()
        self._addresses: Counter[str] = Counter()
        self.cut_off = 0
        """Connections that were closed because they took too long."""

    def __len__(self) -> int:
        return len(self._open)

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Connection | Handshake:
        """Makes a connection, as uvicorn wants it made."""
        connection = Connection(self, config, server_state, app_state, _loop)
        return connection if self.tls is None else Handshake(self, connection, self.tls)

    def has_room(self, address: str) -> bool:
        """Whether one more is taken, of this address."""
        return (
            len(self._open) < self.limits.connections
            and self._addresses[address] < self.limits.connections_per_address
        )

    def add(self, connection: Connection | Handshake) -> None:
        """Counts a connection."""
        self._open.add(connection)
        self._addresses[connection.address] += 1

    def remove(self, connection: Connection | Handshake) -> None:
        """Counts it no more."""
        if connection in self._open:
            self._open.remove(connection)
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]

    def abort(self) -> None:
        """Cuts off all that there are."""
        for connection in list(self._open):
            connection.transport.abort()

    async def watch(self) -> None:
        """Cuts off who has stayed too long, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = asyncio.get_running_loop().time()
            for connection in list(self._open):
                if connection.is_overdue(now_s):
                    self.cut_off += 1
                    connection.transport.abort()


class Connection(H11Protocol):
    """A connection that is cut off where its other end takes too long."""

    def __init__(self, connections: Connections, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._all = connections
        self.address = "?"
        self._heading_since_s: float | None = None
        """Since when the headers of a request are waited for; None while there is a request."""
        self._paused_since_s: float | None = None
        """Since when more is written than is read."""
        self._closing_since_s: float | None = None
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[ABORT] = self.transport.abort
            try:
                await inner(scope, receive, send)
            except asyncio.CancelledError:
                if not self.transport.is_closing():
                    raise
                # By a stop that has cut it off: nobody is there to be told.

        self.app = app

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = str(self.client[0]) if self.client else "?"
        if not self._all.has_room(self.address):
            problem = plain_problem(503, "too_busy", "there are too many connections")
            transport.write(_raw(b"503 Service Unavailable", problem.body, b"Retry-After: 5\r\n"))
            transport.close()
            self._closing_since_s = self.loop.time()
        self._all.add(self)
        self._heading_since_s = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._heading_since_s is None and self._is_idle():
            self._heading_since_s = self.loop.time()
        super().data_received(data)
        if not self._is_idle():
            self._heading_since_s = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.remove(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self._paused_since_s = self.loop.time()
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self._paused_since_s = None
        self.flow.resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # The next request may be here already, as a whole or in part.
        self._heading_since_s = self.loop.time() if self.conn.trailing_data[0] else None

    def send_400_response(self, msg: str) -> None:
        problem = plain_problem(400, "no_http", "this is no HTTP request, or its headers are large")
        self.transport.write(_raw(b"400 Bad Request", problem.body))
        self.transport.close()

    def is_overdue(self, now_s: float) -> bool:
        """Whether its other end has taken too long."""
        limits = self._all.limits
        if self.transport.is_closing():
            if self._closing_since_s is None:
                self._closing_since_s = now_s
            return now_s - self._closing_since_s > limits.write_s
        if self._paused_since_s is not None and now_s - self._paused_since_s > limits.write_s:
            return True
        return self._heading_since_s is not None and now_s - self._heading_since_s > limits.header_s

    def _is_idle(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete


class Handshake(asyncio.Protocol):
    """A connection that has no TLS yet.

    asyncio by itself would tell of it when it has: until then it would not count, for a minute.
    """

    transport: asyncio.Transport

    def __init__(
        self, connections: Connections, connection: Connection, tls: ssl.SSLContext
    ) -> None:
        self._all = connections
        self._connection = connection
        self._tls = tls
        self.address = "?"
        self._since_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._early = bytearray()
        """What came with the end of the handshake."""
        self._has_ended = False
        self._is_lost = False
        self._is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        peer = get_remote_addr(self.transport)
        self.address = "?" if peer is None else peer[0]
        if not self._all.has_room(self.address):
            self.transport.abort()  # nothing can be said yet
            return
        self.transport.pause_reading()  # until there is somebody who understands it
        loop = asyncio.get_running_loop()
        self._since_s = loop.time()
        self._all.add(self)
        self._task = loop.create_task(self._shake(loop))

    def data_received(self, data: bytes) -> None:
        self._early += data

    def eof_received(self) -> None:
        self._has_ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._is_over:
            self._connection.connection_lost(exc)

    def is_overdue(self, now_s: float) -> bool:
        """Whether its other end has taken too long."""
        return now_s - self._since_s > self._all.limits.header_s

    async def _shake(self, loop: asyncio.AbstractEventLoop) -> None:
        safe: asyncio.Transport | None = None
        try:
            safe = await loop.start_tls(self.transport, self, self._tls, server_side=True)
        except OSError:  # those of TLS and of time are, too
            self.transport.abort()
        finally:
            self._all.remove(self)
        if safe is None or self._is_lost:
            return
        self._is_over = True
        safe.set_protocol(self._connection)
        self._connection.connection_made(safe)
        if self._early:
            self._connection.data_received(bytes(self._early))
        if self._has_ended:
            self._connection.eof_received()


def _raw(status: bytes, body: bytes, more: bytes = b"") -> bytes:
    length = str(len(body)).encode()
    return (
        b"HTTP/1.1 " + status + b"\r\nContent-Type: " + PROBLEM.encode() + b"\r\n"
        b"Content-Length: " + length + b"\r\n" + more + b"Connection: close\r\n\r\n" + body
    )
