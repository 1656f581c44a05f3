"""Limits: how much a server takes of whom. What is over them is refused before it is parsed."""

from __future__ import annotations

from dataclasses import dataclass, fields

from everlog.errors import InvalidInput
from everlog.wire.protocol import COMMENT_S, MAX_BODY_BYTES, MAX_PIECE, MAX_WAIT_S


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a server takes. Numbers above 0; sizes in bytes, times in seconds.

    >>> from everlog.server import Limits
    >>> Limits(connections=100, body_bytes=1_000_000).connections
    100
    """

    body_bytes: int = MAX_BODY_BYTES
    """Of the body of one request."""
    body_s: float = 30.0
    """Until the whole body of a request is here."""
    bodies_bytes: int = 8 * MAX_BODY_BYTES
    """Of all bodies that are being read or worked on. One token, or one address where there are no
    tokens, has a quarter of it, and a body of any size that is allowed."""
    header_bytes: int = 16 * 1024
    """Of the line and headers of a request."""
    header_s: float = 10.0
    """Until all headers of a request are here, from its first byte or the connection on."""
    keep_alive_s: float = 20.0
    """That a connection may be idle between two requests."""
    write_s: float = 20.0
    """That a reader may take for what waits for it, at most about 128 KiB, before it is cut off."""
    connections: int = 1_000
    connections_per_address: int = 500
    requests_per_s: float = 200.0
    """Of one token, on the long run; four seconds' worth at once."""
    address_requests_per_s: float = 1_000.0
    """Of one address, all its tokens and failures together."""
    streams: int = 500
    """Of server-sent events, at a time; the same number again of waits."""
    streams_per_token: int = 50
    records: int = MAX_PIECE
    """In a piece of history, a page, or a push."""
    wait_s: float = MAX_WAIT_S
    """That a request may wait for news."""
    comment_s: float = COMMENT_S
    """After which a stream that has nothing to say says so."""
    shutdown_s: float = 10.0
    """That requests in flight get when the server stops."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
                raise InvalidInput(
                    f"{field.name}={value!r} is no limit: it must be a number over 0"
                )
        if self.records > MAX_PIECE:
            raise InvalidInput(f"records={self.records} is over {MAX_PIECE}, the protocol's own")
