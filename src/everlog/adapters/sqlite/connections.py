"""Connections: how a ledger file is opened, recognised, created and closed."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar
from urllib.parse import quote

from everlog.adapters.sqlite import schema
from everlog.adapters.sqlite.failures import as_opening_error
from everlog.core.epoch import epoch_at
from everlog.core.sequencer import EMPTY, Identity
from everlog.errors import CannotOpen, ForeignFile, NewerFormat
from everlog.ports.seams import Seams

T = TypeVar("T")

Durability = Literal["full", "relaxed"]
"""`full`: an append that has returned survives a power cut. `relaxed`: it survives the death of the
process, and a power cut may take the last appends back, newest first."""


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger file and how to treat it."""

    path: str
    durability: Durability
    timeout_s: float
    checkpoints_race: bool
    """This SQLite has the race between checkpoints: only we checkpoint then, under a lock."""


def checkpoints_race(version: tuple[int, int, int]) -> bool:
    """Whether this version of SQLite can corrupt a file when two connections checkpoint.

    From sqlite.org/wal.html, "The WAL-reset bug": 3.7.0 to 3.51.2, fixed in 3.51.3 and in the
    back-ports 3.50.7 and 3.44.6.
    """
    if version >= (3, 51, 3):
        return False
    return not ((3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0))


def open_or_create(place: Place, seams: Seams) -> Identity:
    """Returns who the ledger in the file is; creates it if there is none.

    Raises `CannotOpen`, or its `ForeignFile` and `NewerFormat`; then the file is as it was.
    """
    create_file(place.path)
    _refuse_foreign(place.path)
    return set_up(place, lambda connection: _identify_or_set_up(connection, place, seams))


def bring_up_to_date(place: Place) -> None:
    """Brings a ledger of an older format to today's, all or nothing, however many try at once.

    To be run under the lock of checkpoints, where they race. Raises `CannotOpen`, or its
    `NewerFormat`; then the file is as it was.
    """
    set_up(place, lambda connection: _bring_up_to_date(connection, place))


