"""Syncing: a ledger that is kept in step with a hub, for as long as that takes."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from everlog.core.taking import Held, Release
from everlog.errors import (
    EverlogError,
    ForkedConnection,
    InvalidInput,
    LedgerBusy,
    MisusedStore,
    OutcomeUnknown,
    StorageError,
    StoreClosed,
    TooBusy,
    TransportFailed,
    WrongEventLoop,
)
from everlog.ports.ledger import Ledger
from everlog.sync.edge import Edge, Round
from everlog.sync.forwarding import Forwarding, Line
from everlog.sync.leasing import Lease
from everlog.sync.patience import rest_s
from everlog.sync.requests import Keep
from everlog.wire.transport import Closable, Transport

IDLE_S = 5.0
"""How long a wait for news lasts, in seconds, before there is a look at everything else."""
FIRST_PAUSE_S = 0.05
"""Before the first attempt to go on after a failure, in seconds, at most; then twice as long."""
LONGEST_PAUSE_S = 30.0
"""Between two attempts, at most."""
STOP_S = 10.0
"""So long a stop waits for the message at hand, in seconds, before it cuts it short."""
IN_VAIN = 3
"""After so many waits in a row that ended for nothing there is a pause before the next."""

_NEVER = (StoreClosed, ForkedConnection, WrongEventLoop)
"""After which this can never go on."""

_log = logging.getLogger("everlog")


class Handlers:
    """Those of the hooks that wait for the sync: it does not wait for them then, nor for others."""

    def __init__(self, inside: Callable[[], bool]) -> None:
        """`inside`: whether a hook or handler is running here."""
        self._inside = inside
        self.wait_here = asyncio.Event()
        """Set while one of them does."""
        self._count = 0

    @contextmanager
    def none_waited_for(self) -> Generator[None]:
        """While a hook or handler waits inside of it, nobody waits for hooks."""
        if not self._inside():
            yield
            return
        self._count += 1
        self.wait_here.set()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self.wait_here.clear()


@dataclass(frozen=True, slots=True)
class SyncStatus:
    """How a ledger stands to its hub.

    >>> async with EventStore.open("memory:") as hub, store.sync(hub) as sync:
    ...     await sync.in_step()
    ...     status = await sync.status()
    >>> status.in_step, status.position, status.held, status.error
    (True, 2, (), '')
    """

    hub: str | None
    """The hub's ledger id; None until it was first reached."""
    epoch: str | None
    """That of its history."""
    in_step: bool
    """Whether the last round has left nothing to be done."""
    position: int
    """Every record of the hub up to there is here."""
    head: int | None
    """At least up to there goes the hub's history, as it has said last; None until it was reached
    from here. What is between `position` and there is still to come."""
    held: Sequence[Held]
    """Records that the hub did not take, or that cannot be taken in; later ones of their streams
    wait."""
    error: str
    """Why it does not go on; empty while it does."""
    tries: int
    """How often in a row it has failed."""
    reached_s: float | None
    """So many seconds ago a round has ended well; None for never."""
    works: bool
    """Whether it goes on by itself here; False if another process of this ledger does, and here
    only what is asked for by `in_step` is done."""


