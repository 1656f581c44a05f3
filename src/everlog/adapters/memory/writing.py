"""Writing: a batch of requests, each judged on its own."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import replace

from everlog.adapters.memory.tables import Tables
from everlog.adapters.memory.upstreams import (
    drop_snapshots,
    first_tombstone,
    keep,
    purge,
    recount,
    replace_rows,
    take,
)
from everlog.core.aliases import first_id
from everlog.core.chain import NONCE_BYTES, ORPHAN
from everlog.core.epoch import BeginEpoch, epoch_at
from everlog.core.relation import Relate, Related
from everlog.core.sequencer import (
    EMPTY,
    Append,
    Identity,
    Import,
    Sequencer,
    first_ids_of,
    ids_of,
    streams_of,
)
from everlog.core.snapshot import DropSnapshots, PutSnapshot
from everlog.core.taking import (
    Hold,
    Note,
    Purge,
    Release,
    Restamp,
    Rewind,
    Take,
    restampable,
)
from everlog.errors import EverlogError, InvalidInput
from everlog.ports.ledger import Outcome, Request
from everlog.ports.seams import Seams


def write(
    tables: Tables, requests: Sequence[Request], *, identity: Identity, seams: Seams
) -> list[Outcome]:
    """Writes the requests in order and returns what became of each."""
    now_ms = seams.now_ms()
    if len(requests) == 1 and isinstance(requests[0], Restamp):
        return [_restamp(tables, requests[0], identity, seams)]
    if len(requests) == 1 and isinstance(requests[0], Purge):
        return [_purge(tables, requests[0])]
    placing = [request for request in requests if isinstance(request, (Append, Import, Take))]
    ids = ids_of(placing)
    for first in first_ids_of(placing):
        ids += [first, *tables.aliases.get(first, ())]
    sequencer = Sequencer(
        tables.head,
        identity,
        now_ms=now_ms,
        known={id: tables.by_id[id] for id in ids if id in tables.by_id},
        versions={
            stream: tables.records[tables.by_stream[stream][-1] - 1].version
            for stream in streams_of(placing)
            if stream in tables.by_stream
        },
        newest=lambda stream, register: tables.registers.get((stream, register)),
    )
    outcomes: list[Outcome] = []
    orphaned: dict[str, int] = {}
    changed: list[int] = []
    for request in requests:
        try:
            if isinstance(request, (Append, Import)):
                placed = sequencer.place(request)
                outcomes.append(placed)
                if placed.new and isinstance(request, Append) and request.relations:
                    _relate(tables, Relate(add=request.relations))
            elif isinstance(request, Take):
                outcomes.append(
                    take(
                        tables,
                        sequencer,
                        request,
                        now_ms=now_ms,
                        orphaned=orphaned,
                        changed=changed,
                    )
                )
            elif isinstance(request, BeginEpoch):
                epoch = epoch_at(now_ms, seams.random_bytes(8), after=identity.epoch)
                identity = replace(identity, epoch=epoch)
                outcomes.append(epoch)
            elif isinstance(request, Restamp):
                raise InvalidInput("a restamp is committed by itself")
            elif isinstance(request, Purge):
                raise InvalidInput("a purge is committed by itself")
            elif isinstance(request, (Rewind, Hold, Release, Note)):
                outcomes.append(keep(tables, request))
            elif isinstance(request, Relate):
                outcomes.append(_relate(tables, request))
            elif isinstance(request, PutSnapshot):
                outcomes.append(_put_snapshot(tables, request))
            else:
                outcomes.append(_drop_snapshots(tables, request))
        except EverlogError as error:
            outcomes.append(error)
    changed += _store(tables, sequencer, orphaned)
    changed += _replace(tables, sequencer.replaced)
    recount(tables, changed)
    replace_rows(tables, sequencer.refilled)
    return outcomes


def _purge(tables: Tables, request: Purge) -> Outcome:
    try:
        return purge(tables, request)
    except EverlogError as error:
        return error


def _restamp(tables: Tables, request: Restamp, identity: Identity, seams: Seams) -> Outcome:
    try:
        olds = restampable(
            request,
            tables.by_id,
            own=identity.ledger,
            copied={id for copy in tables.copies.values() for id in copy.entries},
            replaced=tables.unfolded,
        )
    except EverlogError as error:
        return error
    if not olds:
        return 0
    gone = {*request.ids, *(id for id, by in tables.unfolded.items() if by is not None)}
    others = (row.created for row in tables.records if row.id not in gone)
    clock = max(others, default=EMPTY.clock)
    streams = {old.stream for old in olds}
    sequencer = Sequencer(
        tables.head,
        identity,
        now_ms=request.now_ms,
        known=tables.by_id,
        versions={each: tables.records[tables.by_stream[each][-1] - 1].version for each in streams},
        newest=lambda stream, register: tables.registers.get((stream, register)),
    )
    nonces = [seams.random_bytes(NONCE_BYTES) for _ in olds]
    try:
        sequencer.restamp(olds, clock=clock, nonces=nonces)
    except InvalidInput as error:
        return error
    _store(tables, sequencer, {})
    recount(tables, _replace(tables, sequencer.replaced))
    return len(olds)


def _replace(tables: Tables, replaced: Mapping[int, str]) -> list[int]:
    """Has no fold have what was replaced any more; returns the positions of what is new to that."""
    ids = {position: tables.records[position - 1].id for position in replaced}
    changed = [each for each, by in replaced.items() if tables.unfolded.get(ids[each]) != by]
    tables.unfolded.update({ids[each]: replaced[each] for each in changed})
    drop_snapshots(tables, changed)
    return changed


def _store(tables: Tables, sequencer: Sequencer, orphaned: Mapping[str, int]) -> list[int]:
    """Stores what was placed; returns the positions of what was judged otherwise afterwards."""
    changed: list[int] = []
    for row in sequencer.rows:
        tables.records.append(row)
        tables.by_id[row.id] = row
        tables.by_stream.setdefault(row.stream, []).append(row.position)
        if first_id(row) != row.id:
            tables.aliases.setdefault(first_id(row), []).append(row.id)
        # As the upstream said last that has it, or as it was judged here.
        is_orphan = orphaned.get(row.id, row.flags & ORPHAN)
        if is_orphan:
            tables.unfolded[row.id] = None
        if is_orphan != row.flags & ORPHAN:
            changed.append(row.position)
        if row.position in sequencer.late:
            bisect.insort(tables.late, row, key=lambda record: record.order)
            tables.late_positions.add(row.position)
    for stream, register, created, id in sequencer.registers():
        tables.registers[stream, register] = (created, id)
    tables.head = sequencer.head
    return changed


def _relate(tables: Tables, request: Relate) -> Related:
    added = removed = 0
    changed: set[str] = set()

    def remove(relation: str, stream: str) -> int:
        members = tables.relations.get(relation)
        if members is None or stream not in members:
            return 0
        members.remove(stream)
        changed.add(relation)
        return 1

    for relation in request.clear:
        for stream in list(tables.relations.get(relation, ())):
            removed += remove(relation, stream)
    for stream in request.clear_streams:
        for relation in tables.relations_of([stream]):
            removed += remove(relation, stream)
    for relation, stream in request.remove:
        removed += remove(relation, stream)
    for relation, stream in request.add:
        members = tables.relations.setdefault(relation, set())
        if stream not in members:
            members.add(stream)
            changed.add(relation)
            added += 1
    for relation in changed:
        tables.revisions[relation] = tables.revisions.get(relation, 0) + 1
    return Related(added, removed)


def _put_snapshot(tables: Tables, request: PutSnapshot) -> int:
    snapshot = request.snapshot
    if request.unfoldings not in (None, tables.unfoldings):
        return 0
    kind, _, name = snapshot.key.scope.partition(":")
    if kind == "relation" and snapshot.revision < tables.revisions.get(name, 0):
        return 0  # of other streams than it has now, or of more than there is of them
    if kind == "stream" and first_tombstone(tables, name) is not None:
        return 0
    present = tables.snapshots.get(snapshot.key)
    if present is not None and (snapshot.revision, snapshot.position) < (
        present.revision,
        present.position,
    ):
        return 0
    tables.snapshots[snapshot.key] = snapshot
    return 1


def _drop_snapshots(tables: Tables, request: DropSnapshots) -> int:
    doomed = [
        key
        for key in tables.snapshots
        if key.scope == request.scope and request.reducer in (None, key.reducer)
    ]
    for key in doomed:
        del tables.snapshots[key]
    return len(doomed)
