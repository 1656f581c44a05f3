"""A real PostgreSQL server for tests: started, killed, started again, and gone at the end."""

from __future__ import annotations

from everlog.testing.postgresql.server import PostgresServer, postgres

__all__ = ["PostgresServer", "postgres"]
