-- Durable subscriptions: how far each slice has got, who holds it, and which records are set aside.
-- A checkpoint and its lease are two rows: a transaction of handlers locks the one to its commit, and
-- meanwhile the other is prolonged.

-- How far a slice has got. Moved in the transaction of the handlers, by whoever has its fence.
CREATE TABLE :"schema".subscription_checkpoints (
    name text COLLATE "C" NOT NULL,
    slice integer NOT NULL,
    slices integer NOT NULL,
    position bigint NOT NULL,
    token text,
    -- Of the projection that is run under this name.
    version integer NOT NULL DEFAULT 1,
    fence bigint NOT NULL,
    -- Grows with each transaction: tells what became of one whose answer was lost.
    moves bigint NOT NULL DEFAULT 0,
    moved timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Why its last worker stopped; empty when it goes on.
    error text NOT NULL DEFAULT '',
    PRIMARY KEY (name, slice)
) WITH (fillfactor = 20);

-- Who holds a slice, and until when. Fences begin with the time, so that those of a subscription that
-- was removed and made again, or that a server lost in a fail-over, are not given twice.
CREATE TABLE :"schema".subscription_leases (
    name text COLLATE "C" NOT NULL,
    slice integer NOT NULL,
    fence bigint NOT NULL,
    worker text COLLATE "C",
    until timestamptz,
    clean boolean NOT NULL DEFAULT true,
    -- The position of the record that is being tried, and how often it was.
    trying bigint,
    tries integer NOT NULL DEFAULT 0,
    -- The call that has written this, so that it is known again when its answer was lost.
    mark text,
    PRIMARY KEY (name, slice)
) WITH (fillfactor = 20);

-- Who has tried to get a slice, and until when that counts.
CREATE TABLE :"schema".subscription_workers (
    name text COLLATE "C" NOT NULL,
    worker text COLLATE "C" NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (name, worker)
) WITH (fillfactor = 50);

-- Records that are set aside, and the traces of those that were given up.
CREATE TABLE :"schema".subscription_parked (
    name text COLLATE "C" NOT NULL,
    slice integer NOT NULL,
    position bigint NOT NULL,
    stream text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    status text NOT NULL CHECK (status IN ('retrying', 'parked', 'behind', 'skipped', 'dropped')),
    tries integer NOT NULL,
    due timestamptz,
    error text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (name, position)
) WITH (fillfactor = 80);

-- The first record of a stream that holds it up.
CREATE INDEX subscription_parked_first ON :"schema".subscription_parked (name, stream, position)
    WHERE status IN ('retrying', 'parked', 'behind');

-- Behind which position the effects of a handler begin.
CREATE TABLE :"schema".subscription_handlers (
    name text COLLATE "C" NOT NULL,
    handler text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (name, handler)
);

-- What is owed outside of the database, and what is known of it. Finished ones stay.
CREATE TABLE :"schema".subscription_effects (
    name text COLLATE "C" NOT NULL,
    handler text COLLATE "C" NOT NULL,
    slice integer NOT NULL,
    position bigint NOT NULL,
    stream text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    status text NOT NULL CHECK (status IN (
        'pending', 'intent', 'succeeded', 'done', 'retrying', 'ambiguous', 'parked', 'dropped', 'failed'
    )),
    tries integer NOT NULL,
    -- When something is to be done for it by itself.
    due timestamptz,
    result text COLLATE "C",
    happened boolean NOT NULL,
    error text NOT NULL,
    intent timestamptz,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The call that has written this, so that it is known again when its answer was lost.
    mark text,
    PRIMARY KEY (name, position, handler)
) WITH (fillfactor = 50);

-- First things first: a lane is a handler and a stream.
CREATE INDEX subscription_effects_lanes ON :"schema".subscription_effects (name, handler, stream, position)
    WHERE status IN ('pending', 'intent', 'succeeded', 'retrying', 'ambiguous', 'parked');
