"""The PostgreSQL wire protocol (version 3), as far as a proxy has to understand it."""

from __future__ import annotations

import asyncio
import struct
from typing import NamedTuple, Self

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
CANCEL_REQUEST = 80877102
PROTOCOL_3_0 = 196608

QUERY = b"Q"
PARSE = b"P"
BIND = b"B"
EXECUTE = b"E"
SYNC = b"S"
CLOSE = b"C"
TERMINATE = b"X"
FUNCTION_CALL = b"F"
FLUSH = b"H"
COPY_DATA, COPY_DONE, COPY_FAIL = b"d", b"c", b"f"

READY = b"Z"
ERROR = b"E"
AUTHENTICATION = b"R"
PARAMETER = b"S"
BACKEND_KEY = b"K"
COMPLETE = b"C"
COPY_IN = b"G"

IDLE = b"I"
"""The status in which a server is ready outside of a transaction."""
IN_TRANSACTION = b"T"
IN_FAILED_TRANSACTION = b"E"


class Message(NamedTuple):
    """One message after the startup, from either side."""

    kind: bytes
    body: bytes

    def encoded(self) -> bytes:
        return self.kind + struct.pack("!i", len(self.body) + 4) + self.body


class Startup(NamedTuple):
    """The first thing a client says: who it is, or a request that has a connection of its own."""

    code: int
    body: bytes

    @property
    def parameters(self) -> dict[str, str]:
        words = [word.decode() for word in self.body.rstrip(b"\0").split(b"\0")]
        return dict(zip(words[::2], words[1::2], strict=True))

    def encoded(self) -> bytes:
        return struct.pack("!ii", len(self.body) + 8, self.code) + self.body


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, host: str, port: int) -> Self:
        """Connects; raises OSError."""
        return cls(*await asyncio.open_connection(host, port))

    async def read(self) -> Message | None:
        """Returns the next message; None at the end, however it came."""
        try:
            kind, length = struct.unpack("!ci", await self._reader.readexactly(5))
            return Message(kind, await self._reader.readexactly(length - 4))
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def read_startup(self) -> Startup | None:
        """Returns what a client says first, after encryption was declined; None at the end."""
        try:
            while True:
                length, code = struct.unpack("!ii", await self._reader.readexactly(8))
                body = await self._reader.readexactly(length - 8)
                if code not in (SSL_REQUEST, GSS_REQUEST):
                    return Startup(code, body)
                await self.write(b"N")
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def read_until(self, end: bytes) -> bytes | None:
        """Returns what comes up to an end; None where it does not come."""
        try:
            return await self._reader.readuntil(end)
        except (asyncio.IncompleteReadError, OSError):
            return None

    async def read_some(self) -> bytes:
        """Returns what has come; nothing at the end, however it came."""
        try:
            return await self._reader.read(65536)
        except OSError:
            return b""

    async def read_to_end(self) -> None:
        """Reads whatever comes, until its end."""
        try:
            while await self._reader.read(65536):
                pass
        except OSError:
            return

    async def write(self, data: bytes) -> None:
        """Sends; a peer that is gone is noticed by who reads."""
        if not self._writer.is_closing():
            self._writer.write(data)
            try:
                await self._writer.drain()
            except OSError:
                return

    async def send(self, *messages: Message | Startup) -> None:
        await self.write(b"".join(message.encoded() for message in messages))

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._writer.is_closing()

    def close(self) -> None:
        """Closes behind what has been written."""
        self._writer.close()

    def cut(self) -> None:
        """Closes at once."""
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Returns when the socket is closed."""
        try:
            await self._writer.wait_closed()
        except OSError:
            return


# --- messages made here --------------------------------------------------------------------------


def query(sql: str) -> Message:
    return Message(QUERY, _text(sql))


def ready(status: bytes) -> Message:
    return Message(READY, status)


def error(sqlstate: str, text: str, *, severity: str = "ERROR") -> Message:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": text}
    return Message(ERROR, b"".join(_text(name + value) for name, value in fields.items()) + b"\0")


def authenticated() -> Message:
    return Message(AUTHENTICATION, struct.pack("!i", 0))


def parameter(name: str, value: str) -> Message:
    return Message(PARAMETER, _text(name) + _text(value))


def backend_key(pid: int, secret: bytes) -> Message:
    return Message(BACKEND_KEY, struct.pack("!i", pid) + secret)


def startup(parameters: dict[str, str]) -> Startup:
    words = [_text(word) for pair in parameters.items() for word in pair]
    return Startup(PROTOCOL_3_0, b"".join(words) + b"\0")


# --- what stands in messages ---------------------------------------------------------------------


def texts(body: bytes, count: int) -> list[str]:
    """Returns the texts that a message begins with."""
    return [word.decode() for word in body.split(b"\0", count)[:count]]


def key_of(message: Message | Startup) -> tuple[int, bytes]:
    """Returns process id and secret, of a backend key or of a request to cancel."""
    return struct.unpack_from("!i", message.body)[0], message.body[4:]


def sqlstate_of(message: Message) -> str:
    """Returns the code of an error."""
    [code] = [word[1:] for word in message.body.split(b"\0") if word[:1] == b"C"]
    return code.decode()


def ends_a_request(message: Message) -> bool:
    """Whether the server answers all that was sent up to this with one "ready"."""
    return message.kind in (QUERY, SYNC, FUNCTION_CALL)


def begins_a_request(message: Message) -> bool:
    """Whether the server now waits for the message that ends the request."""
    passing = (FLUSH, COPY_DATA, COPY_DONE, COPY_FAIL)
    return message.kind not in passing and not ends_a_request(message)


class Statements:
    """What a client has prepared, so that one can tell which SQL a message runs."""

    def __init__(self) -> None:
        self._prepared: dict[str, str] = {}
        self._portals: dict[str, str] = {}

    def run_by(self, message: Message) -> str | None:
        """Takes note of a client's message; returns the SQL that it runs, if it runs any."""
        match message.kind:
            case b"Q":
                return texts(message.body, 1)[0]
            case b"P":
                name, sql = texts(message.body, 2)
                self._prepared[name] = sql
            case b"B":
                portal, name = texts(message.body, 2)
                self._portals[portal] = self._prepared.get(name, "")
            case b"E":
                return self._portals.get(texts(message.body, 1)[0], "")
            case _:
                pass
        return None


def _text(word: str) -> bytes:
    return word.encode() + b"\0"
