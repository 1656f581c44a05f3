"""Saving: what aggregates need of a store, and how their events are appended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from everlog.core.aggregate import AggregateRoot
from everlog.core.record import Record
from everlog.core.stamp import Clock, tick
from everlog.errors import InvalidInput, NotFound, OutcomeUnknown, PartialRetry, WrongVersion
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.store.observing import Observed
from everlog.store.preparing import Preparer, of_pending
from everlog.store.writing import Writing, run_out

A = TypeVar("A", bound=AggregateRoot)


class Saving:
    """Turns what aggregates push into pending records, and pending records into an append."""

    def __init__(
        self,
        ledger: Ledger,
        writing: Writing,
        preparer: Preparer,
        observed: Observed,
        seams: Seams,
    ) -> None:
        self._ledger = ledger
        self._writing = writing
        self._preparer = preparer
        self._observed = observed
        self._seams = seams

    def pend(self, aggregate: AggregateRoot, event: object, meta: object) -> Record[Any]:
        """Returns an event as a pending record with its final id."""
        identity = self._ledger.identity
        pending = (record.created for record in aggregate.log.pending)
        seen = max(self._observed.stamp, *pending, "0" * 32)
        # Provisional: the committer gives the final one. Later than all that was read.
        clock = Clock(ms=int(seen[:12], 16), counter=int(seen[12:16], 16), node=identity.node)
        return self._preparer.pending(
            aggregate,
            event,
            meta,
            created=tick(clock, now_ms=self._seams.now_ms()).stamp,
            origin=identity.ledger,
        )

    async def save(
        self, aggregates: Sequence[AggregateRoot], *, emit: bool, batch: str | None
    ) -> None:
        """Appends the pending events of all aggregates, all or nothing."""
        while True:
            dirty = [aggregate for aggregate in dict.fromkeys(aggregates) if aggregate.log.is_dirty]
            if not dirty:
                return
            streams = [aggregate.log.stream for aggregate in dirty]
            if len(set(streams)) < len(streams):
                raise InvalidInput(
                    "two of these aggregates are of the same stream; save one at a time"
                )
            request = of_pending(dirty, observed=self._observed.stamp)
            try:
                records, hooks = await self._writing.append(request, emit=emit, batch=batch)
            except PartialRetry:
                # An earlier save of some of these was interrupted, or still under way when this one
                # began, and has taken effect. What it stored is not pending any more.
                await self._settle(dirty)
                pending = {record.id for each in dirty for record in each.log.pending}
                if pending.issuperset(event.id for event in request.events):
                    raise
                continue
            versions = {record.id: record.version for record in records}
            for aggregate in dirty:
                aggregate.log.saved(versions)
            await run_out(hooks)
            return

    async def retrying(
        self,
        load: Callable[[], Awaitable[A | None]],
        decide: Callable[[A], Awaitable[Any] | Any],
        *,
        attempts: int,
        what: str,
    ) -> A:
        """Loads, decides and saves, again if somebody else was faster."""
        for attempt in range(1, attempts + 1):
            aggregate = await load()
            if aggregate is None:
                raise NotFound(f"{what} has no events; begin with store.new(...)")
            decided = decide(aggregate)
            if isinstance(decided, Awaitable):
                await decided
            try:
                await self._save_settling(aggregate)
            except WrongVersion:
                if attempt == attempts:
                    raise
                # Full jitter, so that writers who met once do not meet again.
                pause_s = random.uniform(0, min(0.5, 0.002 * 2**attempt))  # noqa: S311
                await asyncio.sleep(pause_s)
            else:
                return aggregate
        raise InvalidInput(f"attempts={attempts} must be 1 or more")

    async def _save_settling(self, aggregate: AggregateRoot) -> None:
        try:
            await self.save([aggregate], emit=True, batch=None)
        except OutcomeUnknown:  # the same ids: it is found out, not stored twice
            await self.save([aggregate], emit=True, batch=None)

    async def _settle(self, aggregates: Sequence[AggregateRoot]) -> None:
        """Finds out what earlier saves have stored: it is not pending any more."""
        ids = [record.id for aggregate in aggregates for record in aggregate.log.pending]
        found = await self._ledger.find(ids)
        versions = {record.id: record.version for record in found if record is not None}
        for aggregate in aggregates:
            aggregate.log.saved(versions)
