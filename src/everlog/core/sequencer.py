"""The sequencer: what an append means, for every ledger alike.

A ledger takes its lock, hands over what it knows about the ids and streams in question, lets the
sequencer place the requests one by one, and stores the rows that come out. So conditions, retries,
versions, positions, stamps, flags, hashes and the chain are decided here and only here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType
from typing import NamedTuple, TypeAlias, overload

from everlog.core.aliases import (
    Event,
    by_event,
    event_of,
    first_id,
    id_anew,
    none_is_anew,
    replaced_by,
)
from everlog.core.chain import (
    GENESIS,
    HASH_BYTES,
    HYDRATED,
    NONCE_BYTES,
    ORPHAN,
    OUTDATED,
    RESTAMPED,
    RETURNED,
    hash_of,
    link,
)
from everlog.core.event import check_size
from everlog.core.portable import is_canonical
from everlog.core.record import StoredRecord, as_record, computed_hash, with_content_of
from everlog.core.stamp import Clock, is_stamp, stamp_behind, stamps_after
from everlog.core.stream import ANY, MAX_NAME_BYTES, Expectation, check_name, require
from everlog.core.taking import Judged, Mark, Take, Taken, as_judged
from everlog.core.upcasting import MAX_SCHEMA
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

Aliases: TypeAlias = dict[Event, list[StoredRecord]]
"""The records of each event."""

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
    """16 hex characters, see `everlog.core.epoch`: new when created, restored or promoted."""


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
    at: Mark | None = None
    """Where a hub's history stood when it was found out what to expect: the hub refuses the append
    with `LogDiverged` if it has another history by now, whose versions are those of other events.
    Of no meaning to a ledger."""


class Import(NamedTuple):
    """A request to take in records from elsewhere, as they are: all or nothing."""

    records: tuple[StoredRecord, ...]
    max_offset_ms: int | None = 60_000
    """How far ahead of the wall clock a record may be stamped; None for any."""


Placing: TypeAlias = Append | Import | Take
"""A request that stores records."""


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

        - `known`: the stored records of all ids in the requests, by id; of imports and takes also
          the other records of their events (`first_ids_of`)
        - `versions`: the version of all streams in the requests; absent means 0
        - `newest`: finds the newest `(created, id)` of a stream and register, among stored records
        """
        Clock(0, 0, identity.node)  # raises `InvalidStamp` for what is no node
        self.head = head
        self.rows: list[StoredRecord] = []
        """The records to be stored, in order."""
        self.late: set[int] = set()
        """The positions of those rows that an older position already stands after in a fold."""
        self.replaced: dict[int, str] = {}
        """Of the events in the requests that have several records: which of these no fold has, by
        position, with the id of the one that folds have."""
        self.refilled: list[StoredRecord] = []
        """Tombstones that have their content again, as they are to be stored."""
        self._identity = identity
        self._now_ms = now_ms
        self._known = known
        self._versions = versions
        self._find_newest = newest
        self._newest: dict[tuple[str, str], Place | None] = {}

    @overload
    def place(self, request: Append | Import) -> Placed: ...
    @overload
    def place(self, request: Take) -> Taken: ...
    @overload
    def place(self, request: Placing) -> Placed | Taken: ...
    def place(self, request: Placing) -> Placed | Taken:
        """Takes a request; or raises a `Conflict` or `InvalidInput` and changes nothing."""
        if isinstance(request, Append):
            return self._append(request)
        if isinstance(request, Import):
            return self._import(request)
        return self._take(request)

    def registers(self) -> list[tuple[str, str, str, str]]:
        """Returns `(stream, register, created, id)` of each register's newest, after the rows."""
        return [(*key, *place) for key, place in self._newest.items() if place is not None]

    def _append(self, request: Append) -> Placed:
        events = request.events
        first = retried(events, self._known)
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

    def _import(self, request: Import) -> Placed:
        arrivals = self._arrivals()
        aliases = self._aliases(request.records)
        answers: list[StoredRecord] = []
        for record in request.records:
            present = arrivals.find(record.id)
            if present is None:
                bound_ms = request.max_offset_ms
                present = arrivals.add(record, HYDRATED, max_offset_ms=bound_ms, aliases=aliases)
            elif not _is_same_event(present, record):
                raise IdConflict(record.id, "content, stamp or origin")
            elif present.is_tombstone:
                # It stays one: whoever imports is told of what was there, and has the content.
                present = with_content_of(present, record)
            answers.append(present)
        self._adopt(arrivals)
        self._replace(request.records, aliases)
        return Placed(tuple(answers), tuple(arrivals.rows))

    def _take(self, request: Take) -> Taken:
        arrivals = self._arrivals()
        aliases = self._aliases(request.records)
        flags = self._flags_of(request)
        refilled: dict[str, StoredRecord] = {}
        if request.link is not None and aliases is None and self._are_new(request.records):
            # Nearly always, where much comes: none of them needs to be looked at by itself.
            rows = arrivals.add_all(request.records, flags, max_offset_ms=None, aliases=None)
            judged = [as_judged((row[2], "accepted", row[0], "")) for row in rows]
        else:
            judged = self._judge(request, arrivals, flags, aliases, refilled)
        self._adopt(arrivals)
        self._replace(request.records, aliases)
        self._known.update(refilled)
        self.refilled += refilled.values()
        return Taken(tuple(judged), tuple(arrivals.rows))

    def _flags_of(self, request: Take) -> list[int]:
        """Returns what is known of the flags of records before they are placed."""
        own, records = self._identity.ledger, request.records
        flags = [HYDRATED if record.origin != own else HYDRATED | RETURNED for record in records]
        if request.link is None:
            return flags
        return [born | record.flags & ORPHAN for born, record in zip(flags, records, strict=True)]

    def _are_new(self, records: Sequence[StoredRecord]) -> bool:
        """Whether the ids of some records are none that is here, and each comes once."""
        ids = {record.id for record in records}
        return len(ids) == len(records) and self._known.keys().isdisjoint(ids)

    def _judge(
        self,
        request: Take,
        arrivals: _Arrivals,
        flags: Sequence[int],
        aliases: Aliases | None,
        refilled: dict[str, StoredRecord],
    ) -> list[Judged]:
        """Places records one by one, as each of them may be something of its own.

        `refilled`: gets the tombstones that have their content again, by id.
        """
        judged: list[Judged] = []
        stopped: set[str] = set()
        vouched, linked, strict = request.vouched, request.link is not None, request.strict
        for index, record in enumerate(request.records):
            id, stream = record.id, record.stream
            if stream in stopped:
                judged.append(Judged(id, "waiting", None, "one before it in its stream waits"))
                continue
            present = arrivals.find(id)
            if present is None:
                own_flags = flags[index]
                if not linked and strict and stream.startswith(strict):
                    if id not in vouched:
                        reason = "only this ledger appends to its stream"
                        judged.append(Judged(id, "rejected", None, reason))
                        stopped.add(stream)
                        continue
                    version = request.versions[index] if request.versions else None
                    if version != arrivals.version(stream) + 1:
                        own_flags |= ORPHAN
                bound_ms = None if linked or id in vouched else request.max_offset_ms
                try:
                    present = arrivals.add(
                        record, own_flags, max_offset_ms=bound_ms, aliases=aliases
                    )
                except ClockAhead as error:
                    judged.append(Judged(id, "clock_ahead", None, str(error)))
                    stopped.add(stream)
                else:
                    judged.append(Judged(id, "accepted", present.position))
            elif present.hash == record.hash:
                judged.append(Judged(id, "duplicate", present.position))
                if linked and present.is_tombstone:
                    refilled[id] = with_content_of(present, record)
            else:
                judged.append(Judged(id, "tampered", None, "another event here has its id"))
                if not linked:
                    stopped.add(stream)
        return judged

    def _aliases(self, records: Sequence[StoredRecord]) -> Aliases | None:
        """Returns the records here of the events of others; None if none has several, as a rule."""
        known = list(self._known.values())
        return None if none_is_anew(records) and none_is_anew(known) else by_event(known)

    def _replace(self, records: Sequence[StoredRecord], aliases: Aliases | None) -> None:
        """Notes of the events of some records which of their records no fold has."""
        if aliases is not None:
            for event in dict.fromkeys(map(event_of, records)):
                self.replaced.update(replaced_by(aliases.get(event, ())))

    def _arrivals(self) -> _Arrivals:
        return _Arrivals(
            self.head,
            self._identity.node,
            self._now_ms,
            self._known,
            self._versions,
            self._newest_of,
        )

    def _adopt(self, arrivals: _Arrivals) -> None:
        """Makes what has arrived part of what was placed."""
        if not arrivals.rows:
            return
        self._versions.update(arrivals.versions)
        self._newest.update(arrivals.newest)
        self._known.update(arrivals.here)
        self.rows += arrivals.rows
        self.late |= arrivals.late
        self.head = arrivals.head

    def restamp(
        self, olds: Sequence[StoredRecord], *, clock: str, nonces: Sequence[bytes]
    ) -> list[StoredRecord]:
        """Places the records that take the places of others; returns them all, in order.

        - `olds`: the others, in their order of folds
        - `clock`: the latest stamp of all records but those
        - `nonces`: one for each

        Raises `InvalidInput` if one of them would not be stamped earlier than before: then it would
        pass one that is none of them, or be taken for the older of its two records elsewhere.
        """
        count = len(olds)
        stamps = stamps_after(clock, node=self._identity.node, now_ms=self._now_ms, count=count)
        anew = list(zip(olds, stamps, nonces, strict=True))
        renamed = {old.id: id_anew(old, created=at, nonce=nonce) for old, at, nonce in anew}
        for old, created, _ in anew:
            if created >= old.created:
                raise InvalidInput(
                    f"event {old.id!r} cannot be stamped anew: what is not is stamped later"
                )
        head = self.head
        for old, created, nonce in anew:
            id = renamed[old.id]
            self.replaced[old.position] = id
            causation = old.causation
            version = self._versions.get(old.stream, 0) + 1
            new = old._replace(
                position=head.position + 1,
                version=version,
                id=id,
                correlation=renamed.get(old.correlation, old.correlation),
                causation=None if causation is None else renamed.get(causation, causation),
                created=created,
                recorded=created,
                flags=RESTAMPED,
                nonce=nonce,
            )
            hashed = computed_hash(new)
            chain = link(head.chain, hashed, version=version, flags=RESTAMPED)
            row = new._replace(hash=hashed, chain=chain)
            newest = head.newest
            if row.order < newest:
                self.late.add(row.position)
            else:
                newest = row.order
            head = Head(row.position, chain, created, newest)
            self._versions[old.stream] = version
            self._newest[old.stream, old.register] = row.order
            self._known[id] = row
            self.rows.append(row)
        self.head = head
        return self.rows

    def _newest_of(self, stream: str, register: str) -> Place | None:
        key = (stream, register)
        return self._newest[key] if key in self._newest else self._find_newest(stream, register)


