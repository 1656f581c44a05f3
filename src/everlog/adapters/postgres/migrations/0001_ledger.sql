-- The log, its head, relations and snapshots; first what says which steps were applied.
-- Texts that order are COLLATE "C": by code point, on every server and after every upgrade alike.

DO $$ BEGIN
    IF getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'everlog: the encoding % cannot hold every text; create the database with ENCODING UTF8',
            getdatabaseencoding();
    END IF;
    -- Not IF NOT EXISTS: that asks for the right to create schemas also where there is nothing to do.
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = :'schema') THEN
        CREATE SCHEMA :"schema";
    END IF;
END $$;

CREATE TABLE :"schema".migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    -- SHA-256 of the step's text, as it was shipped.
    digest text NOT NULL,
    applied timestamptz NOT NULL DEFAULT now()
);

-- One row: who the ledger is and how far it has got. Read and advanced inside every commit, so it has
-- a page of its own with room for its next versions.
CREATE TABLE :"schema".ledger_head (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    ledger text NOT NULL,
    node text NOT NULL,
    epoch text NOT NULL,
    position bigint NOT NULL,
    chain bytea NOT NULL,
    clock text COLLATE "C" NOT NULL,
    newest_created text COLLATE "C" NOT NULL,
    newest_id text COLLATE "C" NOT NULL,
    -- No record has more bytes of data and meta: a page of so many needs no counting.
    largest integer NOT NULL
) WITH (fillfactor = 10);
-- The identity is random, and nothing has happened yet: the clock stands at the beginning of time.
INSERT INTO :"schema".ledger_head (ledger, node, epoch, position, chain, clock, newest_created, newest_id,
    largest)
SELECT substr(dice, 1, 32), substr(dice, 33, 16), substr(dice, 49, 16),
       0, sha256('everlog:chain:1'), repeat('0', 32), '', '', 0
FROM (SELECT encode(sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')), 'hex')
      AS dice) AS thrown;

-- The log. Positions are data and given under the lock: no sequence, so no gap, and a restored dump has
-- the same. data and meta are json and not jsonb, which would rewrite what was hashed. nonce, data and
-- meta may become NULL together (a tombstone) and nothing else may ever change.
CREATE TABLE :"schema".records (
    position bigint NOT NULL,
    version bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    schema integer NOT NULL,
    register text COLLATE "C" NOT NULL,
    origin text COLLATE "C" NOT NULL,
    correlation text COLLATE "C" NOT NULL,
    causation text COLLATE "C",
    created text COLLATE "C" NOT NULL,
    recorded text COLLATE "C" NOT NULL,
    flags integer NOT NULL,
    nonce bytea,
    data json,
    meta json,
    hash bytea NOT NULL,
    chain bytea NOT NULL,
    -- Whether an older position already stood after it in the order of folds.
    late boolean NOT NULL,
    -- Bytes of data and meta, so that a page of large events can be cut without reading them.
    size integer NOT NULL,
    CONSTRAINT records_position PRIMARY KEY (position),
    CONSTRAINT records_id UNIQUE (id)
);

-- A stream in order of position, which is also its order of versions.
CREATE INDEX records_by_stream ON :"schema".records (stream, position);

-- Only what came late, so it costs nothing where nothing does: the second run of a fold.
CREATE INDEX records_late_in_stream ON :"schema".records (stream, created, id) WHERE late;
CREATE INDEX records_late ON :"schema".records (created, id) WHERE late;

-- The newest record of each register in each stream: what `outdated` is judged by.
CREATE TABLE :"schema".registers (
    stream text COLLATE "C" NOT NULL,
    register text COLLATE "C" NOT NULL,
    created text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    PRIMARY KEY (stream, register)
) WITH (fillfactor = 80);

CREATE TABLE :"schema".relations (
    relation text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    PRIMARY KEY (relation, stream)
);
CREATE INDEX relations_by_stream ON :"schema".relations (stream);

-- Counts the changes of a relation's membership; never goes back, so a snapshot can tell.
CREATE TABLE :"schema".relation_revisions (
    relation text COLLATE "C" PRIMARY KEY,
    revision bigint NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE :"schema".snapshots (
    scope text COLLATE "C" NOT NULL,
    reducer text COLLATE "C" NOT NULL,
    reducer_version bigint NOT NULL,
    shape text COLLATE "C" NOT NULL,
    filter text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    created text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    count bigint NOT NULL,
    revision bigint NOT NULL,
    state text NOT NULL,
    PRIMARY KEY (scope, reducer, reducer_version, shape, filter)
);

-- History is never rewritten: the database itself says no, but for the way to a tombstone. It compares
-- by PostgreSQL's own operators, whatever others the session of the attempt has in its search_path.
CREATE FUNCTION :"schema".records_are_never_changed() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.nonce IS NULL AND NEW.data IS NULL AND NEW.meta IS NULL
            AND (NEW.position, NEW.version, NEW.id, NEW.stream, NEW.type, NEW.schema, NEW.register,
                 NEW.origin, NEW.correlation, NEW.created, NEW.recorded, NEW.flags, NEW.hash,
                 NEW.chain, NEW.late, NEW.size)
              = (OLD.position, OLD.version, OLD.id, OLD.stream, OLD.type, OLD.schema, OLD.register,
                 OLD.origin, OLD.correlation, OLD.created, OLD.recorded, OLD.flags, OLD.hash,
                 OLD.chain, OLD.late, OLD.size)
            AND NEW.causation IS NOT DISTINCT FROM OLD.causation
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'everlog: records are never changed or deleted'
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER records_are_never_changed BEFORE UPDATE OR DELETE ON :"schema".records
    FOR EACH ROW EXECUTE FUNCTION :"schema".records_are_never_changed();
CREATE TRIGGER records_are_never_emptied BEFORE TRUNCATE ON :"schema".records
    FOR EACH STATEMENT EXECUTE FUNCTION :"schema".records_are_never_changed();
-- ALWAYS: also in a session that plays a replica, in which ordinary triggers are silent.
ALTER TABLE :"schema".records ENABLE ALWAYS TRIGGER records_are_never_changed;
ALTER TABLE :"schema".records ENABLE ALWAYS TRIGGER records_are_never_emptied;
