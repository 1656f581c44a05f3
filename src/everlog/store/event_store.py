"""`EventStore`: the object that a program holds."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

from everlog.connect import connect, has_checkpoints, open_checkpoints, reach
from everlog.core.aggregate import AggregateRoot, start
from everlog.core.epoch import BeginEpoch
from everlog.core.event import Known, Registry
from everlog.core.portable import JsonValue
from everlog.core.record import Record, StoredRecord
from everlog.core.reducer import Reducer
from everlog.core.selection import Selection
from everlog.core.sequencer import Append, Head, Identity
from everlog.core.stamp import Clock, parse_stamp, receive
from everlog.core.stream import ANY, Expectation, check_name
from everlog.core.token import ResumeToken, encode
from everlog.core.upcasting import Upcast
from everlog.errors import (
    CorruptLedger,
    InvalidInput,
    MisusedStore,
    NotSupported,
    ReadOnlyAggregate,
    StoreClosed,
    UnsavedEvents,
)
from everlog.interchange.foreign import Births
from everlog.interchange.formats import Format
from everlog.ports.examining import Finding
from everlog.ports.ledger import Capabilities, Ledger
from everlog.ports.listing import Listing, StreamInfo
from everlog.ports.owner import Owner
from everlog.ports.seams import CorrectedClock, Seams, wall_clock_ms
from everlog.store.committer import Committer
from everlog.store.diagnosing import diagnose
from everlog.store.exchanging import Exported, File, ImportedFile, Progress, export, import_file
from everlog.store.folding import Fold, Folder, fold_of_aggregate, fold_of_reducer
from everlog.store.following import Following
from everlog.store.following import close as close_following
from everlog.store.hooks import ErrorHook, Hook, Hooks
from everlog.store.ids import IdSource
from everlog.store.observing import Observed
from everlog.store.opening import Opening, SnapshotPolicy, check_offset, check_policy, check_strict
from everlog.store.preparing import Preparer, To, to
from everlog.store.reading import Reading, check_timeout, place_of, select, whole
from everlog.store.relations import Relations
from everlog.store.saving import Saving
from everlog.store.snapshots import Snapshots
from everlog.store.subscribing import From, OpenCheckpoints, Subscriptions
from everlog.store.transacting import Transaction
from everlog.store.verifying import Verification, verify
from everlog.store.writing import Importable, Imported, Writing, run_out
from everlog.subscriptions.causation import inside_handler
from everlog.subscriptions.effects import Planned
from everlog.subscriptions.policies import DEFAULT, Policy
from everlog.subscriptions.projector import Projector
from everlog.subscriptions.rebuild import Rebuild, Swap
from everlog.subscriptions.subscription import Subscription
from everlog.sync.edge import Edge
from everlog.sync.forwarding import Forwarding
from everlog.sync.hub import Hub, Stable
from everlog.sync.leasing import Lease
from everlog.sync.patience import Patient
from everlog.sync.receipts import SECRET_BYTES
from everlog.sync.syncing import Handlers, Sync
from everlog.wire.messages import Scope
from everlog.wire.transport import Transport

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
    subscriptions: Subscriptions
    """What is known of durable subscriptions, and what failed in them."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        events: Iterable[Known] = (),
        snapshots: SnapshotPolicy = "manual",
        max_offset_s: float = 60.0,
        seams: Seams | None = None,
        checkpoints: OpenCheckpoints | None = None,
        has_checkpoints: Callable[[], bool] | None = None,
        strict: Iterable[str] = (),
    ) -> None:
        """Makes a store over a ledger that is open already; to be called in its event loop.

        Programs use `EventStore.open`; this is for adapters of your own. `checkpoints` opens the
        place of durable subscriptions, when it is first needed; without it there are none.
        `has_checkpoints`: whether it is there already; who only looks does not make it.
        """
        seams = seams or Seams()
        self._strict = check_strict(strict)
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
        self._followings: weakref.WeakSet[Following[Any]] = weakref.WeakSet()
        self._forwarding = Forwarding(ledger)
        self._writing = Writing(
            self._registry,
            self._committer,
            self._hooks,
            self._observed,
            self._owner,
            self._forwarding,
            ledger,
        )
        self._saving = Saving(ledger, self._writing, self._preparer, self._observed, seams)
        self._folder = Folder(
            ledger, self._registry, self._committer, check_policy(snapshots), self._observed.take
        )
        self.relations = Relations(ledger, self._committer)
        self.snapshots = Snapshots(
            ledger, self._registry, self._committer, self._folder, self._fold_of
        )
        self.subscriptions = Subscriptions(
            ledger,
            self._registry,
            self._folder,
            checkpoints,
            seams,
            self._owner,
            self._append_outcome,
            has_checkpoints,
        )

    @staticmethod
    def open(
        url: str | PathLike[str],
        *,
        events: Iterable[Known] = (),
        snapshots: SnapshotPolicy = "manual",
        max_offset_s: float = 60.0,
        strict: Iterable[str] = (),
        create: bool = True,
        clock: Callable[[], int] = wall_clock_ms,
        **options: Any,
    ) -> Opening[EventStore]:
        """Opens the store that a URL names: `async with EventStore.open(...) as store:`.

        - `url`: `memory:`, `sqlite:///relative.db`, `sqlite:////absolute/path.db`, or a `Path`,
          which is that of a SQLite file; `postgresql://user@host/database`. A ledger that is not
          there is created. `https://hub.example.com` is a store far away, without a log here: it
          appends, reads, folds and follows; what it cannot raises `NotSupported` (to work while
          the hub is away, and for read models, effects and imports, open a store here, and `sync`)
        - `events`: the classes that may be written, and into which records are decoded; and the
          upcasts of what was written before, see `upcast`
        - `snapshots`: `"manual"`; `"auto"`, which is `every(100)`; or `every(n)`
        - `max_offset_s`: how far ahead of the wall clock an imported record may be stamped, in
          seconds
        - `strict`: as a hub: only this ledger appends to streams whose names begin so, and those
          who synchronise with it do so through it; see `sync`
        - `create`: False opens a ledger that is there, and raises `CannotOpen` where there is none
        - `clock`: the wall clock, in milliseconds since 1970
        - for SQLite, `durability="full"` (default: what has been appended survives a power cut) or
          `"relaxed"`, and `timeout_s=30.0`, how long to wait for other processes' writes; `views`,
          where the read models of subscriptions are: `"same"` for the log's own file, or a path; by
          default `app.views.db` beside `app.db`
        - for PostgreSQL, `schema="everlog"`; `migrate`: True brings an older ledger up to date,
          False changes nothing, else one is created where there is none; `timeout_s=30.0`, how long
          to wait for other processes' writes and for a server that is lost or says nothing;
          `readers=4`, how many connections read at most; `pooler="transaction"` behind a proxy that
          pools so

        - for a hub, `token`, as `everlog token create` has shown it; `allow_http=True` for
          `http://` to another machine than this, where all on the way can read it;
          `timeout_s=30.0`, how long to try while the hub is away

        Options can stand in the URL, too, but for a hub: `postgresql://app@db/app?schema=audit`.

        Raises `InvalidInput` (such as `InvalidUrl`, `EventDefinitionError`, `UnknownEvent`,
        `EventAlreadyRegistered`), `NotSupported` where a driver is missing, and `CannotOpen` (or
        its `ForeignFile`, `NewerFormat`, `OlderFormat`) before anything is written.

        >>> async with EventStore.open("memory:", events=[UserCreated]) as store:
        ...     [record] = await store.append("user-1", UserCreated(email="jane@doe.com"))
        >>> store = await EventStore.open("sqlite:///users.db", events=[UserCreated], timeout_s=5)
        >>> await store.close()
        """
        if isinstance(events, (type, Upcast)):
            name = (events if isinstance(events, type) else events.__wrapped__).__name__
            raise InvalidInput(f"events= is a list of classes and upcasts; write events=[{name}]")
        classes, prefixes, seams = list(events), check_strict(strict), Seams(CorrectedClock(clock))

        async def open() -> EventStore:
            # Before the ledger is touched: a wrong class must not leave a new file behind.
            Registry(classes)
            check_policy(snapshots)
            check_offset(max_offset_s)
            ledger = await connect(url, seams=seams, options=options, create=create)
            try:
                return EventStore(
                    ledger,
                    events=classes,
                    snapshots=snapshots,
                    max_offset_s=max_offset_s,
                    seams=seams,
                    checkpoints=lambda: open_checkpoints(ledger),
                    has_checkpoints=lambda: has_checkpoints(ledger),
                    strict=prefixes,
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

    def subscription(
        self,
        name: str,
        projector: Projector,
        *,
        version: int = 1,
        from_: From | None = None,
        on_error: Policy = DEFAULT,
        slices: int = 1,
        lease_s: float = 10.0,
        effects_at_once: int = 16,
        handler_timeout_s: float | None = None,
    ) -> Subscription:
        """Returns a durable run of a projector: `async with` starts and stops a worker of it.

        It catches up and then follows, record by record in order of position. How far it has got is
        kept under its name, and moves in one transaction with what handlers write by `tx`: that
        stands exactly once, whatever dies when. What they write elsewhere is done at least once.
        For SQLite, `tx` is of a second file beside the log, `app.views.db` of `app.db`, so that
        handlers may take their time; for PostgreSQL, of the log's database. In a SQLite store that
        was opened with `views="same"` it is of the log's own file: there, appends wait while a
        transaction is open, so a handler waits for nothing but `tx` behind its first `fetch`, and
        fails with `HandlerHeldTransaction` when it has held the file for 50 ms.

        - `version`: of the projection. Once `rebuild` has swapped another in, workers of this one
          stop with `OtherVersion`
        - `from_`: where it begins if there is none of this name yet: `"beginning"`, `"now"`, behind
          a position, or behind a resume token. If it is not said, read models begin at the
          beginning, and effects (`once`) from now on
        - `on_error`: `retry(times=5)`, which tries again and parks in the end; `"park"`, `"skip"`
          or `"stop"`, which do so at once. A parked record holds up its own stream and nothing else
        - `slices`: into so many parts its streams are divided, for as many workers at most. It
          stays what it was when the subscription was first started
        - `lease_s`: so many seconds after its worker was last heard of, another one goes on
        - `effects_at_once`: so many `once` handlers run side by side, each for another stream
        - `handler_timeout_s`: a call of a handler that takes more seconds has failed, with
          `HandlerTimedOut` as its cause: nothing stands that it wrote by `tx`, and `on_error` says
          what follows. An `async def` one is cancelled; the thread of a `def` one is left behind,
          without its `tx`. A `once` is *ambiguous* then, as after a crash. By default a call takes
          as long as it takes, and the log warns of one after 60 s

        Several processes may run the same name: one works, or one for each share of the slices.
        One whose handlers are others than theirs waits until they have stopped, as in a rolling
        deployment.
        `on` and `all` handlers run as in `Projector`, several streams one after the other; records
        of a `batch=` come one by one. A `state` is folded once a stream for records that are dealt
        with together.

        `once` handlers run beside it, for events that were born in this log behind where the
        handler first ran. Each is written down as owed in the transaction in which the
        checkpoint passes its record, as begun before it is called, and as ended afterwards: see
        `Projector.once` and `store.subscriptions.effects`.

        Raises `InvalidName`, `InvalidInput`, `EventDefinitionError` for a `once` that does not say
        what to do after a crash, `UnknownEvent` for handlers of events that the store was not
        given; on start `OtherVersion`, `StorageError`, `LogDiverged` for a token of another log,
        and `InvalidInput` if this store runs the name with other handlers already.

        >>> projector = Projector()
        >>> @projector.on(EmailSet)
        ... async def keep(record: Record[EmailSet], tx: Tx) -> None:
        ...     email = record.data.root
        ...     await tx.execute("CREATE TABLE IF NOT EXISTS emails (stream, email)")
        ...     await tx.execute("INSERT INTO emails VALUES (?, ?)", (record.stream, email))
        >>> async with store.subscription("emails", projector) as subscription:
        ...     await subscription.caught_up()
        """
        self._owner.check()
        return self.subscriptions.make(
            name,
            projector,
            version=version,
            from_=from_,
            on_error=on_error,
            slices=slices,
            lease_s=lease_s,
            effects_at_once=effects_at_once,
            handler_timeout_s=handler_timeout_s,
        )

    def sync(
        self,
        hub: EventStore | Transport | str,
        *,
        prefix: str | None = None,
        relation: str | None = None,
        token: str | None = None,
        allow_http: bool = False,
        out_of_scope: Literal["purge", "keep"] = "purge",
    ) -> Sync:
        """Returns what keeps this store in step with a hub: `async with` starts and stops it.

        What was written in either is in both. Each event is stored once in each, whatever is lost
        on the way, in whatever order it comes, and however long one of them is away: this store
        keeps its copy of the hub's order, verified by the hub's chain, and what is not in it is
        offered again. So a hub that was set back to a backup gets back what it has lost. What
        comes from the other is hydrated here (`once` never runs for it), and folds give the same
        state in both.

        To streams that the hub was opened with as `strict`, only the hub appends: an append here,
        of aggregates, too, is made there, with its version, conflict and hooks, and returns the
        record when it has come here. While the hub is away it raises `Offline`, and writes nothing.
        If the hub has lost some of them, they have their old places again, or are orphans where
        others have taken those: kept, and not folded; see `orphans`.

        - `hub`: the URL of a hub, `https://hub.example.com` (`http://` for one on this machine), or
          another open store, of any kind; an async one belongs to the same event loop
        - `token`: what a hub far away knows this store by, as `everlog token create` has shown it;
          it is in no log, error or URL
        - `allow_http`: also `http://` to another machine, where all on the way can read it
        - `prefix`, `relation`: only streams whose names begin so, and that are in this relation at
          the hub, come here; what is written here goes to the hub in any case. When the relation
          changes, or these, what is wanted now comes as a whole
        - `out_of_scope`: what becomes of records here whose streams are not, or no longer, among
          those, once the hub has them at or below its stable position: `"purge"`: their content
          goes, once no durable subscription of this store needs it; position, id and hash stay, so
          that the log still verifies, and if the stream comes into the scope again, so does the
          content. `"keep"`: nothing goes. Nor does it where others synchronise with this store, or
          it has more than one hub

        A hub far away tells what is new at once, where nothing on the way holds that up. It may be
        away for as long as it takes: this store goes on, and so does this when the hub is back.

        Several may synchronise with one hub, and one with several. Raises `InvalidInput` for what
        is no store or URL, and `NotSupported` without what reaches a URL
        (`pip install 'everlog[client]'`); the rest is shown by `status()` and raised by `once()`.

        >>> async with EventStore.open("memory:", events=[UserCreated, EmailSet]) as hub:
        ...     [record] = await hub.append("user-2", UserCreated(email="joe@doe.com"))
        ...     async with store.sync(hub) as sync:
        ...         await sync.in_step()
        ...     print([record.id async for record in store.read("user-2")] == [record.id])
        True
        """
        self._owner.check()
        transport: Transport
        if isinstance(hub, str):
            transport = reach(hub, token=token, allow_http=allow_http)
        elif token is not None or allow_http:
            raise InvalidInput("token= and allow_http= are for a hub's URL: leave them out")
        elif isinstance(hub, EventStore):
            if hub is self:
                raise InvalidInput("a store cannot be its own hub; pass another one")
            transport = hub.as_hub()
        elif not hasattr(hub, "hello"):
            raise InvalidInput(f"a hub is an open EventStore or a URL, not {type(hub).__name__}")
        else:
            transport = hub
        choice: object = out_of_scope
        if choice not in ("purge", "keep"):
            raise InvalidInput(f'out_of_scope={choice!r:.60} must be "purge" or "keep"')
        if prefix is not None:
            check_name("prefix", prefix)
        if relation is not None:
            check_name("relation", relation)
        transport = Patient(transport)
        handlers = Handlers(inside_handler)
        edge = Edge(
            self._ledger,
            lambda take: self._writing.take(take, leave=handlers.wait_here),
            self._writing.keep,
            transport,
            self._seams,
            scope=Scope(prefix, relation),
            purges=out_of_scope == "purge",
            needed=self._needed,
        )
        keep, forwarding = self._writing.keep, self._forwarding
        lease = Lease(self.subscriptions.place, f"{os.getpid()}-{edge.instance}")
        return Sync(self._ledger, edge, keep, transport, forwarding, lease, handlers)

    def as_hub(self, *, secret: bytes | None = None, stable: Stable | None = None) -> Hub:
        """Returns what answers those who synchronise with this store, for a transport of one's own.

        - `secret`: for receipts, by which edges that are not trusted give back what this store has
          lost; at least 16 bytes, kept outside of its database, and always the same. Without it
          edges are trusted, as by `sync` in one process
        - `stable`: up to which position nothing can take this store's history back, not even a
          fail-over: edges let go of what they do not want up to there. A number, or a function,
          async or not, that returns it: such as the position that a standby has got to. None: the
          head, as is right for a single server and for synchronous standbys. If the function
          raises, nothing is stable for now, and that is logged

        Raises `InvalidInput` for a secret that is too short, and for a position below 0.

        >>> async with EventStore.open("memory:") as edge:
        ...     await edge.sync(store.as_hub(secret=b"sixteen bytes or more")).once()
        Round(pulled=2, new=2, pushed=0, held=0, forks=0, restamped=0, in_step=True, purged=0)
        """
        self._owner.check()
        if secret is not None and len(secret) < SECRET_BYTES:
            raise InvalidInput(f"the secret of a hub has at least {SECRET_BYTES} bytes")
        place: object = stable
        if not (place is None or callable(place) or (type(place) is int and place >= 0)):
            raise InvalidInput(f"stable={place!r:.60} must be a position from 0, or tell one")
        return Hub(
            self._ledger,
            self._writing.take,
            self._writing.keep,
            self._seams,
            secret=secret,
            max_offset_ms=self._max_offset_ms,
            strict=self._strict,
            append=self._append_for_edge,
            strict_above=lambda: self._forwarding.strict,
            stable=stable,
        )

    async def orphans(self, *, after: int = 0, limit: int = 1_000) -> list[Record[Any]]:
        """Returns records of strict streams that no fold has, as others have taken their places.

        That happens where a hub was set back to a backup and went on before it got back what it had
        lost. They are kept and never dropped: look at them, and append what is to be done.

        In order of position, behind position `after`, at most `limit`.

        >>> await store.orphans()
        []
        """
        self._owner.check()
        if after < 0 or limit < 1:
            raise InvalidInput(f"after={after} must be from 0, limit={limit} from 1")
        rows = await self._ledger.upstreams.orphans(after=after, size=limit)
        return [Record(row, self._registry) for row in rows]

    async def _needed(self, positions: Sequence[int]) -> Sequence[int]:
        """Returns those of some positions whose records a subscription has yet to deal with."""
        checkpoints = await self.subscriptions.place()
        return () if checkpoints is None else await checkpoints.needed(positions)

    async def _append_for_edge(self, request: Append) -> Sequence[StoredRecord]:
        records, hooks = await self._writing.append(request, emit=True, batch=None)
        await run_out(hooks)
        return [record.stored for record in records]

    def rebuild(
        self,
        name: str,
        projector: Projector,
        *,
        version: int,
        swap: Swap,
        from_: From = "beginning",
        on_error: Policy = DEFAULT,
        lease_s: float = 10.0,
        handler_timeout_s: float | None = None,
    ) -> Rebuild:
        """Returns a new version of a subscription's projection, on its way beside the live one.

        `async with` starts and stops a worker that fills new tables under a checkpoint of its own,
        `emails@2`, while the live version goes on. `await rebuild.swap()` then puts it in the place
        of the live version in one transaction, together with what `swap(tx)` does so that readers
        find the new tables. From then on the new version is run by
        `store.subscription(name, projector, version=2)`, and what has run the old one stops with
        `OtherVersion`. The other way round, a rebuild to the version before goes on from where that
        was left, in the tables that it had.

        - `version`: another one than that which is live
        - `swap`: renames tables, or sets what says which are read; all that it does by `tx` stands
          with the swap, or not at all
        - else as for `subscription`; it has as many slices as the live version. A `once` is never
          run; declare it all the same: what its events owe by the time of the swap is owed then

        Raises as `subscription`; on start `NotFound` without a subscription of this name, and
        `OtherVersion` if this version is live already.

        >>> def filling(table):
        ...     projector = Projector()
        ...
        ...     @projector.state(user_reducer)
        ...     async def show(state: UserState, record: Record, tx: Tx) -> None:
        ...         await tx.execute(f"CREATE TABLE IF NOT EXISTS {table} (stream, email)")
        ...         await tx.execute(f"DELETE FROM {table} WHERE stream = ?", (record.stream,))
        ...         await tx.execute(
        ...             f"INSERT INTO {table} VALUES (?, ?)", (record.stream, state.email)
        ...         )
        ...
        ...     return projector
        >>> async with store.subscription("users", filling("users")) as subscription:
        ...     await subscription.caught_up()
        >>> async def swap(tx: Tx) -> None:
        ...     await tx.execute("ALTER TABLE users RENAME TO users_1")
        ...     await tx.execute("ALTER TABLE users_2 RENAME TO users")
        >>> async with store.rebuild("users", filling("users_2"), version=2, swap=swap) as rebuild:
        ...     await rebuild.swap()
        >>> async with store.subscription("users", filling("users"), version=2) as subscription:
        ...     await subscription.caught_up()
        """
        self._owner.check()
        return self.subscriptions.make_rebuild(
            name,
            projector,
            version=version,
            swap=swap,
            from_=from_,
            on_error=on_error,
            lease_s=lease_s,
            handler_timeout_s=handler_timeout_s,
        )

    async def _append_outcome(self, planned: Sequence[Planned], ids: Sequence[str]) -> None:
        """Appends the events in which an effect ends."""
        await self.append_many(
            [
                to(
                    each.stream,
                    each.event,
                    meta=each.meta,
                    expect=each.expect,
                    id=id,
                    relations=each.relations,
                )
                for each, id in zip(planned, ids, strict=True)
            ]
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

    def event_from(
        self, type: str, data: JsonValue, meta: JsonValue = None
    ) -> tuple[object, object]:
        """Returns an event of a registered type, and its meta, from JSON values.

        For what comes from outside, such as a web hook or a person: validated by its class, and
        refused if it has a field that the class has not. Nothing is written.

        Raises `UnknownEvent`, `EventValidationError` naming every field, `NotPortable`, `TooLarge`.

        >>> event, meta = store.event_from("user:email-set", "jane@acme.com")
        >>> await store.append("user-1", event, meta=meta)
        [<Record 3 user:email-set of 'user-1' version 3 id ...>]
        """
        self._owner.check()
        return self._registry.from_json(type, data, meta)

    # --- reading ---

    @overload
    def read(
        self,
        stream: str | None = None,
        *,
        streams: Sequence[str] | None = None,
        prefix: str | None = None,
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
        prefix: str | None = None,
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
        prefix: str | None = None,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
        after: int | str = 0,
        until: int | None = None,
        as_of: datetime | str | None = None,
        limit: int | None = None,
        backwards: bool = False,
    ) -> Reading[Any]:
        """Reads records in order of position: of a stream, several, a relation, or all.

        - `prefix`: the streams whose names begin so, as they are written: `%` and `*` stand for
          themselves
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
            prefix=prefix,
            relation=relation,
            types=types,
            after=after,
            until=until,
            as_of=as_of,
            limit=limit,
            backwards=backwards,
        )
        return Reading(self._ledger, self._registry, selection, self._observed.take)

    @overload
    def follow(
        self,
        *,
        after: int | str = 0,
        types: Sequence[type[E]],
        stream: str | None = None,
        prefix: str | None = None,
        relation: str | None = None,
    ) -> Following[E]: ...
    @overload
    def follow(
        self,
        *,
        after: int | str = 0,
        types: Sequence[type[Any] | str] | None = None,
        stream: str | None = None,
        prefix: str | None = None,
        relation: str | None = None,
    ) -> Following[Any]: ...
    def follow(
        self,
        *,
        after: int | str = 0,
        types: Sequence[type[Any] | str] | None = None,
        stream: str | None = None,
        prefix: str | None = None,
        relation: str | None = None,
    ) -> Following[Any]:
        """Follows the log: every record behind `after` in order of position, then those that come.

        Each once, without a gap or repeat where the one goes over into the other, whichever process
        appends. Nothing is read before it is iterated over, and then a page at a time.

        - `after`: a position, or a resume token, see `token`
        - `types`: only these, as classes or type names
        - `stream`, `prefix`, `relation`: only one stream, those whose names begin so, or those in a
          relation; one of the three. The streams of a relation are looked up for each page: of one
          that joins, what the follower has already passed does not come any more, and of one that
          leaves, nothing comes from then on

        Raises `InvalidInput` for what cannot be asked, as `read` does. Following raises
        `LogDiverged` if the log is not the one of the token, or becomes another on the way: nothing
        is skipped. It raises `StorageError` where the place of the log fails, after `timeout_s` if
        that may pass, and `StoreClosed` when the store is closed.

        >>> async for record in store.follow(after=1):
        ...     print(record.position, record.data.root)
        ...     if record.position == 3:
        ...         break
        ...     _ = await store.append("user-1", EmailSet("jane@acme.com"))
        2 jane@work.com
        3 jane@acme.com
        """
        self._owner.check()
        selection = select(
            self._registry,
            stream=stream,
            prefix=prefix,
            relation=relation,
            types=types,
            after=after,
        )
        following: Following[Any] = Following(
            self._ledger, self._registry, selection, self._observed.take
        )
        self._followings.add(following)
        return following

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

        One whose content went still exists: its event is known.

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

        None, too, for one whose content went, as it is outside of the scope that is synchronised.

        >>> await store.append("user-1", EmailSet("jane@home.com"), ids=["message-17"])
        [<Record 3 ...>]
        >>> await store.find("message-17")
        <Record 3 user:email-set of 'user-1' version 3 id message-17>
        >>> await store.find("message-18") is None
        True
        """
        self._owner.check()
        [found] = await self._ledger.find([check_name("event id", id)])
        if found is None or found.is_tombstone:
            return None
        return Record(found, self._registry)

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
        Capabilities(durable=False, shared=False, backup=False, transactions=False, whole=True)
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

    async def streams(
        self, *, prefix: str | None = None, after: str | None = None, limit: int = 1_000
    ) -> list[StreamInfo]:
        """Returns which streams there are, in order of their names, each by its last record.

        - `prefix`: those whose names begin so
        - `after`: those behind this name: that of the last one, to go on
        - `limit`: so many at most

        Each costs a look into an index, however many records it has. Raises `InvalidInput` for what
        cannot be asked, `NotSupported` for a ledger that cannot tell.

        >>> [(each.stream, each.version) for each in await store.streams()]
        [('user-1', 2)]
        """
        self._owner.check()
        if whole("limit", limit) < 1:
            raise InvalidInput(f"limit={limit} must be at least 1")
        if not isinstance(self._ledger, Listing):
            raise NotSupported(
                "this ledger cannot tell which streams it has; read it through, or open a store "
                "here that is kept in step with it"
            )
        prefix = "" if prefix is None else check_name("stream prefix", prefix)
        after = "" if after is None else check_name("stream", after)
        return list(await self._ledger.streams(prefix=prefix, after=after, limit=limit))

    async def export(
        self,
        file: File,
        *,
        format: Format = "ndjson",
        stream: str | None = None,
        prefix: str | None = None,
        relation: str | None = None,
        types: Sequence[type[Any] | str] | None = None,
        after: int | str = 0,
        until: int | None = None,
        as_of: datetime | str | None = None,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> Exported:
        """Writes the log, or a part of it, to a file, in order of position and constant memory.

        - `file`: a path, whose file appears when it is whole, readable by its owner alone; or a
          file that is open in binary mode
        - `format`: `"ndjson"`, our own, a record a line, from which `import_file` makes the same
          records, hash for hash; `"cloudevents"`: CloudEvents 1.0, one a line, which everlog reads
          as well as its own, and `"cloudevents-batch"`: the same as one list; `"original"`: as the
          TypeScript library has them, which knows no schema and no cause
        - which records, as in `read`; `replace`: whether the file may be there already
        - `progress(done, total)` is called after every page, with positions

        Raises `InvalidInput` for what cannot be asked, `CannotOpen` for a file that is there or
        cannot be made, `StorageFailed` if writing it fails; then no file is left behind.

        >>> await store.export("users.ndjson", stream="user-1")
        Exported(records=2, left_out=0, position=2)
        """
        self._owner.check()
        head = (await self._ledger.head()).position
        reading = self.read(
            stream,
            prefix=prefix,
            relation=relation,
            types=types,
            after=after,
            until=until,
            as_of=as_of,
        )
        return await export(
            aiter(reading),
            file,
            format=format,
            replace=replace,
            head=head if until is None else min(head, until),
            progress=progress,
        )

    async def import_file(
        self,
        file: File,
        *,
        format: Format | None = None,
        emit: bool = True,
        batch: str | None = None,
        max_offset_s: float | None = None,
        progress: Progress | None = None,
    ) -> ImportedFile:
        """Takes in the records of a file, in its order and constant memory; see `import_records`.

        Of what everlog has written as NDJSON or CloudEvents, they are the same as where they come
        from, hash for hash. Other programs' CloudEvents, and records of the original, are born
        here: their order and times stay. An import can be repeated, and goes on where another was
        cut short. Types need not be known, and data is not compared with any class.

        - `file`: a path, or a file that is open in binary mode
        - `format`: as for `export`; if it is not said, it is found out
        - `progress(done, total)` is called again and again, with bytes; total is 0 for a pipe

        Raises `CannotOpen` for a file that cannot be read, `InvalidInput` with the line for what is
        no event, and what `import_records` raises; what came before stays.

        >>> exported = await store.export("users.ndjson")
        >>> async with EventStore.open("memory:") as copy:
        ...     await copy.import_file("users.ndjson")
        ImportedFile(stored=2, known=0, left_out=0)
        """
        self._owner.check()
        return await import_file(
            lambda records: self.import_records(
                records, emit=emit, batch=batch, max_offset_s=max_offset_s
            ),
            file,
            format=format,
            births=Births(self._ledger.identity, self._seams.now_ms, self._seams.random_bytes),
            progress=progress,
        )

    async def diagnose(self, *, verify: bool = False) -> list[Finding]:
        """Returns what is wrong with the ledger, its place and its subscriptions, the worst first.

        Such as subscriptions that are stuck, far behind or run by nobody, effects that wait for a
        person, clocks that differ, records that a hub does not take, settings with which a power
        cut loses something, and builds of SQLite with a known fault. An empty list: nothing was
        found. Changes nothing. `verify`: look for damage, too, which takes as long as `verify()`.

        >>> await store.diagnose(verify=True)
        []
        """
        self._owner.check()
        try:
            subscriptions = await self.subscriptions.status()
        except NotSupported:  # a ledger without a place for them
            subscriptions = []
        return await diagnose(
            self._ledger,
            subscriptions,
            await self.verify() if verify else None,
            now_ms=self._seams.now_ms,
            max_offset_ms=self._max_offset_ms,
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

        With `views="same"` it has the read models, too, and how far they have got. Otherwise those
        are in another file, which can be built anew from the log.

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

    async def begin_epoch(self) -> str:
        """Begins another life of the ledger, and returns it: 16 hex characters, see `info`.

        For a hub that was restored from a backup, or a replica that takes its place: before others
        reach it. Stores that synchronise with it follow the latest epoch that they have met, and
        refuse an older one with `StaleUpstream`: the hub of before, should it come back. Resume
        tokens and subscriptions go on, if what they have read is still there; otherwise they raise
        `LogDiverged`. Other processes that have the ledger open have to open it again. Raises
        `StorageError`.

        >>> before = (await store.info()).epoch
        >>> await store.begin_epoch() == (await store.info()).epoch > before
        True
        """
        self._owner.check()
        outcome = await self._committer.commit(BeginEpoch())
        assert isinstance(outcome, str)
        return outcome

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
                await self.subscriptions.close(timeout_s=timeout_s)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await self._idle()
            else:
                self.subscriptions.close_later()
            self._owner.closed = True
            await self._committer.drained()
            if not inside_handler():
                await self._hooks.stop(max(0.0, deadline - asyncio.get_running_loop().time()))
        finally:
            self._owner.closed = True
            for following in list(self._followings):
                close_following(following, StoreClosed("the store was closed meanwhile"))
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
