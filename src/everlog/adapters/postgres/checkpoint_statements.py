"""Every statement that touches the tables of subscriptions, each with its why.

As in `schema`: `{schema}` is filled in by `executing`, values are bound, text is fixed. All times
are the server's, by `clock_timestamp()`: `now()` is when a transaction began, perhaps long ago.
"""

from __future__ import annotations

from everlog.adapters.postgres.schema import DURABLE_AND_PATIENT

_CHECKPOINTS = "{schema}.subscription_checkpoints"
_LEASES = "{schema}.subscription_leases"
_WORKERS = "{schema}.subscription_workers"
_PARKED = "{schema}.subscription_parked"
_HANDLERS = "{schema}.subscription_handlers"
_EFFECTS = "{schema}.subscription_effects"

_NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_LATER = "clock_timestamp() + make_interval(secs => %(ttl_s)s)"
_SLICE = "name = %(name)s AND slice = %(slice)s"

# --- every transaction ---

# Nothing is set on a connection: a proxy may give each transaction another one. The mark is gone
# when the transaction is over, also if that was ended by a statement of somebody else.
SET = f"SELECT {DURABLE_AND_PATIENT}, set_config('everlog.transaction', %(mark)s, true)"
# What follows a handler's statements: whether the transaction is still the one that was begun. Who
# is silent from here on holds the checkpoints that others wait for.
STILL_OURS = (
    "SELECT current_setting('everlog.transaction', true), "
    "set_config('idle_in_transaction_session_timeout', %(idle)s, true)"
)
# In the same trip as a handler's statements, so each has to ask for itself.
_OURS = "current_setting('everlog.transaction', true) = %(mark)s"

# --- checkpoints ---

SELECT_SLICES = f"SELECT slices, version FROM {_CHECKPOINTS} WHERE {_SLICE}"
# The first slice says how many there are. Who comes second waits for who came first here, and sees
# what that has made in the next statement.
INSERT_FIRST = (
    f"WITH made AS (INSERT INTO {_CHECKPOINTS} "
    "(name, slice, slices, position, token, version, fence) "
    f"SELECT %(name)s, 0, %(slices)s, %(position)s, %(token)s, %(version)s, {_NOW_MS} "
    "ON CONFLICT DO NOTHING RETURNING name, slice, fence) "
    f"INSERT INTO {_LEASES} (name, slice, fence) SELECT name, slice, fence FROM made"
)
INSERT_OTHERS = (
    f"WITH made AS (INSERT INTO {_CHECKPOINTS} "
    "(name, slice, slices, position, token, version, fence) "
    "SELECT f.name, n, f.slices, f.position, f.token, f.version, f.fence "
    f"FROM {_CHECKPOINTS} AS f, generate_series(1, f.slices - 1) AS n "
    "WHERE f.name = %(name)s AND f.slice = 0 "
    f"AND NOT EXISTS (SELECT FROM {_CHECKPOINTS} WHERE name = %(name)s AND slice > 0) "
    "ON CONFLICT DO NOTHING RETURNING name, slice, fence) "
    f"INSERT INTO {_LEASES} (name, slice, fence) SELECT name, slice, fence FROM made"
)

# By compare-and-set; the row stays locked to the commit, and so nobody else claims the slice.
MOVE = (
    f"UPDATE {_CHECKPOINTS} SET position = %(after)s, token = %(token)s, moves = moves + 1, "
    f"moved = clock_timestamp(), error = '' WHERE {_SLICE} AND fence = %(fence)s "
    f"AND position = %(before)s AND {_OURS} RETURNING moves"
)
# Of the fence alone.
HOLD = (
    f"UPDATE {_CHECKPOINTS} SET moves = moves + 1 "
    f"WHERE {_SLICE} AND fence = %(fence)s AND {_OURS} RETURNING moves"
)
# Waits for the end of the transaction that is asked about, which has the row.
SELECT_MOVED = f"SELECT fence, moves, position FROM {_CHECKPOINTS} WHERE {_SLICE} FOR UPDATE"

