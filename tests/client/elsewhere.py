"""Hubs in a thread of their own, for tests whose own loop ends, blocks or is another each time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from everlog import EventStore
from everlog.connect import connect
from everlog.ports.seams import Seams
from tests.client.hubs import serving

T = TypeVar("T")

PATIENCE_S = 60.0


class Hubs:
    """Hubs by a place, in memory; all end together."""

    def __init__(self) -> None:
        self._urls: dict[Path, str] = {}
        self._running: Future[asyncio.AbstractEventLoop] = Future()
        self._stop = asyncio.Event()
        self._stack = AsyncExitStack()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        self._loop = self._running.result(PATIENCE_S)

    def url(self, place: Path, seams: Seams, **options: Any) -> str:
        """Returns where the hub of a place is; it is started when it is first asked for."""
        if place not in self._urls:
            self._urls[place] = self.call(lambda: self._start(seams, options))
        return self._urls[place]

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs work in the loop of the hubs, and returns its result."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(PATIENCE_S)

    def close(self) -> None:
        """Ends them all."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the thread of the hubs does not end"

    async def _start(self, seams: Seams, options: dict[str, Any]) -> str:
        ledger = await connect("memory:", seams=seams, options={})
        store = await self._stack.enter_async_context(EventStore(ledger, seams=seams))
        return (await self._stack.enter_async_context(serving(store, **options))).url

    async def _run(self) -> None:
        self._running.set_result(asyncio.get_running_loop())
        async with self._stack:
            await self._stop.wait()