class Sync:
    """A ledger that is kept in step with a hub: `async with store.sync(hub)` starts and stops it.

    What was written in either is in both, whatever was lost on the way, and however long one of
    them was away. Nothing is lost by stopping at any time.

    >>> async with EventStore.open("memory:") as hub:
    ...     async with store.sync(hub) as sync:
    ...         await sync.in_step()
    ...     [record.id async for record in hub.read()] == [
    ...         record.id async for record in store.read()
    ...     ]
    True
    """

    def __init__(
        self,
        ledger: Ledger,
        edge: Edge,
        keep: Keep,
        hub: Transport,
        forwarding: Forwarding,
        lease: Lease,
        handlers: Handlers,
    ) -> None:
        """Use `store.sync`."""
        self._lease = lease
        self._handlers = handlers
        self._forwarding = forwarding
        self._line = Line(hub, self.in_step, edge.scope)
        self._on_line: str | None = None
        """The hub to which appends can be forwarded now."""
        self._ledger = ledger
        self._edge = edge
        self._keep = keep
        self._hub = hub
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._works = False
        self._kicked = asyncio.Event()
        self._ended: asyncio.Future[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._in_vain = 0
        """How many waits in a row have ended though there was nothing new."""
        self._begun = 0
        """How many rounds have begun."""
        self._wanted = 0
        """Somebody waits for a round with this number, or a later one, to end in step."""
        self._in_step_since = 0
        """The last round that ended in step; 0 for none."""
        self._last_in_step = False
        self._error: Exception | None = None
        self._tries = 0
        self._reached: float | None = None

    async def once(self) -> Round:
        """Brings both into step, once; returns what came of it in all.

        For a program that synchronises now and then, without `async with`. Raises `SyncError` where
        the hub cannot be worked with, such as `TransportFailed` where it is not reached, and what
        the ledger raises; then what was done until then stands, and the next call goes on.

        >>> async with EventStore.open("memory:") as hub:
        ...     await store.sync(hub).once()
        Round(pulled=2, new=0, pushed=2, held=0, forks=0, restamped=0, in_step=True, purged=0)
        """
        if self.is_running:
            raise MisusedStore("this sync is running by itself; wait for `in_step()`")
        total = Round(0, 0, 0, 0, 0, 0, in_step=False)
        was_idle = False
        try:
            while True:
                one = await self._round(ask=True)
                total = total.with_next(one)
                # A round that finds out at its end that there is more leaves that to the next.
                if one.in_step or (one.idle and was_idle):
                    return total
                was_idle = one.idle
        finally:
            await self._close()

    @property
    def is_running(self) -> bool:
        """Whether it goes on by itself.

        >>> async with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     sync.is_running
        True
        """
        return self._task is not None and not self._task.done()

    async def in_step(self, *, timeout_s: float | None = 30.0) -> None:
        """Returns when all that was in both ledgers when it was called is in both.

        But for what is held: see `status`. Raises `TimeoutError` after `timeout_s` seconds (None:
        never), and what it has stopped of.

        >>> async with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     [record] = await store.append("user-1", EmailSet("jane@acme.com"))
        ...     await sync.in_step()
        ...     await hub.find(record.id) is not None
        True
        """
        if self._task is None:
            raise MisusedStore(
                "this sync was not started: write `async with store.sync(...) as sync:`, or call "
                "`once()`"
            )
        self._wanted = wanted = self._begun + 1
        self._kicked.set()
        with self._handlers.none_waited_for():
            await self._step(wanted, timeout_s)

    async def _step(self, wanted: int, timeout_s: float | None) -> None:
        assert self._task is not None
        async with asyncio.timeout(timeout_s):
            while self._in_step_since < wanted:
                if self._task.done():
                    self._task.result()  # raises what it has stopped of
                    raise MisusedStore("this sync was stopped")
                if self._ended is None:
                    self._ended = asyncio.get_running_loop().create_future()
                ended = self._ended
                await asyncio.wait([ended, self._task], return_when=asyncio.FIRST_COMPLETED)

    async def status(self) -> SyncStatus:
        """Returns how the ledger stands to the hub, as far as is known here.

        >>> async with EventStore.open("memory:") as hub:
        ...     (await store.sync(hub).status()).reached_s is None
        True
        """
        hub = self._edge.hub
        state = None if hub is None else await self._ledger.upstreams.state(hub)
        position = 0 if state is None else state.cursor.position
        head = self._edge.head
        return SyncStatus(
            hub=hub,
            epoch=None if state is None else state.epoch,
            in_step=self._last_in_step,
            position=position,
            head=None if head is None else max(head, position),
            held=() if hub is None else tuple(await self._ledger.upstreams.held(hub)),
            error="" if self._error is None else f"{type(self._error).__name__}: {self._error}",
            tries=self._tries,
            reached_s=None if self._reached is None else time.monotonic() - self._reached,
            works=self._works and self.is_running,
        )

    async def release(self, *ids: str) -> int:
        """Offers records again that are held, all without `ids`; returns how many.

        For when what was wrong with them has been put right at the hub. What it still does not take
        is held again.

        >>> async with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     await sync.in_step()
        ...     await sync.release()
        0
        """
        hub = self._edge.hub
        if hub is None:
            raise InvalidInput("the hub was not reached yet, so nothing is held")
        released = await self._keep(Release(hub, ids or None))
        self._kicked.set()
        return released

    async def stop(self) -> None:
        """Stops it after the message at hand, or cuts that short after 10 s without its answer.

        Nothing is lost: it goes on from there next time.

        >>> async with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     await sync.stop()
        ...     sync.is_running
        False
        """
        self._stopping.set()
        if self._task is None:
            return
        with self._handlers.none_waited_for():
            try:
                _, late = await asyncio.wait([self._task], timeout=STOP_S)
                if late:
                    self._task.cancel()
                    await asyncio.wait([self._task])
            except asyncio.CancelledError:
                self._task.cancel()
                await asyncio.wait([self._task])
                raise

    async def wait(self) -> None:
        """Returns when it was stopped; raises what it has stopped of, if it failed for good.

        >>> async with EventStore.open("memory:") as hub, store.sync(hub) as sync:
        ...     await sync.stop()  # as somebody else does
        ...     await sync.wait()
        """
        if self._task is None:
            raise MisusedStore("this sync was not started: write `async with store.sync(...)`")
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise MisusedStore("this sync was started before; make another: store.sync(...)")
        # In nobody's context: it is not what the caller does.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=Context())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        if error is None:
            await self.wait()

    # --- going on ---

    async def _run(self) -> None:
        try:
            await self._go_on()
        except Exception as error:
            self._error, self._last_in_step = error, False
            _log.error("sync with hub %s has stopped: %s", self._edge.hub, error)
            raise
        finally:
            self._hang_up()
            await self._lease.release()
            await self._close()

    async def _go_on(self) -> None:
        woken = False
        while not self._stopping.is_set():
            asked = self._kicked.is_set()
            self._kicked.clear()
            try:
                if not await self._is_mine() and not asked:
                    await self._close()
                    await self._first_of(
                        [self._kicked.wait(), self._stopping.wait()], timeout_s=self._lease.due_s
                    )
                    continue
                one = await self._round(is_stopped=self._stopping.is_set)
            except _NEVER:
                raise
            except EverlogError as error:
                await self._pause(error)
                continue
            if one.in_step:
                self._in_vain = self._in_vain + 1 if one.idle and woken else 0
                if self._in_vain > IN_VAIN:
                    await self._pause(None)
                woken = await self._news()
            elif one.idle:
                await self._pause(None)

    async def _round(
        self, *, ask: bool = False, is_stopped: Callable[[], bool] | None = None
    ) -> Round:
        async with self._one_at_a_time:
            return await self._one_round(ask, is_stopped)

    async def _one_round(self, ask: bool, is_stopped: Callable[[], bool] | None) -> Round:
        self._begun += 1
        number = self._begun
        # What a hub tells by itself may be a moment old: not good enough for who waits to be told.
        ask = ask or self._wanted > self._in_step_since
        try:
            one = await self._edge.round(ask=ask, is_stopped=is_stopped)
        except EverlogError as error:
            self._hang_up()
            self._last_in_step = False
            self._error = error
            self._tries += 1
            self._edge.forget()
            raise
        self._error = None
        self._tries = 0
        welcome = self._edge.welcome
        if welcome is not None:
            self._forwarding.learn(welcome.ledger, welcome.strict)
            if self.is_running and self._on_line is None:
                self._on_line = welcome.ledger
                self._forwarding.connect(welcome.ledger, self._line)
        self._reached = time.monotonic()
        self._last_in_step = one.in_step
        if one.in_step:
            self._in_step_since = number
            if self._ended is not None:
                self._ended.set_result(None)
                self._ended = None
        return one

    async def _close(self) -> None:
        if isinstance(self._hub, Closable):
            await self._hub.close()

    async def _is_mine(self) -> bool:
        """Whether it goes on here, and not in another process of this ledger."""
        hub = self._edge.hub  # the first round finds out
        self._works = hub is None or await self._lease.hold(hub)
        return self._works

    def _hang_up(self) -> None:
        if self._on_line is not None:
            self._forwarding.disconnect(self._on_line, self._line)
            self._on_line = None

    async def _pause(self, error: EverlogError | None) -> None:
        most_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._tries + self._in_vain, 20))
        # Full jitter: edges that have lost their hub at the same time do not come back at once.
        pause_s = random.uniform(0, most_s) + rest_s(error)  # noqa: S311
        if error is not None:
            level = logging.INFO if isinstance(error, _PASSING) else logging.WARNING
            _log.log(level, "sync with hub %s: %s; try %d", self._edge.hub, error, self._tries)
        await self._first_of([self._kicked.wait(), self._stopping.wait()], timeout_s=pause_s)

    async def _news(self) -> bool:
        """Returns when either of the two has something new, or after a while.

        And whether one of them says so.
        """
        waits = [
            self._hub.wait(self._edge.position, timeout_s=IDLE_S),
            self._ledger.wait(self._edge.looked_until, timeout_s=IDLE_S),
            self._kicked.wait(),
            self._stopping.wait(),
        ]
        begun = time.monotonic()
        await self._first_of(waits, timeout_s=IDLE_S)
        asked = self._kicked.is_set() or self._stopping.is_set()
        return not asked and time.monotonic() - begun < IDLE_S / 2

    async def _first_of(self, waits: Sequence[Any], *, timeout_s: float) -> None:
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, _NEVER):
                    raise result


_PASSING = (TransportFailed, TooBusy, LedgerBusy, OutcomeUnknown, StorageError)
"""What passes by itself, as a rule."""
