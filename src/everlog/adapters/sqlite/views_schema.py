"""The tables of the file of read models that are ours, and every statement that touches them.

All are named `everlog_...`, as the user's own tables are beside them; neither `application_id` nor
`user_version` is used, as both are the user's. Times are seconds since 1970 by SQLite's own clock:
all processes on a file are on one machine.
"""

from __future__ import annotations

VERSION = 1
"""Of these tables. A higher one was made by a newer everlog and is refused."""

_NOW = "((julianday('now') - 2440587.5) * 86400.0)"  # the same all through one statement

CREATE = """
-- One row. fence: the last one that was given to anybody. Of the file and not of a slice, so that a
-- subscription that was removed and registered again never gives one twice.
CREATE TABLE everlog_views (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL,
    fence INTEGER NOT NULL
) STRICT;

-- A row per slice. worker is NULL where nobody holds it; lease: until when.
CREATE TABLE everlog_checkpoints (
    name TEXT NOT NULL,
    slice INTEGER NOT NULL,
    slices INTEGER NOT NULL,
    position INTEGER NOT NULL,
    token TEXT,
    version INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    worker TEXT,
    lease REAL,
    clean INTEGER NOT NULL,
    moved REAL NOT NULL,
    error TEXT NOT NULL,
    tried INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    PRIMARY KEY (name, slice)
) STRICT, WITHOUT ROWID;

-- Who has tried to hold something, and until when that counts.
CREATE TABLE everlog_workers (
    name TEXT NOT NULL,
    worker TEXT NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (name, worker)
) STRICT, WITHOUT ROWID;

CREATE TABLE everlog_parked (
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    slice INTEGER NOT NULL,
    stream TEXT NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    tries INTEGER NOT NULL,
    due REAL,
    error TEXT NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (name, position)
) STRICT, WITHOUT ROWID;

-- What holds something up, first things first; traces are left out, and may become many.
CREATE INDEX everlog_held_up ON everlog_parked (name, slice, stream, position)
WHERE status IN ('retrying', 'parked', 'behind');
CREATE INDEX everlog_parked_in_stream ON everlog_parked (stream, name, position);

-- Behind which position the effects of a handler begin.
CREATE TABLE everlog_handlers (
    name TEXT NOT NULL,
    handler TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (name, handler)
) STRICT, WITHOUT ROWID;

-- due: when something is to be done for it by itself. Finished ones stay.
CREATE TABLE everlog_effects (
    name TEXT NOT NULL,
    handler TEXT NOT NULL,
    slice INTEGER NOT NULL,
    position INTEGER NOT NULL,
    stream TEXT NOT NULL,
    id TEXT NOT NULL,
    status TEXT NOT NULL,
    tries INTEGER NOT NULL,
    due REAL,
    result TEXT,
    happened INTEGER NOT NULL,
    error TEXT NOT NULL,
    intent REAL,
    since REAL NOT NULL,
    UNIQUE (name, position, handler)
) STRICT;

-- First things first: a lane is a handler and a stream.
CREATE INDEX everlog_lanes ON everlog_effects (name, handler, stream, position)
WHERE status IN ('pending', 'intent', 'succeeded', 'retrying', 'ambiguous', 'parked');
"""

INSERT_VIEWS = "INSERT INTO everlog_views (only, version, fence) VALUES (1, ?, 0)"

# Ours are known by their names, whatever else is in the file. GLOB: in LIKE, _ stands for anything.
COUNT_TABLES = "SELECT count(*) FROM sqlite_schema WHERE lower(name) GLOB 'everlog_*'"
COUNT_VIEWS = "SELECT count(*) FROM sqlite_schema WHERE name = 'everlog_views' AND type = 'table'"
SELECT_VERSION = "SELECT version FROM everlog_views"

# --- leases ---

SELECT_SLICES = "SELECT slices, version FROM everlog_checkpoints WHERE name = ? LIMIT 1"

INSERT_CHECKPOINT = f"""
INSERT INTO everlog_checkpoints (
    name, slice, slices, position, token, version,
    fence, worker, lease, clean, moved, error, tried, tries
) VALUES (?, ?, ?, ?, ?, ?, 0, NULL, NULL, 1, {_NOW}, '', 0, 0)
"""

UPSERT_WORKER = f"""
INSERT INTO everlog_workers (name, worker, until) VALUES (:name, :worker, {_NOW} + :ttl_s)
ON CONFLICT DO UPDATE SET until = excluded.until
"""

