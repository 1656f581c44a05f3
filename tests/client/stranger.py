"""A server on this machine that answers what a test says, byte for byte, whatever it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Stranger:
    """What is known of one: where it is, and what it was asked."""

    url: str
    heard: list[bytes] = field(default_factory=list[bytes])
    """The heads of the requests."""


def saying(*parts: bytes, then_waits: bool = False) -> Say:
    """Returns what says these bytes and hangs up; or says nothing more until it is hung up on."""

    async def say(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_waits:
            await asyncio.Event().wait()

    return say


def answering(status: str, kind: str, body: bytes, *more: str) -> Say:
    """Returns what gives one whole answer."""
    head = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *more]
    return saying("\r\n".join([*head, "connection: close", "", ""]).encode() + body)


@asynccontextmanager
async def stranger(say: Say) -> AsyncGenerator[Stranger]:
    """Starts one; it ends with the block."""
    heard: list[bytes] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            await say(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Stranger(f"http://127.0.0.1:{port}", heard)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
