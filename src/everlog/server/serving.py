"""Serving: a store on a port, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from everlog.errors import InvalidInput
from everlog.server.application import Application, app
from everlog.server.connections import Connections
from everlog.server.limits import Limits
from everlog.server.tokens import Tokens
from everlog.store.event_store import EventStore
from everlog.wire.hosts import is_loopback

PORT = 8787
"""The port that is taken if none is named."""

_log = logging.getLogger("everlog.server")


@asynccontextmanager
async def serve(
    store: EventStore,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    tokens: Tokens | None = None,
    secret: bytes | None = None,
    limits: Limits | None = None,
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    behind_proxy: bool = False,
) -> AsyncGenerator[Server]:
    """Offers a store on a port while the block runs: `async with serve(store) as server`.

    At the end of the block it stops: nobody is let in any more, streams of server-sent events end,
    requests in flight are answered, for `limits.shutdown_s` seconds at most.

    - `host`, `port`: where; port 0 takes a free one: `server.url` says which
    - `tokens`, `secret`, `limits`: as for `everlog.server.app`
    - `certificate`, `key`: files in PEM, for TLS
    - `behind_proxy`: the port speaks plain HTTP on purpose: what speaks TLS stands before it, and
      says in `X-Forwarded-For` who asks

    Raises `InvalidInput` for a host that others can reach without tokens, or with tokens and
    neither a certificate nor `behind_proxy`: whoever listens on the way would have them; and where
    the port cannot be had.

    >>> from everlog.server import serve
    >>> async with serve(store, port=0) as server:
    ...     print(server.url)
    http://127.0.0.1:...
    """
    check_host(host, tokens=tokens, is_safe=certificate is not None or behind_proxy)
    limits = limits or Limits()
    application = app(store, tokens=tokens, secret=secret, limits=limits, behind_proxy=behind_proxy)
    bound = _bind(host, port)
    try:
        server = Server(application, bound, certificate=certificate, key=key)
    except BaseException:
        bound.close()
        raise
    task = asyncio.get_running_loop().create_task(server.run())
    try:
        await server.started()
        yield server
    finally:
        server.stop()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            _log.error("the server has failed: %s", type(task.exception()).__name__)


class Server:
    """A server that runs; `everlog.server.serve` starts it.

    >>> from everlog.server import serve
    >>> async with serve(store, port=0) as server:
    ...     print(server.port > 0, len(server.connections))
    True 0
    """

    def __init__(
        self,
        application: Application,
        bound: socket.socket,
        *,
        certificate: str | os.PathLike[str] | None,
        key: str | os.PathLike[str] | None,
    ) -> None:
        limits = application.limits
        self.application = application
        self.connections = Connections(limits)
        self._socket = bound
        host, port, *_ = bound.getsockname()
        self._address = str(host), int(port)
        config = uvicorn.Config(
            application,
            http=self.connections.protocol,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=limits.header_bytes,
            timeout_keep_alive=max(1, int(limits.keep_alive_s)),
            ssl_certfile=None if certificate is None else os.fspath(certificate),
            ssl_keyfile=None if key is None else os.fspath(key),
        )
        try:
            config.load()
        except (OSError, ValueError) as error:  # `ssl.SSLError` is an OSError
            raise InvalidInput(f"the certificate or its key cannot be used: {error}") from error
        # Not uvicorn's: so a connection counts before its handshake.
        self.connections.tls, config.ssl = config.ssl, None
        self._uvicorn = _Uvicorn(config, application, self.connections)
        self._is_safe = certificate is not None

    @property
    def port(self) -> int:
        """The port that it has taken."""
        return self._address[1]

    @property
    def url(self) -> str:
        """The address that edges are given."""
        host = self._address[0]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._is_safe else 'http'}://{shown}:{self.port}"

    async def run(self) -> None:
        """Answers until it is stopped."""
        watching = asyncio.get_running_loop().create_task(self.connections.watch())
        try:
            await self._uvicorn.quietly(self._socket)
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            await self.application.close()
            self.connections.abort()  # who has not gone by now
            self._socket.close()

    async def started(self) -> None:
        """Returns once it answers."""
        await self._uvicorn.has_started.wait()

    def stop(self) -> None:
        """Begins to stop."""
        self.application.stop()
        self._uvicorn.should_exit = True


class _Uvicorn(uvicorn.Server):
    """uvicorn, without its signals: whoever runs it says when to stop."""

    def __init__(
        self, config: uvicorn.Config, application: Application, connections: Connections
    ) -> None:
        super().__init__(config)
        self._application = application
        self._connections = connections
        self.has_started = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leaves signals to the program."""
        yield

    async def quietly(self, bound: socket.socket) -> None:
        """Answers on a socket until `should_exit`."""
        try:
            await self.serve(sockets=[bound])
        finally:
            self.has_started.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_started.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.stop()
        limit_s = self._application.limits.shutdown_s
        try:
            async with asyncio.timeout(limit_s):
                await super().shutdown(sockets)
        except TimeoutError:
            _log.warning(
                "connections that are cut off, %g s after the stop: %d",
                limit_s,
                len(self._connections),
            )
            await self._cut_off()

    async def _cut_off(self) -> None:
        """Ends what is in flight. uvicorn by itself would log each as a failure, with its stack."""
        self._connections.abort()
        await asyncio.sleep(0.1)  # who waits for more of a body learns that nobody is there
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


def check_host(host: str, *, tokens: Tokens | None, is_safe: bool) -> None:
    """Raises `InvalidInput` for a host that others can reach, if nothing keeps them out."""
    if is_loopback(host):
        return
    if tokens is None:
        raise InvalidInput(
            f"host {host!r} can be reached by others, and there are no tokens: whoever reaches it "
            "could read and write everything; pass tokens, or stay on 127.0.0.1"
        )
    if not is_safe:
        raise InvalidInput(
            f"host {host!r} can be reached by others, and without TLS whoever listens on the way "
            "has the tokens; pass a certificate, or say that a proxy before it speaks TLS"
        )


def _bind(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except (OSError, OverflowError) as error:
        raise InvalidInput(f"port {port} of {host!r} cannot be taken: {error}") from error
    bound.setblocking(False)
    return bound
