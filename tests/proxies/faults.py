"""What can go wrong between a client and its server. Each happens once, where it was planned."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from tests.proxies.listener import PATIENCE_S
from tests.proxies.relay import Cut, Line, Relay, Side
from tests.proxies.wire import (
    COMPLETE,
    COPY_IN,
    ERROR,
    EXECUTE,
    QUERY,
    READY,
    Message,
    Wire,
    ends_a_request,
    error,
    query,
    sqlstate_of,
    texts,
)

ANY = ""
COMMIT = r"^\s*(COMMIT|END)\b"


class Happening:
    """Whether a fault has happened, and how to wait until it has."""

    def __init__(self) -> None:
        self._happened = threading.Event()
        self.sql: str | None = None
        """The statement that it hit, if it hits statements."""

    @property
    def happened(self) -> bool:
        return self._happened.is_set()

    async def wait(self) -> None:
        """Returns when it has happened."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.to_thread(self._happened.wait, PATIENCE_S)
        assert self.happened, "the fault did not happen"

    def _happens(self) -> None:
        self._happened.set()


class Passive(Happening):
    """Passes on everything."""

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        return [message]

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        return [message]


class CutAfterMessages(Passive):
    """Cuts a line behind the n-th message that a side sends from now on, over all lines."""

    def __init__(self, side: Side, count: int) -> None:
        super().__init__()
        self._side = side
        self._left = count

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        return self._count("client", message)

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        return self._count("server", message)

    def _count(self, side: Side, message: Message) -> Sequence[Message]:
        if side == self._side and not self.happened:
            self._left -= 1
            if self._left <= 0:
                self._happens()
                raise Cut(passing=message.encoded())
        return [message]


class CutAfterBytes(Passive):
    """Cuts a line behind the n-th byte that a side sends from now on, over all lines."""

    def __init__(self, side: Side, count: int) -> None:
        super().__init__()
        self._side = side
        self._left = count

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        return self._count("client", message)

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        return self._count("server", message)

    def _count(self, side: Side, message: Message) -> Sequence[Message]:
        if side == self._side and not self.happened:
            data = message.encoded()
            if len(data) >= self._left:
                self._happens()
                raise Cut(passing=data[: self._left])
            self._left -= len(data)
        return [message]


class FallsSilent(Passive):
    """Swallows everything behind the n-th message that a side sends from now on, over all lines."""

    def __init__(self, relay: Relay, side: Side, count: int) -> None:
        super().__init__()
        self._relay = relay
        self._side = side
        self._left = count

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        return self._count("client", message)

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        return self._count("server", message)

    def _count(self, side: Side, message: Message) -> Sequence[Message]:
        if side == self._side and not self.happened:
            self._left -= 1
            if self._left <= 0:
                self._happens()
                self._relay.swallow_here()
        return [message]


class AtStatement(Passive):
    """Something that happens at the n-th statement that matches, over all lines."""

    def __init__(self, statement: str = COMMIT, *, nth: int = 1, times: int = 1) -> None:
        """Hits so many from the n-th on.

        `statement`: a regular expression, searched for; see `ANY` and `COMMIT`.
        """
        super().__init__()
        self._pattern = re.compile(statement, re.IGNORECASE)
        self._hit = range(nth, nth + times)
        self.seen = 0
        """How many statements have matched so far."""

    def _hits(self, line: Line) -> bool:
        """Whether the message at hand runs the statement. To be asked once a message."""
        if line.sql is None or self._pattern.search(line.sql) is None:
            return False
        self.seen += 1
        if self.seen not in self._hit:
            return False
        self.sql = line.sql
        return True


class NeverArrives(AtStatement):
    """Cuts the line in front of a statement: the server never hears of it."""

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        if self._hits(line):
            self._happens()
            raise Cut
        return [message]


class AnswerLost(AtStatement):
    """Cuts the line when the server has done a statement and answered: the client never hears."""

    _line: Line | None = None

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        if self._hits(line):
            self._line = line
        return [message]

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        if line is not self._line:
            return [message]
        if message.kind == READY:
            self._line = None
            self._happens()
            raise Cut
        # The server goes on only when the client has sent what it asks for.
        return [message] if message.kind == COPY_IN else []


class ArrivesLate(AtStatement):
    """Cuts the client's connection in front of a statement that is still on its way to the server.

    The server knows of nothing: the transaction stays open, with its locks, until `deliver` or
    `drop` is called.
    """

    _line: Line | None = None

    def __init__(self, statement: str = COMMIT, *, nth: int = 1) -> None:
        super().__init__(statement, nth=nth)
        self._under_way: list[Message] = []
        self._deliver: Future[bool] = Future()
        self._answer: Future[str] = Future()

    def deliver(self) -> str:
        """Lets the statement arrive; returns what the server answered: a tag or SQLSTATE."""
        self._deliver.set_result(True)
        return self._answer.result(PATIENCE_S)

    def drop(self) -> None:
        """Lets the server know that nothing more comes."""
        self._deliver.set_result(False)
        self._answer.result(PATIENCE_S)

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        if self._hits(line):
            self._line = line
        if line is not self._line:
            return [message]
        self._under_way.append(message)
        if ends_a_request(message):
            self._line = None
            self._happens()
            raise Cut(then=self._go_on)
        return []

    async def _go_on(self, server: Wire) -> None:
        answer = ""
        try:
            if await asyncio.wrap_future(self._deliver):
                await server.send(*self._under_way)
            else:
                server.close()
            while (message := await server.read()) is not None and message.kind != READY:
                if message.kind == COMPLETE:
                    [answer] = texts(message.body, 1)
                elif message.kind == ERROR:
                    answer = sqlstate_of(message)
        finally:
            self._answer.set_result(answer)


class Fails(AtStatement):
    """Lets a statement fail with an error of choice, in the client's eyes and in the server's.

    The server gets another statement in its place, which it has to refuse: so it aborts the
    transaction, lets go of its locks and skips what it has to skip. Its error is given the wanted
    code. A failed COMMIT ends the transaction, as a real one does.
    """

    _MARK = "everlog_injected_fault"

    def __init__(
        self, sqlstate: str, statement: str = COMMIT, *, nth: int = 1, times: int = 1
    ) -> None:
        super().__init__(statement, nth=nth, times=times)
        self._sqlstate = sqlstate
        # Lines whose COMMIT fails, by how far they have got.
        self._ending: set[Line] = set()
        self._failing: set[Line] = set()
        self._failed: set[Line] = set()
        self._rolling_back: set[Line] = set()

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        if self._hits(line):
            if re.match(COMMIT, line.sql or "", re.IGNORECASE):
                self._ending.add(line)
                self._failing.add(line)
            message = self._refused(message)
        if line in self._ending and ends_a_request(message):
            self._ending.discard(line)
            return [message, query("ROLLBACK")]
        return [message]

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        if message.kind == ERROR and self._MARK.encode() in message.body:
            if line in self._failing:
                self._failing.discard(line)
                self._failed.add(line)
            self._happens()
            return [error(self._sqlstate, f"injected into {self.sql}")]
        if line in self._failed and message.kind == READY:  # in a failed transaction
            self._failed.discard(line)
            self._rolling_back.add(line)
            return []
        if line in self._rolling_back:  # of which the client has not heard
            if message.kind != READY:
                return []
            self._rolling_back.discard(line)
        return [message]

    def _refused(self, message: Message) -> Message:
        if message.kind == QUERY:
            return query(self._MARK)
        no_limit = b"\0\0\0\0"
        return Message(EXECUTE, self._MARK.encode() + b"\0" + no_limit)  # there is no such portal
