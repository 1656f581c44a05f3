"""The tables of the floor on PostgreSQL, and every statement that touches them.

Lists travel as one text per column, an item a line: JSON, ids and names hold no control characters,
and nothing else that psycopg can send is as cheap. What is binary travels as one value, cut apart
by `substr`.
"""

from __future__ import annotations

from typing import LiteralString

_TABLES = """
CREATE TABLE ledger (
    one boolean PRIMARY KEY DEFAULT true CHECK (one), position bigint NOT NULL,
    chain bytea NOT NULL, clock bigint NOT NULL, origin text NOT NULL, node text NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE records (
    position bigint PRIMARY KEY, version bigint NOT NULL, id text COLLATE "C" NOT NULL UNIQUE,
    stream text COLLATE "C" NOT NULL, type text COLLATE "C" NOT NULL, schema integer NOT NULL,
    register text COLLATE "C" NOT NULL, origin text COLLATE "C" NOT NULL,
    correlation text COLLATE "C" NOT NULL, causation text COLLATE "C",
    created text COLLATE "C" NOT NULL, recorded text COLLATE "C" NOT NULL, flags integer NOT NULL,
    nonce bytea, data json, meta json, hash bytea NOT NULL, chain bytea NOT NULL,
    late boolean NOT NULL, size integer NOT NULL);

CREATE INDEX records_by_stream ON records (stream, position);

CREATE INDEX records_late_in_stream ON records (stream, created, id) WHERE late;

CREATE INDEX records_late ON records (created, id) WHERE late;

CREATE TABLE registers (
    stream text COLLATE "C" NOT NULL, register text COLLATE "C" NOT NULL,
    created text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL,
    PRIMARY KEY (stream, register)) WITH (fillfactor = 80);

CREATE TABLE snapshots (
    stream text COLLATE "C" NOT NULL, reducer text COLLATE "C" NOT NULL,
    position bigint NOT NULL, state text NOT NULL, PRIMARY KEY (stream, reducer));

CREATE FUNCTION records_are_never_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE integrity_constraint_violation USING MESSAGE = 'records are never changed'; END $$;

CREATE TRIGGER records_are_never_changed BEFORE UPDATE OR DELETE ON records
    FOR EACH ROW EXECUTE FUNCTION records_are_never_changed();

CREATE TRIGGER records_are_never_emptied BEFORE TRUNCATE ON records
    FOR EACH STATEMENT EXECUTE FUNCTION records_are_never_changed()
"""

COLUMNS = (
    "position, version, id, stream, type, schema, register, origin, correlation, causation, "
    "created, recorded, flags, nonce, data, meta, hash, chain"
)


def _version_of(stream: LiteralString) -> LiteralString:
    # By the pair, because only one index has that order: a plan that was made while the log was
    # small must not walk through all of it later.
    return (
        f"(SELECT CASE WHEN r.stream = {stream} THEN r.version END FROM records r "
        f"WHERE (r.stream, r.position) <= ({stream}, 9223372036854775807) "
        "ORDER BY r.stream DESC, r.position DESC LIMIT 1)"
    )


SELECT_HEAD = "SELECT position, chain, clock FROM ledger"
SELECT_IDENTITY = "SELECT origin, node FROM ledger"

# --- one trip: whoever was the last to write guesses that nobody has written since ---
#
# The UPDATE waits for the row and then looks again (READ COMMITTED): it moves the head only from
# where the writer left it, and only then is anything stored. So everything that the writer knew at
# that position is still true, the versions of streams too.

_MOVE = (
    "WITH moved AS (UPDATE ledger SET position = %b::bigint, chain = %b, clock = %b::bigint "
    "WHERE position = %b::bigint RETURNING position), "
)
GUESS_ONE = (
    _MOVE + "stored AS (INSERT INTO records SELECT moved.position, %b::bigint, %s, %s, %s, 1, %s, "
    "%s, %s, NULL, %s, %s, 0, %b, data::json, meta::json, %b, %b, false, "
    "octet_length(data) + octet_length(meta) "
    "FROM moved, (SELECT %s::text, %s::text) AS content(data, meta)), "
    "kept AS (INSERT INTO registers SELECT %s, %s, %s, %s FROM moved "
    "ON CONFLICT (stream, register) DO UPDATE SET created = excluded.created, id = excluded.id) "
    "SELECT position FROM moved"
)


