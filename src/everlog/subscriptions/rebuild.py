"""Rebuilds: a new version of a projection catches up beside the live one, and takes its place."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

from everlog.errors import InvalidInput, LeaseLost, NotFound, OtherVersion, StorageError
from everlog.ports.checkpoints import Checkpoints, Held, Tx
from everlog.ports.effects import Effect
from everlog.ports.ledger import Ledger
from everlog.subscriptions.calling import call, is_async
from everlog.subscriptions.from_thread import FromThread
from everlog.subscriptions.subscription import Subscription

Swap: TypeAlias = Callable[[Tx], Coroutine[Any, Any, None]] | Callable[[FromThread], None]
"""Has readers find the new tables: renames them, or sets what says which are read. A `def` runs in
a thread, and has the transaction without `await`."""

OwedBetween: TypeAlias = Callable[[Sequence[Held], Sequence[Held]], Awaitable["Owed"]]
"""Returns the effects of records that the live version has not passed, and the rebuild has."""

ATTEMPTS = 5
"""So often a swap is tried that another worker, or the database, came between."""
LOOK_S = 1.0
"""So often, in seconds, it is looked whether another process has swapped it."""
RATE_S = 30.0
"""Over so many seconds the speed of a rebuild is measured."""


class Owed(NamedTuple):
    """What the live name owes from a swap on."""

    effects: Sequence[Effect] = ()
    handlers: Sequence[str] = ()
    """All `once` handlers; those that are new begin with the swap, behind this position."""
    position: int = 0


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """How far a rebuild has got.

    >>> async def swap(tx: Tx) -> None: ...
    >>> async with store.subscription("emails", projector) as subscription:
    ...     await subscription.caught_up()
    >>> async with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
    ...     await rebuild.caught_up()
    ...     progress = await rebuild.progress()
    >>> progress.position, progress.head, progress.fraction, progress.left_s
    (2, 2, 1.0, 0.0)
    """

    position: int
    """Everything up to here has been dealt with."""
    head: int
    """The position of the last record of the log, as it is now."""
    fraction: float
    """From 0.0 to 1.0; falls where the log grows faster."""
    records_s: float
    """So many positions of the log it has passed in a second, of late; 0.0 if that is not known."""
    left_s: float | None
    """In so many seconds it is caught up, at that speed; None if that cannot be told."""


class Rebuild:
    """A new version of a projection, on its way to be the live one.

    Made by `store.rebuild`: `async with store.rebuild(...) as rebuild:` starts and stops it.

    It has a checkpoint of its own, `emails@2`, so one that was stopped or killed goes on where it
    was. Several processes may run it: one works, and another goes on where it dies.

    >>> async def swap(tx: Tx) -> None:
    ...     await tx.execute("UPDATE pointers SET version = 2 WHERE name = 'emails'")
    >>> rebuild = store.rebuild("emails", projector, version=2, swap=swap)
    >>> rebuild.name
    'emails@2'
    """

    def __init__(
        self,
        live: str,
        version: int,
        ledger: Ledger,
        *,
        make: Callable[[int], Subscription],
        open: Callable[[], Awaitable[Checkpoints]],
        owed: OwedBetween,
        swap: Swap,
        worker: str,
        ttl_s: float,
    ) -> None:
        """Use `store.rebuild`. `make`: a subscription to what is rebuilt, of so many slices."""
        self._live = live
        self._version = version
        self._ledger = ledger
        self._make = make
        self._open = open
        self._owed = owed
        self._swap = swap
        self._worker = worker
        self._ttl_s = ttl_s
        self._checkpoints: Checkpoints | None = None
        self._subscription: Subscription | None = None
        self._slices = 1
        self._swapping = asyncio.Lock()
        self._swapped = False
        self._stopped = False
        """Whether its worker was stopped for the swap."""
        self._reached = 0
        self._samples: deque[tuple[float, int]] = deque()

    @property
    def name(self) -> str:
        """The name under which its checkpoint is kept until it is swapped in.

        >>> async def swap(tx: Tx) -> None: ...
        >>> store.rebuild("emails", projector, version=3, swap=swap).name
        'emails@3'
        """
        return name_of_version(self._live, self._version)

    @property
    def is_swapped(self) -> bool:
        """Whether it has taken the place of the live version.

        >>> async def swap(tx: Tx) -> None: ...
        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.caught_up()
        >>> async with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
        ...     await rebuild.swap()
        >>> rebuild.is_swapped
        True
        """
        return self._swapped

    async def progress(self) -> RebuildProgress:
        """Returns how far it has got. The position never goes back.

        >>> async def swap(tx: Tx) -> None: ...
        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.caught_up()
        >>> async with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
        ...     (await rebuild.progress()).head
        2
        """
        subscription = self._started()
        head = (await self._ledger.head()).position
        if not self._swapped:
            self._reached = max(self._reached, min(head, await subscription.position()))
        now, position = asyncio.get_running_loop().time(), self._reached
        self._samples.append((now, position))
        while len(self._samples) > 2 and self._samples[1][0] < now - RATE_S:
            self._samples.popleft()
        then, was = self._samples[0]
        speed = (position - was) / (now - then) if now > then else 0.0
        left = 0.0 if position >= head else (head - position) / speed if speed else None
        return RebuildProgress(position, head, position / head if head else 1.0, speed, left)

    async def caught_up(self, *, timeout_s: float | None = None) -> None:
        """Returns when it has dealt with all that is in the log now, by whichever worker.

        Raises `TimeoutError` after `timeout_s` seconds, what its worker has stopped of, and
        `NotFound` if it was swapped in or removed elsewhere.

        >>> async def swap(tx: Tx) -> None: ...
        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.caught_up()
        >>> async with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
        ...     await rebuild.caught_up(timeout_s=60)
        """
        self._started()
        if not self._swapped:
            await self._reach((await self._ledger.head()).position, timeout_s)

    async def swap(self) -> None:
        """Puts it in the place of the live version, in one transaction, once it is caught up.

        The live version's workers are stopped by new fences, so that none of them can commit any
        more; what the log has up to where they have come is dealt with; then, in one transaction,
        your own `swap(tx)` runs, and the checkpoint of the live version becomes this one's. Its own
        is kept, as `emails@1`, for the way back: `store.rebuild("emails", old, version=1, ...)`.
        Records that are set aside belong to their version, and are swapped with it.

        Does nothing if it is swapped already. What `swap(tx)` raises is raised; then nothing has
        changed, the live version goes on, and so does the rebuild. Raises `NotFound` if either is
        not there any more, `LeaseLost` and `StorageError` if they came between again and again.

        >>> async def swap(tx: Tx) -> None: ...
        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.caught_up()
        >>> async with store.rebuild("emails", projector, version=2, swap=swap) as rebuild:
        ...     await rebuild.swap()
        >>> [(each.name, each.version) for each in await store.subscriptions.status()]
        [('emails', 2), ('emails@1', 1)]
        """
        self._started()
        async with self._swapping:
            attempts = 0
            while not self._swapped:
                attempts += 1
                try:
                    if self._stopped:  # the database was not there to start a worker again
                        await self._go_on()
                        continue
                    await self.caught_up()
                    await self._try_to_swap()
                except Exception as error:
                    # Perhaps it was committed, and only the answer was lost. Or by another process:
                    # then `swap(tx)` may have found the tables otherwise, which is no failure.
                    with suppress(StorageError):
                        self._swapped = await self._live_version() == self._version
                    if self._swapped:
                        return
                    passes = isinstance(error, LeaseLost | StorageError | TimeoutError)
                    if attempts >= ATTEMPTS or not passes:
                        raise
                    # Two that swap at the same time take it from each other.
                    await asyncio.sleep(random.random() * 0.1 * attempts)  # noqa: S311

    async def __aenter__(self) -> Self:
        if self._subscription is not None:
            raise InvalidInput("a rebuild is started once; make another: store.rebuild()")
        self._checkpoints = await self._open()
        rows = [each for each in await self._checkpoints.statuses() if each.name == self._live]
        if not rows:
            raise NotFound(
                f"there is no subscription {self._live!r} to be rebuilt; "
                f"start it: store.subscription({self._live!r}, ..., version={self._version})"
            )
        self._slices = rows[0].slices
        await self._start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._subscription is not None:
            await self._subscription.__aexit__(kind, error, trace)

    async def _reach(self, position: int, timeout_s: float | None) -> None:
        """Waits until a position is dealt with; raises `NotFound` if what is rebuilt is gone."""
        subscription = self._started()
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await subscription.caught_up(position, timeout_s=LOOK_S)
                except TimeoutError:
                    await subscription.position()
                else:
                    return

    async def _start(self) -> None:
        """Starts a worker, unless this version is live already."""
        await self._refuse_live()
        subscription = self._make(self._slices)
        await subscription.__aenter__()
        self._subscription, self._stopped = subscription, False

    async def _refuse_live(self) -> None:
        if await self._live_version() == self._version:
            raise OtherVersion(self._live, live=self._version, asked=self._version)

    async def _live_version(self) -> int | None:
        statuses = await self._at.statuses()
        return next((each.version for each in statuses if each.name == self._live), None)

    async def _try_to_swap(self) -> None:
        """Swaps, or leaves everything as it was, with a worker that goes on."""
        live = await self._seized(self._live)
        renewing = asyncio.create_task(self._renew(live))
        ours: Sequence[Held] = ()
        try:
            # What the live version has shown is shown by this one, too: nobody sees time go back.
            position = max(held.position for held in live)
            await self._reach(position, 30.0)
            self._stopped = True
            await self._started().stop()
            ours = await self._seized(self.name)
            # It cannot change any more, without a fence of ours being too old.
            before = await self._live_version()
            if before is None or before == self._version:
                raise NotFound(f"{self.name!r} was swapped or removed elsewhere")
            owed = await self._owed(live, ours)
            async with self._at.transaction() as transaction:
                # First, as it waits for who reads or writes the tables, who may wait for the
                # checkpoint.
                transaction.eager()
                await self._run_swap(transaction.tx)
                # A rebuild runs no `once`. What lies between the two checkpoints would be nobody's.
                if owed.effects:
                    await transaction.owe(owed.effects)
                if owed.handlers:
                    await transaction.begin_handlers(
                        self._live, owed.handlers, position=owed.position
                    )
                await transaction.swap(
                    self._live,
                    fences={held.slice: held.fence for held in live},
                    rebuilt=self.name,
                    rebuilt_fences={held.slice: held.fence for held in ours},
                    kept=name_of_version(self._live, before),
                )
            self._swapped = True
        except BaseException:
            await asyncio.shield(asyncio.ensure_future(self._let_go(live, ours)))
            raise
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _run_swap(self, tx: Tx) -> None:
        swap: Callable[..., Any] = self._swap
        if is_async(swap):
            await swap(tx)
        else:
            await call(swap, FromThread(tx, eager=True))

    async def _seized(self, name: str) -> Sequence[Held]:
        held = await self._at.seize(name, self._worker, ttl_s=self._ttl_s)
        if not held:
            raise NotFound(f"there is no {name!r} any more: it was swapped or removed elsewhere")
        return held

    async def _renew(self, live: Sequence[Held]) -> None:
        fences = {held.slice: held.fence for held in live}
        while True:
            await asyncio.sleep(self._ttl_s / 3)
            with suppress(StorageError):
                await self._at.renew(self._live, self._worker, fences, ttl_s=self._ttl_s)

    async def _let_go(self, live: Sequence[Held], ours: Sequence[Held]) -> None:
        """Lets go of what was seized, and goes on."""
        with suppress(StorageError):  # the leases run out by themselves
            for name, held in ((self._live, live), (self.name, ours)):
                if held:
                    await self._at.release(name, {each.slice: each.fence for each in held})
            if self._stopped:
                await self._go_on()

    async def _go_on(self) -> None:
        """Starts a worker again, unless it was swapped after all."""
        try:
            await self._start()
        except OtherVersion:  # by another process, perhaps just now
            self._swapped = True

    def _started(self) -> Subscription:
        if self._subscription is None:
            raise InvalidInput("the rebuild was not started: async with store.rebuild(...) does")
        return self._subscription

    @property
    def _at(self) -> Checkpoints:
        assert self._checkpoints is not None
        return self._checkpoints


def name_of_version(name: str, version: int) -> str:
    """Returns under which name a version is kept that is not live."""
    return f"{name}@{version}"
