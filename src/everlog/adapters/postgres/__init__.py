"""The central repository: one PostgreSQL schema, shared by any number of processes and services."""
