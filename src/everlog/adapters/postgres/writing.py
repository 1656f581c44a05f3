"""Writing: the scripts of one transaction for a batch of requests, each judged on its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Copy, Row, Run, Script, Statement, Think, ask
from everlog.adapters.postgres.failures import as_head
from everlog.core.record import StoredRecord, as_record
from everlog.core.relation import Pair, Relate, Related
from everlog.core.sequencer import (
    Append,
    Head,
    Identity,
    Import,
    Place,
    Placed,
    Sequencer,
    ids_of,
    streams_of,
)
from everlog.core.snapshot import DropSnapshots, PutSnapshot, SnapshotKey
from everlog.errors import EverlogError, StorageFailed
from everlog.ports.ledger import Outcome, Request

COPY_FROM = 2_000
"""From so many rows on COPY is used. It stores a row in 5 us, as one statement does, and needs more
trips; but nothing is built whole for it."""

COPY_BYTES = 2 * 1024 * 1024
"""And from so many bytes on: a statement is sent whole, COPY in small parts."""

THINK_FROM = 1_000
"""From so many events on, hashing them is work for a thread."""


class Found(NamedTuple):
    """What the ledger holds, under its lock, of what a batch is about."""

    identity: Identity
    head: Head
    known: dict[str, StoredRecord]
    versions: dict[str, int]
    registers: dict[tuple[str, str], Place]


class Written(NamedTuple):
    """What a batch comes to, once its commit has taken effect."""

    outcomes: list[Outcome]
    found: Head
    """The head before it."""
    head: Head
    rows: Sequence[StoredRecord]
    late: Set[int]
    registers: Sequence[tuple[str, str, str, str]]
    imported: bool
    """Whether some of the rows were not born here."""
    transaction: str | None
    """The id of its transaction, where no row will tell whether it was committed."""


def look(requests: Sequence[Request]) -> Script[Found]:
    """Finds what the requests need to know. To be run under the lock, in a statement after it."""
    placing = _placing(requests)
    ids = ids_of(placing)
    known: list[Row] = []
    if len(ids) == 1 and isinstance(placing[0], Append):
        # In one statement: a lone append waits for every trip.
        [stream] = streams_of(placing)
        [row] = yield from ask(schema.SELECT_FOR_ONE, {"stream": stream, "id": ids[0]})
        ledger, node, epoch, *head, version, is_known = row
        if is_known:
            known = yield from ask(schema.SELECT_BY_IDS, {"names": json.dumps(ids)})
        versions = {} if version is None else {stream: version}
        identity = Identity(ledger, node, epoch)
        return Found(identity, as_head(head), _by_id(known), versions, {})
    if ids and all(isinstance(request, Append) for request in requests):
        streams = streams_of(placing)
        values = {"streams": "\n".join(streams), "ids": "\n".join(ids)}
        [row] = yield from ask(schema.SELECT_FOR_MANY, values)
        ledger, node, epoch, *head, numbers, is_known = row
        if is_known:
            known = yield from ask(schema.SELECT_BY_IDS, {"names": json.dumps(ids)})
        versions = dict(zip(streams, map(int, numbers.split(",")), strict=True))
        return Found(Identity(ledger, node, epoch), as_head(head), _by_id(known), versions, {})
    statements = [Statement(schema.SELECT_OWN_HEAD)]
    if ids:
        keys = [{"stream": stream, "register": register} for stream, register in _imported(placing)]
        statements += [
            Statement(schema.SELECT_BY_IDS, {"names": json.dumps(ids)}),
            Statement(schema.SELECT_VERSIONS, {"names": json.dumps(streams_of(placing))}),
            Statement(schema.SELECT_REGISTERS, {"keys": json.dumps(keys)}),
        ]
    [[(ledger, node, epoch, *head)], *rest] = yield Run(statements)
    known, versioned, registered = rest or ([], [], [])
    return Found(
        Identity(ledger, node, epoch),
        as_head(head),
        _by_id(known),
        {stream: version for stream, version in versioned if version is not None},
        {(stream, register): (created, id) for stream, register, created, id in registered},
    )


def count_events(requests: Sequence[Request]) -> int:
    """Returns how many events and records the requests have."""
    return sum(
        len(request.events) if isinstance(request, Append) else len(request.records)
        for request in _placing(requests)
    )


def count_bytes(requests: Sequence[Request]) -> int:
    """Returns how many characters of data and meta the appends have."""
    return sum(
        len(event.data) + len(event.meta)
        for request in requests
        if isinstance(request, Append)
        for event in request.events
    )


def placed_by_guess(
    requests: Sequence[Append],
    head: Head,
    versions: dict[str, int],
    identity: Identity,
    now_ms: int,
) -> Written | None:
    """Returns what the requests come to if nothing has happened since `head`; None if not so.

    `versions` are those of all streams at that moment; it is changed to those after it.
    """
    sequencer = Sequencer(
        head,
        identity,
        now_ms=now_ms,
        known={},
        versions=versions,
        newest=lambda stream, register: None,  # of appends only, which are newer than everything
    )
    outcomes: list[Outcome] = []
    for request in requests:
        placed = _placed(sequencer, request)
        if not _is_new(placed):
            return None
        outcomes.append(placed)
    return Written(outcomes, head, sequencer.head, sequencer.rows, frozenset(), (), False, None)


def place(
    requests: Sequence[Request],
    found: Found,
    identity: Identity,
    now_ms: int,
    *,
    identify: bool = False,
) -> Script[Written]:
    """Places the requests, and makes the changes that are no rows; `store` has the rows.

    `identify`: asks for the transaction's id also where only requests that stored nothing came.

    Raises `StorageFailed` if another ledger has taken the place of the one that was opened.
    """
    if found.identity != identity:
        raise StorageFailed(
            f"another ledger ({found.identity.ledger}) has taken the place of the one that was "
            f"opened here ({identity.ledger}); nothing was written: open the store again"
        )
    sequencer = Sequencer(
        found.head,
        identity,
        now_ms=now_ms,
        known=found.known,
        versions=found.versions,
        newest=lambda stream, register: found.registers.get((stream, register)),
    )
    placing = _placing(requests)
    placed: list[Placed | EverlogError] = []

    def place_all() -> None:
        placed.extend(_placed(sequencer, request) for request in placing)

    if count_events(placing) < THINK_FROM:
        place_all()
    else:
        yield Think(place_all)
    outcomes: list[Outcome] = []
    waiting = iter(placed)
    for request in requests:
        if isinstance(request, (Append, Import)):
            outcome = next(waiting)
            outcomes.append(outcome)
            if isinstance(request, Append) and request.relations and _is_new(outcome):
                yield from _relate(Relate(add=request.relations))
        elif isinstance(request, Relate):
            outcomes.append((yield from _relate(request)))
        elif isinstance(request, PutSnapshot):
            outcomes.append((yield from _put_snapshot(request)))
        else:
            outcomes.append((yield from _drop_snapshots(request)))
    transaction: str | None = None
    if not sequencer.rows and (identify or len(placing) < len(requests)):
        [[transaction]] = yield from ask(schema.SELECT_TRANSACTION)
    return Written(
        outcomes,
        found.head,
        sequencer.head,
        sequencer.rows,
        sequencer.late,
        sequencer.registers(),
        any(isinstance(request, Import) for request in placing),
        transaction,
    )


def store(written: Written, ending: Sequence[Statement] = ()) -> Script[None]:
    """Stores the rows of a batch, and goes on to its ending in the same trip."""
    rows = written.rows
    if not rows:
        if ending:
            yield Run(ending)
    elif written.imported or len(rows) >= COPY_FROM or sum(map(_size_of, rows)) > COPY_BYTES:
        yield Run([Statement(schema.STORE_HEAD, _head_of(written) | _newest_of(written))])
        yield Copy(schema.COPY, _copied(written))
        if ending:
            yield Run(ending)
    elif len(rows) == 1:
        yield Run([Statement(schema.STORE_ONE, _one(written)), *ending])
    else:
        yield Run([Statement(schema.STORE_MANY, _many(written)), *ending])


def store_by_guess(
    written: Written, guessed: Mapping[str, int], others: dict[str, object]
) -> Script[bool]:
    """Stores the rows of a batch if what was assumed is so; otherwise it changes nothing.

    - `guessed`: the streams whose version was not known, with what was assumed
    - `others`: values of the statement about others: the lock, and whether they are told
    """
    if len(written.rows) == 1:
        values = _one(written) | others
        values["is_known"] = not guessed
        [[moved, _]] = yield from ask(schema.GUESS_ONE, values)
    else:
        values = _many(written) | others
        values["guessed"] = "\n".join(guessed)
        values["guesses"] = "\n".join(map(str, guessed.values()))
        [[moved, _]] = yield from ask(schema.GUESS_MANY, values)
    return bool(moved)


def _head_of(written: Written) -> dict[str, object]:
    head = written.head
    created, id = head.newest
    return {
        "found": written.found.position,
        "found_chain": written.found.chain,
        "position": head.position,
        "chain": head.chain,
        "clock": head.clock,
        "created": created,
        "id": id,
        "largest": max(map(_size_of, written.rows)),
    }


def _newest_of(written: Written) -> dict[str, object]:
    newest = [
        {"stream": stream, "register": register, "created": created, "id": id}
        for stream, register, created, id in written.registers
    ]
    return {"newest": json.dumps(newest)}


def _one(written: Written) -> dict[str, object]:
    # Of an event that is born here the head is: its position, chain, stamp and id.
    values = _head_of(written)
    [row] = written.rows
    values |= {
        "version": row.version,
        "stream": row.stream,
        "type": row.type,
        "schema": row.schema,
        "register": row.register,
        "origin": row.origin,
        "correlation": row.correlation,
        "causation": row.causation,
        "nonce": row.nonce,
        "data": row.data,
        "meta": row.meta,
        "hash": row.hash,
    }
    values["size"] = values["largest"]
    return values


def _many(written: Written) -> dict[str, object]:
    values = _head_of(written)
    rows, found = written.rows, written.found.position
    columns = list(zip(*rows, strict=True))
    for name, index in _TEXTS:
        values[name] = "\n".join(columns[index])
    for name, index in _NUMBERS:
        values[name] = "\n".join(map(str, columns[index]))
    values["causations"] = "\n".join([row.causation or "" for row in rows])
    values["blob"] = b"".join([part for row in rows for part in (row.nonce, row.hash, row.chain)])
    values["origin"] = rows[0].origin
    newest = {(row.stream, row.register): row.position - found for row in rows}
    values["newest"] = ",".join(map(str, newest.values()))
    return values


def _columns(**names: str) -> list[tuple[str, int]]:
    return [(name, StoredRecord._fields.index(field)) for name, field in names.items()]


_TEXTS = _columns(
    ids="id",
    streams="stream",
    types="type",
    registers="register",
    correlations="correlation",
    stamps="created",
    datas="data",
    metas="meta",
)
_NUMBERS = _columns(versions="version", schemas="schema")
"""The columns of STORE_MANY, and where they are in a record."""


def _copied(written: Written) -> Iterator[tuple[object, ...]]:
    late = written.late
    for row in written.rows:
        yield (*row, row.position in late, _size_of(row))


def _size_of(row: StoredRecord) -> int:
    return _bytes_of(row.data) + _bytes_of(row.meta)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _placed(sequencer: Sequencer, request: Append | Import) -> Placed | EverlogError:
    try:
        return sequencer.place(request)
    except EverlogError as error:
        return error


def _is_new(outcome: Outcome) -> bool:
    return isinstance(outcome, Placed) and bool(outcome.new)


def _relate(request: Relate) -> Script[Related]:
    removed: list[Row] = []
    for template, values in (
        (schema.CLEAR_RELATIONS, {"names": json.dumps(request.clear)} if request.clear else None),
        (
            schema.CLEAR_STREAMS,
            {"names": json.dumps(request.clear_streams)} if request.clear_streams else None,
        ),
        (schema.DELETE_RELATIONS, {"keys": _pairs(request.remove)} if request.remove else None),
    ):
        if values is not None:
            removed += yield from ask(template, values)
    added: list[Row] = []
    if request.add:
        added = yield from ask(schema.INSERT_RELATIONS, {"keys": _pairs(request.add)})
    changed = sorted({relation for [relation] in (*removed, *added)})
    if changed:
        yield from ask(schema.RAISE_REVISIONS, {"names": json.dumps(changed)})
    return Related(added=len(added), removed=len(removed))


def _pairs(pairs: Sequence[Pair]) -> str:
    return json.dumps([{"relation": relation, "stream": stream} for relation, stream in pairs])


def _put_snapshot(request: PutSnapshot) -> Script[int]:
    snapshot = request.snapshot
    values = {name: getattr(snapshot, name) for name in _SNAPSHOT}
    stored = yield from ask(schema.UPSERT_SNAPSHOT, key_values(snapshot.key) | values)
    return len(stored)


_SNAPSHOT = ("position", "created", "id", "version", "count", "revision", "state")


def key_values(key: SnapshotKey) -> dict[str, object]:
    """Returns the fields of a snapshot's key, as the statements name them."""
    return {
        "scope": key.scope,
        "reducer": key.reducer,
        "reducer_version": key.reducer_version,
        "shape": key.shape,
        "filter": key.filter,
    }


def _drop_snapshots(request: DropSnapshots) -> Script[int]:
    if request.reducer is None:
        return len((yield from ask(schema.DELETE_SNAPSHOTS, {"scope": request.scope})))
    values = {"scope": request.scope, "reducer": request.reducer}
    return len((yield from ask(schema.DELETE_SNAPSHOTS_OF, values)))


def _placing(requests: Sequence[Request]) -> list[Append | Import]:
    return [request for request in requests if isinstance(request, (Append, Import))]


def _imported(requests: Sequence[Append | Import]) -> list[tuple[str, str]]:
    """Returns stream and register of what is imported: only that may be older than what is here."""
    imports = (request for request in requests if isinstance(request, Import))
    return list({(row.stream, row.register): None for each in imports for row in each.records})


def _by_id(rows: Sequence[Row]) -> dict[str, StoredRecord]:
    return {record.id: record for record in map(as_record, rows)}
