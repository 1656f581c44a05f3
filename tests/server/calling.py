"""Calls an ASGI application in memory, or a server by its socket, without a client of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from everlog import EventStore
from everlog.core.record import StoredRecord
from everlog.server import Application, Limits, Pattern, TokenFile
from everlog.wire.messages import Offer
from everlog.wire.talks import write_offers

SECRET = b"a secret of this test alone"
PATIENCE_S = 100.0
LEDGER = "ab" * 16
"""The ledger of an edge that a test plays."""


@dataclass
class Reply:
    """What a request was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def code(self) -> str:
        """The code of the problem that it is."""
        assert self.headers["content-type"] == "application/problem+json", self
        assert self.json["status"] == self.status
        return str(self.json["code"])


async def call(
    app: Application,
    method: str,
    path: str,
    *,
    query: str = "",
    body: bytes | Sequence[bytes] = b"",
    json: Any = None,
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    client: str = "127.0.0.1",
) -> Reply:
    """Sends one request, and returns the whole answer."""
    chunks = [body] if isinstance(body, bytes) else list(body)
    sent = {"host": "localhost"}
    if json is not None:
        chunks = [_dumps(json)]
        sent["content-type"] = "application/json"
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    if any(chunks):
        sent["content-length"] = str(sum(map(len, chunks)))
    sent.update({name.lower(): value for name, value in (headers or {}).items()})
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.encode(), v.encode("latin-1")) for k, v in sent.items()],
        "client": (client, 1),
        "server": ("localhost", 80),
    }
    incoming = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]
    status = 0
    answered: dict[str, str] = {}
    parts: list[bytes] = []
    ended = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop(0)
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            answered.update({k.decode(): v.decode("latin-1") for k, v in message["headers"]})
        else:
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                ended.set()

    await app(scope, receive, send)
    assert status, "it was not answered"
    return Reply(status, answered, b"".join(parts))


def _dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


@asynccontextmanager
async def offered(
    url: str = "memory:",
    *,
    tokens: TokenFile | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> AsyncGenerator[tuple[EventStore, Application]]:
    """A store and the application that offers it."""
    async with (
        EventStore.open(url, **options) as store,
        offered_store(store, tokens=tokens, limits=limits) as application,
    ):
        yield store, application


@asynccontextmanager
async def offered_store(
    store: EventStore, *, tokens: TokenFile | None = None, limits: Limits | None = None
) -> AsyncGenerator[Application]:
    """The application that offers a store."""
    application = Application(store, tokens=tokens, secret=SECRET, limits=limits or Limits())
    try:
        yield application
    finally:
        await application.close()


def event(stream: str, type: str = "thing:done", **more: Any) -> dict[str, Any]:
    """An event of an append."""
    return {"stream": stream, "type": type, "data": {"n": 1}, **more}


async def until(condition: Callable[[], object], *, what: str) -> None:
    """Waits for a condition; however long the machine takes, within pytest's own limit."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  # what is waited for has no signal
                await asyncio.sleep(0.02)
    assert condition(), f"it never came to be that {what}"


async def append(app: Application, *events: dict[str, Any], **more: Any) -> Reply:
    return await call(app, "POST", "/v1/append", json={"events": list(events)}, **more)


async def push(
    app: Application,
    offers: Sequence[Offer],
    *,
    ledger: str = LEDGER,
    cursor: str = "0",
    **more: Any,
) -> Reply:
    headers = {
        "content-type": "application/x-ndjson",
        "everlog-ledger": ledger,
        "everlog-cursor": cursor,
    }
    body = b"".join(write_offers(offers))
    return await call(app, "POST", "/v1/push", body=body, headers=headers, **more)


def hello(ledger: str = LEDGER, **more: Any) -> dict[str, Any]:
    """The body of a hello."""
    return {"protocol": [1], "ledger": ledger, "node": "cd" * 8, "instance": "1", **more}


async def records_of(store: EventStore) -> list[StoredRecord]:
    return [record.stored async for record in store.read()]


ALL = Pattern()
