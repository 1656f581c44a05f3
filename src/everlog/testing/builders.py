"""Records made by hand, and chance that repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from everlog.core.chain import GENESIS, HYDRATED, OUTDATED, link
from everlog.core.event import Registry
from everlog.core.record import Record, StoredRecord, computed_hash
from everlog.core.stamp import is_stamp, last_stamp_of
from everlog.core.stream import check_name
from everlog.errors import InvalidStamp
from everlog.testing.clock import BEGINNING

E = TypeVar("E")

HERE = "0123456789abcdef0123456789abcdef"
"""The origin of records that a test makes."""
NODE = "0123456789abcdef"
"""The node in their stamps."""


def record_of(
    event: E,
    *,
    stream: str = "stream-1",
    version: int = 1,
    position: int | None = None,
    created: datetime | str | None = None,
    recorded: datetime | str | None = None,
    hydrated: bool = False,
    outdated: bool = False,
    meta: object = None,
    id: str | None = None,
    origin: str = HERE,
    correlation: str | None = None,
    causation: str | None = None,
) -> Record[E]:
    """Returns a record of an event, as a ledger would give it; the same arguments, the same record.

    Data and meta are validated as at an append, except that a meta may be left out: it is null
    then. The hash is right, so the record can be imported into any store.

    - `position`: default: the version
    - `created`, `recorded`: an aware datetime or a stamp; default: the version'th second of 2026,
      and `created`
    - `id`: default: `<stream>#<version>`; `correlation`: default: the id

    Raises `EventValidationError`, `NotPortable`, `UnknownEvent`, `InvalidName`, `NaiveDatetime` or
    `InvalidStamp`.

    >>> record = record_of(UserCreated(email="jane@doe.com"), stream="user-1", outdated=True)
    >>> record, record.outdated
    (<Record 1 user:created of 'user-1' version 1 id user-1#1>, True)
    """
    registry = Registry([type(event)])
    declared = registry.of_event(event)
    if meta is None and declared.meta is not None:
        data, meta_text = declared.codec.encode(event, at="data", event_type=declared.type), "null"
    else:
        data, meta_text = declared.encode(event, meta)
    if created is None:
        created = BEGINNING + timedelta(seconds=version)
    stamp = stamp_of(created, where="created")
    id = check_name("event id", f"{stream}#{version}" if id is None else id)
    stored = StoredRecord(
        position=version if position is None else position,
        version=version,
        id=id,
        stream=check_name("stream", stream),
        type=declared.type,
        schema=declared.schema,
        register=declared.register,
        origin=check_name("origin", origin),
        correlation=id if correlation is None else check_name("correlation", correlation),
        causation=None if causation is None else check_name("causation", causation),
        created=stamp,
        recorded=stamp if recorded is None else stamp_of(recorded, where="recorded"),
        flags=(HYDRATED if hydrated else 0) | (OUTDATED if outdated else 0),
        nonce=hashlib.sha256(id.encode()).digest(),
        data=data,
        meta=meta_text,
        hash=b"",
        chain=b"",
    )
    hashed = computed_hash(stored)
    chain = link(GENESIS, hashed, version=version, flags=stored.flags)
    return Record(stored._replace(hash=hashed, chain=chain), registry)


def stamp_of(moment: datetime | str, *, where: str, counter: int = 0) -> str:
    """Returns a stamp of a moment, or the stamp that it is; raises `InvalidInput`."""
    if isinstance(moment, datetime):
        return f"{last_stamp_of(moment, where=where)[:12]}{counter:04x}{NODE}"
    if is_stamp(moment):
        return moment
    raise InvalidStamp(f"{where}={moment!r} is neither an aware datetime nor a stamp")


def deterministic_bytes(seed: int | str) -> Callable[[int], bytes]:
    """Returns a source of bytes that look random and are the same for the same seed.

    For `Seams(random_bytes=...)` in tests, and nowhere else: whoever knows the seed knows all ids
    and nonces.

    >>> seams = Seams(now_ms=FakeClock(), random_bytes=deterministic_bytes(1))
    >>> seams.random_bytes(4) == deterministic_bytes(1)(4)
    True
    """
    state = hashlib.sha256(repr(seed).encode()).digest()

    def read(count: int) -> bytes:
        nonlocal state
        given = hashlib.shake_256(state).digest(32 + count)
        state = given[:32]
        return given[32:]

    return read