# So that workers who are gone, each with a name of its own, do not become many.
DELETE_WORKERS_GONE = f"DELETE FROM everlog_workers WHERE name = ? AND until <= {_NOW}"

NEXT_FENCE = "UPDATE everlog_views SET fence = fence + 1 RETURNING fence"

# What is on the right of = is as it was before: who held it last, if nobody let go of it.
CLAIM = f"""
UPDATE everlog_checkpoints
SET clean = worker IS NULL, worker = :worker, fence = :fence, lease = {_NOW} + :ttl_s
WHERE name = :name AND slice IN (
    SELECT slice FROM everlog_checkpoints
    WHERE name = :name AND (worker IS NULL OR lease <= {_NOW})
    ORDER BY slice LIMIT :most
)
RETURNING slice, fence, position, token, clean
"""

# Held under another fingerprint: what stands behind # in a worker's name.
_OTHERS = """
name = :name AND instr(worker, '#') AND instr(:worker, '#')
AND substr(worker, instr(worker, '#')) != substr(:worker, instr(:worker, '#'))
"""
COUNT_OTHERS = f"SELECT count(*) FROM everlog_checkpoints WHERE {_OTHERS} AND lease > {_NOW}"
# Their leases have run out, and still they could commit, or be prolonged, where nobody claims.
FENCE_OTHERS = f"UPDATE everlog_checkpoints SET fence = :fence, lease = 0.0 WHERE {_OTHERS}"

SEIZE = f"""
UPDATE everlog_checkpoints
SET clean = worker IS NULL, worker = :worker, fence = :fence, lease = {_NOW} + :ttl_s
WHERE name = :name
RETURNING slice, fence, position, token, clean
"""

# As before the claim: what a dead worker held stays that, and is free.
UNCLAIM = """
UPDATE everlog_checkpoints SET lease = 0.0, worker = CASE WHEN clean THEN NULL ELSE worker END
WHERE name = ? AND slice = ? AND fence = ?
"""

RENEW = f"""
UPDATE everlog_checkpoints SET lease = {_NOW} + ?
WHERE name = ? AND worker = ? AND slice = ? AND fence = ?
"""

SELECT_HOLDER = """
SELECT worker FROM everlog_checkpoints
WHERE name = ? AND slice = ? AND fence = ? AND worker IS NOT NULL
"""

RELEASE = """
UPDATE everlog_checkpoints
SET worker = NULL, lease = NULL, tried = 0, tries = 0, error = ?
WHERE name = ? AND slice = ?
"""

# Who holds nothing any more has gone, or it tries again.
DELETE_WORKER = """
DELETE FROM everlog_workers WHERE name = :name AND worker = :worker AND NOT EXISTS (
    SELECT 1 FROM everlog_checkpoints WHERE name = :name AND worker = :worker
)
"""

SELECT_WORKERS = f"""
SELECT worker, max(holds) FROM (
    SELECT worker, 1 AS holds FROM everlog_checkpoints WHERE name = :name AND lease > {_NOW}
    UNION
    SELECT worker, 0 FROM everlog_workers WHERE name = :name AND until > {_NOW}
) GROUP BY worker ORDER BY worker
"""

COUNT_LEASES = f"SELECT count(*) FROM everlog_checkpoints WHERE name = ? AND lease > {_NOW}"

DELETE_CHECKPOINTS = "DELETE FROM everlog_checkpoints WHERE name = ?"
DELETE_WORKERS = "DELETE FROM everlog_workers WHERE name = ?"
DELETE_PARKED = "DELETE FROM everlog_parked WHERE name = ?"
DELETE_EFFECTS = "DELETE FROM everlog_effects WHERE name = ?"
DELETE_HANDLERS = "DELETE FROM everlog_handlers WHERE name = ?"

# --- steps ---

MOVE = f"""
UPDATE everlog_checkpoints SET position = :after, token = :token, moved = {_NOW}, error = ''
WHERE name = :name AND slice = :slice AND fence = :fence AND worker IS NOT NULL
AND position = :before
"""

# Nothing is written: the transaction is the only one that can write, to its end.
STAND = """
SELECT 1 FROM everlog_checkpoints
WHERE name = :name AND slice = :slice AND fence = :fence AND worker IS NOT NULL
"""

