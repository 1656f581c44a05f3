"""Taking in: records of another ledger, each judged on its own, and the place that they came from.

An import is all or nothing and keeps no account. What two ledgers that synchronise hand to each
other is taken in record by record, and the ledger keeps for each of its upstreams which of its own
records stand where in that one's order: its copy of the upstream's history. Whatever is not in it
has yet to be offered.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

from everlog.core.aliases import can_be_anew
from everlog.core.chain import GENESIS, HYDRATED, ORPHAN
from everlog.core.epoch import is_older
from everlog.core.record import StoredRecord, made_of_all
from everlog.errors import CursorMoved, InvalidInput

MAX_MARKS = 64
"""So many places of an upstream's history are kept, at most."""

MAX_EPOCHS = 64
"""And so many of its epochs that were left for a newer one."""

Verdict = Literal[
    "accepted", "duplicate", "out_of_scope", "clock_ahead", "rejected", "tampered", "waiting"
]
"""`accepted`: it is stored, and is new here; `duplicate`: it was here already; `out_of_scope`: it
is stored, and is not given to who has handed it in; `clock_ahead`: its
stamp lies too far in the future; `rejected`: it cannot be stored; `tampered`: another event has its
id, or its content does not match its hash; `waiting`: one before it in its stream was none of the
first three, so it was not looked at."""

TAKEN: tuple[Verdict, ...] = ("accepted", "duplicate", "out_of_scope")
"""The verdicts of what is stored here now."""


class Mark(NamedTuple):
    """A place in a ledger's history: the chain stands for all that is at or below the position."""

    position: int
    chain: bytes


BEGINNING = Mark(0, GENESIS)
"""Where every history begins."""

MIXED = "mixed"
"""The scope of a copy whose pieces are not all of one: what is in it is there, and more may be
missing. No upstream says so of a scope."""


class Link(NamedTuple):
    """Where records come from: a piece of an upstream's history, right behind what is known of it.

    The records of the same request are those of the piece, as the upstream has them: position,
    version, flags and chain are its own.
    """

    upstream: str
    """The upstream's ledger id."""
    epoch: str
    start: Mark
    """Where the piece begins: the place that the ledger must have got to."""
    end: Mark
    receipts: Sequence[bytes | None] = ()
    """What the upstream gave with each record, in their order; empty for none at all."""
    settled: int = 0
    """All records of this ledger up to this position are known to be in its copy of the upstream's
    history, or are not to be offered."""
    strict: tuple[str, ...] = ()
    """The streams that the upstream alone appends to: those whose names begin so."""
    scope: str = ""
    """Which of the upstream's records are given, in its words; empty for all of them. A copy is of
    one scope: another one begins at `BEGINNING`; or it is `MIXED` from here on."""


class Take(NamedTuple):
    """A request to take in records from another ledger, each judged on its own.

    The records have passed `everlog.core.sequencer.check_record`. An event of this ledger that it
    has forgotten, as it was restored from a backup, comes back as one that was born here.
    """

    records: tuple[StoredRecord, ...]
    max_offset_ms: int | None = 60_000
    """How far ahead of the wall clock a record may be stamped; None for any."""
    vouched: frozenset[str] = frozenset()
    """The ids of those that this ledger is known to have had once: their stamp was taken then."""
    strict: tuple[str, ...] = ()
    """Streams whose names begin so are this ledger's own: of them it takes back what it has had. An
    event that can have its old version has it; another one is an orphan. Not with a link."""
    versions: Sequence[int | None] = ()
    """The version that this ledger has given each of the records once, in their order; 0 for an
    orphan, and empty for none at all."""
    link: Link | None = None
    """Where they come from, if this ledger keeps account of it. The whole request is refused with
    `CursorMoved` unless the ledger stands at its start. Then their stamps are taken whatever they
    are, and none waits for another: what the upstream has is history."""


