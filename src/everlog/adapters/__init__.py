"""Where logs live: one folder per kind of database, with the same files in each."""
