"""The floor on PostgreSQL as sides of the comparison: asynchronous, and blocking beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks import postgres_view, workload
from benchmarks.floor.postgres_connections import AsyncPostgresFloor, BlockingFloor
from benchmarks.floor.sides import DECODERS, appending, total
from benchmarks.floor.sqlite_floor import Row
from benchmarks.side import CannotDo, Seen
from benchmarks.views import BATCH

TYPE = workload.TYPE
DECODE = DECODERS[TYPE]
DATA = 14
"""The column of a row."""


class AsyncSide:
    """`floor`: a connection that writes, a connection that reads, group commit."""

    async def open(self, address: str) -> None:
        self._floor = await AsyncPostgresFloor.open(address, type=TYPE, decode=DECODE)
        self._scripts = self._floor.scripts

    async def close(self) -> None:
        await self._floor.close()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        await self._floor.append(appending(stream, indices))

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        async def worker(number: int) -> None:
            for index in range(each):
                await self.append(f"{name}-{number}", (index,))

        await asyncio.gather(*map(worker, range(tasks)))

    async def read_stream(self, stream: str) -> Seen:
        return _seen(await self._floor.read(self._scripts.stream(stream)))

    async def read_all(self) -> Seen:
        count = numbers = 0
        coming = self._page(0)
        while rows := await coming:
            coming = self._page(rows[-1][0])
            await asyncio.sleep(0)  # it is under way while this one is looked at
            seen = _seen(rows)
            count += seen.events
            numbers += seen.total
        return Seen(count, numbers)

    def _page(self, after: int) -> asyncio.Task[list[Row]]:
        return asyncio.create_task(self._floor.read(self._scripts.page(after)))

    async def fold(self, stream: str) -> int:
        return await self._floor.read(self._scripts.fold(stream, "total", 0, total))

    async def snapshot(self, stream: str) -> None:
        await self._floor.write(self._scripts.snapshot(stream, "total", 0, total))

    async def project(self, view: str, events: int) -> str:
        async with postgres_view.opened(view) as opened:
            after = await opened.checkpoint()
            coming = self._batch(after, events)
            while rows := await coming:
                coming = self._batch(rows[-1][0], events)
                await asyncio.sleep(0)  # it is under way while this one is handled
                await opened.take(_items(rows))
        return view

    def _batch(self, after: int, until: int) -> asyncio.Task[list[Row]]:
        size = min(BATCH, until - after)
        return asyncio.create_task(self._floor.read(self._scripts.page(after, size)))

    async def changes(self, after: int) -> list[tuple[int, int]]:
        rows = await self._floor.read(self._scripts.changes(after))
        return [(row[0], DECODE(row[DATA]).number) for row in rows]

    async def take_in(self, source: str) -> int:
        taken = 0
        from_there = AsyncSide()
        await from_there.open(source)
        try:
            coming = from_there._page(0)
            while rows := await coming:
                coming = from_there._page(rows[-1][0])  # while these are taken in
                taken += await self._floor.write(self._scripts.take_in(rows))
        finally:
            await from_there.close()
        return taken

    async def verify(self) -> int:
        return await self._floor.read(self._scripts.verify())

    async def backup(self, address: str) -> None:
        raise CannotDo  # pg_dump does it


class BlockingSide:
    """`floor-blocking`: the same over one blocking connection, by a program that may block."""

    async def open(self, address: str) -> None:
        self._floor = BlockingFloor(address, type=TYPE, decode=DECODE)
        self._run, self._scripts = self._floor.run, self._floor.scripts

    async def close(self) -> None:
        self._floor.close()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        self._run(self._scripts.append(appending(stream, indices)))

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        raise CannotDo  # one thread has nobody to commit together with

    async def read_stream(self, stream: str) -> Seen:
        return _seen(self._run(self._scripts.stream(stream)))

    async def read_all(self) -> Seen:
        count = numbers = after = 0
        while rows := self._run(self._scripts.page(after)):
            seen = _seen(rows)
            count += seen.events
            numbers += seen.total
            after = rows[-1][0]
        return Seen(count, numbers)

    async def fold(self, stream: str) -> int:
        return self._run(self._scripts.fold(stream, "total", 0, total))

    async def snapshot(self, stream: str) -> None:
        self._run(self._scripts.snapshot(stream, "total", 0, total))

    async def project(self, view: str, events: int) -> str:
        async with postgres_view.opened(view) as opened:
            after = await opened.checkpoint()
            while rows := self._run(self._scripts.page(after, min(BATCH, events - after))):
                after = await opened.take(_items(rows))
        return view

    async def changes(self, after: int) -> list[tuple[int, int]]:
        rows = self._run(self._scripts.changes(after))
        return [(row[0], DECODE(row[DATA]).number) for row in rows]

    async def take_in(self, source: str) -> int:
        taken = after = 0
        from_there = BlockingFloor(source, type=TYPE, decode=DECODE)
        try:
            while rows := from_there.run(self._scripts.page(after)):
                after = rows[-1][0]
                taken += self._run(self._scripts.take_in(rows))
        finally:
            from_there.close()
        return taken

    async def verify(self) -> int:
        return self._run(self._scripts.verify())

    async def backup(self, address: str) -> None:
        raise CannotDo  # pg_dump does it


def _seen(rows: Sequence[Row]) -> Seen:
    decode = DECODE
    return Seen(len(rows), sum([decode(row[DATA]).number for row in rows]))


def _items(rows: Sequence[Row]) -> list[tuple[int, str, int]]:
    events = [(row[0], DECODE(row[DATA])) for row in rows]
    return [(position, event.owner, event.number) for position, event in events]
