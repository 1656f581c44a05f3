"""Projectors: handlers that turn records into read models and effects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast, overload

from everlog.core.event import event_type_of
from everlog.core.record import Record
from everlog.core.reducer import Reducer
from everlog.core.stream import check_name
from everlog.errors import EventDefinitionError, HandlerFailed, MisusedStore
from everlog.ports.checkpoints import Tx
from everlog.subscriptions.calling import call, name_of, takes, takes_tx
from everlog.subscriptions.causation import handling
from everlog.subscriptions.effects import OnAmbiguous, Once, Outcome, once_of
from everlog.subscriptions.from_thread import FromThread
from everlog.subscriptions.queues import StreamQueues

E = TypeVar("E")
E2 = TypeVar("E2")
E_contra = TypeVar("E_contra")
S = TypeVar("S")
S_contra = TypeVar("S_contra")
R = TypeVar("R")
B = TypeVar("B", bound="BatchHandler")

Handler: TypeAlias = Callable[[Record[E]], R]
"""`async def` or `def`; what it returns is told to `on_success`."""
TxHandler: TypeAlias = Callable[[Record[E], Tx], Coroutine[Any, Any, R]]
"""One that asks for the transaction in which the checkpoint of its subscription moves, by the name
of its parameter: `tx`."""
BlockingTxHandler: TypeAlias = Callable[[Record[E], FromThread], None]
"""A `def` that asks for it, and has it without `await`: `everlog.blocking.Tx`."""
StateHandler: TypeAlias = Callable[[S, Record[E]], R]
"""What a `state` hands over: the state of a stream, and the record that has changed it."""
StateTxHandler: TypeAlias = Callable[[S, Record[E], Tx], Coroutine[Any, Any, R]]
"""One that asks for the transaction, as `TxHandler`."""
BlockingStateTxHandler: TypeAlias = Callable[[S, Record[E], FromThread], None]
"""A `def` that asks for it, as `BlockingTxHandler`."""
StateOf: TypeAlias = Callable[[Reducer[Any], str], Awaitable[Any]]
"""Returns the state of a stream, folded now: who runs `state` handlers has one."""
BatchHandler: TypeAlias = Callable[[Sequence[Record[Any]]], Awaitable[None] | None]
OnSuccess: TypeAlias = (
    Callable[[Record[Any], Any], Awaitable[None] | None]
    | Callable[[Record[Any], Any, Outcome], Awaitable[None] | None]
)
OnError: TypeAlias = (
    Callable[[Record[Any], Exception], Awaitable[None] | None]
    | Callable[[Record[Any], Exception, Outcome], Awaitable[None] | None]
)
"""Those with a parameter of the name `outcome` are for durable subscriptions: see `Outcome`."""


class Declare(Protocol[E_contra]):
    """What stands above a handler."""

    @overload
    def __call__(self, handler: TxHandler[E_contra, R], /) -> TxHandler[E_contra, R]: ...
    @overload
    def __call__(self, handler: BlockingTxHandler[E_contra], /) -> BlockingTxHandler[E_contra]: ...
    @overload
    def __call__(self, handler: Handler[E_contra, R], /) -> Handler[E_contra, R]: ...


class DeclareState(Protocol[S_contra, E_contra]):
    """What stands above a handler of states."""

    @overload
    def __call__(
        self, handler: StateTxHandler[S_contra, E_contra, R], /
    ) -> StateTxHandler[S_contra, E_contra, R]: ...
    @overload
    def __call__(
        self, handler: BlockingStateTxHandler[S_contra, E_contra], /
    ) -> BlockingStateTxHandler[S_contra, E_contra]: ...
    @overload
    def __call__(
        self, handler: StateHandler[S_contra, E_contra, R], /
    ) -> StateHandler[S_contra, E_contra, R]: ...


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
class Listener:
    """A handler, as it was declared."""

    number: int
    """It was the so-and-so-many-th that was."""
    kind: Literal["once", "on", "all", "state"]
    handler: Callable[..., Any]
    on_success: OnSuccess | None = None
    on_error: OnError | None = None
    reducer: Reducer[Any] | None = None
    """What a `state` is folded by."""
    once: Once | None = None
    """What a `once` says of its effect."""

    @property
    def takes_tx(self) -> bool:
        """Whether it asks for the transaction of a subscription."""
        return takes_tx(self.handler)

    def wants(self, *, hydrated: bool, outdated: bool) -> bool:
        match self.kind:
            case "once":
                return not hydrated and not outdated
            case "on":
                return not outdated
            case "all" | "state":
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
        self._listeners: dict[str, list[Listener]] = {}
        self._of_every_type: list[Listener] = []
        self._declared = 0
        self._state_of: StateOf | None = None
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
        on_ambiguous: OnAmbiguous | None = None,
        idempotent: bool = False,
        name: str | None = None,
    ) -> Declare[E]: ...
    @overload
    def once(
        self,
        type: type[E],
        other: type[E2],
        /,
        *,
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
        on_ambiguous: OnAmbiguous | None = None,
        idempotent: bool = False,
        name: str | None = None,
    ) -> Declare[E | E2]: ...
    @overload
    def once(
        self,
        *types: type[Any],
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
        on_ambiguous: OnAmbiguous | None = None,
        idempotent: bool = False,
        name: str | None = None,
    ) -> Declare[Any]: ...
    def once(
        self,
        *types: type[Any],
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
        on_ambiguous: OnAmbiguous | None = None,
        idempotent: bool = False,
        name: str | None = None,
    ) -> Declare[Any]:
        """Handles records that are new here and not outdated: for effects such as mail or payment.

        Never called for hydrated records: not in a replay, not after an import. `on_success(record,
        result)` and `on_error(record, error)` are awaited after it; with `on_error` the error
        counts as handled.

        In process it runs **at most once**: a crash between the append and the end of the handler
        loses the call. A durable subscription keeps each effect until its outcome is known, and has
        to be told what to do where a crash, or its `handler_timeout_s`, has left none, as nobody
        knows then whether it happened:

        - `idempotent=True`: the receiver takes `record.idempotency_key`; it is called again
        - `on_ambiguous`: `"retry"`: as above; `"park"`: it waits for a person, see
          `store.subscriptions.settle`; or a function `async def verify(record) -> bool` that asks
          the receiver: `True` or `("done", result)`: it has happened; `False`: it is called

        So an effect is never lost, or never repeated; both only together with a receiver that takes
        the key or can be asked. `name`: under which its states are kept, if not that of the
        function, which may be changed then. `on_success` is given the result as JSON values, and
        may append events by an `outcome`, see `Outcome`.

        Raises `EventDefinitionError` without types, `UnknownEvent` for a class that is no event.

        >>> projector = Projector()
        >>> @projector.once(UserCreated, on_success=lambda record, result: print(result))
        ... async def welcome(record: Record[UserCreated]) -> str:
        ...     return f"mail to {record.data.email}"
        >>> await projector.push(record_of(UserCreated(email="jane@doe.com")))
        mail to jane@doe.com
        >>> await projector.push(record_of(UserCreated(email="jane@doe.com"), hydrated=True))
        """

        def said(handler: Callable[..., Any]) -> Once:
            return once_of(handler, name=name, on_ambiguous=on_ambiguous, idempotent=idempotent)

        return self._declare("once", types, on_success=on_success, on_error=on_error, once=said)

    @overload
    def on(self, type: type[E], /) -> Declare[E]: ...
    @overload
    def on(self, type: type[E], other: type[E2], /) -> Declare[E | E2]: ...
    @overload
    def on(self, *types: type[Any]) -> Declare[Any]: ...
    def on(self, *types: type[Any]) -> Declare[Any]:
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
    def all(self, type: type[E], /) -> Declare[E]: ...
    @overload
    def all(self, type: type[E], other: type[E2], /) -> Declare[E | E2]: ...
    @overload
    def all(self, *types: type[Any]) -> Declare[Any]: ...
    def all(self, *types: type[Any]) -> Declare[Any]:
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

    @overload
    def state(self, reducer: Reducer[S], /) -> DeclareState[S, Any]: ...
    @overload
    def state(self, reducer: Reducer[S], type: type[E], /) -> DeclareState[S, E]: ...
    @overload
    def state(
        self, reducer: Reducer[S], type: type[E], other: type[E2], /
    ) -> DeclareState[S, E | E2]: ...
    @overload
    def state(self, reducer: Reducer[S], /, *types: type[Any]) -> DeclareState[S, Any]: ...
    def state(self, reducer: Reducer[S], /, *types: type[Any]) -> DeclareState[S, Any]:
        """Hands over the state of a stream, folded anew, whenever a record has changed it.

        For read models that are a picture of each stream's state: they end up the same in whichever
        order records come, late and hydrated ones too, as the fold is in the order of their
        creation. Only in a durable subscription, as it takes a store: `store.subscription`.

        - `reducer`: as for `store.reduce`, over the whole stream, with its snapshots
        - `types`: those whose records change the state, if not all; the fold is of all types

        Called with the state, the last record that came, by position, and `tx` if it asks for that
        by name. Of records that are dealt with together, each stream is folded once, behind its
        last; so it does not see every state, and a state may already hold records behind the one
        that it comes with. Those of one stream come in order, and the last is that of all its
        records. A stream whose fold or handler fails is held up as by any other handler. Not called
        for a stream of which a part went, as it is outside of what is synchronised: see `sync`.

        Raises `EventDefinitionError` for what is no reducer, `UnknownEvent` for a class that is no
        event.

        >>> projector = Projector()
        >>> @projector.state(user_reducer, UserCreated, EmailSet)
        ... async def show(state: UserState, record: Record) -> None:
        ...     print(record.stream, state.email, "at", record.position)
        >>> async with store.subscription("users", projector) as subscription:
        ...     await subscription.caught_up()
        user-1 jane@work.com at 2
        """
        # From programs that no type checker has seen.
        if not isinstance(reducer, Reducer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise EventDefinitionError(
                f"projector.state takes a reducer first, not {reducer!r}; "
                "write @projector.state(reducer, EventClass) above the handler"
            )
        return cast("DeclareState[S, Any]", self._declare("state", types, reducer=reducer))

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
                if self.listeners(record.type) and not record.orphan
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

    def wrapped(
        self,
        wrap: Callable[[Callable[..., Any]], Callable[..., Any]],
        *,
        state_of: StateOf | None = None,
    ) -> Projector:
        """Returns a projector with the same handlers and callbacks, each wrapped: to see its calls.

        It has queues of its own, and does not know of handlers that are declared later. With
        `state_of(reducer, stream)`, which is awaited for each record, its `state` handlers can be
        run without a subscription.

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

        def wrapped(listener: Listener) -> Listener:
            success, error = listener.on_success, listener.on_error
            return replace(
                listener,
                handler=wrap(listener.handler),
                on_success=None if success is None else wrap(success),
                on_error=None if error is None else wrap(error),
            )

        copy._declared, copy._state_of = self._declared, state_of
        for name, listeners in self._listeners.items():
            copy._listeners[name] = [wrapped(listener) for listener in listeners]
        copy._of_every_type = [wrapped(listener) for listener in self._of_every_type]
        for key, handlers in self._batches.items():
            copy._batches[key] = [wrap(handler) for handler in handlers]
        return copy

    @property
    def types(self) -> tuple[str, ...]:
        """The names of the event types that it has handlers for, sorted.

        Those of a `state` that is for all types are not among them, see `of_every_type`.

        >>> projector = Projector()
        >>> @projector.on(EmailSet)
        ... async def keep(record: Record[EmailSet]) -> None: ...
        >>> projector.types
        ('user:email-set',)
        """
        return tuple(sorted(self._listeners))

    @property
    def of_every_type(self) -> bool:
        """Whether it has a handler for events of every type: a `state` without types.

        >>> projector = Projector()
        >>> @projector.state(user_reducer)
        ... async def show(state: UserState, record: Record) -> None: ...
        >>> projector.of_every_type, projector.types
        (True, ())
        """
        return bool(self._of_every_type)

    def listeners(self, type: str) -> Sequence[Listener]:
        """Returns the handlers of an event type, in the order in which they were declared.

        >>> projector = Projector()
        >>> @projector.on(EmailSet)
        ... async def keep(record: Record[EmailSet]) -> None: ...
        >>> [listener.kind for listener in projector.listeners("user:email-set")]
        ['on']
        """
        listeners = self._listeners.get(type, [])
        if not self._of_every_type:
            return listeners
        return sorted([*listeners, *self._of_every_type], key=lambda listener: listener.number)

    async def _replay_one(self, record: Record[Any]) -> None:
        if self.listeners(record.type):
            await self._queue(record, hydrated=True, outdated=record.outdated)

    def _declare(
        self,
        kind: Literal["once", "on", "all", "state"],
        types: tuple[type[Any], ...],
        *,
        on_success: OnSuccess | None = None,
        on_error: OnError | None = None,
        reducer: Reducer[Any] | None = None,
        once: Callable[[Callable[..., Any]], Once] | None = None,
    ) -> Declare[Any]:
        if not types and kind != "state":
            raise EventDefinitionError(f"projector.{kind}() needs the event classes to handle")
        for cls in types:
            # From programs that no type checker has seen.
            if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise EventDefinitionError(
                    f"projector.{kind} takes event classes, not {cls!r}; "
                    f"write @projector.{kind}(EventClass) above the handler"
                )
        # Under all names that a type has: what it was called before is handled alike.
        names = [name for cls in types for name in event_type_of(cls).names]

        def declare(handler: Callable[..., R]) -> Callable[..., R]:
            said = None if once is None else once(handler)
            listener = Listener(self._declared, kind, handler, on_success, on_error, reducer, said)
            self._declared += 1
            for name in names:
                self._listeners.setdefault(name, []).append(listener)
            if not names:
                self._of_every_type.append(listener)
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
            for listener in self.listeners(record.type):
                if listener.wants(hydrated=hydrated, outdated=outdated):
                    try:
                        with handling(record):
                            await _run(listener, record, self._state_of)
                    except Exception as error:
                        failures.append(_failed(listener.handler, [record], error))
            _raise(failures)

        return self._queues.put(record.stream, run)


async def _run(listener: Listener, record: Record[Any], state_of: StateOf | None) -> None:
    if listener.takes_tx:
        raise MisusedStore(
            f"{name_of(listener.handler)} asks for `tx`, which a subscription has and a hook has "
            "not; run its projector by store.subscription(name, projector)"
        )
    if listener.reducer is not None:
        if state_of is None:
            raise MisusedStore(
                f"{name_of(listener.handler)} is handed the state of a stream, which takes a store "
                "to fold it; run its projector by store.subscription(name, projector)"
            )
        await call(listener.handler, await state_of(listener.reducer, record.stream), record)
        return
    for callback in (listener.on_success, listener.on_error):
        if callback is not None and takes(callback, "outcome"):
            raise MisusedStore(
                f"{name_of(callback)} asks for an `outcome`, which a subscription has and a hook "
                "has not; run its projector by store.subscription(name, projector)"
            )
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
