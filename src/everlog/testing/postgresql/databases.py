"""What is asked of a running server: its facts, and databases to test in. Imports psycopg."""

from __future__ import annotations

from typing import Literal, NamedTuple

import psycopg
from psycopg import sql
from psycopg.sql import SQL, Composable, Identifier

from everlog.errors import NotSupported

Provider = Literal["libc", "icu", "builtin"]
"""Whose rules of order and letters a database goes by: the system's, ICU's, PostgreSQL's own."""


class Facts(NamedTuple):
    """What a server says of itself."""

    version: int
    """`server_version_num`: 180004 is 18.4."""
    safety: dict[str, str]
    """What SHOW says of the settings that a durable server must have on."""


def facts_of(url: str) -> Facts:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT name, setting FROM pg_settings"
            " WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')"
        ).fetchall()
        return Facts(connection.info.server_version, dict(rows))


def create_database(
    url: str, name: str, *, template: str | None, provider: Provider | None, locale: str | None
) -> None:
    """Creates a database: an empty one in UTF-8, from template0, or a copy of the template."""
    # Values of these options cannot be bound.
    with psycopg.connect(url, autocommit=True) as connection:
        options: list[Composable] = [SQL("TEMPLATE {}").format(Identifier(template or "template0"))]
        if template is None:
            options.append(SQL("ENCODING 'UTF8'"))
        if locale is not None and provider is None and connection.info.server_version >= 150000:
            provider = "libc"  # the only one before
        if provider is not None:
            options.append(SQL("LOCALE_PROVIDER {}").format(sql.Literal(provider)))
        if locale is not None:
            options.append(_OF_PROVIDER[provider or "libc"].format(sql.Literal(locale)))
        statement = SQL("CREATE DATABASE {} ").format(Identifier(name)) + SQL(" ").join(options)
        connection.execute(statement)  # sql: every part is quoted


_OF_PROVIDER = {
    "libc": SQL("LC_COLLATE {0} LC_CTYPE {0}"),
    "icu": SQL("ICU_LOCALE {}"),
    "builtin": SQL("BUILTIN_LOCALE {}"),
}


def drop_database(url: str, name: str) -> None:
    """Drops a database and whoever is connected to it."""
    with psycopg.connect(url, autocommit=True) as connection:
        statement = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
        connection.execute(statement)  # sql: the name is quoted


def promote(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        [[standby]] = connection.execute("SELECT pg_is_in_recovery()").fetchall()
        if not standby:
            raise NotSupported("this server is no standby, so it cannot be promoted")
        [[promoted]] = connection.execute("SELECT pg_promote(true, 60)").fetchall()
        if not promoted:
            raise NotSupported("the standby was not promoted within 60 s; its log says why")
