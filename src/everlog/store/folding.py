"""Folding: records, in the order of their creation, onto a state."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Generic, TypeVar

from everlog.core.aggregate import AggregateRoot
from everlog.core.event import Registry
from everlog.core.record import RECORDED, VERSION, Record
from everlog.core.reducer import Reducer
from everlog.core.selection import PAGE_RECORDS, Order, Selection, page_records
from everlog.core.snapshot import PutSnapshot, Snapshot, SnapshotKey, seal, unseal
from everlog.core.state import state_codec
from everlog.errors import (
    ContentGone,
    EventDefinitionError,
    InvalidInput,
    SnapshotError,
    StorageError,
)
from everlog.ports.ledger import Ledger
from everlog.store.committer import Committer

S = TypeVar("S")

_log = logging.getLogger("everlog")


@dataclass(frozen=True, slots=True)
class every:  # in lower case, as it reads as words: snapshots=every(100)
    """Takes a snapshot whenever a fold has read so many records since the last one.

    Raises `InvalidInput` below 1.

    >>> async with EventStore.open("memory:", events=[UserCreated], snapshots=every(500)) as store:
    ...     await store.append("user-1", UserCreated(email="jane@doe.com"))
    [<Record 1 user:created of 'user-1' version 1 id ...>]
    """

    records: int

    def __post_init__(self) -> None:
        if isinstance(self.records, bool) or self.records < 1:
            raise InvalidInput(f"every({self.records!r}) must be of 1 record or more")


@dataclass(frozen=True, slots=True)
class Fold(Generic[S]):
    """What is folded: a name for its snapshots, a beginning, a step."""

    name: str
    version: int
    state_type: type[Any]
    initial: Callable[[], S]
    step: Callable[[S, Record[Any]], S]
    restore: Callable[[Any], S]
    """From what the state codec decoded to a state."""
    source: str
    """Where its logic is written, so that two folds of one name are told apart."""


@dataclass(slots=True)
class Folded(Generic[S]):
    """A state, and what it was folded from."""

    state: S
    count: int
    """How many records are in it."""
    version: int
    """The highest version among them."""
    snapshot: Callable[[], Snapshot] | None
    """Makes a snapshot of exactly this state, to be stored; None where it cannot have one."""
    read: int
    """How many of them were read and did not come from a snapshot."""
    unfoldings: int = 0
    """That of the start of its fold."""


def fold_of_reducer(reducer: Reducer[S]) -> Fold[S]:
    """Returns what `reduce` folds."""
    return _fold_of_reducer(reducer)


@lru_cache(maxsize=1024)
def _fold_of_reducer(reducer: Reducer[Any]) -> Fold[Any]:
    return Fold(
        name=reducer.name,
        version=reducer.version,
        state_type=_kind_of(reducer.initial()),
        initial=lambda: reducer.initial(),  # as it is then: this is kept
        step=reducer.__wrapped__,
        restore=lambda state: state,
        source=_source_of(reducer.__wrapped__),
    )


def fold_of_aggregate(cls: type[Any], start: Callable[[], AggregateRoot]) -> Fold[Any]:
    """Returns what `get` folds. `start` makes an instance in its initial state."""

    def step(aggregate: AggregateRoot, record: Record[Any]) -> AggregateRoot:
        aggregate.apply(record)
        return aggregate

    def restore(fields: dict[str, Any]) -> AggregateRoot:
        aggregate = start()
        for name, value in fields.items():
            setattr(aggregate, name, value)
        return aggregate

    return Fold(
        name=f"aggregate:{cls.aggregate_name}",  # a reducer may have the same name
        version=cls.aggregate_version,
        state_type=cls,
        initial=start,
        step=step,
        restore=restore,
        source=_source_of(cls),
    )


def _kind_of(state: object) -> type[Any]:
    return type(state)


def _source_of(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', repr(thing))}"


def scope_of(selection: Selection) -> str | None:
    """Returns the scope of snapshots over a selection; None for what has none."""
    if selection.relation is not None:
        return f"relation:{selection.relation}"
    if selection.streams is not None and len(selection.streams) == 1:
        return f"stream:{selection.streams[0]}"
    return None


def key_of(fold: Fold[Any], selection: Selection, registry: Registry) -> SnapshotKey | None:
    """Returns what a snapshot of the fold is found by; None where it cannot have one.

    Raises `SnapshotError` for a state that has no codec.
    """
    scope = scope_of(selection)
    # No types at all selects nothing, and would be written like a filter of none.
    if scope is None or selection.after or selection.types == ():
        return None
    return SnapshotKey(
        scope=scope,
        reducer=fold.name,
        reducer_version=fold.version,
        shape=_shape(fold, registry.evolution(selection.types)),
        filter="" if selection.types is None else "\n".join(sorted(set(selection.types))),
    )


def _shape(fold: Fold[Any], evolution: str) -> str:
    """Returns what a state is made like: by its type, and by what its records are read as."""
    shape = state_codec(fold.state_type).shape
    return hashlib.sha256((shape + evolution).encode()).hexdigest()[:32] if evolution else shape


class Folder:
    """Folds over one ledger, with its snapshots."""

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        committer: Committer,
        policy: every | None,
        observe: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._committer = committer
        self._policy = policy
        self._observe = observe
        self._without_snapshots: set[type[Any]] = set()
        """Kinds of states that have no codec."""
        self._unfaithful: set[type[Any]] = set()
        """Kinds of states of which one was refused: no more of them are taken by themselves."""
        self._names: dict[tuple[str, int], str] = {}

    async def fold(
        self, fold: Fold[S], selection: Selection, pending: Sequence[Record[Any]] = ()
    ) -> Folded[S] | None:
        """Returns the state after the selected records, then the pending ones; None if neither.

        Raises as `check`, and `ContentGone` for a whole stream of which a part went.
        """
        self.check(fold)
        folded = await self._fold(fold, selection._replace(order=Order.CREATED))
        if (
            folded is not None
            and folded.snapshot is not None
            and self._policy is not None
            and fold.state_type not in self._unfaithful
            and folded.read >= self._policy.records
            and not (selection.as_of or selection.until)
        ):
            await self._put_if_faithful(fold, folded)
        if not pending:
            return folded
        state = fold.initial() if folded is None else folded.state
        for record in pending:
            state = fold.step(state, record)
        if folded is None:
            return Folded(state, len(pending), 0, None, 0)
        return replace(folded, state=state, count=folded.count + len(pending), snapshot=None)

    def check(self, fold: Fold[Any]) -> None:
        """Raises `EventDefinitionError` if another fold of the same name and version was seen.

        They would share snapshots.
        """
        first = self._names.setdefault((fold.name, fold.version), fold.source)
        if first != fold.source:
            raise EventDefinitionError(
                f"{first} and {fold.source} are both named {fold.name!r}, version {fold.version}; "
                "give one of them another name: snapshots are stored under it"
            )

    async def put(self, fold: Fold[S], folded: Folded[S]) -> Snapshot:
        """Stores a snapshot of the state; raises `SnapshotError` if it would not be faithful."""
        if folded.snapshot is None:
            raise SnapshotError("there is no snapshot of a state with pending events")
        state = state_codec(fold.state_type).encode(folded.state)
        snapshot = seal(replace(folded.snapshot(), state=state))
        await self._committer.commit(PutSnapshot(snapshot, folded.unfoldings))
        return snapshot

    async def _fold(self, fold: Fold[S], selection: Selection) -> Folded[S] | None:
        key = self._key_or_none(fold, selection)
        start = await self._ledger.fold_from(selection, key, size=PAGE_RECORDS)
        snapshot, page = start.snapshot, start.page
        state, count, version, last = fold.initial(), 0, 0, ("", "")
        if snapshot is not None:
            try:
                state = fold.restore(state_codec(fold.state_type).decode(unseal(snapshot)))
            except SnapshotError:
                # It was whole and fitted when it was stored. From the beginning is always right.
                start = await self._ledger.fold_from(selection, None, size=PAGE_RECORDS)
                page = start.page
                snapshot = None
            else:
                count, version = snapshot.count, snapshot.version
                last = (snapshot.created, snapshot.id)
        before, pages = count, 1
        step, registry = fold.step, self._registry
        until = page.selection.until or 0
        while True:
            for row in page.records:
                state = step(state, Record(row, registry))
            count += len(page.records)
            if page.records:
                last = page.records[-1].order
                version = max(version, *map(VERSION, page.records))
                self._observe(max(map(RECORDED, page.records)))
            if page.cursor is None:
                break
            pages += 1
            page = await self._ledger.read(
                page.selection, cursor=page.cursor, size=page_records(page.selection)
            )
        if pages > 1 and await self._ledger.upstreams.unfoldings() != start.unfoldings:
            # The first pages may have what the others left out, or lack what took its place.
            return await self._fold(fold, selection)
        if count == 0:
            return None
        if count < version and selection.types is None and selection.streams is not None:
            # Something is missing: an orphan or what was stamped anew, as a rule.
            await self._require_whole(selection.streams)
        taken = None
        if key is not None and selection.as_of is None:
            created, id = last
            place = (key, until, created, id, version, count, start.revision, "")
            taken = partial(Snapshot, *place)
        return Folded(state, count, version, taken, count - before, start.unfoldings)

    async def _require_whole(self, streams: Sequence[str]) -> None:
        if len(streams) > 1:
            return
        [stream] = streams
        position = await self._ledger.upstreams.first_tombstone(stream)
        if position is not None:
            raise ContentGone(stream, position)

    def _key_or_none(self, fold: Fold[Any], selection: Selection) -> SnapshotKey | None:
        if fold.state_type in self._without_snapshots:
            return None
        try:
            return key_of(fold, selection, self._registry)
        except SnapshotError:
            self._without_snapshots.add(fold.state_type)
            return None

    async def _put_if_faithful(self, fold: Fold[S], folded: Folded[S]) -> None:
        try:
            await self.put(fold, folded)
        except SnapshotError as error:
            # An automatic snapshot must not break a read; a manual one says the same by raising.
            self._unfaithful.add(fold.state_type)
            _log.warning("no automatic snapshots of %r: %s", fold.name, error)
        except StorageError as error:
            _log.warning("an automatic snapshot of %r was not stored: %s", fold.name, error)
