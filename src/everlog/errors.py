"""Every error that everlog raises, in one tree.

    EverlogError
    ├── InvalidInput (ValueError)      what was handed in is wrong; nothing was written
    │   ├── InvalidUrl                 the store's URL cannot be understood
    │   ├── EventDefinitionError       `@event` was used in a way that cannot work
    │   ├── EventAlreadyRegistered     two classes claim one event type
    │   ├── InvalidConfig              an event's configuration that cannot be printed
    │   ├── BreakingChange             a change that what is stored does not survive
    │   ├── UnknownEvent               an event or type that the store was not given
    │   ├── EventValidationError       data or meta do not fit the event's class
    │   ├── NotPortable                data that not every database can keep
    │   ├── TooLarge                   an event, a batch or a value over its limit
    │   ├── InvalidName                a stream, relation, event id or type that cannot be one
    │   ├── InvalidExpectation         an `expect` that is not ANY, NEW, EXISTS or a version
    │   ├── InvalidStamp               text that is no hybrid logical clock stamp
    │   ├── InvalidToken               text that is no resume token
    │   ├── NaiveDatetime              a datetime without a time zone
    │   ├── InvalidMessage             what came over the wire is not of the protocol
    │   ├── ClockAhead                 a foreign stamp lies too far in the future
    │   └── TamperedRecord             a record's content does not match its own hash
    ├── Conflict                       the log is not in the state that the call relied on
    │   ├── WrongVersion               the stream is not at the expected version
    │   ├── IdConflict                 an event id is taken by other content
    │   ├── PartialRetry               some ids of the call are stored, others are not
    │   ├── LogDiverged                the log is not the one that a resume token was taken from
    │   ├── CursorMoved                the ledger is at another place of its upstream's history
    │   ├── LeaseLost                  another worker holds the subscription now
    │   └── OtherVersion               another version of the subscription's projection is live
    ├── NotFound (LookupError)         a stream that must exist does not
    ├── UnsavedEvents                  an aggregate with pending events cannot do this
    ├── ReadOnlyAggregate              an aggregate folded from a relation has no stream of its own
    ├── SnapshotError                  a state that a snapshot cannot hold faithfully
    ├── ContentGone                    a part of a stream is outside of what is synchronised
    ├── DecodeError                    a stored record does not fit today's class
    ├── NotPrinted                     what is printed is not what its configurations say
    ├── SyncError                      a ledger and its upstream cannot be brought into step
    │   ├── WrongUpstream              another ledger answers than the one that was asked
    │   ├── StaleUpstream              it is older than what this ledger has seen of it
    │   ├── UpstreamFault              its answers contradict themselves
    │   ├── Offline                    an append that only the hub can make, and it is away
    │   └── TransportFailed            it cannot be reached, or did not answer
    ├── Refused                        a server does not do it, for who asks; nothing was written
    │   ├── NotAuthenticated           it does not know who asks
    │   ├── NotAllowed                 who asks may not do that
    │   └── TooBusy                    not now; `retry_after_s` says when
    ├── HandlerFailed                  a projector's handler raised
    ├── HandlerTimedOut                it took longer than its subscription lets it
    ├── NotSupported                   this kind of ledger cannot do that
    ├── StorageError                   the place where the log lives
    │   ├── CannotOpen                 it cannot be opened or created
    │   │   ├── DamagedFile            what is stored there contradicts itself
    │   │   ├── ForeignFile            it is something else, not an everlog ledger
    │   │   ├── NewerFormat            a newer everlog wrote it
    │   │   └── OlderFormat            it has to be migrated first
    │   ├── FileReplaced               the file under the open store is another one now
    │   ├── LedgerBusy                 another process held the lock for too long
    │   ├── StorageFull                there is no room left
    │   ├── StorageFailed              the disk or the database failed
    │   │   └── Unreachable            the database did not answer, again and again
    │   ├── OutcomeUnknown             it cannot be told whether a write took effect
    │   └── CorruptLedger              what is stored contradicts itself
    └── MisusedStore (RuntimeError)    the store was used in a place where it cannot work
        ├── HandlerHeldTransaction     a handler kept every append waiting
        ├── HandlersLeftBehind         too many handlers that were cut off still run
        ├── StoreClosed                after it was closed
        ├── ForkedConnection           in a child process that inherited it
        └── WrongEventLoop             from another event loop than the one that opened it

Messages say what happened and what to do; the facts are attributes.
"""

