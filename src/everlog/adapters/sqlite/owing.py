"""Effects, as what is done on a connection. Runs on a thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from everlog.adapters.sqlite import views_schema as schema
from everlog.adapters.sqlite.bookkeeping import lost, stands
from everlog.ports.effects import Change, Effect, EffectCounts, Lane


def register_handlers(
    connection: sqlite3.Connection, name: str, handlers: Sequence[str], position: int
) -> dict[str, int]:
    """Writes down where handlers begin that are not known; returns it for all of them."""
    begin_handlers(connection, name, handlers, position)
    known: dict[str, int] = dict(connection.execute(schema.SELECT_HANDLERS, (name,)).fetchall())
    return {handler: known[handler] for handler in handlers}


def begin_handlers(
    connection: sqlite3.Connection, name: str, handlers: Sequence[str], position: int
) -> None:
    """Writes down where handlers begin that are not known."""
    rows = [(name, handler, position) for handler in handlers]
    connection.executemany(schema.INSERT_HANDLER, rows)


def handlers(connection: sqlite3.Connection, name: str) -> dict[str, int]:
    """Returns where the handlers begin that are known."""
    return dict(connection.execute(schema.SELECT_HANDLERS, (name,)).fetchall())


def owe(connection: sqlite3.Connection, effects: Sequence[Effect]) -> None:
    """Writes effects down that are not there."""
    connection.executemany(schema.INSERT_EFFECT, map(asdict, effects))


def lanes(
    connection: sqlite3.Connection,
    name: str,
    slices: Sequence[int],
    within_s: float,
    behind: tuple[str, str],
    limit: int,
) -> list[Lane]:
    """Returns the lanes of which the first effect is due."""
    handler, stream = behind
    values = {
        "name": name,
        "slices": json.dumps(slices),
        "within_s": within_s,
        "handler": handler,
        "stream": stream,
        "limit": limit,
    }
    return [Lane(*row) for row in connection.execute(schema.SELECT_LANES, values).fetchall()]


def lane(
    connection: sqlite3.Connection, name: str, handler: str, stream: str, limit: int
) -> list[Effect]:
    """Returns the first unfinished effects of a lane."""
    rows = connection.execute(schema.SELECT_LANE, (name, handler, stream, limit)).fetchall()
    return [_effect(row) for row in rows]


def change(
    connection: sqlite3.Connection, name: str, change: Change, slice: int | None, fence: int
) -> bool:
    """Changes an effect that stands as is said; returns whether it did. Raises `LeaseLost`."""
    if slice is not None and not stands(connection, name, slice, fence):
        raise lost(connection, name, slice, fence)
    values = {"name": name, **change._asdict()}
    return connection.execute(schema.CHANGE_EFFECT, values).rowcount == 1


def mark_ambiguous(
    connection: sqlite3.Connection,
    name: str,
    fences: Mapping[int, int],
    but: Sequence[tuple[str, int]],
) -> int:
    """Has what was begun be ambiguous; returns how many there were."""
    left_out = json.dumps([f"{position} {handler}" for handler, position in but])
    return sum(
        connection.execute(
            schema.MARK_AMBIGUOUS, {"name": name, "slice": slice, "but": left_out}
        ).rowcount
        for slice, fence in fences.items()
        if stands(connection, name, slice, fence)
    )


def effects(
    connection: sqlite3.Connection,
    name: str | None,
    status: str | None,
    stream: str | None,
    position: int | None,
    limit: int,
) -> list[Effect]:
    """Returns effects, as they are asked for."""
    values = {
        "name": name,
        "status": status,
        "stream": stream,
        "position": position,
        "limit": limit,
    }
    return [_effect(row) for row in connection.execute(schema.SELECT_EFFECTS, values).fetchall()]


def counts(connection: sqlite3.Connection) -> list[EffectCounts]:
    """Returns how many unfinished ones there are."""
    return [EffectCounts(*row) for row in connection.execute(schema.COUNT_EFFECTS).fetchall()]


def _effect(row: Sequence[Any]) -> Effect:
    values = list(row)
    values[10] = bool(values[10])
    return Effect(*values)
