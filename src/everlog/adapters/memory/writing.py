"""Writing: a batch of requests, each judged on its own."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from everlog.adapters.memory.tables import Tables
from everlog.core.relation import Relate, Related
from everlog.core.sequencer import Append, Identity, Import, Sequencer, ids_of, streams_of
from everlog.core.snapshot import DropSnapshots, PutSnapshot
from everlog.errors import EverlogError
from everlog.ports.ledger import Outcome, Request


def write(
    tables: Tables, requests: Sequence[Request], *, identity: Identity, now_ms: int
) -> list[Outcome]:
    """Writes the requests in order and returns what became of each."""
    placing = [request for request in requests if isinstance(request, (Append, Import))]
    sequencer = Sequencer(
        tables.head,
        identity,
        now_ms=now_ms,
        known={id: tables.by_id[id] for id in ids_of(placing) if id in tables.by_id},
        versions={
            stream: len(tables.by_stream[stream])
            for stream in streams_of(placing)
            if stream in tables.by_stream
        },
        newest=lambda stream, register: tables.registers.get((stream, register)),
    )
    outcomes: list[Outcome] = []
    for request in requests:
        try:
            if isinstance(request, (Append, Import)):
                placed = sequencer.place(request)
                outcomes.append(placed)
                if placed.new and isinstance(request, Append) and request.relations:
                    _relate(tables, Relate(add=request.relations))
            elif isinstance(request, Relate):
                outcomes.append(_relate(tables, request))
            elif isinstance(request, PutSnapshot):
                outcomes.append(_put_snapshot(tables, request))
            else:
                outcomes.append(_drop_snapshots(tables, request))
        except EverlogError as error:
            outcomes.append(error)
    _store(tables, sequencer)
    return outcomes


def _store(tables: Tables, sequencer: Sequencer) -> None:
    for row in sequencer.rows:
        tables.records.append(row)
        tables.by_id[row.id] = row
        tables.by_stream.setdefault(row.stream, []).append(row.position)
        if row.position in sequencer.late:
            bisect.insort(tables.late, row, key=lambda record: record.order)
            tables.late_positions.add(row.position)
    for stream, register, created, id in sequencer.registers():
        tables.registers[stream, register] = (created, id)
    tables.head = sequencer.head


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
