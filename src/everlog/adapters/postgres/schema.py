"""Every statement that touches the tables, each with its why. The tables themselves: `migrations/`.

`{schema}` stands for the quoted name of the schema and is filled in by `executing`. Values are
bound; lists of them travel as one JSON text, as psycopg's own arrays cost a Python call per item.
Statements are joined from fixed text only.
"""

from __future__ import annotations

from everlog.core.record import StoredRecord

OLDEST_SERVER = 140_000
"""`server_version_num` of PostgreSQL 14."""

COLUMNS = ", ".join(StoredRecord._fields)
"""In the order of `StoredRecord`'s fields, so that a row is one."""

# --- the transaction of a commit ---

# Whatever a server's defaults are: each statement sees what was committed before it.
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
COMMIT = "COMMIT"
ROLLBACK = "ROLLBACK"

# What is acknowledged is on disk, whatever the server's default is; a stronger setting stays.
_DURABLE = (
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
    "WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, {local})"
)
# In a statement of its own: the snapshot of the next is taken when the lock is held. A process that
# is stopped in the middle must not hold it for ever.
LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"
# The same where nothing can be set on a connection: behind a proxy that pools by transaction, or
# because the connection is somebody else's.
_PATIENCE = (
    "set_config('lock_timeout', %(timeout)s, {local}), "
    "set_config('idle_in_transaction_session_timeout', %(idle)s, {local})"
)
LOCK_AND_SET = f"SELECT {_DURABLE}, {_PATIENCE}, pg_advisory_xact_lock(%(key)s)".replace(
    "{local}", "true"
)
# What BEGIN and LOCK_AND_SET set, once for a connection that writes: a guess is no block.
SET_FOR_WRITING = (
    f"SELECT {_DURABLE}, {_PATIENCE}, set_config('plan_cache_mode', 'force_generic_plan', false), "
    "set_config('default_transaction_read_only', 'off', false)"
).replace("{local}", "false")

# --- the transaction of somebody else ---

# Whether events may join it.
SELECT_THEIRS = (
    "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only'), "
    "current_setting('everlog.transaction', true), to_regclass(%(head)s)::text"
)
# A setting ends with the transaction, also if that is committed or rolled back behind our back.
MARK_THEIRS = (
    "SELECT set_config('everlog.transaction', %(mark)s, true) FROM {schema}.ledger_head "
    "WHERE ledger = %(ledger)s AND node = %(node)s AND epoch = %(epoch)s"
)
SELECT_MARK = "SELECT current_setting('everlog.transaction', true)"
# What a COMMIT would check, under the lock of the ledger.
CHECK_CONSTRAINTS = "SET CONSTRAINTS ALL IMMEDIATE"

# Not to_regclass: that may answer from what the session knew before it waited for the lock, as it
# hears what others have created only when it locks a table.
SELECT_SERVER = (
    "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), "
    "EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %(schema)s AND c.relname = 'migrations')"
)
SELECT_MIGRATIONS = "SELECT number, digest FROM {schema}.migrations"
SELECT_IDENTITY = "SELECT ledger, node, epoch FROM {schema}.ledger_head"
SELECT_HEAD = "SELECT position, chain, clock, newest_created, newest_id FROM {schema}.ledger_head"
SELECT_POSITION = "SELECT position FROM {schema}.ledger_head"


def _version_of(stream: str) -> str:
    # By the pair, because only one index has that order: asked for a stream, ordered by position, a
    # plan that was made while the log was small walks through all of it later.
    return (
        f"(SELECT CASE WHEN r.stream = {stream} THEN r.version END FROM {{schema}}.records AS r "
        f"WHERE (r.stream, r.position) <= ({stream}, 9223372036854775807) "
        "ORDER BY r.stream DESC, r.position DESC LIMIT 1)"
    )


