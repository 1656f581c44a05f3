"""Upstreams: what a ledger in PostgreSQL knows of those that it synchronises with."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from everlog.adapters.postgres import schema
from everlog.adapters.postgres.executing import Row, Run, Script, Statement, ask
from everlog.adapters.postgres.failures import as_records
from everlog.core.chain import GENESIS, ORPHAN
from everlog.core.record import StoredRecord
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
from everlog.core.upstream_row import as_row, as_state
from everlog.errors import InvalidInput
from everlog.ports.upstreams import Offers, Unconfirmed

T = TypeVar("T")

Kept: TypeAlias = Rewind | Hold | Release | Note
"""What is judged together with other requests."""


class Look(Protocol):
    """Runs a script that only reads."""

    def __call__(self, script: Callable[[], Script[T]], /) -> Awaitable[T]: ...


class PostgresUpstreams:
    """Reads what is known of upstreams."""

    def __init__(self, look: Look) -> None:
        self._look = look

    async def states(self) -> Sequence[UpstreamState]:
        return await self._look(_states)

    async def state(self, upstream: str) -> UpstreamState | None:
        return await self._look(lambda: _state(upstream))

    async def unconfirmed(self, upstream: str, *, after: int, size: int) -> Offers:
        return await self._look(lambda: _unconfirmed(upstream, after, size))

    async def outside(
        self, upstream: str, *, after: int, until: int, size: int
    ) -> Sequence[Outside]:
        return await self._look(lambda: _outside(upstream, after, until, size))

    async def first_tombstone(self, stream: str | None = None) -> int | None:
        return await self._look(lambda: first_tombstone(stream))

    async def held(self, upstream: str) -> Sequence[Held]:
        return await self._look(lambda: _held(upstream))

    async def orphans(self, *, after: int, size: int) -> Sequence[StoredRecord]:
        return await self._look(lambda: _orphans(after, size))

    async def version(self, upstream: str, stream: str, version: int) -> int | None:
        return await self._look(lambda: _version(upstream, stream, version))

    async def unfoldings(self) -> int:
        return await self._look(_unfoldings)

    async def revision(self, relation: str) -> int:
        return await self._look(lambda: _revision(relation))

    async def chains(self, positions: Sequence[int]) -> Sequence[bytes | None]:
        return await self._look(lambda: _chains(positions))


def _states() -> Script[list[UpstreamState]]:
    rows = yield from ask(schema.SELECT_UPSTREAMS)
    return list(map(as_state, rows))


def _state(upstream: str) -> Script[UpstreamState | None]:
    rows = yield from ask(schema.SELECT_UPSTREAMS_OF, {"names": json.dumps([upstream])})
    return as_state(rows[0]) if rows else None


def _outside(upstream: str, after: int, until: int, size: int) -> Script[list[Outside]]:
    values = {"upstream": upstream, "after": after, "until": until, "limit": size}
    names, rows = yield Run(
        [
            Statement(schema.SELECT_UPSTREAM_NAMES),
            Statement(schema.SELECT_OUTSIDE, values),
        ]
    )
    if [name for [name] in names] != [upstream]:
        return []
    return [Outside(id, there, tuple(json.loads(here))) for id, there, here in rows]


def first_tombstone(stream: str | None) -> Script[int | None]:
    """Gives the position of the first record whose content went; None if there is none."""
    if stream is None:
        [[position]] = yield from ask(schema.SELECT_FIRST_TOMBSTONE)
    else:
        [[position]] = yield from ask(schema.SELECT_FIRST_TOMBSTONE_OF, {"stream": stream})
    found: int | None = position
    return found


def _held(upstream: str) -> Script[list[Held]]:
    rows = yield from ask(schema.SELECT_HELD, {"upstream": upstream})
    return [Held(*row) for row in rows]


def _orphans(after: int, size: int) -> Script[list[StoredRecord]]:
    return as_records((yield from ask(schema.SELECT_ORPHANS, {"after": after, "limit": size})))


def _version(upstream: str, stream: str, version: int) -> Script[int | None]:
    values = {"upstream": upstream, "stream": stream, "version": version}
    rows = yield from ask(schema.SELECT_VERSION_THERE, values)
    return rows[0][0] if rows else None


def _unfoldings() -> Script[int]:
    [[count]] = yield from ask(schema.SELECT_UNFOLDINGS)
    return int(count)


def _revision(relation: str) -> Script[int]:
    rows = yield from ask(schema.SELECT_REVISION, {"relation": relation})
    return int(rows[0][0]) if rows else 0


def _chains(positions: Sequence[int]) -> Script[list[bytes | None]]:
    possible = [str(each) for each in positions if 0 < each <= schema.LAST]
    rows = yield from ask(schema.SELECT_CHAINS, {"positions": ",".join(possible)})
    found: dict[int, bytes] = {0: GENESIS, **dict(rows)}
    return [found.get(each) for each in positions]


_FIELDS = len(StoredRecord._fields)


WINDOW = 2_000
"""So many positions are looked through at a time, at least."""


def _unconfirmed(upstream: str, after: int, size: int) -> Script[Offers]:
    # In windows of positions, wider and wider until something is found: a plan may collect and sort
    # all that is left, for every page.
    low, width = after, max(4 * size, WINDOW)
    settled: int | None = None
    while True:
        end = min(low + width, schema.LAST)
        values = {"upstream": upstream, "after": low, "end": end, "limit": size + 1}
        rows = yield from ask(schema.SELECT_UNCONFIRMED, {**values, "room": PAGE_BYTES})
        *_, head, first = rows[0]
        if settled is None and first is not None:
            settled = first - 1
        if rows[0][0] is None:  # nothing that can be offered
            if end < head:
                low, width = end, 2 * width
                continue
            until = max(after, head)
            return Offers([], until, until if settled is None else settled, ended=True)
        following = rows[size][0] if len(rows) > size else rows[-1][_FIELDS + 2]
        if following is None:
            until, ended = min(end, head), end >= head
        else:
            until, ended = following - 1, False
        assert settled is not None
        return Offers(_as_unconfirmed(rows[:size]), until, settled, ended)


def _as_unconfirmed(rows: Sequence[Row]) -> list[Unconfirmed]:
    records = as_records([row[:_FIELDS] for row in rows])
    known = [row[_FIELDS : _FIELDS + 2] for row in rows]
    return [Unconfirmed(each, *place) for each, place in zip(records, known, strict=True)]


# --- writing ---


class Noted(NamedTuple):
    """What a request changes in what is known of an upstream."""

    state: UpstreamState
    """After it."""
    taken: Taken | None = None
    entries: Sequence[Entry] = ()
    held: Sequence[Held] = ()
    orphans: Mapping[int, bool] = {}
    """Of the entries whose records were stored before: whether each is one, by position."""


class Keeper:
    """Judges requests about upstreams, each after those before it; writes nothing."""

    def __init__(
        self, states: dict[str, UpstreamState], known: dict[str, StoredRecord], *, now_ms: int
    ) -> None:
        """What was found under the lock.

        - `states`: those of all upstreams in the requests
        - `known`: the stored records of all ids in the requests, by id
        """
        self._states = states
        self._positions = {id: record.position for id, record in known.items()}
        self._now_ms = now_ms
        self._orphaned: dict[str, int] = {}

    def take(self, sequencer: Sequencer, request: Take) -> Taken | Noted:
        """Places the records of a request; raises what it is refused with."""
        link = request.link
        if link is None:
            return sequencer.place(request)
        state = passed(self._states.get(link.upstream), link)
        taken = sequencer.place(request)
        self._states[link.upstream] = state
        entries, held = noted(request, taken, now_ms=self._now_ms)
        self._orphaned.update({entry.id: entry.flags & ORPHAN for entry in entries})
        here = {
            self._positions[entry.id]: bool(entry.flags & ORPHAN)
            for entry in entries
            if entry.id in self._positions
        }
        return Noted(state, taken, entries, held, here)

    def orphans(self, rows: Sequence[StoredRecord]) -> list[int]:
        """Returns the positions of those new rows that are orphans: as the upstream said last that
        has them, or as they were judged here.
        """
        return [row.position for row in rows if self._is_orphan(row)]

    def judged_otherwise(self, rows: Sequence[StoredRecord]) -> list[int]:
        """Returns the positions of those new rows that are orphans and were not, or were one."""
        return [row.position for row in rows if self._is_orphan(row) != row.flags & ORPHAN]

    def _is_orphan(self, row: StoredRecord) -> int:
        return self._orphaned.get(row.id, row.flags & ORPHAN)

    def keep(self, request: Kept) -> Noted:
        """Judges a request that stores no record; raises what it is refused with."""
        upstream = request.upstream
        state = self._states.get(upstream)
        if isinstance(request, Rewind):
            self._states[upstream] = state = rewound(state, request)
        if isinstance(request, Note):
            entries = outside(state, request)
            assert state is not None
            return Noted(state, None, entries)
        if state is None:
            raise InvalidInput(f"this ledger has never heard of an upstream {upstream!r}")
        return Noted(state)


def upstreams_of(requests: Iterable[object]) -> list[str]:
    """Returns the upstreams that requests are about."""
    found: dict[str, None] = {}
    for request in requests:
        if isinstance(request, (Rewind, Hold, Release, Note, Purge)):
            found[request.upstream] = None
        elif isinstance(request, Take) and request.link is not None:
            found[request.link.upstream] = None
    return list(found)


def write(request: Take | Kept, change: Noted, changed: list[int]) -> Script[Taken | int]:
    """Writes what a request changes; gives what became of it.

    `changed`: gets the positions of records that folds have had, or have again.
    """
    upstream = {"upstream": change.state.upstream}
    if isinstance(request, Take):
        assert change.taken is not None
        statements = [_state_to(change.state)]
        if change.entries:
            names = {"names": json.dumps([entry.id for entry in change.entries])}
            statements.append(_note(change.entries, upstream))
            statements.append(Statement(schema.DELETE_HELD_OF, upstream | names))
        if change.held:
            statements.append(_hold(change.held, upstream))
        if change.orphans:
            statements.append(_judge(change.orphans))
        answers = yield Run(statements)
        if change.orphans:
            changed += [position for [position] in answers[-1]]
        return change.taken
    if isinstance(request, Note):
        if change.entries:
            yield Run([_note(change.entries, upstream)])
        return len(change.entries)
    if isinstance(request, Rewind):
        values: dict[str, object] = {**upstream, "position": request.to.position}
        forgetting = Statement(schema.FORGET_PLACES, values)
        [_, [[count]]] = yield Run([_state_to(change.state), forgetting])
        return int(count)
    if isinstance(request, Hold):
        [rows] = yield Run([_hold(request.held, upstream)])
    elif request.ids is None:
        rows = yield from ask(schema.DELETE_HELD, upstream)
    else:
        names = {"names": json.dumps(request.ids)}
        rows = yield from ask(schema.DELETE_HELD_OF, upstream | names)
    return len(rows)


def purge(state: UpstreamState | None, request: Purge) -> Script[int]:
    """Lets the content of records go; gives of how many. Raises what it is refused with."""
    names = yield from ask(schema.SELECT_UPSTREAM_NAMES)
    check_purge(state, request, [name for [name] in names])
    values = {"upstream": request.upstream, "stable": request.stable}
    gone = yield from ask(schema.PURGE, {**values, "names": json.dumps(request.ids)})
    yield from drop_snapshots_with([(position, stream) for position, stream in gone])
    return len(gone)


def refill(records: Sequence[StoredRecord]) -> Script[None]:
    """Gives tombstones their content again."""
    values = {
        "positions": "\n".join(str(record.position) for record in records),
        "nonces": "\n".join(record.nonce.hex() for record in records),
        "datas": "\n".join(record.data for record in records),
        "metas": "\n".join(record.meta for record in records),
    }
    yield from ask(schema.REFILL, values)
    yield from drop_snapshots_with([(record.position, record.stream) for record in records])


def drop_snapshots_with(rows: Sequence[tuple[int, str]]) -> Script[None]:
    """Drops what may have been folded from some records, by their positions and streams."""
    if not rows:
        return
    names = {"names": json.dumps(sorted({stream for _, stream in rows}))}
    first: dict[str, object] = {"position": min(position for position, _ in rows)}
    yield Run(
        [
            Statement(schema.RAISE_UNFOLDINGS),  # for those that are on their way
            Statement(schema.DROP_SNAPSHOTS_WITH, first | names),
            Statement(schema.RAISE_REVISIONS_OF, names),
        ]
    )


def _state_to(state: UpstreamState) -> Statement:
    names = ("upstream", "epoch", "past", "marks", "settled", "strict", "scope")
    return Statement(schema.UPSERT_UPSTREAM, dict(zip(names, as_row(state), strict=True)))


def _note(entries: Sequence[Entry], upstream: dict[str, str]) -> Statement:
    each = list({entry.id: entry for entry in entries}.values())
    return Statement(schema.UPSERT_ENTRIES, upstream | _columns(each))


def _hold(held: Sequence[Held], upstream: dict[str, str]) -> Statement:
    return Statement(
        schema.INSERT_HELD, {**upstream, "held": json.dumps([asdict(each) for each in held])}
    )


def _judge(orphans: Mapping[int, bool]) -> Statement:
    values = {
        "orphans": ",".join(str(position) for position, is_one in orphans.items() if is_one),
        "others": ",".join(str(position) for position, is_one in orphans.items() if not is_one),
    }
    return Statement(schema.JUDGE_ORPHANS, values)


def _columns(entries: Sequence[Entry]) -> dict[str, str]:
    ids, positions, versions, flags, receipts, outside = zip(*entries, strict=True)
    signed = ["-" if receipt is None else f"+{receipt.hex()}" for receipt in receipts]
    return {
        "ids": "\n".join(ids),
        "positions": "\n".join(map(str, positions)),
        "versions": "\n".join(map(str, versions)),
        "flags": "\n".join(map(str, flags)),
        "receipts": "\n".join(signed),
        "outside": "\n".join(str(int(each)) for each in outside),
    }
