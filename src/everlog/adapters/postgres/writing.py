"""Writing: the scripts of one transaction for a batch of requests, each judged on its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Copy, Row, Run, Script, Statement, Think, ask
from everlog.adapters.postgres.failures import as_head
from everlog.adapters.postgres.upstreams import (
    Keeper,
    Kept,
    Noted,
    first_tombstone,
    purge,
    refill,
    upstreams_of,
    write,
)
from everlog.core.aliases import aliases_between
from everlog.core.chain import NONCE_BYTES
from everlog.core.epoch import BeginEpoch, epoch_at
from everlog.core.record import StoredRecord, as_record
from everlog.core.relation import Pair, Relate, Related
from everlog.core.sequencer import (
    EMPTY,
    Append,
    Head,
    Identity,
    Import,
    Place,
    Placed,
    Placing,
    Sequencer,
    first_ids_of,
    ids_of,
    streams_of,
)
from everlog.core.snapshot import DropSnapshots, PutSnapshot, SnapshotKey
from everlog.core.taking import (
    Hold,
    Note,
    Purge,
    Release,
    Restamp,
    Rewind,
    Take,
    UpstreamState,
    restampable,
)
from everlog.core.upstream_row import as_state
from everlog.errors import CursorMoved, EverlogError, InvalidInput, StorageFailed
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
    upstreams: dict[str, UpstreamState]


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
    settling: Sequence[Statement] = ()
    """What has to follow its rows."""


def look(requests: Sequence[Request]) -> Script[Found]:
    """Finds what the requests need to know. To be run under the lock, in a statement after it."""
    placing = _placing(requests)
    ids = ids_of(placing)
    known: list[Row] = []
    upstreams = upstreams_of(requests)
    if len(ids) == 1 and isinstance(placing[0], Append) and not upstreams:
        # In one statement: a lone append waits for every trip.
        [stream] = streams_of(placing)
        [row] = yield from ask(schema.SELECT_FOR_ONE, {"stream": stream, "id": ids[0]})
        ledger, node, epoch, *head, version, is_known = row
        if is_known:
            known = yield from ask(schema.SELECT_BY_IDS, {"names": json.dumps(ids)})
        versions = {} if version is None else {stream: version}
        identity = Identity(ledger, node, epoch)
        return Found(identity, as_head(head), _by_id(known), versions, {}, {})
    if ids and all(isinstance(request, Append) for request in requests):
        streams = streams_of(placing)
        values = {"streams": "\n".join(streams), "ids": "\n".join(ids)}
        [row] = yield from ask(schema.SELECT_FOR_MANY, values)
        ledger, node, epoch, *head, numbers, is_known = row
        if is_known:
            known = yield from ask(schema.SELECT_BY_IDS, {"names": json.dumps(ids)})
        versions = dict(zip(streams, map(int, numbers.split(",")), strict=True))
        return Found(Identity(ledger, node, epoch), as_head(head), _by_id(known), versions, {}, {})
    statements = [Statement(schema.SELECT_OWN_HEAD)]
    firsts = first_ids_of(placing)
    if ids:
        keys = [{"stream": stream, "register": register} for stream, register in _imported(placing)]
        sought = [*dict.fromkeys([*ids, *firsts])]  # nearly all are the same
        statements += [
            Statement(schema.SELECT_BY_IDS, {"names": json.dumps(sought)}),
            Statement(schema.SELECT_ALIASES, {"between": _between(firsts)}),
            Statement(schema.SELECT_VERSIONS, {"names": json.dumps(streams_of(placing))}),
            Statement(schema.SELECT_REGISTERS, {"keys": json.dumps(keys)}),
        ]
    if upstreams:
        names = {"names": json.dumps(upstreams)}
        statements.append(Statement(schema.SELECT_UPSTREAMS_OF, names))
    [[(ledger, node, epoch, *head)], *rest] = yield Run(statements)
    states = rest.pop() if upstreams else []
    known, aliases, versioned, registered = rest or ([], [], [], [])
    return Found(
        Identity(ledger, node, epoch),
        as_head(head),
        _by_id([*known, *aliases]),
        {stream: version for stream, version in versioned if version is not None},
        {(stream, register): (created, id) for stream, register, created, id in registered},
        {row[0]: as_state(row) for row in states},
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
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Script[Written]:
    """Places the requests, and makes the changes that are no rows; `store` has the rows.

    `identify`: asks for the transaction's id also where only requests that stored nothing came.
    `random_bytes`: gives the nonces of what is stamped anew.

    Raises `StorageFailed` if another ledger has taken the place of the one that was opened.
    """
    if found.identity != identity:
        raise StorageFailed(
            f"another ledger ({found.identity.ledger}) has taken the place of the one that was "
            f"opened here ({identity.ledger}); nothing was written: open the store again"
        )
    if len(requests) == 1 and isinstance(requests[0], Restamp):
        return (yield from _restamp(requests[0], found, random_bytes))
    if len(requests) == 1 and isinstance(requests[0], Purge):
        return (yield from _purge(requests[0], found))
    sequencer = Sequencer(
        found.head,
        identity,
        now_ms=now_ms,
        known=found.known,
        versions=found.versions,
        newest=lambda stream, register: found.registers.get((stream, register)),
    )
    placing = _placing(requests)
    keeper = Keeper(found.upstreams, found.known, now_ms=now_ms)
    judged: list[Outcome | Noted] = []

    def judge_all() -> None:
        for request in requests:
            if isinstance(request, _JUDGED):
                judged.append(_judged(sequencer, keeper, request))

    if count_events(placing) < THINK_FROM:
        judge_all()
    else:
        yield Think(judge_all)
    outcomes: list[Outcome] = []
    changed: list[int] = []
    waiting = iter(judged)
    for request in requests:
        if isinstance(request, (Take, Rewind, Hold, Release, Note)):
            change = next(waiting)
            if isinstance(change, Noted):
                outcomes.append((yield from write(request, change, changed)))
            else:
                outcomes.append(change)
        elif isinstance(request, (Append, Import)):
            outcome = next(waiting)
            assert not isinstance(outcome, Noted)
            outcomes.append(outcome)
            if isinstance(request, Append) and request.relations and _is_new(outcome):
                yield from _relate(Relate(add=request.relations))
        elif isinstance(request, Relate):
            outcomes.append((yield from _relate(request)))
        elif isinstance(request, PutSnapshot):
            outcomes.append((yield from _put_snapshot(request)))
        elif isinstance(request, BeginEpoch):
            epoch = epoch_at(now_ms, random_bytes(2), after=identity.epoch)
            identity = replace(identity, epoch=epoch)
            yield Run([Statement(schema.UPDATE_EPOCH, {"epoch": epoch})])
            outcomes.append(epoch)
        elif isinstance(request, Restamp):
            outcomes.append(InvalidInput("a restamp is committed by itself"))
        elif isinstance(request, Purge):
            outcomes.append(InvalidInput("a purge is committed by itself"))
        else:
            outcomes.append((yield from _drop_snapshots(request)))
    if any(isinstance(request, Take) for request in placing):
        orphans = keeper.orphans(sequencer.rows)
        if orphans:
            values = {"positions": ",".join(map(str, orphans))}
            yield from ask(schema.INSERT_ORPHANS, values)
        changed += keeper.judged_otherwise(sequencer.rows)
    if sequencer.replaced:
        changed += yield from _replace(sequencer.replaced)
    if sequencer.refilled:
        yield from refill(sequencer.refilled)
    transaction: str | None = None
    if not sequencer.rows and (identify or not all(map(_is_told_by_rows, requests))):
        [[transaction]] = yield from ask(schema.SELECT_TRANSACTION)
    return Written(
        outcomes,
        found.head,
        sequencer.head,
        sequencer.rows,
        sequencer.late,
        sequencer.registers(),
        any(not isinstance(request, Append) for request in placing),
        transaction,
        _recounted(changed),
    )


def _purge(request: Purge, found: Found) -> Script[Written]:
    outcome: Outcome
    try:
        outcome = yield from purge(found.upstreams.get(request.upstream), request)
    except (CursorMoved, InvalidInput) as error:
        outcome = error
    [[transaction]] = yield from ask(schema.SELECT_TRANSACTION)
    head = found.head
    return Written([outcome], head, head, (), frozenset(), (), False, transaction)


def _restamp(
    request: Restamp, found: Found, random_bytes: Callable[[int], bytes]
) -> Script[Written]:
    """Stamps records anew: places those that take their places, and makes the other changes."""
    outcome: Outcome
    names = {"names": json.dumps(request.ids)}
    known, copied, unfolded, [[clock]] = yield Run(
        [
            Statement(schema.SELECT_BY_IDS, names),
            Statement(schema.SELECT_COPIED, names),
            Statement(schema.SELECT_UNFOLDED, names),
            Statement(schema.SELECT_CLOCK_WITHOUT, names),
        ]
    )
    records = _by_id(known)
    olds: list[StoredRecord] = []
    try:
        olds = restampable(
            request,
            records,
            own=found.identity.ledger,
            copied={id for [id] in copied},
            replaced={id for [id] in unfolded},
        )
        outcome = len(olds)
    except InvalidInput as error:
        outcome = error
    streams = {"names": json.dumps(list({old.stream for old in olds}))}
    versions = yield from ask(schema.SELECT_VERSIONS, streams)
    sequencer = Sequencer(
        found.head,
        found.identity,
        now_ms=request.now_ms,
        known=records,
        versions=dict(versions),
        newest=lambda stream, register: None,  # which is none of its business
    )
    if olds:
        nonces = [random_bytes(NONCE_BYTES) for _ in olds]
        try:
            sequencer.restamp(olds, clock=clock or EMPTY.clock, nonces=nonces)
        except InvalidInput as error:
            outcome, olds = error, []
    if olds:
        yield from _replace(sequencer.replaced)
    transaction: str | None = None
    if not sequencer.rows:
        [[transaction]] = yield from ask(schema.SELECT_TRANSACTION)
    return Written(
        [outcome],
        found.head,
        sequencer.head,
        sequencer.rows,
        sequencer.late,
        sequencer.registers(),
        True,
        transaction,
        _recounted([old.position for old in olds]),
    )


def _replace(replaced: Mapping[int, str]) -> Script[list[int]]:
    """Has no fold have what was replaced any more; gives the positions of what is new to that."""
    rows = [{"position": position, "by": by} for position, by in replaced.items()]
    changed = yield from ask(schema.REPLACE, {"replaced": json.dumps(rows)})
    return [position for [position] in changed]


def _between(firsts: Sequence[str]) -> str:
    pairs = map(aliases_between, firsts)
    return json.dumps([{"low": low, "high": high} for low, high in pairs])


def _recounted(positions: Sequence[int]) -> list[Statement]:
    """Returns what finds the newest of the registers that records at these positions write."""
    if not positions:
        return []
    return [Statement(schema.RECOUNT, {"positions": ",".join(map(str, positions))})]


def store(written: Written, ending: Callable[[], Sequence[Statement]]) -> Script[None]:
    """Stores the rows of a batch, and goes on to its ending in the same trip.

    `ending`: called when its statements are about to be sent.
    """
    rows, settling = written.rows, written.settling
    if not rows:
        statements = [*settling, *ending()]
        if statements:
            yield Run(statements)
    elif written.imported or len(rows) >= COPY_FROM or sum(map(_size_of, rows)) > COPY_BYTES:
        yield Run([Statement(schema.STORE_HEAD, _head_of(written) | _newest_of(written))])
        yield Copy(schema.COPY, _copied(written))
        yield Run([*settling, *ending()])
    elif len(rows) == 1:
        yield Run([Statement(schema.STORE_ONE, _one(written)), *ending()])
    else:
        yield Run([Statement(schema.STORE_MANY, _many(written)), *ending()])


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


def _placed(sequencer: Sequencer, request: Append) -> Placed | EverlogError:
    try:
        return sequencer.place(request)
    except EverlogError as error:
        return error


def _judged(
    sequencer: Sequencer, keeper: Keeper, request: Append | Import | Take | Kept
) -> Outcome | Noted:
    try:
        if isinstance(request, Take):
            return keeper.take(sequencer, request)
        if isinstance(request, (Rewind, Hold, Release, Note)):
            return keeper.keep(request)
        return sequencer.place(request)
    except EverlogError as error:
        return error


_JUDGED = (Append, Import, Take, Rewind, Hold, Release, Note)
"""Requests that are judged by what was found, before anything is written."""


def _is_told_by_rows(request: Request) -> bool:
    """Whether a request that has stored no rows has changed nothing."""
    return isinstance(request, (Append, Import))


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
    kind, _, name = snapshot.key.scope.partition(":")
    if kind == "relation":
        revision = yield from ask(schema.SELECT_REVISION, {"relation": name})
        if revision and snapshot.revision < revision[0][0]:
            return 0  # of other streams than it has now, or of more than there is of them
    elif kind == "stream" and (yield from first_tombstone(name)) is not None:
        return 0
    values = {name: getattr(snapshot, name) for name in _SNAPSHOT}
    values |= key_values(snapshot.key) | {"unfoldings": request.unfoldings}
    stored = yield from ask(schema.UPSERT_SNAPSHOT, values)
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


def _placing(requests: Sequence[Request]) -> list[Placing]:
    return [request for request in requests if isinstance(request, (Append, Import, Take))]


def _imported(requests: Sequence[Placing]) -> list[tuple[str, str]]:
    """Returns stream and register of what was born elsewhere: it may be older than what is here."""
    imports = (request for request in requests if not isinstance(request, Append))
    return list({(row.stream, row.register): None for each in imports for row in each.records})


def _by_id(rows: Sequence[Row]) -> dict[str, StoredRecord]:
    return {record.id: record for record in map(as_record, rows)}
