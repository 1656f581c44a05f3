"""eventsource-py (https://github.com/tyevans/eventsource-py): async.

Events are pydantic models with their envelope in them, so they are made anew for every append;
meta is their `metadata`. Folding is `AggregateRepository.load`, with a snapshot store.

On SQLite: `SQLiteEventStore`. `wal_mode` is its default; it leaves `synchronous` at SQLite's own
default, FULL; both are asked of its connection. All tasks share that one connection, under a lock.

On PostgreSQL: `PostgreSQLEventStore` over an engine of SQLAlchemy with asyncpg; the tables and the
function of its own migrations; `pool_size` 20 and no more instead of 5 and 10 more, which time out
when 64 tasks meet. fsync and synchronous_commit are asked of the engine.

It has no exactly-once projection: checkpoint and read model are committed apart. Its subscriptions
reach another process through Redis or Kafka only, so another process reads the feed every
millisecond.
"""

# Peers are not installed where types are checked.
# pyright: basic, reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsource import (
    AggregateRepository,
    AggregateRoot,
    DomainEvent,
    create_async_engine,
    register_event,
)
from eventsource.adapters.sqlite.snapshots import SQLiteSnapshotStore
from eventsource.adapters.sqlite.store import SQLiteEventStore
from eventsource.domain import StreamId
from eventsource.migrations import get_schema
from eventsource.ports import ExpectedVersion, FeedReadOptions
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import async_sessionmaker

from benchmarks import postgres, workload
from benchmarks.peers.durable import require_full
from benchmarks.side import CannotDo, Seen

PAGE = 1000


@register_event
class Noted(DomainEvent):
    """The event of the workload."""

    event_type: str = "Noted"
    aggregate_type: str = "Account"
    active: bool
    number: int
    owner: str
    text: str


class Balance(BaseModel):
    """The state of an account."""

    total: int = 0


class Account(AggregateRoot[Balance]):
    """Adds up the numbers that it noted."""

    aggregate_type = "Account"
    _state: Balance | None

    def _get_initial_state(self) -> Balance:
        return Balance()

    def _apply(self, event: DomainEvent) -> None:
        if self._state is None:
            self._state = self._get_initial_state()
        if isinstance(event, Noted):
            self._state.total += event.number


def _id_of(stream: str) -> UUID:
    return uuid5(NAMESPACE_URL, stream)


class Peer:
    """An open store, on SQLite."""

    async def open(self, address: str) -> None:
        self._store, snapshots = await self.stores(address)
        self._repository = AggregateRepository(
            event_store=self._store,
            aggregate_factory=Account,
            snapshot_store=snapshots,
            snapshot_mode="manual",
        )
        self._versions: dict[str, int] = {}
        self._fields = [workload.fields(index) for index in workload.INDICES]

    async def stores(self, address: str) -> tuple[Any, Any]:
        """Returns a store of events and one of snapshots that sync every commit."""
        store = SQLiteEventStore(address)
        connection = await store._conn()  # its own, to ask after its settings
        found: list[object] = []
        for pragma in ("PRAGMA journal_mode", "PRAGMA synchronous"):
            async with connection.execute(pragma) as cursor:
                [value] = await cursor.fetchone()
            found.append(value)
        require_full(*found)
        return store, SQLiteSnapshotStore(address)

    async def close(self) -> None:
        await self._store.close()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        id, version = _id_of(stream), self._versions.get(stream, 0)
        events = [
            Noted(
                aggregate_id=id,
                aggregate_version=version + number,
                metadata=workload.META,
                **self._fields[index],
            )
            for number, index in enumerate(indices, 1)
        ]
        await self._store.append(StreamId(id, "Account"), events, ExpectedVersion.exact(version))
        self._versions[stream] = version + len(events)

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        async def worker(number: int) -> None:
            for index in range(each):
                await self.append(f"{name}-{number}", (index,))

        await asyncio.gather(*map(worker, range(tasks)))

    async def read_stream(self, stream: str) -> Seen:
        return await _seen(self._store.read_stream(StreamId(_id_of(stream), "Account")))

    async def read_all(self) -> Seen:
        return await _seen(self._feed())

    async def fold(self, stream: str) -> int:
        return (await self._repository.load(_id_of(stream))).state.total

    async def snapshot(self, stream: str) -> None:
        await self._repository.create_snapshot(await self._repository.load(_id_of(stream)))

    async def project(self, view: str, events: int) -> str:
        raise CannotDo

    async def changes(self, after: int) -> list[tuple[int, int]]:
        start = self._store._codec.encode(after) if after else None
        return [
            (self._store._codec.value_of(found.position), found.event.number)
            async for found in self._store.read_all(start, FeedReadOptions(limit=PAGE))
        ]

    async def take_in(self, source: str) -> int:
        raise CannotDo

    async def verify(self) -> int:
        raise CannotDo

    async def backup(self, address: str) -> None:
        raise CannotDo

    async def _feed(self) -> AsyncIterator[Any]:
        position, more = None, True
        while more:
            more = False
            async for found in self._store.read_all(position, FeedReadOptions(limit=PAGE)):
                yield found
                position, more = found.position, True


class PostgresPeer(Peer):
    """An open store, on PostgreSQL."""

    async def stores(self, address: str) -> tuple[Any, Any]:
        # Not at the top: its driver is asyncpg.
        from eventsource.adapters.postgresql.snapshots import PostgreSQLSnapshotStore
        from eventsource.adapters.postgresql.store import PostgreSQLEventStore

        url, schema = postgres.split(address)
        engine = create_async_engine(
            url.replace("postgresql:", "postgresql+asyncpg:", 1),
            pool_size=20,
            max_overflow=0,
            connect_args={"server_settings": {"search_path": schema}},
        )
        async with engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            if await raw.fetchval("SELECT to_regclass('events')") is None:
                for name in ("events", "snapshots"):
                    await raw.execute(get_schema(name))
            found = [await raw.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
            await connection.commit()
        postgres.require_synced(*found)
        snapshots = PostgreSQLSnapshotStore(async_sessionmaker(engine, expire_on_commit=False))
        return PostgreSQLEventStore(engine, owns_engine=True), snapshots


on_sqlite = Peer
on_postgres = PostgresPeer


async def _seen(found: AsyncIterator[Any]) -> Seen:
    count = total = 0
    async for envelope in found:
        count += 1
        total += envelope.event.number
    return Seen(count, total)
