"""Many rows by few statements.

`executemany` is a step of SQLite's for each row, and around each step Python's lock is let go: as
long as another thread computes, each row waits for it up to 5 ms (`sys.setswitchinterval`). What
is one statement waits once. Alone it takes as long: 8.6 µs a row of 200 bytes and 60, 8.7 by
`executemany`; beside a thread that computes 33 in place of 4,700.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

SIZES = (500, 50, 5)
"""Rows in a statement. With 19 columns the largest has 9,500 values; SQLite takes 32,766."""


class Insert(NamedTuple):
    """A statement that inserts a row."""

    into: str
    values: str
    """Of one row, in brackets."""
    then: str = ""
    """What follows the rows."""

    def of(self, rows: int) -> str:
        """Returns the statement for so many rows."""
        return _statement(self, rows)


@lru_cache(maxsize=64)
def _statement(insert: Insert, rows: int) -> str:
    return f"{insert.into} VALUES {', '.join([insert.values] * rows)} {insert.then}".rstrip()


def insert_all(
    connection: sqlite3.Connection,
    insert: Insert,
    rows: Sequence[tuple[object, ...]],
    *shared: object,
) -> None:
    """Inserts rows, in their order; `shared`: what all begin with, as `?1` and so on."""
    done = 0
    for size in SIZES:
        statement = insert.of(size) if len(rows) - done >= size else ""
        while len(rows) - done >= size:
            some = rows[done : done + size]
            connection.execute(statement, [*shared, *chain.from_iterable(some)])
            done += size
    # As plain tuples: what extends them is bound item by item through slower calls.
    connection.executemany(insert.of(1), [(*shared, *row) for row in rows[done:]])
