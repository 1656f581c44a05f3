"""The tables, and every statement that touches them, each with its why."""

from __future__ import annotations

APPLICATION_ID = 0x65766C67
"""`evlg`: marks the file as ours, for us and for the `file` command."""

SCHEMA_VERSION = 1
"""`user_version` of the file. A higher one was written by a newer everlog and is refused."""

CREATE = """
-- One row: who the ledger is and how far it has got. Read and advanced inside every commit.
CREATE TABLE ledger (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL,
    node TEXT NOT NULL,
    epoch TEXT NOT NULL,
    position INTEGER NOT NULL,
    chain BLOB NOT NULL,
    clock TEXT NOT NULL,
    newest_created TEXT NOT NULL,
    newest_id TEXT NOT NULL
) STRICT;

-- The log. position is the rowid and always given by us, from ledger.position: never re-used.
-- data and meta are text and hold exactly what was hashed. nonce, data and meta may become NULL
-- together (a tombstone) and nothing else may ever change.
CREATE TABLE records (
    position INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    stream TEXT NOT NULL,
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    register TEXT NOT NULL,
    origin TEXT NOT NULL,
    correlation TEXT NOT NULL,
    causation TEXT,
    created TEXT NOT NULL,
    recorded TEXT NOT NULL,
    flags INTEGER NOT NULL,
    nonce BLOB,
    data TEXT,
    meta TEXT,
    hash BLOB NOT NULL,
    chain BLOB NOT NULL,
    late INTEGER NOT NULL
) STRICT;

-- (stream, rowid): a stream in order of position, which is also its order of versions.
CREATE INDEX records_by_stream ON records (stream);

-- Only what came late, so it costs nothing where nothing does: the second run of a fold.
CREATE INDEX records_late_in_stream ON records (stream, created, id) WHERE late = 1;
CREATE INDEX records_late ON records (created, id) WHERE late = 1;

-- The newest record of each register in each stream: what `outdated` is judged by. A table and not
-- an index over records: a batch touches it once per register and not once per record.
CREATE TABLE registers (
    stream TEXT NOT NULL,
    register TEXT NOT NULL,
    created TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (stream, register)
) STRICT, WITHOUT ROWID;

CREATE TABLE relations (
    relation TEXT NOT NULL,
    stream TEXT NOT NULL,
    PRIMARY KEY (relation, stream)
) STRICT, WITHOUT ROWID;
CREATE INDEX relations_by_stream ON relations (stream);

-- Counts the changes of a relation's membership; never goes back, so a snapshot can tell.
CREATE TABLE relation_revisions (
    relation TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    scope TEXT NOT NULL,
    reducer TEXT NOT NULL,
    reducer_version INTEGER NOT NULL,
    shape TEXT NOT NULL,
    filter TEXT NOT NULL,
    position INTEGER NOT NULL,
    created TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    count INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (scope, reducer, reducer_version, shape, filter)
) STRICT, WITHOUT ROWID;

-- History is never rewritten: the database itself says no, but for the way to a tombstone.
CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records BEGIN
    SELECT RAISE(ABORT, 'everlog: records are never deleted');
END;
CREATE TRIGGER records_are_never_changed BEFORE UPDATE ON records
WHEN NOT (
    NEW.nonce IS NULL AND NEW.data IS NULL AND NEW.meta IS NULL
    AND NEW.position = OLD.position AND NEW.version = OLD.version AND NEW.id = OLD.id
    AND NEW.stream = OLD.stream AND NEW.type = OLD.type AND NEW.schema = OLD.schema
    AND NEW.register = OLD.register AND NEW.origin = OLD.origin
    AND NEW.correlation = OLD.correlation AND NEW.causation IS OLD.causation
    AND NEW.created = OLD.created AND NEW.recorded = OLD.recorded AND NEW.flags = OLD.flags
    AND NEW.hash = OLD.hash AND NEW.chain = OLD.chain AND NEW.late = OLD.late
) BEGIN
    SELECT RAISE(ABORT, 'everlog: records are never changed');
END;
-- INSERT OR REPLACE deletes without asking the triggers above, by position and by id.
CREATE TRIGGER records_are_never_replaced BEFORE INSERT ON records
WHEN NEW.position <= (SELECT position FROM ledger)
    OR EXISTS (SELECT 1 FROM records WHERE id = NEW.id) BEGIN
    SELECT RAISE(ABORT, 'everlog: positions and ids are never used twice');
END;
"""

COLUMNS = (
    "position, version, id, stream, type, schema, register, origin, correlation, causation, "
    "created, recorded, flags, nonce, data, meta, hash, chain"
)
"""In the order of `StoredRecord`'s fields, so that a row is one."""

INSERT_LEDGER = "INSERT INTO ledger VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)"
SELECT_IDENTITY = "SELECT id, node, epoch FROM ledger"
SELECT_HEAD = "SELECT position, chain, clock, newest_created, newest_id FROM ledger"
# All that an append of one event has to know.
SELECT_FOR_ONE = (
    "SELECT position, chain, clock, newest_created, newest_id, "
    "(SELECT version FROM records WHERE stream = ? ORDER BY position DESC LIMIT 1), "
    "EXISTS (SELECT 1 FROM records WHERE id = ?) FROM ledger"
)
SELECT_POSITION = "SELECT position FROM ledger"
# In which history a position stands.
SELECT_PLACE = (
    "SELECT id, epoch, position, (SELECT chain FROM records WHERE records.position = ?) FROM ledger"
)
UPDATE_HEAD = (
    "UPDATE ledger SET position = ?, chain = ?, clock = ?, newest_created = ?, newest_id = ?"
)

