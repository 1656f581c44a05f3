"""Projectors: handlers that turn records into read models and effects.

Made from `everlog.subscriptions.projector`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

from everlog.blocking.handing_over import hand_over
from everlog.blocking.portal import portal
from everlog.core.record import Record
from everlog.store.hooks import Hook
from everlog.subscriptions.projector import E2, Appended, B, E, Handler, OnError, OnSuccess, R
from everlog.subscriptions.projector import Projector as AsyncProjector


class Projector:
    """A set of handlers, and the order in which they see records.

    Records of one stream are handled one by one in order; different streams side by side. For
    one record, its handlers run one after another in the order in which they were declared; one
    that fails does not keep the others from running. `def` handlers run in a thread. An `async
    def` handler runs on the thread that all blocking stores need, so it cannot call them. A
    projector may be used by several stores and threads: they share its order.

    >>> projector, emails = Projector(), {}
    >>> @projector.on(EmailSet)
    ... def keep(record: Record[EmailSet]) -> None:
    ...     emails[record.stream] = record.data.root
    >>> store.on_appended(projector.handle)
    >>> [record] = store.append("user-1", EmailSet("jane@acme.com"))
    >>> emails
    {'user-1': 'jane@acme.com'}
    """

    def __init__(self) -> None:
        self._projector = AsyncProjector()

    @overload
    def once(
        self,
        type: type[E],
        /,
        *,
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
    ) -> Callable[[Handler[E, R]], Handler[E, R]]: ...

    @overload
    def once(
        self,
        type: type[E],
        other: type[E2],
        /,
        *,
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
    ) -> Callable[[Handler[E | E2, R]], Handler[E | E2, R]]: ...

    @overload
    def once(
        self,
        *types: type[Any],
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
    ) -> Callable[[Handler[Any, R]], Handler[Any, R]]: ...

    def once(
        self,
        *types: type[Any],
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
    ) -> Callable[[Handler[Any, R]], Handler[Any, R]]:
        """Handles records that are new here and not outdated: for effects such as mail or payment.

        Never called for hydrated records: not in a replay, not after an import. `on_success(record,
        result)` and `on_error(record, error)` are called after it; with `on_error` the error
        counts as handled.

        In process it runs **at most once**: a crash between the append and the end of the handler
        loses the call. A durable subscription keeps each effect until its outcome is known.

        Raises `EventDefinitionError` without types, `UnknownEvent` for a class that is no event.

        >>> projector = Projector()
        >>> @projector.once(UserCreated, on_success=lambda record, result: print(result))
        ... def welcome(record: Record[UserCreated]) -> str:
        ...     return f"mail to {record.data.email}"
        >>> projector.push(record_of(UserCreated(email="jane@doe.com")))
        mail to jane@doe.com
        >>> projector.push(record_of(UserCreated(email="jane@doe.com"), hydrated=True))
        """
        return self._projector.once(*types, on_success=on_success, on_error=on_error)

    @overload
    def on(self, type: type[E], /) -> Callable[[Handler[E, R]], Handler[E, R]]: ...

    @overload
    def on(
        self, type: type[E], other: type[E2], /
    ) -> Callable[[Handler[E | E2, R]], Handler[E | E2, R]]: ...

    @overload
    def on(self, *types: type[Any]) -> Callable[[Handler[Any, R]], Handler[Any, R]]: ...

    def on(self, *types: type[Any]) -> Callable[[Handler[Any, R]], Handler[Any, R]]:
        """Handles new and hydrated records that are not outdated: the latest data wins.

        For events that replace what was before. A late `MoneyDeposited` would be skipped: events
        that add to what was before belong in `all`. Raises as `once`.

        >>> projector = Projector()
        >>> @projector.on(EmailSet)
        ... def show(record: Record[EmailSet]) -> None:
        ...     print(record.data.root)
        >>> projector.push(record_of(EmailSet("jane@doe.com"), hydrated=True))
        jane@doe.com
        >>> projector.push(record_of(EmailSet("jane@old.com"), outdated=True))
        """
        return self._projector.on(*types)

    @overload
    def all(self, type: type[E], /) -> Callable[[Handler[E, R]], Handler[E, R]]: ...

    @overload
    def all(
        self, type: type[E], other: type[E2], /
    ) -> Callable[[Handler[E | E2, R]], Handler[E | E2, R]]: ...

    @overload
    def all(self, *types: type[Any]) -> Callable[[Handler[Any, R]], Handler[Any, R]]: ...

    def all(self, *types: type[Any]) -> Callable[[Handler[Any, R]], Handler[Any, R]]:
        """Handles every record, new, hydrated or outdated, in the order in which they come here.

        Raises as `once`.

        >>> projector = Projector()
        >>> @projector.all(UserCreated, EmailSet)
        ... def show(record: Record[UserCreated | EmailSet]) -> None:
        ...     print(record.type)
        >>> projector.replay(store.read())
        user:created
        user:email-set
        2
        """
        return self._projector.all(*types)

    def batch(self, key: str) -> Callable[[B], B]:
        """Handles together what was appended under this key: `store.append(..., batch=key)`.

        The handler is given all records of the append instead of the single handlers. A projector
        without a handler for the key hands them to its single handlers as usual. Raises
        `InvalidName` for a key that cannot be one.

        >>> projector = Projector()
        >>> @projector.batch("import")
        ... def bulk(records: Sequence[Record]) -> None:
        ...     print(len(records), "at once")
        >>> store.on_appended(projector.handle)
        >>> records = store.append(
        ...     "user-1", EmailSet("a@b.com"), EmailSet("a@c.com"), batch="import"
        ... )
        2 at once
        """
        return self._projector.batch(key)

    def handle(self, appended: Appended) -> None:
        """Handles what was appended; made for `store.on_appended(projector.handle)`.

        Returns when all its handlers have. Interrupting it cancels them. Raises as `push`.

        >>> projector = Projector()
        >>> @projector.all(EmailSet)
        ... def show(record: Record[EmailSet]) -> None:
        ...     print(record.data.root)
        >>> projector.handle(Appended((record_of(EmailSet("jane@doe.com")),)))
        jane@doe.com
        """
        portal().run(self._projector.handle, appended)

    def push(
        self, record: Record[Any], *, hydrated: bool | None = None, outdated: bool | None = None
    ) -> None:
        """Handles one record by hand, behind what its stream has queued.

        `hydrated` and `outdated` are the record's own unless said otherwise. Interrupting it
        cancels the handlers. Raises `HandlerFailed`, or an `ExceptionGroup` of several;
        `MisusedStore` inside a handler of this projector and in tasks of a handler that runs, which
        could wait for each other for ever: append there, and what is appended is handled behind
        them. For the same reason, handlers of two projectors must not push to each other.

        >>> projector = Projector()
        >>> @projector.once(UserCreated)
        ... def welcome(record: Record[UserCreated]) -> None:
        ...     print("mail to", record.data.email)
        >>> created = store.read("user-1").first()
        >>> projector.push(created)
        mail to jane@doe.com
        >>> projector.push(created, hydrated=True)
        """
        portal().run(self._projector.push, record, hydrated=hydrated, outdated=outdated)

    def push_many(self, key: str, records: Sequence[Record[Any]]) -> None:
        """Hands records to the batch handlers of a key, behind what their streams have queued.

        Raises as `push`.

        >>> projector = Projector()
        >>> @projector.batch("import")
        ... def bulk(records: Sequence[Record]) -> None:
        ...     print(len(records), "at once")
        >>> projector.push_many("import", store.read("user-1").to_list())
        2 at once
        """
        portal().run(self._projector.push_many, key, records)

    def replay(self, records: Iterable[Record[Any]]) -> int:
        """Handles records as hydrated, in the order given: never runs a `once`. Returns how many.

        Made for `projector.replay(store.read(...))`: rebuilds a read model. What is given
        is iterated by the calling thread. Raises at the first
        failure, as `push`.

        >>> projector, emails = Projector(), {}
        >>> @projector.on(EmailSet)
        ... def keep(record: Record[EmailSet]) -> None:
        ...     emails[record.stream] = record.data.root
        >>> projector.replay(store.read())
        2
        >>> emails
        {'user-1': 'jane@work.com'}
        """
        return hand_over(portal(), records, self._projector.replay, block=1)

    def wrapped(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Projector:
        """Returns a projector with the same handlers and callbacks, each wrapped: to see its calls.

        It has queues of its own, and does not know of handlers that are declared later.

        >>> projector = Projector()
        >>> @projector.all(EmailSet)
        ... def keep(record: Record[EmailSet]) -> None: ...
        >>> def spied(handler):
        ...     def call(*arguments):
        ...         print(handler.__name__)
        ...         handler(*arguments)
        ...
        ...     return call
        >>> projector.wrapped(spied).push(record_of(EmailSet("jane@doe.com")))
        keep
        """
        copy = Projector()
        copy._projector = self._projector.wrapped(wrap)
        return copy


def asynchronous(projector: Projector) -> AsyncProjector:
    """Returns the projector as the portal sees it."""
    return projector._projector  # pyright: ignore[reportPrivateUsage]  # its friend


def hook_of(hook: Hook) -> Hook:
    """Returns the hook as the portal calls it: a projector's without any thread."""
    owner = getattr(hook, "__self__", None)
    if isinstance(owner, Projector) and getattr(hook, "__func__", None) is Projector.handle:
        return owner._projector.handle  # pyright: ignore[reportPrivateUsage]  # its friend
    return hook
