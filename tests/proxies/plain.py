"""A proxy that passes on bytes, whatever they are, until it is told to cut or to keep back."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from tests.proxies.listener import Listener, Proxy
from tests.proxies.wire import Wire

EVENTS = b"text/event-stream"
PATH = re.compile(rb"^(?:GET|POST) (/[^ ?]*)[^\n]* HTTP/1.1\r$", re.M)


class Plain(Proxy):
    """Stands between clients and a port of this machine."""

    def __init__(self, port: int, *, keeps_events_back: bool = False) -> None:
        """`keeps_events_back`: as a proxy that buffers does, it passes on the answer to who listens
        to events only when that has ended."""
        self.behind = port
        """The port behind it; may be set to another one."""
        self.keeps_events_back = keeps_events_back
        self.kept_back = 0
        """How often it has kept something back."""
        self.loses_answers = False
        """Whether it cuts the line where an answer would pass, behind a request that has passed."""
        self.asked: Counter[str] = Counter()
        """How often each path of HTTP was asked for."""
        self._lines: set[tuple[Wire, Wire]] = set()
        self._listener = Listener(self._serve)
        self._listener.accept()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._listener.port}"

    def cut(self) -> int:
        """Cuts all connections at once, in the middle of whatever they carry; returns how many."""
        return self._listener.call(self._cut())

    async def _cut(self) -> int:
        for line in self._lines:
            for wire in line:
                wire.cut()
        return len(self._lines)

    async def _serve(self, client: Wire) -> None:
        try:
            server = await Wire.to("127.0.0.1", self.behind)
        except OSError:
            client.cut()
            return
        line = (client, server)
        self._lines.add(line)
        passing = [
            asyncio.create_task(self._pass(client, server)),
            asyncio.create_task(self._answer(server, client)),
        ]
        try:
            await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lines.discard(line)
            for task in passing:
                task.cancel()
            server.close()  # before anything is awaited, in which this may be cut off
            await asyncio.wait(passing)
            await server.closed()

    async def _pass(self, from_: Wire, to: Wire) -> None:
        while data := await from_.read_some():
            self.asked.update(path.decode() for path in PATH.findall(data))
            await to.write(data)

    async def _answer(self, server: Wire, client: Wire) -> None:
        kept = b""
        while data := await server.read_some():
            if self.loses_answers:
                return
            if self.keeps_events_back and (kept or EVENTS in data):
                self.kept_back += not kept
                kept += data
                continue
            await client.write(data)
        await client.write(kept)
