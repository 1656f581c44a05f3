"""Pieces of a hub's history: what a pull is answered with, line by line.

    {"from": 812, "chain": "..", "epoch": "..", "scope": ".."}      where the piece begins
    {"record": {..}, "position": 813, .., "receipt": ".."}          a record: see `records.py`
    {"to": 900, "chain": "..", "up_to_date": true, "stable": 880, "cursor": ".."}   where it ends

As NDJSON that is the whole answer; without its last line it was cut off, and is no answer. As
server-sent events each line is the data of one, and pieces follow each other as they come to be;
the last of a piece has the cursor as its `id`, so a stream that was cut goes on behind that piece.
`up_to_date` says that the hub has no more for now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from everlog.core.chain import HASH_BYTES
from everlog.core.record import StoredRecord
from everlog.core.taking import Mark
from everlog.errors import InvalidMessage
from everlog.wire.cursors import scope_id, write_cursor
from everlog.wire.json_text import flag, number, octets, read_object, text, to_line
from everlog.wire.messages import Pulled
from everlog.wire.protocol import MAX_LINE_BYTES, MAX_PIECE
from everlog.wire.records import read_line, read_lines, read_receipt, read_record, record_line

COMMENT = b": still here\n\n"
"""A line of a stream of server-sent events that says nothing, so that nobody takes it for dead."""


def piece_lines(pulled: Pulled, hub: str) -> list[bytes]:
    """Returns the lines of a piece of history of ledger `hub`, each with its newline."""
    position, chain = pulled.start
    end = pulled.end
    receipts = pulled.receipts or (None,) * len(pulled.records)
    first = {
        "from": position,
        "chain": chain.hex(),
        "epoch": pulled.epoch,
        "scope": pulled.scope,
    }
    last = {
        "to": end.position,
        "chain": end.chain.hex(),
        "up_to_date": pulled.up_to_date,
        "stable": pulled.stable,
        "cursor": write_cursor(end, hub, scope_id(pulled.scope)),
    }
    lines = [record_line(*each) for each in zip(pulled.records, receipts, strict=True)]
    return [to_line(first), *lines, to_line(last)]


def piece_events(pulled: Pulled, hub: str) -> bytes:
    """Returns a piece of history of ledger `hub` as server-sent events."""
    *lines, last = piece_lines(pulled, hub)
    cursor = write_cursor(pulled.end, hub, scope_id(pulled.scope)).encode()
    # Each line has a newline of its own, and an empty one ends an event.
    events = [b"data: " + line + b"\n" for line in lines]
    return b"".join([*events, b"id: " + cursor + b"\ndata: " + last + b"\n"])


class PieceReader:
    """Puts pieces of history together from their lines; refuses what is none.

    Keeps at most one piece, and of that no more than `most_records`.
    """

    def __init__(self, *, most_records: int = MAX_PIECE) -> None:
        self._most = most_records
        self._first: tuple[Mark, str, str] | None = None
        self._records: list[StoredRecord] = []
        self._receipts: list[bytes | None] = []

    @property
    def is_between(self) -> bool:
        """Whether no piece has begun that has not ended: otherwise the rest was cut off."""
        return self._first is None

    def feed(self, line: bytes | str) -> Pulled | None:
        """Takes the next line; returns the piece that it ends, or None. Raises `InvalidMessage`."""
        found = read_line(line)
        if found is not None:
            self.add([found.record], [found.receipt])
            return None
        fields = read_object(line, at="line")
        if "record" in fields:
            self.add([read_record(fields)], [read_receipt(fields)])
            return None
        if "from" in fields:
            if self._first is not None:
                raise InvalidMessage("line", "begins a piece before the last has ended")
            start = Mark(
                number(fields, "from", at="line"),
                octets(fields, "chain", at="line", size=HASH_BYTES),
            )
            epoch = text(fields, "epoch", at="line")
            self._first = start, epoch, text(fields, "scope", at="line")
            return None
        if "to" in fields:
            return self._end(fields)
        raise InvalidMessage("line", "is neither `from`, `record` nor `to`")

    def add(self, records: Sequence[StoredRecord], receipts: Sequence[bytes | None]) -> None:
        """Takes the records of the next lines, each with its receipt; raises `InvalidMessage`."""
        if self._first is None:
            raise InvalidMessage("line", "is a record of no piece: `from` has to come before")
        if len(self._records) + len(records) > self._most:
            raise InvalidMessage("line", f"is one record more than {self._most:,} of a piece")
        self._records += records
        self._receipts += receipts

    def _end(self, fields: dict[str, Any]) -> Pulled:
        if self._first is None:
            raise InvalidMessage("line", "ends a piece that has not begun")
        start, epoch, scope = self._first
        end = Mark(
            number(fields, "to", at="line"), octets(fields, "chain", at="line", size=HASH_BYTES)
        )
        receipts = tuple(self._receipts)
        if all(each is None for each in receipts):
            receipts = ()
        pulled = Pulled(
            epoch,
            start,
            tuple(self._records),
            receipts,
            end,
            flag(fields, "up_to_date", at="line"),
            scope,
            number(fields, "stable", at="line"),
        )
        self._first, self._records, self._receipts = None, [], []
        return pulled


def read_piece(body: bytes, *, most_records: int = MAX_PIECE) -> Pulled:
    """Returns the piece that a whole NDJSON answer holds; raises `InvalidMessage`."""
    reader = PieceReader(most_records=most_records)
    # Nearly all lines are records, but for the first and the last.
    begin, end = body.find(b"\n") + 1, body.rfind(b"\n", 0, -1) + 1
    many = read_lines(body[begin:end]) if begin < end and body.endswith(b"\n") else None
    found: Pulled | None = None
    if many is not None:
        reader.feed(body[: begin - 1])
        reader.add(many.records, many.receipts)
        found = reader.feed(body[end:-1])
    else:
        # It is ASCII nearly always, and then decoded at once.
        lines = body.decode().split("\n") if body.isascii() else body.split(b"\n")
        for line in lines[:-1]:
            if found is not None:
                raise InvalidMessage("body", "goes on behind the end of its piece")
            found = reader.feed(line)
    if found is None or not body.endswith(b"\n"):
        raise InvalidMessage("body", "was cut off: its last line is not `to`")
    return found


def end_of(body: bytes) -> Mark | None:
    """Returns where a piece ends that goes on, by the last line of its answer; None otherwise.

    For whoever asks for the next one before this one is read: whether it is one, that tells.
    """
    if not body.endswith(b"\n"):
        return None
    try:
        fields = read_object(body[body.rfind(b"\n", 0, -1) + 1 :], at="line")
        if flag(fields, "up_to_date", at="line"):
            return None
        chain = octets(fields, "chain", at="line", size=HASH_BYTES)
        return Mark(number(fields, "to", at="line"), chain)
    except InvalidMessage:
        return None


class SentEvent:
    """A server-sent event: its data, and its id if it has one."""

    __slots__ = ("data", "id", "name")

    def __init__(self, data: str, id: str | None, name: str) -> None:
        self.data = data
        self.id = id
        self.name = name
        """`message` unless it says otherwise; `problem` is why the stream ends."""


class EventReader:
    """Takes server-sent events out of bytes as they come (WHATWG HTML, 9.2), in bounded memory."""

    def __init__(self, *, limit: int = MAX_LINE_BYTES + 1024) -> None:
        self._limit = limit
        self._rest = b""
        self._data: list[str] = []
        self._size = 0
        self._id: str | None = None
        self._name = "message"

    def feed(self, chunk: bytes) -> list[SentEvent]:
        """Returns the events that the bytes complete; raises `InvalidMessage`."""
        events: list[SentEvent] = []
        # A carriage return alone ends a line as well, in the standard; no hub of ours writes one.
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self._limit:
            raise InvalidMessage("event", f"has a line of over {self._limit:,} bytes")
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                events.append(event)
        return events

    def _line(self, line: bytes) -> SentEvent | None:
        if not line:
            data, self._data, self._size = self._data, [], 0
            id, self._id = self._id, None
            event, self._name = self._name, "message"
            return SentEvent("\n".join(data), id, event) if data else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        try:
            plain = value.decode()
        except UnicodeDecodeError:
            raise InvalidMessage("event", "is no UTF-8") from None
        if name == b"data":
            self._size += len(line)
            if self._size > self._limit:
                raise InvalidMessage("event", f"has over {self._limit:,} bytes")
            self._data.append(plain)
        elif name == b"id":
            self._id = plain
        elif name == b"event":
            self._name = plain
        return None  # what is not known is passed over, as the standard has it
