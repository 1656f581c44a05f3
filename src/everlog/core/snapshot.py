"""Snapshots: a stored state of one reducer, and when it still holds.

A snapshot shortens a fold and never changes its answer. It is found by everything that the state
depends on (`SnapshotKey`); and it holds only if nothing that belongs into it has come since: no
record after its position may stand before its last one in the order of folds, the streams of its
relation must be the same, and it must not reach past the place or moment that is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from everlog.core.record import StoredRecord
from everlog.core.selection import Selection
from everlog.errors import SnapshotError


@dataclass(frozen=True, slots=True)
class SnapshotKey:
    """What a stored state depends on, besides the records."""

    scope: str
    """`stream:NAME` or `relation:NAME`."""
    reducer: str
    """The reducer's or aggregate's name."""
    reducer_version: int
    """`@reducer(..., version=)`: changes with the logic."""
    shape: str
    """A digest of the state's type, and of upcasts: changes with its fields, and with these."""
    filter: str
    """The event types folded, or empty for all."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored state, and the place it was taken at."""

    key: SnapshotKey
    position: int
    """All selected records up to here are in the state."""
    created: str
    """Stamp of the last record folded, by `(created, id)`."""
    id: str
    """Its id."""
    version: int
    """For a stream, the version of its last record up to `position`; otherwise 0."""
    count: int
    """How many records the state is folded from."""
    revision: int
    """For a relation, its membership revision; otherwise 0."""
    state: str
    """The state as JSON; where it is stored, sealed: with the digest of the snapshot before it."""


@dataclass(frozen=True, slots=True)
class PutSnapshot:
    """A request to store a snapshot; an older one than is stored is passed over."""

    snapshot: Snapshot
    unfoldings: int | None = None
    """That of the `FoldStart` that it was folded from: it is passed over, too, where folds have
    other records by now. None: it holds whatever has changed."""


@dataclass(frozen=True, slots=True)
class DropSnapshots:
    """A request to delete the snapshots of a scope, of one reducer or of all."""

    scope: str
    reducer: str | None = None


def reaches_past(snapshot: Snapshot, selection: Selection) -> bool:
    """Whether the snapshot holds records that the selection leaves out."""
    if selection.until is not None and snapshot.position > selection.until:
        return True
    return selection.as_of is not None and snapshot.created > selection.as_of


def overtakes(following: Sequence[StoredRecord], snapshot: Snapshot) -> bool:
    """Whether records from after the snapshot's position belong before its last one.

    `following`: the first page of what the snapshot selects after its position, in the order of
    folds. If any record belongs before the last one, its first does.
    """
    return bool(following) and following[0].order < (snapshot.created, snapshot.id)


def seal(snapshot: Snapshot) -> Snapshot:
    """Returns the snapshot as it is stored: a digest of all that it says, before its state."""
    return replace(snapshot, state=_digest(snapshot, snapshot.state) + snapshot.state)


def unseal(snapshot: Snapshot) -> str:
    """Returns the state of a stored snapshot; raises `SnapshotError` if anything in it changed."""
    if not is_whole(snapshot):
        raise SnapshotError("a stored snapshot does not match its digest")
    return snapshot.state[_DIGEST_LENGTH:]


def is_whole(snapshot: Snapshot) -> bool:
    """Whether a stored snapshot is still what was stored, down to its state and position."""
    try:
        digest, state = snapshot.state[:_DIGEST_LENGTH], snapshot.state[_DIGEST_LENGTH:]
        return digest == _digest(snapshot, state)
    except (TypeError, ValueError):  # a damaged row, with a value of another kind
        return False


_DIGEST_LENGTH = 64


def _digest(snapshot: Snapshot, state: str) -> str:
    key, at = snapshot.key, snapshot
    # As what is stored has it: all fields in their order, the state empty.
    place = json.dumps(
        [
            [key.scope, key.reducer, key.reducer_version, key.shape, key.filter],
            *(at.position, at.created, at.id, at.version, at.count, at.revision, ""),
        ]
    )
    return hashlib.sha256(f"{place}\n{state}".encode("utf-8", "surrogatepass")).hexdigest()