SELECT_HELD = "SELECT fence, worker, position FROM everlog_checkpoints WHERE name = ? AND slice = ?"

ATTEMPT = """
UPDATE everlog_checkpoints
SET tries = CASE WHEN tried = :position THEN tries + 1 ELSE 1 END, tried = :position
WHERE name = :name AND slice = :slice AND fence = :fence AND worker IS NOT NULL
RETURNING tries
"""

# --- one in the place of another ---

SELECT_FENCES = """
SELECT slice, CASE WHEN worker IS NULL THEN -1 ELSE fence END FROM everlog_checkpoints
WHERE name = ?
"""

RENAME_CHECKPOINTS = """
UPDATE everlog_checkpoints
SET name = :after, fence = :fence, worker = NULL, lease = NULL, clean = 1, tried = 0, tries = 0,
    error = ''
WHERE name = :before
"""
RENAME_PARKED = "UPDATE everlog_parked SET name = :after WHERE name = :before"

# --- what was set aside ---

# What was given up stays so: it may have been while it was tried.
UPSERT_PARKED = f"""
INSERT INTO everlog_parked
    (name, position, slice, stream, id, status, tries, due, error, since)
VALUES
    (:name, :position, :slice, :stream, :id, :status, :tries, {_NOW} + :due_s, :error, {_NOW})
ON CONFLICT DO UPDATE SET
    slice = excluded.slice, stream = excluded.stream, id = excluded.id, status = excluded.status,
    tries = excluded.tries, due = excluded.due, error = excluded.error
WHERE everlog_parked.status <> 'dropped'
"""

UNPARK = "DELETE FROM everlog_parked WHERE name = ? AND position = ?"

# With min(), SQLite takes the other columns from the row that has it.
SELECT_DUE = f"""
SELECT slice, stream, min(position), tries,
    CASE status WHEN 'parked' THEN NULL WHEN 'behind' THEN 0.0 ELSE coalesce(due - {_NOW}, 0.0) END
FROM everlog_parked
WHERE name = ? AND slice IN (SELECT value FROM json_each(?))
AND status IN ('retrying', 'parked', 'behind')
GROUP BY slice, stream ORDER BY 3
"""

_PARKED = f"""
SELECT name, slice, position, stream, id, status, tries, due - {_NOW}, error, {_NOW} - since
FROM everlog_parked
"""
_ASKED_FOR = "(NOT :held_up OR status IN ('retrying', 'parked', 'behind'))"
_IN_ORDER = f" AND {_ASKED_FOR} ORDER BY name, position LIMIT :limit"

# By whether a name is given, and a stream. One statement for all four could use no index.
SELECT_PARKED = {
    (False, False): _PARKED + "WHERE TRUE" + _IN_ORDER,
    (True, False): _PARKED + "WHERE name = :name" + _IN_ORDER,
    (False, True): _PARKED + "WHERE stream = :stream" + _IN_ORDER,
    (True, True): _PARKED + "WHERE stream = :stream AND name = :name" + _IN_ORDER,
}

RETRY = f"""
UPDATE everlog_parked SET status = 'retrying', due = {_NOW}, tries = 0
WHERE name = :name AND status = 'parked'
AND (:stream IS NULL OR stream = :stream) AND (:position IS NULL OR position = :position)
"""

DROP = """
UPDATE everlog_parked SET status = 'dropped', due = NULL
WHERE name = :name AND status IN ('parked', 'retrying')
AND (:stream IS NULL OR stream = :stream) AND (:position IS NULL OR position = :position)
"""

SELECT_STATUSES = f"""
SELECT c.name, c.slice, c.slices, c.position, c.worker, c.lease - {_NOW}, {_NOW} - c.moved, c.error,
    count(*) FILTER (WHERE p.status = 'parked'),
    count(*) FILTER (WHERE p.status = 'retrying'),
    count(*) FILTER (WHERE p.status = 'behind'), c.version
FROM everlog_checkpoints AS c LEFT JOIN everlog_parked AS p
ON p.name = c.name AND p.slice = c.slice AND p.status IN ('retrying', 'parked', 'behind')
GROUP BY c.name, c.slice ORDER BY c.name, c.slice
"""

