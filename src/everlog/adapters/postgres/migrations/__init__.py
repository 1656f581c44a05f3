"""The numbered steps from an empty schema to today's: SQL, with `:"schema"` for its name."""