class Judged(NamedTuple):
    """What became of one record."""

    id: str
    verdict: Verdict
    position: int | None = None
    """Its position here, if it is stored."""
    reason: str = ""
    """Why it is not, in words."""


as_judged = made_of_all(Judged)
"""What became of one of very many records."""


class Taken(NamedTuple):
    """What became of a `Take`."""

    judged: tuple[Judged, ...]
    """Each of its records, in their order."""
    new: tuple[StoredRecord, ...]
    """Those that were not here before, as they are stored."""


class Rewind(NamedTuple):
    """A request to forget what is known of an upstream's history behind a place.

    Nothing else is forgotten: the records stay, and are offered again. Refused with `CursorMoved`
    unless the ledger stands at `at`, in a copy of the scope that whoever asks knows of.
    """

    upstream: str
    epoch: str
    """The epoch of the history that the place is in."""
    at: Mark
    to: Mark
    scope: str | None = None
    """As `UpstreamState.scope`; None for any. At the same place, and with another scope, another
    process has gone back already: once more, and it would not see that."""


@dataclass(frozen=True, slots=True)
class Held:
    """A record that an upstream has not taken, or that it has another one of."""

    id: str
    stream: str
    verdict: Verdict
    reason: str
    """In words."""
    since_ms: int
    """When it was set aside first, in milliseconds since 1970."""
    record: str | None = None
    """The upstream's record as JSON, if that is the one which cannot be stored here."""


class Hold(NamedTuple):
    """A request to set records aside: they and later ones of their streams are not offered."""

    upstream: str
    held: tuple[Held, ...]


class Release(NamedTuple):
    """A request to offer records again that were set aside; those that are not are passed over."""

    upstream: str
    ids: tuple[str, ...] | None = None
    """None for all."""


class Note(NamedTuple):
    """A request to take records for confirmed that the upstream has, and does not give.

    They are out of the scope, until it gives them. Refused with `CursorMoved` unless the ledger
    stands at `at`, which shows that the upstream still has what stands at or below it.
    """

    upstream: str
    at: Mark
    positions: tuple[tuple[str, int], ...]
    """The id of each, and where it stands in the upstream, at `at` or below."""


class Purge(NamedTuple):
    """A request to let the content of records go that the upstream has, and does not give.

    What is no tombstone yet and stands in the copy by a `Note`, at `stable` or below, becomes one;
    so do all records of the same event that it has replaced (`everlog.core.aliases`). Others are
    passed over. Refused with
    `CursorMoved` unless the ledger stands at `at`, and with `InvalidInput` where anybody else may
    need them of this ledger: if it has another upstream, or has ever been one. The only request of
    its batch.
    """

    upstream: str
    at: Mark
    stable: int
    """Up to this position the upstream's history is what nothing can take back any more."""
    ids: tuple[str, ...]


class Outside(NamedTuple):
    """A record that an upstream has and does not give, and whose content is here."""

    id: str
    there: int
    """Its position in the upstream."""
    positions: tuple[int, ...]
    """Its own, and those of the records of the same event that it has replaced, as far as their
    content is here."""


Keeping: TypeAlias = Rewind | Hold | Release | Note | Purge
"""A request about what is known of an upstream, that stores no record."""


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """How far a ledger has got along an upstream's history."""

    upstream: str
    """The upstream's ledger id."""
    epoch: str
    """The epoch of the history that the marks are in."""
    past: tuple[str, ...] = ()
    """Epochs that were left for a newer one, the latest last: 64 at most."""
    marks: tuple[Mark, ...] = (BEGINNING,)
    """Places that the ledger has passed, oldest first: 64 at most, the newer the denser. The last
    is its cursor: every record of the upstream up to there is here, and in the copy."""
    settled: int = 0
    """Up to which of the ledger's own positions nothing is unconfirmed."""
    strict: tuple[str, ...] = ()
    """The streams that the upstream alone appends to: those whose names begin so."""
    scope: str = ""
    """Which of the upstream's records are in the copy, in its words; empty for all of them."""

    @property
    def cursor(self) -> Mark:
        """The place that the ledger has got to."""
        return self.marks[-1]