# Of some positions: those that a subscription has yet to deal with. Each by the name and position
# of what it looks for, as finished effects may be many.
SELECT_NEEDED = """
SELECT p.value FROM json_each(?) AS p WHERE EXISTS (
    SELECT 1 FROM everlog_checkpoints AS c WHERE substr(c.name, 1, 1) <> '$' AND (
        c.position < p.value
        OR EXISTS (SELECT 1 FROM everlog_parked AS h WHERE h.name = c.name
            AND h.position = p.value AND h.status IN ('retrying', 'parked', 'behind'))
        OR EXISTS (SELECT 1 FROM everlog_effects AS e WHERE e.name = c.name
            AND e.position = p.value AND e.status IN
            ('pending', 'intent', 'succeeded', 'retrying', 'ambiguous', 'parked'))))
"""

# --- effects ---

INSERT_HANDLER = "INSERT OR IGNORE INTO everlog_handlers (name, handler, position) VALUES (?, ?, ?)"
SELECT_HANDLERS = "SELECT handler, position FROM everlog_handlers WHERE name = ?"

INSERT_EFFECT = f"""
INSERT OR IGNORE INTO everlog_effects (
    name, handler, slice, position, stream, id,
    status, tries, due, result, happened, error, intent, since
) VALUES (
    :name, :handler, :slice, :position, :stream, :id,
    :status, :tries, {_NOW} + :due_s, :result, :happened, :error, NULL, {_NOW}
)
"""

_UNFINISHED = "status IN ('pending', 'intent', 'succeeded', 'retrying', 'ambiguous', 'parked')"

# From lane to lane by the index: in one there may be very many.
SELECT_LANES = f"""
WITH RECURSIVE first (number, handler, stream) AS (
    SELECT e.rowid, e.handler, e.stream FROM everlog_effects AS e WHERE e.rowid = (
        SELECT rowid FROM everlog_effects
        WHERE name = :name AND (handler, stream) > (:handler, :stream) AND {_UNFINISHED}
        ORDER BY handler, stream, position LIMIT 1
    )
    UNION ALL
    SELECT e.rowid, e.handler, e.stream FROM first AS f JOIN everlog_effects AS e ON e.rowid = (
        SELECT rowid FROM everlog_effects
        WHERE name = :name AND (handler, stream) > (f.handler, f.stream) AND {_UNFINISHED}
        ORDER BY handler, stream, position LIMIT 1
    )
)
SELECT e.handler, e.stream, e.slice, e.due - {_NOW}
FROM first AS f JOIN everlog_effects AS e ON e.rowid = f.number
WHERE e.due <= {_NOW} + :within_s AND e.slice IN (SELECT value FROM json_each(:slices))
LIMIT :limit
"""

_EFFECT = f"""
name, handler, slice, position, stream, id,
status, tries, due - {_NOW}, result, happened, error, {_NOW} - intent, {_NOW} - since
"""

SELECT_LANE = f"""
SELECT {_EFFECT} FROM everlog_effects
WHERE name = ? AND handler = ? AND stream = ? AND {_UNFINISHED}
ORDER BY position LIMIT ?
"""

CHANGE_EFFECT = f"""
UPDATE everlog_effects SET
    status = :status, tries = :tries, due = {_NOW} + :due_s, result = :result,
    happened = :happened, error = :error,
    intent = CASE WHEN :status = 'intent' THEN {_NOW} ELSE intent END
WHERE name = :name AND handler = :handler AND position = :position
AND status = :before AND tries = :before_tries
"""

MARK_AMBIGUOUS = f"""
UPDATE everlog_effects SET status = 'ambiguous', due = {_NOW}
WHERE name = :name AND slice = :slice AND status = 'intent'
AND {_UNFINISHED} AND (position || ' ' || handler) NOT IN (SELECT value FROM json_each(:but))
"""

SELECT_EFFECTS = f"""
SELECT {_EFFECT} FROM everlog_effects
WHERE (:name IS NULL OR name = :name) AND (:status IS NULL OR status = :status)
AND (:stream IS NULL OR stream = :stream) AND (:position IS NULL OR position = :position)
ORDER BY name, position, handler LIMIT :limit
"""

COUNT_EFFECTS = f"""
SELECT name, count(*) FILTER (WHERE status NOT IN ('ambiguous', 'parked')),
    count(*) FILTER (WHERE status = 'ambiguous'), count(*) FILTER (WHERE status = 'parked'),
    {_NOW} - min(since)
FROM everlog_effects WHERE {_UNFINISHED} GROUP BY name ORDER BY name
"""