from __future__ import annotations

from collections.abc import Sequence


class EverlogError(Exception):
    """The root of every error that everlog raises.

    >>> try:
    ...     await store.append("user-1", EmailSet("jane@acme.com"), expect=NEW)
    ... except EverlogError as error:
    ...     print(type(error).__name__)
    WrongVersion
    """

    def __reduce__(self) -> tuple[object, ...]:
        # Exception would call the class with the message alone; ours take the facts.
        return _again, (type(self), self.args), self.__dict__


def _again(cls: type[EverlogError], args: tuple[object, ...]) -> EverlogError:
    """Returns the error that pickle or copy are about to give its attributes."""
    error = cls.__new__(cls)
    error.args = args
    return error


# --- what was handed in is wrong ---------------------------------------------------------------


class InvalidInput(EverlogError, ValueError):
    """What was handed in is wrong. Nothing was written.

    >>> await store.append("user-1")
    Traceback (most recent call last):
        ...
    everlog.errors.InvalidInput: nothing to append: pass at least one event
    """


class InvalidUrl(InvalidInput):
    """The store's URL cannot be understood."""


class EventDefinitionError(InvalidInput, TypeError):
    """`@event`, `@reducer` or an aggregate class was written in a way that cannot work."""


class EventAlreadyRegistered(InvalidInput):
    """Two classes claim the same event type."""

    def __init__(self, event_type: str, first: str, second: str) -> None:
        super().__init__(
            f"event type {event_type!r} is claimed by {first} and by {second}; "
            "give one of them another type name"
        )
        self.event_type = event_type


class InvalidConfig(InvalidInput):
    """An event's configuration that cannot be printed. `source` is its file, `where` the place."""

    def __init__(self, source: str, where: str, problem: str) -> None:
        place = f" at {where}" if where else ""
        super().__init__(f"{source}{place}: {problem}")
        self.source, self.where, self.problem = source, where, problem


class BreakingChange(InvalidInput):
    """Configurations were changed in a way that what is stored does not survive.

    `problems` holds pairs of an event type and what was done to it. Nothing was printed.
    """

    def __init__(self, lock: str, problems: Sequence[tuple[str, str]]) -> None:
        lines = "".join(f"\n  {type}: {problem}" for type, problem in problems)
        super().__init__(
            f"stored events would not be readable, or not as what they were, by {lock}; give these "
            f'a new "schema" number, and an upcast from the old one:{lines}'
        )
        self.lock, self.problems = lock, tuple(problems)


class UnknownEvent(InvalidInput, LookupError):
    """An event class or type name that this store was not given. `name` says which.

    >>> async with EventStore.open("memory:", events=[UserCreated]) as store:
    ...     await store.append("user-1", EmailSet("jane@acme.com"))
    Traceback (most recent call last):
        ...
    everlog.errors.UnknownEvent: class EmailSet is not among this store's events (user:created); ...
    """

    def __init__(self, name: str, known: Sequence[str], *, hint: str = "") -> None:
        listed = ", ".join(sorted(known)[:12]) or "none"
        super().__init__(
            f"{name} is not among this store's events ({listed}); "
            + (hint or "pass its class in EventStore.open(..., events=[...])")
        )
        self.name = name


class EventValidationError(InvalidInput):
    """Data or meta do not fit the event's class. `problems` holds (path, message) pairs.

    >>> try:
    ...     await store.append("user-1", UserCreated.model_construct(email=5))
    ... except EventValidationError as error:
    ...     print(error.event_type, error.problems)
    user:created (('data.email', 'Input should be a valid string'),)
    """

    def __init__(self, event_type: str, problems: Sequence[tuple[str, str]]) -> None:
        lines = "".join(f"\n  {path}: {message}" for path, message in problems)
        super().__init__(f"{event_type!r} is not valid, nothing was written:{lines}")
        self.event_type = event_type
        self.problems = tuple(problems)


