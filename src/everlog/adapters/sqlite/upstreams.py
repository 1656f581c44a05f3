"""Upstreams: what a ledger in a file knows of those that it synchronises with."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import astuple
from typing import Protocol, TypeVar

from everlog.adapters.sqlite import schema
from everlog.adapters.sqlite.failures import as_records
from everlog.adapters.sqlite.many_rows import insert_all
from everlog.adapters.sqlite.reading import one_moment, position
from everlog.core.chain import GENESIS, ORPHAN
from everlog.core.record import StoredRecord
from everlog.core.selection import PAGE_BYTES
from everlog.core.taking import (
    Entry,
    Held,
    Hold,
    Note,
    Outside,
    Purge,
    Release,
    Rewind,
    UpstreamState,
    check_purge,
    outside,
    rewound,
)
from everlog.core.upstream_row import as_row, as_state
from everlog.errors import InvalidInput
from everlog.ports.upstreams import Offers, Unconfirmed

T = TypeVar("T")


class Look(Protocol):
    """Has a thread that reads call a function with its connection."""

    def __call__(self, look: Callable[[sqlite3.Connection], T], /) -> Awaitable[T]: ...


class SqliteUpstreams:
    """Reads what is known of upstreams."""

    def __init__(self, look: Look, look_as_writer: Look) -> None:
        self._look = look
        self._look_as_writer = look_as_writer

    async def states(self) -> Sequence[UpstreamState]:
        # The first append asks: who only appends needs no connection that reads.
        return await self._look_as_writer(_states)

    async def state(self, upstream: str) -> UpstreamState | None:
        return await self._look(lambda connection: state_of(connection, upstream))

    async def unconfirmed(self, upstream: str, *, after: int, size: int) -> Offers:
        return await self._look(lambda connection: _unconfirmed(connection, upstream, after, size))

    async def outside(
        self, upstream: str, *, after: int, until: int, size: int
    ) -> Sequence[Outside]:
        return await self._look(
            lambda connection: _outside(connection, upstream, after, until, size)
        )

    async def first_tombstone(self, stream: str | None = None) -> int | None:
        return await self._look(lambda connection: first_tombstone(connection, stream))

    async def held(self, upstream: str) -> Sequence[Held]:
        return await self._look(lambda connection: _held(connection, upstream))

    async def orphans(self, *, after: int, size: int) -> Sequence[StoredRecord]:
        return await self._look(lambda connection: _orphans(connection, after, size))

    async def version(self, upstream: str, stream: str, version: int) -> int | None:
        return await self._look(lambda connection: _version(connection, upstream, stream, version))

    async def unfoldings(self) -> int:
        return await self._look(_unfoldings)

    async def revision(self, relation: str) -> int:
        return await self._look(lambda connection: _revision(connection, relation))

    async def chains(self, positions: Sequence[int]) -> Sequence[bytes | None]:
        return await self._look(lambda connection: _chains(connection, positions))


def _states(connection: sqlite3.Connection) -> list[UpstreamState]:
    return [as_state(row) for row in connection.execute(schema.SELECT_UPSTREAMS).fetchall()]


def state_of(connection: sqlite3.Connection, upstream: str) -> UpstreamState | None:
    """Returns the state of an upstream; raises `TypeError` if it is damaged."""
    row = connection.execute(schema.SELECT_UPSTREAM, (upstream,)).fetchone()
    return None if row is None else as_state(row)


def _outside(
    connection: sqlite3.Connection, upstream: str, after: int, until: int, size: int
) -> list[Outside]:
    with one_moment(connection):
        if names_of_upstreams(connection) != [upstream]:
            return []
        values = (upstream, after, until, size)
        rows = connection.execute(schema.SELECT_OUTSIDE, values).fetchall()
    return [
        Outside(id, there, tuple(sorted(json.loads(here), key=lambda each: (each != own, each))))
        for id, there, here, own in rows
    ]


def first_tombstone(connection: sqlite3.Connection, stream: str | None) -> int | None:
    """Returns the position of the first record whose content went; None if there is none."""
    if connection.execute(schema.SELECT_PURGED).fetchone() is None:
        return None
    if stream is None:
        [found] = connection.execute(schema.SELECT_FIRST_TOMBSTONE).fetchone()
    else:
        [found] = connection.execute(schema.SELECT_FIRST_TOMBSTONE_OF, (stream,)).fetchone()
    position: int | None = found
    return position


def names_of_upstreams(connection: sqlite3.Connection) -> list[str]:
    """Returns the ids of all upstreams, and the ledger's own if it is one itself."""
    return [name for [name] in connection.execute(schema.SELECT_UPSTREAM_NAMES).fetchall()]


