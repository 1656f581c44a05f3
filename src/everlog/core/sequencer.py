"""The sequencer: what an append means, for every ledger alike.

A ledger takes its lock, hands over what it knows about the ids and streams in question, lets the
sequencer place the requests one by one, and stores the rows that come out. So conditions, retries,
versions, positions, stamps, flags, hashes and the chain are decided here and only here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from everlog.core.chain import GENESIS, HASH_BYTES, HYDRATED, NONCE_BYTES, OUTDATED, hash_of, link
from everlog.core.event import MAX_SCHEMA, check_size
from everlog.core.portable import is_canonical
from everlog.core.record import StoredRecord, as_record, computed_hash
from everlog.core.stamp import Clock, is_stamp, receive, stamps_after, tick
from everlog.core.stream import ANY, Expectation, check_name, require
from everlog.errors import (
    ClockAhead,
    IdConflict,
    InvalidInput,
    InvalidName,
    PartialRetry,
    TamperedRecord,
    TooLarge,
)

MAX_BATCH_EVENTS = 10_000
"""Events in one append or one atomic import, at most."""
MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of data and meta in one append or one atomic import, at most."""

LAST_STAMP = f"{253_402_300_799_999:012x}" + "f" * 20
"""The last stamp of the year 9999. A later one would leave a ledger's clock no room to go on."""

Place = tuple[str, str]
"""`(created, id)`: where a record stands in a fold."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a ledger is."""

    ledger: str
    """Random 128 bits, as 32 hex characters: the origin of what is born in it."""
    node: str
    """Random 64 bits, as 16 hex characters: the tie-break of its clock."""
    epoch: str
    """Random 64 bits, as 16 hex characters: new when created, restored or promoted."""


class Head(NamedTuple):
    """How far a ledger has got."""

    position: int
    chain: bytes
    clock: str
    """The greatest stamp that the ledger has given or received."""
    newest: Place
    """`(created, id)` of the record that a fold of everything would end with."""


EMPTY = Head(position=0, chain=GENESIS, clock="0" * 32, newest=("", ""))
"""The head of a ledger in which nothing has happened. Its clock stands at the beginning of time."""


class NewEvent(NamedTuple):
    """An event about to be appended: all that does not depend on the ledger's state."""

    id: str
    stream: str
    type: str
    schema: int
    register: str
    data: str
    meta: str
    correlation: str
    causation: str | None
    nonce: bytes
    expect: Expectation = ANY
    """Checked as if the events before it in the same request had been appended."""


class Append(NamedTuple):
    """A request to append events, to one stream or several: all or nothing."""

    events: tuple[NewEvent, ...]
    relations: tuple[tuple[str, str], ...] = ()
    """`(relation, stream)` pairs to add in the same transaction."""
    observed: str = ""
    """The greatest stamp that the writer has read: the events are created after it."""


class Import(NamedTuple):
    """A request to take in records from elsewhere, as they are: all or nothing."""

    records: tuple[StoredRecord, ...]
    max_offset_ms: int | None = 60_000
    """How far ahead of the wall clock a record may be stamped; None for any."""


class Placed(NamedTuple):
    """What became of a request."""

    records: tuple[StoredRecord, ...]
    """The records of all its events: of a retry, those stored by the first try; of a record that
    an import holds twice, one and the same."""
    new: tuple[StoredRecord, ...]
    """Those of them that were not there before."""