class NotPortable(InvalidInput):
    """Data that some database or JSON reader would change, refuse or choke on (I-JSON).

    >>> try:
    ...     await store.append("user-1", EmailSet("jane\\ud800"))
    ... except NotPortable as error:
    ...     print(error.path, "|", error.problem)
    data | contains half of a surrogate pair (U+D800), which is no character; take it out
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class TooLarge(InvalidInput):
    """An event, a batch or a value is over its limit."""

    def __init__(self, what: str, *, size: int, limit: int, unit: str = "bytes") -> None:
        super().__init__(f"{what} has {size:,} {unit}; the limit is {limit:,}")
        self.what, self.size, self.limit, self.unit = what, size, limit, unit


class InvalidName(InvalidInput):
    """A stream, relation, event id or event type that cannot be one."""

    def __init__(self, kind: str, value: object, problem: str) -> None:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        super().__init__(f"{kind} {shown} {problem}")
        self.kind, self.value, self.problem = kind, value, problem


class InvalidExpectation(InvalidInput):
    """An `expect` that is not ANY, NEW, EXISTS or a version of 0 or more."""


class InvalidStamp(InvalidInput):
    """Text that is no hybrid logical clock stamp."""


class InvalidToken(InvalidInput):
    """Text that is no resume token, or not any more: it was cut off or changed on its way."""


class InvalidMessage(InvalidInput):
    """What came over the wire is not of the protocol: cut off, too long, or of another kind.

    `at` says where, `problem` what is wrong. Nothing was written.
    """

    def __init__(self, at: str, problem: str) -> None:
        super().__init__(f"{at}: {problem}")
        self.at, self.problem = at, problem


class NaiveDatetime(InvalidInput):
    """A datetime without a time zone: it names no moment."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} is a datetime without a time zone; say which moment you mean, "
            "for example datetime(2026, 1, 31, tzinfo=timezone.utc)"
        )


class ClockAhead(InvalidInput):
    """A stamp that comes from elsewhere lies further in the future than `max_offset_ms`.

    `ahead_ms` says how far; both are in milliseconds.

    >>> late = store.past("user-1", EmailSet("a@b.com"), created=datetime(2030, 1, 1, tzinfo=UTC))
    >>> try:
    ...     await store.import_records([late])
    ... except ClockAhead as error:
    ...     print(error.ahead_ms > error.max_offset_ms, error.max_offset_ms)
    True 60000
    """

    def __init__(self, what: str, *, ahead_ms: int, max_offset_ms: int) -> None:
        super().__init__(
            f"{what} is stamped {ahead_ms / 1000:,.1f} s ahead of this clock; at most "
            f"{max_offset_ms / 1000:,.1f} s are accepted: set the clock that made it right"
        )
        self.ahead_ms, self.max_offset_ms = ahead_ms, max_offset_ms


class TamperedRecord(InvalidInput):
    """A record's content does not match its own hash."""

    def __init__(self, event_id: str, problem: str) -> None:
        super().__init__(
            f"record {event_id} was refused: {problem}; take it again from a ledger that verifies"
        )
        self.event_id = event_id


# --- the log is not in the state that the call relied on ----------------------------------------


class Conflict(EverlogError):
    """The log is not in the state that the call relied on. Nothing of the call was written.

    >>> try:
    ...     await store.append("user-1", UserCreated(email="jane@acme.com"), expect=NEW)
    ... except Conflict:
    ...     print("it is there already")
    it is there already
    """


class WrongVersion(Conflict):
    """The stream is not at the expected version: somebody else was faster.

    >>> try:
    ...     await store.append("user-1", EmailSet("jane@acme.com"), expect=1)
    ... except WrongVersion as error:
    ...     print(error.stream, error.expected, error.actual)
    user-1 1 2
    """

    def __init__(self, stream: str, *, expected: object, actual: int) -> None:
        super().__init__(
            f"stream {stream!r} is at version {actual}, expected {expected!r}; "
            + (
                "load it again, decide again, append again"
                if actual
                else "it has no events: check its name, or append without this expectation"
            )
        )
        self.stream, self.expected, self.actual = stream, expected, actual