def _lines(count: int) -> LiteralString:
    one: LiteralString = "string_to_table(%s, E'\\n')"
    return f"{one}, " * (count - 1) + one


# Of n rows: the first position less one, then version, id, stream, created, data and meta of each;
# of each nonce, hash and chain in one.
_ROWS = (
    "SELECT %b::bigint + i, version::bigint, id, stream, kind, 1, kind, origin, id, NULL, created, "
    "created, 0, substr(hashes, (96 * i - 95)::int, 32), data::json, meta::json, "
    "substr(hashes, (96 * i - 63)::int, 32), substr(hashes, (96 * i - 31)::int, 32), false, "
    "octet_length(data) + octet_length(meta) "
    f"FROM ROWS FROM ({_lines(6)}) WITH ORDINALITY "
    "AS t(version, id, stream, created, data, meta, i), "
    "(SELECT %b::bytea, %s::text, %s::text) AS same(hashes, kind, origin)"
)
_REGISTERS = (
    f"SELECT stream, %s, created, id FROM ROWS FROM ({_lines(3)}) AS t(stream, created, id)"
)
_KEPT = "ON CONFLICT (stream, register) DO UPDATE SET created = excluded.created, id = excluded.id"
GUESS_MANY = (
    f"{_MOVE} stored AS (INSERT INTO records {_ROWS}, moved), "
    f"kept AS (INSERT INTO registers {_REGISTERS}, moved {_KEPT}) SELECT position FROM moved"
)

# --- one trip, whoever else writes: the server places the events, so that no lock is ever held ---
# --- while a client, which may have to wait for a core, thinks about it ---

_FUNCTION = f"""
CREATE FUNCTION append(
    ids text, streams text, quoted_streams text, nonces bytea, commitments text, datas text,
    metas text, kind text, quoted_kind text, now bigint
) RETURNS TABLE ("position" bigint, version bigint, created text, hash bytea, chain bytea)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    a_position bigint; a_chain bytea; a_clock bigint; an_origin text; a_node text;
    the_ids text[] := string_to_array(ids, E'\\n');
    the_streams text[] := string_to_array(streams, E'\\n');
    versions bigint[]; createds text[]; hashes bytea[]; chains bytea[];
    count int := cardinality(the_ids);
BEGIN
    SELECT l.position, l.chain, greatest(l.clock, now - 1), l.origin, l.node
    INTO a_position, a_chain, a_clock, an_origin, a_node FROM ledger l FOR UPDATE;
    -- In a statement of its own: it sees what was committed before the row was ours.
    SELECT array_agg(placed.version ORDER BY i), array_agg(placed.created ORDER BY i),
        array_agg(sha256(convert_to(
            '{{"causation":null,"commitment":"' || commitment || '","correlation":"' || id
            || '","created":"' || placed.created || '","format":1,"id":"' || id || '","origin":"'
            || an_origin || '","register":' || quoted_kind || ',"schema":1,"stream":'
            || quoted_stream || ',"type":' || quoted_kind || '}}', 'UTF8')) ORDER BY i)
    INTO versions, createds, hashes
    FROM (
        SELECT i, id, commitment, quoted_stream,
            lpad(to_hex(a_clock + i), 16, '0') || a_node AS created,
            coalesce(known.version, 0) + row_number() OVER (PARTITION BY t.stream ORDER BY i)
                AS version
        FROM unnest(the_ids, the_streams, string_to_array(quoted_streams, E'\\n'),
                string_to_array(commitments, E'\\n')) WITH ORDINALITY
            AS t(id, stream, quoted_stream, commitment, i)
        JOIN (SELECT stream, {_version_of("s.stream")} AS version
              FROM (SELECT DISTINCT unnest(the_streams) AS stream) s) known USING (stream)
    ) placed;
    FOR i IN 1 .. count LOOP
        a_chain := sha256(a_chain || hashes[i] || int8send(versions[i]) || '\\x00'::bytea);
        chains[i] := a_chain;
    END LOOP;
    INSERT INTO records
    SELECT a_position + i, t.version, id, stream, kind, 1, kind, an_origin, id, NULL, t.created,
        t.created, 0, substr(nonces, (32 * i - 31)::int, 32), data::json, meta::json, t.hash,
        t.chain, false, octet_length(data) + octet_length(meta)
    FROM unnest(versions, the_ids, the_streams, createds, string_to_array(datas, E'\\n'),
            string_to_array(metas, E'\\n'), hashes, chains) WITH ORDINALITY
        AS t(version, id, stream, created, data, meta, hash, chain, i);
    INSERT INTO registers
    SELECT DISTINCT ON (stream) stream, kind, t.created, id
    FROM unnest(the_streams, createds, the_ids) WITH ORDINALITY AS t(stream, created, id, i)
    ORDER BY stream, i DESC
    {_KEPT};
    UPDATE ledger SET position = a_position + count, chain = a_chain, clock = a_clock + count;
    RETURN QUERY SELECT a_position + i, t.version, t.created, t.hash, t.chain
        FROM unnest(versions, createds, hashes, chains) WITH ORDINALITY
            AS t(version, created, hash, chain, i);
END $$;
"""
CALL = "SELECT * FROM append(%s, %s, %s, %b, %s, %s, %s, %s, %s, %b::bigint)"

