"""What an edge and its hub say to each other besides history: hello, push, append, wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast, get_args

from everlog.core.chain import HASH_BYTES, NONCE_BYTES
from everlog.core.json_kinds import kind_of
from everlog.core.portable import canonical
from everlog.core.record import StoredRecord
from everlog.core.sequencer import MAX_BATCH_EVENTS, Append, NewEvent
from everlog.core.stamp import is_stamp
from everlog.core.stream import Expect, Expectation
from everlog.core.taking import MAX_MARKS, Judged, Mark, Verdict
from everlog.core.upcasting import MAX_SCHEMA
from everlog.errors import InvalidMessage
from everlog.wire.json_text import (
    MOST,
    a_list,
    a_number,
    a_pair,
    a_text,
    an_object,
    item_object,
    number,
    number_or_none,
    octets,
    read_object,
    text,
    text_or_none,
    to_line,
)
from everlog.wire.messages import Hello, Made, Offer, Pushed, Scope, Welcome
from everlog.wire.protocol import MAX_BODY_BYTES, MAX_PIECE
from everlog.wire.records import (
    offer_line,
    read_line,
    read_lines,
    read_offer,
    read_record,
    record_text,
)

MAX_STRICT = 1_000
"""Prefixes of strict streams, at most."""

# --- hello --------------------------------------------------------------------------------------


class Greeting(NamedTuple):
    """A hello on the wire: who comes, and, of an edge that knows the hub, where it stands."""

    hello: Hello
    marks: tuple[Mark, ...] = ()
    """Places of the hub's history that the edge has passed, oldest first."""
    scope: Scope = Scope()


class Reception(NamedTuple):
    """What a hello is answered with."""

    welcome: Welcome
    resume: Mark | None = None
    """The newest of the places that were sent which the hub has, too; None if none were sent."""
    scope_id: str = ""
    max_records: int = MAX_PIECE
    """So many records the hub takes in one push, and gives in one piece."""
    max_bytes: int = MAX_BODY_BYTES
    """So many bytes a body may have."""


def write_greeting(greeting: Greeting) -> bytes:
    """Returns the body of a hello."""
    hello = greeting.hello
    return to_line(
        {
            "protocol": list(hello.protocols),
            "ledger": hello.ledger,
            "node": hello.node,
            "instance": hello.instance,
            "checkpoints": [write_mark(mark) for mark in greeting.marks],
            "scope": write_scope(greeting.scope),
        }
    )


def read_greeting(body: bytes) -> Greeting:
    """Returns what the body of a hello says."""
    fields = read_object(body)
    protocols = a_list(fields, "protocol", a_number, at="body", most=100)
    hello = Hello(
        text(fields, "ledger", at="body"),
        text(fields, "node", at="body"),
        text(fields, "instance", at="body"),
        protocols,
    )
    marks: tuple[Mark, ...] = ()
    if fields.get("checkpoints") is not None:
        marks = a_list(fields, "checkpoints", read_mark, at="body", most=MAX_MARKS + 1)
    return Greeting(hello, marks, _scope_in(fields))


def write_reception(reception: Reception) -> bytes:
    """Returns the body of the answer to a hello."""
    welcome = reception.welcome
    resume = reception.resume
    return to_line(
        {
            "ledger": welcome.ledger,
            "epoch": welcome.epoch,
            "now_ms": welcome.now_ms,
            "max_offset_ms": welcome.max_offset_ms,
            "strict": list(welcome.strict),
            "resume": None if resume is None else write_mark(resume),
            "scope_id": reception.scope_id,
            "limits": {"records": reception.max_records, "bytes": reception.max_bytes},
            "stable": welcome.stable,
        }
    )


def read_reception(body: bytes) -> Reception:
    """Returns what the answer to a hello says."""
    fields = read_object(body)
    limits = an_object(fields, "limits", at="body")
    resume = fields.get("resume")
    return Reception(
        Welcome(
            text(fields, "ledger", at="body"),
            text(fields, "epoch", at="body"),
            number(fields, "now_ms", at="body"),
            number(fields, "max_offset_ms", at="body"),
            a_list(fields, "strict", a_text, at="body", most=MAX_STRICT),
            number(fields, "stable", at="body"),
        ),
        None if resume is None else read_mark(resume, "body.resume"),
        text(fields, "scope_id", at="body"),
        number(limits, "records", at="body.limits", least=1),
        number(limits, "bytes", at="body.limits", least=1),
    )


def write_mark(mark: Mark) -> list[object]:
    """Returns a place in a history as `[position, chain]`."""
    return [mark.position, mark.chain.hex()]


