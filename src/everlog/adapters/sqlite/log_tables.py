"""Keeps handlers out of the log's own tables, where their tables are beside them in one file."""

from __future__ import annotations

import re
import sqlite3

from everlog.adapters.sqlite import schema

LOG_TABLES = frozenset(re.findall(r"^CREATE TABLE (\w+)", schema.CREATE, re.MULTILINE))
"""Their names. In them nothing is written but by the ledger."""


def forbid_writing_the_log(connection: sqlite3.Connection) -> None:
    """Has SQLite refuse, from now on, each statement on a connection that would change the log.

    Also what would change it later or by a detour, such as a trigger on one of its tables, or on
    another table and writing there. Reading is free.
    """
    connection.set_authorizer(_authorize)


def _authorize(
    action: int, first: str | None, second: str | None, place: str | None, within: str | None
) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        # Of settings, those that are told; of a table's, with its name.
        told = second is None or (first or "").lower() in _TOLD
        return sqlite3.SQLITE_OK if told else sqlite3.SQLITE_DENY
    if action in _ANYWHERE:
        return sqlite3.SQLITE_DENY
    table = first if action in _FIRST else second if action in _SECOND else None
    if table is not None and table.lower() in LOG_TABLES:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


# Where the table stands, by action.
_FIRST = frozenset(
    [
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_DROP_TABLE,
        sqlite3.SQLITE_ANALYZE,
        sqlite3.SQLITE_CREATE_TEMP_TABLE,  # which would stand before the log's in what is read
        sqlite3.SQLITE_CREATE_TEMP_VIEW,
    ]
)
_SECOND = frozenset(
    [
        sqlite3.SQLITE_ALTER_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
        sqlite3.SQLITE_DROP_TRIGGER,
    ]
)
_ANYWHERE = frozenset([sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH])
_TOLD = frozenset(
    [
        "foreign_key_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "table_info",
        "table_list",
        "table_xinfo",
        "wal_checkpoint",  # by ourselves
    ]
)
