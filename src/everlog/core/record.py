"""A record: an event as stored, with its envelope and its place in this ledger."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol

from everlog.core.aliases import first_id
from everlog.core.chain import HYDRATED, ORPHAN, OUTDATED, hash_of
from everlog.core.portable import JsonValue, parse
from everlog.core.stamp import stamp_time

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    E_co = TypeVar("E_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    E_co = TypeVar("E_co", covariant=True)

NamedT = TypeVar("NamedT", bound=tuple[Any, ...])


class StoredRecord(NamedTuple):
    """A record as the ledger keeps it: the stored text, nothing decoded.

    A named tuple and not a dataclass, because a page of rows becomes a page of these without one
    Python call per field; it is as immutable. The order of its fields is the order of the columns.
    """

    position: int
    """Its place in the global order of this ledger: 1, 2, 3, ... 0 while it is not yet stored."""
    version: int
    """Its place in its stream in this ledger: 1, 2, 3, ..."""
    id: str
    stream: str
    type: str
    schema: int
    register: str
    origin: str
    correlation: str
    causation: str | None
    created: str
    recorded: str
    flags: int
    nonce: bytes
    data: str
    meta: str
    hash: bytes
    chain: bytes

    @property
    def order(self) -> tuple[str, str]:
        """Where it stands in a fold: `(created, id)`."""
        return self.created, self.id

    @property
    def is_tombstone(self) -> bool:
        """Whether its content went: nonce, data and meta are empty then, which no content is."""
        return not self.data


VERSION = itemgetter(StoredRecord._fields.index("version"))
RECORDED = itemgetter(StoredRecord._fields.index("recorded"))
DATA = itemgetter(StoredRecord._fields.index("data"))
META = itemgetter(StoredRecord._fields.index("meta"))
"""Fields of a stored record, to be mapped over a page of them."""


def content_length(records: Sequence[StoredRecord]) -> int:
    """Returns how many characters the data and the meta of some records have together."""
    return sum(map(len, map(DATA, records))) + sum(map(len, map(META, records)))


def made_of_all(kind: type[NamedT]) -> Callable[[tuple[object, ...]], NamedT]:
    """Returns what makes a named tuple out of a tuple of all its fields.

    As its `_make`, without the call of a Python function for each of very many.
    """
    make: Callable[[tuple[object, ...]], NamedT] = partial(
        tuple.__new__,  # pyright: ignore[reportUnknownMemberType]
        kind,
    )
    return make


as_record = made_of_all(StoredRecord)
"""The record of a tuple of all fields."""


def tombstone_of(record: StoredRecord) -> StoredRecord:
    """Returns what stays of a record whose content goes: its place, envelope, hash and chain."""
    return record._replace(nonce=b"", data="", meta="")


def with_content_of(tombstone: StoredRecord, other: StoredRecord) -> StoredRecord:
    """Returns the record of a tombstone, with the content that another of its hash has."""
    return tombstone._replace(nonce=other.nonce, data=other.data, meta=other.meta)


def computed_hash(record: StoredRecord) -> bytes:
    """Returns the hash that the record's own content and envelope give."""
    # fmt: off
    (
        _, _, id, stream, type, schema, register, origin, correlation, causation,
        created, _, _, nonce, data, meta, _, _,
    ) = record
    return hash_of(
        id, stream, type, schema, register, origin, correlation, causation, created,
        nonce, data, meta,
    )
    # fmt: on


class Decoder(Protocol):
    """Turns stored text into events; a store's registry is one."""

    def decode_data(self, record: StoredRecord) -> Any: ...
    def decode_meta(self, record: StoredRecord) -> Any: ...
    def type_of(self, record: StoredRecord) -> str: ...


_UNSEEN: Any = object()

_IDEMPOTENCY_KEYS = uuid.UUID("8c1e7b1a-0a35-5d0c-8b63-6b0f3a1d9a77")
"""The space of names in which they are made (RFC 9562, version 5). Never to be changed."""


