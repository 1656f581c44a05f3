-- A ledger with three records, as the format 1 of its file has it.
BEGIN TRANSACTION;
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
INSERT INTO "ledger" VALUES(1,'f5b165224a58b791df6af1d8303e61cd','c4bb86c3d1c42710','3c344c4189eb2f1e',3,X'B28043CE7F755E3FB53986BA33AF7E22A5D8D70CF822FFDA32F4222D101491A4','019c13ec9e000002c4bb86c3d1c42710','019c13ec9e000002c4bb86c3d1c42710','3');
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
INSERT INTO "records" VALUES(1,1,'1','a','t',1,'t','f5b165224a58b791df6af1d8303e61cd','1',NULL,'019c13ec9e000000c4bb86c3d1c42710','019c13ec9e000000c4bb86c3d1c42710',0,X'312E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E','1','null',X'5DE5328692A54A47438E035BF3682D25D3F450DEE80D0698DC01A1DE6DB92FDF',X'F1F9F698F7A8E2074C121C7A5087D4E8401BEF3BD71B4D95EB3ECD2FB630A45F',0);
INSERT INTO "records" VALUES(2,1,'2','b','t',1,'t','f5b165224a58b791df6af1d8303e61cd','2',NULL,'019c13ec9e000001c4bb86c3d1c42710','019c13ec9e000001c4bb86c3d1c42710',0,X'322E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E','1','null',X'DB5EAE619A7F38F2F866DE684E9551E1AAC65CDF80F276B556528488F7D2D87D',X'71186FE6043BA45EF06104B76B78CF1711B28FF2B719CD22C345358D13AC48E1',0);
INSERT INTO "records" VALUES(3,2,'3','a','t',1,'t','f5b165224a58b791df6af1d8303e61cd','3',NULL,'019c13ec9e000002c4bb86c3d1c42710','019c13ec9e000002c4bb86c3d1c42710',0,X'332E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E2E','1','null',X'FF531FCC7035F7770D419E59E4860F2879D01CE7E4F2AEFFA401F6E74736461C',X'B28043CE7F755E3FB53986BA33AF7E22A5D8D70CF822FFDA32F4222D101491A4',0);
CREATE TABLE registers (
    stream TEXT NOT NULL,
    register TEXT NOT NULL,
    created TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (stream, register)
) STRICT, WITHOUT ROWID;
INSERT INTO "registers" VALUES('a','t','019c13ec9e000002c4bb86c3d1c42710','3');
INSERT INTO "registers" VALUES('b','t','019c13ec9e000001c4bb86c3d1c42710','2');
CREATE TABLE relation_revisions (
    relation TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "relation_revisions" VALUES('r',1);
CREATE TABLE relations (
    relation TEXT NOT NULL,
    stream TEXT NOT NULL,
    PRIMARY KEY (relation, stream)
) STRICT, WITHOUT ROWID;
INSERT INTO "relations" VALUES('r','a');
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
CREATE INDEX records_by_stream ON records (stream);
CREATE INDEX records_late_in_stream ON records (stream, created, id) WHERE late = 1;
CREATE INDEX records_late ON records (created, id) WHERE late = 1;
CREATE INDEX relations_by_stream ON relations (stream);
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
CREATE TRIGGER records_are_never_replaced BEFORE INSERT ON records
WHEN NEW.position <= (SELECT position FROM ledger)
    OR EXISTS (SELECT 1 FROM records WHERE id = NEW.id) BEGIN
    SELECT RAISE(ABORT, 'everlog: positions and ids are never used twice');
END;
COMMIT;