class _Arrivals:
    """Records from elsewhere, as they are placed; the sequencer takes over what comes of it."""

    def __init__(
        self,
        head: Head,
        node: str,
        now_ms: int,
        known: dict[str, StoredRecord],
        versions: dict[str, int],
        newest: Callable[[str, str], Place | None],
    ) -> None:
        """`newest`: finds the newest place of a stream and register, of all that came before."""
        # Each for itself, and a `Head` only at the end.
        self._position, self._chain, self._clock, self._last = head
        self.rows: list[StoredRecord] = []
        self.late: set[int] = set()
        self.here: dict[str, StoredRecord] = {}
        """The rows by id."""
        self.versions: dict[str, int] = {}
        self.newest: dict[tuple[str, str], Place | None] = {}
        self._node = node
        self._now_ms = now_ms
        self._known = known
        self._versions_before = versions
        self._find_newest = newest

    @property
    def head(self) -> Head:
        """How far the ledger gets with them."""
        return Head(self._position, self._chain, self._clock, self._last)

    def find(self, id: str) -> StoredRecord | None:
        """Returns the record that has this id here, or is about to."""
        return self._known.get(id) or self.here.get(id)

    def version(self, stream: str) -> int:
        """Returns the version that a stream is at."""
        return self.versions.get(stream, self._versions_before.get(stream, 0))

    def add(
        self,
        record: StoredRecord,
        flags: int,
        *,
        max_offset_ms: int | None,
        aliases: Aliases | None,
    ) -> StoredRecord:
        """Returns the record as it will stand here; or raises `ClockAhead` and changes nothing.

        `aliases`: gets it.
        """
        [row] = self.add_all((record,), (flags,), max_offset_ms=max_offset_ms, aliases=aliases)
        return row

    def add_all(
        self,
        records: Sequence[StoredRecord],
        all_flags: Sequence[int],
        *,
        max_offset_ms: int | None,
        aliases: Aliases | None,
    ) -> list[StoredRecord]:
        """Returns records as they will stand here, of which none is here.

        Raises `ClockAhead` at the first that is stamped too far ahead: it is not placed, nor are
        those behind it.

        `aliases`: gets them.
        """
        # On the path of every record that comes from elsewhere, as `_append` is of those of here.
        node, now_ms, find_newest = self._node, self._now_ms, self._find_newest
        versions, versions_before = self.versions, self._versions_before
        newest, here = self.newest, self.here
        position, chain, clock, last = self._position, self._chain, self._clock, self._last
        rows: list[StoredRecord] = []
        try:
            for record, flags in zip(records, all_flags, strict=True):
                # fmt: off
                (
                    _, _, id, stream, type_, schema, register_, origin, correlation, causation,
                    created, _, _, nonce, data, meta, hash, _,
                ) = record
                # fmt: on
                try:
                    clock = stamp_behind(
                        clock, created, node=node, now_ms=now_ms, max_offset_ms=max_offset_ms
                    )
                except ClockAhead as error:
                    raise ClockAhead(
                        f"record {id}", ahead_ms=error.ahead_ms, max_offset_ms=error.max_offset_ms
                    ) from None
                others = [] if aliases is None else aliases.setdefault(event_of(record), [])
                if others:
                    flags |= RESTAMPED
                order = (created, id)
                # An orphan does not count: it takes no version, and outdates nothing.
                counts = not flags & ORPHAN
                version = versions.get(stream)
                if version is None:
                    version = versions_before.get(stream, 0)
                versions[stream] = version = version + counts
                if others:
                    counts = counts and all(order < other.order for other in others)
                register = (stream, register_)
                if register not in newest:
                    newest[register] = find_newest(*register)
                before = newest[register]
                if before is not None and before > order:
                    flags |= OUTDATED
                elif counts:
                    newest[register] = order
                position += 1
                chain = link(chain, hash, version=version, flags=flags)
                # fmt: off
                row = as_record((
                    position, version, id, stream, type_, schema, register_, origin, correlation,
                    causation, created, clock, flags, nonce, data, meta, hash, chain,
                ))
                # fmt: on
                if order < last:
                    self.late.add(position)
                else:
                    last = order
                rows.append(row)
                here[id] = row
                others.append(row)
        finally:
            self._position, self._chain, self._clock, self._last = position, chain, clock, last
            self.rows += rows
        return rows