def passed(state: UpstreamState | None, link: Link) -> UpstreamState:
    """Returns the state behind a piece of history; raises `CursorMoved` if it begins elsewhere."""
    state = _at(state, link.upstream, link.epoch, link.start)
    if link.scope not in (state.scope, MIXED) and link.start != BEGINNING:
        here = state.cursor.position
        raise CursorMoved(link.upstream, expected=here, actual=here)
    marks = state.marks if link.end == link.start else thinned((*state.marks, link.end))
    settled = max(state.settled, link.settled)
    return replace(state, marks=marks, settled=settled, strict=link.strict, scope=link.scope)


def outside(state: UpstreamState | None, note: Note) -> list[Entry]:
    """Returns what a request adds to the copy; raises `CursorMoved`."""
    _require_at(state, note)
    return [Entry(id, position, 0, 0, None, True) for id, position in note.positions]


def check_purge(state: UpstreamState | None, purge: Purge, upstreams: Sequence[str]) -> None:
    """Raises unless a ledger may let content go: `CursorMoved`, or `InvalidInput`.

    `upstreams`: all that it knows of; its own id is among them if others have synchronised with it.
    """
    _require_at(state, purge)
    others = [each for each in upstreams if each != purge.upstream]
    if others:
        raise InvalidInput(
            f"no content goes for the sake of upstream {purge.upstream}: {', '.join(others)} may "
            "need it of this ledger"
        )


def _require_at(state: UpstreamState | None, request: Note | Purge) -> None:
    if state is None or state.cursor != request.at:
        here = 0 if state is None else state.cursor.position
        raise CursorMoved(request.upstream, expected=request.at.position, actual=here)


def rewound(state: UpstreamState | None, rewind: Rewind) -> UpstreamState:
    """Returns the state in which nothing behind a place is known; raises `CursorMoved`."""
    state = _at(state, rewind.upstream, rewind.epoch, rewind.at)
    if rewind.scope is not None and rewind.scope != state.scope:
        here = state.cursor.position
        raise CursorMoved(rewind.upstream, expected=here, actual=here)
    below = [mark for mark in state.marks if mark.position < rewind.to.position]
    return replace(state, marks=(*below, rewind.to), settled=0)


def _at(state: UpstreamState | None, upstream: str, epoch: str, at: Mark) -> UpstreamState:
    state = state or UpstreamState(upstream, epoch)
    # An epoch that was left meanwhile, by another process, is left for good: also at this place.
    if state.cursor != at or is_stale(state, epoch):
        raise CursorMoved(upstream, expected=at.position, actual=state.cursor.position)
    if state.epoch == epoch:
        return state
    return replace(state, epoch=epoch, past=(*state.past, state.epoch)[-MAX_EPOCHS:])


def is_stale(state: UpstreamState, epoch: str) -> bool:
    """Whether what an upstream says is of an epoch that was left for a newer one, or is older."""
    return epoch in state.past or is_older(epoch, than=state.epoch)


class Entry(NamedTuple):
    """A record in the copy of an upstream's history."""

    id: str
    position: int | None
    """Where it stands there; None: it did, before the upstream's history was another."""
    version: int
    """0 for an orphan, and for what is only noted."""
    flags: int
    receipt: bytes | None
    outside: bool = False
    """Whether the upstream has it and does not give it. A receipt that it has given once stays."""


_as_entry = made_of_all(Entry)


