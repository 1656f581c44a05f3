"""`EventStore`: the object that a program holds, without `await`.

Made from `everlog.store.event_store`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import Any, Self, overload

from everlog.blocking.handing_over import hand_over, own
from everlog.blocking.ledger import Ledger, port
from everlog.blocking.portal import Caller, Portal, portal
from everlog.blocking.projector import hook_of
from everlog.blocking.reading import Reading
from everlog.blocking.relations import Relations
from everlog.blocking.saving import BlockingSaver
from everlog.blocking.snapshots import Snapshots
from everlog.blocking.transaction import Transaction
from everlog.core.aggregate import AggregateRoot
from everlog.core.record import Record
from everlog.core.reducer import Reducer
from everlog.core.stream import ANY, Expectation
from everlog.errors import InvalidInput
from everlog.ports.ledger import Capabilities
from everlog.ports.seams import Seams, wall_clock_ms
from everlog.store.event_store import A, E, S, Status, StoreInfo
from everlog.store.event_store import EventStore as AsyncEventStore
from everlog.store.hooks import ErrorHook, Hook
from everlog.store.opening import Opening, SnapshotPolicy
from everlog.store.preparing import To
from everlog.store.verifying import Verification
from everlog.store.writing import Importable, Imported


class EventStore:
    """A log of events, and what is folded from it. Open one with `EventStore.open`.

    A store may be used by any number of threads at once, also by one that runs an event loop;
    what they append at the same time is committed together. It belongs to the process that
    opened it. Methods that need the log raise `StoreClosed` after it was closed,
    `ForkedConnection` in a forked child, `MisusedStore` inside an `async def` handler, where a
    `def` handler may call them, and `StorageError` where the place of the log fails. An
    interrupt (Ctrl-C) while one of them waits is what cancelling is to the async store.

    >>> with EventStore.open("sqlite:///users.db", events=[UserCreated]) as store:
    ...     [created] = store.append("user-1", UserCreated(email="jane@doe.com"))
    ...     for record in store.read("user-1"):
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
        """Makes a store over a ledger that is open already, as `Ledger.of` opens one.

        Programs use `EventStore.open`; this is for adapters of your own.
        """
        here = portal()
        store = here.call(
            AsyncEventStore,
            port(ledger),
            events=list(events),
            snapshots=snapshots,
            max_offset_s=max_offset_s,
            seams=seams,
        )
        self._hold(here, store)

    @staticmethod
    def open(
        url: str | PathLike[str],
        *,
        events: Iterable[type[Any]] = (),
        snapshots: SnapshotPolicy = "manual",
        max_offset_s: float = 60.0,
        clock: Callable[[], int] = wall_clock_ms,
        **options: Any,
    ) -> EventStore:
        """Opens the store that a URL names: `with EventStore.open(...) as store:`.

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

        >>> with EventStore.open("memory:", events=[UserCreated]) as store:
        ...     [record] = store.append("user-1", UserCreated(email="jane@doe.com"))
        >>> store = EventStore.open("sqlite:///users.db", events=[UserCreated], timeout_s=5)
        >>> store.close()
        """
        here = portal()
        opening = AsyncEventStore.open(
            url,
            events=events,
            snapshots=snapshots,
            max_offset_s=max_offset_s,
            clock=clock,
            **options,
        )
        store = EventStore.__new__(EventStore)
        store._hold(here, here.run(_opened, opening))
        return store

    def append(
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
        `OutcomeUnknown` if it cannot be told, and may have taken effect if it is interrupted:
        repeat it with the same ids.

        >>> store.append("user-2", UserCreated(email="joe@doe.com"), expect=NEW, ids=["m1"])
        [<Record 3 user:created of 'user-2' version 1 id m1>]
        >>> store.append("user-2", EmailSet("joe@acme.com"), EmailSet("joe@a.com"), expect=1)
        [<Record 4 ... version 2 id ...>, <Record 5 ... version 3 id ...>]
        """
        return self._portal.run(
            self._store.append,
            stream,
            *events,
            meta=meta,
            expect=expect,
            ids=ids,
            relations=own(relations),
            emit=emit,
            batch=batch,
        )

    def append_many(
        self, items: Iterable[To], *, emit: bool = True, batch: str | None = None
    ) -> list[Record[Any]]:
        """Appends events to several streams, all or nothing, in the order given.

        Made of `to(stream, event, ...)`; otherwise as `append`.

        >>> records = store.append_many(
        ...     [
        ...         to("user-2", UserCreated(email="a@b.com"), expect=NEW, relations=["admins"]),
        ...         to("user-1", EmailSet("jane@acme.com"), expect=2),
        ...     ]
        ... )
        >>> [(record.position, record.stream, record.version) for record in records]
        [(3, 'user-2', 1), (4, 'user-1', 3)]
        """
        return self._portal.run(self._store.append_many, own(items), emit=emit, batch=batch)

    def transaction(self, connection: object, *, emit: bool = True) -> Transaction:
        """Returns a transaction in which events commit with your own tables: all, or nothing.

        For a PostgreSQL store; `connection` is a psycopg.Connection (version 3) to the same
        database, whose transaction has begun or not, in READ COMMITTED. It is committed at the end
        of the block, and rolled back if the block raises. What is appended in it is written at its
        end, and has its positions then; the ledger's lock comes last, and is held for a moment. Who
        is interrupted at the end, with the commit under way, stays until it is over.

        - `emit`: whether hooks run, after the commit

        Raises `NotSupported` for another kind of store, `InvalidInput` for a connection that events
        cannot join (such as in REPEATABLE READ, inside `connection.transaction()`, or to another
        database), and at the end of the block what `append` raises, `StorageError`, and what the
        driver raises for a constraint that was deferred; then all of it has been rolled back. Only
        `OutcomeUnknown` leaves it open: run the block again with the same ids, and if it has
        committed, that is found out, and nothing happens twice.

        >>> with psycopg.Connection.connect(url) as connection:
        ...     with store.transaction(connection) as tx:
        ...         _ = connection.execute("INSERT INTO mails VALUES ('joe@doe.com')")
        ...         tx.append("user-2", UserCreated(email="joe@doe.com"), expect=NEW)
        >>> tx.records
        [<Record 3 user:created of 'user-2' version 1 id ...>]
        """
        if hasattr(connection, "__aenter__"):
            raise InvalidInput(
                "a blocking store takes a blocking psycopg.Connection; an AsyncConnection "
                "belongs to the event loop that uses it"
            )
        transaction = self._portal.here(self._store.transaction, connection, emit=emit)
        return Transaction(self._portal, transaction)

    def import_records(
        self,
        records: Iterable[Importable],
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
        running it again goes on. It is iterated by the calling thread. A generator that an error
        cuts short is closed.

        Raises `IdConflict` for an id with other content, `TamperedRecord`, `NotPortable`,
        `InvalidName`, `ClockAhead` for a stamp more than `max_offset_s` (default: the store's)
        ahead of the wall clock, `TooLarge` for a list of over 10,000 records or 16 MiB.

        >>> with EventStore.open("memory:") as copy:
        ...     print(copy.import_records(store.read()))
        ...     print(copy.import_records(store.read()))
        Imported(stored=2, known=0)
        Imported(stored=0, known=2)
        """
        return hand_over(
            self._portal,
            records,
            lambda handed: self._store.import_records(
                handed, emit=emit, batch=batch, max_offset_s=max_offset_s
            ),
            block=IMPORT_BLOCK,
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
        >>> store.import_records([past])
        Imported(stored=1, known=0)
        >>> store.reduce(user_reducer, "user-1").email  # it happened before the others
        'jane@work.com'
        """
        return self._portal.here(
            self._store.past,
            stream,
            event,
            created=created,
            meta=meta,
            id=id,
            origin=origin,
        )

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

        Reads nothing yet: `for record in store.read(...)`, or `.to_list()`, `.first()`.
        A stream that does not exist has no records. Raises `InvalidInput` for what cannot be asked,
        such as `InvalidName`, `UnknownEvent`, `NaiveDatetime`, `InvalidToken`. Reading raises
        `LogDiverged` if the log is not the one of the token, or became another between two pages.

        >>> for record in store.read("user-1", types=[EmailSet]):
        ...     print(record.position, record.data.root)
        2 jane@work.com
        >>> store.read(backwards=True, limit=1).to_list()
        [<Record 2 user:email-set of 'user-1' version 2 id ...>]
        """
        reading = self._portal.here(
            self._store.read,
            stream,
            streams=streams,
            relation=relation,
            types=types,
            after=after,
            until=until,
            as_of=as_of,
            limit=limit,
            backwards=backwards,
        )
        return Reading(self._portal, reading)

    def token(self, record: Record[Any]) -> str:
        """Returns a resume token: with `after=` it goes on behind a record of this store.

        Keep it with what is made of the records. A position would do as well, but for a server that
        fails over without its last records, or an old backup that is restored: other records get
        their positions then, and would be skipped. With a token `LogDiverged` is raised.

        It is text for a URL, a file or a column, 92 characters, with no secret in it. That of the
        head is `store.info().token`. Raises `InvalidInput` for a record that is not stored.

        >>> record = store.read().first()
        >>> token = store.token(record)
        >>> [record.position for record in store.read(after=token)]
        [2]
        """
        return self._portal.here(self._store.token, record)

    def wait(self, *, after: int | str = 0, timeout_s: float = 60.0) -> int:
        """Returns the head's position once it is past `after`, or after `timeout_s` seconds.

        For who follows the log: it waits for what any process appends. `after` is a position or a
        resume token. Raises `LogDiverged` if the log is not the one of the token, `InvalidInput`
        for a time that is none or over a day, `StoreClosed` when the store is closed meanwhile.

        >>> def follow(token: str) -> str:
        ...     store.wait(after=token, timeout_s=5)
        ...     for record in store.read(after=token):
        ...         print(record.position)
        ...         token = store.token(record)
        ...     return token
        >>> token = store.info().token
        >>> [record] = store.append("user-1", EmailSet("jane@acme.com"))
        >>> token = follow(token)
        3
        """
        return self._portal.run(self._store.wait, after=after, timeout_s=timeout_s)

    def status(self, record: Record[Any]) -> Status:
        """Returns whether a record, from here or elsewhere, exists and is outdated here.

        >>> created = store.read("user-1").first()
        >>> store.status(created)
        Status(exists=True, outdated=False)
        """
        return self._portal.run(self._store.status, record)

    def find(self, id: str) -> Record[Any] | None:
        """Returns the record of an event id, or None; raises `InvalidName`.

        >>> store.append("user-1", EmailSet("jane@home.com"), ids=["message-17"])
        [<Record 3 ...>]
        >>> store.find("message-17")
        <Record 3 user:email-set of 'user-1' version 3 id message-17>
        >>> store.find("message-18") is None
        True
        """
        return self._portal.run(self._store.find, id)

    def reduce(
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

        >>> store.reduce(user_reducer, "user-1")
        UserState(email='jane@work.com', blocked=False)
        >>> store.reduce(user_reducer, "user-1", until=1)
        UserState(email='jane@doe.com', blocked=False)
        >>> store.reduce(user_reducer, "user-9") is None
        True
        """
        return self._portal.run(
            self._store.reduce,
            reducer,
            stream,
            streams=streams,
            relation=relation,
            types=types,
            until=until,
            as_of=as_of,
            pending=own(pending),
        )

    def new(self, cls: type[A], *, id: str | None = None) -> A:
        """Returns an aggregate in its initial state; the id is its stream.

        Without an id it is `<name>-<uuid>`. Saving it expects the stream to be new. Raises
        `InvalidName` for an id that cannot name a stream.

        >>> user = store.new(User, id="user-2")
        >>> user.set_email("joe@doe.com").save()
        <User 'user-2' version 1>
        >>> store.new(User).id
        'user-...'
        """
        return self._saver.adopt(self._portal.here(self._store.new, cls, id=id))

    def get(
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

        >>> user = store.get(User, "user-1")
        >>> user, user.email
        (<User 'user-1' version 2>, 'jane@work.com')
        >>> store.get(User, "user-9") is None
        True
        """
        found = self._portal.run(self._store.get, cls, stream, relation=relation, as_of=as_of)
        return self._saver.adopt(found)

    def save(self, *aggregates: AggregateRoot, emit: bool = True, batch: str | None = None) -> None:
        """Appends the pending events of aggregates, all or nothing.

        Each expects the version that it was loaded at: raises `WrongVersion` if somebody else has
        appended meanwhile; then nothing is written and the events stay pending. After an error or
        an interrupt that leaves the outcome open, saving again stores each event once. Raises
        `InvalidInput` for two aggregates of one stream; otherwise as `append`.

        >>> jane = store.get(User, "user-1")
        >>> joe = store.new(User, id="user-2")
        >>> store.save(jane.set_email("jane@acme.com"), joe.set_email("joe@acme.com"))
        >>> jane, joe
        (<User 'user-1' version 3>, <User 'user-2' version 1>)
        """
        self._portal.run(self._store.save, *aggregates, emit=emit, batch=batch)

    def retrying(
        self, cls: type[A], stream: str, decide: Callable[[A], Any], *, attempts: int = 10
    ) -> A:
        """Loads an aggregate, lets `decide` push events, saves; again if somebody else was faster.

        Returns the saved aggregate. `decide` is called anew with a fresh aggregate for every
        attempt, so it must not do anything else that counts; it runs in the calling thread. Raises
        `NotFound` if the stream has no events, `WrongVersion` if the last attempt lost too,
        `InvalidInput` if `attempts` is below 1, and what `decide` raises.

        >>> store.retrying(User, "user-1", lambda user: user.set_email("jane@acme.com"))
        <User 'user-1' version 3>
        """

        async def retry(caller: Caller) -> A:
            async def decide_there(aggregate: A) -> None:
                decided = await caller.do(decide, self._saver.adopt(aggregate))
                if isinstance(decided, Awaitable):
                    await decided

            return await self._store.retrying(cls, stream, decide_there, attempts=attempts)

        return self._portal.serve(retry)

    def on_appended(self, hook: Hook) -> None:
        """Adds a hook that is told of every append and import in this process, in order.

        The original's `onEventsInserted`. An append returns after its hooks have run. A hook is
        told of one append after the other; a projector, `store.on_appended(projector.handle)`,
        keeps the order of each stream and lets streams run side by side. A hook that raises does
        not undo the append: `on_error` hooks are told.

        >>> def tell(appended: Appended) -> None:
        ...     print("appended", [record.type for record in appended.records])
        >>> store.on_appended(tell)
        >>> [record] = store.append("user-1", EmailSet("jane@acme.com"))
        appended ['user:email-set']
        """
        self._portal.call(self._store.on_appended, hook_of(hook))

    def on_error(self, hook: ErrorHook) -> None:
        """Adds a hook that is told when another hook fails. Without one, errors are logged.

        >>> def fail(appended: Appended) -> None:
        ...     raise ValueError("no")
        >>> def tell(failure: HookFailure) -> None:
        ...     print(repr(failure.error), "in", failure.hook)
        >>> store.on_appended(fail)
        >>> store.on_error(tell)
        >>> [record] = store.append("user-1", EmailSet("jane@acme.com"))
        ValueError('no') in ...fail
        """
        self._portal.call(self._store.on_error, hook)

    def drained(self) -> None:
        """Returns when nothing is being written and every hook that was started has ended.

        Raises `MisusedStore` inside a hook or handler, where it would wait for itself.

        >>> projector = Projector()
        >>> @projector.once(UserCreated)
        ... def confirm(record: Record[UserCreated]) -> None:
        ...     store.append(record.stream, EmailSet(record.data.email))  # waits for no hooks
        >>> store.on_appended(projector.handle)
        >>> [record] = store.append("user-2", UserCreated(email="joe@doe.com"))
        >>> store.drained()
        >>> store.info().position
        4
        """
        self._portal.run(self._store.drained)

    @property
    def capabilities(self) -> Capabilities:
        """What this kind of store can do.

        >>> store.capabilities
        Capabilities(durable=False, shared=False, backup=False, transactions=False)
        """
        return self._store.capabilities

    @property
    def ledger(self) -> Ledger:
        """The ledger under this store, for tools and tests.

        >>> store.ledger.head().position
        2
        """
        return Ledger(self._portal, self._store.ledger)

    def info(self) -> StoreInfo:
        """Returns who the ledger is and how far it has got.

        >>> store.info().position
        2
        """
        return self._portal.run(self._store.info)

    def observe(self, record: Record[Any] | str) -> None:
        """Makes what is appended here from now on created after a record or stamp from elsewhere.

        What is read from this store is observed by itself. Raises `ClockAhead` for a stamp too far
        in the future, `InvalidStamp` for what is no stamp.

        >>> ahead = datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)  # of a clock that says 0:00:00
        >>> seen = record_of(EmailSet("jane@acme.com"), created=ahead)
        >>> store.observe(seen)
        >>> [record] = store.append("user-1", EmailSet("jane@home.com"))
        >>> record.created > seen.created
        True
        """
        self._portal.call(self._store.observe, record)

    def verify(self, *, progress: Callable[[int, int], None] | None = None) -> Verification:
        """Computes every hash and the chain again, and checks the storage itself.

        `progress(done, total)` is called after every page. Damage is reported, not raised.

        >>> verification = store.verify()
        >>> verification.ok, verification.records
        (True, 2)
        """
        if progress is None:
            return self._portal.run(self._store.verify)

        async def verify(caller: Caller) -> Verification:
            def tell(done: int, total: int) -> None:
                caller.tell(progress, done, total)

            return await self._store.verify(progress=tell)

        return self._portal.serve(verify)

    def backup(self, path: str) -> None:
        """Writes a consistent copy to a new file while the store is in use.

        Never copy the file of an open SQLite store by other means. Raises `CannotOpen` if the file
        exists or cannot be written, `NotSupported` for a store that has no file.

        >>> with EventStore.open("sqlite:///users.db", events=[UserCreated]) as store:
        ...     store.backup("users-copy.db")
        >>> with EventStore.open("sqlite:///users-copy.db") as copy:
        ...     copy.verify().ok
        True
        """
        self._portal.run(self._store.backup, path)

    def close(self, *, timeout_s: float = 30.0) -> None:
        """Waits for what is being written, and for hooks so long; then lets go of all.

        The store stays open while it waits, so that handlers can append, and the handlers of what
        they append, too. Hooks and handlers that still run after `timeout_s` are cancelled, and
        get 5 s more to end. Inside a hook or handler it does not wait for hooks. May be called
        again. `with` calls it.

        >>> store = EventStore.open("memory:", events=[UserCreated])
        >>> store.close(timeout_s=5)
        >>> store.info()
        Traceback (most recent call last):
            ...
        everlog.errors.StoreClosed: the store is closed; use it inside ...
        """
        if not self._portal.forked:  # in a child there is nothing that it could let go of
            self._portal.run(self._store.close, timeout_s=timeout_s)

    def __repr__(self) -> str:
        return repr(self._store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _hold(self, here: Portal, store: AsyncEventStore) -> None:
        self._portal = here
        self._store = store
        self._saver = BlockingSaver(here, store)
        self.relations = Relations(here, store.relations)
        self.snapshots = Snapshots(here, store.snapshots, self._saver)


IMPORT_BLOCK = 100
"""Records of an import that cross over together; they fill a chunk without rest."""


async def _opened(opening: Opening[AsyncEventStore]) -> AsyncEventStore:
    return await opening
