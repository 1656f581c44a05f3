"""The HTTP layer of the simulation: the real client and the real server, without sockets.

A request is what the client makes of a message, handed to the server's ASGI application as it is;
its answer goes back as bytes. Both wait for nothing but the ledger, so the world steps them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import httpx2

from everlog import EventStore
from everlog.client.address import address_of
from everlog.client.http import Http
from everlog.client.transport import HttpTransport
from everlog.server import Application, Limits
from everlog.sync.hub import Hub
from everlog.wire.messages import Hello

if TYPE_CHECKING:
    from tests.simulation.site import Site
    from tests.simulation.world import World

T = TypeVar("T")

ENDLESS = 1e9
LIMITS = Limits(requests_per_s=ENDLESS, address_requests_per_s=ENDLESS)
CUT = 0.02
"""So many answers are cut off in the middle of their bytes, until the network is fair."""


def application_over(hub: Hub, world: World, secret: bytes | None) -> Application:
    """Returns the server's application over a hub of the simulation."""
    return Application(
        cast("EventStore", _Offered(hub)),
        tokens=None,
        secret=secret,
        limits=LIMITS,
        monotonic_s=lambda: world.now_ms / 1000,
    )


async def asked(site: Site, hello: Hello | None, ask: Callable[[HttpTransport], Awaitable[T]]) -> T:
    """Asks a site by HTTP, as an edge that has said this hello."""
    http = Http(address_of("http://127.0.0.1:8787", token=None), transport=_InMemory(site))
    transport = HttpTransport(http, hello=hello, fetches_ahead=False)
    try:
        return await ask(transport)
    finally:
        await http.close()


class _Offered:
    """What the application takes for a store: it asks that for its hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def as_hub(self, *, secret: bytes | None = None) -> Hub:
        return self._hub


class _InMemory(httpx2.AsyncBaseTransport):
    """Hands requests to the application of a site, in this very task."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        world = self._site.world
        body = await request.aread()
        received = False
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            nonlocal received
            if received:
                return {"type": "http.disconnect"}
            received = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8787),
        }
        await self._site.application(scope, receive, send)
        world.counts["request by HTTP"] += 1
        begin, *parts = sent
        answer = b"".join(part["body"] for part in parts)
        if not world.network.fair and world.chance(CUT):
            world.counts["answer cut in its bytes"] += 1
            answer = answer[: world.random.randrange(len(answer))]
        return httpx2.Response(begin["status"], headers=begin["headers"], stream=_Bytes(answer))


class _Bytes(httpx2.AsyncByteStream):
    """A body that is there."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body
