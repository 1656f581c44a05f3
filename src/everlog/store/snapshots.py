"""`store.snapshots`: states kept to shorten folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from everlog.core.aggregate import AggregateRoot
from everlog.core.event import Registry
from everlog.core.reducer import Reducer
from everlog.core.selection import Selection
from everlog.core.snapshot import DropSnapshots, Snapshot, unseal
from everlog.core.state import state_codec
from everlog.errors import InvalidInput, NotFound, SnapshotError
from everlog.ports.ledger import Ledger
from everlog.store.committer import Committer
from everlog.store.folding import Fold, Folder, key_of, scope_of
from everlog.store.reading import select

S = TypeVar("S")
A = TypeVar("A", bound=AggregateRoot)


@dataclass(frozen=True, slots=True)
class StateAt(Generic[S]):
    """A stored state, and the place it was taken at."""

    state: S
    position: int
    """All records up to this position are in the state."""
    count: int
    """How many records it is folded from."""


class Snapshots:
    """Creates, shows and deletes snapshots. None of it changes what a fold answers.

    >>> snapshot = await store.snapshots.create(user_reducer, "user-1")
    >>> snapshot.position, snapshot.count
    (2, 2)
    >>> await store.reduce(user_reducer, "user-1")  # reads what came after it
    UserState(email='jane@work.com', blocked=False)
    """

    def __init__(
        self,
        ledger: Ledger,
        registry: Registry,
        committer: Committer,
        folder: Folder,
        fold_of: Callable[[Any, Selection], Fold[Any]],
    ) -> None:
        self._ledger = ledger
        self._registry = registry
        self._committer = committer
        self._folder = folder
        self._fold_of = fold_of

    @overload
    async def create(
        self,
        reducer: Reducer[S],
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[S]: ...
    @overload
    async def create(
        self,
        reducer: type[A],
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[A]: ...
    async def create(
        self,
        reducer: Any,
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[Any]:
        """Folds and stores the state of a stream or relation. Returns what was stored.

        Raises `NotFound` if there is nothing to fold, `SnapshotError` if the state would not read
        back as it is.

        >>> await store.snapshots.create(user_reducer, "user-1")
        StateAt(state=UserState(email='jane@work.com', blocked=False), position=2, count=2)
        >>> (await store.snapshots.create(User, "user-1")).state.email
        'jane@work.com'
        """
        selection = self._select(stream, relation, types)
        fold = self._fold_of(reducer, selection)
        # Says by raising what an automatic snapshot passes over.
        key_of(fold, selection, self._registry)
        folded = await self._folder.fold(fold, selection)
        if folded is None:
            raise NotFound(f"{scope_of(selection)} has no events to take a snapshot of")
        snapshot = await self._folder.put(fold, folded)
        return _state_at(folded.state, snapshot)

    @overload
    async def get(
        self,
        reducer: Reducer[S],
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[S] | None: ...
    @overload
    async def get(
        self,
        reducer: type[A],
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[A] | None: ...
    async def get(
        self,
        reducer: Any,
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[Any] | None:
        """Returns the stored state, even if late events have overtaken it; None without one.

        Raises `SnapshotError` for a kind of state that cannot be stored, and `InvalidInput` if
        neither a stream nor a relation is named, as the other methods do.

        >>> await store.snapshots.get(user_reducer, "user-1") is None
        True
        >>> await store.snapshots.create(user_reducer, "user-1")
        StateAt(...)
        >>> await store.snapshots.get(user_reducer, "user-1")
        StateAt(state=UserState(email='jane@work.com', blocked=False), position=2, count=2)
        """
        selection = self._select(stream, relation, types)
        fold = self._fold_of(reducer, selection)
        key = key_of(fold, selection, self._registry)
        found: Snapshot | None = None if key is None else await self._ledger.find_snapshot(key)
        if found is None:
            return None
        try:
            state = fold.restore(state_codec(fold.state_type).decode(unseal(found)))
        except SnapshotError:
            return None
        return _state_at(state, found)

    async def delete(
        self,
        reducer: Reducer[Any] | type[AggregateRoot] | None = None,
        stream: str | None = None,
        *,
        relation: str | None = None,
    ) -> int:
        """Deletes the snapshots of a reducer, or of all, over a stream or relation.

        Returns how many there were, over all versions, shapes and filters.

        >>> await store.snapshots.create(user_reducer, "user-1")
        StateAt(...)
        >>> await store.snapshots.delete(user_reducer, "user-1")
        1
        """
        selection = self._select(stream, relation, None)
        name = None if reducer is None else self._fold_of(reducer, selection).name
        scope = scope_of(selection)
        assert scope is not None
        outcome = await self._committer.commit(DropSnapshots(scope, name))
        assert isinstance(outcome, int)
        return outcome

    def _select(
        self,
        stream: str | None,
        relation: str | None,
        types: Sequence[type[Any] | str] | None,
    ) -> Selection:
        if stream is None and relation is None:
            raise InvalidInput("a snapshot is of a stream or of a relation; name one")
        return select(self._registry, stream=stream, relation=relation, types=types)


def _state_at(state: S, snapshot: Snapshot) -> StateAt[S]:
    if isinstance(state, AggregateRoot):
        state.log.version = snapshot.version  # so that saving it expects what it is folded from
    return StateAt(state, snapshot.position, snapshot.count)