# --- leases ---

# Held under another fingerprint: what stands behind # in a worker's name.
_OTHERS = (
    f"FROM {_LEASES} AS o WHERE o.name = %(name)s "
    "AND strpos(o.worker, '#') > 0 AND strpos(%(worker)s::text, '#') > 0 "
    "AND split_part(o.worker, '#', 2) <> split_part(%(worker)s::text, '#', 2)"
)
# Their leases have run out, and still they could commit, or be prolonged, where nobody claims. What
# is locked is being committed by who holds it, and stays theirs.
FENCE_OTHERS = (
    f"WITH theirs AS (SELECT l.slice FROM {_LEASES} AS l JOIN {_CHECKPOINTS} AS c "
    "ON c.name = l.name AND c.slice = l.slice WHERE c.version = %(version)s AND l.name = %(name)s "
    f"AND %(most)s > 0 AND l.slice IN (SELECT o.slice {_OTHERS}) "
    f"AND NOT EXISTS (SELECT {_OTHERS} AND o.until > clock_timestamp()) "
    "ORDER BY l.slice FOR UPDATE OF l, c SKIP LOCKED), "
    f"freed AS (UPDATE {_LEASES} AS l SET fence = greatest(l.fence + 1, {_NOW_MS}), "
    "worker = NULL, until = NULL FROM theirs "
    "WHERE l.name = %(name)s AND l.slice = theirs.slice RETURNING l.slice, l.fence) "
    f"UPDATE {_CHECKPOINTS} AS c SET fence = freed.fence FROM freed "
    "WHERE c.name = %(name)s AND c.slice = freed.slice"
)
# A row that is locked is being claimed by another, or moved by who held it: neither is waited for.
# By its mark a call that is made again finds what it has taken already.
CLAIM = (
    f"WITH free AS (SELECT l.slice, l.clean FROM {_LEASES} AS l JOIN {_CHECKPOINTS} AS c "
    "ON c.name = l.name AND c.slice = l.slice "
    "WHERE l.name = %(name)s AND c.version = %(version)s "
    "AND (l.worker IS NULL OR l.until <= clock_timestamp() OR l.mark = %(mark)s) "
    f"AND NOT EXISTS (SELECT {_OTHERS}) "
    "ORDER BY l.slice LIMIT %(most)s FOR UPDATE OF l, c SKIP LOCKED), "
    f"leased AS (UPDATE {_LEASES} AS l SET fence = greatest(l.fence + 1, {_NOW_MS}), "
    f"worker = %(worker)s, until = {_LATER}, clean = false, mark = %(mark)s "
    "FROM free WHERE l.name = %(name)s AND l.slice = free.slice RETURNING l.slice, l.fence) "
    f"UPDATE {_CHECKPOINTS} AS c SET fence = leased.fence FROM leased JOIN free USING (slice) "
    "WHERE c.name = %(name)s AND c.slice = leased.slice "
    "RETURNING c.slice, c.fence, c.position, c.token, free.clean"
)
UPSERT_WORKER = (
    f"INSERT INTO {_WORKERS} (name, worker, until) SELECT %(name)s, %(worker)s, {_LATER} "
    f"WHERE EXISTS (SELECT FROM {_CHECKPOINTS} "
    "WHERE name = %(name)s AND version = %(version)s) "
    "ON CONFLICT (name, worker) DO UPDATE SET until = excluded.until"
)
# From whoever holds them. Of a checkpoint that is being moved it waits for the commit.
SEIZE = (
    f"WITH before AS (SELECT slice, clean FROM {_LEASES} WHERE name = %(name)s FOR UPDATE), "
    f"leased AS (UPDATE {_LEASES} AS l SET fence = greatest(l.fence + 1, {_NOW_MS}), "
    f"worker = %(worker)s, until = {_LATER}, clean = false, mark = NULL "
    "FROM before WHERE l.name = %(name)s AND l.slice = before.slice "
    "RETURNING l.slice, l.fence, before.clean) "
    f"UPDATE {_CHECKPOINTS} AS c SET fence = leased.fence FROM leased "
    "WHERE c.name = %(name)s AND c.slice = leased.slice "
    "RETURNING c.slice, c.fence, c.position, c.token, leased.clean"
)
# Not waited for: who deletes the same ones does it as well.
DELETE_WORKERS = (
    f"DELETE FROM {_WORKERS} WHERE name = %(name)s AND worker IN (SELECT worker FROM {_WORKERS} "
    "WHERE name = %(name)s AND until <= clock_timestamp() FOR UPDATE SKIP LOCKED)"
)
SELECT_WORKERS = (
    f"SELECT worker, bool_or(holds) FROM (SELECT worker, true AS holds FROM {_LEASES} "
    "WHERE name = %(name)s AND worker IS NOT NULL AND until > clock_timestamp() "
    f"UNION SELECT worker, false FROM {_WORKERS} "
    "WHERE name = %(name)s AND until > clock_timestamp()) AS w GROUP BY worker"
)
_FENCES = "json_to_recordset(%(fences)s::json) AS f(slice integer, fence bigint)"
RENEW = (
    f"UPDATE {_LEASES} AS l SET until = {_LATER} FROM {_FENCES} WHERE l.name = %(name)s "
    "AND l.slice = f.slice AND l.fence = f.fence AND l.worker = %(worker)s RETURNING l.slice"
)
# With another fence, so that who has let go of it moves it no more; its tries are forgotten.
RELEASE = (
    f"WITH freed AS (UPDATE {_LEASES} AS l SET worker = NULL, until = NULL, fence = l.fence + 1, "
    f"clean = true, trying = NULL, tries = 0 FROM {_FENCES} WHERE l.name = %(name)s "
    "AND l.slice = f.slice AND l.fence = f.fence RETURNING l.slice, l.fence) "
    f"UPDATE {_CHECKPOINTS} AS c SET fence = freed.fence, error = %(error)s "
    "FROM freed WHERE c.name = %(name)s AND c.slice = freed.slice"
)
# Before it, as it knows who had them: who holds nothing else has gone.
DELETE_WORKER = (
    f"DELETE FROM {_WORKERS} AS w USING {_LEASES} AS l, {_FENCES} WHERE w.name = %(name)s "
    "AND l.name = %(name)s AND l.slice = f.slice AND l.fence = f.fence AND l.worker = w.worker "
    f"AND NOT EXISTS (SELECT FROM {_LEASES} AS o WHERE o.name = %(name)s AND o.worker = w.worker "
    f"AND o.slice NOT IN (SELECT f.slice FROM {_FENCES}))"
)
# By its mark a call that is made again is not counted twice.
ATTEMPT = (
    f"UPDATE {_LEASES} SET trying = %(position)s, mark = %(mark)s, "
    "tries = CASE WHEN trying IS DISTINCT FROM %(position)s THEN 1 "
    "WHEN mark = %(mark)s THEN tries ELSE tries + 1 END "
    f"WHERE {_SLICE} AND fence = %(fence)s RETURNING tries"
)

