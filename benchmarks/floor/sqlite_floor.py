"""The floor on SQLite: what a good engineer writes by hand with `sqlite3`, hashlib and msgspec.

It keeps what everlog keeps: the same columns and indexes; positions and versions without holes; a
hybrid clock that never goes back; the newest record of each register; hash and chain over the very
same bytes; an id once for ever, retries by id, expected versions; records that can be neither
changed nor deleted; events validated by msgspec when they are written; `synchronous=FULL`.

It has no framework: no types but the one it is written for, no check that JSON is portable beyond
what this one type can hold, no hooks, no relations, no cancellation, no check that its
file is still there, no lock against SQLite's checkpoint race, and nothing against `INSERT OR
REPLACE` by others.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring as quote
from typing import Any, NamedTuple, TypeVar

import msgspec

from benchmarks.floor.taking_in import Here, take_in
from benchmarks.floor.verifying import GENESIS, Verifying

S = TypeVar("S")

Row = tuple[Any, ...]

SCHEMA = """
CREATE TABLE ledger (
    only INTEGER PRIMARY KEY CHECK (only = 1), position INTEGER NOT NULL, chain BLOB NOT NULL,
    clock INTEGER NOT NULL, origin TEXT NOT NULL, node TEXT NOT NULL) STRICT;
CREATE TABLE records (
    position INTEGER PRIMARY KEY, version INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,
    stream TEXT NOT NULL, type TEXT NOT NULL, schema INTEGER NOT NULL, register TEXT NOT NULL,
    origin TEXT NOT NULL, correlation TEXT NOT NULL, causation TEXT, created TEXT NOT NULL,
    recorded TEXT NOT NULL, flags INTEGER NOT NULL, nonce BLOB, data TEXT, meta TEXT,
    hash BLOB NOT NULL, chain BLOB NOT NULL, late INTEGER NOT NULL) STRICT;
CREATE INDEX records_by_stream ON records (stream);
CREATE INDEX records_late_in_stream ON records (stream, created, id) WHERE late = 1;
CREATE INDEX records_late ON records (created, id) WHERE late = 1;
CREATE TABLE registers (
    stream TEXT NOT NULL, register TEXT NOT NULL, created TEXT NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (stream, register)) STRICT, WITHOUT ROWID;
CREATE TABLE snapshots (
    stream TEXT NOT NULL, reducer TEXT NOT NULL, position INTEGER NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (stream, reducer)) STRICT, WITHOUT ROWID;
CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records
BEGIN SELECT RAISE(ABORT, 'records are never deleted'); END;
CREATE TRIGGER records_are_never_changed BEFORE UPDATE ON records
BEGIN SELECT RAISE(ABORT, 'records are never changed'); END;
"""
COLUMNS = (
    "position, version, id, stream, type, schema, register, origin, correlation, causation, "
    "created, recorded, flags, nonce, data, meta, hash, chain"
)
# One statement for all that an append has to know; for one stream and for many.
SELECT_HEAD = (
    "SELECT position, chain, clock, origin, node,"
    " (SELECT version FROM records WHERE stream = ? ORDER BY position DESC LIMIT 1) FROM ledger"
)
SELECT_VERSIONS = (
    "SELECT value,"
    " (SELECT version FROM records WHERE stream = value ORDER BY position DESC LIMIT 1)"
    " FROM json_each(?)"
)
INSERT = "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0)"
INSERT_TAKEN_IN = INSERT.replace(",0)", ",?)")
UPSERT_REGISTER = (
    "INSERT INTO registers VALUES (?, ?, ?, ?) ON CONFLICT (stream, register) "
    "DO UPDATE SET created = excluded.created, id = excluded.id"
)
UPDATE_HEAD = "UPDATE ledger SET position = ?, chain = ?, clock = ?"
SELECT_PAGE = f"SELECT {COLUMNS} FROM records WHERE position > ? ORDER BY position LIMIT ?"
SELECT_STREAM = f"SELECT {COLUMNS} FROM records WHERE stream = ? AND position > ? ORDER BY position"
SELECT_IDS = f"SELECT {COLUMNS} FROM records WHERE id IN (SELECT value FROM json_each(?))"
SELECT_HASHES = "SELECT id, hash FROM records WHERE id IN (SELECT value FROM json_each(?))"
SELECT_REGISTERS = (
    "SELECT stream, created, id FROM registers WHERE stream IN (SELECT value FROM json_each(?))"
)
SELECT_NEWEST = "SELECT created, id FROM records WHERE late = 0 ORDER BY position DESC LIMIT 1"
SELECT_LATE = "SELECT 1 FROM records WHERE late = 1 AND stream = ? AND +position > ? LIMIT 1"
SELECT_SNAPSHOT = "SELECT position, state FROM snapshots WHERE stream = ? AND reducer = ?"
UPSERT_SNAPSHOT = (
    "INSERT INTO snapshots VALUES (?, ?, ?, ?) ON CONFLICT (stream, reducer) "
    "DO UPDATE SET position = excluded.position, state = excluded.state"
)

PAGE = 500


class WrongVersion(Exception):
    """The stream is not at the version that was expected."""


class IdConflict(Exception):
    """An id is there already, with other content."""


class Appending(NamedTuple):
    """Events for one stream, all or nothing."""

    stream: str
    events: Sequence[Any]
    meta: bytes
    expect: int | None = None
    ids: Sequence[str] | None = None


class SqliteFloor:
    """One connection. Blocks; to be used by one thread at a time."""

    def __init__(self, path: str, *, type: str, decode: Callable[[str | bytes], Any]) -> None:
        """`type`: of every event; `decode`: makes an event of the JSON that is stored."""
        self._decode = decode
        self._encode = msgspec.json.Encoder(order="sorted").encode
        self._type = type
        self._db = db = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=30
        )
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA wal_autocheckpoint = 2000")  # 8 MB, as everlog does
        if db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            db.executescript(SCHEMA)
            identity = (GENESIS, os.urandom(16).hex(), os.urandom(8).hex())
            db.execute("INSERT INTO ledger VALUES (1, 0, ?, 0, ?, ?)", identity)
        self._data_version = -1

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    # --- writing ---

    def append(self, appending: Appending) -> list[Row]:
        """Appends in a transaction of its own; returns the stored rows."""
        [outcome] = self.write([appending])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def write(self, batch: Sequence[Appending]) -> list[list[Row] | Exception]:
        """Appends all in one transaction; each has an outcome of its own."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            outcomes, rows = self._place(batch)
            if rows:
                db.executemany(INSERT, rows)
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        return outcomes

    def _place(self, batch: Sequence[Appending]) -> tuple[list[list[Row] | Exception], list[Row]]:
        db = self._db
        first = batch[0].stream
        position, chain, clock, origin, node, version = db.execute(SELECT_HEAD, (first,)).fetchone()
        versions: dict[str, int] = {first: version or 0}
        others = {appending.stream for appending in batch} - {first}
        if others:
            names = msgspec.json.encode(list(others)).decode()
            for stream, version in db.execute(SELECT_VERSIONS, (names,)):
                versions[stream] = version or 0
        sha256, digest, urandom, encode = hashlib.sha256, hmac.digest, os.urandom, self._encode
        type, validate = self._type, self._decode
        middle = f',"origin":"{origin}","register":{quote(type)},"schema":1,"stream":'
        now_ms = time.time_ns() // 1_000_000
        now = now_ms << 16
        id_time = f"{now_ms:012x}"
        id_time = f"{id_time[:8]}-{id_time[8:]}-7"
        outcomes: list[list[Row] | Exception] = []
        rows: list[Row] = []
        registers: dict[str, tuple[str, str, str, str]] = {}
        for stream, events, meta, expect, ids in batch:
            version = versions[stream]
            if ids is not None and (stored := self._stored(ids)):
                outcomes.append(self._retried(stored, ids, stream, events, meta))
                continue
            if expect is not None and expect != version:
                outcomes.append(WrongVersion(f"{stream} is at {version}, not at {expect}"))
                continue
            end = f'{middle}{quote(stream)},"type":{quote(type)}}}'
            meta_text = meta.decode()
            placed: list[Row] = []
            for number, event in enumerate(events):
                position += 1
                version += 1
                clock = now if now > clock else clock + 1
                created = f"{clock:016x}{node}"
                nonce = urandom(32)
                if ids is None:
                    chance = urandom(10).hex()
                    id = f"{id_time}{chance[:3]}-8{chance[3:6]}-{chance[6:18]}"
                else:
                    id = ids[number]
                data = encode(event)
                validate(data)
                commitment = digest(nonce, b'{"data":%b,"meta":%b}' % (data, meta), "sha256").hex()
                envelope = (
                    f'{{"causation":null,"commitment":"{commitment}","correlation":"{id}"'
                    f',"created":"{created}","format":1,"id":"{id}"{end}'
                )
                hashed = sha256(envelope.encode()).digest()
                chain = sha256(chain + hashed + version.to_bytes(8, "big") + b"\0").digest()
                # fmt: off
                placed.append(
                    (position, version, id, stream, type, 1, type, origin, id, None, created,
                     created, 0, nonce, data.decode(), meta_text, hashed, chain)
                )
                # fmt: on
            versions[stream] = version
            rows += placed
            outcomes.append(placed)
            registers[stream] = (stream, type, placed[-1][10], placed[-1][2])
        if rows:
            db.executemany(UPSERT_REGISTER, registers.values())
            db.execute(UPDATE_HEAD, (position, chain, clock))
        return outcomes, rows

    def _stored(self, ids: Sequence[str]) -> dict[str, Row]:
        found = self._db.execute(SELECT_IDS, (msgspec.json.encode(ids).decode(),))
        return {row[2]: row for row in found}

    def _retried(
        self,
        stored: dict[str, Row],
        ids: Sequence[str],
        stream: str,
        events: Sequence[Any],
        meta: bytes,
    ) -> list[Row] | Exception:
        for id, event in zip(ids, events, strict=True):
            row = stored.get(id)
            due = (stream, self._encode(event).decode(), meta.decode())
            if row is None or (row[3], row[14], row[15]) != due:
                return IdConflict(id)
        return [stored[id] for id in ids]

    def take_in(self, rows: Sequence[Row]) -> int:
        """Takes in records of another log, all or nothing; returns how many were new."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            names = msgspec.json.encode(list({row[3] for row in rows})).decode()
            ids = msgspec.json.encode([row[2] for row in rows]).decode()
            position, chain, clock, _, node, _ = db.execute(SELECT_HEAD, ("",)).fetchone()
            newest = db.execute(SELECT_NEWEST).fetchone() or ("", "")
            versions = {name: found or 0 for name, found in db.execute(SELECT_VERSIONS, (names,))}
            registers = {row[0]: row[1:] for row in db.execute(SELECT_REGISTERS, (names,))}
            known = dict(db.execute(SELECT_HASHES, (ids,)).fetchall())
            here = Here(position, chain, clock, newest, known, versions, registers)
            taken = take_in(rows, here, node)
            if taken.rows:
                db.executemany(INSERT_TAKEN_IN, taken.rows)
                places = taken.registers.items()
                changed = [(stream, self._type, *place) for stream, place in places]
                db.executemany(UPSERT_REGISTER, changed)
                db.execute(UPDATE_HEAD, (taken.position, taken.chain, taken.clock))
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        return len(taken.rows)

    # --- reading ---

    def rows(self, after: int) -> list[Row]:
        """Returns the next rows of the log as they are."""
        return self._db.execute(SELECT_PAGE, (after, PAGE)).fetchall()

    def page(self, after: int, size: int = PAGE) -> list[tuple[Row, Any]]:
        """Returns the next rows of the log, each with its decoded event."""
        decode = self._decode
        rows = self._db.execute(SELECT_PAGE, (after, size)).fetchall()
        return [(row, decode(row[14])) for row in rows]

    def stream(self, stream: str) -> list[tuple[Row, Any]]:
        """Returns the rows of a stream, each with its decoded event."""
        decode = self._decode
        rows = self._db.execute(SELECT_STREAM, (stream, 0)).fetchall()
        return [(row, decode(row[14])) for row in rows]

    def changes(self, after: int) -> list[tuple[Row, Any]]:
        """Returns the next rows of the log, without a look if no other connection has written."""
        [version] = self._db.execute("PRAGMA data_version").fetchone()
        if version == self._data_version:
            return []
        found = self.page(after)
        if len(found) < PAGE:
            self._data_version = version
        return found

    def fold(self, stream: str, reducer: str, initial: S, step: Callable[[S, Row, Any], S]) -> S:
        """Folds a stream in the order of creation, from its snapshot if that holds."""
        state, _ = self._fold(stream, reducer, initial, step)
        return state

    def snapshot(
        self, stream: str, reducer: str, initial: S, step: Callable[[S, Row, Any], S]
    ) -> None:
        """Stores the folded state of a stream."""
        state, position = self._fold(stream, reducer, initial, step)
        text = msgspec.json.encode(state).decode()
        self._db.execute(UPSERT_SNAPSHOT, (stream, reducer, position, text))

    def _fold(
        self, stream: str, reducer: str, initial: S, step: Callable[[S, Row, Any], S]
    ) -> tuple[S, int]:
        db, decode = self._db, self._decode
        db.execute("BEGIN")  # one moment for all that is read
        try:
            state, after = initial, 0
            snapshot = db.execute(SELECT_SNAPSHOT, (stream, reducer)).fetchone()
            if snapshot and not db.execute(SELECT_LATE, (stream, snapshot[0])).fetchone():
                after, state = snapshot[0], msgspec.json.decode(snapshot[1])
            late = not after and db.execute(SELECT_LATE, (stream, 0)).fetchone()
            rows = db.execute(SELECT_STREAM, (stream, after)).fetchall()
        finally:
            db.execute("COMMIT")
        if late:
            rows.sort(key=_creation)
        for row in rows:
            state = step(state, row, decode(row[14]))
        return state, rows[-1][0] if rows else after

    # --- looking after it ---

    def verify(self) -> int:
        """Computes every hash and the chain again; returns how many records there are."""
        verifying = Verifying()
        while rows := self.rows(verifying.count):
            verifying.check(rows)
        [answer] = self._db.execute("PRAGMA integrity_check").fetchone()
        if answer != "ok":
            raise ValueError(answer)
        return verifying.count

    def backup(self, path: str) -> None:
        """Copies the log into a new file, and syncs that."""
        self._db.execute("VACUUM INTO ?", (path,))
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _creation(row: Row) -> tuple[str, str]:
    return row[10], row[2]
