"""Aggregates whose `save` and `snapshot` are not awaited.

Made from `everlog.core.aggregate`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

from everlog.core.aggregate import AggregateRoot as AsyncAggregateRoot
from everlog.core.record import Record
from everlog.errors import MisusedStore


class AggregateRoot(AsyncAggregateRoot):
    """The base of aggregates: declare fields with defaults, and `apply`.

    - Annotated class attributes are the state; each instance begins with a fresh deep copy of
      their defaults. Values that are set in `apply` without being declared are not part of
      snapshots.
    - `apply(record)` changes the state; it is the original's `with`.
    - Methods with meaning decide, and `push` events. `save` appends what was pushed.
    - The class keyword `name` is what snapshots are stored under and ids begin with; `version`
      is to be raised when the logic of `apply` changes.

    Instances come from `store.new` and `store.get`. One name is reserved: `log`. Declaring it,
    or a `version` below 1, raises `EventDefinitionError`; a `name` that cannot be one raises
    `InvalidName`.

    >>> class User(AggregateRoot, name="user"):
    ...     email: str = ""
    ...
    ...     def apply(self, record: Record) -> None:
    ...         if isinstance(record.data, EmailSet):
    ...             self.email = record.data.root
    ...
    ...     def set_email(self, email: str) -> None:
    ...         if email != self.email:
    ...             self.push(EmailSet(email))
    >>> user = store.new(User, id="user-2")
    >>> user.set_email("joe@doe.com")
    >>> user.save()
    <User 'user-2' version 1>
    """

    def apply(self, record: Record[Any]) -> None:
        """Changes the state by one record. To be written by the subclass.

        >>> user = store.get(User, "user-1")
        >>> user.apply(record_of(EmailSet("jane@acme.com")))
        >>> user.email, user.log.is_dirty
        ('jane@acme.com', False)
        """
        super().apply(record)

    def push(self, event: object, *, meta: object = None) -> Self:
        """Adds an event to be saved, and applies it. Returns the aggregate itself.

        Validates at once: raises `EventValidationError`, `NotPortable`, `TooLarge` or
        `UnknownEvent` with the state as it was. The event's id is fixed here, so that saving twice
        stores it once. Raises `ReadOnlyAggregate` if the aggregate was folded from a relation or as
        of a moment.

        >>> user = store.get(User, "user-1")
        >>> user.push(EmailSet("jane@acme.com"))
        <User 'user-1' version 2 and 1 pending>
        >>> user.email
        'jane@acme.com'
        """
        return super().push(event, meta=meta)

    def save(self, *, emit: bool = True, batch: str | None = None) -> Self:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # not awaited
        """Appends the pending events, expecting the version that was loaded.

        Raises `WrongVersion` if somebody else has appended meanwhile: nothing is written, and the
        events stay pending. After an error whose outcome is unknown it can be called again.

        >>> user = store.get(User, "user-1")
        >>> user.set_email("jane@acme.com").save()
        <User 'user-1' version 3>
        """
        _saver_of(self, "save()").save_now(self, emit=emit, batch=batch)
        return self

    def snapshot(self) -> Self:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # not awaited
        """Stores a snapshot of the state as saved.

        Raises `UnsavedEvents` with events pending, `NotFound` if nothing was saved yet,
        `SnapshotError` if the state would not read back as it is, and `ReadOnlyAggregate` if it was
        folded from a relation or a past moment.

        >>> user = store.get(User, "user-1")
        >>> user.snapshot()
        <User 'user-1' version 2>
        """
        _saver_of(self, "snapshot()").snapshot_now(self)
        return self


class Saver(Protocol):
    """What `AggregateRoot.save` and `.snapshot` need of the store they come from."""

    def save_now(self, aggregate: AsyncAggregateRoot, *, emit: bool, batch: str | None) -> None:
        """Appends the pending events of the aggregate."""
        ...

    def snapshot_now(self, aggregate: AsyncAggregateRoot) -> None:
        """Stores a snapshot of the aggregate as saved."""
        ...


def _saver_of(aggregate: AggregateRoot, method: str) -> Saver:
    saver: Any = aggregate.log.saver
    if not hasattr(saver, "save_now"):
        name = type(aggregate).__qualname__
        raise MisusedStore(
            f"{name}.{method} of everlog.blocking waits, and its store is an async "
            f"one: await store.save(aggregate), or derive {name} from "
            "everlog.AggregateRoot"
        )
    found: Saver = saver
    return found
