"""Saving: what aggregates of a blocking store need of it."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from everlog.blocking.portal import Portal
from everlog.core.aggregate import AggregateLog, AggregateRoot
from everlog.core.record import Record
from everlog.errors import MisusedStore
from everlog.store.event_store import EventStore

T = TypeVar("T")


class BlockingSaver:
    """What an aggregate of a blocking store saves itself by (`everlog.core.aggregate.Saver`)."""

    def __init__(self, portal: Portal, store: EventStore) -> None:
        self._portal = portal
        self._store = store

    def pend(self, aggregate: AggregateRoot, event: object, meta: object) -> Record[Any]:
        """Returns the event as a pending record with its final id, validated."""
        return self._portal.here(self._store.pend, aggregate, event, meta)

    def save_now(self, aggregate: AggregateRoot, *, emit: bool, batch: str | None) -> None:
        """Appends the pending events of an aggregate; called by `blocking.AggregateRoot.save`."""
        self._portal.run(self._store.save, aggregate, emit=emit, batch=batch)

    def snapshot_now(self, aggregate: AggregateRoot) -> None:
        """Stores a snapshot of an aggregate; called by `blocking.AggregateRoot.snapshot`."""
        self._portal.run(self._store.snapshot_aggregate, aggregate)

    async def save(
        self, *aggregates: AggregateRoot, emit: bool = True, batch: str | None = None
    ) -> None:
        """Raises `MisusedStore`: there is nothing to await."""
        _refuse("save()", "store.save(aggregate)", aggregates[0])

    async def snapshot_aggregate(self, aggregate: AggregateRoot) -> None:
        """Raises `MisusedStore`: there is nothing to await."""
        _refuse("snapshot()", "store.snapshots.create(cls, stream)", aggregate)

    def adopt(self, thing: T) -> T:
        """Makes an aggregate that the store underneath has made one of the blocking store's."""
        if isinstance(thing, AggregateRoot):
            theirs = thing.log
            thing.log = AggregateLog(theirs.stream, self, read_only=theirs.read_only)
            thing.log.version = theirs.version
            thing.log.pending = theirs.pending
        return thing


def _refuse(method: str, instead: str, aggregate: AggregateRoot) -> NoReturn:
    name = type(aggregate).__qualname__
    raise MisusedStore(
        f"{name}.{method} is to be awaited, and its store is a blocking one: call {instead}, "
        f"or derive {name} from everlog.blocking.AggregateRoot"
    )
