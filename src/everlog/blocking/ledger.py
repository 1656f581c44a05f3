"""`store.ledger`: the port under a blocking store.

Made from `everlog.ports.ledger`
by `tests/blocking/make_blocking.py`: change those instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from everlog.blocking.portal import Portal, portal
from everlog.blocking.upstreams import Upstreams
from everlog.core.record import StoredRecord
from everlog.core.selection import Cursor, Page, Selection
from everlog.core.sequencer import Head, Identity
from everlog.core.snapshot import Snapshot, SnapshotKey
from everlog.ports.ledger import Capabilities, FoldStart, Outcome, Problem, Request
from everlog.ports.ledger import Ledger as AsyncLedger


class Ledger:
    """One physical log with its relations and snapshots.

    Atomic and durable: a request takes effect whole or not at all, and when `commit` returns it
    is as durable as the adapter's capabilities say. Order: positions and versions are 1, 2, 3,
    ... without holes, given in commit order, never re-used; a reader that has read up to P
    never later finds a record at or below P. A reader never sees part of a request.

    Methods raise `StoreClosed` after `close`, `ForkedConnection` in a forked child,
    and `StorageError` where the place itself fails.
    """

    def __init__(self, portal: Portal, ledger: AsyncLedger) -> None:
        """`Ledger.of` makes one of an adapter of your own."""
        self._portal = portal
        self._ledger = ledger

    @classmethod
    def of(cls, open: Callable[[], Awaitable[AsyncLedger]]) -> Ledger:
        """Opens an adapter of your own on the loop where blocking stores live.

        >>> from everlog.adapters.memory.ledger import MemoryLedger
        >>> async def open() -> MemoryLedger:
        ...     return MemoryLedger()
        >>> Ledger.of(open).head().position
        0
        """
        here = portal()

        async def opened() -> AsyncLedger:
            return await open()

        return cls(here, here.run(opened))

    @property
    def identity(self) -> Identity:
        """Who this ledger is: fixed when it was created."""
        return self._ledger.identity

    @property
    def capabilities(self) -> Capabilities:
        """What this adapter can do."""
        return self._ledger.capabilities

    @property
    def upstreams(self) -> Upstreams:
        """What this ledger knows of those that it synchronises with."""
        return Upstreams(self._portal, self._ledger.upstreams)

    def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        """Writes requests in one transaction, each judged on its own, in order.

        Returns an outcome per request. An `EverlogError` among them means that this request alone
        was refused and left nothing behind; the others stand. Conditions are checked against
        everything committed before, by any process, and the requests before it in the batch.

        Raises `StorageError` if the transaction as a whole failed: then nothing was written, except
        that `OutcomeUnknown` leaves it open. Interrupting the caller does not stop a commit that
        has begun.
        """
        return self._portal.run(self._ledger.commit, requests)

    def read(self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500) -> Page:
        """Returns the next page of the selected records, at most `size` of them.

        Without a cursor it begins, and fixes the selection's end at the head and its relation's
        streams as they are now; pass the returned selection and cursor for the next page. All pages
        together are one consistent prefix of the log, but for what becomes a tombstone meanwhile.
        Tombstones are left out, unless the selection says otherwise. A page holds no resource.

        Raises `LogDiverged` if the log that the page was read from has not the place that the
        selection has `seen`: it is another history, and other records stand at its positions.
        """
        return self._portal.run(self._ledger.read, selection, cursor=cursor, size=size)

    def fold_from(
        self, selection: Selection, key: SnapshotKey | None, *, size: int = 500
    ) -> FoldStart:
        """Returns a snapshot that holds, and the first page after it, both as of one moment.

        The selection is in order of creation. The snapshot is given only if it holds: see
        `everlog.core.snapshot`. Without one, the page is the first of the whole selection.
        """
        return self._portal.run(self._ledger.fold_from, selection, key, size=size)

    def find(self, ids: Sequence[str]) -> Sequence[StoredRecord | None]:
        """Returns the records of these event ids, None where there is none, in order.

        Also what stays of those whose content went: see `StoredRecord.is_tombstone`.
        """
        return self._portal.run(self._ledger.find, ids)

    def overtaken(self, stream: str, register: str, place: tuple[str, str]) -> bool:
        """Whether a record of the stream and register stands after `(created, id)` in a fold."""
        return self._portal.run(self._ledger.overtaken, stream, register, place)

    def streams_of(self, relations: Sequence[str]) -> Sequence[str]:
        """Returns the streams in any of the relations, each once, sorted by code point."""
        return self._portal.run(self._ledger.streams_of, relations)

    def relations_of(self, streams: Sequence[str]) -> Sequence[str]:
        """Returns the relations that any of the streams is in, each once, sorted."""
        return self._portal.run(self._ledger.relations_of, streams)

    def find_snapshot(self, key: SnapshotKey) -> Snapshot | None:
        """Returns the stored snapshot, whether it still holds or not; None if there is none."""
        return self._portal.run(self._ledger.find_snapshot, key)

    def head(self) -> Head:
        """Returns how far the ledger has got."""
        return self._portal.run(self._ledger.head)

    def wait(self, position: int, *, timeout_s: float) -> int:
        """Returns the head's position once it is past `position`, or after `timeout_s` seconds.

        For whoever follows the log: it waits until there is something to read. Who is cancelled
        while it waits leaves nothing behind.
        """
        return self._portal.run(self._ledger.wait, position, timeout_s=timeout_s)

    def check(self) -> Sequence[Problem]:
        """Returns what the storage itself contradicts: its indexes, marks and structure.

        Hashes and chain are not its business: whoever verifies recomputes them from `read`.
        """
        return self._portal.run(self._ledger.check)

    def backup(self, path: str) -> None:
        """Writes a consistent copy, as of one moment, to a new file, while the ledger is in use.

        Raises `NotSupported` if the adapter cannot, `CannotOpen` if the file exists or cannot be
        written; then no file is left behind.
        """
        self._portal.run(self._ledger.backup, path)

    def close(self) -> None:
        """Lets go of everything. May be called again."""
        if not self._portal.forked:
            self._portal.run(self._ledger.close)


def port(ledger: Ledger) -> AsyncLedger:
    """Returns the port as the portal sees it."""
    return ledger._ledger  # pyright: ignore[reportPrivateUsage]  # its friend