def retried(
    events: Sequence[NewEvent], stored: Mapping[str, StoredRecord]
) -> tuple[StoredRecord, ...] | None:
    """Returns the stored records if all events are stored already, None if none is.

    Of tombstones with the content of the events. Raises `IdConflict` if one of the ids is that of
    another event, `PartialRetry` if only some of them are stored.
    """
    known = [event.id for event in events if event.id in stored]
    if not known:
        return None
    found: list[StoredRecord] = []
    for event in events:
        record = stored.get(event.id)
        if record is not None:
            differs = _difference(event, record)
            if differs is not None:
                raise IdConflict(event.id, differs)
            if record.is_tombstone:
                # The content is what the caller says: there is nothing left to compare with.
                record = record._replace(data=event.data, meta=event.meta)
            found.append(record)
    if len(found) < len(events):
        unknown = [event.id for event in events if event.id not in stored]
        raise PartialRetry(known, unknown)
    return tuple(found)


def _difference(event: NewEvent, record: StoredRecord) -> str | None:
    names = ("stream", "type", "schema", "data", "meta")
    for what in names[:3] if record.is_tombstone else names:
        if getattr(event, what) != getattr(record, what):
            return what
    return None


def _is_same_event(stored: StoredRecord, again: StoredRecord) -> bool:
    """Whether a record that is imported is stored already.

    Also with another nonce: what never was in a ledger gets one by chance, each time it is read
    from where it comes from. The stored one stays.
    """
    return stored.hash == again.hash or (
        computed_hash(again._replace(nonce=stored.nonce)) == stored.hash
    )


