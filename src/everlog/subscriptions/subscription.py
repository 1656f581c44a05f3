"""Subscriptions: named, durable runs of handlers over a ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Self

from everlog.errors import InvalidInput, MisusedStore, NotFound, StorageError, StoreClosed
from everlog.ports.checkpoints import Checkpoints
from everlog.ports.ledger import Ledger
from everlog.subscriptions.calling import is_called_here
from everlog.subscriptions.worker import Worker

POLL_S = 0.1
"""How often it is looked how far other workers have got, in seconds, while somebody waits."""

PATIENCE_S = 5.0
"""So long a handler that was cancelled is waited for, in seconds."""

_runs_for: ContextVar[object] = ContextVar("everlog_runs_for", default=None)
"""The subscription for which something runs: its worker, and what that calls."""

Start = Callable[[], Awaitable[tuple[Worker, Checkpoints]]]
"""Registers a subscription, and makes a worker of it."""


class Subscription:
    """A worker of a durable subscription: `async with store.subscription(...)` starts and stops it.

    In every process, and as often as you like: one of the workers of a name works, or several share
    its slices, and another goes on where one dies. What its handlers write by `tx` stands exactly
    once.

    >>> async with store.subscription("emails", projector) as subscription:
    ...     await subscription.caught_up()
    """

    def __init__(self, name: str, ledger: Ledger, start: Start) -> None:
        """Use `store.subscription`."""
        self._name = name
        self._ledger = ledger
        self._start = start
        self._used = False
        self._worker: Worker | None = None
        self._checkpoints: Checkpoints | None = None
        self._task: asyncio.Task[None] | None = None
        self._told = False
        """Whether somebody was told why it has ended."""

    @property
    def name(self) -> str:
        """The name under which its checkpoints are kept.

        >>> store.subscription("emails", projector).name
        'emails'
        """
        return self._name

    @property
    def is_running(self) -> bool:
        """Whether this worker works, or waits for its turn.

        >>> async with store.subscription("emails", projector) as subscription:
        ...     subscription.is_running
        True
        >>> subscription.is_running
        False
        """
        return self._task is not None and not self._task.done()

    async def position(self) -> int:
        """Returns up to where everything has been dealt with, by whichever worker.

        Raises `NotFound` if it was removed meanwhile.

        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.caught_up()
        ...     await subscription.position()
        2
        """
        self._check_started()
        assert self._worker is not None
        assert self._checkpoints is not None
        statuses = await self._checkpoints.statuses()
        positions = [each.position for each in statuses if each.name == self._name]
        if not positions:
            raise NotFound(f"there is no subscription {self._name!r} any more")
        return max(min(positions), self._worker.dealt_with or 0)

    async def caught_up(
        self, position: int | None = None, *, timeout_s: float | None = 30.0
    ) -> None:
        """Returns when everything up to a position has been dealt with, by whichever worker.

        For reading your own writes: `await subscription.caught_up(record.position)`. Without a
        position it is the head of the log as it is now. A record that was parked or skipped has
        been dealt with. The effects of `once` handlers run beside it and are not waited for.

        Raises `TimeoutError` after `timeout_s` seconds (None: never), and what this worker has
        stopped of.

        >>> async with store.subscription("emails", projector) as subscription:
        ...     [record] = await store.append("user-1", EmailSet("jane@acme.com"))
        ...     await subscription.caught_up(record.position)
        """
        self._check_outside()
        if position is None:
            position = (await self._ledger.head()).position
        elif isinstance(position, bool) or not isinstance(position, int) or position < 0:  # type: ignore[redundant-expr]  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"position={position!r} must be a whole number from 0")
        async with asyncio.timeout(timeout_s):
            assert self._worker is not None
            while True:
                news = self._worker.news  # before the look, during which there may be more
                if await self._has_caught_up(position):
                    return
                await self._worker.progress(news, POLL_S)

    async def wait(self) -> None:
        """Returns when this worker has been stopped; raises what it has stopped of, if it failed.

        Cancelling the wait does not stop the worker.

        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.stop()  # as somebody else does
        ...     await subscription.wait()
        """
        self._check_outside()
        assert self._task is not None
        await asyncio.wait([self._task])
        self._tell()

    async def stop(self) -> None:
        """Stops this worker after the record at hand; what has been dealt with is committed.

        Cancelled, it cancels the handler at hand, of which nothing stands then. Inside of a handler
        of its own it returns at once.

        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.stop()
        ...     subscription.is_running
        False
        """
        if self._worker is not None and self._task is not None:
            self._worker.stop()
            if self._is_inside:
                return
            try:
                await asyncio.wait([self._task])
            except asyncio.CancelledError:
                self._task.cancel()
                await asyncio.wait([self._task], timeout=PATIENCE_S)
                raise

    async def __aenter__(self) -> Self:
        if self._used:
            raise InvalidInput("a subscription is started once; make another: store.subscription()")
        self._used = True
        self._worker, self._checkpoints = await self._start()
        # In nobody's context: its handlers are nobody's request.
        context = Context()
        context.run(_runs_for.set, self)
        self._task = asyncio.get_running_loop().create_task(
            self._worker.run(), name=f"everlog {self._name}", context=context
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        if error is None and not self._told:
            self._tell()

    async def _has_caught_up(self, position: int) -> bool:
        assert self._worker is not None
        assert self._checkpoints is not None
        if not self.is_running:
            self._tell()
        dealt_with = self._worker.dealt_with
        if dealt_with is not None:
            return dealt_with >= position
        try:
            statuses = await self._checkpoints.statuses()
        except StorageError:  # it is tried again, as the worker does
            return False
        positions = [each.position for each in statuses if each.name == self._name]
        return min(positions, default=-1) >= position  # none: it was removed

    def _tell(self) -> None:
        """Raises what the worker has stopped of, to all who ask."""
        task = self._task
        if task is None or not task.done() or task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, StoreClosed):
            self._told = True
            raise error

    @property
    def _is_inside(self) -> bool:
        """Whether a handler of its own asks."""
        # An effect is called in a task of its own.
        is_effect = is_called_here() and _runs_for.get() is self
        return is_effect or self._task is asyncio.current_task()

    def _check_outside(self) -> None:
        if self._is_inside:
            raise MisusedStore(
                f"a handler of subscription {self._name!r} would wait for itself here; start a "
                "task for it"
            )
        self._check_started()

    def _check_started(self) -> None:
        if self._task is None:
            raise InvalidInput(
                "the subscription was not started: async with store.subscription(...) starts it"
            )
