"""A server of this process, and bare sockets to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from everlog import EventStore
from everlog.server import Limits, Server, serve
from tests.server.calling import PATIENCE_S, SECRET


@asynccontextmanager
async def served(
    url: str = "memory:", *, limits: Limits | None = None, **more: Any
) -> AsyncGenerator[tuple[EventStore, Server]]:
    async with (
        EventStore.open(url) as store,
        serve(store, port=0, limits=limits, secret=SECRET, **more) as server,
    ):
        yield store, server


class Line:
    """A connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        """What comes until the other end closes; empty or cut off if it aborts."""
        found = bytearray()
        async with asyncio.timeout(PATIENCE_S):
            try:
                while chunk := await self.reader.read(65_536):
                    found += chunk
            except ConnectionError:
                pass
        return bytes(found)


@asynccontextmanager
async def line_to(server: Server, *, limit: int = 2**16) -> AsyncGenerator[Line]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=limit)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


async def get(server: Server, path: str, *, more: str = "") -> bytes:
    """The whole answer to a GET on a connection of its own."""
    async with line_to(server) as line:
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n"
        await line.send(request.encode())
        return await line.rest()