INSERT_RECORD = "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
# The same for what is not late.
INSERT_ON_TIME = "INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0)"
SELECT_BY_ID = "SELECT " + COLUMNS + " FROM records WHERE id = ?"  # noqa: S608 - COLUMNS is fixed text
SELECT_BY_IDS = "SELECT " + COLUMNS + " FROM records WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - COLUMNS is fixed text
# Completed in `reading` by the conditions and the order of a selection.
SELECT_BETWEEN = "SELECT " + COLUMNS + " FROM records WHERE position > ? AND position <= ?"  # noqa: S608 - COLUMNS is fixed text
# The plus keeps SQLite from walking through the log by position: the partial indexes of what came
# late are the way, and are empty where nothing did.
SELECT_LATE = (
    SELECT_BETWEEN.replace("position >", "+position >").replace("position <=", "+position <=")
    + " AND late = 1"
)
SELECT_VERSION = "SELECT version FROM records WHERE stream = ? ORDER BY position DESC LIMIT 1"
SELECT_VERSIONS = (
    "SELECT value, (SELECT version FROM records WHERE stream = value "
    "ORDER BY position DESC LIMIT 1) FROM json_each(?)"
)

SELECT_REGISTER = "SELECT created, id FROM registers WHERE stream = ? AND register = ?"
UPSERT_REGISTER = (
    "INSERT INTO registers VALUES (?, ?, ?, ?) ON CONFLICT (stream, register) "
    "DO UPDATE SET created = excluded.created, id = excluded.id"
)

INSERT_RELATION = "INSERT INTO relations VALUES (?, ?) ON CONFLICT DO NOTHING"
DELETE_RELATION = "DELETE FROM relations WHERE relation = ? AND stream = ?"
CLEAR_RELATION = "DELETE FROM relations WHERE relation = ?"
CLEAR_STREAM = "DELETE FROM relations WHERE stream = ?"
SELECT_RELATIONS_OF = (
    "SELECT DISTINCT relation FROM relations "
    "WHERE stream IN (SELECT value FROM json_each(?)) ORDER BY relation"
)
SELECT_STREAMS_OF = (
    "SELECT DISTINCT stream FROM relations "
    "WHERE relation IN (SELECT value FROM json_each(?)) ORDER BY stream"
)
RAISE_REVISION = (
    "INSERT INTO relation_revisions VALUES (?, 1) "
    "ON CONFLICT (relation) DO UPDATE SET revision = revision + 1"
)
SELECT_REVISION = "SELECT revision FROM relation_revisions WHERE relation = ?"

SELECT_SNAPSHOT = (
    "SELECT position, created, id, version, count, revision, state FROM snapshots "
    "WHERE scope = ? AND reducer = ? AND reducer_version = ? AND shape = ? AND filter = ?"
)
# What a fold begins with, in one statement.
SELECT_HEAD_AND_SNAPSHOT = (
    "SELECT ledger.position, s.position, created, s.id, version, count, revision, state "
    "FROM ledger LEFT JOIN snapshots AS s ON "
    "scope = ? AND reducer = ? AND reducer_version = ? AND shape = ? AND filter = ?"
)
SELECT_SNAPSHOTS = (
    "SELECT scope, reducer, reducer_version, shape, filter, position, created, id, version, "
    "count, revision, state FROM snapshots"
)
# An older snapshot never replaces a newer one of the same membership.
UPSERT_SNAPSHOT = (
    "INSERT INTO snapshots VALUES (?,?,?,?,?,?,?,?,?,?,?,?) "
    "ON CONFLICT (scope, reducer, reducer_version, shape, filter) DO UPDATE SET "
    "position = excluded.position, created = excluded.created, id = excluded.id, "
    "version = excluded.version, count = excluded.count, revision = excluded.revision, "
    "state = excluded.state "
    "WHERE (excluded.revision, excluded.position) >= (revision, position)"
)
DELETE_SNAPSHOTS = "DELETE FROM snapshots WHERE scope = ?"
DELETE_SNAPSHOTS_OF = "DELETE FROM snapshots WHERE scope = ? AND reducer = ?"

SETTINGS = {
    "synchronous": "PRAGMA synchronous",
    "journal_mode": "PRAGMA journal_mode",
    "mmap_size": "PRAGMA mmap_size",
    "wal_autocheckpoint": "PRAGMA wal_autocheckpoint",
}
"""Settings of a connection that can be asked for by name."""

# What `check` compares: late marks against the order of folds, registers against the records.
CHECK_LATE = """
SELECT position FROM (
    SELECT position, late, created || id AS place, max(created || id) OVER (
        ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM records)
WHERE late <> coalesce(place < before, 0) LIMIT 100
"""
CHECK_REGISTERS = """
SELECT stream, register FROM (
    SELECT stream, register, max(created || id) AS place FROM records GROUP BY 1, 2
    EXCEPT SELECT stream, register, created || id FROM registers)
UNION
SELECT stream, register FROM (
    SELECT stream, register, created || id AS place FROM registers
    EXCEPT SELECT stream, register, max(created || id) FROM records GROUP BY 1, 2)
LIMIT 100
"""
CHECK_NEWEST = """
SELECT 1 FROM ledger WHERE newest_created || newest_id
    <> coalesce((SELECT max(created || id) FROM records), '')
"""
