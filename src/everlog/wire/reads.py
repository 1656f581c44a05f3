"""Reads on the wire: what is asked for, pages of records, and what else a ledger tells.

A read is asked for by the body of a `POST /v1/read`, or by the parameters of a `GET`. Either is
answered with a record per line, and a last line that says where the next page begins:

    {"page": {"selection": {..}, "cursor": {..} or null}}

Pass both on, in a `POST`, to get the next page; a null cursor says that nothing is left. Without
its last line an answer was cut off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from everlog.core.chain import HASH_BYTES
from everlog.core.record import StoredRecord
from everlog.core.selection import PAGE_RECORDS, Cursor, Order, Page, Selection
from everlog.core.sequencer import Head, Identity
from everlog.core.stamp import is_stamp
from everlog.core.token import decode, encode
from everlog.errors import InvalidMessage, InvalidToken
from everlog.wire.json_text import (
    MOST,
    a_list,
    a_pair,
    a_text,
    an_object,
    flag,
    item_object,
    number,
    number_or_none,
    octets,
    read_object,
    text,
    text_or_none,
    to_line,
)
from everlog.wire.protocol import MAX_BODY_BYTES, MAX_IDS
from everlog.wire.records import read_line, read_record, record_line, record_text

MAX_STREAMS = 1_000_000
"""Streams that a selection may name: those that a wide relation has."""


class ReadText(NamedTuple):
    """A read on the wire."""

    selection: Selection
    cursor: Cursor | None = None
    size: int = PAGE_RECORDS


def write_read(read: ReadText) -> bytes:
    """Returns the body of a read."""
    return to_line(
        {
            "selection": write_selection(read.selection),
            "cursor": None if read.cursor is None else _write_cursor(read.cursor),
            "size": read.size,
        }
    )


def read_read(body: bytes) -> ReadText:
    """Returns what the body of a read asks for."""
    fields = read_object(body, limit=MAX_BODY_BYTES)
    selection = read_selection(an_object(fields, "selection", at="body"), at="body.selection")
    size = number_or_none(fields, "size", at="body", least=1, most=PAGE_RECORDS)
    return ReadText(selection, _cursor_in(fields, "body"), PAGE_RECORDS if size is None else size)


PARAMETERS = (
    "stream",
    "relation",
    "prefix",
    "type",
    "after",
    "until",
    "as_of",
    "limit",
    "backwards",
    "order",
)
"""The parameters of a read by `GET`; `stream` and `type` may come several times."""


def read_parameters(parameters: Sequence[tuple[str, str]]) -> ReadText:
    """Returns what the parameters of a `GET` ask for; raises `InvalidMessage`.

    `after` is a position, or a resume token.
    """
    fields: dict[str, Any] = {}
    for name, value in parameters:
        if name not in PARAMETERS:
            raise InvalidMessage(f"query.{name[:40]!a}", f"is none of {', '.join(PARAMETERS)}")
        if name in ("stream", "type"):
            fields.setdefault(name + "s", []).append(value)
        elif name in fields:
            raise InvalidMessage(f"query.{name}", "comes twice")
        elif name in ("until", "limit"):
            fields[name] = _number_of(name, value)
        elif name == "after" and value.isascii() and not value.isdigit():
            token = _token(value, "query.after")
            fields["after"], fields["seen"] = token.position, value
        elif name == "after":
            fields[name] = _number_of(name, value)
        elif name == "backwards":
            if value not in ("true", "false"):
                raise InvalidMessage("query.backwards", "must be true or false")
            fields[name] = value == "true"
        else:
            fields[name] = value
    return ReadText(read_selection(fields, at="query"))


def write_selection(selection: Selection) -> dict[str, object]:
    """Returns a selection as an object, without what is as it is by itself."""
    fields = {
        name: value
        for name, value in selection._asdict().items()
        if value != Selection._field_defaults[name]
    }
    if "order" in fields:
        fields["order"] = selection.order.value
    if selection.seen is not None:
        fields["seen"] = encode(selection.seen)
    return fields


def read_selection(fields: Mapping[str, Any], *, at: str) -> Selection:
    """Reads a selection."""

    def texts(name: str, most: int) -> tuple[str, ...] | None:
        if fields.get(name) is None:
            return None
        return a_list(fields, name, a_text, at=at, most=most)

    as_of = text_or_none(fields, "as_of", at=at)
    if as_of is not None and not is_stamp(as_of):
        raise InvalidMessage(f"{at}.as_of", "is no stamp: 32 lower-case hex characters")
    order = text_or_none(fields, "order", at=at)
    if order is not None and order not in _ORDERS:
        raise InvalidMessage(f"{at}.order", "must be position or created")
    seen = text_or_none(fields, "seen", at=at)
    chosen = Order.POSITION if order is None else _ORDERS[order]
    backwards = flag(fields, "backwards", at=at)
    if backwards and chosen is Order.CREATED:
        raise InvalidMessage(f"{at}.backwards", "goes with the order of position alone")
    return Selection(
        streams=texts("streams", MAX_STREAMS),
        relation=text_or_none(fields, "relation", at=at),
        prefix=text_or_none(fields, "prefix", at=at),
        types=texts("types", MAX_IDS),
        after=number_or_none(fields, "after", at=at) or 0,
        until=number_or_none(fields, "until", at=at),
        as_of=as_of,
        limit=number_or_none(fields, "limit", at=at),
        backwards=backwards,
        order=chosen,
        seen=None if seen is None else _token(seen, f"{at}.seen"),
        resolved=flag(fields, "resolved", at=at),
    )


def page_lines(page: Page) -> list[bytes]:
    """Returns the lines of a page, each with its newline."""
    cursor = None if page.cursor is None else _write_cursor(page.cursor)
    last = {"page": {"selection": write_selection(page.selection), "cursor": cursor}}
    return [*map(record_line, page.records), to_line(last)]


def read_page(body: bytes) -> Page:
    """Returns the page of an answer."""
    if not body.endswith(b"\n"):
        raise InvalidMessage("body", "was cut off: its last line has no newline")
    *lines, last = body.split(b"\n")[:-1]
    records = [_read_line(line) for line in lines]
    fields = read_object(last, at="line", limit=MAX_BODY_BYTES)
    page = an_object(fields, "page", at="line")
    selection = read_selection(
        an_object(page, "selection", at="line.page"), at="line.page.selection"
    )
    return Page(records, selection, _cursor_in(page, "line.page"))


def _read_line(line: bytes) -> StoredRecord:
    found = read_line(line)
    return read_record(read_object(line, at="line")) if found is None else found.record


def _write_cursor(cursor: Cursor) -> dict[str, object]:
    return {
        "position": cursor.position,
        "late": None if cursor.late is None else list(cursor.late),
        "given": cursor.given,
        "ended": cursor.ended,
    }


def _cursor_in(fields: Mapping[str, Any], at: str) -> Cursor | None:
    if fields.get("cursor") is None:
        return None
    at_cursor = f"{at}.cursor"
    cursor = an_object(fields, "cursor", at=at)
    ended = text_or_none(cursor, "ended", at=at_cursor) or ""
    if ended not in ("", "on time", "late"):
        raise InvalidMessage(f"{at_cursor}.ended", "must be empty, on time or late")
    late = cursor.get("late")
    return Cursor(
        number(cursor, "position", at=at_cursor),
        None if late is None else a_pair(late, f"{at_cursor}.late"),
        number(cursor, "given", at=at_cursor),
        ended,
    )


def _number_of(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 19) or int(value) > MOST:
        raise InvalidMessage(f"query.{name}", f"must be a whole number from 0 to {MOST}")
    return int(value)


def _token(value: str, at: str) -> Any:
    try:
        return decode(value)
    except InvalidToken as error:
        raise InvalidMessage(at, str(error)) from None


_ORDERS = {order.value: order for order in Order}


# --- ids, streams, relations ----------------------------------------------------------------------


def write_ids(ids: Sequence[str]) -> bytes:
    """Returns the body of a request for the records of ids."""
    return to_line({"ids": list(ids)})


def read_ids(body: bytes) -> tuple[str, ...]:
    """Returns the ids that are asked for."""
    fields = read_object(body, limit=MAX_BODY_BYTES)
    return a_list(fields, "ids", a_text, at="body", most=MAX_IDS)


def write_found(records: Sequence[StoredRecord | None]) -> bytes:
    """Returns the body that answers with the record of each id, or null."""
    found = ",".join("null" if each is None else record_text(each) for each in records)
    return f'{{"records":[{found}]}}\n'.encode()


def read_found(body: bytes) -> list[StoredRecord | None]:
    """Returns the record of each id, in their order."""
    fields = read_object(body, limit=len(body))
    return list(a_list(fields, "records", _found, at="body", most=MAX_IDS))


def _found(value: object, at: str) -> StoredRecord | None:
    return None if value is None else read_record(item_object(value, at), at=at)


def write_names(kind: str, names: Sequence[str]) -> bytes:
    """Returns the body that answers with `streams` or `relations`."""
    return to_line({kind: list(names)})


def read_names(kind: str, body: bytes) -> tuple[str, ...]:
    """Returns the `streams` or `relations` of a body: of a question as of an answer."""
    fields = read_object(body, limit=MAX_BODY_BYTES)
    return a_list(fields, kind, cast("Any", a_text), at="body", most=MAX_STREAMS)


# --- status ---------------------------------------------------------------------------------------


class StatusText(NamedTuple):
    """What a hub says of itself."""

    identity: Identity
    head: Head
    """Its `newest` is empty for who may not read all of the log."""
    now_ms: int
    protocols: tuple[int, ...] = ()
    strict: tuple[str, ...] = ()
    live: int = 0
    """Edges that follow it by a stream of server-sent events now."""


def write_status(status: StatusText) -> bytes:
    """Returns the body that says what a hub is."""
    identity, head = status.identity, status.head
    return to_line(
        {
            "protocol": list(status.protocols),
            "ledger": identity.ledger,
            "node": identity.node,
            "epoch": identity.epoch,
            "position": head.position,
            "chain": head.chain.hex(),
            "clock": head.clock,
            "newest": list(head.newest),
            "now_ms": status.now_ms,
            "strict": list(status.strict),
            "live": status.live,
        }
    )


def read_status(body: bytes) -> StatusText:
    """Returns what a hub says of itself."""
    fields = read_object(body)

    def whole(value: object, at: str) -> int:
        return number({"1": value}, "1", at=at)

    return StatusText(
        Identity(
            text(fields, "ledger", at="body"),
            text(fields, "node", at="body"),
            text(fields, "epoch", at="body"),
        ),
        Head(
            number(fields, "position", at="body"),
            octets(fields, "chain", at="body", size=HASH_BYTES),
            text(fields, "clock", at="body"),
            a_pair(fields.get("newest"), "body.newest"),
        ),
        number(fields, "now_ms", at="body"),
        a_list(fields, "protocol", whole, at="body", most=100),
        a_list(fields, "strict", a_text, at="body", most=MAX_IDS),
        number(fields, "live", at="body"),
    )


class StreamText(NamedTuple):
    """What a hub says of a stream."""

    stream: str
    version: int
    position: int
    """That of its last record."""
    created: str
    """The stamp of that."""


def write_stream(stream: StreamText) -> bytes:
    """Returns the body that says what a stream is."""
    return to_line(stream._asdict())


def read_stream(body: bytes) -> StreamText:
    """Returns what is said of a stream."""
    fields = read_object(body)
    return StreamText(
        text(fields, "stream", at="body"),
        number(fields, "version", at="body"),
        number(fields, "position", at="body"),
        text(fields, "created", at="body"),
    )
