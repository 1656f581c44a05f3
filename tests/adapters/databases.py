"""What tests ask of a PostgreSQL database behind everlog's back: pictures, roles, a killer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, LiteralString
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql

PATIENCE_S = 30.0


def ask(url: str, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Returns the rows of one statement, committed at once; none where it has no rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description is not None else []


Picture = tuple[list[tuple[Any, ...]], dict[str, list[tuple[Any, ...]]]]


def picture(url: str, schema: str = "everlog") -> Picture:
    """Returns all that is in a schema, to be compared: what there is, how it is made, its rows."""
    with psycopg.connect(url) as connection:
        run = connection.execute
        things = run(
            "SELECT 'schema', nspname, '' FROM pg_namespace WHERE nspname = %(schema)s "
            "UNION ALL SELECT relkind::text, relname, coalesce(pg_get_indexdef(c.oid), '') "
            "FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid "
            "WHERE relnamespace = to_regnamespace(%(schema)s) "
            "UNION ALL SELECT 'function', proname, prosrc FROM pg_proc "
            "WHERE pronamespace = to_regnamespace(%(schema)s) "
            "UNION ALL SELECT 'type', typname, typtype::text FROM pg_type "
            "WHERE typnamespace = to_regnamespace(%(schema)s) "
            "UNION ALL SELECT 'trigger', tgname, tgenabled::text || pg_get_triggerdef(t.oid) "
            "FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid "
            "WHERE relnamespace = to_regnamespace(%(schema)s) "
            "UNION ALL SELECT 'column', table_name || '.' || column_name, "
            "concat_ws(' ', data_type, collation_name, is_nullable, column_default) "
            "FROM information_schema.columns WHERE table_schema = %(schema)s ORDER BY 1, 2, 3",
            {"schema": schema},
        ).fetchall()
        tables = [name for kind, name, _ in things if kind == "r"]
        rows = {
            table: run(
                sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(
                    sql.Identifier(schema, table)
                )
            ).fetchall()
            for table in tables
        }
        return things, rows


NOTHING: Picture = ([], {})
"""The picture of a schema that does not exist."""


@contextmanager
def role(url: str, *options: LiteralString) -> Generator[tuple[str, str]]:
    """A new role that may log in; gives its name and a URL with it, in the place of the given one.

    Nothing of it is left, nor of what it owns in that database.
    """
    name, password = f"everlog_test_{secrets.token_hex(6)}", secrets.token_hex(8)
    with psycopg.connect(url, autocommit=True) as connection:
        who = sql.Identifier(name)
        wanted = sql.SQL(" ").join([sql.SQL("LOGIN"), *map(sql.SQL, options)])
        create = sql.SQL("CREATE ROLE {} {} PASSWORD {}").format(who, wanted, sql.Literal(password))
        connection.execute(create)
        try:
            yield name, as_user(url, name, password)
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(who))
            connection.execute(sql.SQL("DROP ROLE {}").format(who))


@contextmanager
def encoded(url: str, encoding: LiteralString) -> Generator[str]:
    """A database of another encoding beside the given one; gives its URL."""
    name = f"everlog_test_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        provider = "LOCALE_PROVIDER libc" if connection.info.server_version >= 150_000 else ""
        options = f"TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' {provider} ENCODING"
        create = sql.SQL("CREATE DATABASE {} {} {}")
        connection.execute(
            create.format(sql.Identifier(name), sql.SQL(options), sql.Literal(encoding))
        )
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


def as_user(url: str, name: str, password: str) -> str:
    """Returns the URL with another user in it."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    user = f"{quote(name, safe='')}:{quote(password, safe='')}"
    return parts._replace(netloc=f"{user}@{place}").geturl()


def until(seen: Callable[[], object], what: str) -> None:
    """Waits until something is seen, for a bounded time."""
    deadline = time.monotonic() + PATIENCE_S
    while not seen():
        assert time.monotonic() < deadline, f"not seen within {PATIENCE_S} s: {what}"
        time.sleep(0.01)


LOCK = 4711
"""The advisory lock on which a migration waits, where `wait_at` has it wait."""


def strike_at(url: str, number: int, *, wait: bool = False) -> None:
    """Has whoever runs so many statements of DDL in this database be ended there, or wait for LOCK.

    It counts per session: what is run here is not counted.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_STRIKE)
        connection.execute("DELETE FROM hazard.plan")
        connection.execute("INSERT INTO hazard.plan VALUES (%s, %s, %s)", (number, wait, LOCK))


# DDL_COMMAND_END fires behind every CREATE and ALTER, inside its transaction.
_STRIKE = """
DO $do$ BEGIN
    IF to_regnamespace('hazard') IS NULL THEN
        CREATE SCHEMA hazard;
        CREATE TABLE hazard.plan (number int, wait bool, lock int);
        CREATE FUNCTION hazard.strike() RETURNS event_trigger SECURITY DEFINER
        LANGUAGE plpgsql AS $$
        DECLARE
            told text := nullif(current_setting('hazard.count', true), '');
            counted int := coalesce(told, '0')::int + 1;
            plan record;
        BEGIN
            PERFORM set_config('hazard.count', counted::text, false);
            SELECT * INTO plan FROM hazard.plan;
            IF counted = plan.number AND plan.wait THEN
                PERFORM pg_advisory_lock(plan.lock);
            ELSIF counted = plan.number THEN
                PERFORM pg_terminate_backend(pg_backend_pid());
            END IF;
        END $$;
        CREATE EVENT TRIGGER strike ON ddl_command_end EXECUTE FUNCTION hazard.strike();
    END IF;
END $do$
"""


def waiting_for_lock(url: str) -> list[int]:
    """Returns the pids of the server's processes that wait for LOCK, or run on behalf of it."""
    rows = ask(
        url,
        "SELECT a.pid FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
        "WHERE l.locktype = 'advisory' AND l.objid = 4711 AND NOT l.granted "
        "AND a.datname = current_database()",
    )
    return [pid for [pid] in rows]