# What every commit has to know: whose log it is, and how far it has got.
_OWN_HEAD = "ledger, node, epoch, position, chain, clock, newest_created, newest_id"
SELECT_OWN_HEAD = f"SELECT {_OWN_HEAD} FROM {{schema}}.ledger_head"
# All that an append of one event has to know.
SELECT_FOR_ONE = (
    f"SELECT {_OWN_HEAD}, "
    + _version_of("%(stream)s")
    + ", EXISTS (SELECT FROM {schema}.records WHERE id = %(id)s) FROM {schema}.ledger_head"
)
# And of several.
SELECT_FOR_MANY = (
    f"SELECT {_OWN_HEAD}, (SELECT string_agg(coalesce("
    + _version_of("s.stream")
    + ", 0)::text, ',' ORDER BY s.number) "
    "FROM string_to_table(%(streams)s, E'\\n') WITH ORDINALITY AS s(stream, number)), "
    "EXISTS (SELECT FROM {schema}.records WHERE id = ANY(string_to_array(%(ids)s, E'\\n'))) "
    "FROM {schema}.ledger_head"
)
SELECT_BY_IDS = (
    "SELECT " + COLUMNS + " FROM {schema}.records "
    "WHERE id = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json)))"
)
SELECT_VERSIONS = (
    "SELECT s.stream, "
    + _version_of("s.stream")
    + " FROM json_array_elements_text(%(names)s::json) AS s(stream)"
)
SELECT_REGISTERS = (
    "SELECT g.stream, g.register, g.created, g.id "
    "FROM json_to_recordset(%(keys)s::json) AS k(stream text, register text) "
    "JOIN {schema}.registers AS g ON g.stream = k.stream AND g.register = k.register"
)

_ALL = COLUMNS + ", late, size"

