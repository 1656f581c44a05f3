"""A proxy that passes on every message, until it is told to do harm."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, Protocol, TypeVar

from tests.proxies.listener import Listener, Proxy, at_port, place_of
from tests.proxies.wire import (
    CANCEL_REQUEST,
    IDLE,
    READY,
    Message,
    Startup,
    Statements,
    Wire,
)

Side = Literal["client", "server"]


class Line:
    """One client's connection, and the server connection that is its own."""

    def __init__(self, number: int, client: Wire, server: Wire) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.status = IDLE
        """What the server last said it was ready in."""
        self.sql: str | None = None
        """What the client's present message runs, if it runs anything."""
        self.statements = Statements()
        self.then: Callable[[Wire], Awaitable[None]] | None = None

    def cut(self) -> None:
        self.client.cut()
        self.server.cut()


class Ran(NamedTuple):
    """One statement that a client sent."""

    line: int
    sql: str


class Cut(Exception):
    """Raised by a fault: here the line is cut.

    - `passing`: the bytes that still pass
    - `then`: what becomes of the server's connection, once the client's is cut; else it is cut too
    """

    def __init__(
        self, passing: bytes = b"", *, then: Callable[[Wire], Awaitable[None]] | None = None
    ) -> None:
        super().__init__()
        self.passing = passing
        self.then = then


class Fault(Protocol):
    """Something that goes wrong. Called in the proxy's thread; may raise `Cut`."""

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        """Returns what the server gets in the place of a client's message."""
        ...

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        """Returns what the client gets in the place of a server's message."""
        ...


F = TypeVar("F", bound=Fault)


class Relay(Proxy):
    """Stands in front of a server on loopback, one server connection for each client.

    Its methods may be called from any thread but its own.
    """

    def __init__(self, url: str) -> None:
        """`url`: that of the server."""
        self._place = place_of(url)
        self._faults: tuple[Fault, ...] = ()
        self._lines: set[Line] = set()
        self._flows: dict[Side, asyncio.Event] = {
            "client": asyncio.Event(),
            "server": asyncio.Event(),
        }
        for flow in self._flows.values():
            flow.set()
        self._swallowing = False
        self.connections = 0
        """How many clients have connected so far."""
        self.statements: deque[Ran] = deque(maxlen=10_000)
        """What clients have sent, the newest last."""
        self.held = 0
        """How many messages have come and wait until their line is resumed."""
        self._listener = Listener(self._serve)
        self.url = at_port(url, self._listener.port)
        self._listener.accept()

    @property
    def open(self) -> int:
        """How many clients are connected."""
        return len(self._lines)

    @property
    def serving(self) -> int:
        """How many connections there are, also such as were never answered."""
        return self._listener.serving

    def plan(self, fault: F) -> F:
        """Lets a fault happen; returns it."""
        self._faults += (fault,)
        return fault

    def forget(self) -> None:
        """Lets no planned fault happen any more."""
        self._faults = ()

    def cut(self) -> int:
        """Cuts all connections; returns how many."""

        async def cut() -> int:
            lines = list(self._lines)
            for line in lines:
                line.cut()
            return len(lines)

        return self._listener.call(cut())

    def stall(self, *sides: Side) -> None:
        """Holds back what these sides send, of all connections; without sides, everything."""
        self._set_flows(sides, flowing=False)

    def resume(self) -> None:
        """Passes on what was held back."""
        self._set_flows((), flowing=True)

    def swallow(self) -> None:
        """Takes what both sides send and whoever connects, passes on nothing and answers nothing.

        So does a network that has lost its way; a server that is stopped takes less.
        """

        async def swallow() -> None:
            self.swallow_here()

        self._listener.call(swallow())

    def swallow_here(self) -> None:
        """Does the same for a fault, which runs in the proxy's own thread."""
        self._swallowing = True

    def answer(self) -> None:
        """Serves whoever connects again; those whose messages were swallowed are not cut."""

        async def answer() -> None:
            self._swallowing = False

        self._listener.call(answer())

    def stall_here(self, *sides: Side) -> None:
        """Does the same for a fault, which runs in the proxy's own thread."""
        for side in sides or self._flows:
            self._flows[side].clear()

    def _set_flows(self, sides: Sequence[Side], *, flowing: bool) -> None:
        async def set_them() -> None:
            if not flowing:
                self.stall_here(*sides)
                return
            for side in sides or self._flows:
                self._flows[side].set()

        self._listener.call(set_them())

    async def _serve(self, client: Wire) -> None:
        if self._swallowing:
            await client.read_to_end()
            return
        startup = await client.read_startup()
        if startup is None:
            return
        try:
            server = await Wire.to(*self._place)
        except OSError:  # no server: the client finds its connection closed
            return
        try:
            await self._between(client, server, startup)
        finally:
            server.close()
            await server.closed()

    async def _between(self, client: Wire, server: Wire, startup: Startup) -> None:
        await server.send(startup)
        if startup.code == CANCEL_REQUEST:
            await server.read()  # nothing is answered: the server closes when it has done it
            return
        self.connections += 1
        line = Line(self.connections, client, server)
        self._lines.add(line)
        pumps = [
            asyncio.create_task(self._pump(line, "client", client, server)),
            asyncio.create_task(self._pump(line, "server", server, client)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lines.discard(line)
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
        for pump in pumps:
            if not pump.cancelled():
                pump.result()  # a mistake of ours is shown
        if line.then is not None:
            await line.then(server)

    async def _pump(self, line: Line, side: Side, source: Wire, target: Wire) -> None:
        """Passes on what one side sends, until its end."""
        while (message := await source.read()) is not None:
            self.held += 1
            await self._flows[side].wait()
            self.held -= 1
            if self._swallowing:
                continue
            try:
                passing = self._harmed(line, side, message)
            except Cut as cut:
                await target.write(cut.passing)
                if cut.then is None:
                    target.close()  # behind what has passed
                line.then = cut.then
                source.cut()
                return
            await target.send(*passing)

    def _harmed(self, line: Line, side: Side, message: Message) -> Sequence[Message]:
        if side == "client":
            line.sql = line.statements.run_by(message)
            if line.sql is not None:
                self.statements.append(Ran(line.number, line.sql))
        passing: Sequence[Message] = [message]
        for fault in self._faults:
            if side == "client":
                passing = [new for old in passing for new in fault.from_client(line, old)]
            else:
                passing = [new for old in passing for new in fault.from_server(line, old)]
        # Behind the faults: to them the status is still that in which the request began.
        if side == "server" and message.kind == READY:
            line.status = message.body
        return passing
