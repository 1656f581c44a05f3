"""The PostgreSQL server of a run, and the addresses of logs on it."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

SHOWN = ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers")


@contextmanager
def server() -> Generator[str]:
    """Yields the URL of a new database on a durable server, which is gone afterwards.

    It is the server whose URL is in EVERLOG_TEST_POSTGRES, or else one that is started.
    """
    # Not at the top: the floor and the peers are measured without everlog in memory.
    from everlog.testing import postgres

    with postgres(durable=True) as started:
        yield started.new_database()


def settings_of(url: str) -> Mapping[str, str]:
    """Returns the version of a server, and what a figure depends on."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = {"version": connection.execute("SHOW server_version").fetchall()[0][0]}
        for name in SHOWN:
            shown = connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name)))
            found[name] = shown.fetchall()[0][0]
    return found


def address(url: str, schema: str) -> str:
    """Returns the address of the log in a schema, as `EventStore.open` takes it."""
    scheme, place, path, query, fragment = urlsplit(url)
    query = urlencode([*parse_qsl(query), ("schema", schema)])
    return urlunsplit((scheme, place, path, query, fragment))


def split(address: str) -> tuple[str, str]:
    """Returns URL and schema of an address."""
    scheme, place, path, query, fragment = urlsplit(address)
    values = parse_qsl(query)
    rest = urlencode([(name, value) for name, value in values if name != "schema"])
    return urlunsplit((scheme, place, path, rest, fragment)), dict(values)["schema"]


def conninfo(address: str) -> str:
    """Returns what libpq connects with so that plain table names are those of the log."""
    url, schema = split(address)
    return make_conninfo(url, options=f"-c search_path={schema}")


def create_schema(url: str) -> str:
    """Makes an empty schema; returns its name."""
    name = f"bench_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    return name


def drop_schema(url: str, name: str) -> None:
    """Drops a schema with all that is in it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


def vacuum(address: str) -> None:
    """Vacuums and analyses all tables of a log."""
    with psycopg.connect(conninfo(address), autocommit=True) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        ).fetchall()
        for (table,) in tables:
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))


def has_table(url: str, schema: str, name: str) -> bool:
    """Whether there is a table of this name in a schema."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT to_regclass(%s)", (f"{schema}.{name}",))
        return found.fetchall() != [(None,)]


def require_synced(fsync: object, synchronous_commit: object) -> None:
    """Raises if a connection that writes does not wait until a commit is on disk."""
    if (fsync, synchronous_commit) not in (("on", "on"), ("on", "remote_apply")):
        raise RuntimeError(
            f"fsync={fsync}, synchronous_commit={synchronous_commit}: not comparable"
        )