# Head, rows and registers in one statement. It moves the head only from where it was found, and
# stores only if it moved it. The row of the head is locked first, by every commit alike, so two of
# them never wait for each other.
_MOVED = (
    "WITH moved AS (UPDATE {schema}.ledger_head SET position = %(position)s, chain = %(chain)s, "
    "clock = %(clock)s, newest_created = %(created)s, newest_id = %(id)s, "
    "largest = greatest(largest, %(largest)s) "
    "WHERE position = %(found)s AND chain = %(found_chain)s{guard} RETURNING only_one), "
)
_NEWEST = (
    "ON CONFLICT (stream, register) DO UPDATE SET created = excluded.created, id = excluded.id"
)
# One event that is born here: the values as they are.
_STORE_ONE = (
    _MOVED + "stored AS (INSERT INTO {schema}.records (" + _ALL + ") "
    "SELECT %(position)s, %(version)s, %(id)s, %(stream)s, %(type)s, %(schema)s, %(register)s, "
    "%(origin)s, %(correlation)s, %(causation)s, %(created)s, %(created)s, 0, %(nonce)s, "
    "%(data)s::json, %(meta)s::json, %(hash)s, %(chain)s, false, %(size)s FROM moved), "
    "kept AS (INSERT INTO {schema}.registers (stream, register, created, id) "
    "SELECT %(stream)s, %(register)s, %(created)s, %(id)s FROM moved " + _NEWEST + ") "
)
# Several, as columns: each one text with a line per row, as neither names nor canonical JSON hold a
# line break, and all bytes in one value. A list costs psycopg a Python call per item.
_STORE_MANY = (
    _MOVED + "incoming AS (SELECT i.*, 96 * (number - 1) AS at FROM moved, ROWS FROM ("
    "string_to_table(%(versions)s, E'\\n'), string_to_table(%(ids)s, E'\\n'), "
    "string_to_table(%(streams)s, E'\\n'), string_to_table(%(types)s, E'\\n'), "
    "string_to_table(%(schemas)s, E'\\n'), string_to_table(%(registers)s, E'\\n'), "
    "string_to_table(%(correlations)s, E'\\n'), string_to_table(%(causations)s, E'\\n'), "
    "string_to_table(%(stamps)s, E'\\n'), string_to_table(%(datas)s, E'\\n'), "
    "string_to_table(%(metas)s, E'\\n')) WITH ORDINALITY AS i(version, id, stream, type, "
    "schema, register, correlation, causation, created, data, meta, number)), "
    "stored AS (INSERT INTO {schema}.records (" + _ALL + ") "
    "SELECT %(found)s + number, version::bigint, id, stream, type, schema::integer, register, "
    "%(origin)s, correlation, nullif(causation, ''), created, created, 0, "
    "substr(%(blob)b, at::integer + 1, 32), data::json, meta::json, "
    "substr(%(blob)b, at::integer + 33, 32), substr(%(blob)b, at::integer + 65, 32), false, "
    "octet_length(data) + octet_length(meta) FROM incoming), "
    "kept AS (INSERT INTO {schema}.registers (stream, register, created, id) "
    "SELECT stream, register, created, id FROM incoming "
    "WHERE number = ANY(string_to_array(%(newest)s, ',')::bigint[]) " + _NEWEST + ") "
)
# Under the lock the head is where it was found: anything else fails (22012), and all of it with it.
_SURELY = "SELECT 1 / count(*) FROM moved"
STORE_ONE = _STORE_ONE.replace("{guard}", "") + _SURELY
STORE_MANY = _STORE_MANY.replace("{guard}", "") + _SURELY
# Without a look before: what was assumed is checked in the same statement. It takes the lock as
# every commit does, and may wait for it; but the row of the head that it changes is the newest.
# If that is where it was assumed, nothing has been committed since: what is known of that moment,
# and what the statement's older snapshot shows, still holds.
_LOCKED = " AND (SELECT pg_advisory_xact_lock(%(key)s)) IS NOT NULL"
# With a hint to those who follow, if one is due.
_GUESSED = (
    "SELECT count(*), count(CASE WHEN %(tell)s THEN pg_notify(%(channel)s, '')::text END) "
    "FROM moved"
)
GUESS_ONE = (
    _STORE_ONE.replace(
        "{guard}",
        _LOCKED + " AND NOT EXISTS (SELECT FROM {schema}.records WHERE id = %(id)s)"
        " AND (%(is_known)s OR coalesce(" + _version_of("%(stream)s") + ", 0) = %(version)s - 1)",
    )
    + _GUESSED
)
GUESS_MANY = (
    _STORE_MANY.replace(
        "{guard}",
        _LOCKED + " AND NOT EXISTS (SELECT FROM {schema}.records "
        "WHERE id = ANY(string_to_array(%(ids)s, E'\\n')))"
        " AND NOT EXISTS (SELECT FROM ROWS FROM (string_to_table(%(guessed)s, E'\\n'), "
        "string_to_table(%(guesses)s, E'\\n')) AS g(stream, version) WHERE coalesce("
        + _version_of("g.stream")
        + ", 0) <> g.version::bigint)",
    )
    + _GUESSED
)
# Many rows, or imported ones: head and registers first, then COPY, the fastest way in.
STORE_HEAD = (
    _MOVED.replace("{guard}", "")
    + "kept AS (INSERT INTO {schema}.registers (stream, register, created, id) "
    "SELECT k.stream, k.register, k.created, k.id FROM moved, "
    "json_to_recordset(%(newest)s::json) "
    "AS k(stream text, register text, created text, id text) " + _NEWEST + ") " + _SURELY
)
COPY = "COPY {schema}.records (" + _ALL + ") FROM STDIN"

# --- a commit whose answer was lost ---

SELECT_CHAIN = "SELECT chain FROM {schema}.records WHERE position = %(position)s"
SELECT_TRANSACTION = "SELECT pg_current_xact_id()::text"
SELECT_FATE = "SELECT pg_xact_status(%(transaction)s::text::xid8)"

# --- hints for those who follow ---

