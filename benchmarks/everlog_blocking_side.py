"""`everlog.blocking` as a side of the comparison: threads in the place of tasks, msgspec events."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks import views, workload
from benchmarks.everlog_sides import (
    PATIENCE_S,
    NotedStruct,
    StructMeta,
    place_of,
    struct_total,
)
from benchmarks.side import CannotDo, Seen
from everlog.blocking import EventStore, Following, Projector, Record, Tx

MOST_THREADS = 64
"""With more, the threads are what is measured."""


class BlockingEverlogSide:
    """An open `everlog.blocking.EventStore`, called directly, by a program that may block."""

    def __init__(self) -> None:
        self._events = [NotedStruct(**workload.fields(index)) for index in workload.INDICES]
        self._meta = StructMeta(**workload.META)

    async def open(self, address: str) -> None:
        self._address = address
        self._following: Following[Any] | None = None
        self._store = EventStore.open(place_of(address), events=[NotedStruct])

    async def close(self) -> None:
        self._store.close()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        self._append(stream, indices)

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        if tasks > MOST_THREADS:
            raise CannotDo

        def work(number: int) -> None:
            for index in range(each):
                self._append(f"{name}-{number}", (index,))

        with ThreadPoolExecutor(tasks) as threads:
            for _ in threads.map(work, range(tasks)):
                pass

    async def read_stream(self, stream: str) -> Seen:
        return self._seen(stream)

    async def read_all(self) -> Seen:
        return self._seen(None)

    async def fold(self, stream: str) -> int:
        return self._store.reduce(struct_total, stream) or 0

    async def snapshot(self, stream: str) -> None:
        self._store.snapshots.create(struct_total, stream)

    async def project(self, view: str, events: int) -> str:
        place = await views.beside(self._address, view)
        projector = Projector()

        @projector.all(NotedStruct)
        def balance(record: Record[NotedStruct], tx: Tx) -> None:
            tx.execute(place.upsert, (record.data.owner, record.data.number))

        with self._store.subscription(f"view {view}", projector) as subscription:
            subscription.caught_up(events, timeout_s=PATIENCE_S)
        return place.address

    async def changes(self, after: int) -> list[tuple[int, int]]:
        if self._following is None:
            self._following = self._store.follow(after=after)
        record = next(self._following)
        return [(record.position, record.data.number)]

    async def take_in(self, source: str) -> int:
        with EventStore.open(place_of(source), events=[NotedStruct]) as other:
            return self._store.import_records(other.read()).stored

    async def verify(self) -> int:
        verification = self._store.verify()
        return verification.records if verification.ok else -1

    async def backup(self, address: str) -> None:
        self._store.backup(address)

    def _append(self, stream: str, indices: Sequence[int]) -> None:
        events = [self._events[index] for index in indices]
        self._store.append(stream, *events, meta=self._meta)

    def _seen(self, stream: str | None) -> Seen:
        count = numbers = 0
        for record in self._store.read(stream):
            count += 1
            numbers += record.data.number
        return Seen(count, numbers)
