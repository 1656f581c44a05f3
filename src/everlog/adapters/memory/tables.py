"""What a memory ledger holds, in the place of tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from everlog.core.record import StoredRecord
from everlog.core.sequencer import EMPTY, Head
from everlog.core.snapshot import Snapshot, SnapshotKey
from everlog.core.taking import Entry, Held, UpstreamState


@dataclass(slots=True)
class Copy:
    """What is known of one upstream."""

    state: UpstreamState
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    """The copy of its history, and what was in an earlier one, by event id."""
    held: dict[str, Held] = field(default_factory=dict[str, Held])


@dataclass(slots=True)
class Tables:
    """Everything that is stored. Changed in one go, between two awaits."""

    head: Head = EMPTY
    records: list[StoredRecord] = field(default_factory=list[StoredRecord])
    """By position: the record at position P is `records[P - 1]`."""
    by_id: dict[str, StoredRecord] = field(default_factory=dict[str, StoredRecord])
    by_stream: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Positions of a stream, ascending: the version is the length."""
    late: list[StoredRecord] = field(default_factory=list[StoredRecord])
    """The records that came late, by `(created, id)`."""
    late_positions: set[int] = field(default_factory=set[int])
    registers: dict[tuple[str, str], tuple[str, str]] = field(
        default_factory=dict[tuple[str, str], tuple[str, str]]
    )
    relations: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    revisions: dict[str, int] = field(default_factory=dict[str, int])
    snapshots: dict[SnapshotKey, Snapshot] = field(default_factory=dict[SnapshotKey, Snapshot])
    unfolded: dict[str, str | None] = field(default_factory=dict[str, str | None])
    """The records that no fold has, by id: None for an orphan, otherwise the id of the record that
    has taken its place."""
    unfoldings: int = 0
    """How often that has changed."""
    aliases: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Of events that were stamped anew: by the first id, the others."""
    copies: dict[str, Copy] = field(default_factory=dict[str, Copy])
    """By the upstream's ledger id."""

    def chain_at(self, position: int) -> bytes | None:
        """Returns the chain of the record at a position; None if there is none."""
        return self.records[position - 1].chain if 0 < position <= len(self.records) else None

    def streams_of(self, relations: Iterable[str]) -> list[str]:
        """Returns the streams in any of the relations, sorted."""
        none: set[str] = set()
        return sorted(set[str]().union(*(self.relations.get(key, none) for key in relations)))

    def relations_of(self, streams: Iterable[str]) -> list[str]:
        """Returns the relations that any of the streams is in, sorted."""
        wanted = set(streams)
        return sorted(key for key, members in self.relations.items() if members & wanted)