class Sequencer:
    """Places requests after a head. What it raises has changed nothing."""

    def __init__(
        self,
        head: Head,
        identity: Identity,
        *,
        now_ms: int,
        known: dict[str, StoredRecord],
        versions: dict[str, int],
        newest: Callable[[str, str], Place | None],
    ) -> None:
        """Starts from what the ledger holds under its lock.

        - `known`: the stored records of all ids in the requests, by id
        - `versions`: the version of all streams in the requests; absent means 0
        - `newest`: finds the newest `(created, id)` of a stream and register, among stored records
        """
        _clock(EMPTY.clock, identity.node)  # raises `InvalidStamp` for what is no node
        self.head = head
        self.rows: list[StoredRecord] = []
        """The records to be stored, in order."""
        self.late: set[int] = set()
        """The positions of those rows that an older position already stands after in a fold."""
        self._identity = identity
        self._now_ms = now_ms
        self._known = known
        self._versions = versions
        self._find_newest = newest
        self._newest: dict[tuple[str, str], Place | None] = {}

    def place(self, request: Append | Import) -> Placed:
        """Takes a request; or raises a `Conflict` or `InvalidInput` and changes nothing."""
        if isinstance(request, Append):
            return self._append(request)
        return self._import(request)

    def registers(self) -> list[tuple[str, str, str, str]]:
        """Returns `(stream, register, created, id)` of each register's newest, after the rows."""
        return [(*key, *place) for key, place in self._newest.items() if place is not None]

    def _append(self, request: Append) -> Placed:
        events = request.events
        first = self._retried(events)
        if first is not None:
            return Placed(first, ())
        self._require(events)
        # On the path of every append: locals, values in the order of the fields, one pass.
        identity, head = self._identity, self.head
        origin, position, chain = identity.ledger, head.position, head.chain
        seen = max(head.clock, request.observed)
        stamps = stamps_after(seen, node=identity.node, now_ms=self._now_ms, count=len(events))
        versions, known, newest = self._versions, self._known, self._newest
        rows: list[StoredRecord] = []
        for event, created in zip(events, stamps, strict=True):
            id, stream, type, schema, register, data, meta, correlation, causation, nonce, _ = event
            position += 1
            versions[stream] = version = versions.get(stream, 0) + 1
            # fmt: off
            hashed = hash_of(
                id, stream, type, schema, register, origin, correlation, causation, created,
                nonce, data, meta,
            )
            chain = link(chain, hashed, version=version, flags=0)
            row = as_record((
                position, version, id, stream, type, schema, register, origin, correlation,
                causation, created, created, 0, nonce, data, meta, hashed, chain,
            ))
            # fmt: on
            rows.append(row)
            known[id] = row
            newest[stream, register] = (created, id)
        self.rows += rows
        last_place = rows[-1].order
        self.head = Head(position, chain, last_place[0], last_place)
        placed = tuple(rows)
        return Placed(placed, placed)

    def _require(self, events: Sequence[NewEvent]) -> None:
        """Raises `WrongVersion` unless every expectation is met, each after the events before."""
        if len(events) == 1:
            [event] = events
            if event.expect is not ANY:
                actual = self._versions.get(event.stream, 0)
                require(event.expect, stream=event.stream, actual=actual)
            return
        appended: dict[str, int] = {}
        for event in events:
            stream = event.stream
            before = appended.get(stream, 0)
            if event.expect is not ANY:
                actual = self._versions.get(stream, 0) + before
                require(event.expect, stream=stream, actual=actual)
            appended[stream] = before + 1

    def _retried(self, events: Sequence[NewEvent]) -> tuple[StoredRecord, ...] | None:
        """Returns the stored records if all events are stored already, None if none is."""
        stored = self._known
        known = [event.id for event in events if event.id in stored]
        if not known:
            return None
        found: list[StoredRecord] = []
        for event in events:
            record = self._known.get(event.id)
            if record is not None:
                differs = _difference(event, record)
                if differs is not None:
                    raise IdConflict(event.id, differs)
                found.append(record)
        if len(found) < len(events):
            unknown = [event.id for event in events if event.id not in self._known]
            raise PartialRetry(known, unknown)
        return tuple(found)

    def _import(self, request: Import) -> Placed:
        rows: list[StoredRecord] = []
        late: set[int] = set()
        answers: list[StoredRecord] = []
        versions: dict[str, int] = {}
        newest: dict[tuple[str, str], Place | None] = {}
        head, clock = self.head, _clock(self.head.clock, self._identity.node)
        here: dict[str, StoredRecord] = {}
        for record in request.records:
            present = self._known.get(record.id) or here.get(record.id)
            if present is not None:
                if present.hash != record.hash:
                    raise IdConflict(record.id, "content, stamp or origin")
                answers.append(present)
                continue
            try:
                clock = receive(
                    clock,
                    record.created,
                    now_ms=self._now_ms,
                    max_offset_ms=request.max_offset_ms,
                )
            except ClockAhead as error:
                raise ClockAhead(
                    f"record {record.id}",
                    ahead_ms=error.ahead_ms,
                    max_offset_ms=error.max_offset_ms,
                ) from None
            clock = tick(clock, now_ms=self._now_ms)
            version = versions.get(record.stream, self._versions.get(record.stream, 0)) + 1
            versions[record.stream] = version
            register = (record.stream, record.register)
            if register not in newest:
                newest[register] = self._newest_of(*register)
            before = newest[register]
            outdated = before is not None and before > record.order
            if not outdated:
                newest[register] = record.order
            flags = HYDRATED | (OUTDATED if outdated else 0)
            chain = link(head.chain, record.hash, version=version, flags=flags)
            row = record._replace(
                position=head.position + 1,
                version=version,
                recorded=clock.stamp,
                flags=flags,
                chain=chain,
            )
            is_late = record.order < head.newest
            head = Head(row.position, chain, clock.stamp, head.newest if is_late else record.order)
            rows.append(row)
            if is_late:
                late.add(row.position)
            answers.append(row)
            here[row.id] = row
        self._versions.update(versions)
        self._newest.update(newest)
        if rows:
            self.rows += rows
            self.late |= late
            self._known.update(here)
            self.head = head
        return Placed(tuple(answers), tuple(rows))

    def _newest_of(self, stream: str, register: str) -> Place | None:
        key = (stream, register)
        return self._newest[key] if key in self._newest else self._find_newest(stream, register)