class Record(Generic[E_co]):
    """An event as stored: what a reader, a reducer and a handler are given.

    `data` and `meta` are decoded when they are first looked at, into the class that the store was
    given for the type; those of an older schema are upcasted first. Reading a record therefore
    never fails because of its content; looking at the `data` of a type that the store does not know
    raises `UnknownEvent`, of one that no longer fits its class, or is of a newer schema,
    `DecodeError`. `json` and `meta_json` show what is stored, typed or not.

    >>> record = await store.read("user-1").first()
    >>> record
    <Record 1 user:created of 'user-1' version 1 id ...>
    >>> record.data.email, record.json, record.created_at.isoformat()
    ('jane@doe.com', {'email': 'jane@doe.com'}, '2026-01-01T00:00:00+00:00')
    """

    __slots__ = ("_data", "_decoder", "_meta", "stored")

    stored: StoredRecord
    """The record as the ledger keeps it."""

    def __init__(
        self,
        stored: StoredRecord,
        decoder: Decoder,
        *,
        data: Any = _UNSEEN,
        meta: Any = _UNSEEN,
    ) -> None:
        self.stored = stored
        self._decoder = decoder
        self._data = data
        self._meta = meta

    @property
    def data(self) -> E_co:
        """The event: an instance of its class."""
        if self._data is _UNSEEN:
            self._data = self._decoder.decode_data(self.stored)
        return self._data  # type: ignore[no-any-return]

    @property
    def meta(self) -> Any:
        """What was said about the event: an instance of its meta class, or None."""
        if self._meta is _UNSEEN:
            self._meta = self._decoder.decode_meta(self.stored)
        return self._meta

    @property
    def json(self) -> JsonValue:
        """The data as plain JSON values, whatever the type."""
        return parse(self.stored.data)

    @property
    def meta_json(self) -> JsonValue:
        """The meta as plain JSON values, whatever the type."""
        return parse(self.stored.meta, at="meta")

    @property
    def position(self) -> int:
        """Its place in the global order of this ledger: 1, 2, 3, ...; 0 for a pending event."""
        return self.stored.position

    @property
    def version(self) -> int:
        """Its place in its stream in this ledger: 1, 2, 3, ..."""
        return self.stored.version

    @property
    def id(self) -> str:
        """The event's id: one record per id, for ever, in every ledger."""
        return self.stored.id

    @property
    def idempotency_key(self) -> str:
        """What to give the receiver of an effect, so that it is not done twice: 36 characters.

        A UUID made from the event's id, or the first of them if it was stamped anew: the same in
        each retry, process and ledger. Two handlers of one event that call the same receiver add a
        word of their own, such as `key + "-refund"`.

        >>> record = await store.read("user-1").first()
        >>> record.idempotency_key == record.idempotency_key, len(record.idempotency_key)
        (True, 36)
        """
        return str(uuid.uuid5(_IDEMPOTENCY_KEYS, first_id(self.stored)))

    @property
    def stream(self) -> str:
        """The stream that it belongs to."""
        return self.stored.stream

    @property
    def type(self) -> str:
        """The event's type, such as `user:created`: today's name of it, whatever is `stored`."""
        return self._decoder.type_of(self.stored)

    @property
    def schema(self) -> int:
        """The version of its type's shape when it was written; `data` is of today's."""
        return self.stored.schema

    @property
    def register(self) -> str:
        """What the event writes; events of one register outdate each other."""
        return self.stored.register

    @property
    def origin(self) -> str:
        """The id of the ledger in which the event was born."""
        return self.stored.origin

    @property
    def correlation(self) -> str:
        """The id of the event (or the key of the request) that started it all."""
        return self.stored.correlation

    @property
    def causation(self) -> str | None:
        """The id of the event that caused this one, or None."""
        return self.stored.causation

    @property
    def orphan(self) -> bool:
        """Whether it belongs to a strict stream in which another event has taken its place.

        It is kept, and no fold has it; see `store.sync`.
        """
        return bool(self.stored.flags & ORPHAN)

    @property
    def created(self) -> str:
        """The stamp of the event's birth: the same in every ledger."""
        return self.stored.created

    @property
    def recorded(self) -> str:
        """The stamp of its recording in this ledger."""
        return self.stored.recorded

    @property
    def created_at(self) -> datetime:
        """The time of the event's birth, in UTC, to the millisecond."""
        return stamp_time(self.stored.created)

    @property
    def recorded_at(self) -> datetime:
        """The time of its recording in this ledger, in UTC, to the millisecond."""
        return stamp_time(self.stored.recorded)

    @property
    def hydrated(self) -> bool:
        """Whether it came from replay, recovery or another ledger: it is not new here."""
        return bool(self.stored.flags & HYDRATED)

    @property
    def outdated(self) -> bool:
        """Whether a newer record of its register stood in its stream when it was recorded here."""
        return bool(self.stored.flags & OUTDATED)

    @property
    def hash(self) -> str:
        """The hash of envelope and content, in hex: the same in every ledger."""
        return self.stored.hash.hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.stored == other.stored

    def __hash__(self) -> int:
        return hash((self.stored.id, self.stored.position))

    def __repr__(self) -> str:
        # No data and no meta: a repr ends up in logs.
        row = self.stored
        where = f"of {row.stream!r} version {row.version}"
        return f"<Record {row.position} {row.type} {where} id {row.id}>"
