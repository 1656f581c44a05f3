"""`store.snapshots`: states kept to shorten folds.

Made from `everlog.store.snapshots`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from everlog.blocking.portal import Portal
from everlog.blocking.saving import BlockingSaver
from everlog.core.aggregate import AggregateRoot
from everlog.core.reducer import Reducer
from everlog.store.snapshots import A, S, StateAt
from everlog.store.snapshots import Snapshots as AsyncSnapshots


class Snapshots:
    """Creates, shows and deletes snapshots. None of it changes what a fold answers.

    >>> snapshot = store.snapshots.create(user_reducer, "user-1")
    >>> snapshot.position, snapshot.count
    (2, 2)
    >>> store.reduce(user_reducer, "user-1")  # reads what came after it
    UserState(email='jane@work.com', blocked=False)
    """

    def __init__(self, portal: Portal, snapshots: AsyncSnapshots, saver: BlockingSaver) -> None:
        self._portal = portal
        self._snapshots = snapshots
        self._saver = saver

    @overload
    def create(
        self,
        reducer: Reducer[S],
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[S]: ...

    @overload
    def create(
        self,
        reducer: type[A],
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[A]: ...

    def create(
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

        >>> store.snapshots.create(user_reducer, "user-1")
        StateAt(state=UserState(email='jane@work.com', blocked=False), position=2, count=2)
        >>> store.snapshots.create(User, "user-1").state.email
        'jane@work.com'
        """
        created = self._portal.run(
            self._snapshots.create, reducer, stream, relation=relation, types=types
        )
        self._saver.adopt(created.state)
        return created

    @overload
    def get(
        self,
        reducer: Reducer[S],
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[S] | None: ...

    @overload
    def get(
        self,
        reducer: type[A],
        stream: str | None = None,
        *,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
    ) -> StateAt[A] | None: ...

    def get(
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

        >>> store.snapshots.get(user_reducer, "user-1") is None
        True
        >>> store.snapshots.create(user_reducer, "user-1")
        StateAt(...)
        >>> store.snapshots.get(user_reducer, "user-1")
        StateAt(state=UserState(email='jane@work.com', blocked=False), position=2, count=2)
        """
        found = self._portal.run(
            self._snapshots.get, reducer, stream, relation=relation, types=types
        )
        if found is not None:
            self._saver.adopt(found.state)
        return found

    def delete(
        self,
        reducer: Reducer[Any] | type[AggregateRoot] | None = None,
        stream: str | None = None,
        *,
        relation: str | None = None,
    ) -> int:
        """Deletes the snapshots of a reducer, or of all, over a stream or relation.

        Returns how many there were, over all versions, shapes and filters.

        >>> store.snapshots.create(user_reducer, "user-1")
        StateAt(...)
        >>> store.snapshots.delete(user_reducer, "user-1")
        1
        """
        return self._portal.run(self._snapshots.delete, reducer, stream, relation=relation)
