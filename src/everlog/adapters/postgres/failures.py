"""What the errors of PostgreSQL and of its driver mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from everlog.core.record import StoredRecord, as_record
from everlog.core.sequencer import Head
from everlog.errors import (
    CannotOpen,
    CorruptLedger,
    LedgerBusy,
    StorageError,
    StorageFailed,
    StorageFull,
    Unreachable,
)

TRY_AGAIN = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "25006",  # read_only_sql_transaction: the server is a standby, or about to become one
        "53300",  # too_many_connections
        "55006",  # object_in_use
        "57P01",  # admin_shutdown: also what pg_terminate_backend says
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now: starting up, or recovering
        "57P05",  # idle_session_timeout
        "25P03",  # idle_in_transaction_session_timeout
        "XX000",  # internal_error; of a proxy: the server behind it is away
        "08P01",  # protocol_violation; of a proxy: the server behind it went away
    }
)
"""What may be gone a moment later. Nothing was written then, unless a commit was under way."""

LOCK_NOT_AVAILABLE = "55P03"

NO_ROOM_TO_NOTIFY = "54000"
"""program_limit_exceeded: of our commits, what a NOTIFY fails with where its queue is full."""


def is_passing(error: psycopg.Error) -> bool:
    """Whether trying again may help: a conflict of transactions, or a lost connection."""
    if error.sqlstate is None:  # of the driver: the connection is gone, or never was
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    return error.sqlstate in TRY_AGAIN or error.sqlstate.startswith("08")


def as_storage_error(error: psycopg.Error, place: str) -> StorageError:
    """Returns the typed error that says what a failed statement means and what to do.

    From then on `error` says its first line only: it can be the cause and quotes no values.
    """
    said = curtailed(error)
    state = error.sqlstate or ""
    if state == LOCK_NOT_AVAILABLE:
        return LedgerBusy(
            f"{place} is being written to by another process for too long ({said}); nothing was "
            "written: try again, or raise timeout_s"
        )
    if state == "53100":
        return StorageFull(f"there is no room left for {place}; nothing was written: make room")
    if state == "42501":
        return StorageFailed(
            f"{place}: {said}; nothing was written: let the owner of the schema {GRANT}"
        )
    if state == "25006":
        return Unreachable(
            f"{place} is on a server that takes no writes, such as a standby; nothing was written: "
            "connect to the primary (target_session_attrs=read-write finds it)"
        )
    if state == "22012":  # see STORE: under the lock nobody of ours can have moved the head
        return CorruptLedger(
            f"{place}: its head was changed by something else than everlog; nothing was written: "
            "run verify, and see who else writes to its tables"
        )
    if state in ("42P01", "42703", "3F000", "XX001", "XX002"):  # our statements do not change
        return CorruptLedger(f"{place} is damaged ({said}); run verify, restore a backup")
    if is_passing(error):
        return Unreachable(f"{place} cannot be reached ({said}); nothing was written")
    return StorageFailed(f"{place}: the database failed ({state or 'error'}: {said})")


GRANT = (
    "grant this role USAGE on the schema, and SELECT, INSERT, UPDATE and DELETE on its tables (to "
    "read, SELECT is enough); `everlog migrate --print --grant-to ROLE` prints the least"
)


def as_opening_error(error: psycopg.Error, place: str) -> CannotOpen:
    """Returns the typed error that says why a ledger cannot be opened.

    From then on `error` says its first line only: it can be the cause and quotes no values.
    """
    said = curtailed(error)
    return CannotOpen(f"{place} cannot be opened ({said}); {_way_out(error.sqlstate, said)}")


def _way_out(state: str | None, said: str) -> str:
    if state == LOCK_NOT_AVAILABLE:
        return "another process migrates or holds it: try again, or raise timeout_s"
    if state == "42501":
        return f"let a role that may create it run `everlog migrate`, or the schema's owner {GRANT}"
    if state == "25006" or said.endswith("during recovery"):
        return "connect to the primary (target_session_attrs=read-write finds it)"
    # A connection that was never made has no SQLSTATE, only text.
    if said.endswith("does not exist") and 'database "' in said:
        return "create the database first (createdb)"
    if "permission denied for database" in said:
        return "grant this role CONNECT on the database"
    if "password" in said or "authentication" in said or "pg_hba" in said or "role" in said:
        return "check user and password in the URL, or in PGPASSWORD or ~/.pgpass"
    if "too many" in said or "connection slots" in said:
        return "close connections that nobody needs, or raise max_connections"
    return "check that PostgreSQL runs there and takes connections from here"


def curtailed(error: psycopg.Error) -> str:
    """Leaves an error its first line, and returns that.

    What follows it (DETAIL, CONTEXT) may quote what is stored, and would be in every traceback. Of
    data that do not fit (class 22) the first line does so already; their kind has a name.
    """
    is_of_data = (error.sqlstate or "").startswith("22")
    said = type(error).__name__ if is_of_data else first_line(error)
    error.args = (said,)
    # Of a connection that failed it keeps what was to be connected with, a password among it.
    error._pgconn = None  # pyright: ignore[reportPrivateUsage]  # there is no other way to it
    return said


def first_line(error: psycopg.Error) -> str:
    """Returns what an error says first: of a server its message alone, without values."""
    primary = error.diag.message_primary
    text = primary or str(error) or type(error).__name__
    return text.strip().splitlines()[0].strip() if text.strip() else type(error).__name__


def as_head(row: tuple[Any, ...] | Sequence[Any]) -> Head:
    """Returns the head of a row of `ledger_head`."""
    position, chain, clock, created, id = row
    return Head(position, chain, clock, (created, id))


def as_records(rows: Sequence[tuple[Any, ...]]) -> list[StoredRecord]:
    """Returns the records of rows."""
    return list(map(as_record, rows))