# --- several trips: retries by id, expected versions, and so many rows that COPY is faster ---

LOCK = "SELECT FROM ledger FOR UPDATE"
SELECT_VERSIONS = (
    f"SELECT s.stream, {_version_of('s.stream')} FROM string_to_table(%s, E'\\n') AS s(stream)"
)
SELECT_IDS = f"SELECT {COLUMNS} FROM records WHERE id = ANY(string_to_array(%s, E'\\n'))"
COPY = f"COPY records ({COLUMNS}, late, size) FROM STDIN"
INSERT = f"INSERT INTO records {_ROWS}"
UPSERT_REGISTERS = f"INSERT INTO registers {_REGISTERS} {_KEPT}"
UPDATE_HEAD = "UPDATE ledger SET position = %b::bigint, chain = %b, clock = %b::bigint"

# --- records of another log ---

SELECT_NEWEST = "SELECT created, id FROM records WHERE NOT late ORDER BY position DESC LIMIT 1"
SELECT_HASHES = "SELECT id, hash FROM records WHERE id = ANY(string_to_array(%s, E'\\n'))"
SELECT_REGISTERS = (
    "SELECT stream, created, id FROM registers WHERE stream = ANY(string_to_array(%s, E'\\n'))"
)

# --- reading ---

SELECT_PAGE = (
    f"SELECT {COLUMNS} FROM records WHERE position > %b::bigint ORDER BY position LIMIT %b"
)
SELECT_STREAM = f"SELECT {COLUMNS} FROM records WHERE stream = %s ORDER BY stream, position"
SELECT_POSITION = "SELECT position FROM ledger"
# State and events in one statement, which sees one moment: the snapshot first, if it holds.
SELECT_FOLD = (
    "WITH held AS MATERIALIZED (SELECT s.position, s.state FROM snapshots s "
    "WHERE s.stream = %(stream)s AND s.reducer = %(reducer)s AND NOT EXISTS (SELECT FROM records r "
    "WHERE r.late AND r.stream = s.stream AND r.position > s.position)) "
    "SELECT position, 0, NULL, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL::bytea, "
    "state::json, NULL::json, NULL::bytea, NULL::bytea, false, false FROM held "
    f"UNION ALL (SELECT {COLUMNS}, late, true FROM records WHERE stream = %(stream)s "
    "AND position > coalesce((SELECT position FROM held), 0) ORDER BY stream, position)"
)
UPSERT_SNAPSHOT = (
    "INSERT INTO snapshots VALUES (%s, %s, %b::bigint, %s) ON CONFLICT (stream, reducer) "
    "DO UPDATE SET position = excluded.position, state = excluded.state"
)

# --- opening ---

_IDENTITY = (
    "INSERT INTO ledger SELECT true, 0, sha256('everlog:chain:1'), 0, "
    "replace(gen_random_uuid()::text, '-', ''), "
    "right(replace(gen_random_uuid()::text, '-', ''), 16)"
)
CREATE = (*_TABLES.split(";\n\n"), _FUNCTION, _IDENTITY)
SELECT_TABLE = "SELECT to_regclass('ledger')"
SELECT_DURABILITY = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