class IdConflict(Conflict):
    """An event id is already taken by a record with other content.

    >>> [record] = await store.append("user-1", EmailSet("jane@acme.com"), ids=["message-17"])
    >>> try:
    ...     await store.append("user-1", EmailSet("jane@home.com"), ids=["message-17"])
    ... except IdConflict as error:
    ...     print(error.event_id, error.differs)
    message-17 data
    """

    def __init__(self, event_id: str, differs: str) -> None:
        super().__init__(
            f"event id {event_id!r} is taken by a record with another {differs}; "
            "an id belongs to one event for ever: use a new one"
        )
        self.event_id, self.differs = event_id, differs


class PartialRetry(Conflict):
    """Some ids of one call are stored already and others are not, so it is no retry.

    >>> [record] = await store.append("user-1", EmailSet("a@b.com"), ids=["m1"])
    >>> try:
    ...     await store.append("user-1", EmailSet("a@b.com"), EmailSet("a@c.com"), ids=["m1", "m2"])
    ... except PartialRetry as error:
    ...     print(error.known, error.unknown)
    ('m1',) ('m2',)
    """

    def __init__(self, known: Sequence[str], unknown: Sequence[str]) -> None:
        super().__init__(
            f"{len(known)} of the call's ids are stored already (first: {known[0]!r}) and "
            f"{len(unknown)} are not (first: {unknown[0]!r}); repeat a call whole, or use new ids"
        )
        self.known, self.unknown = tuple(known), tuple(unknown)


class LogDiverged(Conflict):
    """The log is not the one that a reader has read: going on in it could skip records.

    A server that failed over to a standby without its last records, or a backup that was restored,
    gives other records the positions that a reader has seen already. Nothing was read. `position`
    is where the reader was, `differs` what is another: `ledger`, `epoch`, `end` (the log ends
    before it) or `chain` (another record, or another history before it).

    >>> token = (await store.info()).token
    >>> async with EventStore.open("memory:") as other:
    ...     try:
    ...         await other.read(after=token).to_list()
    ...     except LogDiverged as error:
    ...         print(error.position, error.differs)
    2 ledger
    """

    def __init__(self, position: int, differs: str) -> None:
        super().__init__(
            f"the log is not the one that was read up to position {position}: "
            + _DIVERGED[differs].format(position=position)
            + ". Nothing was skipped: go on from the token of an earlier record that this log "
            "still has, or make what was made of its records anew, from the beginning (after=0)"
        )
        self.position, self.differs = position, differs


_DIVERGED = {
    "ledger": "it is another ledger; check the store's URL",
    "epoch": "it was restored or promoted since",
    "end": "it ends before that; it lost its tail in a fail-over, is an older backup, or a standby "
    "that is behind",
    "chain": "it has another record there, or before it; it lost its tail in a fail-over, or is "
    "an older backup, and others came in the place of what was read",
}


class CursorMoved(Conflict):
    """The ledger is not at the place of its upstream's history that a piece of it begins at.

    Somebody else has gone on meanwhile, such as another process of the same ledger; or it is an old
    answer. Nothing was written.
    """

    def __init__(self, upstream: str, *, expected: int, actual: int) -> None:
        super().__init__(
            f"this ledger stands at position {actual} of upstream {upstream} and not at "
            f"{expected}, or in another history of it; ask again from where it stands"
        )
        self.upstream = upstream
        self.expected = expected
        self.actual = actual


class LeaseLost(Conflict):
    """Another worker has taken over a subscription, or a slice of it, as the lease had run out."""


