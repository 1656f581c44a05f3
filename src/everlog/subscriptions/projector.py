"""Projectors: handlers that turn records into read models and effects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, cast, overload

from everlog.core.event import event_type_of
from everlog.core.record import Record
from everlog.core.stream import check_name
from everlog.errors import EventDefinitionError, HandlerFailed
from everlog.subscriptions.calling import call, name_of
from everlog.subscriptions.causation import handling
from everlog.subscriptions.queues import StreamQueues

E = TypeVar("E")
E2 = TypeVar("E2")
R = TypeVar("R")
B = TypeVar("B", bound="BatchHandler")

Handler: TypeAlias = Callable[[Record[E]], R]
"""`async def` or `def`; what it returns is told to `on_success`."""
BatchHandler: TypeAlias = Callable[[Sequence[Record[Any]]], Awaitable[None] | None]
OnSuccess: TypeAlias = Callable[[Record[Any], Any], Awaitable[None] | None]
OnError: TypeAlias = Callable[[Record[Any], Exception], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Appended:
    """What a hook is told: records that are new in this ledger, in order of position.

    >>> def tell(appended: Appended) -> None:
    ...     print(appended.batch, [record.position for record in appended.records])
    >>> store.on_appended(tell)
    >>> records = await store.append("user-1", EmailSet("a@b"), EmailSet("a@c"), batch="crm")
    crm [3, 4]
    """

    records: tuple[Record[Any], ...]
    batch: str | None = None
    """The key under which they were appended together, if one was given."""


@dataclass(frozen=True, slots=True)
class _Listener:
    kind: Literal["once", "on", "all"]
    handler: Callable[..., Any]
    on_success: OnSuccess | None = None
    on_error: OnError | None = None

    def wants(self, *, hydrated: bool, outdated: bool) -> bool:
        match self.kind:
            case "once":
                return not hydrated and not outdated
            case "on":
                return not outdated
            case "all":
                return True


class Projector:
    """A set of handlers, and the order in which they see records.

    Records of one stream are handled one by one in order; different streams side by side. For one
    record, its handlers run one after another in the order in which they were declared; one that
    fails does not keep the others from running. `def` handlers run in a thread. A projector may be
    used in several event loops: each keeps an order of its own.

    >>> projector, emails = Projector(), {}
    >>> @projector.on(EmailSet)
    ... async def keep(record: Record[EmailSet]) -> None:
    ...     emails[record.stream] = record.data.root
    >>> store.on_appended(projector.handle)
    >>> [record] = await store.append("user-1", EmailSet("jane@acme.com"))
    >>> emails
    {'user-1': 'jane@acme.com'}
    """

    def __init__(self) -> None:
        self._listeners: dict[str, list[_Listener]] = {}
        self._batches: dict[str, list[BatchHandler]] = {}
        self._queues = StreamQueues()

    # Twice over, as type checkers join several types to what they have in common.
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
        result)` and `on_error(record, error)` are awaited after it; with `on_error` the error
        counts as handled.

        In process it runs **at most once**: a crash between the append and the end of the handler
        loses the call. A durable subscription keeps each effect until its outcome is known.

        Raises `EventDefinitionError` without types, `UnknownEvent` for a class that is no event.

        >>> projector = Projector()
        >>> @projector.once(UserCreated, on_success=lambda record, result: print(result))
        ... async def welcome(record: Record[UserCreated]) -> str:
        ...     return f"mail to {record.data.email}"
        >>> await projector.push(record_of(UserCreated(email="jane@doe.com")))
        mail to jane@doe.com
        >>> await projector.push(record_of(UserCreated(email="jane@doe.com"), hydrated=True))
        """
        return self._declare("once", types, on_success=on_success, on_error=on_error)

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
        ... async def show(record: Record[EmailSet]) -> None:
        ...     print(record.data.root)
        >>> await projector.push(record_of(EmailSet("jane@doe.com"), hydrated=True))
        jane@doe.com
        >>> await projector.push(record_of(EmailSet("jane@old.com"), outdated=True))
        """
        return self._declare("on", types)

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
        ... async def show(record: Record[UserCreated | EmailSet]) -> None:
        ...     print(record.type)
        >>> await projector.replay(store.read())
        user:created
        user:email-set
        2
        """
        return self._declare("all", types)

    def batch(self, key: str) -> Callable[[B], B]:
        """Handles together what was appended under this key: `store.append(..., batch=key)`.

        The handler is given all records of the append instead of the single handlers. A projector
        without a handler for the key hands them to its single handlers as usual. Raises
        `InvalidName` for a key that cannot be one.

        >>> projector = Projector()
        >>> @projector.batch("import")
        ... async def bulk(records: Sequence[Record]) -> None:
        ...     print(len(records), "at once")
        >>> store.on_appended(projector.handle)
        >>> records = await store.append(
        ...     "user-1", EmailSet("a@b.com"), EmailSet("a@c.com"), batch="import"
        ... )
        2 at once
        """
        check_name("batch key", key)

        def declare(handler: B) -> B:
            self._batches.setdefault(key, []).append(handler)
            return handler

        return declare

    async def handle(self, appended: Appended) -> None:
        """Handles what was appended; made for `store.on_appended(projector.handle)`.

        Returns when all its handlers have. Cancelling it cancels them. Raises as `push`.

        >>> projector = Projector()
        >>> @projector.all(EmailSet)
        ... async def show(record: Record[EmailSet]) -> None:
        ...     print(record.data.root)
        >>> await projector.handle(Appended((record_of(EmailSet("jane@doe.com")),)))
        jane@doe.com
        """
        self._queues.refuse_inside_jobs()
        if appended.batch is not None and appended.batch in self._batches:
            if not appended.records:
                return
            await self._queue_many(appended.batch, appended.records)
            return
        await _all_of(
            [
                self._queue(record, hydrated=record.hydrated, outdated=record.outdated)
                for record in appended.records
                if record.type in self._listeners
            ]
        )

    async def push(
        self, record: Record[Any], *, hydrated: bool | None = None, outdated: bool | None = None
    ) -> None:
        """Handles one record by hand, behind what its stream has queued.

        `hydrated` and `outdated` are the record's own unless said otherwise. Cancelling it cancels
        the handlers. Raises `HandlerFailed`, or an `ExceptionGroup` of several; `MisusedStore`
        inside a handler of this projector and in tasks of a handler that runs, which could wait for
        each other for ever: append there, and what is appended is handled behind them. For the same
        reason, handlers of two projectors must not push to each other.

        >>> projector = Projector()
        >>> @projector.once(UserCreated)
        ... async def welcome(record: Record[UserCreated]) -> None:
        ...     print("mail to", record.data.email)
        >>> created = await store.read("user-1").first()
        >>> await projector.push(created)
        mail to jane@doe.com
        >>> await projector.push(created, hydrated=True)
        """
        await self._queue(
            record,
            hydrated=record.hydrated if hydrated is None else hydrated,
            outdated=record.outdated if outdated is None else outdated,
        )

    async def push_many(self, key: str, records: Sequence[Record[Any]]) -> None:
        """Hands records to the batch handlers of a key, behind what their streams have queued.

        Raises as `push`.

        >>> projector = Projector()
        >>> @projector.batch("import")
        ... async def bulk(records: Sequence[Record]) -> None:
        ...     print(len(records), "at once")
        >>> await projector.push_many("import", await store.read("user-1").to_list())
        2 at once
        """
        self._queues.refuse_inside_jobs()
        if records:
            await self._queue_many(key, records)

    async def replay(self, records: AsyncIterable[Record[Any]] | Iterable[Record[Any]]) -> int:
        """Handles records as hydrated, in the order given: never runs a `once`. Returns how many.

        Made for `projector.replay(store.read(...))`: rebuilds a read model. Raises at the first
        failure, as `push`.

        >>> projector, emails = Projector(), {}
        >>> @projector.on(EmailSet)
        ... async def keep(record: Record[EmailSet]) -> None:
        ...     emails[record.stream] = record.data.root
        >>> await projector.replay(store.read())
        2
        >>> emails
        {'user-1': 'jane@work.com'}
        """
        self._queues.refuse_inside_jobs()
        count = 0
        if isinstance(records, AsyncIterable):
            async for record in records:
                await self._replay_one(record)
                count += 1
        else:
            for record in records:
                await self._replay_one(record)
                count += 1
        return count

    def wrapped(self, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Projector:
        """Returns a projector with the same handlers and callbacks, each wrapped: to see its calls.

        It has queues of its own, and does not know of handlers that are declared later.

        >>> projector = Projector()
        >>> @projector.all(EmailSet)
        ... async def keep(record: Record[EmailSet]) -> None: ...
        >>> def spied(handler):
        ...     async def call(*arguments):
        ...         print(handler.__name__)
        ...         await handler(*arguments)
        ...
        ...     return call
        >>> await projector.wrapped(spied).push(record_of(EmailSet("jane@doe.com")))
        keep
        """
        copy = Projector()
        for name, listeners in self._listeners.items():
            copy._listeners[name] = [
                _Listener(
                    listener.kind,
                    wrap(listener.handler),
                    None if listener.on_success is None else wrap(listener.on_success),
                    None if listener.on_error is None else wrap(listener.on_error),
                )
                for listener in listeners
            ]
        for key, handlers in self._batches.items():
            copy._batches[key] = [wrap(handler) for handler in handlers]
        return copy

    async def _replay_one(self, record: Record[Any]) -> None:
        if record.type in self._listeners:
            await self._queue(record, hydrated=True, outdated=record.outdated)

    def _declare(
        self,
        kind: Literal["once", "on", "all"],
        types: tuple[type[Any], ...],
        *,
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
    ) -> Callable[[Handler[Any, R]], Handler[Any, R]]:
        if not types:
            raise EventDefinitionError(f"projector.{kind}() needs the event classes to handle")
        for cls in types:
            # From programs that no type checker has seen.
            if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise EventDefinitionError(
                    f"projector.{kind} takes event classes, not {cls!r}; "
                    f"write @projector.{kind}(EventClass) above the handler"
                )
        names = [event_type_of(cls).type for cls in types]

        def declare(handler: Handler[Any, R]) -> Handler[Any, R]:
            for name in names:
                self._listeners.setdefault(name, []).append(
                    _Listener(kind, handler, on_success, on_error)
                )
            return handler

        return declare

    def _queue_many(self, key: str, records: Sequence[Record[Any]]) -> asyncio.Future[None]:
        handlers = self._batches.get(key, [])

        async def run() -> None:
            failures: list[Exception] = []
            for handler in handlers:
                try:
                    with handling(records[0] if len(records) == 1 else None):
                        await call(handler, records)
                except Exception as error:
                    failures.append(_failed(handler, records, error))
            _raise(failures)

        streams = (record.stream for record in records)
        return self._queues.put_across(streams, run)

    def _queue(
        self, record: Record[Any], *, hydrated: bool, outdated: bool
    ) -> asyncio.Future[None]:
        async def run() -> None:
            failures: list[Exception] = []
            for listener in self._listeners.get(record.type, ()):
                if listener.wants(hydrated=hydrated, outdated=outdated):
                    try:
                        with handling(record):
                            await _run(listener, record)
                    except Exception as error:
                        failures.append(_failed(listener.handler, [record], error))
            _raise(failures)

        return self._queues.put(record.stream, run)


async def _run(listener: _Listener, record: Record[Any]) -> None:
    try:
        result = await call(listener.handler, record)
    except Exception as error:
        if listener.on_error is None:
            raise
        await call(listener.on_error, record, error)
    else:
        if listener.on_success is not None:
            await call(listener.on_success, record, result)


async def _all_of(futures: Sequence[asyncio.Future[None]]) -> None:
    """Waits for all, then raises what any of them raised."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    failures: list[Exception] = []
    for result in results:
        if isinstance(result, ExceptionGroup):
            failures += cast("ExceptionGroup[Exception]", result).exceptions
        elif isinstance(result, Exception):
            failures.append(result)
        elif result is not None:
            raise result
    _raise(failures)


def _failed(
    handler: Callable[..., Any], records: Sequence[Record[Any]], error: Exception
) -> HandlerFailed:
    failed = HandlerFailed(name_of(handler), [record.id for record in records])
    failed.__cause__ = error
    return failed


def _raise(failures: Sequence[Exception]) -> None:
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup(f"{len(failures)} handlers failed", failures)
