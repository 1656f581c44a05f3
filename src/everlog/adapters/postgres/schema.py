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
_WITH_TOMBSTONES = COLUMNS.replace(
    "nonce, data, meta",
    "coalesce(nonce, '') AS nonce, coalesce(data::text, '') AS data, "
    "coalesce(meta::text, '') AS meta",
)
"""The same, also of records whose content went."""

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
DURABLE_AND_PATIENT = f"{_DURABLE}, {_PATIENCE}".replace("{local}", "true")
LOCK_AND_SET = f"SELECT {DURABLE_AND_PATIENT}, pg_advisory_xact_lock(%(key)s)"
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
UPDATE_EPOCH = "UPDATE {schema}.ledger_head SET epoch = %(epoch)s"
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
    "SELECT " + _WITH_TOMBSTONES + " FROM {schema}.records "
    "WHERE id = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json)))"
)
# The other records of events, by how the ids of each begin and end. Each by the index of ids, which
# a plan without LIMIT may not take.
SELECT_ALIASES = (
    f"SELECT {_WITH_TOMBSTONES} "
    "FROM json_to_recordset(%(between)s::json) AS b(low text, high text) "
    "CROSS JOIN LATERAL (SELECT * FROM {schema}.records AS r "
    'WHERE r.id > b.low COLLATE "C" AND r.id < b.high COLLATE "C" ORDER BY r.id LIMIT 1000) AS a'
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
# What an operator would look at first. Of transactions, only those that were forgotten; what is
# hidden from roles without the right to see others' is not counted.
SELECT_CONDITION = """
SELECT current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery(),
       floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint,
       count(*), max(extract(epoch FROM clock_timestamp() - state_change))::bigint,
       (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database())
FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%%'
    AND state_change < clock_timestamp() - %(open_s)s::integer * interval '1 second'
"""
# From one name to the next by the index: as many looks as streams are asked for, and none at the
# records between. starts_with and not LIKE: `%` is a character like any other.
SELECT_STREAMS = """
WITH RECURSIVE names (stream) AS (
    (SELECT stream FROM {schema}.records
     WHERE stream > %(after)s::text AND stream >= %(prefix)s::text ORDER BY stream LIMIT 1)
    UNION ALL
    SELECT (SELECT records.stream FROM {schema}.records
            WHERE records.stream > names.stream ORDER BY records.stream LIMIT 1)
    FROM names WHERE starts_with(names.stream, %(prefix)s::text)
), listed AS (
    SELECT stream FROM names WHERE starts_with(stream, %(prefix)s::text) LIMIT %(limit)s::bigint
)
SELECT last.* FROM listed CROSS JOIN LATERAL (
    SELECT stream, version, position, type, recorded FROM {schema}.records
    WHERE records.stream = listed.stream ORDER BY position DESC LIMIT 1
) AS last
ORDER BY last.stream
"""
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
    "position, created, id, version, count, revision, state) SELECT %(scope)s, %(reducer)s, "
    "%(reducer_version)s, %(shape)s, %(filter)s, %(position)s, %(created)s, %(id)s, %(version)s, "
    "%(count)s, %(revision)s, %(state)s FROM {schema}.ledger_head AS h "
    "WHERE coalesce(%(unfoldings)s, h.unfoldings) = h.unfoldings "
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

LAST = 2**63 - 1
"""Beyond every position."""
_MEMBERS = (
    "(SELECT json_agg(r.stream ORDER BY r.stream)::text FROM {schema}.relations AS r "
    "WHERE r.relation = %(relation)s)"
)
# Where it ends, and in which history.
_END = (
    "h.largest, h.ledger, h.epoch, least(h.position, %(until)s), "
    "(SELECT r.chain FROM {schema}.records AS r WHERE r.position = least(h.position, %(until)s))"
)
_HELD = (
    "LEFT JOIN {schema}.snapshots AS s ON s.scope = %(scope)s "
    "AND s.reducer = %(reducer)s AND s.reducer_version = %(reducer_version)s "
    "AND s.shape = %(shape)s AND s.filter = %(filter)s"
)
SELECT_BEGINNING = f"SELECT {_END}, {_MEMBERS} FROM {{schema}}.ledger_head AS h"
SELECT_FOLD_BEGINNING = (
    f"SELECT {_END}, {_MEMBERS}, coalesce((SELECT v.revision "
    "FROM {schema}.relation_revisions AS v WHERE v.relation = %(relation)s), 0), h.unfoldings, "
    "s.position, s.created, s.id, s.version, s.count, s.revision, s.state "
    f"FROM {{schema}}.ledger_head AS h {_HELD}"
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
    "WHERE h.ledger = %(ledger)s AND r.chain = %(chain)s) = 1 AND "
)


# Of folds. A look for each record and not NOT IN: that reads all of the table for every page. No
# EXISTS either, which a plan may join, and sort. While there is nothing, it is one look for a page.
FOLDED = (
    " AND (NOT EXISTS (SELECT FROM {schema}.unfolded) OR (SELECT u.position "
    "FROM {schema}.unfolded AS u WHERE u.position = records.position) IS NULL)"
)


# Of all reads but those that ask for tombstones, too.
WITH_CONTENT = " AND data IS NOT NULL"


def select_page(conditions: str, order: str, *, tombstones: bool = False) -> str:
    """Returns the statement of a page: fixed text only, to which every value is bound.

    At most `limit` records, cut after `room` bytes of data and meta: their sizes are summed before
    any large value is looked at.
    """
    columns = _WITH_TOMBSTONES if tombstones else COLUMNS
    return (
        f"SELECT {columns} FROM (SELECT *, sum(size) OVER (ORDER BY {order} "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM ("
        f"SELECT * FROM {{schema}}.records WHERE {conditions} ORDER BY {order} LIMIT %(limit)s"
        f") AS found) AS summed WHERE coalesce(before, 0) < %(room)s ORDER BY {order}"
    )


def select_small_page(conditions: str, order: str, *, tombstones: bool = False) -> str:
    """Returns the statement of a page whose records are known to be small enough: all of them."""
    columns = _WITH_TOMBSTONES if tombstones else COLUMNS
    return (
        f"SELECT {columns} FROM {{schema}}.records WHERE {conditions} "
        f"ORDER BY {order} LIMIT %(limit)s"
    )


def select_first_page(
    conditions: str, order: str, *, sized: bool, folds: bool, resumes: bool
) -> str:
    """Returns the statement of what a read begins with and of its first page, in one.

    The first row is the beginning (`first_page`), the others are records. With a snapshot
    they begin behind it. Unless `sized`, no records come where they might be too many bytes. If it
    `resumes`, it says what stands where a reader was.
    """
    conditions = conditions.replace("%(after)s", "(SELECT b.after FROM beginning AS b)")
    late = _ANY_LATE if folds else "false"
    place = _CHAIN_SEEN if resumes else "NULL"
    if sized:
        page, fits = select_page(conditions, order), "true"
    else:
        conditions += " AND (SELECT b.largest * %(limit)s < %(room)s FROM beginning AS b)"
        page, fits = select_small_page(conditions, order), "b.largest * %(limit)s < %(room)s"
    return (
        f"WITH beginning {_NAMES} AS MATERIALIZED (SELECT {_END}, h.position, "
        "greatest(%(after)s, coalesce(s.position, 0)), s.position, s.created, s.id, s.version, "
        "s.count, s.revision, s.state, h.unfoldings "
        f"FROM {{schema}}.ledger_head AS h {_HELD}) "
        "SELECT b.until, 0, b.ledger, b.epoch, b.state, 0, '', '', '', NULL, b.created, b.id, 0, "
        f"NULL, json_build_array(b.largest, {fits}, {late}, b.head, {place}, "
        "b.unfoldings, b.position, "
        f"b.version, b.count, b.revision), NULL, NULL, b.chain FROM beginning AS b "
        f"UNION ALL ({page})"
    )


_NAMES = (
    "(largest, ledger, epoch, until, chain, head, after, "
    "position, created, id, version, count, revision, state, unfoldings)"
)
_CHAIN_SEEN = (
    "(SELECT encode(r.chain, 'hex') FROM {schema}.records AS r WHERE r.position = %(seen)s)"
)
_ANY_LATE = (
    "EXISTS (SELECT FROM {schema}.records AS l "
    "WHERE l.late AND l.stream = %(stream)s AND l.position > b.after)"
)


# --- upstreams ---

_STATE = "SELECT upstream, epoch, past, marks, settled, strict, scope FROM {schema}.sync_upstreams "
SELECT_UPSTREAMS = _STATE + "ORDER BY upstream"
SELECT_UPSTREAMS_OF = (
    _STATE + "WHERE upstream = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json)))"
)
UPSERT_UPSTREAM = (
    "INSERT INTO {schema}.sync_upstreams (upstream, epoch, past, marks, settled, strict, scope) "
    "VALUES (%(upstream)s, %(epoch)s, %(past)s, %(marks)s, %(settled)s, %(strict)s, %(scope)s) "
    "ON CONFLICT (upstream) DO UPDATE SET epoch = excluded.epoch, past = excluded.past, "
    "marks = excluded.marks, settled = excluded.settled, strict = excluded.strict, "
    "scope = excluded.scope"
)
# As columns, see STORE_MANY. A receipt is a sign and its hex digits, as none is not an empty one.
UPSERT_ENTRIES = (
    "INSERT INTO {schema}.sync_entries AS e "
    "(upstream, id, position, version, flags, receipt, outside) "
    "SELECT %(upstream)s, id, position::bigint, version::bigint, flags::integer, "
    "CASE WHEN receipt <> '-' THEN decode(substr(receipt, 2), 'hex') END, outside::smallint "
    "FROM ROWS FROM ("
    "string_to_table(%(ids)s, E'\n'), string_to_table(%(positions)s, E'\n'), "
    "string_to_table(%(versions)s, E'\n'), string_to_table(%(flags)s, E'\n'), "
    "string_to_table(%(receipts)s, E'\n'), string_to_table(%(outside)s, E'\n')) "
    "AS i(id, position, version, flags, receipt, outside) "
    "ON CONFLICT (upstream, id) DO UPDATE SET position = excluded.position, "
    "version = excluded.version, flags = excluded.flags, "
    "receipt = coalesce(excluded.receipt, e.receipt), "
    "outside = excluded.outside * greatest(e.outside, 1)"
)
FORGET_PLACES = (
    "WITH forgotten AS (UPDATE {schema}.sync_entries SET position = NULL "
    "WHERE upstream = %(upstream)s AND position > %(position)s RETURNING 1) "
    "SELECT count(*) FROM forgotten"
)
# Once something is held it stays as it is.
INSERT_HELD = (
    "INSERT INTO {schema}.sync_held (upstream, id, stream, verdict, reason, since_ms, record) "
    "SELECT %(upstream)s, h.id, h.stream, h.verdict, h.reason, h.since_ms, h.record "
    "FROM json_to_recordset(%(held)s::json) AS h(id text, stream text, verdict text, "
    "reason text, since_ms bigint, record text) ON CONFLICT DO NOTHING RETURNING true"
)
DELETE_HELD = "DELETE FROM {schema}.sync_held WHERE upstream = %(upstream)s RETURNING true"
DELETE_HELD_OF = (
    "DELETE FROM {schema}.sync_held WHERE upstream = %(upstream)s "
    "AND id = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json))) RETURNING true"
)
SELECT_HELD = (
    "SELECT id, stream, verdict, reason, since_ms, record FROM {schema}.sync_held "
    "WHERE upstream = %(upstream)s ORDER BY since_ms, id"
)
SELECT_ORPHANS = (
    f"SELECT {COLUMNS} FROM {{schema}}.records WHERE position = ANY(ARRAY("
    "SELECT u.position FROM {schema}.unfolded AS u "
    "WHERE u.position > %(after)s AND u.replacement IS NULL AND EXISTS ("
    "SELECT FROM {schema}.records AS r WHERE r.position = u.position AND r.data IS NOT NULL) "
    "ORDER BY u.position LIMIT %(limit)s)) ORDER BY position"
)
INSERT_ORPHANS = (
    "INSERT INTO {schema}.unfolded (position) SELECT string_to_table(%(positions)s, ',')::bigint"
)
# Whatever state has one of the changed in it, or should have, goes with them; also if it is on its
# way to be stored.
_DROPPED = (
    "dropped AS (DELETE FROM {schema}.snapshots "
    "WHERE position >= (SELECT min(c.position) FROM changed AS c)), "
    "counted AS (UPDATE {schema}.ledger_head SET unfoldings = unfoldings + 1 "
    "WHERE EXISTS (SELECT FROM changed)) "
)
# Of records that are stored already.
JUDGE_ORPHANS = (
    "WITH begun AS (INSERT INTO {schema}.unfolded (position) "
    "SELECT string_to_table(%(orphans)s, ',')::bigint ON CONFLICT DO NOTHING RETURNING position), "
    "ended AS (DELETE FROM {schema}.unfolded WHERE replacement IS NULL "
    "AND position = ANY(string_to_array(%(others)s, ',')::bigint[]) RETURNING position), "
    "changed AS (SELECT position FROM begun UNION ALL SELECT position FROM ended), "
    + _DROPPED
    + "SELECT position FROM changed"
)
# The registers that some records write, each with its newest record, of those that folds have. They
# are not deleted, which nobody may: one that has none is older than everything.
RECOUNT = (
    "WITH keys AS (SELECT DISTINCT r.stream, r.register FROM {schema}.records AS r "
    "WHERE r.position = ANY(string_to_array(%(positions)s, ',')::bigint[])), "
    "newest AS (SELECT DISTINCT ON (r.stream, r.register) r.stream, r.register, r.created, r.id "
    "FROM keys AS k JOIN {schema}.records AS r ON r.stream = k.stream AND r.register = k.register "
    "WHERE NOT EXISTS (SELECT FROM {schema}.unfolded AS u WHERE u.position = r.position) "
    "ORDER BY r.stream, r.register, r.created DESC, r.id DESC) "
    "INSERT INTO {schema}.registers (stream, register, created, id) "
    "SELECT k.stream, k.register, coalesce(n.created, ''), coalesce(n.id, '') FROM keys AS k "
    "LEFT JOIN newest AS n ON n.stream = k.stream AND n.register = k.register " + _NEWEST
)
# From the end of the stream, where what is asked for stands, as a rule.
_THERE = (
    "SELECT r.position, r.version AS here, c.version FROM {schema}.records AS r "
    "JOIN {schema}.sync_entries AS c ON c.upstream = %(upstream)s AND c.id = r.id "
    "WHERE (r.stream, r.position) >= (%(stream)s, 0) "
    f"AND (r.stream, r.position) <= (%(stream)s, {LAST}) "
    "AND (SELECT u.position FROM {schema}.unfolded AS u WHERE u.position = r.position) IS NULL"
)
SELECT_VERSION_THERE = (
    f"WITH last AS ({_THERE} "
    "AND c.position IS NOT NULL ORDER BY r.stream DESC, r.position DESC LIMIT 1) "
    "SELECT CASE WHEN here <> %(version)s OR version = 0 THEN NULL "
    # So many are there, and here: it is all of them.
    "WHEN version = here THEN version "
    f"WHEN EXISTS ({_THERE} AND c.position IS NULL AND r.position < last.position) "
    f"THEN NULL ELSE (SELECT max(version) FROM ({_THERE} AND c.position IS NOT NULL) AS there) "
    "END FROM last"
)
SELECT_UNFOLDINGS = "SELECT unfoldings FROM {schema}.ledger_head"
SELECT_REVISION = "SELECT revision FROM {schema}.relation_revisions WHERE relation = %(relation)s"
SELECT_CHAINS = (
    "SELECT position, chain FROM {schema}.records "
    "WHERE position = ANY(string_to_array(%(positions)s, ',')::bigint[])"
)
_NOT_REPLACED = (
    "(SELECT u.position FROM {schema}.unfolded AS u "
    "WHERE u.position = r.position AND u.replacement IS NOT NULL) IS NULL"
)
# Of some records: which are in what is known of an upstream, and which no fold has.
SELECT_COPIED = (
    "SELECT n.id FROM json_array_elements_text(%(names)s::json) AS n(id) "
    "WHERE EXISTS (SELECT FROM {schema}.sync_upstreams AS s JOIN {schema}.sync_entries AS e "
    "ON e.upstream = s.upstream WHERE e.id = n.id)"
)
SELECT_UNFOLDED = (
    "SELECT r.id FROM {schema}.records AS r JOIN {schema}.unfolded AS u "
    "ON u.position = r.position "
    "WHERE r.id = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json)))"
)
# The latest stamp of all records but some, and those that were replaced before.
SELECT_CLOCK_WITHOUT = (
    "SELECT max(r.created) FROM {schema}.records AS r WHERE r.id NOT IN "
    "(SELECT json_array_elements_text(%(names)s::json)) AND " + _NOT_REPLACED
)
REPLACE = (
    "WITH changed AS (INSERT INTO {schema}.unfolded AS u (position, replacement) "
    "SELECT position, by FROM json_to_recordset(%(replaced)s::json) AS i(position bigint, by text) "
    "ON CONFLICT (position) DO UPDATE SET replacement = excluded.replacement "
    "WHERE u.replacement IS DISTINCT FROM excluded.replacement RETURNING u.position), "
    + _DROPPED
    + "SELECT position FROM changed"
)
# Along the log by position, with a look for each record by the whole key of the copy: by the pair,
# as only one index has that order, so no plan walks through all of the copy, or sorts it.
_UNCONFIRMED = (
    "FROM {schema}.records AS r LEFT JOIN LATERAL ("
    "SELECT c.upstream, c.id, c.position, c.version, c.receipt FROM {schema}.sync_entries AS c "
    "WHERE (c.upstream, c.id) >= (%(upstream)s, r.id) ORDER BY c.upstream, c.id LIMIT 1"
    ") AS e ON e.upstream = %(upstream)s AND e.id = r.id "
)
# The head, the first that is unconfirmed, and from there those that are not set aside either, nor
# behind what is: one more than asked for, of which those come that fit, each with where the next
# one stands. In one statement, so as of one moment.
SELECT_UNCONFIRMED = (
    "WITH first AS MATERIALIZED (SELECT r.position "
    + _UNCONFIRMED
    + "WHERE r.position > %(after)s AND r.position <= %(end)s AND e.position IS NULL "
    "AND r.data IS NOT NULL "
    "AND " + _NOT_REPLACED + " ORDER BY r.position LIMIT 1), "
    "found AS (SELECT r.*, e.version AS known, e.receipt "
    + _UNCONFIRMED
    + "WHERE r.position >= (SELECT position FROM first) AND r.position <= %(end)s "
    "AND e.position IS NULL AND r.data IS NOT NULL "
    "AND " + _NOT_REPLACED + " "
    "AND r.id NOT IN (SELECT h.id FROM {schema}.sync_held AS h WHERE h.upstream = %(upstream)s) "
    "AND r.stream NOT IN (SELECT h.stream FROM {schema}.sync_held AS h "
    "WHERE h.upstream = %(upstream)s AND h.record IS NULL) ORDER BY r.position LIMIT %(limit)s), "
    "summed AS (SELECT *, row_number() OVER (ORDER BY position) AS number, "
    "sum(size) OVER (ORDER BY position) AS until, lead(position) OVER (ORDER BY position) AS next "
    "FROM found) "
    "SELECT s." + COLUMNS.replace(", ", ", s.") + ", s.known, s.receipt, s.next, "
    "h.position, (SELECT position FROM first) FROM {schema}.ledger_head AS h "
    "LEFT JOIN summed AS s ON s.number = 1 OR s.until <= %(room)s ORDER BY s.position"
)


# --- tombstones ---

# Of what an upstream does not give: where its content is here. Along the index of those.
SELECT_OUTSIDE = (
    "SELECT f.id, f.there, f.here FROM (SELECT e.id, e.position AS there, ("
    "WITH RECURSIVE same (id) AS (SELECT e.id UNION SELECT o.id FROM same "
    "JOIN {schema}.unfolded AS u ON u.replacement = same.id "
    "JOIN {schema}.records AS o ON o.position = u.position) "
    "SELECT json_agg(r.position ORDER BY r.id <> e.id, r.position)::text "
    "FROM same JOIN {schema}.records AS r ON r.id = same.id WHERE r.data IS NOT NULL) AS here "
    "FROM {schema}.sync_entries AS e WHERE e.outside = 1 AND e.upstream = %(upstream)s "
    "AND e.position > %(after)s AND e.position <= %(until)s) AS f "
    "WHERE f.here IS NOT NULL ORDER BY f.there LIMIT %(limit)s"
)
_PURGED = "EXISTS (SELECT FROM {schema}.sync_entries AS e WHERE e.outside = 2)"
SELECT_FIRST_TOMBSTONE = (
    "SELECT min(position) FROM {schema}.records WHERE data IS NULL AND " + _PURGED
)
SELECT_FIRST_TOMBSTONE_OF = (
    "SELECT min(position) FROM {schema}.records "
    "WHERE (stream, position) >= (%(stream)s, 0) "
    f"AND (stream, position) <= (%(stream)s, {LAST}) AND data IS NULL AND " + _PURGED
)
SELECT_UPSTREAM_NAMES = "SELECT upstream FROM {schema}.sync_upstreams"
# Those of some that may go, with all those of the same events that they have replaced. These, too,
# are let go on the word of this upstream, which need not have had them.
PURGE = (
    "WITH RECURSIVE same (id) AS (SELECT e.id FROM {schema}.sync_entries AS e "
    "WHERE e.upstream = %(upstream)s AND outside = 1 AND position <= %(stable)s "
    "AND e.id = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json))) "
    "UNION SELECT o.id FROM same JOIN {schema}.unfolded AS u ON u.replacement = same.id "
    "JOIN {schema}.records AS o ON o.position = u.position), "
    "marked AS (INSERT INTO {schema}.sync_entries (upstream, id, version, flags, outside) "
    "SELECT %(upstream)s, r.id, 0, 0, 2 FROM same JOIN {schema}.records AS r ON r.id = same.id "
    "ON CONFLICT (upstream, id) DO UPDATE SET outside = 2) "
    "UPDATE {schema}.records AS r SET nonce = NULL, data = NULL, meta = NULL "
    "WHERE r.id IN (SELECT id FROM same) AND r.data IS NOT NULL RETURNING r.position, r.stream"
)
# As columns, see STORE_MANY.
REFILL = (
    "UPDATE {schema}.records AS r SET nonce = decode(i.nonce, 'hex'), data = i.data::json, "
    "meta = i.meta::json FROM ROWS FROM ("
    "string_to_table(%(positions)s, E'\n'), string_to_table(%(nonces)s, E'\n'), "
    "string_to_table(%(datas)s, E'\n'), string_to_table(%(metas)s, E'\n')) "
    "AS i(position, nonce, data, meta) "
    "WHERE r.position = i.position::bigint AND r.data IS NULL"
)
# What may have been folded from some records, by the first of them and their streams.
DROP_SNAPSHOTS_WITH = (
    "DELETE FROM {schema}.snapshots WHERE position >= %(position)s "
    "AND (left(scope, 9) = 'relation:' OR scope = ANY(ARRAY("
    "SELECT 'stream:' || n.stream FROM json_array_elements_text(%(names)s::json) AS n(stream))))"
)
RAISE_UNFOLDINGS = "UPDATE {schema}.ledger_head SET unfoldings = unfoldings + 1"
RAISE_REVISIONS_OF = (
    "INSERT INTO {schema}.relation_revisions AS v (relation, revision) "
    "SELECT DISTINCT r.relation, 1 FROM {schema}.relations AS r "
    "WHERE r.stream = ANY(ARRAY(SELECT json_array_elements_text(%(names)s::json))) "
    "ON CONFLICT (relation) DO UPDATE SET revision = v.revision + 1"
)


# --- what `check` compares: late marks with the order of folds, registers with the records ---

# What was appended here was the newest when it was, and late is what stands before the newest since
# the last of that. All stands behind what is on time before it, but for what was replaced.
CHECK_LATE = """
SELECT position FROM (
    SELECT position, late, born, place,
        max(place) OVER (PARTITION BY span ORDER BY position
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest,
        max(counted) OVER (ORDER BY position
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest
    FROM (
        SELECT position, late, created || id AS place, flags & 17 = 0 AS born,
            count(*) FILTER (WHERE flags & 17 = 0) OVER (ORDER BY position) AS span,
            CASE WHEN NOT EXISTS (SELECT FROM {schema}.unfolded AS u
                WHERE u.position = r.position AND u.replacement IS NOT NULL)
            THEN created || id END AS counted
        FROM {schema}.records AS r) AS marked) AS placed
WHERE late <> (NOT born AND coalesce(place < newest, false)) OR (NOT late AND place < latest)
ORDER BY position LIMIT 100
"""
# One whose records are all left out of folds has an empty place.
CHECK_REGISTERS = """
WITH newest AS MATERIALIZED (
    SELECT stream, register, max(created || id) AS place FROM {schema}.records AS r
    WHERE NOT EXISTS (SELECT FROM {schema}.unfolded AS u WHERE u.position = r.position)
    GROUP BY 1, 2)
SELECT stream, register FROM (
    SELECT stream, register, place FROM newest
    EXCEPT SELECT stream, register, created || id FROM {schema}.registers) AS missing
UNION
SELECT stream, register FROM (
    SELECT stream, register, created || id AS place FROM {schema}.registers
    WHERE created || id <> '' OR (stream, register) NOT IN (
        SELECT stream, register FROM {schema}.records)
    EXCEPT SELECT stream, register, place FROM newest) AS surplus
LIMIT 100
"""
CHECK_NEWEST = """
SELECT 1 FROM {schema}.ledger_head WHERE newest_created || newest_id <> coalesce((
    SELECT max(created || id) FROM {schema}.records WHERE position >= coalesce((
        SELECT max(position) FROM {schema}.records WHERE flags & 17 = 0), 0)), '')
"""
CHECK_UNFOLDED = """
SELECT u.position FROM {schema}.unfolded AS u
WHERE NOT EXISTS (SELECT FROM {schema}.records AS r WHERE r.position = u.position)
    OR (u.replacement IS NOT NULL AND NOT EXISTS (
        SELECT FROM {schema}.records AS n WHERE n.id = u.replacement))
LIMIT 100
"""
# What has no content, and was not let go.
CHECK_TOMBSTONES = """
SELECT r.position FROM {schema}.records AS r
WHERE (r.nonce IS NULL OR r.data IS NULL OR r.meta IS NULL) AND (
    num_nulls(r.nonce, r.data, r.meta) <> 3
    OR NOT EXISTS (SELECT FROM {schema}.sync_upstreams AS s JOIN {schema}.sync_entries AS e
        ON e.upstream = s.upstream AND e.outside = 2 AND e.id = r.id))
ORDER BY r.position LIMIT 100
"""