def read_mark(value: object, at: str) -> Mark:
    """Reads a place in a history."""
    if type(value) is list:
        items = cast("list[object]", value)
        if len(items) == 2:
            position = a_number(items[0], f"{at}[0]")
            return Mark(position, octets({"1": items[1]}, "1", at=at, size=HASH_BYTES))
    raise InvalidMessage(at, "must be [position, chain]")


def write_scope(scope: Scope) -> dict[str, object]:
    """Returns a scope as an object; empty for the whole log."""
    fields: dict[str, object] = {}
    if scope.prefix is not None:
        fields["prefix"] = scope.prefix
    if scope.relation is not None:
        fields["relation"] = scope.relation
    if scope.types is not None:
        fields["types"] = list(scope.types)
    return fields


def read_scope(fields: Mapping[str, Any], *, at: str) -> Scope:
    """Reads a scope."""
    types: tuple[str, ...] | None = None
    if fields.get("types") is not None:
        types = a_list(fields, "types", a_text, at=at, most=MAX_PIECE)
    return Scope(
        text_or_none(fields, "prefix", at=at), text_or_none(fields, "relation", at=at), types
    )


def _scope_in(fields: Mapping[str, Any]) -> Scope:
    if fields.get("scope") is None:
        return Scope()
    return read_scope(an_object(fields, "scope", at="body"), at="body.scope")


# --- push ---------------------------------------------------------------------------------------


def write_offers(offers: Sequence[Offer]) -> list[bytes]:
    """Returns the lines of a push; a client sends no more of them at once than the hub takes."""
    return [offer_line(offer) for offer in offers]


def read_offers(body: bytes, *, most: int = MAX_PIECE) -> list[Offer]:
    """Returns what a push offers."""
    if body and not body.endswith(b"\n"):
        raise InvalidMessage("body", "was cut off: its last line has no newline")
    if body.count(b"\n") > most:
        raise InvalidMessage("body", f"has {body.count(10):,} lines; the limit is {most:,}")
    many = read_lines(body)
    if many is not None:
        return [*map(Offer, *many)]
    return [
        read_line(line) or read_offer(read_object(line, at=f"line {index}"), at=f"line {index}")
        for index, line in enumerate(body.split(b"\n")[:-1], 1)
    ]


def write_pushed(pushed: Pushed) -> bytes:
    """Returns the body of the answer to a push."""
    results = [
        {"id": each.id, "status": each.verdict, "position": each.position, "reason": each.reason}
        for each in pushed.judged
    ]
    return to_line(
        {
            "epoch": pushed.epoch,
            "from": pushed.cursor.position,
            "chain": pushed.cursor.chain.hex(),
            "now_ms": pushed.now_ms,
            "stable": pushed.stable,
            "results": results,
        }
    )


def read_pushed(body: bytes) -> Pushed:
    """Returns what the answer to a push says."""
    fields = read_object(body, limit=MAX_BODY_BYTES)
    judged = a_list(fields, "results", _judged, at="body", most=MAX_BATCH_EVENTS)
    return Pushed(
        text(fields, "epoch", at="body"),
        Mark(
            number(fields, "from", at="body"), octets(fields, "chain", at="body", size=HASH_BYTES)
        ),
        judged,
        number(fields, "now_ms", at="body"),
        number(fields, "stable", at="body"),
    )


def _judged(value: object, at: str) -> Judged:
    fields = item_object(value, at)
    status = text(fields, "status", at=at)
    if status not in _VERDICTS:
        raise InvalidMessage(f"{at}.status", f"must be one of {', '.join(_VERDICTS)}")
    return Judged(
        text(fields, "id", at=at),
        cast("Verdict", status),
        number_or_none(fields, "position", at=at),
        text(fields, "reason", at=at),
    )


_VERDICTS: tuple[str, ...] = get_args(Verdict)

# --- append -------------------------------------------------------------------------------------


class AppendText(NamedTuple):
    """An append on the wire."""

    request: Append
    hub: str | None = None
    """The hub's ledger id, of whoever must not append to another."""


def write_append(request: Append, hub: str | None = None) -> bytes:
    """Returns the body of an append."""
    return to_line(
        {
            "hub": hub,
            "events": [_event(event) for event in request.events],
            "relations": [list(pair) for pair in request.relations],
            "observed": request.observed,
            "at": None if request.at is None else write_mark(request.at),
        }
    )


