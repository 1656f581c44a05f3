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
from everlog.core.reducer import Reducer
from everlog.store.hooks import Hook
from everlog.subscriptions.effects import OnAmbiguous
from everlog.subscriptions.projector import (
    E2,
    Appended,
    B,
    Declare,
    DeclareState,
    E,
    Listener,
    OnError,
    OnSuccess,
    S,
    StateOf,
)
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
        result)` and `on_error(record, error)` are called after it; with `on_error` the error
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
        ... def welcome(record: Record[UserCreated]) -> str:
        ...     return f"mail to {record.data.email}"
        >>> projector.push(record_of(UserCreated(email="jane@doe.com")))
        mail to jane@doe.com
        >>> projector.push(record_of(UserCreated(email="jane@doe.com"), hydrated=True))
        """
        return self._projector.once(
            *types,
            on_success=on_success,
            on_error=on_error,
            on_ambiguous=on_ambiguous,
            idempotent=idempotent,
            name=name,
        )

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
        ... def show(record: Record[EmailSet]) -> None:
        ...     print(record.data.root)
        >>> projector.push(record_of(EmailSet("jane@doe.com"), hydrated=True))
        jane@doe.com
        >>> projector.push(record_of(EmailSet("jane@old.com"), outdated=True))
        """
        return self._projector.on(*types)

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
        ... def show(record: Record[UserCreated | EmailSet]) -> None:
        ...     print(record.type)
        >>> projector.replay(store.read())
        user:created
        user:email-set
        2
        """
        return self._projector.all(*types)

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
        ... def show(state: UserState, record: Record) -> None:
        ...     print(record.stream, state.email, "at", record.position)
        >>> with store.subscription("users", projector) as subscription:
        ...     subscription.caught_up()
        user-1 jane@work.com at 2
        """
        return self._projector.state(reducer, *types)

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
        copy._projector = self._projector.wrapped(wrap, state_of=state_of)
        return copy

    @property
    def types(self) -> tuple[str, ...]:
        """The names of the event types that it has handlers for, sorted.

        Those of a `state` that is for all types are not among them, see `of_every_type`.

        >>> projector = Projector()
        >>> @projector.on(EmailSet)
        ... def keep(record: Record[EmailSet]) -> None: ...
        >>> projector.types
        ('user:email-set',)
        """
        return self._projector.types

    @property
    def of_every_type(self) -> bool:
        """Whether it has a handler for events of every type: a `state` without types.

        >>> projector = Projector()
        >>> @projector.state(user_reducer)
        ... def show(state: UserState, record: Record) -> None: ...
        >>> projector.of_every_type, projector.types
        (True, ())
        """
        return self._projector.of_every_type

    def listeners(self, type: str) -> Sequence[Listener]:
        """Returns the handlers of an event type, in the order in which they were declared.

        >>> projector = Projector()
        >>> @projector.on(EmailSet)
        ... def keep(record: Record[EmailSet]) -> None: ...
        >>> [listener.kind for listener in projector.listeners("user:email-set")]
        ['on']
        """
        return self._projector.listeners(type)


def asynchronous(projector: Projector) -> AsyncProjector:
    """Returns the projector as the portal sees it."""
    return projector._projector  # pyright: ignore[reportPrivateUsage]  # its friend


def projector_of(projector: Any) -> AsyncProjector:
    """Returns what a subscription is given, whatever it is: it says what is wrong."""
    if isinstance(projector, Projector):
        return projector._projector  # pyright: ignore[reportPrivateUsage]  # its friend
    found: AsyncProjector = projector
    return found


def hook_of(hook: Hook) -> Hook:
    """Returns the hook as the portal calls it: a projector's without any thread."""
    owner = getattr(hook, "__self__", None)
    if isinstance(owner, Projector) and getattr(hook, "__func__", None) is Projector.handle:
        return owner._projector.handle  # pyright: ignore[reportPrivateUsage]  # its friend
    return hook