# --- records that are set aside ---

_DUE = "clock_timestamp() + make_interval(secs => %(due_s)s)"
# What was given up stays so: it may have been while it was tried.
UPSERT_PARKED = (
    f"INSERT INTO {_PARKED} AS p (name, slice, position, stream, id, status, tries, due, error) "
    "SELECT %(name)s, %(slice)s, %(position)s, %(stream)s, %(id)s, %(status)s, %(tries)s, "
    f"{_DUE}, %(error)s WHERE {_OURS} "
    "ON CONFLICT (name, position) DO UPDATE SET slice = excluded.slice, stream = excluded.stream, "
    "id = excluded.id, status = excluded.status, tries = excluded.tries, due = excluded.due, "
    "error = excluded.error WHERE p.status <> 'dropped'"
)
DELETE_PARKED = (
    f"DELETE FROM {_PARKED} WHERE name = %(name)s AND position = %(position)s AND {_OURS}"
)
_HELD_UP = "status IN ('retrying', 'parked', 'behind')"
# From stream to stream by the index: behind one record there may be very many.
SELECT_DUE = (
    f"WITH RECURSIVE first AS ((SELECT p.* FROM {_PARKED} AS p WHERE name = %(name)s "
    f"AND {_HELD_UP} ORDER BY stream, position LIMIT 1) UNION ALL SELECT n.* FROM first AS f, "
    f"LATERAL (SELECT p.* FROM {_PARKED} AS p WHERE name = %(name)s AND stream > f.stream "
    f"AND {_HELD_UP} ORDER BY stream, position LIMIT 1) AS n) "
    "SELECT slice, stream, position, tries, CASE status WHEN 'behind' THEN 0 WHEN 'retrying' THEN "
    "extract(epoch FROM due - clock_timestamp())::float8 END FROM first "
    "WHERE slice = ANY(string_to_array(%(slices)s, ',')::integer[]) ORDER BY position"
)
SELECT_PARKED = (
    "SELECT name, slice, position, stream, id, status, tries, "
    "extract(epoch FROM due - clock_timestamp())::float8, error, "
    f"extract(epoch FROM clock_timestamp() - since)::float8 FROM {_PARKED} "
    "WHERE (%(name)s::text IS NULL OR name = %(name)s) "
    "AND (%(stream)s::text IS NULL OR stream = %(stream)s) "
    f"AND (NOT %(held_up)s::boolean OR {_HELD_UP}) "
    "ORDER BY name, position LIMIT %(limit)s"
)
_CHOSEN = (
    "name = %(name)s AND (%(stream)s::text IS NULL OR stream = %(stream)s) "
    "AND (%(position)s::bigint IS NULL OR position = %(position)s)"
)
RETRY = (
    f"UPDATE {_PARKED} SET status = 'retrying', tries = 0, due = clock_timestamp() "
    f"WHERE {_CHOSEN} AND status = 'parked' RETURNING position"
)
DROP = (
    f"UPDATE {_PARKED} SET status = 'dropped', due = NULL "
    f"WHERE {_CHOSEN} AND status IN ('parked', 'retrying') RETURNING position"
)

