"""Live: one look at the log and one read of each piece, for all who follow it.

Whoever waits for news waits for the same task; whoever is at the same place of the same scope is
given the same bytes. So the database is asked as often for one edge as for hundreds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import Context

from everlog.core.taking import Mark
from everlog.ports.ledger import Ledger
from everlog.wire.messages import Asked, Forked, Pulled, Scope
from everlog.wire.pieces import piece_events

LOOK_S = 15.0
"""So long a look for news takes if there are none, in seconds."""
KEPT_S = 2.0
"""So long a piece is kept for those who come to the same place, in seconds."""
KEPT_BYTES = 32 * 1024 * 1024
"""And so many bytes of them."""


class News:
    """Waits for the log to grow, for all who wait."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._head = -1
        """The last that was seen."""
        self._waiting: dict[asyncio.Future[None], int] = {}
        """Who waits, and for a head past which position."""
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Future[int] | None = None
        self._stopped = asyncio.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether the server is about to stop."""
        return self._stopped.is_set()

    @property
    def waited_for(self) -> Sequence[int]:
        """Past which positions those who wait want the head to be."""
        return list(self._waiting.values())

    async def past(self, position: int, *, timeout_s: float) -> int:
        """Returns the head's position once it is past `position`, after the time, or at the stop.

        Raises what the ledger raises.
        """
        if self._head < 0:
            await self._look_first()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while self._head <= position and not self.is_stopped:
            left_s = until_s - loop.time()
            if left_s <= 0:
                break
            future: asyncio.Future[None] = loop.create_future()
            self._waiting[future] = position
            if self._task is None or self._task.done():
                self._task = loop.create_task(self._look(), context=Context())
            try:
                async with asyncio.timeout(left_s):
                    await future
            except TimeoutError:
                break
            finally:
                del self._waiting[future]
        return self._head

    def stop(self) -> None:
        """Lets all go who wait, now and from now on."""
        self._stopped.set()
        self._wake(None)

    async def close(self) -> None:
        """Ends the task."""
        self.stop()
        for task in (self._task, self._first):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        self._task = self._first = None

    async def _look_first(self) -> None:
        """Learns where the log ends: once, for all who come at the same time."""
        if self._first is None or self._first.done():
            look = self._ledger.wait(-1, timeout_s=0)
            self._first = asyncio.ensure_future(look)
        head = await asyncio.shield(self._first)
        self._head = max(self._head, head)

    async def _look(self) -> None:
        while self._waiting:
            try:
                self._head = await self._ledger.wait(self._head, timeout_s=LOOK_S)
            except Exception as error:
                self._wake(error)
                return
            except BaseException:
                self._wake(None)
                raise
            self._wake(None)
            await asyncio.sleep(0)  # those who wait go on, and wait again or not

    def _wake(self, error: Exception | None) -> None:
        for future in self._waiting:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)


class Piece:
    """A piece of history, and what it is as server-sent events, made once."""

    __slots__ = ("_events", "_hub", "pulled")

    def __init__(self, pulled: Pulled, hub: str) -> None:
        self.pulled = pulled
        self._hub = hub
        self._events: bytes | None = None

    @property
    def events(self) -> bytes:
        """The piece as server-sent events."""
        if self._events is None:
            self._events = piece_events(self.pulled, self._hub)
        return self._events

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        records = self.pulled.records
        content = sum(len(record.data) + len(record.meta) + 1_000 for record in records)
        return 2 * content + 1_000


Pull = Callable[..., Awaitable[Pulled | Forked]]


class Pieces:
    """Reads each piece of history once for all who want it at about the same time."""

    def __init__(self, pull: Pull, hub: str, *, now_s: Callable[[], float]) -> None:
        """`pull`: that of a hub; `now_s`: a clock that never goes back, in seconds."""
        self._pull = pull
        self._hub = hub
        self._now_s = now_s
        self._reading: dict[_Key, asyncio.Task[Piece | Forked]] = {}
        self._kept: OrderedDict[_Key, tuple[float, Piece]] = OrderedDict()
        self._bytes = 0
        self.reads = 0
        """How often the hub was asked."""

    async def pull(self, asked: Asked, *, size: int, is_told: bool = False) -> Piece | Forked:
        """Returns the next piece, as the hub's `pull`; raises what that raises.

        `is_told`: of what comes behind it, too, so that it may be a moment old. To others, that
        there is no more is said only of what was read when they had asked.
        """
        key: _Key = (asked.cursor, asked.scope, size)
        kept = self._kept.get(key)
        if (
            kept is not None
            and self._now_s() - kept[0] < KEPT_S
            and (is_told or not kept[1].pulled.up_to_date)
        ):
            return kept[1]
        if not is_told:
            return await self._read(key, asked)
        task = self._reading.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._read(key, asked), context=Context())
            self._reading[key] = task
            task.add_done_callback(lambda _: self._reading.pop(key, None))
        # One who goes does not take it from the others.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends what is being read."""
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            with suppress(asyncio.CancelledError):
                task.exception()
        self._kept.clear()

    async def _read(self, key: _Key, asked: Asked) -> Piece | Forked:
        self.reads += 1
        pulled = await self._pull(asked, size=key[2])
        if isinstance(pulled, Forked):
            return pulled
        piece = Piece(pulled, self._hub)
        # That there is nothing is true for a moment only, and so is who is in a relation.
        if pulled.records and asked.scope.relation is None:
            self._keep(key, piece)
        return piece

    def _keep(self, key: _Key, piece: Piece) -> None:
        now_s = self._now_s()
        self._drop(key)
        self._kept[key] = now_s, piece
        self._bytes += piece.size
        while self._kept:
            oldest = next(iter(self._kept))
            if self._bytes <= KEPT_BYTES and now_s - self._kept[oldest][0] < KEPT_S:
                break
            self._drop(oldest)

    def _drop(self, key: _Key) -> None:
        _, piece = self._kept.pop(key, (0.0, None))
        if piece is not None:
            self._bytes -= piece.size


_Key = tuple[Mark, Scope, int]
