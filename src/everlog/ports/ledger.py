"""The ledger: the storage contract.

`Ledger` is what an adapter implements. Its docstrings are the contract; `everlog.testing.contract`
holds every adapter to them. All writes are requests to `commit`, so that one lock, one transaction
and one thread see them all; all reads are pages, so that nothing is held open between two of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from everlog.core.epoch import BeginEpoch
from everlog.core.record import StoredRecord
from everlog.core.relation import Relate, Related
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Append, Head, Identity, Import, Placed
from everlog.core.snapshot import DropSnapshots, PutSnapshot, Snapshot, SnapshotKey
from everlog.core.taking import Keeping, Restamp, Take, Taken
from everlog.errors import EverlogError
from everlog.ports.upstreams import Upstreams

Request: TypeAlias = (
    Append | Import | Take | Restamp | Relate | PutSnapshot | DropSnapshots | Keeping | BeginEpoch
)
"""Something to be written."""

Outcome: TypeAlias = Placed | Taken | Related | int | str | EverlogError
"""What became of a request: `Placed` of an append or import, `Taken` of what another ledger gave,
`Related` of a change of relations, the number of snapshots, or of records in what is known of an
upstream, that were changed, the epoch that was begun; or the error that it alone ended with."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an adapter can do. The contract suite expects the rest to be refused."""

    durable: bool
    """What is committed survives the process."""
    shared: bool
    """Several processes can hold the same ledger open."""
    backup: bool
    """`backup` works."""
    transactions: bool
    """`join` works."""
    whole: bool = True
    """It takes every kind of request. Otherwise it takes appends, and can be read and followed: it
    has no imports, relations to change, snapshots, upstreams and subscriptions."""


@dataclass(frozen=True, slots=True)
class FoldStart:
    """Where a fold can begin: a snapshot that holds, and the first page after it."""

    snapshot: Snapshot | None
    page: Page
    revision: int
    """The membership revision of the selection's relation, as of this page; otherwise 0."""
    unfoldings: int = 0
    """How often records were taken out of folds, or put back, as of this page."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that verification found."""

    position: int | None
    """The position of the record concerned, if it is one record."""
    what: str
    """What is wrong, in words."""


class Joined(Protocol):
    """A transaction of somebody else's connection, which events join.

    The order of locks is theirs first and the ledger's last, so that two of them never wait for
    each other because of it. Who is cancelled while it waits for one of these methods gets the
    connection back at rest.
    """

    async def begin(self) -> None:
        """Begins the transaction if it has not begun; raises `InvalidInput` if events cannot join.

        Then the transaction is as it was.
        """
        ...

    async def prepare(self) -> None:
        """Does what may wait for somebody else's locks, before the ledger's lock is waited for.

        Raises `InvalidInput` if it is not the transaction any more that was begun, and what the
        driver raises, such as for a constraint that the database was to check at the commit.
        """
        ...

    async def commit(self, request: Append | None) -> Placed | None:
        """Writes a request and commits the transaction; returns what became of the request.

        If its events are stored already, it is a retry: then the transaction is rolled back, as
        what it wrote has been committed with them. Raises what the request is refused with, or
        `StorageError`, and has rolled the transaction back, except that `OutcomeUnknown` leaves it
        open. Not to be cancelled: who waits for it shields it, and stays.
        """
        ...

    async def roll_back(self) -> None:
        """Rolls the transaction back, as far as there is still one; raises nothing."""
        ...