def ids_of(requests: Iterable[Placing]) -> list[str]:
    """Returns the ids of all events in the requests."""
    return [event.id for request in requests for event in _items(request)]


def first_ids_of(requests: Iterable[Placing]) -> list[str]:
    """Returns the ids under which the events were born that are taken in: each may have others.

    Those are of interest that have `everlog.core.aliases.aliases_between`.
    """
    taken = [
        record
        for request in requests
        if not isinstance(request, Append)
        for record in request.records
    ]
    if none_is_anew(taken):
        return list({record.id: None for record in taken})
    return list({first_id(record): None for record in taken})


def streams_of(requests: Iterable[Placing]) -> list[str]:
    """Returns the streams of all events in the requests, each once."""
    return list({event.stream for request in requests for event in _items(request)})


def _items(request: Placing) -> Sequence[NewEvent | StoredRecord]:
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
    size = sum(check_record(record) for record in request.records)
    _check_batch(len(request.records), size)
    return request


def check_record(record: StoredRecord) -> int:
    """Returns how many bytes a record that can be stored as it is has; raises `InvalidInput`."""
    if not _is_plain(record):
        _check_each_kind(record)
    if not is_stamp(record.created) or record.created > LAST_STAMP:
        raise TamperedRecord(record.id, f"created {record.created!r} is no stamp to go on from")
    size = check_size(record.type, record.data, record.meta)
    if not is_canonical(record.data, at="data"):
        raise TamperedRecord(record.id, "its data is not in canonical form")
    meta = record.meta
    if not (_is_canonical_meta(meta) if len(meta) < _SHORT else is_canonical(meta, at="meta")):
        raise TamperedRecord(record.id, "its meta is not in canonical form")
    if computed_hash(record) != record.hash:
        raise TamperedRecord(record.id, "its content does not match its hash")
    return size


