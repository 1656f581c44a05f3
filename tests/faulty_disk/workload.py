"""A real workload, recorded: what it asked of the disk, and what it was told, and when."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

from everlog import EventStore, Record, event, reducer, to
from everlog.adapters.sqlite import ledger as sqlite_ledger
from everlog.adapters.sqlite import writing
from everlog.adapters.sqlite.connections import Durability, Place, connect_writer
from everlog.core.record import StoredRecord
from everlog.store.opening import Opening
from tests.faulty_disk.recording import Recorder, Spare, Step, recorded
from tests.faulty_disk.recording import nothing as spare_nothing

NAME = "log.db"
TEAM, BORN = "team", "born"
"""A relation that is changed by itself, and one whose streams come with their first event."""
FOLDED = ("stream-0", "stream-1")
"""The streams of which snapshots are made."""
ROUNDS = 4


@event("disk:noted")
@dataclass
class Noted:
    """Something of any size."""

    number: int
    text: str


@reducer("disk:seen", initial=list[str])
def seen(state: list[str], record: Record) -> list[str]:
    """Folds a stream to the ids in it, in the order of the fold."""
    return [*state, record.id]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of relations or snapshots: what it made of them, and between which events it was."""

    pairs: frozenset[str]
    """The streams of `TEAM` after it."""
    snapshots: dict[str, int]
    """The positions of the snapshots after it, by stream."""
    after: int = 0
    """Everything up to this position was committed before it."""
    before: int = 0
    """Everything beyond this position was committed after it."""


@dataclass(slots=True)
class Recording:
    """A run of the workload."""

    guarded: bool
    """Whether everlog made the checkpoints, under its lock; else SQLite did by itself."""
    steps: list[Step] = field(default_factory=list[Step])
    opened: int = 0
    """After so many steps, the opening of the new ledger had returned."""
    events: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """After so many steps, everything up to this position had been acknowledged."""
    changes: list[tuple[int, Change]] = field(default_factory=list[tuple[int, Change]])
    """After so many steps, this change had been acknowledged; one after the other."""
    ledger: str = ""
    """The ledger's id."""
    history: list[StoredRecord] = field(default_factory=list[StoredRecord])
    """All records in the end, each just as it had been acknowledged."""
    together: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """First and last positions of what was stored by one call, all or nothing."""


def record(
    folder: Path,
    rng: random.Random,
    *,
    durability: Durability = "full",
    guarded: bool = True,
    spare: Spare = spare_nothing,
) -> Recording:
    """Runs the workload in an empty folder."""
    assert not list(folder.iterdir())
    with small_checkpoints(guarded=guarded), recorded(folder, spare=spare) as recorder:
        work = _Work(folder / NAME, Recording(guarded), recorder, rng, durability)
        asyncio.run(work.run())
    work.recording.steps = recorder.steps
    return work.recording


@contextmanager
def small_checkpoints(*, guarded: bool, every_commit: bool = False) -> Generator[None]:
    """Makes checkpoints come every few commits, or with every one."""

    def connect_often(place: Place) -> sqlite3.Connection:
        connection = connect_writer(place)
        if not guarded:
            pages = 1 if every_commit else 40
            connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")
        return connection

    with (
        patch.object(sqlite_ledger, "checkpoints_race", return_value=guarded),
        patch.object(writing, "CHECKPOINT_BYTES", 0 if every_commit else 160_000),
        patch.object(writing, "connect_writer", connect_often),
    ):
        yield


