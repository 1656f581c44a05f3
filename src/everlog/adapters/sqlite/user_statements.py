"""Statements of the user's own: checked, kept until they are carried out, and carried out."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from everlog.adapters.sqlite.failures import as_storage_error
from everlog.errors import MisusedStore
from everlog.ports.checkpoints import Values


class Run(NamedTuple):
    """One statement, and the values with which it is carried out, time after time."""

    statement: str
    values: list[Values]


def check_statement(statement: str) -> None:
    """Raises `TypeError` if it is no text, `MisusedStore` if it is not for handlers."""
    if not isinstance(statement, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a statement is text, not {type(statement).__name__}")
    keyword = _keyword(statement)
    if keyword in _CONTROL:
        raise MisusedStore(
            f"{keyword} is not for a handler: its transaction begins before it and ends with it, "
            "and what it writes stands or falls with the checkpoint; leave the statement out"
        )


def copied(values: object) -> Values:
    """Returns the values as they are now; raises `TypeError` if they are none."""
    if type(values) is tuple and _FIXED.issuperset(map(type, values)):  # pyright: ignore[reportUnknownArgumentType]
        return values  # pyright: ignore[reportUnknownVariableType] - nearly every handler's
    if isinstance(values, Mapping):
        named = cast(Mapping[str, object], values)
        return {name: _frozen(value) for name, value in named.items()}
    if isinstance(values, Sequence) and not isinstance(values, (str, bytes, bytearray, memoryview)):
        return tuple(map(_frozen, cast(Sequence[object], values)))
    kind = type(values).__name__  # pyright: ignore[reportUnknownArgumentType]
    raise TypeError(
        f"values are a sequence for ? or a mapping for :name, not {kind}; "
        "write (value,) for a single one"
    )


def carry_out(connection: sqlite3.Connection, runs: Iterable[Run]) -> None:
    """Carries statements out in their order; raises what SQLite says of the first that fails."""
    for statement, values in runs:
        if len(values) > 1 and _can_be_many(statement):
            connection.executemany(statement, values)
        else:
            for each in values:
                fetch(connection, statement, each)


def fetch(connection: sqlite3.Connection, statement: str, values: Values) -> list[tuple[Any, ...]]:
    """Returns all that a statement gives, so that nothing of it is left to be done."""
    return connection.execute(statement, values).fetchall()


def as_raised(error: sqlite3.Error, path: str) -> Exception:
    """Returns what is raised for a user's statement that failed: that, unless the place did."""
    name: str = getattr(error, "sqlite_errorname", "") or ""
    if name == "SQLITE_AUTH":
        return MisusedStore(
            f"the statement was refused ({error}): in the log's own file, a handler reads the "
            "log's tables and writes its own; append events by store.append, not inside of tx"
        )
    return as_storage_error(error, path) if name.startswith(_OF_THE_PLACE) else error


_OF_THE_PLACE = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_CORRUPT",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_NOTADB",
    "SQLITE_PROTOCOL",
    "SQLITE_READONLY",
)

# PRAGMA: some would take from all that is written later what a commit promises.
_CONTROL = frozenset(
    [
        "BEGIN",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "ATTACH",
        "DETACH",
        "PRAGMA",
        "VACUUM",
    ]
)

_BEFORE_KEYWORD = re.compile(r"(?:[\s;\ufeff]|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z))*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]*")
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)


def _keyword(statement: str) -> str:
    """Returns the word with which a statement begins, behind comments, in capitals."""
    return _shape(statement)[0]


def _can_be_many(statement: str) -> bool:
    """Whether sqlite3 takes it for many values at once: what gives rows, it does not."""
    return _shape(statement)[1]


@lru_cache(maxsize=512)
def _shape(statement: str) -> tuple[str, bool]:
    start = _BEFORE_KEYWORD.match(statement)
    assert start is not None
    word = _WORD.match(statement, start.end())
    assert word is not None
    keyword = word.group().upper()
    many = keyword in ("INSERT", "UPDATE", "DELETE", "REPLACE")
    return keyword, many and _RETURNING.search(statement) is None


_FIXED = frozenset([str, int, float, bytes, bool, type(None)])
"""What does not change: a tuple of it is its own copy."""


def _frozen(value: object) -> object:
    # What else can change under a name is taken by no database as it is.
    if type(value) is bytearray:
        return bytes(value)
    return value.tobytes() if type(value) is memoryview else value