_SHORT = 1_024
"""Characters; a longer meta is not kept in mind."""


@lru_cache(maxsize=8)
def _is_canonical_meta(meta: str) -> bool:
    # What was appended together has one meta, as a rule, and comes one after the other.
    return is_canonical(meta, at="meta")


def _is_plain(record: StoredRecord) -> bool:
    """Whether every field that is kept is of exactly its kind, and of a size that it has, beyond
    doubt: nearly always, and then it need not be found out what is not."""
    if type(record) is not StoredRecord or tuple(map(type, record)) not in _KINDS:
        return False
    # fmt: off
    (
        _, _, id, stream, type_, schema, register, origin, correlation, causation,
        _, _, _, nonce, _, _, hash, _,
    ) = record
    # fmt: on
    caused = "-" if causation is None else causation
    return (
        _PLAIN_NAMES("\n".join((id, stream, type_, register, origin, correlation, caused)))
        is not None
        and 1 <= schema <= MAX_SCHEMA
        and len(nonce) == NONCE_BYTES
        and len(hash) == HASH_BYTES
    )


# fmt: off
_KINDS = frozenset(
    (
        int, int, str, str, str, int, str, str, str, causation,
        str, str, int, bytes, str, str, bytes, bytes,
    )
    for causation in (str, NoneType)
)
# fmt: on
# Names as `check_name` takes them, of ASCII, a line each: none of them has an end of line in it.
_PLAIN_NAMES = re.compile(
    rf"(?:[ -~]{{1,{MAX_NAME_BYTES}}}\n){{6}}[ -~]{{1,{MAX_NAME_BYTES}}}"
).fullmatch


def _check_each_kind(record: StoredRecord) -> None:
    """Raises unless that is so."""
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