def read_append(
    body: bytes, *, new_id: Callable[[], str], new_nonce: Callable[[], bytes]
) -> AppendText:
    """Returns what the body of an append says.

    An event needs `stream`, `type` and `data`. What else is left out gets the value that it has in
    an append here: a new id, schema 1, the type as register, its own id as correlation, a new
    nonce, no condition. `data` and `meta` that are text are the JSON to be stored; any other value
    is put into that form. Who may have to repeat a request gives ids.
    """
    fields = read_object(body, limit=MAX_BODY_BYTES)

    def event(value: object, at: str) -> NewEvent:
        return _read_event(item_object(value, at), at, new_id, new_nonce)

    events = a_list(fields, "events", event, at="body", most=MAX_BATCH_EVENTS)
    relations: tuple[tuple[str, str], ...] = ()
    if fields.get("relations") is not None:
        relations = a_list(fields, "relations", a_pair, at="body", most=MAX_BATCH_EVENTS)
    observed = text_or_none(fields, "observed", at="body") or ""
    if observed and not is_stamp(observed):
        raise InvalidMessage("body.observed", "is no stamp")
    request = Append(events, relations, observed, _mark_at(fields))
    return AppendText(request, text_or_none(fields, "hub", at="body"))


def write_made(made: Made) -> bytes:
    """Returns the body of the answer to an append."""
    records = ",".join(map(record_text, made.records))
    at = to_line(None if made.at is None else write_mark(made.at)).decode().rstrip()
    return f'{{"records":[{records}],"at":{at}}}\n'.encode()


def read_made(body: bytes) -> Made:
    """Returns what the answer to an append says."""
    fields = read_object(body, limit=2 * MAX_BODY_BYTES)
    return Made(
        a_list(fields, "records", _record, at="body", most=MAX_BATCH_EVENTS),
        _mark_at(fields),
    )


def _mark_at(fields: Mapping[str, Any]) -> Mark | None:
    return None if fields.get("at") is None else read_mark(fields["at"], "body.at")


def _event(event: NewEvent) -> dict[str, object]:
    fields: dict[str, object] = {
        "id": event.id,
        "stream": event.stream,
        "type": event.type,
        "schema": event.schema,
        "register": event.register,
        "data": event.data,
        "meta": event.meta,
        "correlation": event.correlation,
        "causation": event.causation,
        "nonce": event.nonce.hex(),
        "expect": write_expectation(event.expect),
    }
    return fields


def _read_event(
    fields: Mapping[str, Any], at: str, new_id: Callable[[], str], new_nonce: Callable[[], bytes]
) -> NewEvent:
    id = text_or_none(fields, "id", at=at)
    if id is None:
        id = new_id()
    type = text(fields, "type", at=at)
    schema = number_or_none(fields, "schema", at=at, least=1, most=MAX_SCHEMA)
    nonce = fields.get("nonce")
    return NewEvent(
        id,
        text(fields, "stream", at=at),
        type,
        1 if schema is None else schema,
        text_or_none(fields, "register", at=at) or type,
        _content(fields, "data", at),
        _content(fields, "meta", at),
        text_or_none(fields, "correlation", at=at) or id,
        text_or_none(fields, "causation", at=at),
        new_nonce() if nonce is None else octets(fields, "nonce", at=at, size=NONCE_BYTES),
        read_expectation(fields.get("expect"), f"{at}.expect"),
    )


def _content(fields: Mapping[str, Any], name: str, at: str) -> str:
    value: object = fields.get(name)
    if value is None and name == "data" and name not in fields:
        raise InvalidMessage(f"{at}.data", "is missing; it must be JSON")
    return value if type(value) is str else canonical(value, at=f"{at}.{name}")


def write_expectation(expect: object) -> object:
    """Returns an expectation as JSON: a version, or `any`, `new`, `exists`."""
    return expect.value if isinstance(expect, Expect) else expect


def read_expectation(value: object, at: str) -> Expectation:
    """Reads an expectation; null is `any`."""
    if value is None:
        return Expect.ANY
    if type(value) is int and 0 <= value <= MOST:
        return value
    if type(value) is str and value in _EXPECTATIONS:
        return _EXPECTATIONS[value]
    raise InvalidMessage(at, f"must be a version, or any, new or exists, not {kind_of(value)}")


_EXPECTATIONS = {expect.value: expect for expect in Expect}


def _record(value: object, at: str) -> StoredRecord:
    return read_record(item_object(value, at), at=at)


# --- wait ---------------------------------------------------------------------------------------


def write_position(position: int) -> bytes:
    """Returns the body of the answer to a wait: the position of the hub's head."""
    return to_line({"position": position})


def read_position(body: bytes) -> int:
    """Returns the position of the hub's head."""
    return number(read_object(body), "position", at="body")