class OtherVersion(Conflict):
    """Another version of a subscription's projection is live than the one that was to be run.

    >>> async with store.subscription("emails", projector) as subscription:
    ...     await subscription.caught_up()
    >>> try:
    ...     async with store.subscription("emails", projector, version=2) as subscription:
    ...         await subscription.wait()
    ... except OtherVersion as error:
    ...     print(error.name, error.live, error.asked)
    emails 1 2
    """

    def __init__(self, name: str, *, live: int, asked: int) -> None:
        super().__init__(
            f"version {live} of subscription {name!r} is live"
            + (": " if asked == live else f", and not {asked}: ")
            + (
                f"it was swapped in, and version {asked} is not run any more; stop its workers"
                if asked < live
                else "what is rebuilt needs a version of its own"
                if asked == live
                else f"swap version {asked} in first: store.rebuild({name!r}, ..., version={asked})"
            )
        )
        self.name, self.live, self.asked = name, live, asked


class NotFound(EverlogError, LookupError):
    """A stream or relation that must have events has none.

    >>> await store.retrying(User, "user-9", lambda user: user.set_email("jane@acme.com"))
    Traceback (most recent call last):
        ...
    everlog.errors.NotFound: stream 'user-9' has no events; begin with store.new(...)
    """


# --- aggregates, snapshots, handlers ------------------------------------------------------------


class UnsavedEvents(EverlogError):
    """An aggregate with pending events cannot do this: save it first."""


class ReadOnlyAggregate(EverlogError):
    """An aggregate that was folded from a relation has no stream of its own to append to."""


class SnapshotError(EverlogError):
    """A state that a snapshot cannot hold faithfully."""


class ContentGone(EverlogError):
    """A stream cannot be folded: the content of some of its records went.

    It is outside of the scope that its store synchronises with its hub, which has all of it; see
    `store.sync`. `stream` is its name, `position` that of the first of those records.
    """

    def __init__(self, stream: str, position: int) -> None:
        super().__init__(
            f"stream {stream!r} is not here as a whole: the content of some of its records went, "
            f"first at position {position}, as it is outside of the scope of `store.sync`; fold it "
            "at the hub, synchronise it, or keep such streams with sync(..., out_of_scope='keep')"
        )
        self.stream, self.position = stream, position


class DecodeError(EverlogError):
    """A stored record does not fit today's class. `problems` holds (path, message) pairs."""

    def __init__(self, event_type: str, event_id: str, problems: Sequence[tuple[str, str]]) -> None:
        lines = "".join(f"\n  {path}: {message}" for path, message in problems)
        super().__init__(
            f"record {event_id} of type {event_type!r} does not fit its class today; "
            f"Record.json holds what is stored:{lines}"
        )
        self.event_type, self.event_id, self.problems = event_type, event_id, tuple(problems)


class NotPrinted(EverlogError):
    """What is printed is not what its configurations say now. `files` are those that differ."""

    def __init__(self, files: Sequence[str]) -> None:
        super().__init__(
            f"not what the configurations print: {', '.join(files)}; run the same command "
            "without --check"
        )
        self.files = tuple(files)


class SyncError(EverlogError):
    """A ledger and its upstream cannot be brought into step. Nothing is lost: both stay as is.

    What can change by itself is tried again; `store.sync(...).status()` shows it meanwhile.
    """


class WrongUpstream(SyncError):
    """Another ledger answers than the one that was asked, or the ledger itself does."""


class StaleUpstream(SyncError):
    """The upstream's history is one that was left for a newer one: an old hub has come back.

    What only that one has, it gives back by a store of its own: see `docs/how-to/sync.md`.
    """

    def __init__(self, upstream: str, epoch: str) -> None:
        super().__init__(
            f"upstream {upstream} answers from epoch {epoch}, which was left for a newer one: it "
            "is an old hub that has come back; import its records into a new store, and "
            "synchronise that with the new hub"
        )
        self.upstream = upstream
        self.epoch = epoch


