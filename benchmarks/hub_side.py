"""The hub and the edges of the question `http`: everlog alone can answer it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, cast

from benchmarks import workload
from benchmarks.everlog_sides import NotedStruct, StructMeta, place_of
from everlog import EventStore
from everlog.client.address import address_of
from everlog.client.http import Http
from everlog.client.listening import Listener
from everlog.core.chain import GENESIS
from everlog.core.taking import Mark
from everlog.ports.ledger import Ledger
from everlog.server import Limits, serve
from everlog.wire.cursors import write_cursor

PLENTY = 1e6
LIMITS = Limits(requests_per_s=PLENTY, address_requests_per_s=PLENTY, streams_per_token=500)
CALLS = ("commit", "read", "fold_from", "find", "overtaken", "streams_of", "relations_of", "head")
CALLS_OF_UPSTREAMS = ("states", "state", "unconfirmed", "held", "chains", "revision", "version")


class Counted:
    """A ledger whose calls are counted, but for those that wait for news."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ledger, name)
        if name == "upstreams":
            return _CountedUpstreams(found, self)
        return self.counting(found) if name in CALLS else found

    def counting(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Returns the call, counted."""

        def counted(*arguments: Any, **options: Any) -> Awaitable[Any]:
            self.calls += 1
            return call(*arguments, **options)

        return counted


class _CountedUpstreams:
    def __init__(self, upstreams: Any, counted: Counted) -> None:
        self._upstreams = upstreams
        self._counted = counted

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._upstreams, name)
        return self._counted.counting(found) if name in CALLS_OF_UPSTREAMS else found


async def opened(address: str) -> tuple[EventStore, Counted]:
    """Opens a store whose ledger counts what it is asked."""
    store = await EventStore.open(place_of(address), events=[NotedStruct])
    counted = Counted(store.ledger)
    return EventStore(cast("Ledger", counted), events=[NotedStruct]), counted


async def be_a_hub(address: str) -> None:
    """Offers a log; each line that it is told is done: `one N`, `many N TASKS`, `calls`."""
    store, counted = await opened(address)
    async with store, serve(store, port=0, limits=LIMITS) as server:
        print(server.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, *numbers = line.split()
            if what == "calls":
                print(counted.calls, flush=True)
                continue
            began = time.monotonic_ns()
            if what == "one":
                await append(store, int(numbers[0]))
            else:
                count, tasks = map(int, numbers)
                await asyncio.gather(
                    *(_in_turn(store, range(task, count, tasks)) for task in range(tasks))
                )
            print(began, flush=True)


async def _in_turn(store: EventStore, numbers: range) -> None:
    for number in numbers:
        await append(store, number)


async def append(store: EventStore, number: int) -> None:
    """Appends one event of the workload."""
    event = NotedStruct(**workload.fields(number % workload.COUNT))
    await store.append(f"live-{number % 7}", event, meta=StructMeta(**workload.META))


async def listen(url: str, count: int) -> None:
    """Follows a hub as so many edges do; says when the last of them was told of each position."""
    async with AsyncExitStack() as stack:
        async with EventStore.open(url) as far:
            info = await far.info()
        start = Mark(info.position, bytes.fromhex(info.chain) if info.position else GENESIS)
        told: dict[int, list[int]] = {}
        for _ in range(count):
            http = Http(address_of(url, token=None))
            stack.push_async_callback(http.close)
            query = [("cursor", write_cursor(start, info.ledger))]
            listener = Listener(http, "/v1/pull", query=query, headers={}, start=start)
            stack.push_async_callback(listener.close)
            stack.enter_context(_Following(listener, start, told, count))
        print("listening", flush=True)
        await asyncio.to_thread(sys.stdin.read)


class _Following:
    """One who is told; the last of all says so."""

    def __init__(
        self, listener: Listener, start: Mark, told: dict[int, list[int]], count: int
    ) -> None:
        self._listener = listener
        self._at = start
        self._told = told
        self._count = count

    def __enter__(self) -> None:
        self._task = asyncio.create_task(self._run())

    def __exit__(self, *_: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while not self._listener.has_ended:
            head = await self._listener.wait(self._at.position, timeout_s=600)
            now = time.monotonic_ns()
            while (piece := self._listener.next_behind(self._at)) and piece.records:
                self._at = piece.end
            all_told = self._told.setdefault(head, [])
            all_told.append(now)
            if len(all_told) == self._count:
                print(head, *all_told, flush=True)