# --- effects ---

INSERT_HANDLERS = (
    f"INSERT INTO {_HANDLERS} (name, handler, position) SELECT %(name)s, h, %(position)s "
    "FROM json_array_elements_text(%(handlers)s::json) AS h ON CONFLICT DO NOTHING"
)
BEGIN_HANDLERS = (
    f"INSERT INTO {_HANDLERS} (name, handler, position) SELECT %(name)s, h, %(position)s "
    f"FROM json_array_elements_text(%(handlers)s::json) AS h WHERE {_OURS} ON CONFLICT DO NOTHING"
)
SELECT_HANDLERS = f"SELECT handler, position FROM {_HANDLERS} WHERE name = %(name)s"
INSERT_EFFECT = (
    f"INSERT INTO {_EFFECTS} (name, handler, slice, position, stream, id, status, tries, due, "
    "result, happened, error) SELECT %(name)s, %(handler)s, %(slice)s, %(position)s, %(stream)s, "
    f"%(id)s, %(status)s, %(tries)s, {_DUE}, %(result)s, %(happened)s, %(error)s WHERE {_OURS} "
    "ON CONFLICT DO NOTHING"
)
_UNFINISHED = "status IN ('pending', 'intent', 'succeeded', 'retrying', 'ambiguous', 'parked')"
_DUE_IN_S = "extract(epoch FROM due - clock_timestamp())::float8"
# From lane to lane by the index: in one there may be very many.
SELECT_LANES = (
    f"WITH RECURSIVE first AS ((SELECT e.* FROM {_EFFECTS} AS e WHERE name = %(name)s "
    f"AND (handler, stream) > (%(handler)s, %(stream)s) AND {_UNFINISHED} "
    "ORDER BY handler, stream, position LIMIT 1) UNION ALL SELECT n.* FROM first AS f, "
    f"LATERAL (SELECT e.* FROM {_EFFECTS} AS e WHERE name = %(name)s "
    f"AND (handler, stream) > (f.handler, f.stream) AND {_UNFINISHED} "
    "ORDER BY handler, stream, position LIMIT 1) AS n) "
    f"SELECT handler, stream, slice, {_DUE_IN_S} FROM first "
    "WHERE due <= clock_timestamp() + make_interval(secs => %(within_s)s) "
    "AND slice = ANY(string_to_array(%(slices)s, ',')::integer[]) LIMIT %(limit)s"
)
_EFFECT = (
    f"name, handler, slice, position, stream, id, status, tries, {_DUE_IN_S}, result, happened, "
    "error, extract(epoch FROM clock_timestamp() - intent)::float8, "
    "extract(epoch FROM clock_timestamp() - since)::float8"
)
SELECT_LANE = (
    f"SELECT {_EFFECT} FROM {_EFFECTS} WHERE name = %(name)s AND handler = %(handler)s "
    f"AND stream = %(stream)s AND {_UNFINISHED} ORDER BY position LIMIT %(limit)s"
)
# Held to the commit, so that nobody else claims the slice meanwhile.
_HELD = (
    f"held AS MATERIALIZED (SELECT c.slice FROM {_CHECKPOINTS} AS c "
    "WHERE c.name = %(name)s AND c.slice = %(slice)s AND c.fence = %(fence)s FOR SHARE)"
)
# By its mark a call that is made again finds what it has changed already.
_CHANGED = (
    f"changed AS (UPDATE {_EFFECTS} SET status = %(status)s, tries = %(tries)s, due = {_DUE}, "
    "result = %(result)s, happened = %(happened)s, error = %(error)s, mark = %(mark)s, "
    "intent = CASE WHEN %(status)s = 'intent' THEN clock_timestamp() ELSE intent END "
    "WHERE name = %(name)s AND handler = %(handler)s AND position = %(position)s "
    "AND (status = %(before)s AND tries = %(before_tries)s OR mark = %(mark)s)"
)
_COUNT = "(SELECT count(*) FROM changed)"
CHANGE_EFFECT = f"WITH {_CHANGED} RETURNING position) SELECT 1, {_COUNT}"
CHANGE_EFFECT_HELD = (
    f"WITH {_HELD}, {_CHANGED} AND (SELECT count(*) FROM held) = 1 RETURNING position) "
    f"SELECT (SELECT count(*) FROM held), {_COUNT}"
)
MARK_AMBIGUOUS = (
    f"WITH held AS MATERIALIZED (SELECT c.slice FROM {_CHECKPOINTS} AS c, "
    "json_to_recordset(%(fences)s::json) AS f(slice integer, fence bigint) "
    "WHERE c.name = %(name)s AND c.slice = f.slice AND c.fence = f.fence "
    "ORDER BY c.slice FOR SHARE OF c) "
    f"UPDATE {_EFFECTS} AS e SET status = 'ambiguous', due = clock_timestamp() "
    "WHERE e.name = %(name)s AND e.status = 'intent' AND e.slice IN (SELECT slice FROM held) "
    "AND NOT EXISTS (SELECT FROM json_to_recordset(%(but)s::json) "
    "AS b(handler text, position bigint) WHERE b.handler = e.handler AND b.position = e.position) "
    "RETURNING e.position"
)
SELECT_EFFECTS = (
    f"SELECT {_EFFECT} FROM {_EFFECTS} WHERE (%(name)s::text IS NULL OR name = %(name)s) "
    "AND (%(status)s::text IS NULL OR status = %(status)s) "
    "AND (%(stream)s::text IS NULL OR stream = %(stream)s) "
    "AND (%(position)s::bigint IS NULL OR position = %(position)s) "
    "ORDER BY name, position, handler LIMIT %(limit)s"
)
COUNT_EFFECTS = (
    "SELECT name, count(*) FILTER (WHERE status NOT IN ('ambiguous', 'parked')), "
    "count(*) FILTER (WHERE status = 'ambiguous'), count(*) FILTER (WHERE status = 'parked'), "
    "extract(epoch FROM clock_timestamp() - min(since))::float8 "
    f"FROM {_EFFECTS} WHERE {_UNFINISHED} GROUP BY name ORDER BY name"
)

