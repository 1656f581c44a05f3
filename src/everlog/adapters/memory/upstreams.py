"""Upstreams: what a ledger in memory knows of those that it synchronises with."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence

from everlog.adapters.memory.tables import Copy, Tables
from everlog.core.chain import GENESIS, ORPHAN
from everlog.core.record import StoredRecord, tombstone_of
from everlog.core.selection import PAGE_BYTES
from everlog.core.sequencer import Sequencer
from everlog.core.taking import (
    Entry,
    Held,
    Hold,
    Note,
    Outside,
    Purge,
    Release,
    Rewind,
    Take,
    Taken,
    UpstreamState,
    check_purge,
    noted,
    outside,
    passed,
    rewound,
)
from everlog.errors import InvalidInput
from everlog.ports.upstreams import Offers, Unconfirmed


class MemoryUpstreams:
    """Reads what is known of upstreams."""

    def __init__(self, tables: Callable[[], Tables]) -> None:
        """`tables`: gives them, or raises if the ledger is closed."""
        self._tables = tables

    async def states(self) -> Sequence[UpstreamState]:
        return [copy.state for _, copy in sorted(self._tables().copies.items())]

    async def state(self, upstream: str) -> UpstreamState | None:
        copy = self._tables().copies.get(upstream)
        return None if copy is None else copy.state

    async def unconfirmed(self, upstream: str, *, after: int, size: int) -> Offers:
        tables = self._tables()
        copy = tables.copies.get(upstream) or Copy(UpstreamState(upstream, ""))
        stopped = {held.stream for held in copy.held.values() if held.record is None}
        found: list[Unconfirmed] = []
        until, settled, weight = after, None, 0
        for index in range(after, len(tables.records)):  # not by a slice, which would be copied
            record = tables.records[index]
            entry = copy.entries.get(record.id)
            if tables.unfolded.get(record.id) is not None or record.is_tombstone:
                until = record.position
                continue
            if entry is None or entry.position is None:
                if settled is None:
                    settled = record.position - 1
                if record.id not in copy.held and record.stream not in stopped:
                    weight += len(record.data) + len(record.meta)
                    if len(found) == size or (found and weight > PAGE_BYTES):
                        return Offers(found, until, settled, False)
                    known = (None, None) if entry is None else (entry.version, entry.receipt)
                    found.append(Unconfirmed(record, *known))
            until = record.position
        return Offers(found, until, until if settled is None else settled, True)

    async def outside(
        self, upstream: str, *, after: int, until: int, size: int
    ) -> Sequence[Outside]:
        tables = self._tables()
        if tables.copies.keys() != {upstream}:
            return []
        found: list[Outside] = []
        for entry in tables.copies[upstream].entries.values():
            if entry.outside and entry.position is not None and after < entry.position <= until:
                rows = [tables.by_id[id] for id in _of_events(tables, [entry.id])]
                here = [row.position for row in rows if not row.is_tombstone]
                if here:
                    found.append(Outside(entry.id, entry.position, tuple(here)))
        return sorted(found, key=lambda each: each.there)[:size]

    async def first_tombstone(self, stream: str | None = None) -> int | None:
        return first_tombstone(self._tables(), stream)

    async def held(self, upstream: str) -> Sequence[Held]:
        copy = self._tables().copies.get(upstream)
        held = [] if copy is None else [*copy.held.values()]
        return sorted(held, key=lambda each: (each.since_ms, each.id))

    async def orphans(self, *, after: int, size: int) -> Sequence[StoredRecord]:
        tables = self._tables()
        orphans = [tables.by_id[id] for id, by in tables.unfolded.items() if by is None]
        found = sorted(
            row.position for row in orphans if row.position > after and not row.is_tombstone
        )
        return [tables.records[position - 1] for position in found[:size]]

    async def version(self, upstream: str, stream: str, version: int) -> int | None:
        tables = self._tables()
        copy = tables.copies.get(upstream)
        there: int | None = None
        for position in reversed(tables.by_stream.get(stream, [])):
            record = tables.records[position - 1]
            entry = None if copy is None else copy.entries.get(record.id)
            if entry is None or record.id in tables.unfolded:
                continue
            if there is None:
                if entry.position is None:
                    continue
                if record.version != version or not entry.version:
                    return None
                if entry.version == version:
                    return version  # so many are there, and here: it is all of them
            elif entry.position is None:
                return None
            there = max(there or 0, entry.version)
        return there

    async def unfoldings(self) -> int:
        return self._tables().unfoldings

    async def revision(self, relation: str) -> int:
        return self._tables().revisions.get(relation, 0)

    async def chains(self, positions: Sequence[int]) -> Sequence[bytes | None]:
        tables = self._tables()
        return [tables.chain_at(each) if each else GENESIS for each in positions]


def take(
    tables: Tables,
    sequencer: Sequencer,
    request: Take,
    *,
    now_ms: int,
    orphaned: dict[str, int],
    changed: list[int],
) -> Taken:
    """Places the records of a request, and notes where they come from.

    - `orphaned`: gets for each of them whether the upstream has it as an orphan
    - `changed`: gets the positions of those that folds have had, or have again
    """
    link = request.link
    if link is None:
        return sequencer.place(request)
    copy = tables.copies.get(link.upstream)
    state = passed(None if copy is None else copy.state, link)
    taken = sequencer.place(request)
    entries, held = noted(request, taken, now_ms=now_ms)
    copy = _with(tables, state)
    _note(copy, entries)
    for entry in entries:
        copy.held.pop(entry.id, None)
    for each in held:
        copy.held.setdefault(each.id, each)
    changed += _judge_orphans(tables, [entry for entry in entries if entry.id in tables.by_id])
    orphaned.update({entry.id: entry.flags & ORPHAN for entry in entries})
    return taken


def _judge_orphans(tables: Tables, entries: Sequence[Entry]) -> list[int]:
    """Has those be orphans that the upstream has as orphans now, and no others.

    Of what is stored already; what is new is judged when it is stored. Returns the positions of
    those that are changed.
    """
    changed: list[int] = []
    for entry in entries:
        replaced = tables.unfolded.get(entry.id) is not None
        if replaced or bool(entry.flags & ORPHAN) == (entry.id in tables.unfolded):
            continue
        changed.append(tables.by_id[entry.id].position)
        if entry.flags & ORPHAN:
            tables.unfolded[entry.id] = None
        else:
            del tables.unfolded[entry.id]
    drop_snapshots(tables, changed)
    return changed


def drop_snapshots(tables: Tables, changed: Sequence[int]) -> None:
    """Drops every snapshot that has one of these positions in it, or should have."""
    if not changed:
        return
    tables.unfoldings += 1  # for those that are on their way
    for key, snapshot in list(tables.snapshots.items()):
        if snapshot.position >= min(changed):
            del tables.snapshots[key]


def recount(tables: Tables, positions: Iterable[int]) -> None:
    """Finds the newest of the registers that the records at these positions write."""
    records = [tables.records[position - 1] for position in positions]
    for stream, register in {(record.stream, record.register) for record in records}:
        places = [
            record.order
            for record in (tables.records[each - 1] for each in tables.by_stream[stream])
            if record.register == register and record.id not in tables.unfolded
        ]
        if places:
            tables.registers[stream, register] = max(places)
        else:
            tables.registers.pop((stream, register), None)


def keep(tables: Tables, request: Rewind | Hold | Release | Note) -> int:
    """Changes what is known of an upstream; returns of how many records."""
    copy = tables.copies.get(request.upstream)
    if isinstance(request, Note):
        entries = outside(None if copy is None else copy.state, request)
        assert copy is not None
        _note(copy, entries)
        return len(entries)
    if isinstance(request, Rewind):
        copy = _with(tables, rewound(None if copy is None else copy.state, request))
        to = request.to.position
        gone = [each for each in copy.entries.values() if each.position and each.position > to]
        copy.entries.update({entry.id: entry._replace(position=None) for entry in gone})
        return len(gone)
    if copy is None:
        raise InvalidInput(f"this ledger has never heard of an upstream {request.upstream!r}")
    if isinstance(request, Hold):
        before = len(copy.held)
        for held in request.held:
            copy.held.setdefault(held.id, held)
        return len(copy.held) - before
    gone_ids = {*copy.held} if request.ids is None else copy.held.keys() & request.ids
    for id in gone_ids:
        del copy.held[id]
    return len(gone_ids)


def _note(copy: Copy, entries: Iterable[Entry]) -> None:
    """Adds to a copy; a receipt that an upstream has given once stays known."""
    for entry in entries:
        before = copy.entries.get(entry.id)
        if before is not None and entry.receipt is None:
            entry = entry._replace(receipt=before.receipt)
        copy.entries[entry.id] = entry


def purge(tables: Tables, request: Purge) -> int:
    """Lets the content of records go; returns of how many. Raises what it is refused with."""
    copy = tables.copies.get(request.upstream)
    check_purge(None if copy is None else copy.state, request, [*tables.copies])
    assert copy is not None
    wanted: set[str] = set()
    for id in request.ids:
        entry = copy.entries.get(id)
        if entry is not None and entry.outside and (entry.position or 2**63) <= request.stable:
            wanted.add(id)
    rows = [tables.by_id[id] for id in _of_events(tables, wanted)]
    gone = [tombstone_of(row) for row in rows if not row.is_tombstone]
    replace_rows(tables, gone)
    return len(gone)


def first_tombstone(tables: Tables, stream: str | None = None) -> int | None:
    """Returns the position of the first record whose content went, of a stream or of all."""
    records = (
        tables.records
        if stream is None
        else (tables.records[position - 1] for position in tables.by_stream.get(stream, ()))
    )
    return next((record.position for record in records if record.is_tombstone), None)


def _of_events(tables: Tables, ids: Iterable[str]) -> list[str]:
    """Returns those of some ids that are here, and the ids of all that they have replaced.

    First those, then the others by position.
    """
    asked = [id for id in dict.fromkeys(ids) if id in tables.by_id]
    found = [*asked]
    replaced: dict[str, list[str]] = {}
    for id, by in tables.unfolded.items():
        if by is not None:
            replaced.setdefault(by, []).append(id)
    for id in found:  # also of those that it gets meanwhile: one may have been replaced twice
        found += [other for other in replaced.get(id, ()) if other not in found]
    others = found[len(asked) :]
    return asked + sorted(others, key=lambda other: tables.by_id[other].position)


def replace_rows(tables: Tables, rows: Sequence[StoredRecord]) -> None:
    """Puts rows in the places of those that have lost their content, or have it again.

    With them go all snapshots that may have it, or have it not.
    """
    if not rows:
        return
    for row in rows:
        tables.records[row.position - 1] = tables.by_id[row.id] = row
        if row.position in tables.late_positions:
            at = bisect.bisect_left(tables.late, row.order, key=lambda record: record.order)
            tables.late[at] = row
    tables.unfoldings += 1  # for those snapshots that are on their way
    first = min(row.position for row in rows)
    scopes = {f"stream:{row.stream}" for row in rows}
    for key, snapshot in list(tables.snapshots.items()):
        here = key.scope in scopes or key.scope.startswith("relation:")
        if here and snapshot.position >= first:
            del tables.snapshots[key]
    for relation in tables.relations_of({row.stream for row in rows}):
        tables.revisions[relation] = tables.revisions.get(relation, 0) + 1


def _with(tables: Tables, state: UpstreamState) -> Copy:
    """Returns the copy of an upstream, with another state."""
    copy = tables.copies.setdefault(state.upstream, Copy(state))
    copy.state = state
    return copy