def purge(
    connection: sqlite3.Connection, state: UpstreamState | None, request: Purge
) -> list[tuple[int, str]]:
    """Lets the content of records go; returns their positions and streams.

    Raises what it is refused with.
    """
    check_purge(state, request, names_of_upstreams(connection))
    wanted = (json.dumps(request.ids), request.upstream, request.stable)
    rows = connection.execute(schema.SELECT_TO_PURGE, wanted).fetchall()
    ids = json.dumps([id for [id] in rows])
    connection.execute(schema.MARK_PURGED, (ids, request.upstream))
    return connection.execute(schema.PURGE, (ids,)).fetchall()


def _held(connection: sqlite3.Connection, upstream: str) -> list[Held]:
    return [Held(*row) for row in connection.execute(schema.SELECT_HELD, (upstream,))]


def _orphans(connection: sqlite3.Connection, after: int, size: int) -> list[StoredRecord]:
    return as_records(connection.execute(schema.SELECT_ORPHANS, (after, size)).fetchall())


def _version(
    connection: sqlite3.Connection, upstream: str, stream: str, version: int
) -> int | None:
    values = (upstream, stream, version)
    row = connection.execute(schema.SELECT_VERSION_THERE, values).fetchone()
    found: int | None = None if row is None else row[0]
    return found


def _unfoldings(connection: sqlite3.Connection) -> int:
    return int(connection.execute(schema.SELECT_UNFOLDINGS).fetchone()[0])


def _revision(connection: sqlite3.Connection, relation: str) -> int:
    row = connection.execute(schema.SELECT_REVISION, (relation,)).fetchone()
    return 0 if row is None else int(row[0])


def _chains(connection: sqlite3.Connection, positions: Sequence[int]) -> list[bytes | None]:
    rows = connection.execute(schema.SELECT_CHAINS, (json.dumps(list(positions)),))
    found: dict[int, bytes] = {0: GENESIS, **dict(rows.fetchall())}
    return [found.get(each) for each in positions]


_FIELDS = len(StoredRecord._fields)


def _unconfirmed(connection: sqlite3.Connection, upstream: str, after: int, size: int) -> Offers:
    with one_moment(connection):
        head = position(connection)
        cursor = connection.execute(schema.SELECT_UNCONFIRMED, (upstream, after))
        try:
            return _offers(cursor, after, head, size)
        finally:
            cursor.close()


def _offers(cursor: sqlite3.Cursor, after: int, head: int, size: int) -> Offers:
    found: list[Unconfirmed] = []
    settled: int | None = None
    weight = 0
    # Few at a time: what is not needed may be large.
    while rows := cursor.fetchmany(min(100, size - len(found) + 1)):
        for record, (version, receipt, is_held) in zip(
            as_records([row[:_FIELDS] for row in rows]),
            [row[_FIELDS:] for row in rows],
            strict=True,
        ):
            if settled is None:
                settled = record.position - 1
            if is_held:
                continue
            weight += len(record.data) + len(record.meta)
            if len(found) == size or (found and weight > PAGE_BYTES):
                return Offers(found, record.position - 1, settled, ended=False)
            found.append(Unconfirmed(record, version, receipt))
    until = max(after, head)
    return Offers(found, until, until if settled is None else settled, ended=True)


