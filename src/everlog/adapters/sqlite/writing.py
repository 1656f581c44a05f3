"""Writing: one transaction for a batch of requests. Runs on the writer's thread."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar

from everlog.adapters.sqlite import schema
from everlog.adapters.sqlite.connections import Place, checkpoint, connect_writer
from everlog.adapters.sqlite.failures import (
    STUMBLES,
    as_head,
    as_storage_error,
    damage_named,
    damaged,
    surely_rolled_back,
)
from everlog.adapters.sqlite.file_guard import FileGuard
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.adapters.sqlite.many_rows import insert_all
from everlog.adapters.sqlite.upstreams import (
    first_tombstone,
    judge_orphans,
    keep,
    note,
    purge,
    recount,
    replace,
    state_of,
)
from everlog.core.aliases import aliases_between
from everlog.core.chain import NONCE_BYTES, ORPHAN
from everlog.core.epoch import BeginEpoch, epoch_at
from everlog.core.record import StoredRecord, content_length
from everlog.core.relation import Relate, Related
from everlog.core.sequencer import (
    EMPTY,
    Append,
    Head,
    Identity,
    Import,
    Placing,
    Sequencer,
    first_ids_of,
    ids_of,
    streams_of,
)
from everlog.core.snapshot import DropSnapshots, PutSnapshot
from everlog.core.stamp import is_stamp
from everlog.core.taking import (
    Hold,
    Note,
    Purge,
    Release,
    Restamp,
    Rewind,
    Take,
    Taken,
    UpstreamState,
    noted,
    passed,
    restampable,
)
from everlog.errors import (
    EverlogError,
    InvalidInput,
    LedgerBusy,
    OutcomeUnknown,
    StorageError,
    StorageFailed,
    StorageFull,
)
from everlog.ports.ledger import Outcome, Request
from everlog.ports.unsettled import Unsettled

T = TypeVar("T")

CHECKPOINT_BYTES = 8 * 1024 * 1024
"""About so much is written to the WAL between two checkpoints, where they are ours to make."""


_Found = tuple[Head, dict[str, StoredRecord], dict[str, int]]
"""The head, the stored records of ids by id, and the versions of streams."""


class Writer:
    """The one connection of this store that writes."""

    def __init__(
        self,
        place: Place,
        identity: Identity,
        now_ms: Callable[[], int],
        guard: FileGuard,
        lock: FileLock | None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`lock`: held around every commit and checkpoint, where checkpoints race."""
        self._place = place
        self._identity = identity
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._guard = guard
        # Where checkpoints race, no commit may run beside one, in this process or another.
        self._lock = lock
        # What others left in the WAL counts, or many short-lived writers would never empty it.
        self._unchecked_bytes = size_of(place.path + "-wal")
        # A commit is written to the WAL, and then synced. Where the sync fails, SQLite rolls back,
        # and the next transaction is written over it. But until then it stands in the file, whole;
        # and if the process is killed first, whoever opens the ledger takes it for committed.
        self._unsettled = Unsettled()
        self._connection = connect_writer(place)

    def commit(self, requests: Sequence[Request]) -> list[Outcome]:
        """Writes the requests in one transaction; raises `StorageError` if nothing was written.

        Raises `OutcomeUnknown` if that cannot be told.
        """
        changes = self._connection.total_changes
        lock = self._lock
        try:
            if lock is not None:
                lock.take(self._place.timeout_s)
            try:
                outcomes = self._transact(requests)
                if lock is not None and self._unchecked_bytes > CHECKPOINT_BYTES:
                    self._checkpoint()
            finally:
                if lock is not None:
                    lock.release()
        except OutcomeUnknown:
            self._unsettled.add(requests)
            raise
        except (LedgerBusy, StorageFull, StorageFailed) as error:
            if self._unsettled.has_one_of(requests):
                # This try wrote nothing; an earlier one may have.
                raise OutcomeUnknown(_ids_of(requests)) from error
            raise
        if self._connection.total_changes > changes:
            self._unsettled.clear()
        return outcomes

    def pragma(self, name: str) -> object:
        """Returns a setting of this very connection, for tests and for whoever asks after it."""
        [value] = self._connection.execute(schema.SETTINGS[name]).fetchone()
        return value

    def look(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Returns what a look by this connection finds; raises `CorruptLedger` if it stumbles."""
        try:
            return look(self._connection)
        except EverlogError:
            raise
        except STUMBLES as error:
            raise damaged(self._place.path, error) from error

    def close(self) -> None:
        """Closes the connection; the last one of a file moves the WAL into it.

        Without the lock: that checkpoint runs only when no other connection is left to race with.
        """
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    def _transact(self, requests: Sequence[Request]) -> list[Outcome]:
        connection = self._connection
        changes = connection.total_changes
        try:
            # Not deferred: a transaction that turns to writing later fails at once when another was
            # faster, whatever the timeout.
            connection.execute("BEGIN IMMEDIATE")
            try:
                outcomes, rows = self._write(requests)
                self._guard.check()  # last, as waiting for the lock may have taken long
            except BaseException:
                roll_back(connection)
                raise
        except sqlite3.Error as error:
            raise as_storage_error(error, self._place.path) from error
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            roll_back(connection)
            if connection.total_changes > changes and not surely_rolled_back(error):
                raise OutcomeUnknown(_ids_of(requests)) from error
            raise as_storage_error(error, self._place.path) from error
        taken = sum(len(each.judged) for each in outcomes if isinstance(each, Taken))
        self._unchecked_bytes += 5 * 4096 + 1024 * (len(rows) + taken) + 2 * content_length(rows)
        return outcomes

    def _write(self, requests: Sequence[Request]) -> tuple[list[Outcome], list[StoredRecord]]:
        connection = self._connection
        if len(requests) == 1 and isinstance(requests[0], Restamp):
            return self._restamp(requests[0])
        if len(requests) == 1 and isinstance(requests[0], Purge):
            return [self._purge(requests[0])], []
        placing = [request for request in requests if isinstance(request, (Append, Import, Take))]
        sequencer = self._sequencer(placing) if placing else None
        outcomes: list[Outcome] = []
        orphaned: dict[str, int] = {}
        changed: list[int] = []
        for request in requests:
            try:
                if isinstance(request, (Append, Import)):
                    assert sequencer is not None
                    placed = sequencer.place(request)
                    outcomes.append(placed)
                    if placed.new and isinstance(request, Append) and request.relations:
                        self._relate(Relate(add=request.relations))
                elif isinstance(request, Take):
                    assert sequencer is not None
                    outcomes.append(self._take(sequencer, request, orphaned, changed))
                elif isinstance(request, (Rewind, Hold, Release, Note)):
                    outcomes.append(keep(connection, self._upstream(request.upstream), request))
                elif isinstance(request, Relate):
                    outcomes.append(self._relate(request))
                elif isinstance(request, PutSnapshot):
                    outcomes.append(self._put_snapshot(request))
                elif isinstance(request, BeginEpoch):
                    outcomes.append(self._begin_epoch())
                elif isinstance(request, Restamp):
                    raise InvalidInput("a restamp is committed by itself")
                elif isinstance(request, Purge):
                    raise InvalidInput("a purge is committed by itself")
                else:
                    outcomes.append(self._drop_snapshots(request))
            except StorageError:
                raise
            except EverlogError as error:
                outcomes.append(error)
        if sequencer is None:
            return outcomes, []
        if sequencer.rows:
            self._store(sequencer)
        if orphaned or any(row.flags & ORPHAN for row in sequencer.rows):
            # As the upstream said last that has them, or as they were judged here.
            judged = [(row, orphaned.get(row.id, row.flags & ORPHAN)) for row in sequencer.rows]
            orphans = [(row.position, None) for row, is_one in judged if is_one]
            connection.executemany(schema.INSERT_UNFOLDED, orphans)
            changed += [row.position for row, is_one in judged if is_one != row.flags & ORPHAN]
        changed += replace(connection, sequencer.replaced)
        recount(connection, changed)
        if sequencer.refilled:
            refilled = sequencer.refilled
            connection.executemany(
                schema.REFILL, [(row.nonce, row.data, row.meta, row.position) for row in refilled]
            )
            self._drop_snapshots_with([(row.position, row.stream) for row in refilled])
        return outcomes, [*sequencer.rows, *sequencer.refilled]

    def _purge(self, request: Purge) -> Outcome:
        connection = self._connection
        # What is let go is overwritten, in place and in the pages that become free.
        [before] = connection.execute(schema.SECURE_DELETE).fetchone()
        connection.execute(schema.SECURE_DELETE_TO[1]).fetchone()
        try:
            gone = purge(connection, self._upstream(request.upstream), request)
            self._drop_snapshots_with(gone)
        except StorageError:
            raise
        except EverlogError as error:
            return error
        finally:
            connection.execute(schema.SECURE_DELETE_TO[before]).fetchone()
        return len(gone)

    def _drop_snapshots_with(self, rows: Sequence[tuple[int, str]]) -> None:
        """Drops what may have been folded from some records, by their positions and streams."""
        if not rows:
            return
        connection = self._connection
        streams = json.dumps(list({stream for _, stream in rows}))
        first = min(position for position, _ in rows)
        connection.execute(schema.RAISE_UNFOLDINGS)  # for those that are on their way
        connection.execute(schema.DELETE_SNAPSHOTS_WITH, (first, streams))
        relations = connection.execute(schema.SELECT_RELATIONS_OF, (streams,)).fetchall()
        connection.executemany(schema.RAISE_REVISION, relations)

    def _store(self, sequencer: Sequencer) -> None:
        connection = self._connection
        rows, late = sequencer.rows, sequencer.late
        if late:
            marked = [(*row, row.position in late) for row in rows]
            insert_all(connection, schema.INSERT_RECORD, marked)
        else:
            insert_all(connection, schema.INSERT_ON_TIME, rows)
        insert_all(connection, schema.UPSERT_REGISTER, sequencer.registers())
        head = sequencer.head
        connection.execute(
            schema.UPDATE_HEAD, (head.position, head.chain, head.clock, *head.newest)
        )

    def _restamp(self, request: Restamp) -> tuple[list[Outcome], list[StoredRecord]]:
        connection = self._connection
        ids = json.dumps(request.ids)
        known = _by_id(connection.execute(schema.SELECT_BY_IDS, (ids,)).fetchall())
        copied = connection.execute(schema.SELECT_COPIED, (ids,)).fetchall()
        unfolded = connection.execute(schema.SELECT_UNFOLDED, (ids,)).fetchall()
        try:
            olds = restampable(
                request,
                known,
                own=self._identity.ledger,
                copied={id for [id] in copied},
                replaced={id for [id] in unfolded},
            )
        except InvalidInput as error:
            return [error], []
        if not olds:
            return [0], []
        streams = json.dumps(list({old.stream for old in olds}))
        [clock] = connection.execute(schema.SELECT_CLOCK_WITHOUT, (ids,)).fetchone()
        sequencer = Sequencer(
            as_head(connection.execute(schema.SELECT_HEAD).fetchone()),
            self._identity,
            now_ms=request.now_ms,
            known=known,
            versions=dict(connection.execute(schema.SELECT_VERSIONS, (streams,)).fetchall()),
            newest=self._newest,
        )
        nonces = [self._random_bytes(NONCE_BYTES) for _ in olds]
        try:
            sequencer.restamp(olds, clock=clock or EMPTY.clock, nonces=nonces)
        except InvalidInput as error:
            return [error], []
        if sequencer.rows:
            self._store(sequencer)
        recount(connection, replace(connection, sequencer.replaced))
        return [len(olds)], sequencer.rows

    def _sequencer(self, requests: Sequence[Placing]) -> Sequencer:
        ids, streams = ids_of(requests), streams_of(requests)
        firsts = first_ids_of(requests)
        look = self._look_for_one if len(ids) == 1 and not firsts else self._look_for_many
        try:
            head, known, versions = look([*dict.fromkeys([*ids, *firsts])], streams)
            if firsts:
                wanted = (json.dumps(firsts), *aliases_between(""))
                found = self._connection.execute(schema.SELECT_ALIASES, wanted)
                known |= _by_id(found.fetchall())
            if not is_stamp(head.clock):
                raise TypeError("the ledger's clock is no stamp")
        except STUMBLES as error:
            raise damaged(self._place.path, error) from error
        return Sequencer(
            head,
            self._identity,
            now_ms=self._now_ms(),
            known=known,
            versions=versions,
            newest=self._newest,
        )

    def _look_for_one(self, ids: Sequence[str], streams: Sequence[str]) -> _Found:
        # In one statement: each costs a lone append some percent of what it waits for.
        [id], [stream] = ids, streams
        row = self._connection.execute(schema.SELECT_FOR_ONE, (stream, id)).fetchone()
        if row is None:
            return as_head(None), {}, {}
        *head, version, is_known = row
        known: list[tuple[object, ...]] = []
        if is_known:
            known = self._connection.execute(schema.SELECT_BY_ID, (id,)).fetchall()
        return as_head(tuple(head)), _by_id(known), {} if version is None else {stream: version}

    def _look_for_many(self, ids: Sequence[str], streams: Sequence[str]) -> _Found:
        connection = self._connection
        head = as_head(connection.execute(schema.SELECT_HEAD).fetchone())
        known = connection.execute(schema.SELECT_BY_IDS, (json.dumps(ids),)).fetchall()
        if len(streams) == 1:
            row = connection.execute(schema.SELECT_VERSION, streams).fetchone()
            versions = {} if row is None else {streams[0]: row[0]}
        else:
            found = connection.execute(schema.SELECT_VERSIONS, (json.dumps(streams),))
            versions = {stream: version for stream, version in found if version is not None}
        return head, _by_id(known), versions

    def _newest(self, stream: str, register: str) -> tuple[str, str] | None:
        row: tuple[str, str] | None
        row = self._connection.execute(schema.SELECT_REGISTER, (stream, register)).fetchone()
        return row

    def _take(
        self,
        sequencer: Sequencer,
        request: Take,
        orphaned: dict[str, int],
        changed: list[int],
    ) -> Taken:
        link = request.link
        if link is None:
            return sequencer.place(request)
        state = passed(self._upstream(link.upstream), link)
        taken = sequencer.place(request)
        entries, held = noted(request, taken, now_ms=self._now_ms())
        new = {record.id for record in taken.new}
        note(self._connection, state, entries, held)
        if len(new) < len(entries):  # what is new is judged by its own flags
            known = [entry for entry in entries if entry.id not in new]
            changed += judge_orphans(self._connection, known)
            orphaned.update({entry.id: entry.flags & ORPHAN for entry in entries})
        return taken

    def _upstream(self, name: str) -> UpstreamState | None:
        with damage_named(self._place.path):
            return state_of(self._connection, name)

    def _begin_epoch(self) -> str:
        [*_, before] = self._connection.execute(schema.SELECT_IDENTITY).fetchone()
        epoch = epoch_at(self._now_ms(), self._random_bytes(2), after=before)
        self._connection.execute(schema.UPDATE_EPOCH, (epoch,))
        return epoch

    def _relate(self, request: Relate) -> Related:
        connection = self._connection
        added = removed = 0
        changed: set[str] = set()
        for relation in request.clear:
            count = connection.execute(schema.CLEAR_RELATION, (relation,)).rowcount
            removed += count
            if count:
                changed.add(relation)
        for stream in request.clear_streams:
            found = connection.execute(schema.SELECT_RELATIONS_OF, (json.dumps([stream]),))
            changed.update(relation for [relation] in found.fetchall())
            removed += connection.execute(schema.CLEAR_STREAM, (stream,)).rowcount
        for pair in request.remove:
            count = connection.execute(schema.DELETE_RELATION, pair).rowcount
            removed += count
            if count:
                changed.add(pair[0])
        for pair in request.add:
            count = connection.execute(schema.INSERT_RELATION, pair).rowcount
            added += count
            if count:
                changed.add(pair[0])
        connection.executemany(schema.RAISE_REVISION, [(relation,) for relation in changed])
        return Related(added, removed)

    def _put_snapshot(self, request: PutSnapshot) -> int:
        snapshot = request.snapshot
        key = snapshot.key
        kind, _, name = key.scope.partition(":")
        if kind == "relation":
            row = self._connection.execute(schema.SELECT_REVISION, (name,)).fetchone()
            if row is not None and snapshot.revision < row[0]:
                return 0  # of other streams than it has now, or of more than there is of them
        elif kind == "stream" and first_tombstone(self._connection, name) is not None:
            return 0
        return self._connection.execute(
            schema.UPSERT_SNAPSHOT,
            (
                key.scope,
                key.reducer,
                key.reducer_version,
                key.shape,
                key.filter,
                snapshot.position,
                snapshot.created,
                snapshot.id,
                snapshot.version,
                snapshot.count,
                snapshot.revision,
                snapshot.state,
                request.unfoldings,
            ),
        ).rowcount

    def _drop_snapshots(self, request: DropSnapshots) -> int:
        if request.reducer is None:
            return self._connection.execute(schema.DELETE_SNAPSHOTS, (request.scope,)).rowcount
        return self._connection.execute(
            schema.DELETE_SNAPSHOTS_OF, (request.scope, request.reducer)
        ).rowcount

    def _checkpoint(self) -> None:
        self._unchecked_bytes = 0
        checkpoint(self._connection)


def _by_id(rows: Sequence[tuple[object, ...]]) -> dict[str, StoredRecord]:
    return {record.id: record for record in map(StoredRecord._make, rows)}


def size_of(path: str) -> int:
    """Returns the size of a file in bytes; 0 if there is none."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def roll_back(connection: sqlite3.Connection) -> None:
    """Ends the transaction of a connection, if there is one, with nothing of it left."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            return  # SQLite rolls back by itself where it cannot go on


def _ids_of(requests: Sequence[Request]) -> list[str]:
    placing = [request for request in requests if isinstance(request, (Append, Import, Take))]
    return ids_of(placing)