# Of many in one transaction, or unread, one is delivered. Alone, it does not wait for the disk.
NOTIFY = "SELECT pg_notify(%(channel)s, '')"
LISTEN = "LISTEN {channel}"

# --- relations ---

CLEAR_RELATIONS = (
    "DELETE FROM {schema}.relations "
    "WHERE relation = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json))) "
    "RETURNING relation"
)
CLEAR_STREAMS = (
    "DELETE FROM {schema}.relations "
    "WHERE stream = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json))) "
    "RETURNING relation"
)
DELETE_RELATIONS = (
    "DELETE FROM {schema}.relations AS r "
    "USING json_to_recordset(%(keys)s::json) AS k(relation text, stream text) "
    "WHERE r.relation = k.relation AND r.stream = k.stream RETURNING r.relation"
)
INSERT_RELATIONS = (
    "INSERT INTO {schema}.relations (relation, stream) SELECT k.relation, k.stream "
    "FROM json_to_recordset(%(keys)s::json) AS k(relation text, stream text) "
    "ON CONFLICT DO NOTHING RETURNING relation"
)
RAISE_REVISIONS = (
    "INSERT INTO {schema}.relation_revisions AS v (relation, revision) "
    "SELECT n.relation, 1 FROM json_array_elements_text(%(names)s::json) AS n(relation) "
    "ON CONFLICT (relation) DO UPDATE SET revision = v.revision + 1"
)
SELECT_STREAMS_OF = (
    "SELECT DISTINCT stream FROM {schema}.relations "
    "WHERE relation = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json))) ORDER BY stream"
)
SELECT_RELATIONS_OF = (
    "SELECT DISTINCT relation FROM {schema}.relations "
    "WHERE stream = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json))) ORDER BY relation"
)

# --- snapshots ---

# An older snapshot never replaces a newer one of the same membership.
UPSERT_SNAPSHOT = (
    "INSERT INTO {schema}.snapshots AS s (scope, reducer, reducer_version, shape, filter, "
    "position, created, id, version, count, revision, state) VALUES (%(scope)s, %(reducer)s, "
    "%(reducer_version)s, %(shape)s, %(filter)s, %(position)s, %(created)s, %(id)s, %(version)s, "
    "%(count)s, %(revision)s, %(state)s) "
    "ON CONFLICT (scope, reducer, reducer_version, shape, filter) DO UPDATE SET "
    "position = excluded.position, created = excluded.created, id = excluded.id, "
    "version = excluded.version, count = excluded.count, revision = excluded.revision, "
    "state = excluded.state "
    "WHERE (excluded.revision, excluded.position) >= (s.revision, s.position) RETURNING true"
)
DELETE_SNAPSHOTS = "DELETE FROM {schema}.snapshots WHERE scope = %(scope)s RETURNING true"
DELETE_SNAPSHOTS_OF = (
    "DELETE FROM {schema}.snapshots WHERE scope = %(scope)s AND reducer = %(reducer)s "
    "RETURNING true"
)
_KEY = (
    "scope = %(scope)s AND reducer = %(reducer)s AND reducer_version = %(reducer_version)s "
    "AND shape = %(shape)s AND filter = %(filter)s"
)
SELECT_SNAPSHOT = (
    "SELECT position, created, id, version, count, revision, state FROM {schema}.snapshots "
    f"WHERE {_KEY}"
)
SELECT_SNAPSHOTS = (
    "SELECT scope, reducer, reducer_version, shape, filter, position, created, id, version, "
    "count, revision, state FROM {schema}.snapshots"
)

# --- what a read begins with: in one statement, so as of one moment ---

