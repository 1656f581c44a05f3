"""Leases, steps and parked records, as what is done on a connection. Runs on a thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from everlog.adapters.sqlite import views_schema as schema
from everlog.errors import LeaseLost, MisusedStore, OtherVersion
from everlog.ports.checkpoints import Due, Held, Move, Parked, SliceStatus, Working


def register(
    connection: sqlite3.Connection,
    name: str,
    slices: int,
    position: int,
    token: str | None,
    version: int,
) -> int:
    """Makes the checkpoints of a subscription where there are none; returns how many slices."""
    found = _slices_of(connection, name, version)
    if found is not None:
        return found
    rows = [(name, slice, slices, position, token, version) for slice in range(slices)]
    connection.executemany(schema.INSERT_CHECKPOINT, rows)
    return slices


def claim(
    connection: sqlite3.Connection, name: str, worker: str, ttl_s: float, most: int, version: int
) -> list[Held]:
    """Takes up to so many slices that are free."""
    _slices_of(connection, name, version)
    values = {"name": name, "worker": worker, "ttl_s": ttl_s, "most": most}
    connection.execute(schema.DELETE_WORKERS_GONE, (name,))
    connection.execute(schema.UPSERT_WORKER, values)
    if most <= 0:
        return []
    if connection.execute(schema.COUNT_OTHERS, values).fetchone() != (0,):
        return []
    [values["fence"]] = connection.execute(schema.NEXT_FENCE).fetchone()
    connection.execute(schema.FENCE_OTHERS, values)
    return _held(connection.execute(schema.CLAIM, values))


def seize(connection: sqlite3.Connection, name: str, worker: str, ttl_s: float) -> list[Held]:
    """Takes all slices, whoever holds them."""
    [fence] = connection.execute(schema.NEXT_FENCE).fetchone()
    values = {"name": name, "worker": worker, "ttl_s": ttl_s, "fence": fence}
    return _held(connection.execute(schema.SEIZE, values))


def _held(cursor: sqlite3.Cursor) -> list[Held]:
    return [
        Held(slice, fence, position, token, bool(clean))
        for slice, fence, position, token, clean in sorted(cursor.fetchall())
    ]


def unclaim(connection: sqlite3.Connection, name: str, taken: Sequence[Held]) -> None:
    """Takes a claim back of which nobody was told."""
    rows = [(name, held.slice, held.fence) for held in taken]
    connection.executemany(schema.UNCLAIM, rows)


def renew(
    connection: sqlite3.Connection, name: str, worker: str, fences: Mapping[int, int], ttl_s: float
) -> frozenset[int]:
    """Prolongs leases; returns the slices that are still held."""
    return frozenset(
        slice
        for slice, fence in fences.items()
        if connection.execute(schema.RENEW, (ttl_s, name, worker, slice, fence)).rowcount
    )


def release(
    connection: sqlite3.Connection, name: str, fences: Mapping[int, int], error: str
) -> None:
    """Lets go of slices."""
    holders: set[str] = set()
    for slice, fence in fences.items():
        found = connection.execute(schema.SELECT_HOLDER, (name, slice, fence)).fetchone()
        if found is not None:
            holders.update(found)
            connection.execute(schema.RELEASE, (error, name, slice))
    for worker in holders:
        connection.execute(schema.DELETE_WORKER, {"name": name, "worker": worker})


def workers(connection: sqlite3.Connection, name: str) -> list[Working]:
    """Returns which workers there are."""
    rows = connection.execute(schema.SELECT_WORKERS, {"name": name}).fetchall()
    return [Working(worker, bool(holds)) for worker, holds in rows]


def move(connection: sqlite3.Connection, name: str, moves: Sequence[Move]) -> None:
    """Moves checkpoints by compare-and-set; raises `LeaseLost`."""
    for step in moves:
        values = {"name": name, **step._asdict()}
        if step.before == step.after:
            made = stands(connection, name, step.slice, step.fence)
        else:
            made = connection.execute(schema.MOVE, values).rowcount == 1
        if not made:
            raise lost(connection, name, step.slice, step.fence)


def stands(connection: sqlite3.Connection, name: str, slice: int, fence: int) -> bool:
    """Returns whether a slice is held under a fence."""
    values = {"name": name, "slice": slice, "fence": fence}
    return connection.execute(schema.STAND, values).fetchone() is not None


def swap(
    connection: sqlite3.Connection,
    name: str,
    fences: Mapping[int, int],
    rebuilt: str,
    rebuilt_fences: Mapping[int, int],
    kept: str,
) -> None:
    """Puts one subscription in the place of another, which is kept; raises `LeaseLost`."""
    for each, expected in ((name, fences), (rebuilt, rebuilt_fences)):
        if not expected or dict(connection.execute(schema.SELECT_FENCES, (each,))) != expected:
            raise LeaseLost(
                f"subscription {each!r} is not held any more: another worker has taken slices of "
                "it over; nothing was swapped, do it again"
            )
    for statement in (schema.DELETE_WORKERS, schema.DELETE_PARKED, schema.DELETE_CHECKPOINTS):
        connection.execute(statement, (kept,))
    for before, after in ((name, kept), (rebuilt, name)):
        [fence] = connection.execute(schema.NEXT_FENCE).fetchone()
        values = {"before": before, "after": after, "fence": fence}
        connection.execute(schema.RENAME_CHECKPOINTS, values)
        connection.execute(schema.RENAME_PARKED, values)
        connection.execute(schema.DELETE_WORKERS, (before,))


def attempt(
    connection: sqlite3.Connection, name: str, slice: int, fence: int, position: int
) -> int:
    """Counts a try; returns the count. Raises `LeaseLost`."""
    values = {"name": name, "slice": slice, "fence": fence, "position": position}
    rows = connection.execute(schema.ATTEMPT, values).fetchall()
    if not rows:
        raise lost(connection, name, slice, fence)
    tries: int
    [[tries]] = rows
    return tries


def park(connection: sqlite3.Connection, parked: Sequence[Parked]) -> None:
    """Sets records aside."""
    connection.executemany(schema.UPSERT_PARKED, map(asdict, parked))


def unpark(connection: sqlite3.Connection, name: str, position: int) -> None:
    """Takes a record out that has been handled after all."""
    connection.execute(schema.UNPARK, (name, position))


def due(connection: sqlite3.Connection, name: str, slices: Sequence[int]) -> list[Due]:
    """Returns the first held-up record of each stream."""
    rows = connection.execute(schema.SELECT_DUE, (name, json.dumps(list(slices)))).fetchall()
    return [Due(*row) for row in rows]


def parked(
    connection: sqlite3.Connection,
    name: str | None,
    stream: str | None,
    limit: int,
    held_up: bool,
) -> list[Parked]:
    """Returns records that are set aside."""
    values = {"name": name, "stream": stream, "limit": limit, "held_up": held_up}
    select = schema.SELECT_PARKED[name is not None, stream is not None]
    return [Parked(*row) for row in connection.execute(select, values).fetchall()]


def retry(
    connection: sqlite3.Connection, name: str, stream: str | None, position: int | None
) -> int:
    """Makes parked records due now; returns how many."""
    values = {"name": name, "stream": stream, "position": position}
    return connection.execute(schema.RETRY, values).rowcount


def drop(
    connection: sqlite3.Connection, name: str, stream: str | None, position: int | None
) -> int:
    """Gives parked and retrying records up; returns how many."""
    values = {"name": name, "stream": stream, "position": position}
    return connection.execute(schema.DROP, values).rowcount


def needed(connection: sqlite3.Connection, positions: Sequence[int]) -> list[int]:
    """Returns those of the positions whose records a subscription has yet to deal with."""
    rows = connection.execute(schema.SELECT_NEEDED, (json.dumps([*positions]),)).fetchall()
    return [position for [position] in rows]


def statuses(connection: sqlite3.Connection) -> list[SliceStatus]:
    """Returns what is known of all subscriptions."""
    return [SliceStatus(*row) for row in connection.execute(schema.SELECT_STATUSES).fetchall()]


def remove(connection: sqlite3.Connection, name: str) -> bool:
    """Deletes all of a subscription; raises `MisusedStore` while a lease of it holds."""
    [leases] = connection.execute(schema.COUNT_LEASES, (name,)).fetchone()
    if leases:
        raise MisusedStore(
            f"subscription {name!r} is running: a worker holds {leases} of its slices; stop it, or "
            "wait until its lease has run out"
        )
    connection.execute(schema.DELETE_WORKERS, (name,))
    connection.execute(schema.DELETE_PARKED, (name,))
    connection.execute(schema.DELETE_EFFECTS, (name,))
    connection.execute(schema.DELETE_HANDLERS, (name,))
    return connection.execute(schema.DELETE_CHECKPOINTS, (name,)).rowcount > 0


def _slices_of(connection: sqlite3.Connection, name: str, version: int) -> int | None:
    """Returns how many slices a subscription has, None if it is not there."""
    found = connection.execute(schema.SELECT_SLICES, (name,)).fetchone()
    if found is None:
        return None
    slices: int
    slices, live = found
    if live != version:
        raise OtherVersion(name, live=live, asked=version)
    return slices


def lost(connection: sqlite3.Connection, name: str, slice: int, fence: int) -> LeaseLost:
    """Returns what is raised where a slice is not held under a fence, or stands elsewhere."""
    found = connection.execute(schema.SELECT_HELD, (name, slice)).fetchone()
    what = f"slice {slice} of subscription {name!r}"
    if found is None:
        return LeaseLost(f"there is no {what} any more: it was removed; register it again")
    now, worker, position = found
    if now != fence or worker is None:
        return LeaseLost(
            f"{what} is not held any more under fence {fence} (it is at {now}): another worker has "
            "taken it over, or this one let go of it; nothing was written"
        )
    return LeaseLost(
        f"the checkpoint of {what} stands at position {position} and not where it was to be moved "
        "from; nothing was written: claim it again"
    )
