"""The numbered steps from an empty schema to today's, as plain SQL for psql and for `migrating`."""