def noted(take: Take, taken: Taken, *, now_ms: int) -> tuple[list[Entry], list[Held]]:
    """Returns what a piece of history adds to the copy, and what of it could not be stored."""
    assert take.link is not None
    receipts = take.link.receipts or [None] * len(take.records)
    if len(taken.new) == len(take.records):  # nearly always: all of it is new
        pairs = zip(take.records, receipts, strict=True)
        return [_entry_of(record, receipt) for record, receipt in pairs], []
    entries: list[Entry] = []
    held: list[Held] = []
    for record, judged, receipt in zip(take.records, taken.judged, receipts, strict=True):
        if judged.verdict in TAKEN:
            entries.append(_entry_of(record, receipt))
        else:
            kept = as_json(record)
            said = (judged.verdict, judged.reason)
            held.append(Held(record.id, record.stream, *said, since_ms=now_ms, record=kept))
    return entries, held


def _entry_of(record: StoredRecord, receipt: bytes | None) -> Entry:
    # An orphan has no place that it could have again.
    version = 0 if record.flags & ORPHAN else record.version
    return _as_entry((record.id, record.position, version, record.flags, receipt, False))


def as_json(record: StoredRecord) -> str:
    """Returns all fields of a record as JSON, bytes as hex."""
    fields = record._asdict()
    return json.dumps({k: v.hex() if isinstance(v, bytes) else v for k, v in fields.items()})


class Restamp(NamedTuple):
    """A request to give events that were stamped by a clock which ran ahead a stamp of now.

    For events that were born here and that nobody else can have. Each gets another record in its
    place, with the same content, a new id (`everlog.core.aliases`), and a new stamp; in the order
    of the old ones. The old ones stay as they are, and no fold has them any more. The clock goes
    back to the latest `created` of all others, without those that were replaced before. Refused
    with `InvalidInput` if one of them was not born here, is in what is known of an upstream, has
    been replaced, or cannot be stamped earlier than it was: it would come to stand behind one that
    is none of them. The only request of its batch.
    """

    ids: tuple[str, ...]
    now_ms: int
    """What time it is, in milliseconds since 1970, as a clock that is right has it."""


def not_restampable(
    record: StoredRecord | None, *, own: str, copied: bool, replaced: bool
) -> str | None:
    """Returns why a record cannot be given another stamp; None if it can.

    - `own`: the ledger's id
    - `copied`: whether anything is known of it in an upstream
    - `replaced`: whether no fold has it any more
    """
    if record is None:
        return "it is not here"
    if record.origin != own or record.flags & HYDRATED:
        return "it was not born here"
    if copied:
        return "an upstream has it, or had it once"
    if replaced:
        return "another record has its place"
    return None if can_be_anew(record) else "its id is too long to be made longer"


def restampable(
    request: Restamp,
    known: Mapping[str, StoredRecord],
    *,
    own: str,
    copied: Container[str],
    replaced: Container[str],
) -> list[StoredRecord]:
    """Returns the records of a request in the order of folds; raises `InvalidInput`.

    - `known`: the stored records by id
    - `own`: the ledger's id
    - `copied`: the ids of what is known of in an upstream
    - `replaced`: the ids of what no fold has any more
    """
    olds: list[StoredRecord] = []
    for id in dict.fromkeys(request.ids):
        record = known.get(id)
        problem = not_restampable(record, own=own, copied=id in copied, replaced=id in replaced)
        if record is None or problem is not None:
            raise InvalidInput(f"event {id!r} cannot be stamped anew: {problem}")
        olds.append(record)
    return sorted(olds, key=lambda record: record.order)


def thinned(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Returns those of the marks that are worth keeping, oldest first: the newer, the denser.

    `marks` are in ascending order. The newest is kept. Between two that are kept lies about as much
    history as behind them, so two ledgers that have parted find a place that both have at no more
    than about twice the distance from where they parted.
    """
    if not marks:
        return ()
    newest = marks[-1].position
    kept: list[Mark] = [marks[-1]]
    rest = list(marks[:-1])
    while rest:
        mark = rest.pop()
        older = rest[-1].position if rest else 0
        # Left out if what is kept around it is close enough: twice as far back, at most.
        if newest - older > 2 * (newest - kept[-1].position) + 1:
            kept.append(mark)
    return tuple(reversed(kept[:MAX_MARKS]))
