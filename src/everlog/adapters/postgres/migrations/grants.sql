-- What a role needs that reads and appends, and not more. It may run again.
GRANT USAGE ON SCHEMA :"schema" TO :"role";
GRANT SELECT ON :"schema".migrations TO :"role";
GRANT SELECT, UPDATE ON :"schema".ledger_head TO :"role";
GRANT SELECT, INSERT ON :"schema".records TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".registers TO :"role";
GRANT SELECT, INSERT, DELETE ON :"schema".relations TO :"role";
GRANT SELECT, INSERT, UPDATE ON :"schema".relation_revisions TO :"role";
GRANT SELECT, INSERT, UPDATE, DELETE ON :"schema".snapshots TO :"role";