_MEMBERS = (
    "(SELECT json_agg(r.stream ORDER BY r.stream)::text FROM {schema}.relations AS r "
    "WHERE r.relation = %(relation)s)"
)
# Where it ends, and in which history.
_END = (
    "h.largest, h.ledger, h.epoch, least(h.position, %(until)s), "
    "(SELECT r.chain FROM {schema}.records AS r WHERE r.position = least(h.position, %(until)s))"
)
SELECT_BEGINNING = f"SELECT {_END}, {_MEMBERS} FROM {{schema}}.ledger_head AS h"
SELECT_FOLD_BEGINNING = (
    f"SELECT {_END}, {_MEMBERS}, coalesce((SELECT v.revision "
    "FROM {schema}.relation_revisions AS v WHERE v.relation = %(relation)s), 0), "
    "s.position, s.created, s.id, s.version, s.count, s.revision, s.state "
    "FROM {schema}.ledger_head AS h LEFT JOIN {schema}.snapshots AS s ON s.scope = %(scope)s "
    "AND s.reducer = %(reducer)s AND s.reducer_version = %(reducer_version)s "
    "AND s.shape = %(shape)s AND s.filter = %(filter)s"
)
# In which history a position stands.
SELECT_PLACE = (
    "SELECT h.ledger, h.epoch, h.position, (SELECT r.chain FROM {schema}.records AS r "
    "WHERE r.position = %(position)s) FROM {schema}.ledger_head AS h"
)
SELECT_REGISTER = (
    "SELECT created, id FROM {schema}.registers "
    "WHERE stream = %(stream)s AND register = %(register)s"
)


# A condition of later pages: that the log has the place in which the first page ends. In the same
# statement, so it costs no trip; where the log is another one the statement fails (22012), as it
# would otherwise be taken for a page without records. PostgreSQL asks it first, and once.
OF_ONE_HISTORY = (
    "1 / (SELECT count(*) FROM {schema}.ledger_head AS h "
    "JOIN {schema}.records AS r ON r.position = %(seen)s "
    "WHERE h.ledger = %(ledger)s AND h.epoch = %(epoch)s AND r.chain = %(chain)s) = 1 AND "
)


def select_page(conditions: str, order: str) -> str:
    """Returns the statement of a page: fixed text only, to which every value is bound.

    At most `limit` records, cut after `room` bytes of data and meta: their sizes are summed before
    any large value is looked at.
    """
    return (
        f"SELECT {COLUMNS} FROM (SELECT *, sum(size) OVER (ORDER BY {order} "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM ("
        f"SELECT * FROM {{schema}}.records WHERE {conditions} ORDER BY {order} LIMIT %(limit)s"
        f") AS found) AS summed WHERE coalesce(before, 0) < %(room)s ORDER BY {order}"
    )


def select_small_page(conditions: str, order: str) -> str:
    """Returns the statement of a page whose records are known to be small enough: all of them."""
    return (
        f"SELECT {COLUMNS} FROM {{schema}}.records WHERE {conditions} "
        f"ORDER BY {order} LIMIT %(limit)s"
    )


# --- what `check` compares: late marks with the order of folds, registers with the records ---

CHECK_LATE = """
SELECT position FROM (
    SELECT position, late, created || id AS place, max(created || id) OVER (
        ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM {schema}.records) AS placed
WHERE late <> coalesce(place < before, false) ORDER BY position LIMIT 100
"""
CHECK_REGISTERS = """
SELECT stream, register FROM (
    SELECT stream, register, max(created || id) AS place FROM {schema}.records GROUP BY 1, 2
    EXCEPT SELECT stream, register, created || id FROM {schema}.registers) AS missing
UNION
SELECT stream, register FROM (
    SELECT stream, register, created || id AS place FROM {schema}.registers
    EXCEPT SELECT stream, register, max(created || id) FROM {schema}.records GROUP BY 1, 2
) AS surplus
LIMIT 100
"""
CHECK_NEWEST = """
SELECT 1 FROM {schema}.ledger_head WHERE newest_created || newest_id
    <> coalesce((SELECT max(created || id) FROM {schema}.records), '')
"""
