"""The floor on SQLite: positions, versions, hash and chain, synchronous=FULL, no framework.

It stores the same columns as everlog with the same indexes, hashes about the same bytes, keeps the
versions of streams, and hops to a thread once per call, as any code must that does not block the
event loop. It validates nothing, retries nothing by id, and knows no relations.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

Row = tuple[Any, ...]

SCHEMA = """
CREATE TABLE head (only INTEGER PRIMARY KEY, position INTEGER, chain BLOB) STRICT;
INSERT INTO head VALUES (1, 0, x'00');
CREATE TABLE records (
    position INTEGER PRIMARY KEY, version INTEGER NOT NULL, id TEXT NOT NULL UNIQUE,
    stream TEXT NOT NULL, type TEXT NOT NULL, schema INTEGER NOT NULL, register TEXT NOT NULL,
    origin TEXT NOT NULL, correlation TEXT NOT NULL, causation TEXT, created TEXT NOT NULL,
    recorded TEXT NOT NULL, flags INTEGER NOT NULL, nonce BLOB, data TEXT, meta TEXT,
    hash BLOB NOT NULL, chain BLOB NOT NULL) STRICT;
CREATE INDEX records_by_stream ON records (stream);
"""
INSERT = "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


class SqliteFloor:
    """Appends dicts to streams and reads them back."""

    def __init__(self, path: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._path = path
        self._thread.submit(self._open).result()
        self._queue: list[tuple[str, Sequence[dict[str, Any]], asyncio.Future[int]]] = []
        self._draining = False

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    async def append(self, stream: str, events: Sequence[dict[str, Any]]) -> int:
        """Appends in a transaction of its own. Returns the last position."""
        return await self._in_thread(lambda: self._append([(stream, events)])[0])

    async def append_grouped(self, stream: str, events: Sequence[dict[str, Any]]) -> int:
        """Appends in one transaction with whatever else is waiting."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._queue.append((stream, events, future))
        if not self._draining:
            self._draining = True
            self._drainer = loop.create_task(self._drain())
        return await future

    async def read(self, stream: str | None) -> list[tuple[Row, Any]]:
        """Returns all rows of a stream, or of the log, each with its decoded data."""
        return await self._in_thread(lambda: self._read(stream))

    def close(self) -> None:
        """Closes the file."""
        self._thread.submit(self._db.close).result()
        self._thread.shutdown()

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            appends = [(stream, events) for stream, events, _ in batch]
            positions = await self._in_thread(partial(self._append, appends))
            for (_, _, future), position in zip(batch, positions, strict=True):
                future.set_result(position)
            await asyncio.sleep(0)
        self._draining = False

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def _append(self, appends: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> list[int]:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        position, chain = db.execute("SELECT position, chain FROM head").fetchone()
        rows: list[Row] = []
        positions: list[int] = []
        versions: dict[str, int] = {}
        for stream, events in appends:
            if stream not in versions:
                found = db.execute(
                    "SELECT version FROM records WHERE stream = ? ORDER BY position DESC LIMIT 1",
                    (stream,),
                ).fetchone()
                versions[stream] = found[0] if found else 0
            for event in events:
                position += 1
                versions[stream] += 1
                id, nonce = str(uuid.uuid4()), os.urandom(32)
                created = f"{time.time_ns():032x}"
                data = json.dumps(event, sort_keys=True, separators=(",", ":"))
                commitment = hmac.digest(nonce, data.encode(), "sha256").hex()
                envelope = f'{{"c":"{commitment}","i":"{id}","s":"{stream}","t":"{created}"}}'
                hashed = hashlib.sha256(envelope.encode()).digest()
                chain = hashlib.sha256(chain + hashed).digest()
                version = versions[stream]
                envelope_row = (position, version, id, stream, "t", 1, "t", "o" * 32, id, None)
                rows.append(
                    (*envelope_row, created, created, 0, nonce, data, "null", hashed, chain)
                )
            positions.append(position)
        db.executemany(INSERT, rows)
        db.execute("UPDATE head SET position = ?, chain = ?", (position, chain))
        db.execute("COMMIT")
        return positions

    def _read(self, stream: str | None) -> list[tuple[Row, Any]]:
        if stream is None:
            rows = self._db.execute("SELECT * FROM records ORDER BY position")
        else:
            rows = self._db.execute(
                "SELECT * FROM records WHERE stream = ? ORDER BY position", (stream,)
            )
        return [(row, json.loads(row[14])) for row in rows]