class Ledger(Protocol):
    """One physical log with its relations and snapshots.

    Atomic and durable: a request takes effect whole or not at all, and when `commit` returns it is
    as durable as the adapter's capabilities say. Order: positions and versions are 1, 2, 3, ...
    without holes, given in commit order, never re-used; a reader that has read up to P never later
    finds a record at or below P. A reader never sees part of a request.

    Methods raise `StoreClosed` after `close`, `ForkedConnection` in a forked child,
    `WrongEventLoop` in another event loop, and `StorageError` where the place itself fails.
    """

    @property
    def identity(self) -> Identity:
        """Who this ledger is: fixed when it was created."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this adapter can do."""
        ...

    @property
    def upstreams(self) -> Upstreams:
        """What this ledger knows of those that it synchronises with."""
        ...

    def commit(self, requests: Sequence[Request]) -> Awaitable[Sequence[Outcome]]:
        """Writes requests in one transaction, each judged on its own, in order.

        Returns an outcome per request. An `EverlogError` among them means that this request alone
        was refused and left nothing behind; the others stand. Conditions are checked against
        everything committed before, by any process, and the requests before it in the batch.

        Raises `StorageError` if the transaction as a whole failed: then nothing was written, except
        that `OutcomeUnknown` leaves it open. Cancelling the caller does not stop a commit that has
        begun.
        """
        # May be `async def`, or begin at once and return a future: then a lone append needs no turn
        # of the event loop to begin.
        ...

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        """Returns the next page of the selected records, at most `size` of them.

        Without a cursor it begins, and fixes the selection's end at the head and its relation's
        streams as they are now; pass the returned selection and cursor for the next page. All pages
        together are one consistent prefix of the log, but for what becomes a tombstone meanwhile.
        Tombstones are left out, unless the selection says otherwise. A page holds no resource.

        Raises `LogDiverged` if the log that the page was read from has not the place that the
        selection has `seen`: it is another history, and other records stand at its positions.
        """
        ...

    async def fold_from(
        self, selection: Selection, key: SnapshotKey | None, *, size: int = 500
    ) -> FoldStart:
        """Returns a snapshot that holds, and the first page after it, both as of one moment.

        The selection is in order of creation. The snapshot is given only if it holds: see
        `everlog.core.snapshot`. Without one, the page is the first of the whole selection.
        """
        ...

    async def find(self, ids: Sequence[str]) -> Sequence[StoredRecord | None]:
        """Returns the records of these event ids, None where there is none, in order.

        Also what stays of those whose content went: see `StoredRecord.is_tombstone`.
        """
        ...

    async def overtaken(self, stream: str, register: str, place: tuple[str, str]) -> bool:
        """Whether a record of the stream and register stands after `(created, id)` in a fold."""
        ...

    async def streams_of(self, relations: Sequence[str]) -> Sequence[str]:
        """Returns the streams in any of the relations, each once, sorted by code point."""
        ...

    async def relations_of(self, streams: Sequence[str]) -> Sequence[str]:
        """Returns the relations that any of the streams is in, each once, sorted."""
        ...

    async def find_snapshot(self, key: SnapshotKey) -> Snapshot | None:
        """Returns the stored snapshot, whether it still holds or not; None if there is none."""
        ...

    async def head(self) -> Head:
        """Returns how far the ledger has got."""
        ...

    async def wait(self, position: int, *, timeout_s: float) -> int:
        """Returns the head's position once it is past `position`, or after `timeout_s` seconds.

        For whoever follows the log: it waits until there is something to read. Who is cancelled
        while it waits leaves nothing behind.
        """
        ...

    def join(self, connection: object) -> Joined:
        """Returns a transaction of a connection to the same database, which events can join.

        Raises `NotSupported` if the adapter cannot, `InvalidInput` for what is no connection of its
        driver.
        """
        ...

    async def check(self) -> Sequence[Problem]:
        """Returns what the storage itself contradicts: its indexes, marks and structure.

        Hashes and chain are not its business: whoever verifies recomputes them from `read`.
        """
        ...

    async def backup(self, path: str) -> None:
        """Writes a consistent copy, as of one moment, to a new file, while the ledger is in use.

        Raises `NotSupported` if the adapter cannot, `CannotOpen` if the file exists or cannot be
        written; then no file is left behind.
        """
        ...

    async def close(self) -> None:
        """Lets go of everything. May be called again."""
        ...
