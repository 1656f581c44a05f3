"""Messages: what a hub and its edges say to each other."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from everlog.core.record import StoredRecord, made_of_all
from everlog.core.taking import Judged, Mark

PROTOCOL = 1
"""The version of what is said; a hub answers none that it does not know."""


class Hello(NamedTuple):
    """What an edge begins with."""

    ledger: str
    """The edge's ledger id."""
    node: str
    """The tie-break of its clock."""
    instance: str
    """Random, of this very process of the edge."""
    protocols: tuple[int, ...] = (PROTOCOL,)


class Welcome(NamedTuple):
    """What the hub answers."""

    ledger: str
    """The hub's ledger id."""
    epoch: str
    now_ms: int
    """Its wall clock, in milliseconds since 1970."""
    max_offset_ms: int
    """How far ahead of that an event may be stamped that it has never had."""
    strict: tuple[str, ...] = ()
    """Streams whose names begin so are appended to at the hub alone."""
    stable: int = 0
    """Up to this position its history is what nothing can take back any more."""


class Scope(NamedTuple):
    """Which events an edge wants: those that meet each condition."""

    prefix: str | None = None
    """Streams whose names begin so."""
    relation: str | None = None
    """Streams that are in this relation at the hub."""
    types: tuple[str, ...] | None = None
    """Of those streams, the events of these types alone."""

    @property
    def whole(self) -> bool:
        """Whether it is everything."""
        return self.prefix is None and self.relation is None and self.types is None

    def has(self, record: StoredRecord, members: Container[str] = ()) -> bool:
        """Whether a record is in it; `members`: the streams that are in its relation, if any."""
        return (
            (self.prefix is None or record.stream.startswith(self.prefix))
            and (self.relation is None or record.stream in members)
            and (self.types is None or record.type in self.types)
        )


class Asked(NamedTuple):
    """What every request carries: who asks, and how far it has got along the hub's history."""

    edge: str
    """The edge's ledger id."""
    hub: str
    """The ledger id of the hub in whose history its marks are."""
    marks: tuple[Mark, ...]
    """Places that it has passed, oldest first; the last is its cursor."""
    scope: Scope = Scope()

    @property
    def cursor(self) -> Mark:
        """The place that the edge has got to."""
        return self.marks[-1]

    def behind(self, end: Mark) -> Asked:
        """Returns what is asked by who has got from the cursor to there."""
        return self._replace(marks=(*self.marks[:-1], end))


class Forked(NamedTuple):
    """The answer to whoever stands in another history than the hub's."""

    epoch: str
    ancestor: Mark
    """The newest of the places that were sent which the hub has, too."""


class Pulled(NamedTuple):
    """A piece of the hub's history, right behind the cursor that was asked with."""

    epoch: str
    start: Mark
    records: tuple[StoredRecord, ...]
    """As the hub has them: position, version, flags and chain are its own."""
    receipts: tuple[bytes | None, ...]
    end: Mark
    up_to_date: bool
    """Whether there was no more behind it."""
    scope: str = ""
    """Which records are given, as long as this is the same; empty for all of them, one by one."""
    stable: int = 0
    """Up to this position of the hub's nothing can take its history back any more."""


class Offer(NamedTuple):
    """A record that an edge hands to the hub."""

    record: StoredRecord
    version: int | None = None
    """The version that the hub has given it once; 0 for none that it can have again."""
    receipt: bytes | None = None
    """What the hub gave with it then."""


as_offer = made_of_all(Offer)
"""One of very many."""


class Pushed(NamedTuple):
    """What became of what was offered."""

    epoch: str
    cursor: Mark
    """The place that was asked with: the verdicts are about the history that it is in."""
    judged: Sequence[Judged]
    """Each of them, in their order; the positions are the hub's."""
    now_ms: int
    """The hub's wall clock."""
    stable: int = 0
    """As in `Pulled`."""


class Made(NamedTuple):
    """What a hub has appended for an edge, now or by an earlier try."""

    records: tuple[StoredRecord, ...]
    """As the hub has them, in the order of the events."""
    at: Mark | None = None
    """The place that was asked with, if one was: the hub had it in the history it appended to."""
