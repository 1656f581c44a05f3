"""The file of read models: where it is, how it is recognised, and how our tables come into it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from urllib.parse import quote

from everlog.adapters.sqlite import schema as ledger_schema
from everlog.adapters.sqlite import views_schema as schema
from everlog.adapters.sqlite.connections import (
    Place,
    connect_writer,
    create_file,
    set_up,
    statements,
    turn_to_wal,
)
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.errors import ForeignFile, NewerFormat


def views_path(ledger_path: str) -> str:
    """Returns the file of read models that is beside a ledger: of `app.db` it is `app.views.db`."""
    root, extension = os.path.splitext(ledger_path)
    return f"{root}.views{extension}"


def open_or_create_views(place: Place) -> None:
    """Has the file be one of read models; what else is in it stays as it is.

    Raises `CannotOpen`, or its `ForeignFile` and `NewerFormat`; then the file is as it was.
    """
    create_file(place.path)
    _refuse_ledger(place.path)
    set_up(place, lambda connection: _add_tables(connection, place.path, _refuse_marked))


def open_views_in_ledger(place: Place, lock: FileLock | None) -> None:
    """Has a ledger's own file hold read models, too; what else is in it stays as it is.

    `lock`: where checkpoints race. Raises `CannotOpen`, or its `ForeignFile` and `NewerFormat`.
    """
    # No connection of another kind, also not for this: it would checkpoint beside the ledger's.
    connection = connect_writer(place)
    try:
        with nullcontext() if lock is None else lock.held(place.timeout_s):
            _add_tables(connection, place.path, _require_marked)
    finally:
        connection.close()


def add_tables(connection: sqlite3.Connection) -> None:
    """Makes our tables in a database that has none of them."""
    for statement in statements(schema.CREATE):
        connection.execute(statement)
    connection.execute(schema.INSERT_VIEWS, (schema.VERSION,))


def _refuse_ledger(path: str) -> None:
    """Raises `ForeignFile` before anything could touch the file."""
    # As where ledgers are opened: without a lock, and blind to the WAL, into which a ledger does
    # not turn before it is marked as one.
    if os.path.getsize(path) == 1:  # which SQLite takes for empty
        raise ForeignFile(f"{path} is not a database; it was not touched: choose another path")
    uri = "file:" + quote(path) + "?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            _refuse_marked(connection, path)
        finally:
            connection.close()
    except sqlite3.Error:
        return  # half written by another process, or damaged: the ordinary connection can tell


def _refuse_marked(connection: sqlite3.Connection, path: str) -> None:
    [application] = connection.execute("PRAGMA application_id").fetchone()
    if application == ledger_schema.APPLICATION_ID:
        raise ForeignFile(
            f"{path} is an everlog ledger, and read models are in a file of their own; it was not "
            "touched: choose another path"
        )


def _require_marked(connection: sqlite3.Connection, path: str) -> None:
    [application] = connection.execute("PRAGMA application_id").fetchone()
    if application != ledger_schema.APPLICATION_ID:
        raise ForeignFile(f"{path} is not an everlog ledger; it was not touched")


def _add_tables(
    connection: sqlite3.Connection, path: str, check: Callable[[sqlite3.Connection, str], None]
) -> None:
    # In one transaction, or another process's set-up could fall between two looks.
    connection.execute("BEGIN")
    try:
        check(connection, path)
        ours = _has_tables(connection, path)
    finally:
        connection.execute("ROLLBACK")
    if not ours:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            check(connection, path)
            if not _has_tables(connection, path):  # another process may have been faster
                add_tables(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    turn_to_wal(connection)


def _has_tables(connection: sqlite3.Connection, path: str) -> bool:
    """Whether our tables are there. Raises if they are not as they should be."""
    [tables] = connection.execute(schema.COUNT_TABLES).fetchone()
    if not tables:
        return False
    [views] = connection.execute(schema.COUNT_VIEWS).fetchone()
    row = connection.execute(schema.SELECT_VERSION).fetchone() if views else None
    if row is None or type(row[0]) is not int or row[0] < 1:
        raise ForeignFile(
            f"{path} has tables named everlog_... that are not those of read models; it was not "
            "touched: choose another path"
        )
    [version] = row
    if version > schema.VERSION:
        raise NewerFormat(
            f"the tables everlog_... in {path} have format {version}, this everlog knows up to "
            f"{schema.VERSION}; it was not touched: upgrade everlog"
        )
    return True
