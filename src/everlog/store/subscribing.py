"""`store.subscription` and `store.subscriptions`: durable runs of projectors, and what is known of
them."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from everlog.core.event import Registry
from everlog.core.record import Record
from everlog.core.reducer import Reducer
from everlog.core.selection import Cursor, Selection
from everlog.core.stamp import stamp_time
from everlog.core.stream import check_name
from everlog.core.token import ResumeToken, encode
from everlog.errors import (
    InvalidInput,
    InvalidName,
    NotFound,
    NotSupported,
    OtherVersion,
    StoreClosed,
    UnknownEvent,
)
from everlog.ports.checkpoints import FINGERPRINT, Checkpoints, Held, Parked, SliceStatus
from everlog.ports.effects import Effect, EffectCounts, EffectStatus
from everlog.ports.ledger import Ledger
from everlog.ports.owner import Owner
from everlog.ports.seams import Seams
from everlog.store.folding import Folder, fold_of_reducer
from everlog.store.reading import place_of, whole
from everlog.store.settling import Settled, settle
from everlog.subscriptions.beginning import FIRST, Beginning
from everlog.subscriptions.effects import AppendOutcome
from everlog.subscriptions.fingerprint import (
    Handled,
    difference,
    fingerprint_in,
    fingerprint_of,
    handled_by,
)
from everlog.subscriptions.handlers import Handlers
from everlog.subscriptions.obligations import EffectHandlers, Obligations, effect_handlers
from everlog.subscriptions.policies import DEFAULT, Policy, check_policy
from everlog.subscriptions.projector import Projector
from everlog.subscriptions.rebuild import Owed, Rebuild, Swap, name_of_version
from everlog.subscriptions.rewinding import rewind
from everlog.subscriptions.slices import MOST, slice_of
from everlog.subscriptions.subscription import Subscription
from everlog.subscriptions.time_limit import TimeLimit, checked_timeout
from everlog.subscriptions.worker import Worker
from everlog.sync.leasing import PREFIX

_NO_PLACE = (
    "this store was made over a ledger, without a place for checkpoints; pass checkpoints=... to "
    "it, or use EventStore.open"
)

OpenCheckpoints: TypeAlias = Callable[[], Awaitable[Checkpoints]]

From: TypeAlias = Literal["beginning", "now"] | int | str
"""Where a subscription begins the first time: `"beginning"`, `"now"`, behind a position, or behind
a resume token."""


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """What is known of a subscription.

    >>> async with store.subscription("emails", projector) as subscription:
    ...     await subscription.caught_up()
    >>> [status] = await store.subscriptions.status()
    >>> status.name, status.lag, status.parked
    ('emails', 0, 0)
    """

    name: str
    position: int
    """Everything up to here has been dealt with."""
    lag: int
    """So many records stand behind it in the log, of all types."""
    lag_s: float
    """So many seconds ago the first of them was recorded; 0.0 if there is none."""
    version: int
    """Of the projection that is live under this name."""
    slices: int
    workers: tuple[str, ...]
    """Who works on it: host, process, a random part, and behind `#` a fingerprint of the handlers
    of each."""
    parked: int
    """Records that wait for a person."""
    retrying: int
    """Records that are tried again by themselves."""
    behind: int
    """Records that wait behind one of those in their stream."""
    error: str
    """What its last worker stopped of; empty if it was stopped."""
    pending_effects: int = 0
    """Effects that are owed and go on by themselves."""
    ambiguous_effects: int = 0
    """Effects that were begun by a worker that is gone, or took too long and were cut off: nobody
    knows whether they happened."""
    parked_effects: int = 0
    """Effects that have failed for good, and wait for a person."""
    oldest_effect_s: float = 0.0
    """So many seconds ago the oldest effect was owed that is not finished; 0.0 if there is none."""
    waiting: tuple[str, ...] = ()
    """Who waits until those with other handlers, who work on it, have stopped."""


class _Running(NamedTuple):
    """What runs of this store."""

    worker: Worker
    version: int
    handled: Handled


class Subscriptions:
    """What is known of the durable subscriptions of a ledger, and what failed in them.

    >>> await store.subscriptions.status()
    []
    """

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        folder: Folder,
        open: OpenCheckpoints | None,
        seams: Seams,
        owner: Owner,
        append: AppendOutcome,
        is_there: Callable[[], bool] | None = None,
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._folder = folder
        self._open = open
        self._seams = seams
        self._owner = owner
        self._append = append
        self._is_there = is_there
        self._checkpoints: Checkpoints | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._closing: asyncio.Task[None] | None = None
        self._running: weakref.WeakKeyDictionary[Subscription, _Running] = (
            weakref.WeakKeyDictionary()
        )

    async def status(self) -> list[SubscriptionStatus]:
        """Returns what is known of all subscriptions, in order of their names.

        >>> [each.name for each in await store.subscriptions.status()]
        []
        """
        checkpoints = await self._looked_at()
        if checkpoints is None:
            return []
        head = (await self._ledger.head()).position
        counts = {each.name: each for each in await checkpoints.effect_counts()}
        return [
            await self._status_of(
                name, list(slices), head, counts.get(name) or EffectCounts(name, 0, 0, 0, 0.0)
            )
            for name, slices in groupby(await checkpoints.statuses(), key=lambda each: each.name)
            if not name.startswith(PREFIX)
        ]

    async def place(self) -> Checkpoints | None:
        """Returns where checkpoints and leases are kept, opened; None if there is no place."""
        return None if self._open is None else await self._opened()

    async def parked(
        self, name: str | None = None, *, stream: str | None = None, limit: int = 1000
    ) -> list[Parked]:
        """Returns the records that are set aside: of all subscriptions, of one, or of one stream.

        With those that were skipped or dropped, whose traces are kept. In order of name and
        position, `limit` at most.

        >>> await store.subscriptions.parked("emails")
        []
        """
        _check_asked(name, stream, limit=limit)
        checkpoints = await self._looked_at()
        if checkpoints is None:
            return []
        return list(await checkpoints.parked(name, stream=stream, limit=limit))

    async def retry(
        self, name: str, *, stream: str | None = None, position: int | None = None
    ) -> int:
        """Has parked records tried again: all, those of a stream, or one. Returns how many.

        What they have been tried is forgotten. What waits behind them follows by itself. Raises
        `NotFound` if there is no subscription of this name.

        >>> await store.subscriptions.retry("emails", stream="user-1")
        Traceback (most recent call last):
            ...
        everlog.errors.NotFound: there is no subscription 'emails'
        """
        check_name("subscription", name)
        _check_asked(None, stream, position=position)
        checkpoints = await self._place_of(name)
        count = await checkpoints.retry(name, stream=stream, position=position)
        await self._check_known(name, checkpoints, count)
        self._look_again()
        return count

    async def drop(
        self, name: str, *, stream: str | None = None, position: int | None = None
    ) -> int:
        """Gives parked records up: all, those of a stream, or one. Returns how many.

        They stay listed, as dropped. What waits behind them follows. Raises `NotFound` if there is
        no subscription of this name.

        >>> await store.subscriptions.drop("emails", position=17)
        Traceback (most recent call last):
            ...
        everlog.errors.NotFound: there is no subscription 'emails'
        """
        check_name("subscription", name)
        _check_asked(None, stream, position=position)
        checkpoints = await self._place_of(name)
        count = await checkpoints.drop(name, stream=stream, position=position)
        await self._check_known(name, checkpoints, count)
        self._look_again()
        return count

    async def effects(
        self,
        name: str | None = None,
        *,
        status: EffectStatus | None = None,
        stream: str | None = None,
        limit: int = 1000,
    ) -> list[Effect]:
        """Returns the effects of `once` handlers: of all subscriptions, of one, or of one stream.

        With those that are done. In order of name, position and handler, `limit` at most.

        >>> await store.subscriptions.effects("emails", status="ambiguous")
        []
        """
        _check_asked(name, stream, limit=limit)
        if status is not None and status not in get_args(EffectStatus):
            known = ", ".join(get_args(EffectStatus))
            raise InvalidInput(f"status={status!r} is not known; use one of {known}")
        checkpoints = await self._looked_at()
        if checkpoints is None:
            return []
        return list(await checkpoints.effects(name, status=status, stream=stream, limit=limit))

    async def settle(
        self,
        name: str,
        position: int,
        *,
        handler: str | None = None,
        as_: Settled,
        result: object = None,
    ) -> None:
        """Says what becomes of an effect that waits for a person: ambiguous, or parked.

        - `handler`: which, if several effects of the record wait
        - `as_`: `"done"`: it has happened, with this `result` (JSON values), and its `on_success`
          follows; `"retry"`: it is called again, or if it is known to have happened its
          `on_success` is; `"drop"`: it is given up, also if it is owed and waits for nobody, as one
          of a handler that was renamed or removed
        - what waits behind it in its stream follows

        Of one that has happened and was parked by its `on_success`, `"done"` leaves that out.

        Raises `NotFound` if there is no such effect or subscription, `InvalidInput` if it does not
        wait for anybody or if several do, `NotPortable` for a result that is not JSON.

        >>> await store.subscriptions.settle("emails", 17, as_="done")
        Traceback (most recent call last):
            ...
        everlog.errors.NotFound: there is no subscription 'emails'
        """
        check_name("subscription", name)
        whole("position", position)
        checkpoints = await self._place_of(name)
        try:
            await settle(checkpoints, name, position, handler=handler, as_=as_, result=result)
        except NotFound:
            await self._check_known(name, checkpoints)
            raise
        self._look_again()

    async def rewind(self, name: str, *, to: int | str) -> None:
        """Has a subscription that nobody runs go back, and handle what is behind it again.

        `to`: a position, 0 for the beginning, or a resume token. `on`, `all` and `state` handlers
        are called again for what stands behind it, so what they have written has to bear that, or
        to be deleted first; a read model that stays in use meanwhile is better built anew by
        `store.rebuild`. Effects (`once`) that were owed once are not owed again. What was set aside
        behind it is forgotten.

        Raises `NotFound` if there is none, `MisusedStore` while it runs somewhere, `InvalidInput`
        if it has not got as far as that, `LogDiverged` for a token of another log.

        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.caught_up()
        >>> await store.subscriptions.rewind("emails", to=0)
        >>> [status] = await store.subscriptions.status()
        >>> status.position, status.lag
        (0, 2)
        """
        check_name("subscription", name)
        place = place_of(to)
        checkpoints = await self._place_of(name)
        position, token = await self._start_of(to, place)
        await rewind(checkpoints, name, to=position, token=token, worker=self._worker_name())

    async def remove(self, name: str) -> None:
        """Forgets a subscription that nobody runs, with all that is kept of it.

        What its handlers have written stays. Raises `NotFound` if there is none, `MisusedStore`
        while it runs somewhere.

        >>> await store.subscriptions.remove("emails")
        Traceback (most recent call last):
            ...
        everlog.errors.NotFound: there is no subscription 'emails'
        """
        checkpoints = await self._place_of(check_name("subscription", name))
        if not await checkpoints.remove(name):
            raise NotFound(f"there is no subscription {name!r}")

    def make(
        self,
        name: str,
        projector: Projector,
        *,
        version: int = 1,
        from_: From | None = None,
        on_error: Policy = DEFAULT,
        slices: int = 1,
        lease_s: float = 10.0,
        effects_at_once: int = 16,
        handler_timeout_s: float | None = None,
    ) -> Subscription:
        """Makes what `store.subscription` returns."""
        _check_live_name(name)
        return self._make(
            name,
            projector,
            version,
            from_,
            on_error,
            slices,
            lease_s,
            effects_at_once=effects_at_once,
            handler_timeout_s=handler_timeout_s,
        )

    def make_rebuild(
        self,
        name: str,
        projector: Projector,
        *,
        version: int,
        swap: Swap,
        from_: From = "beginning",
        on_error: Policy = DEFAULT,
        lease_s: float = 10.0,
        handler_timeout_s: float | None = None,
    ) -> Rebuild:
        """Makes what `store.rebuild` returns."""
        _check_live_name(name)
        rebuilt = name_of_version(name, version)
        # From programs that no type checker has seen.
        if not callable(swap):
            raise InvalidInput(f"swap={swap!r} cannot be called; pass `async def swap(tx)`")

        async def refuse_live() -> None:
            # Behind the registration: what is swapped in later takes it along.
            checkpoints = await self._opened()
            for each in await checkpoints.statuses():
                if each.name == name and each.version == version:
                    await checkpoints.remove(rebuilt)
                    raise OtherVersion(name, live=version, asked=version)

        def make(slices: int) -> Subscription:
            # As many as the live version has, by which what belongs to its name is found.
            return self._make(
                rebuilt,
                projector,
                version,
                from_,
                on_error,
                slices,
                lease_s,
                handler_timeout_s=handler_timeout_s,
                of_rebuild=refuse_live,
            )

        make(1)  # raises what is wrong
        effects = effect_handlers(projector)

        async def owed(live: Sequence[Held], ours: Sequence[Held]) -> Owed:
            return await self._owed_between(name, effects, live, ours) if effects else Owed()

        return Rebuild(
            name,
            version,
            self._ledger,
            make=make,
            open=self._opened,
            owed=owed,
            swap=swap,
            worker=self._worker_name(),
            ttl_s=lease_s,
        )

    def _make(
        self,
        name: str,
        projector: Projector,
        version: int,
        from_: From | None,
        on_error: Policy,
        slices: int,
        lease_s: float,
        *,
        effects_at_once: int = 16,
        handler_timeout_s: float | None = None,
        of_rebuild: Callable[[], Awaitable[None]] | None = None,
    ) -> Subscription:
        check_name("subscription", name)
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:  # type: ignore[redundant-expr]  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"version={version!r} must be 1 or more")
        # From programs that no type checker has seen.
        if not isinstance(projector, Projector):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(f"{projector!r} is no Projector")
        without_once = of_rebuild is not None
        limit = TimeLimit(name, checked_timeout("handler_timeout_s", handler_timeout_s))
        handlers = Handlers(projector, self._state_of, limit, without_once=without_once)
        handled = handled_by(projector, without_once=without_once)
        if handlers.types == ():
            raise InvalidInput(
                f"the projector of subscription {name!r} has no handlers; declare them first"
            )
        for type in projector.types:
            if not self._registry.knows(type):
                raise UnknownEvent(f"type {type!r}", self._registry.types)
        for reducer in handlers.reducers:
            self._folder.check(fold_of_reducer(reducer))
        policy = check_policy(on_error)
        if isinstance(slices, bool) or not 1 <= slices <= MOST:
            raise InvalidInput(f"slices={slices!r} must be from 1 to {MOST}")
        if not 0.1 <= lease_s <= 3600:
            raise InvalidInput(f"lease_s={lease_s!r} must be from 0.1 to 3600 seconds")
        if isinstance(effects_at_once, bool) or not 1 <= effects_at_once <= 1000:
            raise InvalidInput(f"effects_at_once={effects_at_once!r} must be from 1 to 1000")
        if self._open is None:
            raise NotSupported(_NO_PLACE)
        place = None if from_ in (None, "beginning", "now") else place_of(from_)

        async def start() -> tuple[Worker, Checkpoints]:
            self._owner.check()
            checkpoints = await self._opened()
            position, token = await self._start_of(from_ or "beginning", place)
            head = (await self._ledger.head()).position
            is_known = any(each.name == name for each in await checkpoints.statuses())
            if handlers.effects and not is_known:
                said = head if from_ is None else position
                begins = await checkpoints.register_handlers(name, [FIRST], position=said)
                if from_ is None and handlers.has_only_effects:
                    position, token = await self._start_of(begins[FIRST], (begins[FIRST], None))
            count = await checkpoints.register(
                name, slices=slices, position=position, token=token, version=version
            )
            if of_rebuild is not None:
                await of_rebuild()
            self._refuse_another(name, version, handled)
            names = {each.name for of_type in handlers.effects.values() for each in of_type}
            worker = Worker(
                self._ledger,
                checkpoints,
                self._registry,
                name=name,
                handlers=handlers,
                policy=policy,
                slices=count,
                ttl_s=lease_s,
                obligations=Obligations(name, handlers.effects, {}, self._ledger.identity.ledger),
                beginning=Beginning(checkpoints, name, names, head=head),
                effects_at_once=effects_at_once,
                append=self._append,
                worker=self._worker_name(handled),
                version=version,
            )
            self._running[subscription] = _Running(worker, version, handled)
            return worker, checkpoints

        subscription = Subscription(name, self._ledger, start)
        return subscription

    async def _owed_between(
        self, name: str, effects: EffectHandlers, live: Sequence[Held], ours: Sequence[Held]
    ) -> Owed:
        """Returns what is owed of records that one checkpoint of a slice has passed and one not."""
        names = {each.name for of_type in effects.values() for each in of_type}
        head = (await self._ledger.head()).position
        checkpoints = await self._opened()
        known = await checkpoints.handlers(name)
        begins = {each: known.get(each, head) for each in names}
        obligations = Obligations(name, effects, begins, self._ledger.identity.ledger)
        after = {held.slice: held.position for held in live}
        until = {held.slice: held.position for held in ours}
        owed: list[Effect] = []
        selection = Selection(
            types=tuple(effects), after=min(after.values()), until=max(until.values())
        )
        cursor: Cursor | None = None
        while True:
            page = await self._ledger.read(selection, cursor=cursor)
            for stored in page.records:
                slice = slice_of(stored.stream, len(until))
                if after[slice] < stored.position <= until[slice]:
                    owed += obligations.of(slice, Record(stored, self._registry))
            selection, cursor = page.selection, page.cursor
            if cursor is None:
                return Owed(owed, sorted(names), head)

    def _refuse_another(self, name: str, version: int, handled: Handled) -> None:
        """Raises `InvalidInput` if this store runs a subscription with other handlers already."""
        for subscription, running in self._running.items():
            if subscription.name != name or not subscription.is_running:
                continue
            if running.version == version and (unlike := difference(handled, running.handled)):
                raise InvalidInput(
                    f"subscription {name!r} runs in this store already, with other handlers "
                    f"({unlike}), and a record would be handled by one or the other; give one of "
                    "them another name, stop it first, or build what is new as version="
                    f"{version + 1}: store.rebuild({name!r}, ...)"
                )

    def _worker_name(self, handled: Handled | None = None) -> str:
        name = f"{socket.gethostname()}:{os.getpid()}:{self._seams.random_bytes(4).hex()}"
        return name if handled is None else f"{name}{FINGERPRINT}{fingerprint_of(handled)}"

    async def _state_of(self, reducer: Reducer[Any], stream: str) -> Any:
        """Returns the state of a stream that has records, as it is now."""
        folded = await self._folder.fold(fold_of_reducer(reducer), Selection(streams=(stream,)))
        return reducer.initial() if folded is None else folded.state

    async def _start_of(
        self, from_: From, place: tuple[int, ResumeToken | None] | None
    ) -> tuple[int, str | None]:
        """Returns where a subscription begins that is not there yet, and the token of that."""
        if place is None:
            if from_ == "beginning":
                return 0, None
            head = await self._ledger.head()
            if head.position == 0:
                return 0, None
            identity = self._ledger.identity
            token = ResumeToken(identity.ledger, identity.epoch, head.position, head.chain)
            return head.position, encode(token)
        position, seen = place
        if position == 0:
            return 0, None
        selection = Selection(after=position - 1, until=position, seen=seen)
        page = await self._ledger.read(selection, size=1)
        if not page.records:
            raise InvalidInput(f"the log has no record at position {position}")
        assert page.selection.seen is not None
        return position, encode(page.selection.seen)

    async def _status_of(
        self, name: str, slices: list[SliceStatus], head: int, effects: EffectCounts
    ) -> SubscriptionStatus:
        position = min(each.position for each in slices)
        lag_s = 0.0
        if position < head:
            page = await self._ledger.read(Selection(after=position, limit=1), size=1)
            for record in page.records:
                then_ms = stamp_time(record.recorded).timestamp() * 1000
                lag_s = max(0.0, (self._seams.now_ms() - then_ms) / 1000)
        workers = {each.worker for each in slices if each.worker and (each.lease_s or 0) > 0}
        errors = [each.error for each in slices if each.error]
        at_work = set(map(fingerprint_in, workers))
        seen = await (await self._opened()).workers(name) if workers else ()
        waiting = [
            each.worker
            for each in seen
            if not each.holds and at_work - {fingerprint_in(each.worker), ""}
        ]
        return SubscriptionStatus(
            name=name,
            position=position,
            lag=max(0, head - position),
            lag_s=lag_s,
            version=slices[0].version,
            slices=len(slices),
            workers=tuple(sorted(workers)),
            parked=sum(each.parked for each in slices),
            retrying=sum(each.retrying for each in slices),
            behind=sum(each.behind for each in slices),
            error=errors[0] if errors else "",
            pending_effects=effects.pending,
            ambiguous_effects=effects.ambiguous,
            parked_effects=effects.parked,
            oldest_effect_s=effects.oldest_s,
            waiting=tuple(waiting),
        )

    async def _check_known(self, name: str, checkpoints: Checkpoints, count: int = 0) -> None:
        """Raises `NotFound` where nothing was found, as there is no subscription of the name."""
        if not count and all(each.name != name for each in await checkpoints.statuses()):
            raise NotFound(f"there is no subscription {name!r}")

    def _look_again(self) -> None:
        for running in self._running.values():
            running.worker.look_again()

    def close_later(self) -> None:
        """As `close`, for a handler, which cannot wait for itself."""
        self._closing = asyncio.create_task(self.close(timeout_s=30.0))

    async def _looked_at(self) -> Checkpoints | None:
        """Returns the place, opened; None if there is none yet: looking at it does not make it."""
        self._owner.check()
        if self._checkpoints is None and self._is_there is not None and not self._is_there():
            return None
        return await self._opened()

    async def _place_of(self, name: str) -> Checkpoints:
        """Returns the place, opened; raises `NotFound` if there is none yet, so no subscription."""
        checkpoints = await self._looked_at()
        if checkpoints is None:
            raise NotFound(f"there is no subscription {name!r}")
        return checkpoints

    async def _opened(self) -> Checkpoints:
        self._owner.check()
        if self._open is None:
            raise NotSupported(_NO_PLACE)
        async with self._opening:
            if self._closed:
                raise StoreClosed("the store is being closed; start no subscription any more")
            if self._checkpoints is None:
                self._checkpoints = await self._open()
            return self._checkpoints

    async def close(self, *, timeout_s: float) -> None:
        """Stops what runs of this store, and lets go of the checkpoints.

        Handlers that still run after `timeout_s` are cancelled.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*(each.stop() for each in list(self._running)))
        self._closed = True
        async with self._opening:
            checkpoints, self._checkpoints = self._checkpoints, None
            if checkpoints is not None:
                await checkpoints.close()


def _check_asked(
    name: str | None, stream: str | None, *, position: int | None = None, limit: int = 1
) -> None:
    """Raises `InvalidInput` or `InvalidName` for what no record or effect can be found by."""
    if name is not None:
        check_name("subscription", name)
    if stream is not None:
        check_name("stream", stream)
    if position is not None:
        whole("position", position)
    if whole("limit", limit) < 1:
        raise InvalidInput(f"limit={limit} must be at least 1")


def _check_live_name(name: str) -> None:
    check_name("subscription", name)
    if re.search(r"@\d+$", name):
        raise InvalidName(
            "subscription",
            name,
            "must not end in @ and a number: such are versions that are rebuilt or kept",
        )