def _clock(stamp: str, node: str) -> Clock:
    return Clock(ms=int(stamp[:12], 16), counter=int(stamp[12:16], 16), node=node)


def _difference(event: NewEvent, record: StoredRecord) -> str | None:
    for what in ("stream", "type", "schema", "data", "meta"):
        if getattr(event, what) != getattr(record, what):
            return what
    return None


def ids_of(requests: Iterable[Append | Import]) -> list[str]:
    """Returns the ids of all events in the requests."""
    return [event.id for request in requests for event in _items(request)]


def streams_of(requests: Iterable[Append | Import]) -> list[str]:
    """Returns the streams of all events in the requests, each once."""
    return list({event.stream for request in requests for event in _items(request)})


def _items(request: Append | Import) -> Sequence[NewEvent | StoredRecord]:
    return request.events if isinstance(request, Append) else request.records


def check_append(request: Append) -> Append:
    """Returns an append whose names, sizes and ids can be stored; raises `InvalidInput`."""
    size = 0
    for event in request.events:
        check_name("event id", event.id)
        check_name("stream", event.stream)
        check_name("correlation", event.correlation)
        if event.causation is not None:
            check_name("causation", event.causation)
        size += check_size(event.type, event.data, event.meta)
    for relation, stream in request.relations:
        check_name("relation", relation)
        check_name("stream", stream)
    return check_whole(request, size=size)


def check_whole(request: Append, *, size: int) -> Append:
    """Returns an append of `size` bytes whose names have been checked; raises `InvalidInput`."""
    events = request.events
    if not events:
        raise InvalidInput("nothing to append: pass at least one event")
    _check_batch(len(events), size)
    if len(events) > 1:
        _check_each_once(event.id for event in events)
    return request


def check_import(request: Import) -> Import:
    """Returns an import whose records can be stored as they are; raises `InvalidInput`.

    Every record must be whole: every field of exactly its kind, portable canonical JSON, a stamp,
    names that can be stored, and the hash that its content gives. The same record may come twice.
    """
    size = 0
    for record in request.records:
        _check_kinds(record)
        if not is_stamp(record.created) or record.created > LAST_STAMP:
            raise TamperedRecord(record.id, f"created {record.created!r} is no stamp to go on from")
        size += check_size(record.type, record.data, record.meta)
        for at, text in (("data", record.data), ("meta", record.meta)):
            if not is_canonical(text, at=at):
                raise TamperedRecord(record.id, f"its {at} is not in canonical form")
        if computed_hash(record) != record.hash:
            raise TamperedRecord(record.id, "its content does not match its hash")
    _check_batch(len(request.records), size)
    return request


def _check_kinds(record: StoredRecord) -> None:
    """Raises unless every field that is kept is of exactly its kind, and of a size that it has."""
    # Exactly, because what extends str or int may be hashed as one thing and stored as another;
    # and all of them, because the databases differ in what they refuse, and when.
    if type(record) is not StoredRecord:
        raise InvalidInput(f"a record is a StoredRecord, not a {type(record).__name__}")
    for kind in ("event id", "stream", "event type", "register", "origin", "correlation"):
        _check_plain_name(kind, getattr(record, kind.removeprefix("event ")))
    if record.causation is not None:
        _check_plain_name("causation", record.causation)
    for field in ("created", "data", "meta"):
        value: object = getattr(record, field)
        if type(value) is not str:
            raise TamperedRecord(record.id, f"its {field} is {_a(value)}, not text")
    for field, length in (("nonce", NONCE_BYTES), ("hash", HASH_BYTES)):
        value = getattr(record, field)
        if type(value) is not bytes or len(value) != length:
            raise TamperedRecord(record.id, f"its {field} is not {length} bytes, but {_a(value)}")
    if type(record.schema) is not int or not 1 <= record.schema <= MAX_SCHEMA:
        raise TamperedRecord(
            record.id,
            f"its schema is {_a(record.schema)}, not a whole number from 1 to {MAX_SCHEMA:,}",
        )


def _check_plain_name(kind: str, value: object) -> None:
    if type(value) is not str:
        raise InvalidName(kind, value, f"must be text, not {type(value).__name__}")
    check_name(kind, value)


def _a(value: object) -> str:
    """Says what a value is, without asking a class that may say otherwise."""
    if type(value) is int:
        return f"the number {value}" if abs(value) < 10**18 else "a huge number"
    if type(value) is bytes:
        return f"{len(value)}"
    return f"of type {type(value).__name__}"


def _check_batch(count: int, size: int) -> None:
    if count > MAX_BATCH_EVENTS:
        raise TooLarge("one call", size=count, limit=MAX_BATCH_EVENTS, unit="events")
    if size > MAX_BATCH_BYTES:
        raise TooLarge("one call", size=size, limit=MAX_BATCH_BYTES)


def _check_each_once(ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise InvalidInput(f"event id {id!r} stands twice in one call; each event has its own")
        seen.add(id)
