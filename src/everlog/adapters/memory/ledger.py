"""`MemoryLedger`: the ledger port over lists and dicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from everlog.adapters.memory import reading
from everlog.adapters.memory.tables import Tables
from everlog.adapters.memory.upstreams import MemoryUpstreams
from everlog.adapters.memory.writing import write
from everlog.core.epoch import epoch_at
from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Head, Identity
from everlog.core.snapshot import Snapshot, SnapshotKey
from everlog.errors import NotSupported, StoreClosed
from everlog.ports.examining import Finding
from everlog.ports.ledger import Capabilities, FoldStart, Joined, Outcome, Problem, Request
from everlog.ports.listing import StreamInfo
from everlog.ports.owner import Owner
from everlog.ports.seams import Seams
from everlog.ports.waiting import Waiting


class MemoryLedger:
    """A ledger that lives as long as its process. To be made in the running loop that uses it."""

    def __init__(self, *, seams: Seams | None = None) -> None:
        self._seams = seams or Seams()
        self._owner = Owner("the store in memory")
        self._tables = Tables()
        self._waiting = Waiting(self._position, poll_s=lambda: None)  # nobody else writes
        random = self._seams.random_bytes
        self._identity = Identity(
            ledger=random(16).hex(),
            node=random(8).hex(),
            epoch=epoch_at(self._seams.now_ms(), random(8)),
        )

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(durable=False, shared=False, backup=False, transactions=False)

    @property
    def upstreams(self) -> MemoryUpstreams:
        return MemoryUpstreams(self._open)

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        tables = self._open()
        outcomes = write(tables, requests, identity=self._identity, seams=self._seams)
        for epoch in outcomes:
            if isinstance(epoch, str):
                self._identity = replace(self._identity, epoch=epoch)
        self._waiting.hint()
        return outcomes

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        return reading.read_page(self._open(), self._identity, selection, cursor, size)

    async def fold_from(
        self, selection: Selection, key: SnapshotKey | None, *, size: int = 500
    ) -> FoldStart:
        return reading.fold_start(self._open(), self._identity, selection, key, size)

    async def find(self, ids: Sequence[str]) -> Sequence[StoredRecord | None]:
        tables = self._open()
        return [tables.by_id.get(id) for id in ids]

    async def overtaken(self, stream: str, register: str, place: tuple[str, str]) -> bool:
        newest = self._open().registers.get((stream, register))
        return newest is not None and newest > place

    async def streams_of(self, relations: Sequence[str]) -> Sequence[str]:
        return self._open().streams_of(relations)

    async def relations_of(self, streams: Sequence[str]) -> Sequence[str]:
        return self._open().relations_of(streams)

    async def streams(self, *, prefix: str, after: str, limit: int) -> Sequence[StreamInfo]:
        tables = self._open()
        names = (each for each in tables.by_stream if each > after and each.startswith(prefix))
        last = [tables.records[tables.by_stream[each][-1] - 1] for each in sorted(names)[:limit]]
        return [StreamInfo(r.stream, r.version, r.position, r.type, r.recorded) for r in last]

    async def examine(self, *, now_ms: Callable[[], int]) -> Sequence[Finding]:
        self._open()
        return []

    async def find_snapshot(self, key: SnapshotKey) -> Snapshot | None:
        return self._open().snapshots.get(key)

    async def head(self) -> Head:
        return self._open().head

    async def wait(self, position: int, *, timeout_s: float) -> int:
        self._open()
        return await self._waiting.wait(position, timeout_s)

    def join(self, connection: object) -> Joined:
        self._open()
        raise NotSupported(
            "a store in memory has no transactions that events could join; a PostgreSQL store has"
        )

    async def check(self) -> Sequence[Problem]:
        self._open()
        return []

    async def backup(self, path: str) -> None:
        self._open()
        raise NotSupported(
            "a store in memory has no file to back up; import its records into another store: "
            "other.import_records(store.read())"
        )

    async def close(self) -> None:
        if not self._owner.forked:
            self._owner.closed = True
            await self._waiting.close(StoreClosed("the store in memory was closed meanwhile"))

    async def _position(self) -> int:
        return self._tables.head.position

    def _open(self) -> Tables:
        self._owner.check()
        return self._tables
