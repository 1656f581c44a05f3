"""`EventStore`: the object that a program holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from everlog.connect import connect
from everlog.core.aggregate import AggregateRoot, start
from everlog.core.event import Registry
from everlog.core.record import Record
from everlog.core.reducer import Reducer
from everlog.core.selection import Selection
from everlog.core.sequencer import Head, Identity
from everlog.core.stamp import Clock, parse_stamp, receive
from everlog.core.stream import ANY, Expectation, check_name
from everlog.core.token import ResumeToken, encode
from everlog.errors import (
    CorruptLedger,
    InvalidInput,
    MisusedStore,
    ReadOnlyAggregate,
    UnsavedEvents,
)
from everlog.ports.ledger import Capabilities, Ledger
from everlog.ports.owner import Owner
from everlog.ports.seams import Seams, wall_clock_ms
from everlog.store.committer import Committer
from everlog.store.folding import Fold, Folder, fold_of_aggregate, fold_of_reducer
from everlog.store.hooks import ErrorHook, Hook, Hooks
from everlog.store.ids import IdSource
from everlog.store.observing import Observed
from everlog.store.opening import Opening, SnapshotPolicy, check_offset, check_policy
from everlog.store.preparing import Preparer, To
from everlog.store.reading import Reading, check_timeout, place_of, select
from everlog.store.relations import Relations
from everlog.store.saving import Saving
from everlog.store.snapshots import Snapshots
from everlog.store.transacting import Transaction
from everlog.store.verifying import Verification, verify
from everlog.store.writing import Importable, Imported, Writing, run_out
from everlog.subscriptions.causation import inside_handler

if TYPE_CHECKING:
    import typing_extensions

    # A default, for lists of classes which mypy joins to plain `type`.
    E = typing_extensions.TypeVar("E", default=Any)
else:
    E = TypeVar("E")

S = TypeVar("S")
A = TypeVar("A", bound=AggregateRoot)


@dataclass(frozen=True, slots=True)
class Status:
    """What a ledger knows of a record.

    >>> [record] = await store.append("user-1", EmailSet("jane@home.com"))
    >>> await store.status(record)
    Status(exists=True, outdated=False)
    """

    exists: bool
    """A record with its id is stored here."""
    outdated: bool
    """A newer record of its register stands in its stream here, now."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Who a ledger is and how far it has got; what `store.info` returns.

    >>> info = await store.info()
    >>> info.position, len(info.ledger), info.clock_ahead_ms
    (2, 32, 0)
    """

    ledger: str
    """Its id: the `origin` of what is born in it."""
    epoch: str
    node: str
    position: int
    """The position of the last record; 0 if there is none."""
    chain: str
    """The chain of the last record, in hex."""
    clock: str
    """The greatest stamp that it has given or received."""
    clock_ahead_ms: int
    """How far that lies ahead of the wall clock; more than a moment means a clock was set back."""
    token: str
    """The resume token of the last record: a reader goes on with what comes next."""


class EventStore:
    """A log of events, and what is folded from it. Open one with `EventStore.open`.

    A store belongs to the event loop and the process that opened it. Methods that need the log
    raise `StoreClosed` after it was closed, `WrongEventLoop` in another loop, `ForkedConnection` in
    a forked child, and `StorageError` where the place of the log fails.

    >>> async with EventStore.open("sqlite:///users.db", events=[UserCreated]) as store:
    ...     [created] = await store.append("user-1", UserCreated(email="jane@doe.com"))
    ...     async for record in store.read("user-1"):
    ...         print(record.position, record.type, record.data)
    1 user:created email='jane@doe.com'
    """

    relations: Relations
    """Keys that name sets of streams."""
    snapshots: Snapshots
    """Stored states that shorten folds."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        events: Iterable[type[Any]] = (),
        snapshots: SnapshotPolicy = "manual",
        max_offset_s: float = 60.0,
        seams: Seams | None = None,
    ) -> None:
        """Makes a store over a ledger that is open already; to be called in its event loop.

        Programs use `EventStore.open`; this is for adapters of your own.
        """
        seams = seams or Seams()
        self._ledger = ledger
        self._seams = seams
        self._owner = Owner("the store")
        self._registry = Registry(events)
        self._committer = Committer(ledger)
        self._hooks = Hooks()
        self._preparer = Preparer(
            self._registry, IdSource(seams.now_ms, seams.random_bytes), seams.random_bytes
        )
        self._max_offset_ms = check_offset(max_offset_s)
        self._observed = Observed()
        self._writing = Writing(
            self._registry, self._committer, self._hooks, self._observed, self._owner
        )
        self._saving = Saving(ledger, self._writing, self._preparer, self._observed, seams)
        self._folder = Folder(
            ledger, self._registry, self._committer, check_policy(snapshots), self._observed.take
        )
        self.relations = Relations(ledger, self._committer)
        self.snapshots = Snapshots(
            ledger, self._registry, self._committer, self._folder, self._fold_of
        )

    @staticmethod
    def open(
        url: str | PathLike[str],
        *,
        events: Iterable[type[Any]] = (),
        snapshots: SnapshotPolicy = "manual",
        max_offset_s: float = 60.0,
        clock: Callable[[], int] = wall_clock_ms,
        **options: Any,
    ) -> Opening[EventStore]:
        """Opens the store that a URL names: `async with EventStore.open(...) as store:`.

        - `url`: `memory:`, `sqlite:///relative.db`, `sqlite:////absolute/path.db`, or a `Path`,
          which is that of a SQLite file; `postgresql://user@host/database`. A ledger that is not
          there is created
        - `events`: the classes that may be written, and into which records are decoded
        - `snapshots`: `"manual"`; `"auto"`, which is `every(100)`; or `every(n)`
        - `max_offset_s`: how far ahead of the wall clock an imported record may be stamped, in
          seconds
        - `clock`: the wall clock, in milliseconds since 1970
        - for SQLite, `durability="full"` (default: what has been appended survives a power cut) or
          `"relaxed"`, and `timeout_s=30.0`, how long to wait for other processes' writes
        - for PostgreSQL, `schema="everlog"`; `migrate`: True brings an older ledger up to date,
          False changes nothing, else one is created where there is none; `timeout_s=30.0`, how long
          to wait for other processes' writes and for a lost server; `readers=4`, how many
          connections read at most; `pooler="transaction"` behind a proxy that pools so

        Options can stand in the URL, too: `postgresql://app@db/app?schema=audit`.

        Raises `InvalidInput` (such as `InvalidUrl`, `EventDefinitionError`, `UnknownEvent`,
        `EventAlreadyRegistered`), `NotSupported` where a driver is missing, and `CannotOpen` (or
        its `ForeignFile`, `NewerFormat`, `OlderFormat`) before anything is written.

        >>> async with EventStore.open("memory:", events=[UserCreated]) as store:
        ...     [record] = await store.append("user-1", UserCreated(email="jane@doe.com"))
        >>> store = await EventStore.open("sqlite:///users.db", events=[UserCreated], timeout_s=5)
        >>> await store.close()
        """
        if isinstance(events, type):
            raise InvalidInput(f"events= is a list of classes; write events=[{events.__name__}]")
        classes, seams = list(events), Seams(now_ms=clock)

        async def open() -> EventStore:
            # Before the ledger is touched: a wrong class must not leave a new file behind.
            Registry(classes)
            check_policy(snapshots)
            check_offset(max_offset_s)
            ledger = await connect(url, seams=seams, options=options)
            try:
                return EventStore(
                    ledger,
                    events=classes,
                    snapshots=snapshots,
                    max_offset_s=max_offset_s,
                    seams=seams,
                )
            except BaseException:
                await ledger.close()
                raise

        return Opening(open)

    # --- writing ---

    async def append(
        self,
        stream: str,
        *events: object,
        meta: object = None,
        expect: Expectation = ANY,
        ids: Sequence[str] | None = None,
        relations: Iterable[str] = (),
        emit: bool = True,
        batch: str | None = None,
    ) -> list[Record[Any]]:
        """Appends events to a stream, all or nothing, and returns their records.

        When it returns, they are durable, and hooks have run (inside a hook or handler it does not
        wait for hooks; see `drained`).

        - `meta`: what is said about the events, if their types declare a meta class
        - `expect`: what the stream must be: `ANY`, `NEW` (or 0), `EXISTS`, or at this version
        - `ids`: an id per event; the same ids with the same content again are a retry, which
          returns the original records whatever `expect` says and stores nothing
        - `relations`: relations that the stream is added to in the same transaction
        - `emit`: whether hooks run
        - `batch`: a key under which hooks are told, for `projector.batch(key)`

        Raises `WrongVersion`, `IdConflict`, `PartialRetry`, `EventValidationError`, `NotPortable`,
        `UnknownEvent`, `InvalidName`, `InvalidExpectation`, `TooLarge` (over 1 MiB an event, 10,000
        events or 16 MiB a call), `InvalidInput` without events; then nothing is written. Raises
        `OutcomeUnknown` if it cannot be told, and may have taken effect if it is cancelled: repeat
        it with the same ids.

        >>> await store.append("user-2", UserCreated(email="joe@doe.com"), expect=NEW, ids=["m1"])
        [<Record 3 user:created of 'user-2' version 1 id m1>]
        >>> await store.append("user-2", EmailSet("joe@acme.com"), EmailSet("joe@a.com"), expect=1)
        [<Record 4 ... version 2 id ...>, <Record 5 ... version 3 id ...>]
        """
        self._owner.check()
        request = self._preparer.append(
            stream,
            events,
            meta=meta,
            expect=expect,
            ids=ids,
            relations=relations,
            observed=self._observed.stamp,
        )
        records, hooks = await self._writing.append(request, emit=emit, batch=batch)
        if hooks:
            await run_out(hooks)
        return records

    async def append_many(
        self, items: Iterable[To], *, emit: bool = True, batch: str | None = None
    ) -> list[Record[Any]]:
        """Appends events to several streams, all or nothing, in the order given.

        Made of `to(stream, event, ...)`; otherwise as `append`.

        >>> records = await store.append_many(
        ...     [
        ...         to("user-2", UserCreated(email="a@b.com"), expect=NEW, relations=["admins"]),
        ...         to("user-1", EmailSet("jane@acme.com"), expect=2),
        ...     ]
        ... )
        >>> [(record.position, record.stream, record.version) for record in records]
        [(3, 'user-2', 1), (4, 'user-1', 3)]
        """
        self._owner.check()
        request = self._preparer.append_many(list(items), observed=self._observed.stamp)
        records, hooks = await self._writing.append(request, emit=emit, batch=batch)
        if hooks:
            await run_out(hooks)
        return records

    def transaction(self, connection: object, *, emit: bool = True) -> Transaction:
        """Returns a transaction in which events commit with your own tables: all, or nothing.

        For a PostgreSQL store; `connection` is a psycopg 3 connection to the same database, async
        or blocking, whose transaction has begun or not, in READ COMMITTED. It is committed at the
        end of the block, and rolled back if the block raises. What is appended in it is written at
        its end, and has its positions then; the ledger's lock comes last, and is held for a moment.
        Who is cancelled at the end, with the commit under way, stays until it is over.

        - `emit`: whether hooks run, after the commit

        Raises `NotSupported` for another kind of store, `InvalidInput` for a connection that events
        cannot join (such as in REPEATABLE READ, inside `connection.transaction()`, or to another
        database), and at the end of the block what `append` raises, `StorageError`, and what the
        driver raises for a constraint that was deferred; then all of it has been rolled back. Only
        `OutcomeUnknown` leaves it open: run the block again with the same ids, and if it has
        committed, that is found out, and nothing happens twice.

        >>> async with await psycopg.AsyncConnection.connect(url) as connection:
        ...     async with store.transaction(connection) as tx:
        ...         _ = await connection.execute("INSERT INTO mails VALUES ('joe@doe.com')")
        ...         tx.append("user-2", UserCreated(email="joe@doe.com"), expect=NEW)
        >>> tx.records
        [<Record 3 user:created of 'user-2' version 1 id ...>]
        """
        self._owner.check()
        return Transaction(
            self._ledger.join(connection),
            preparer=self._preparer,
            writing=self._writing,
            observed=self._observed,
            owner=self._owner,
            emit=emit,
        )

    async def import_records(
        self,
        records: Iterable[Importable] | AsyncIterable[Importable],
        *,
        emit: bool = True,
        batch: str | None = None,
        max_offset_s: float | None = None,
    ) -> Imported:
        """Takes in records from another store, or late ones, as they are.

        They keep id, `created`, origin and nonce, and so their hash; they get position, version and
        `recorded` here, and are hydrated. Records that are here already, or come twice, are passed
        over, so an import can be repeated. Types need not be known.

        A list or tuple is taken in all or nothing. Anything else that can be iterated, such as
        `other.read()`, is taken in by chunks of at most 500: what came before an error stays, and
        running it again goes on. An async generator that an error cuts short is closed.

        Raises `IdConflict` for an id with other content, `TamperedRecord`, `NotPortable`,
        `InvalidName`, `ClockAhead` for a stamp more than `max_offset_s` (default: the store's)
        ahead of the wall clock, `TooLarge` for a list of over 10,000 records or 16 MiB.

        >>> async with EventStore.open("memory:") as copy:
        ...     print(await copy.import_records(store.read()))
        ...     print(await copy.import_records(store.read()))
        Imported(stored=2, known=0)
        Imported(stored=0, known=2)
        """
        self._owner.check()
        return await self._writing.take_in(
            records,
            max_offset_ms=self._max_offset_ms
            if max_offset_s is None
            else check_offset(max_offset_s),
            emit=emit,
            batch=batch,
        )

    def past(
        self,
        stream: str,
        event: object,
        *,
        created: datetime | str,
        meta: object = None,
        id: str | None = None,
        origin: str | None = None,
    ) -> Record[Any]:
        """Returns a record of something that happened earlier, for `import_records`.

        For moving a history into everlog. `created` is an aware datetime, a stamp, or a stamp of
        the original TypeScript library (`mkdsn5a8-00003`). Give ids that follow from the source, so
        that the import can be repeated; `origin` names where it was born (default: this ledger).
        Nothing is written.

        Raises `EventValidationError`, `NotPortable`, `TooLarge`, `UnknownEvent`, `InvalidName`,
        `NaiveDatetime`, and `InvalidStamp` for a `created` that is no stamp or before 1970.

        >>> june = datetime(2025, 6, 1, tzinfo=UTC)
        >>> past = store.past("user-1", EmailSet("jane@old.com"), created=june, id="crm-17")
        >>> await store.import_records([past])
        Imported(stored=1, known=0)
        >>> (await store.reduce(user_reducer, "user-1")).email  # it happened before the others
        'jane@work.com'
        """
        self._owner.check()
        identity = self._ledger.identity
        return self._preparer.past(
            stream,
            event,
            created=created,
            meta=meta,
            id=id,
            origin=identity.ledger if origin is None else origin,
            node=identity.node,
        )

    # --- reading ---

    @overload
    def read(
        self,
        stream: str | None = None,
        *,
        streams: Sequence[str] | None = None,
        relation: str | None = None,
        types: Sequence[type[E]],
        after: int | str = 0,
        until: int | None = None,
        as_of: datetime | str | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Reading[E]: ...
    @overload
    def read(
        self,
        stream: str | None = None,
        *,
        streams: Sequence[str] | None = None,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
        after: int | str = 0,
        until: int | None = None,
        as_of: datetime | str | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Reading[Any]: ...
    def read(
        self,
        stream: str | None = None,
        *,
        streams: Sequence[str] | None = None,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
        after: int | str = 0,
        until: int | None = None,
        as_of: datetime | str | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Reading[Any]:
        """Reads records in order of position: of a stream, several, a relation, or all.

        - `types`: only these, as classes or type names
        - `after`, `until`: only positions above, and up to and including, these; `after` may be a
          resume token, see `token`
        - `as_of`: only what was created at or before a moment (an aware datetime, to the
          millisecond) or a stamp
        - `limit`: so many at most; `backwards`: the last first

        Reads nothing yet: `async for record in store.read(...)`, or `.to_list()`, `.first()`.
        A stream that does not exist has no records. Raises `InvalidInput` for what cannot be asked,
        such as `InvalidName`, `UnknownEvent`, `NaiveDatetime`, `InvalidToken`. Reading raises
        `LogDiverged` if the log is not the one of the token, or became another between two pages.

        >>> async for record in store.read("user-1", types=[EmailSet]):
        ...     print(record.position, record.data.root)
        2 jane@work.com
        >>> await store.read(backwards=True, limit=1).to_list()
        [<Record 2 user:email-set of 'user-1' version 2 id ...>]
        """
        self._owner.check()
        selection = select(
            self._registry,
            stream=stream,
            streams=streams,
            relation=relation,
            types=types,
            after=after,
            until=until,
            as_of=as_of,
            limit=limit,
            backwards=backwards,
        )
        return Reading(self._ledger, self._registry, selection, self._observed.take)

    def token(self, record: Record[Any]) -> str:
        """Returns a resume token: with `after=` it goes on behind a record of this store.

        Keep it with what is made of the records. A position would do as well, but for a server that
        fails over without its last records, or an old backup that is restored: other records get
        their positions then, and would be skipped. With a token `LogDiverged` is raised.

        It is text for a URL, a file or a column, 92 characters, with no secret in it. That of the
        head is `(await store.info()).token`. Raises `InvalidInput` for a record that is not stored.

        >>> record = await store.read().first()
        >>> token = store.token(record)
        >>> [record.position async for record in store.read(after=token)]
        [2]
        """
        self._owner.check()
        row, identity = record.stored, self._ledger.identity
        if row.position == 0:
            raise InvalidInput(f"{record!r} is not stored yet; take the record that append returns")
        return encode(ResumeToken(identity.ledger, identity.epoch, row.position, row.chain))

    async def wait(self, *, after: int | str = 0, timeout_s: float = 60.0) -> int:
        """Returns the head's position once it is past `after`, or after `timeout_s` seconds.

        For who follows the log: it waits for what any process appends. `after` is a position or a
        resume token. Raises `LogDiverged` if the log is not the one of the token, `InvalidInput`
        for a time that is none or over a day, `StoreClosed` when the store is closed meanwhile.

        >>> async def follow(token: str) -> str:
        ...     await store.wait(after=token, timeout_s=5)
        ...     async for record in store.read(after=token):
        ...         print(record.position)
        ...         token = store.token(record)
        ...     return token
        >>> token = (await store.info()).token
        >>> [record] = await store.append("user-1", EmailSet("jane@acme.com"))
        >>> token = await follow(token)
        3
        """
        self._owner.check()
        position, seen = place_of(after)
        check_timeout(timeout_s)
        if seen is not None:
            await self._require(seen)
        head = await self._ledger.wait(position, timeout_s=timeout_s)
        if seen is not None and head < position:  # it lost its tail meanwhile
            await self._require(seen)
        return head

    async def status(self, record: Record[Any]) -> Status:
        """Returns whether a record, from here or elsewhere, exists and is outdated here.

        >>> created = await store.read("user-1").first()
        >>> await store.status(created)
        Status(exists=True, outdated=False)
        """
        self._owner.check()
        [found] = await self._ledger.find([record.id])
        outdated = await self._ledger.overtaken(record.stream, record.register, record.stored.order)
        return Status(exists=found is not None, outdated=outdated)

    async def find(self, id: str) -> Record[Any] | None:
        """Returns the record of an event id, or None; raises `InvalidName`.

        >>> await store.append("user-1", EmailSet("jane@home.com"), ids=["message-17"])
        [<Record 3 ...>]
        >>> await store.find("message-17")
        <Record 3 user:email-set of 'user-1' version 3 id message-17>
        >>> await store.find("message-18") is None
        True
        """
        self._owner.check()
        [found] = await self._ledger.find([check_name("event id", id)])
        return None if found is None else Record(found, self._registry)

    # --- folding ---

    async def reduce(
        self,
        reducer: Reducer[S],
        stream: str | None = None,
        *,
        streams: Sequence[str] | None = None,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
        until: int | None = None,
        as_of: datetime | str | None = None,
        pending: Iterable[Record[Any]] = (),
    ) -> S | None:
        """Returns the state that records give, folded by `(created, id)`; None if there are none.

        - `until`: only positions up to this one; `as_of`: only what was created by a moment
        - `pending`: records to fold after the stored ones, such as `aggregate.log.pending`

        A snapshot that holds shortens the read and never changes the answer. Raises `InvalidInput`
        as `read`, and what the reducer raises.

        >>> await store.reduce(user_reducer, "user-1")
        UserState(email='jane@work.com', blocked=False)
        >>> await store.reduce(user_reducer, "user-1", until=1)
        UserState(email='jane@doe.com', blocked=False)
        >>> await store.reduce(user_reducer, "user-9") is None
        True
        """
        self._owner.check()
        if not isinstance(reducer, Reducer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInput(
                f"{reducer!r} is no reducer; decorate it: @reducer('name', initial=...)"
            )
        selection = select(
            self._registry,
            stream=stream,
            streams=streams,
            relation=relation,
            types=types,
            until=until,
            as_of=as_of,
        )
        folded = await self._folder.fold(fold_of_reducer(reducer), selection, list(pending))
        return None if folded is None else folded.state

    # --- aggregates ---

    def new(self, cls: type[A], *, id: str | None = None) -> A:
        """Returns an aggregate in its initial state; the id is its stream.

        Without an id it is `<name>-<uuid>`. Saving it expects the stream to be new. Raises
        `InvalidName` for an id that cannot name a stream.

        >>> user = store.new(User, id="user-2")
        >>> await user.set_email("joe@doe.com").save()
        <User 'user-2' version 1>
        >>> store.new(User).id
        'user-...'
        """
        self._owner.check()
        stream = f"{cls.aggregate_name}-{self._preparer.new_id()}" if id is None else id
        return start(cls, check_name("stream", stream), self)

    async def get(
        self,
        cls: type[A],
        stream: str | None = None,
        *,
        relation: str | None = None,
        as_of: datetime | str | None = None,
    ) -> A | None:
        """Returns the aggregate of a stream, or None if the stream has no events.

        With `relation` it is folded from all streams of the relation; with `as_of` as it was at a
        moment. Both are read-only: `push` raises `ReadOnlyAggregate`. Raises `InvalidInput` as
        `read`, and what `apply` raises.

        >>> user = await store.get(User, "user-1")
        >>> user, user.email
        (<User 'user-1' version 2>, 'jane@work.com')
        >>> await store.get(User, "user-9") is None
        True
        """
        self._owner.check()
        # From programs that no type checker has seen.
        if not _is_aggregate_class(cls):
            raise InvalidInput(f"get takes an aggregate class and then a stream, not {cls!r}")
        if stream is None and relation is None:
            raise InvalidInput(f"name the stream or relation to fold a {cls.__qualname__} from")
        selection = select(self._registry, stream=stream, relation=relation, as_of=as_of)
        folded = await self._folder.fold(
            self._fold_of(cls, selection, read_only=as_of is not None), selection
        )
        if folded is None:
            return None
        aggregate: A = folded.state
        aggregate.log.version = 0 if relation is not None else folded.version
        return aggregate

    async def save(
        self, *aggregates: AggregateRoot, emit: bool = True, batch: str | None = None
    ) -> None:
        """Appends the pending events of aggregates, all or nothing.

        Each expects the version that it was loaded at: raises `WrongVersion` if somebody else has
        appended meanwhile; then nothing is written and the events stay pending. After an error or a
        cancellation that leaves the outcome open, saving again stores each event once. Raises
        `InvalidInput` for two aggregates of one stream; otherwise as `append`.

        >>> jane = await store.get(User, "user-1")
        >>> joe = store.new(User, id="user-2")
        >>> await store.save(jane.set_email("jane@acme.com"), joe.set_email("joe@acme.com"))
        >>> jane, joe
        (<User 'user-1' version 3>, <User 'user-2' version 1>)
        """
        self._owner.check()
        await self._saving.save(aggregates, emit=emit, batch=batch)

    async def retrying(
        self,
        cls: type[A],
        stream: str,
        decide: Callable[[A], Awaitable[Any] | Any],
        *,
        attempts: int = 10,
    ) -> A:
        """Loads an aggregate, lets `decide` push events, saves; again if somebody else was faster.

        Returns the saved aggregate. `decide` is called anew with a fresh aggregate for every
        attempt, so it must not do anything else that counts. Raises `NotFound` if the stream has no
        events, `WrongVersion` if the last attempt lost too, `InvalidInput` if `attempts` is below
        1, and what `decide` raises.

        >>> await store.retrying(User, "user-1", lambda user: user.set_email("jane@acme.com"))
        <User 'user-1' version 3>
        """
        return await self._saving.retrying(
            lambda: self.get(cls, stream), decide, attempts=attempts, what=f"stream {stream!r}"
        )

    # --- hooks ---

    def on_appended(self, hook: Hook) -> None:
        """Adds a hook that is told of every append and import in this process, in order.

        The original's `onEventsInserted`. An append returns after its hooks have run. A hook is
        told of one append after the other; a projector, `store.on_appended(projector.handle)`,
        keeps the order of each stream and lets streams run side by side. A hook that raises does
        not undo the append: `on_error` hooks are told.

        >>> def tell(appended: Appended) -> None:
        ...     print("appended", [record.type for record in appended.records])
        >>> store.on_appended(tell)
        >>> [record] = await store.append("user-1", EmailSet("jane@acme.com"))
        appended ['user:email-set']
        """
        self._hooks.on_appended(hook)

    def on_error(self, hook: ErrorHook) -> None:
        """Adds a hook that is told when another hook fails. Without one, errors are logged.

        >>> def fail(appended: Appended) -> None:
        ...     raise ValueError("no")
        >>> def tell(failure: HookFailure) -> None:
        ...     print(repr(failure.error), "in", failure.hook)
        >>> store.on_appended(fail)
        >>> store.on_error(tell)
        >>> [record] = await store.append("user-1", EmailSet("jane@acme.com"))
        ValueError('no') in ...fail
        """
        self._hooks.on_error(hook)

    async def drained(self) -> None:
        """Returns when nothing is being written and every hook that was started has ended.

        Raises `MisusedStore` inside a hook or handler, where it would wait for itself.

        >>> writing = asyncio.create_task(store.append("user-1", EmailSet("jane@acme.com")))
        >>> await asyncio.sleep(0)  # it begins
        >>> await store.drained()
        >>> (await store.info()).position
        3
        """
        self._owner.check()
        if inside_handler():
            raise MisusedStore(
                "drained() inside a hook or handler would wait for itself; call it outside"
            )
        await self._idle()

    # --- the ledger itself ---

    @property
    def capabilities(self) -> Capabilities:
        """What this kind of store can do.

        >>> store.capabilities
        Capabilities(durable=False, shared=False, backup=False, transactions=False)
        """
        return self._ledger.capabilities

    @property
    def ledger(self) -> Ledger:
        """The ledger port under this store, for tools and tests.

        >>> (await store.ledger.head()).position
        2
        """
        return self._ledger

    async def info(self) -> StoreInfo:
        """Returns who the ledger is and how far it has got.

        >>> (await store.info()).position
        2
        """
        self._owner.check()
        identity: Identity = self._ledger.identity
        head: Head = await self._ledger.head()
        ms, _, _ = parse_stamp(head.clock)
        return StoreInfo(
            ledger=identity.ledger,
            epoch=identity.epoch,
            node=identity.node,
            position=head.position,
            chain=head.chain.hex(),
            clock=head.clock,
            clock_ahead_ms=max(0, ms - self._seams.now_ms()),
            token=_token_of(identity, head),
        )

    def observe(self, record: Record[Any] | str) -> None:
        """Makes what is appended here from now on created after a record or stamp from elsewhere.

        What is read from this store is observed by itself. Raises `ClockAhead` for a stamp too far
        in the future, `InvalidStamp` for what is no stamp.

        >>> ahead = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)  # of a clock that says 0:00:00
        >>> seen = record_of(EmailSet("jane@acme.com"), created=ahead)
        >>> store.observe(seen)
        >>> [record] = await store.append("user-1", EmailSet("jane@home.com"))
        >>> record.created > seen.created
        True
        """
        stamp = record.created if isinstance(record, Record) else record
        clock = Clock(ms=0, counter=0, node=self._ledger.identity.node)
        receive(clock, stamp, now_ms=self._seams.now_ms(), max_offset_ms=self._max_offset_ms)
        self._observed.take(stamp)

    async def verify(self, *, progress: Callable[[int, int], None] | None = None) -> Verification:
        """Computes every hash and the chain again, and checks the storage itself.

        `progress(done, total)` is called after every page. Damage is reported, not raised.

        >>> verification = await store.verify()
        >>> verification.ok, verification.records
        (True, 2)
        """
        self._owner.check()
        return await verify(self._ledger, progress)

    async def backup(self, path: str) -> None:
        """Writes a consistent copy to a new file while the store is in use.

        Never copy the file of an open SQLite store by other means. Raises `CannotOpen` if the file
        exists or cannot be written, `NotSupported` for a store that has no file.

        >>> async with EventStore.open("sqlite:///users.db", events=[UserCreated]) as store:
        ...     await store.backup("users-copy.db")
        >>> async with EventStore.open("sqlite:///users-copy.db") as copy:
        ...     (await copy.verify()).ok
        True
        """
        self._owner.check()
        await self._ledger.backup(path)

    async def close(self, *, timeout_s: float = 30.0) -> None:
        """Waits for what is being written, and for hooks so long; then lets go of all.

        The store stays open while it waits, so that handlers can append, and the handlers of what
        they append, too. Hooks and handlers that still run after `timeout_s` are cancelled, and
        get 5 s more to end. Inside a hook or handler it does not wait for hooks. May be called
        again. `async with` calls it.

        >>> store = await EventStore.open("memory:", events=[UserCreated])
        >>> await store.close(timeout_s=5)
        >>> await store.info()
        Traceback (most recent call last):
            ...
        everlog.errors.StoreClosed: the store is closed; use it inside ...
        """
        if self._owner.closed or self._owner.forked:
            self._owner.closed = True
            return
        self._owner.check()
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            if not inside_handler():  # which would wait for itself
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await self._idle()
            self._owner.closed = True
            await self._committer.drained()
            if not inside_handler():
                await self._hooks.stop(max(0.0, deadline - asyncio.get_running_loop().time()))
        finally:
            self._owner.closed = True
            await self._ledger.close()

    def __repr__(self) -> str:
        closed = ", closed" if self._owner.closed else ""
        return f"<EventStore {self._ledger.identity.ledger}{closed}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # --- what aggregates need (core.aggregate.Saver) ---

    def pend(self, aggregate: AggregateRoot, event: object, meta: object) -> Record[Any]:
        """Returns an event as a pending record; called by `AggregateRoot.push`."""
        self._owner.check()
        return self._saving.pend(aggregate, event, meta)

    async def snapshot_aggregate(self, aggregate: AggregateRoot) -> None:
        """Stores a snapshot of an aggregate; called by `AggregateRoot.snapshot`."""
        if aggregate.log.is_dirty:
            raise UnsavedEvents(f"{aggregate!r} has events that are not saved; save it first")
        if aggregate.log.read_only:
            raise ReadOnlyAggregate(
                f"{aggregate!r} was folded from a relation or a past moment; "
                "for a relation call store.snapshots.create(cls, relation=...)"
            )
        await self.snapshots.create(type(aggregate), aggregate.log.stream)

    # --- below ---

    async def _require(self, seen: ResumeToken) -> None:
        """Raises `LogDiverged` unless the log has the place."""
        await self._ledger.read(Selection(limit=0, seen=seen), size=1)

    async def _idle(self) -> None:
        """Returns when nothing is being written and no hook runs."""
        while not (self._hooks.idle and self._committer.idle):
            await self._committer.drained()
            await self._hooks.ended()

    def _fold_of(self, target: Any, selection: Selection, *, read_only: bool = False) -> Fold[Any]:
        if isinstance(target, Reducer):
            return fold_of_reducer(target)  # pyright: ignore[reportUnknownArgumentType]  # of what state cannot be told
        if isinstance(target, type) and issubclass(target, AggregateRoot):
            stream = selection.relation or (selection.streams or ("",))[0]
            frozen = read_only or selection.relation is not None
            return fold_of_aggregate(target, lambda: start(target, stream, self, read_only=frozen))
        raise InvalidInput(f"{target!r} is neither a reducer nor an aggregate class")


def _is_aggregate_class(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, AggregateRoot)


def _token_of(identity: Identity, head: Head) -> str:
    try:
        return encode(ResumeToken(identity.ledger, identity.epoch, head.position, head.chain))
    except (TypeError, ValueError, OverflowError) as error:
        raise CorruptLedger(
            "the ledger's own row is damaged, so its head has no token; keep a copy, run verify, "
            "restore a backup"
        ) from error
