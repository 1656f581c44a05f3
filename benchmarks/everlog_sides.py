"""everlog as a side of the comparison, with msgspec and with pydantic events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel

from benchmarks import views, workload
from benchmarks.question import Watch
from benchmarks.side import Seen
from everlog import EventStore, Following, Projector, Record, Reducer, Tx, event, reducer

PATIENCE_S = 600


class StructMeta(msgspec.Struct):
    """What is said about an event."""

    auditor: str
    reason: str


@event(workload.TYPE, meta=StructMeta)
class NotedStruct(msgspec.Struct):
    """The event of the workload."""

    active: bool
    number: int
    owner: str
    text: str


@reducer("total", initial=int)
def struct_total(state: int, record: Record) -> int:
    """Looks at every event, as a real reducer does."""
    return state + record.data.number if isinstance(record.data, NotedStruct) else state


class ModelMeta(BaseModel):
    """What is said about an event."""

    auditor: str
    reason: str


@event(workload.TYPE, meta=ModelMeta)
class NotedModel(BaseModel):
    """The event of the workload."""

    active: bool
    number: int
    owner: str
    text: str


@reducer("total", initial=int)
def model_total(state: int, record: Record) -> int:
    """Looks at every event, as a real reducer does."""
    return state + record.data.number if isinstance(record.data, NotedModel) else state


class EverlogSide:
    """An open `EventStore`."""

    def __init__(self, noted: type[Any], meta: type[Any], total: Reducer[int]) -> None:
        self._noted, self._total = noted, total
        self._events = [noted(**workload.fields(index)) for index in workload.INDICES]
        self._meta = meta(**workload.META)

    async def open(self, address: str) -> None:
        self._address = address
        self._following: Following[Any] | None = None
        self._store = await EventStore.open(place_of(address), events=[self._noted])

    async def close(self) -> None:
        await self._store.close()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        events = [self._events[index] for index in indices]
        await self._store.append(stream, *events, meta=self._meta)

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        async def worker(number: int) -> None:
            for index in range(each):
                await self.append(f"{name}-{number}", (index,))

        await asyncio.gather(*map(worker, range(tasks)))

    async def read_stream(self, stream: str) -> Seen:
        count = numbers = 0
        async for record in self._store.read(stream):
            count += 1
            numbers += record.data.number
        return Seen(count, numbers)

    async def read_all(self) -> Seen:
        count = numbers = 0
        async for record in self._store.read():
            count += 1
            numbers += record.data.number
        return Seen(count, numbers)

    async def fold(self, stream: str) -> int:
        return await self._store.reduce(self._total, stream) or 0

    async def snapshot(self, stream: str) -> None:
        await self._store.snapshots.create(self._total, stream)

    async def project(self, view: str, events: int) -> str:
        place = await views.beside(self._address, view)
        projector = Projector()

        @projector.all(self._noted)
        async def balance(record: Record[Any], tx: Tx) -> None:
            await tx.execute(place.upsert, (record.data.owner, record.data.number))

        async with self._store.subscription(f"view {view}", projector) as subscription:
            await subscription.caught_up(events, timeout_s=PATIENCE_S)
        return place.address

    async def changes(self, after: int) -> list[tuple[int, int]]:
        if self._following is None:
            self._following = self._store.follow(after=after)
        record = await anext(self._following)
        return [(record.position, record.data.number)]

    async def take_in(self, source: str) -> int:
        async with EventStore.open(place_of(source), events=[self._noted]) as other:
            return (await self._store.import_records(other.read())).stored

    async def sync(self, source: str) -> int:
        async with EventStore.open(place_of(source), events=[self._noted]) as hub:
            return (await self._store.sync(hub).once()).new

    async def rounds(self, source: str, count: int) -> list[float]:
        seconds: list[float] = []
        async with EventStore.open(place_of(source), events=[self._noted]) as hub:
            sync = self._store.sync(hub)
            for _ in range(count + 1):
                began = time.perf_counter()
                assert (await sync.once()).idle
                seconds.append(time.perf_counter() - began)
        return seconds[1:]  # the first says hello

    async def sync_in_memory(self, streams: int) -> tuple[int, float]:
        async with (
            EventStore.open("memory:", events=[self._noted]) as hub,
            EventStore.open("memory:", events=[self._noted]) as store,
        ):
            for number in range(streams):
                await hub.append(workload.stream_of(number), *self._events, meta=self._meta)
            with Watch() as watch:
                new = (await store.sync(hub).once()).new
        return new, watch.seconds

    async def verify(self) -> int:
        verification = await self._store.verify()
        return verification.records if verification.ok else -1

    async def backup(self, address: str) -> None:
        await self._store.backup(address)


def place_of(address: str) -> str | Path:
    """Returns an address as `EventStore.open` takes it: paths are none of its URLs."""
    return address if "://" in address else Path(address)


def with_structs() -> EverlogSide:
    """Returns everlog with msgspec events."""
    return EverlogSide(NotedStruct, StructMeta, struct_total)


def with_models() -> EverlogSide:
    """Returns everlog with pydantic events."""
    return EverlogSide(NotedModel, ModelMeta, model_total)
