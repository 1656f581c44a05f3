"""The tables, and every statement that touches them, each with its why."""

from __future__ import annotations

from everlog.adapters.sqlite.many_rows import Insert

APPLICATION_ID = 0x65766C67
"""`evlg`: marks the file as ours, for us and for the `file` command."""

SCHEMA_VERSION = 2
"""`user_version` of the file: its format. A higher one was written by a newer everlog and is
refused, a lower one is brought up to date by `STEPS` when it is opened."""

_FORMAT_1 = """
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

_FORMAT_2 = """
-- How far the ledger has got along the history of each of its upstreams: `UpstreamState`.
CREATE TABLE sync_upstreams (
    upstream TEXT PRIMARY KEY,
    epoch TEXT NOT NULL,
    past TEXT NOT NULL,
    marks TEXT NOT NULL,
    settled INTEGER NOT NULL,
    strict TEXT NOT NULL,
    scope TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Its copy of that history: which of its own records stands where there. position is NULL for what
-- stood there before the upstream's history was another.
CREATE TABLE sync_entries (
    upstream TEXT NOT NULL,
    id TEXT NOT NULL,
    position INTEGER,
    version INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    receipt BLOB,
    -- 1: the upstream does not give it; 2: so its content went. 0 for all that it gives.
    outside INTEGER NOT NULL,
    PRIMARY KEY (upstream, id)
) STRICT, WITHOUT ROWID;
-- What a rewind takes out.
CREATE INDEX sync_entries_by_position ON sync_entries (upstream, position)
    WHERE position IS NOT NULL;

-- What is to go, and what is gone.
CREATE INDEX sync_entries_outside ON sync_entries (upstream, position) WHERE outside = 1;
CREATE INDEX sync_entries_gone ON sync_entries (upstream) WHERE outside = 2;

-- What is set aside: `Held`. record is set where the upstream's record cannot be stored here.
CREATE TABLE sync_held (
    upstream TEXT NOT NULL,
    id TEXT NOT NULL,
    stream TEXT NOT NULL,
    verdict TEXT NOT NULL,
    reason TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    record TEXT,
    PRIMARY KEY (upstream, id)
) STRICT, WITHOUT ROWID;

-- Records that no fold has. A table and not a flag, which never changes: what an upstream has as an
-- orphan may have been stored before it was one. replacement is the id of the record that has taken
-- its place; NULL for an orphan.
CREATE TABLE unfolded (
    position INTEGER PRIMARY KEY,
    replacement TEXT
) STRICT;

-- How often it has changed which those are, or which have their content.
ALTER TABLE ledger ADD COLUMN unfoldings INTEGER NOT NULL DEFAULT 0;

-- The way to a tombstone, and back: the content may come again where it was, if it is the same.
-- That the hash says, which no trigger can compute.
DROP TRIGGER records_are_never_changed;
CREATE TRIGGER records_are_never_changed BEFORE UPDATE ON records
WHEN NOT (
    ((NEW.nonce IS NULL AND NEW.data IS NULL AND NEW.meta IS NULL)
        OR (OLD.nonce IS NULL AND OLD.data IS NULL AND OLD.meta IS NULL
            AND NEW.nonce IS NOT NULL AND NEW.data IS NOT NULL AND NEW.meta IS NOT NULL))
    AND NEW.position = OLD.position AND NEW.version = OLD.version AND NEW.id = OLD.id
    AND NEW.stream = OLD.stream AND NEW.type = OLD.type AND NEW.schema = OLD.schema
    AND NEW.register = OLD.register AND NEW.origin = OLD.origin
    AND NEW.correlation = OLD.correlation AND NEW.causation IS OLD.causation
    AND NEW.created = OLD.created AND NEW.recorded = OLD.recorded AND NEW.flags = OLD.flags
    AND NEW.hash = OLD.hash AND NEW.chain = OLD.chain AND NEW.late = OLD.late
) BEGIN
    SELECT RAISE(ABORT, 'everlog: records are never changed');
END;
"""

STEPS = {2: _FORMAT_2}
"""What brings a file to a format, from the one before."""

CREATE = _FORMAT_1 + _FORMAT_2
"""All tables of today's format."""

COLUMNS = (
    "position, version, id, stream, type, schema, register, origin, correlation, causation, "
    "created, recorded, flags, nonce, data, meta, hash, chain"
)
"""In the order of `StoredRecord`'s fields, so that a row is one."""
_WITH_TOMBSTONES = COLUMNS.replace(
    "nonce, data, meta", "coalesce(nonce, x''), coalesce(data, ''), coalesce(meta, '')"
)
"""The same, also of records whose content went."""
_OF_R = ", ".join(f"r.{column}" for column in COLUMNS.split(", ")).replace(
    "r.nonce, r.data, r.meta",
    "coalesce(r.nonce, x''), coalesce(r.data, ''), coalesce(r.meta, '')",
)
"""The same, where the records are `r`."""

INSERT_LEDGER = "INSERT INTO ledger VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
SELECT_IDENTITY = "SELECT id, node, epoch FROM ledger"
UPDATE_EPOCH = "UPDATE ledger SET epoch = ?"
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

INSERT_RECORD = Insert("INSERT INTO records", "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
# The same for what is not late.
INSERT_ON_TIME = Insert("INSERT INTO records", "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0)")
SELECT_BY_ID = "SELECT " + _WITH_TOMBSTONES + " FROM records WHERE id = ?"  # noqa: S608 - fixed text
SELECT_BY_IDS = (
    "SELECT " + _WITH_TOMBSTONES + " FROM records WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - fixed text
)
# The other records of events, by how the ids of each begin and end.
SELECT_ALIASES = (
    "SELECT " + _OF_R + " FROM json_each(?1) AS j CROSS JOIN records AS r "  # noqa: S608 - fixed text
    "WHERE r.id > j.value || ?2 AND r.id < j.value || ?3"
)
# Completed in `reading` by the conditions and the order of a selection.
SELECT_BETWEEN = (
    "SELECT " + COLUMNS + " FROM records "  # noqa: S608 - COLUMNS is fixed text
    "WHERE position > ? AND position <= ? AND data IS NOT NULL"
)
SELECT_ALL_BETWEEN = (
    "SELECT " + _WITH_TOMBSTONES + " FROM records WHERE position > ? AND position <= ?"  # noqa: S608 - fixed text
)
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
UPSERT_REGISTER = Insert(
    "INSERT INTO registers",
    "(?, ?, ?, ?)",
    "ON CONFLICT (stream, register) DO UPDATE SET created = excluded.created, id = excluded.id",
)

INSERT_RELATION = "INSERT INTO relations VALUES (?, ?) ON CONFLICT DO NOTHING"
DELETE_RELATION = "DELETE FROM relations WHERE relation = ? AND stream = ?"
CLEAR_RELATION = "DELETE FROM relations WHERE relation = ?"
CLEAR_STREAM = "DELETE FROM relations WHERE stream = ?"
SELECT_RELATIONS_OF = (
    "SELECT DISTINCT relation FROM relations "
    "WHERE stream IN (SELECT value FROM json_each(?)) ORDER BY relation"
)
# From one name to the next by the index: as many looks as streams are asked for, and none at the
# records between. substr and not LIKE: `%` is a character like any other.
SELECT_STREAMS = """
WITH RECURSIVE names (stream) AS (
    SELECT min(stream) FROM records WHERE stream > :after AND stream >= :prefix
    UNION ALL
    SELECT (SELECT min(stream) FROM records WHERE stream > names.stream) FROM names
    WHERE substr(names.stream, 1, length(:prefix)) = :prefix
    LIMIT :limit
)
SELECT r.stream, r.version, r.position, r.type, r.recorded
FROM names JOIN records AS r
    ON r.position = (SELECT max(position) FROM records WHERE records.stream = names.stream)
WHERE substr(names.stream, 1, length(:prefix)) = :prefix
ORDER BY r.stream
"""
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
    "SELECT ledger.position, unfoldings, s.position, created, s.id, version, count, revision, "
    "state FROM ledger LEFT JOIN snapshots AS s ON "
    "scope = ? AND reducer = ? AND reducer_version = ? AND shape = ? AND filter = ?"
)
SELECT_SNAPSHOTS = (
    "SELECT scope, reducer, reducer_version, shape, filter, position, created, id, version, "
    "count, revision, state FROM snapshots"
)
# An older snapshot never replaces a newer one of the same membership.
UPSERT_SNAPSHOT = (
    "INSERT INTO snapshots SELECT ?,?,?,?,?,?,?,?,?,?,?,? FROM ledger "
    "WHERE coalesce(?, unfoldings) = unfoldings "
    "ON CONFLICT (scope, reducer, reducer_version, shape, filter) DO UPDATE SET "
    "position = excluded.position, created = excluded.created, id = excluded.id, "
    "version = excluded.version, count = excluded.count, revision = excluded.revision, "
    "state = excluded.state "
    "WHERE (excluded.revision, excluded.position) >= (revision, position)"
)
DELETE_SNAPSHOTS = "DELETE FROM snapshots WHERE scope = ?"
DELETE_SNAPSHOTS_OF = "DELETE FROM snapshots WHERE scope = ? AND reducer = ?"

# --- upstreams ---

_STATE = "upstream, epoch, past, marks, settled, strict, scope"
SELECT_UPSTREAM = "SELECT " + _STATE + " FROM sync_upstreams WHERE upstream = ?"  # noqa: S608 - fixed text
SELECT_UPSTREAMS = "SELECT " + _STATE + " FROM sync_upstreams ORDER BY upstream"  # noqa: S608 - fixed text
UPSERT_UPSTREAM = (
    "INSERT INTO sync_upstreams VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (upstream) DO UPDATE SET "
    "epoch = excluded.epoch, past = excluded.past, marks = excluded.marks, "
    "settled = excluded.settled, strict = excluded.strict, scope = excluded.scope"
)
UPSERT_ENTRY = Insert(
    "INSERT INTO sync_entries",
    "(?1, ?, ?, ?, ?, ?, ?)",
    "ON CONFLICT (upstream, id) DO UPDATE SET position = excluded.position, "
    "version = excluded.version, "
    "flags = excluded.flags, receipt = coalesce(excluded.receipt, receipt), "
    "outside = excluded.outside * max(outside, 1)",
)
FORGET_PLACES = "UPDATE sync_entries SET position = NULL WHERE upstream = ? AND position > ?"
# Once something is held it stays as it is.
INSERT_HELD = "INSERT INTO sync_held VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
DELETE_HELD = "DELETE FROM sync_held WHERE upstream = ?"
DELETE_HELD_OF = (
    "DELETE FROM sync_held WHERE upstream = ? AND id IN (SELECT value FROM json_each(?))"
)
SELECT_HELD = (
    "SELECT id, stream, verdict, reason, since_ms, record FROM sync_held "
    "WHERE upstream = ? ORDER BY since_ms, id"
)
# Along the log by position, with a look for each record by the whole key of the copy: what is
# unconfirmed, what the upstream once gave with it, and whether it is set aside, or behind what is.
SELECT_UNCONFIRMED = (
    "SELECT r." + COLUMNS.replace(", ", ", r.") + ", "  # noqa: S608 - fixed text
    "e.version, e.receipt, "
    "r.id IN (SELECT id FROM sync_held WHERE upstream = ?1) "
    "OR r.stream IN (SELECT stream FROM sync_held WHERE upstream = ?1 AND record IS NULL) "
    "FROM records AS r LEFT JOIN sync_entries AS e ON e.upstream = ?1 AND e.id = r.id "
    "WHERE r.position > ?2 AND e.position IS NULL AND r.data IS NOT NULL AND r.position NOT IN "
    "(SELECT position FROM unfolded WHERE replacement IS NOT NULL) ORDER BY r.position"
)
SELECT_ORPHANS = (
    "SELECT " + COLUMNS + " FROM records "  # noqa: S608 - fixed text
    "WHERE position IN (SELECT position FROM unfolded WHERE position > ? AND replacement IS NULL "
    "AND position IN (SELECT position FROM records WHERE data IS NOT NULL) "
    "ORDER BY position LIMIT ?) ORDER BY position"
)
# Which of some records are orphans, by their ids.
SELECT_ORPHANED = (
    "SELECT r.id, r.position, u.position IS NOT NULL FROM json_each(?) AS j "
    "CROSS JOIN records AS r ON r.id = j.value "
    "LEFT JOIN unfolded AS u ON u.position = r.position WHERE u.replacement IS NULL"
)
INSERT_UNFOLDED = "INSERT INTO unfolded VALUES (?, ?)"
SELECT_UNFOLDINGS = "SELECT unfoldings FROM ledger"
RAISE_UNFOLDINGS = "UPDATE ledger SET unfoldings = unfoldings + 1"
REPLACE = (
    "INSERT INTO unfolded VALUES (?, ?) ON CONFLICT (position) DO UPDATE "
    "SET replacement = excluded.replacement WHERE replacement IS NOT excluded.replacement"
)
DELETE_UNFOLDED = "DELETE FROM unfolded WHERE position = ?"
# Of some records: which are in what is known of an upstream, and which no fold has.
SELECT_COPIED = (
    "SELECT e.id FROM json_each(?) AS j CROSS JOIN sync_upstreams AS s "
    "CROSS JOIN sync_entries AS e ON e.upstream = s.upstream AND e.id = j.value"
)
SELECT_UNFOLDED = (
    "SELECT r.id FROM json_each(?) AS j CROSS JOIN records AS r ON r.id = j.value "
    "CROSS JOIN unfolded AS u ON u.position = r.position"
)
_REPLACED = "(SELECT position FROM unfolded WHERE replacement IS NOT NULL)"
# The latest stamp of all records but some, and those that were replaced before.
SELECT_CLOCK_WITHOUT = (
    "SELECT max(created) FROM records WHERE id NOT IN (SELECT value FROM json_each(?)) "  # noqa: S608 - fixed text
    "AND position NOT IN " + _REPLACED
)
# The registers that some records write, and the newest of one, of those that folds have.
SELECT_KEYS = (
    "SELECT DISTINCT stream, register FROM records "
    "WHERE position IN (SELECT value FROM json_each(?))"
)
SELECT_NEWEST = (
    "SELECT created, id FROM records WHERE stream = ? AND register = ? "
    "AND position NOT IN (SELECT position FROM unfolded) ORDER BY created DESC, id DESC LIMIT 1"
)
DELETE_REGISTER = "DELETE FROM registers WHERE stream = ? AND register = ?"
DELETE_SNAPSHOTS_FROM = "DELETE FROM snapshots WHERE position >= ?"
# Of folds.
FOLDED = " AND position NOT IN (SELECT position FROM unfolded)"
# From the end of the stream, where what is asked for stands, as a rule.
SELECT_VERSION_THERE = (
    "WITH there AS (SELECT r.position, r.version AS here, e.position AS stands, e.version "
    "FROM records AS r CROSS JOIN sync_entries AS e ON e.upstream = ?1 AND e.id = r.id "
    "WHERE r.stream = ?2 AND r.position NOT IN (SELECT position FROM unfolded)), "
    "last AS (SELECT position, here, version FROM there WHERE stands IS NOT NULL "
    "ORDER BY position DESC LIMIT 1) "
    "SELECT CASE WHEN here <> ?3 OR version = 0 THEN NULL "
    # So many are there, and here: it is all of them.
    "WHEN version = here THEN version "
    "WHEN EXISTS (SELECT 1 FROM there WHERE there.position < last.position AND stands IS NULL) "
    "THEN NULL ELSE (SELECT max(version) FROM there WHERE stands IS NOT NULL) END FROM last"
)
SELECT_CHAINS = (
    "SELECT position, chain FROM records WHERE position IN (SELECT value FROM json_each(?))"
)

# --- tombstones ---

# Of what an upstream does not give: where its content is here. Along the index of those, which a
# plan would not take by itself: it is made for few of them.
SELECT_OUTSIDE = (
    "SELECT e.id, e.position, (WITH RECURSIVE same (id) AS (SELECT e.id UNION SELECT o.id "
    "FROM same JOIN unfolded AS u ON u.replacement = same.id "
    "JOIN records AS o ON o.position = u.position) "
    "SELECT json_group_array(r.position) FROM same JOIN records AS r ON r.id = same.id "
    "WHERE r.data IS NOT NULL) AS here, "
    "(SELECT o.position FROM records AS o WHERE o.id = e.id) "
    "FROM sync_entries AS e INDEXED BY sync_entries_outside "
    "WHERE e.upstream = ? AND e.outside = 1 AND e.position > ? "
    "AND e.position <= ? AND here <> '[]' ORDER BY e.position LIMIT ?"
)
# Asked first, along an index: the log itself, or a stream, is walked through for it.
SELECT_PURGED = "SELECT 1 FROM sync_entries WHERE outside = 2 LIMIT 1"
SELECT_FIRST_TOMBSTONE = "SELECT min(position) FROM records WHERE data IS NULL"
SELECT_FIRST_TOMBSTONE_OF = "SELECT min(position) FROM records WHERE stream = ? AND data IS NULL"
SELECT_UPSTREAM_NAMES = "SELECT upstream FROM sync_upstreams"
# Those of some that may go.
SELECT_TO_PURGE = (
    "SELECT e.id FROM json_each(?) AS j CROSS JOIN sync_entries AS e "
    "ON e.upstream = ? AND e.id = j.value WHERE e.outside = 1 AND e.position <= ?"
)
# With all those of the same events that they have replaced.
_SAME = (
    "WITH RECURSIVE same (id) AS (SELECT value FROM json_each(?1) UNION SELECT o.id FROM same "
    "JOIN unfolded AS u ON u.replacement = same.id JOIN records AS o ON o.position = u.position) "
)
# Those, too, are let go on the word of this upstream, which need not have had them.
MARK_PURGED = (
    "INSERT INTO sync_entries "  # noqa: S608 - fixed text
    + _SAME
    + "SELECT ?2, r.id, NULL, 0, 0, NULL, 2 FROM same JOIN records AS r ON r.id = same.id "
    "WHERE true ON CONFLICT (upstream, id) DO UPDATE SET outside = 2"
)
PURGE = (
    _SAME + "UPDATE records SET nonce = NULL, data = NULL, meta = NULL WHERE data IS NOT NULL "  # noqa: S608 - fixed text
    "AND id IN (SELECT id FROM same) RETURNING position, stream"
)
REFILL = "UPDATE records SET nonce = ?, data = ?, meta = ? WHERE position = ? AND data IS NULL"
SECURE_DELETE = "PRAGMA secure_delete"
SECURE_DELETE_TO = {
    0: "PRAGMA secure_delete = OFF",
    1: "PRAGMA secure_delete = ON",
    2: "PRAGMA secure_delete = FAST",
}
DELETE_SNAPSHOTS_WITH = (
    "DELETE FROM snapshots WHERE position >= ? AND (substr(scope, 1, 9) = 'relation:' "
    "OR scope IN (SELECT 'stream:' || value FROM json_each(?)))"
)

SETTINGS = {
    "synchronous": "PRAGMA synchronous",
    "journal_mode": "PRAGMA journal_mode",
    "mmap_size": "PRAGMA mmap_size",
    "wal_autocheckpoint": "PRAGMA wal_autocheckpoint",
}
"""Settings of a connection that can be asked for by name."""

# What `check` compares: late marks against the order of folds, registers against the records. What
# was appended here was the newest when it was, and late is what stands before the newest since the
# last of that. All stands behind what is on time before it, but for what was replaced.
CHECK_LATE = """
SELECT position FROM (
    SELECT position, late, born, place,
        max(place) OVER (PARTITION BY span ORDER BY position
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest,
        max(counted) OVER (ORDER BY position
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest
    FROM (
        SELECT position, late, created || id AS place, flags & 17 = 0 AS born,
            sum(flags & 17 = 0) OVER (ORDER BY position) AS span,
            CASE WHEN position NOT IN (SELECT position FROM unfolded WHERE replacement IS NOT NULL)
            THEN created || id END AS counted
        FROM records))
WHERE late <> (NOT born AND coalesce(place < newest, 0)) OR (NOT late AND place < latest) LIMIT 100
"""
CHECK_REGISTERS = """
WITH newest AS MATERIALIZED (
    SELECT stream, register, max(created || id) AS place FROM records
    WHERE position NOT IN (SELECT position FROM unfolded) GROUP BY 1, 2)
SELECT stream, register FROM (
    SELECT stream, register, place FROM newest
    EXCEPT SELECT stream, register, created || id FROM registers)
UNION
SELECT stream, register FROM (
    SELECT stream, register, created || id AS place FROM registers
    EXCEPT SELECT stream, register, place FROM newest)
LIMIT 100
"""
CHECK_NEWEST = """
SELECT 1 FROM ledger WHERE newest_created || newest_id <> coalesce((
    SELECT max(created || id) FROM records WHERE position >= coalesce((
        SELECT max(position) FROM records WHERE flags & 17 = 0), 0)), '')
"""
CHECK_UNFOLDED = """
SELECT position FROM unfolded WHERE position NOT IN (SELECT position FROM records)
    OR (replacement IS NOT NULL AND replacement NOT IN (SELECT id FROM records))
LIMIT 100
"""
# What has no content, and was not let go.
CHECK_TOMBSTONES = """
SELECT position FROM records AS r WHERE (nonce IS NULL OR data IS NULL OR meta IS NULL) AND (
    (nonce IS NULL) + (data IS NULL) + (meta IS NULL) <> 3
    OR NOT EXISTS (SELECT 1 FROM sync_upstreams AS s JOIN sync_entries AS e
        ON e.upstream = s.upstream AND e.id = r.id WHERE e.outside = 2))
LIMIT 100
"""