class UpstreamFault(SyncError):
    """An upstream's answer contradicts itself. Nothing of it was taken in."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the upstream contradicts itself: {what}; nothing of it was taken in")
        self.what = what


class Offline(SyncError):
    """An append to a strict stream, which only the hub can make, and the hub cannot be reached.

    Nothing was written, here or there. Append while `store.sync(hub)` runs and is in step.
    """

    def __init__(self, stream: str, hub: str) -> None:
        super().__init__(
            f"stream {stream!r} is one to which only hub {hub} appends, and there is no line to it "
            "now; nothing was written: append while `async with store.sync(hub)` is in step"
        )
        self.stream = stream
        self.hub = hub


class TransportFailed(SyncError):
    """The upstream cannot be reached, or has not answered. It is tried again.

    `retry_after_s`: for so many seconds it has asked to be left alone; 0 if it has not. `was_sent`:
    whether it may have got what was sent; False where there was not even a connection.
    """

    def __init__(self, what: str, *, retry_after_s: float = 0.0, was_sent: bool = True) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s
        self.was_sent = was_sent


class Refused(EverlogError):
    """A server does not do what it was asked to, for who asks. Nothing was written."""


class NotAuthenticated(Refused):
    """The server does not know who asks: the token is missing, wrong, expired or revoked."""


class NotAllowed(Refused):
    """The server knows who asks, and its token does not go so far."""


class TooBusy(Refused):
    """The server does not do it now: too many ask, or it is about to stop.

    `retry_after_s` says after how many seconds to ask again. Nothing was done.
    """

    def __init__(self, why: str, *, retry_after_s: float) -> None:
        super().__init__(f"{why}; ask again after {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class HandlerFailed(EverlogError):
    """A projector's handler raised. The cause is `__cause__`."""

    def __init__(self, handler: str, record_ids: Sequence[str]) -> None:
        super().__init__(
            f"handler {handler} failed on "
            + (f"record {record_ids[0]}" if len(record_ids) == 1 else f"{len(record_ids)} records")
        )
        self.handler, self.record_ids = handler, tuple(record_ids)


class HandlerTimedOut(EverlogError):
    """A handler took longer than the `handler_timeout_s` of its subscription, and was cut off.

    The cause of the `HandlerFailed` of its record, of which nothing stands that it wrote by `tx`.
    An effect (`once`) that was cut off may have happened: it is *ambiguous*, and this is its error.

    >>> async def ask(record):  # a handler that is in danger of it
    ...     await connection.request(record.data.root)  # for an answer that never comes
    """

    def __init__(
        self,
        subscription: str,
        handler: str,
        *,
        record_id: str,
        stream: str,
        position: int,
        timeout_s: float,
    ) -> None:
        super().__init__(
            f"handler {handler} of subscription {subscription!r} took over {timeout_s:g} s for "
            f"record {record_id} (position {position}, stream {stream!r}) and was cut off: find "
            "out what it waits for and give that a time-out of its own, or start the subscription "
            "with a longer handler_timeout_s"
        )
        self.subscription, self.handler, self.timeout_s = subscription, handler, timeout_s
        self.record_id, self.stream, self.position = record_id, stream, position


class NotSupported(EverlogError):
    """This kind of ledger cannot do that; its `capabilities` say so."""


# --- the place where the log lives --------------------------------------------------------------


class StorageError(EverlogError):
    """The place where the log lives cannot do what was asked.

    >>> async with EventStore.open("sqlite:///users.db", events=[UserCreated]) as store:
    ...     try:
    ...         await store.append("user-1", UserCreated(email="jane@doe.com"))
    ...     except StorageError:  # no disk, no room, no lock, ...
    ...         print("try again later")
    [<Record 1 ...>]
    """


class CannotOpen(StorageError):
    """The ledger cannot be opened or created.

    >>> await EventStore.open("sqlite:///no/such/folder/users.db")
    Traceback (most recent call last):
        ...
    everlog.errors.CannotOpen: there is no directory '...no/such/folder'; create it first
    """


class DamagedFile(CannotOpen):
    """What is stored there contradicts itself so much that it cannot be opened."""


class ForeignFile(CannotOpen):
    """It is something else, not an everlog ledger. It was not touched."""


class NewerFormat(CannotOpen):
    """A newer everlog wrote this ledger. It was not touched."""


class OlderFormat(CannotOpen):
    """The ledger lacks a migration. It was not touched: run `everlog migrate`."""


class FileReplaced(StorageError):
    """The file under the open store is another one now, or gone."""


class LedgerBusy(StorageError):
    """Another process held the ledger's lock for too long. Nothing was written."""


