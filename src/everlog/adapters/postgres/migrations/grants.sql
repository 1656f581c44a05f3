-- What a role needs that reads and appends, and not more. It may run again.
GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT ON :"schema".migrations TO :"role";
GRANT SELECT, UPDATE ON :"schema".ledger_head TO :"role";
GRANT SELECT, INSERT ON :"schema".records TO :"role";
-- A tombstone, and its way back; all else no one may change.
GRANT UPDATE (nonce, data, meta) ON :"schema".records TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".registers TO :"role";
GRANT SELECT, INSERT, DELETE ON :"schema".relations TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".relation_revisions TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".snapshots TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".subscription_checkpoints TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".subscription_leases TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".subscription_workers TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".subscription_parked TO :"role";
GRANT SELECT, INSERT, DELETE ON :"schema".subscription_handlers TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".subscription_effects TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".sync_upstreams TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".sync_entries TO :"role";
GRANT SELECT, INSERT, DELETE ON :"schema".sync_held TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".unfolded TO :"role";