def _bring_up_to_date(connection: sqlite3.Connection, place: Place) -> None:
    if _format(connection, place.path) == schema.SCHEMA_VERSION:
        return
    connection.execute("PRAGMA synchronous = FULL")
    if place.checkpoints_race:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        for step in range(_format(connection, place.path) + 1, schema.SCHEMA_VERSION + 1):
            for statement in statements(schema.STEPS[step]):
                connection.execute(statement)
            connection.execute(_SET_USER_VERSION[step])
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def set_up(place: Place, work: Callable[[sqlite3.Connection], T]) -> T:
    """Returns what the work returns, done on a connection of its own; `CannotOpen` if it fails.

    It is done again while another process is in the way, for the place's timeout.
    """
    deadline = time.monotonic() + place.timeout_s
    while True:
        try:
            connection = sqlite3.connect(place.path, isolation_level=None, timeout=place.timeout_s)
            try:
                return work(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            name: str = getattr(error, "sqlite_errorname", "") or ""
            if name.startswith("SQLITE_NOTADB"):
                raise ForeignFile(
                    f"{place.path} is not a database; it was not touched: choose another path"
                ) from error
            # Two processes that create the same file meet here: switching to WAL does not wait.
            if not name.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise as_opening_error(error, place.path) from error
            time.sleep(0.005 + 0.02 * random.random())  # noqa: S311 - jitter, not a secret


def connect_writer(place: Place) -> sqlite3.Connection:
    """Returns the connection that writes; to be used by one thread only."""
    connection = _connect(place)
    try:
        connection.execute(_SYNCHRONOUS[place.durability])
    except BaseException:
        connection.close()
        raise
    return connection


def checkpoint(connection: sqlite3.Connection) -> None:
    """Moves what it can of the WAL into the file, waiting for nobody."""
    # When it moved everything, the next commit begins the WAL anew. What it did not is tried by the
    # next one: what was committed stands in the WAL.
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def connect_reader(place: Place) -> sqlite3.Connection:
    """Returns a connection that cannot write."""
    connection = _connect(place)
    try:
        connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(place: Place) -> sqlite3.Connection:
    # check_same_thread: each is used by one thread, and closed by another when that one has ended.
    # rw: never creates the file anew where it is gone.
    connection = sqlite3.connect(
        "file:" + quote(place.path) + "?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=place.timeout_s,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        # Mapped memory: an I/O error in it kills the process.
        connection.execute("PRAGMA mmap_size = 0")
        connection.execute("PRAGMA trusted_schema = OFF")
        # On macOS a plain fsync leaves the data in the disk's cache; elsewhere these do nothing.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        if place.checkpoints_race:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def check_directory(path: str) -> None:
    """Raises `CannotOpen` if the directory that a file is to be in does not exist."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise CannotOpen(f"there is no directory {directory!r}; create it first")


def create_file(path: str) -> None:
    """Creates a file that nobody else can read, unless it exists; raises `CannotOpen`."""
    # Before SQLite does, for its mode: a log is nobody else's business. Never opened when it
    # exists: closing a second descriptor would drop the locks of every connection in this process.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if os.path.isdir(path):
            raise CannotOpen(f"{path} is a directory; name a file in it") from None
    except OSError as error:
        raise CannotOpen(
            f"{path} cannot be created ({error.strerror}); check its directory and permissions"
        ) from error
    if not os.access(path, os.R_OK | os.W_OK):
        raise CannotOpen(f"{path} cannot be read and written; check its permissions")


def _refuse_foreign(path: str) -> None:
    """Raises `ForeignFile` or `NewerFormat` before anything could touch the file."""
    # An ordinary connection would move what a crash left in the WAL into the file when it closes.
    # This one takes no lock and sees no WAL, and SQLite closes it without dropping others' locks.
    if os.path.getsize(path) == 1:  # which SQLite takes for empty
        raise ForeignFile(f"{path} is not a database; it was not touched: choose another path")
    has_wal = _size_of(path + "-wal") > 0  # asked first: it comes last
    uri = "file:" + quote(path) + "?mode=ro&immutable=1"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            ours = _is_ours(connection, path)
        finally:
            connection.close()
    except sqlite3.Error:
        return  # half written by another process, or damaged: the ordinary connection can tell
    if not ours and has_wal:  # a ledger is set up before it turns to WAL
        raise ForeignFile(
            f"{path} is a database of another program; it was not touched: choose another path"
        )


def _size_of(path: str) -> int:
    """Returns a file's size in bytes, 0 if there is none. In one look: others may remove it."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _identify_or_set_up(connection: sqlite3.Connection, place: Place, seams: Seams) -> Identity:
    # In one transaction, or another process's set-up could fall between two looks.
    connection.execute("BEGIN")
    try:
        ours = _is_ours(connection, place.path)
    finally:
        connection.execute("ROLLBACK")
    if ours:
        return _identity(connection)
    # synchronous first, so that a ledger is whole on disk before anything is appended to it.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ours(connection, place.path):  # another process may have been faster
            # Not executescript: it would commit the transaction that is open.
            for statement in statements(schema.CREATE):
                connection.execute(statement)
            random = seams.random_bytes
            identity = Identity(
                ledger=random(16).hex(),
                node=random(8).hex(),
                epoch=epoch_at(seams.now_ms(), random(8)),
            )
            connection.execute(
                schema.INSERT_LEDGER,
                (
                    identity.ledger,
                    identity.node,
                    identity.epoch,
                    EMPTY.position,
                    EMPTY.chain,
                    EMPTY.clock,
                    *EMPTY.newest,
                ),
            )
            connection.execute(_SET_APPLICATION_ID)
            connection.execute(_SET_USER_VERSION[schema.SCHEMA_VERSION])
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA journal_mode = WAL")
    return _identity(connection)


# PRAGMA takes no bound values; all are constants of ours.
_SYNCHRONOUS = {"full": "PRAGMA synchronous = FULL", "relaxed": "PRAGMA synchronous = NORMAL"}
_SET_APPLICATION_ID = "PRAGMA application_id = 1702259815"
_SET_USER_VERSION = {1: "PRAGMA user_version = 1", 2: "PRAGMA user_version = 2"}


def _is_ours(connection: sqlite3.Connection, path: str) -> bool:
    """Whether the file is a ledger; False if it is empty. Raises if it is anything else."""
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    [objects] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application == 0 and version == 0 and objects == 0:
        return False
    if application != schema.APPLICATION_ID:
        raise ForeignFile(
            f"{path} is a database of another program; it was not touched: choose another path"
        )
    _check_format(version, path)
    return True


def _format(connection: sqlite3.Connection, path: str) -> int:
    """Returns the format of a ledger; raises `NewerFormat` or `ForeignFile`."""
    [version] = connection.execute("PRAGMA user_version").fetchone()
    _check_format(version, path)
    return int(version)


def _check_format(version: int, path: str) -> None:
    if version > schema.SCHEMA_VERSION:
        raise NewerFormat(
            f"{path} has format {version}, this everlog knows up to {schema.SCHEMA_VERSION}; "
            "it was not touched: upgrade everlog"
        )
    if version < 1:
        raise ForeignFile(f"{path} has an impossible format {version}; it was not touched")


def _identity(connection: sqlite3.Connection) -> Identity:
    turn_to_wal(connection)
    return Identity(*connection.execute(schema.SELECT_IDENTITY).fetchone())


def turn_to_wal(connection: sqlite3.Connection) -> None:
    """Has the file be one with a WAL from now on; raises `CannotOpen` where that cannot be."""
    [mode] = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise CannotOpen(
                f"the file stays in journal mode {mode!r}: WAL needs a local disk, not a network's"
            )


def statements(script: str) -> list[str]:
    """Returns the statements of a script, one by one."""
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending.strip())
            pending = ""
    return found