def note(
    connection: sqlite3.Connection,
    state: UpstreamState,
    entries: Sequence[Entry],
    held: Sequence[Held],
) -> None:
    """Notes a piece of an upstream's history: what is in the copy now, and what is set aside."""
    upstream = state.upstream
    connection.execute(schema.UPSERT_UPSTREAM, as_row(state))
    insert_all(connection, schema.UPSERT_ENTRY, entries, upstream)
    connection.execute(
        schema.DELETE_HELD_OF, (upstream, json.dumps([entry.id for entry in entries]))
    )
    _hold(connection, upstream, held)


def judge_orphans(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[int]:
    """Has those be orphans that the upstream has as orphans now, and no others.

    Of what is stored already; what is new is judged when it is stored. Returns the positions of
    those that are changed.
    """
    if not entries:
        return []
    wanted = {entry.id: bool(entry.flags & ORPHAN) for entry in entries}
    # Each once, also where a piece has one twice.
    rows = connection.execute(schema.SELECT_ORPHANED, (json.dumps(list(wanted)),)).fetchall()
    changed = [(position,) for id, position, is_one in rows if wanted[id] and not is_one]
    ended = [(position,) for id, position, is_one in rows if is_one and not wanted[id]]
    connection.executemany(schema.INSERT_UNFOLDED, [(*each, None) for each in changed])
    connection.executemany(schema.DELETE_UNFOLDED, ended)
    positions = [position for [position] in (*changed, *ended)]
    _drop_snapshots(connection, positions)
    return positions


def _drop_snapshots(connection: sqlite3.Connection, changed: Sequence[int]) -> None:
    """Drops every snapshot that has one of these positions in it, or should have."""
    if changed:
        connection.execute(schema.RAISE_UNFOLDINGS)  # for those that are on their way
        connection.execute(schema.DELETE_SNAPSHOTS_FROM, (min(changed),))


def replace(connection: sqlite3.Connection, replaced: Mapping[int, str]) -> list[int]:
    """Has no fold have what was replaced any more; returns the positions of what is new to that."""
    changed = [
        position
        for position, by in replaced.items()
        if connection.execute(schema.REPLACE, (position, by)).rowcount
    ]
    _drop_snapshots(connection, changed)
    return changed


def recount(connection: sqlite3.Connection, positions: Sequence[int]) -> None:
    """Finds the newest of the registers that the records at these positions write."""
    if not positions:
        return
    for key in connection.execute(schema.SELECT_KEYS, (json.dumps(positions),)).fetchall():
        place = connection.execute(schema.SELECT_NEWEST, key).fetchone()
        if place is None:
            connection.execute(schema.DELETE_REGISTER, key)
        else:
            connection.execute(schema.UPSERT_REGISTER.of(1), (*key, *place))


def keep(
    connection: sqlite3.Connection,
    state: UpstreamState | None,
    request: Rewind | Hold | Release | Note,
) -> int:
    """Changes what is known of an upstream; returns of how many records."""
    upstream = request.upstream
    if isinstance(request, Note):
        noted = outside(state, request)
        insert_all(connection, schema.UPSERT_ENTRY, noted, upstream)
        return len(noted)
    if isinstance(request, Rewind):
        connection.execute(schema.UPSERT_UPSTREAM, as_row(rewound(state, request)))
        return connection.execute(schema.FORGET_PLACES, (upstream, request.to.position)).rowcount
    if state is None:
        raise InvalidInput(f"this ledger has never heard of an upstream {upstream!r}")
    if isinstance(request, Hold):
        return _hold(connection, upstream, request.held)
    if request.ids is None:
        return connection.execute(schema.DELETE_HELD, (upstream,)).rowcount
    values = (upstream, json.dumps(request.ids))
    return connection.execute(schema.DELETE_HELD_OF, values).rowcount


def _hold(connection: sqlite3.Connection, upstream: str, held: Sequence[Held]) -> int:
    if not held:
        return 0
    rows = [(upstream, *astuple(each)) for each in held]
    return connection.executemany(schema.INSERT_HELD, rows).rowcount