# --- the whole of a subscription ---

# Of some positions: those that a subscription has yet to deal with. Each by the name and position
# of what it looks for, as finished effects may be many.
SELECT_NEEDED = (
    "SELECT p.position FROM (SELECT string_to_table(%(positions)s, ',')::bigint AS position) AS p "
    f"WHERE EXISTS (SELECT FROM {_CHECKPOINTS} AS c WHERE left(c.name, 1) <> '$' AND ("
    "c.position < p.position "
    f"OR EXISTS (SELECT FROM {_PARKED} AS h WHERE h.name = c.name AND h.position = p.position "
    f"AND h.{_HELD_UP}) "
    f"OR EXISTS (SELECT FROM {_EFFECTS} AS e WHERE e.name = c.name AND e.position = p.position "
    f"AND e.{_UNFINISHED})))"
)
SELECT_STATUSES = (
    "SELECT c.name, c.slice, c.slices, c.position, l.worker, "
    "extract(epoch FROM l.until - clock_timestamp())::float8, "
    "extract(epoch FROM clock_timestamp() - c.moved)::float8, c.error, "
    "coalesce(p.parked, 0), coalesce(p.retrying, 0), coalesce(p.behind, 0), c.version "
    f"FROM {_CHECKPOINTS} AS c JOIN {_LEASES} AS l ON l.name = c.name AND l.slice = c.slice "
    "LEFT JOIN (SELECT name, slice, count(*) FILTER (WHERE status = 'parked') AS parked, "
    "count(*) FILTER (WHERE status = 'retrying') AS retrying, "
    "count(*) FILTER (WHERE status = 'behind') AS behind "
    f"FROM {_PARKED} WHERE {_HELD_UP} GROUP BY name, slice) AS p "
    "ON p.name = c.name AND p.slice = c.slice ORDER BY c.name, c.slice"
)
LOCK_LEASES = (
    "SELECT worker IS NOT NULL AND until > clock_timestamp() "
    f"FROM {_LEASES} WHERE name = %(name)s ORDER BY slice FOR UPDATE"
)
# What was held is nobody's; with fences above all that were given under either name, as two
# subscriptions may have been given the same.
RENAME = (
    f"WITH freed AS (UPDATE {_LEASES} AS l SET name = %(after)s, worker = NULL, until = NULL, "
    f"fence = greatest({_NOW_MS}, 1 + (SELECT max(fence) FROM {_LEASES} "
    "WHERE name IN (%(before)s, %(above)s))), "
    f"clean = true, trying = NULL, tries = 0, mark = NULL FROM {_FENCES} "
    f"WHERE l.name = %(before)s AND l.slice = f.slice AND l.fence = f.fence AND {_OURS} "
    "RETURNING l.slice, l.fence) "
    f"UPDATE {_CHECKPOINTS} AS c SET name = %(after)s, fence = freed.fence, error = '' "
    "FROM freed WHERE c.name = %(before)s AND c.slice = freed.slice RETURNING c.slices"
)
RENAME_PARKED = f"UPDATE {_PARKED} SET name = %(after)s WHERE name = %(before)s AND {_OURS}"
FORGET_WORKERS = f"DELETE FROM {_WORKERS} WHERE name = %(before)s AND {_OURS}"
# In the order in which transactions of handlers take them.
FORGET = tuple(
    f"DELETE FROM {table} WHERE name = %(after)s AND {_OURS}"
    for table in (_LEASES, _CHECKPOINTS, _PARKED, _WORKERS)
)
REMOVE = tuple(
    f"DELETE FROM {table} WHERE name = %(name)s"
    for table in (_LEASES, _CHECKPOINTS, _PARKED, _EFFECTS, _HANDLERS, _WORKERS)
)
