"""A server on this machine that answers what a test says, byte for byte, whatever it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.proxies.listener import Listener
from tests.proxies.wire import Wire

Say = Callable[[Wire], Awaitable[None]]


@dataclass
class Stranger:
    """What is known of one: where it is, and what it was asked."""

    url: str
    heard: list[bytes] = field(default_factory=list[bytes])
    """The heads of the requests."""


def saying(*parts: bytes, then_waits: bool = False) -> Say:
    """Returns what says these bytes and hangs up; or says nothing more until it is hung up on."""

    async def say(wire: Wire) -> None:
        for part in parts:
            await wire.write(part)
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

    async def serve(wire: Wire) -> None:
        head = await wire.read_until(b"\r\n\r\n")
        if head is not None:
            heard.append(head)
            await say(wire)

    listener = Listener(serve)
    listener.accept()
    try:
        yield Stranger(f"http://127.0.0.1:{listener.port}", heard)
    finally:
        await asyncio.to_thread(listener.close)
