-- What the ledger knows of the histories of those that it synchronises with.

-- How far it has got along the history of each upstream. past, marks and strict are lists, as
-- JSON.
CREATE TABLE :"schema".sync_upstreams (
    upstream text COLLATE "C" PRIMARY KEY,
    epoch text COLLATE "C" NOT NULL,
    past text NOT NULL,
    marks text NOT NULL,
    settled bigint NOT NULL,
    strict text NOT NULL,
    scope text NOT NULL
) WITH (fillfactor = 20);

-- Its copy of that history: which of its own records stands where there. position is NULL for what stood
-- there before the upstream's history was another.
CREATE TABLE :"schema".sync_entries (
    upstream text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    position bigint,
    version bigint NOT NULL,
    flags integer NOT NULL,
    receipt bytea,
    -- 1: the upstream does not give it; 2: so its content went. 0 for all that it gives.
    outside smallint NOT NULL DEFAULT 0,
    PRIMARY KEY (upstream, id)
);

-- What a rewind takes out.
CREATE INDEX sync_entries_by_position ON :"schema".sync_entries (upstream, position)
    WHERE position IS NOT NULL;

-- What is to go, and what is gone.
CREATE INDEX sync_entries_outside ON :"schema".sync_entries (upstream, position) WHERE outside = 1;
CREATE INDEX sync_entries_gone ON :"schema".sync_entries (upstream) WHERE outside = 2;

-- What is set aside. record is set where the upstream's record cannot be stored here: its fields as JSON.
CREATE TABLE :"schema".sync_held (
    upstream text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    stream text COLLATE "C" NOT NULL,
    verdict text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    since_ms bigint NOT NULL,
    record text,
    PRIMARY KEY (upstream, id)
);

-- Records that no fold has. A table and not a flag, which never changes: what an upstream has as an orphan
-- may have been stored before it was one. replacement is the id of the record that has taken its place;
-- NULL for an orphan.
CREATE TABLE :"schema".unfolded (
    position bigint PRIMARY KEY,
    replacement text COLLATE "C"
);

-- How often it has changed which those are, or which have their content.
ALTER TABLE :"schema".ledger_head ADD COLUMN unfoldings bigint NOT NULL DEFAULT 0;

-- The way to a tombstone, and back: the content may come again where it was, if it is the same. That the
-- hash says, which no trigger can compute.
CREATE OR REPLACE FUNCTION :"schema".records_are_never_changed() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.nonce IS NULL AND NEW.data IS NULL AND NEW.meta IS NULL
                OR OLD.nonce IS NULL AND OLD.data IS NULL AND OLD.meta IS NULL
                AND NEW.nonce IS NOT NULL AND NEW.data IS NOT NULL AND NEW.meta IS NOT NULL)
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