class StorageFull(StorageError):
    """There is no room left. Nothing of the call was written; reads go on."""


class StorageFailed(StorageError):
    """The disk or the database failed. Nothing of the call was written."""


class Unreachable(StorageFailed):
    """The database did not answer, or took no writes, for `timeout_s`. Nothing was written."""


class OutcomeUnknown(StorageError):
    """It cannot be told whether a write took effect: repeat the call, an append with the same ids.

    Only a call that succeeds settles it: until then the write may come to light when the ledger is
    opened after a crash. `ids` are those of the events; a change of relations or snapshots has
    none, and can be repeated as it is. `of_checkpoint`: it was a step of a subscription, of which
    nothing is to be repeated.

    >>> async def set_email(email: str, id: str) -> None:
    ...     try:
    ...         await store.append("user-1", EmailSet(email), ids=[id])
    ...     except OutcomeUnknown as error:
    ...         await store.append("user-1", EmailSet(email), ids=error.ids)
    >>> await set_email("jane@acme.com", "message-17")
    """

    def __init__(self, ids: Sequence[str], *, of_checkpoint: bool = False) -> None:
        if of_checkpoint:
            said = (
                "it is not known whether a checkpoint has moved, and what its handlers wrote was "
                "committed with it: both were, or neither. Do not repeat it: whoever claims the "
                "slice next goes on from where the checkpoint stands"
            )
        elif not ids:
            said = (
                "it is not known whether the change was stored; repeat it: twice is as good as once"
            )
        else:
            said = (
                f"it is not known whether {len(ids)} event(s) were stored (first id: "
                f"{ids[0]!r}); repeat the call with ids={list(ids[:3])!r}"
                f"{' ...' if len(ids) > 3 else ''}: what is stored is answered, not stored twice"
            )
        super().__init__(said)
        self.ids = tuple(ids)
        self.of_checkpoint = of_checkpoint


class CorruptLedger(StorageError):
    """What is stored contradicts itself."""


# --- the store was used in a place where it cannot work -----------------------------------------


class MisusedStore(EverlogError, RuntimeError):
    """The store was used in a place where it cannot work."""


class HandlerHeldTransaction(MisusedStore):
    """A handler held the log's own file, and with it every append, for over `limit_s` seconds.

    Only where a SQLite store was opened with `views="same"`. Its transaction was rolled back.

    >>> async def keep(record, tx):  # a handler that is in danger of it
    ...     [[count]] = await tx.fetch("SELECT count(*) FROM emails")
    ...     await asyncio.sleep(0.1)  # between two statements: every append waits
    ...     await tx.execute("INSERT INTO emails VALUES (?)", (record.data.root,))
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__(
            f"a handler's transaction held the log's own file for over {limit_s * 1000:.0f} ms, "
            "and every append waits meanwhile: it was rolled back. Do what takes time before "
            "tx.fetch, and wait for nothing but tx behind it; or open the store without "
            "views='same', so that read models are in a file beside the log"
        )
        self.limit_s = limit_s


class HandlersLeftBehind(MisusedStore):
    """So many handlers of a subscription were cut off and run on that this process begins no more.

    A thread cannot be stopped, only left behind. The subscription has stopped, and nothing was
    skipped: another process goes on with it, or this one when it was started again.
    """

    def __init__(self, subscription: str, count: int) -> None:
        super().__init__(
            f"{count} handlers of subscription {subscription!r} that took too long were left "
            "behind and still run, and it has stopped so that they do not become more: find out "
            "what they wait for, and start this process again, which alone can end them"
        )
        self.subscription, self.count = subscription, count


class StoreClosed(MisusedStore):
    """The store was closed (or never opened).

    >>> async with EventStore.open("memory:") as store:
    ...     pass
    >>> await store.info()
    Traceback (most recent call last):
        ...
    everlog.errors.StoreClosed: the store is closed; use it inside the `with` block that opens it
    """


class ForkedConnection(MisusedStore):
    """The process was forked after the store was opened: open the store again in the child."""


class WrongEventLoop(MisusedStore):
    """The store belongs to another event loop than the running one."""
