"""A ledger as it is often written: positions from a sequence, commits in whatever order they come.

It decides as everlog does, locks the streams that it writes to, and writes in one transaction; no
test in a single process finds anything wrong with it. It is here for the gap torture to find out.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncConnection, Error
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor, Page, Selection, page_size
from everlog.core.sequencer import (
    EMPTY,
    Append,
    Head,
    Identity,
    Import,
    Placed,
    Sequencer,
    ids_of,
    streams_of,
)
from everlog.core.snapshot import Snapshot, SnapshotKey
from everlog.errors import EverlogError, NotSupported, OutcomeUnknown, StorageFailed
from everlog.ports.ledger import Capabilities, FoldStart, Outcome, Problem, Request
from everlog.ports.seams import wall_clock_ms
from everlog.testing.torture.urls import dsn_of

IDENTITY = Identity("0" * 32, "0" * 16, "0" * 16)
FIELDS = ", ".join(StoredRecord._fields)

CREATE = b"""
    CREATE TABLE naive_record (
        position bigserial PRIMARY KEY,
        version bigint NOT NULL,
        id text NOT NULL UNIQUE,
        stream text NOT NULL,
        type text NOT NULL,
        schema integer NOT NULL,
        register text NOT NULL,
        origin text NOT NULL,
        correlation text NOT NULL,
        causation text,
        created text NOT NULL,
        recorded text NOT NULL,
        flags integer NOT NULL,
        nonce bytea NOT NULL,
        data text NOT NULL,
        meta text NOT NULL,
        hash bytea NOT NULL,
        chain bytea NOT NULL,
        UNIQUE (stream, version)
    )
"""
# This is the mistake: a row has its position as soon as it is written, and is seen when its
# transaction commits. A reader that comes in between goes on behind it.
INSERT = (
    f"INSERT INTO naive_record ({FIELDS}) "
    f"VALUES (nextval('naive_record_position_seq'){', %s' * 17}) RETURNING position"
).encode()
LOCK_STREAM = b"SELECT pg_advisory_xact_lock(2, hashtext(%s))"
SELECT_KNOWN = f"SELECT {FIELDS} FROM naive_record WHERE id = ANY (%s)".encode()
SELECT_VERSIONS = b"""
    SELECT stream, max(version) FROM naive_record WHERE stream = ANY (%s) GROUP BY stream
"""
SELECT_FORWARDS = f"""
    SELECT {FIELDS} FROM naive_record
    WHERE position > %s AND (%s::text[] IS NULL OR stream = ANY (%s))
    ORDER BY position LIMIT %s
""".encode()
SELECT_BACKWARDS = SELECT_FORWARDS.replace(b"ORDER BY position", b"ORDER BY position DESC")
SELECT_HEAD = b"SELECT coalesce(max(position), 0) FROM naive_record"


class NaiveLedger:
    """Enough of a `Ledger` to append to it and to follow it."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    @property
    def identity(self) -> Identity:
        return IDENTITY

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(durable=True, shared=True, backup=False, transactions=False)

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        placing = [request for request in requests if isinstance(request, (Append, Import))]
        if len(placing) != len(requests):
            raise NotSupported("a naive ledger keeps records and nothing else")
        try:
            async with self._pool.connection() as connection:
                return await _write(connection, placing)
        except (Error, PoolTimeout) as error:
            raise OutcomeUnknown(ids_of(placing)) from error

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        after = selection.after if cursor is None else cursor.position
        size = page_size(selection, cursor, size)
        select = SELECT_BACKWARDS if selection.backwards else SELECT_FORWARDS
        streams = None if selection.streams is None else list(selection.streams)
        rows = [
            StoredRecord._make(row)
            for row in await self._fetch(select, (after, streams, streams, size))
        ]
        if selection.backwards or len(rows) < size:
            return Page(rows, selection, None)
        return Page(rows, selection, Cursor(rows[-1].position, None, size))

    async def find(self, ids: Sequence[str]) -> Sequence[StoredRecord | None]:
        rows = map(StoredRecord._make, await self._fetch(SELECT_KNOWN, (list(ids),)))
        known = {row.id: row for row in rows}
        return [known.get(id) for id in ids]

    async def head(self) -> Head:
        [[position]] = await self._fetch(SELECT_HEAD, ())
        assert isinstance(position, int)
        return EMPTY._replace(position=position)

    async def check(self) -> Sequence[Problem]:
        return []

    async def fold_from(
        self, selection: Selection, key: SnapshotKey | None, *, size: int = 500
    ) -> FoldStart:
        raise NotSupported("a naive ledger does not fold")

    async def overtaken(self, stream: str, register: str, place: tuple[str, str]) -> bool:
        raise NotSupported("a naive ledger has no registers")

    async def streams_of(self, relations: Sequence[str]) -> Sequence[str]:
        raise NotSupported("a naive ledger has no relations")

    async def relations_of(self, streams: Sequence[str]) -> Sequence[str]:
        raise NotSupported("a naive ledger has no relations")

    async def find_snapshot(self, key: SnapshotKey) -> Snapshot | None:
        raise NotSupported("a naive ledger has no snapshots")

    async def backup(self, path: str) -> None:
        raise NotSupported("a naive ledger has no backups")

    async def close(self) -> None:
        await self._pool.close()

    async def _fetch(self, sql: bytes, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        try:
            async with self._pool.connection() as connection:
                return await (await connection.execute(sql, values)).fetchall()
        except (Error, PoolTimeout) as error:
            raise StorageFailed(str(error)) from error


async def open_naive_ledger(url: str) -> NaiveLedger:
    """Opens the ledger in a database, and makes its table if it is the first."""
    pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
        dsn_of(url), min_size=1, max_size=4, open=False
    )
    await pool.open()
    async with pool.connection() as connection:
        # One opens at a time: CREATE TABLE IF NOT EXISTS fails where two do at once.
        await connection.execute("SELECT pg_advisory_xact_lock(1)")
        found = await connection.execute("SELECT to_regclass('naive_record') IS NOT NULL")
        if await found.fetchone() == (False,):
            await connection.execute(CREATE)
    return NaiveLedger(pool)


async def _write(connection: AsyncConnection, requests: Sequence[Append | Import]) -> list[Outcome]:
    for stream in sorted(
        streams_of(requests)
    ):  # in order: two that lock the same wait, and no more
        await connection.execute(LOCK_STREAM, (stream,))
    known = await (await connection.execute(SELECT_KNOWN, (ids_of(requests),))).fetchall()
    versions = await (await connection.execute(SELECT_VERSIONS, (streams_of(requests),))).fetchall()
    sequencer = Sequencer(
        EMPTY,
        IDENTITY,
        now_ms=wall_clock_ms(),
        known={row.id: row for row in map(StoredRecord._make, known)},
        versions=dict(versions),
        newest=lambda stream, register: None,
    )
    outcomes: list[Outcome] = []
    for request in requests:
        try:
            outcomes.append(sequencer.place(request))
        except EverlogError as error:
            outcomes.append(error)
    stored: dict[str, StoredRecord] = {}
    for row in sequencer.rows:
        [[position]] = await (await connection.execute(INSERT, row[1:])).fetchall()
        stored[row.id] = row._replace(position=position)
    return [_as_stored(outcome, stored) for outcome in outcomes]


def _as_stored(outcome: Outcome, stored: dict[str, StoredRecord]) -> Outcome:
    if not isinstance(outcome, Placed):
        return outcome
    records, new = (
        tuple(stored.get(row.id, row) for row in rows) for rows in (outcome.records, outcome.new)
    )
    return Placed(records, new)
