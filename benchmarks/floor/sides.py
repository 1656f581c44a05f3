"""The floor as sides of the comparison: asynchronous, as everlog is, and blocking, beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from benchmarks import workload
from benchmarks.floor.async_floor import AsyncFloor
from benchmarks.floor.sqlite_floor import Appending, Row, SqliteFloor
from benchmarks.side import CannotDo, Seen
from benchmarks.sqlite_view import BATCH, View


class Noted(msgspec.Struct):
    """The event of the workload."""

    active: bool
    number: int
    owner: str
    text: str


class Said(msgspec.Struct):
    """What is said about an event."""

    auditor: str
    reason: str


EVENTS = [Noted(**workload.fields(index)) for index in workload.INDICES]
SAID = Said(**workload.META)
ENCODE = msgspec.json.Encoder().encode
VALIDATE = msgspec.json.Decoder(Said).decode
DECODERS: dict[str, Callable[[str | bytes], Any]] = {
    workload.TYPE: msgspec.json.Decoder(Noted).decode
}
"""By type, as a log holds more than one."""


def total(state: int, row: Row, event: Any) -> int:
    """Looks at every event, as a real reducer does."""
    return state + event.number if isinstance(event, Noted) else state


def appending(stream: str, indices: Sequence[int]) -> Appending:
    """Returns what is to be appended; what is said of it is encoded and validated for each call."""
    return Appending(stream, [EVENTS[index] for index in indices], encode_meta())


def encode_meta() -> bytes:
    """Returns what is said about events, validated as everlog does it: for each call."""
    meta = ENCODE(SAID)
    VALIDATE(meta)
    return meta


class AsyncSide:
    """`floor`: a thread that writes, a thread that reads, group commit."""

    async def open(self, address: str) -> None:
        self._floor = AsyncFloor(address, type=workload.TYPE, decode=DECODERS[workload.TYPE])

    async def close(self) -> None:
        self._floor.close()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        await self._floor.append(appending(stream, indices))

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        async def worker(number: int) -> None:
            for index in range(each):
                await self.append(f"{name}-{number}", (index,))

        await asyncio.gather(*map(worker, range(tasks)))

    async def read_stream(self, stream: str) -> Seen:
        count = numbers = 0
        for _, event in await self._floor.read(lambda floor: floor.stream(stream)):
            count += 1
            numbers += event.number
        return Seen(count, numbers)

    async def read_all(self) -> Seen:
        count = numbers = after = 0

        def following(floor: SqliteFloor) -> list[tuple[Row, Any]]:
            return floor.page(after)

        while page := await self._floor.read(following):
            for row, event in page:
                count += 1
                numbers += event.number
                after = row[0]
        return Seen(count, numbers)

    async def fold(self, stream: str) -> int:
        return await self._floor.read(lambda floor: floor.fold(stream, "total", 0, total))

    async def snapshot(self, stream: str) -> None:
        await self._floor.write(lambda floor: floor.snapshot(stream, "total", 0, total))

    async def project(self, view: str, events: int) -> str:
        opened = View(view)
        try:
            while await self._floor.read(lambda floor: project_page(floor, opened, events)):
                pass
        finally:
            opened.close()
        return view

    async def changes(self, after: int) -> list[tuple[int, int]]:
        page = await self._floor.read(lambda floor: floor.changes(after))
        return [(row[0], event.number) for row, event in page]

    async def take_in(self, source: str) -> int:
        taken = after = 0
        from_there = AsyncFloor(source, type=workload.TYPE, decode=DECODERS[workload.TYPE])

        def following(floor: SqliteFloor) -> list[Row]:
            return floor.rows(after)

        try:
            while rows := await from_there.read(following):
                after = rows[-1][0]
                taken += await self._floor.write(partial(SqliteFloor.take_in, rows=rows))
        finally:
            from_there.close()
        return taken

    async def verify(self) -> int:
        return await self._floor.read(lambda floor: floor.verify())

    async def backup(self, address: str) -> None:
        await self._floor.read(lambda floor: floor.backup(address))


class BlockingSide:
    """`floor-blocking`: the same, called directly, by a program that may block."""

    async def open(self, address: str) -> None:
        self._floor = SqliteFloor(address, type=workload.TYPE, decode=DECODERS[workload.TYPE])

    async def close(self) -> None:
        self._floor.close()

    async def append(self, stream: str, indices: Sequence[int]) -> None:
        self._floor.append(appending(stream, indices))

    async def append_together(self, tasks: int, each: int, name: str = "task") -> None:
        raise CannotDo  # one thread has nobody to commit together with

    async def read_stream(self, stream: str) -> Seen:
        found = self._floor.stream(stream)
        return Seen(len(found), sum(event.number for _, event in found))

    async def read_all(self) -> Seen:
        count = numbers = after = 0
        while page := self._floor.page(after):
            for row, event in page:
                count += 1
                numbers += event.number
                after = row[0]
        return Seen(count, numbers)

    async def fold(self, stream: str) -> int:
        return self._floor.fold(stream, "total", 0, total)

    async def snapshot(self, stream: str) -> None:
        self._floor.snapshot(stream, "total", 0, total)

    async def project(self, view: str, events: int) -> str:
        opened = View(view)
        try:
            while project_page(self._floor, opened, events):
                pass
        finally:
            opened.close()
        return view

    async def changes(self, after: int) -> list[tuple[int, int]]:
        return [(row[0], event.number) for row, event in self._floor.changes(after)]

    async def take_in(self, source: str) -> int:
        taken = after = 0
        from_there = SqliteFloor(source, type=workload.TYPE, decode=DECODERS[workload.TYPE])
        try:
            while rows := from_there.rows(after):
                after = rows[-1][0]
                taken += self._floor.take_in(rows)
        finally:
            from_there.close()
        return taken

    async def verify(self) -> int:
        return self._floor.verify()

    async def backup(self, address: str) -> None:
        self._floor.backup(address)


def project_page(floor: SqliteFloor, view: View, events: int) -> bool:
    """Handles the next records of the log; returns whether there may be more."""
    after = view.checkpoint()
    page = floor.page(after, min(BATCH, events - after))
    if page:
        view.take((row[0], event.owner, event.number) for row, event in page)
    return bool(page)
