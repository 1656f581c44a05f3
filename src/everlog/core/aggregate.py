"""Aggregates: a state with behaviour, which can emit events."""

from __future__ import annotations

import copy
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

from everlog.core.record import Record
from everlog.core.stream import check_name
from everlog.errors import EventDefinitionError, ReadOnlyAggregate


class Saver(Protocol):
    """What an aggregate needs of a store; a store is one, and so is a test's stand-in."""

    def pend(self, aggregate: AggregateRoot, event: object, meta: object) -> Record[Any]:
        """Returns the event as a pending record with its final id, validated."""
        ...

    async def save(
        self, *aggregates: AggregateRoot, emit: bool = True, batch: str | None = None
    ) -> None:
        """Appends the pending events of all aggregates, all or nothing."""
        ...

    async def snapshot_aggregate(self, aggregate: AggregateRoot) -> None:
        """Stores a snapshot of the aggregate as saved."""
        ...


class AggregateLog:
    """What an aggregate knows of its events."""

    __slots__ = ("_saver", "pending", "read_only", "stream", "version")

    def __init__(self, stream: str, saver: Saver, *, read_only: bool = False) -> None:
        self._saver = saver
        self.stream = stream
        """The stream that it is folded from and saved to."""
        self.version = 0
        """The version of the stream that was loaded or last saved; 0 for a new one."""
        self.pending: list[Record[Any]] = []
        """Events pushed and not yet saved, oldest first."""
        self.read_only = read_only
        """Whether it was folded from a relation or a past moment, and so cannot be saved."""

    def saved(self, versions: Mapping[str, int]) -> None:
        """Takes note that events are stored, from their ids to their versions in the stream."""
        stored = [record.id for record in self.pending if record.id in versions]
        self.version = max([self.version, *(versions[id] for id in stored)])
        self.pending[:] = [record for record in self.pending if record.id not in versions]

    @property
    def is_dirty(self) -> bool:
        """Whether there are events to be saved."""
        return bool(self.pending)

    @property
    def saver(self) -> Saver:
        """The store that it came from."""
        return self._saver


class AggregateRoot:
    """The base of aggregates: declare fields with defaults, and `apply`.

    - Annotated class attributes are the state; each instance begins with a fresh deep copy of their
      defaults. Values that are set in `apply` without being declared are not part of snapshots.
    - `apply(record)` changes the state; it is the original's `with`.
    - Methods with meaning decide, and `push` events. `save` appends what was pushed.
    - The class keyword `name` is what snapshots are stored under and ids begin with; `version` is
      to be raised when the logic of `apply` changes.

    Instances come from `store.new` and `store.get`. One name is reserved: `log`.
    Declaring it, or a `version` below 1, raises `EventDefinitionError`; a `name` that cannot be one
    raises `InvalidName`.

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
    >>> await user.save()
    <User 'user-2' version 1>
    """

    aggregate_name: ClassVar[str]
    aggregate_version: ClassVar[int]

    id: str
    """The name of its stream."""
    log: AggregateLog
    """What it knows of its events: `version`, `pending`, `is_dirty`."""

    def __init_subclass__(cls, *, name: str | None = None, version: int = 1, **kw: Any) -> None:
        super().__init_subclass__(**kw)
        if "log" in vars(cls) or "log" in vars(cls).get("__annotations__", {}):
            raise EventDefinitionError(
                f"{cls.__qualname__}.log is reserved for the aggregate's own log; rename the field"
            )
        if "__init__" in vars(cls):
            raise EventDefinitionError(
                f"{cls.__qualname__}.__init__ would never be called: instances come from the "
                "store; give fields defaults in the class instead"
            )
        if version < 1:
            raise EventDefinitionError(f"version={version!r} of {cls.__qualname__} must be from 1")
        cls.aggregate_name = check_name(
            "aggregate name", cls.__name__.lower() if name is None else name
        )
        cls.aggregate_version = version

    def __init__(self) -> None:
        """Not to be called: raises `EventDefinitionError`. Use `store.new` and `store.get`."""
        name = type(self).__qualname__
        raise EventDefinitionError(
            f"{name}() belongs to no store; use store.new({name}) or store.get({name}, stream)"
        )

    def apply(self, record: Record[Any]) -> None:
        """Changes the state by one record. To be written by the subclass.

        >>> user = await store.get(User, "user-1")
        >>> user.apply(record_of(EmailSet("jane@acme.com")))
        >>> user.email, user.log.is_dirty
        ('jane@acme.com', False)
        """
        raise NotImplementedError(f"{type(self).__qualname__} has to define apply(self, record)")

    def push(self, event: object, *, meta: object = None) -> Self:
        """Adds an event to be saved, and applies it. Returns the aggregate itself.

        Validates at once: raises `EventValidationError`, `NotPortable`, `TooLarge` or
        `UnknownEvent` with the state as it was. The event's id is fixed here, so that saving twice
        stores it once. Raises `ReadOnlyAggregate` if the aggregate was folded from a relation or as
        of a moment.

        >>> user = await store.get(User, "user-1")
        >>> user.push(EmailSet("jane@acme.com"))
        <User 'user-1' version 2 and 1 pending>
        >>> user.email
        'jane@acme.com'
        """
        if self.log.read_only:
            raise ReadOnlyAggregate(
                f"this {type(self).__qualname__} was folded from a relation or a past moment "
                f"({self.log.stream!r}); load the stream that the event belongs to as it is now: "
                "store.get(cls, stream)"
            )
        record = self.log.saver.pend(self, event, meta)
        self.apply(record)
        self.log.pending.append(record)
        return self

    async def save(self, *, emit: bool = True, batch: str | None = None) -> Self:
        """Appends the pending events, expecting the version that was loaded.

        Raises `WrongVersion` if somebody else has appended meanwhile: nothing is written, and the
        events stay pending. After an error whose outcome is unknown it can be called again.

        >>> user = await store.get(User, "user-1")
        >>> await user.set_email("jane@acme.com").save()
        <User 'user-1' version 3>
        """
        await self.log.saver.save(self, emit=emit, batch=batch)
        return self

    async def snapshot(self) -> Self:
        """Stores a snapshot of the state as saved.

        Raises `UnsavedEvents` with events pending, `NotFound` if nothing was saved yet,
        `SnapshotError` if the state would not read back as it is, and `ReadOnlyAggregate` if it was
        folded from a relation or a past moment.

        >>> user = await store.get(User, "user-1")
        >>> await user.snapshot()
        <User 'user-1' version 2>
        """
        await self.log.saver.snapshot_aggregate(self)
        return self

    def __repr__(self) -> str:
        log = self.log
        return (
            f"<{type(self).__qualname__} {log.stream!r} version {log.version}"
            f"{f' and {len(log.pending)} pending' if log.pending else ''}>"
        )


A = typing.TypeVar("A", bound=AggregateRoot)


def start(cls: type[A], stream: str, saver: Saver, *, read_only: bool = False) -> A:
    """Returns an instance in its initial state."""
    aggregate = cls.__new__(cls)
    aggregate.log = AggregateLog(stream, saver, read_only=read_only)
    aggregate.id = stream
    for field in fields_of(cls):
        if hasattr(cls, field):
            setattr(aggregate, field, copy.deepcopy(getattr(cls, field)))
    return aggregate


def fields_of(cls: type[AggregateRoot]) -> Mapping[str, Any]:
    """Returns the declared fields and their types: the state of the aggregate."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        name: hint
        for name, hint in hints.items()
        if name not in ("id", "log") and typing.get_origin(hint) is not ClassVar
    }