class _Work:
    def __init__(
        self,
        path: Path,
        recording: Recording,
        recorder: Recorder,
        rng: random.Random,
        durability: Durability,
    ) -> None:
        self.recording = recording
        self._path = path
        self._recorder = recorder
        self._rng = rng
        self._durability = durability
        self._begun = 0
        """Events that were handed in."""
        self._acknowledged = 0
        self._team: list[str] = []
        self._snapshots: dict[str, int] = {}
        self._records: dict[int, StoredRecord] = {}

    async def run(self) -> None:
        """Every kind of write, by turns; twice in all with the store closed in between."""
        async with self._store() as store:
            self.recording.opened = len(self._recorder.steps)
            for _ in range(ROUNDS // 2):
                await self._round(store)
        async with self._store() as store:
            for _ in range(ROUNDS - ROUNDS // 2):
                await self._round(store)
            self.recording.ledger = (await store.info()).ledger
            history = [record.stored async for record in store.read()]
        assert history == [self._records[position] for position in sorted(self._records)]
        self.recording.history = history

    def _store(self) -> Opening[EventStore]:
        return EventStore.open(self._path, events=[Noted], durability=self._durability)

    async def _round(self, store: EventStore) -> None:
        rng = self._rng
        for _ in range(3):
            await self._append(store)
        await self._change(store, store.relations.add, TEAM, self._newcomer())
        await self._append_many(store, rng.randrange(2, 30))
        await self._snapshot(store)
        await asyncio.gather(*(self._lane(store, number) for number in range(6)))
        await self._import(store)
        await self._snapshot(store)
        if len(self._team) > 2:
            await self._change(store, store.relations.remove, TEAM, self._leaver())
        await asyncio.gather(self._append(store), self._append_many(store, 3), self._append(store))

    async def _lane(self, store: EventStore, number: int) -> None:
        if number == 0:
            await self._change(store, store.relations.add, TEAM, self._newcomer())
        for _ in range(self._rng.randrange(1, 3)):
            await self._append(store)

    def _newcomer(self) -> str:
        self._team = [*self._team, f"member-{len(self.recording.changes)}"]
        return self._team[-1]

    def _leaver(self) -> str:
        leaver, *self._team = self._team
        return leaver

    def _events(self, count: int) -> list[Noted]:
        self._begun += count
        size = self._rng.choice((20, 20, 200, 3000))
        return [Noted(self._begun, self._rng.randbytes(size // 2).hex()) for _ in range(count)]

    def _stream(self) -> str:
        return f"stream-{self._rng.randrange(5)}"

    async def _append(self, store: EventStore) -> None:
        events = self._events(self._rng.choice((1, 1, 1, 2, 4)))
        if self._rng.random() < 0.2:
            appending = store.append(f"born-{self._begun}", *events, relations=[BORN])
        else:
            appending = store.append(self._stream(), *events)
        await self._settle(appending)

    async def _append_many(self, store: EventStore, count: int) -> None:
        items = [to(self._stream(), event) for event in self._events(count)]
        await self._settle(store.append_many(items))

    async def _settle(self, appending: Awaitable[Iterable[Record]]) -> None:
        self._acknowledge([record.stored for record in await appending])

    async def _import(self, store: EventStore) -> None:
        # Long ago, so that they are late; by position they stand behind what is there.
        moment = datetime(2020, 1, 1, tzinfo=UTC)
        past = [
            store.past(self._stream(), event, created=moment + timedelta(hours=self._rng.random()))
            for event in self._events(6)
        ]
        assert (await store.import_records(past)).stored == len(past)
        self._acknowledge([record.stored async for record in store.read(after=self._acknowledged)])

    def _acknowledge(self, records: list[StoredRecord]) -> None:
        positions = [record.position for record in records]
        assert positions == list(range(positions[0], positions[0] + len(positions)))
        self._acknowledged = max(self._acknowledged, positions[-1])
        self.recording.events.append((len(self._recorder.steps), self._acknowledged))
        self.recording.together.append((positions[0], positions[-1]))
        self._records.update({record.position: record for record in records})

    async def _snapshot(self, store: EventStore) -> None:
        stream = self._rng.choice(FOLDED)
        if await store.read(stream).first() is None:
            return
        after = self._acknowledged
        made = await store.snapshots.create(seen, stream)
        self._snapshots = {**self._snapshots, stream: made.position}
        self._changed(after)

    async def _change(
        self,
        store: EventStore,
        change: Callable[..., Awaitable[int]],
        relation: str,
        stream: str,
    ) -> None:
        after = self._acknowledged
        assert await change(relation, stream) == 1
        self._changed(after)

    def _changed(self, after: int) -> None:
        change = Change(frozenset(self._team), self._snapshots, after, self._begun)
        self.recording.changes.append((len(self._recorder.steps), change))
