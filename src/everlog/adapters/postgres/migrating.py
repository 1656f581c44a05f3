"""Migrations: from what a schema holds to what this everlog needs, under a lock, all or nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import psycopg

from everlog.adapters.postgres.connections import Place
from everlog.adapters.postgres.executing import OurConnection, quoted
from everlog.adapters.postgres.failures import as_opening_error
from everlog.adapters.postgres.schema import OLDEST_SERVER
from everlog.errors import CannotOpen, ForeignFile, NewerFormat, OlderFormat


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of a schema, as it is run: SQL with the schema's name filled in.

    >>> [(step.number, step.name) for step in shipped()]
    [(1, 'ledger')]
    """

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """The SHA-256 of its text, in hex: kept with its number when it is applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@cache
def shipped() -> tuple[Migration, ...]:
    """Returns all steps that this everlog knows, in order, with `:"schema"` where the name goes."""
    found: list[Migration] = []
    for file in files("everlog.adapters.postgres.migrations").iterdir():
        matched = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if matched:
            text = file.read_text(encoding="utf-8")
            found.append(Migration(int(matched[1]), matched[2], text))
    return tuple(sorted(found, key=lambda step: step.number))


def script(schema: str, steps: Sequence[Migration], *, new: bool) -> str:
    """Returns steps as one script for psql: what a database administrator reads, and may run."""
    bookkeeping = _BOOKKEEPING if new else ()
    parts = [
        "BEGIN;",
        *(f"{_filled_in(text, schema)};" for text in bookkeeping),
        *(
            f"-- {step.number:04} {step.name}\n{_filled_in(step.sql, schema).rstrip()}\n"
            f"{_filled_in(_RECORD_TEXT, schema).format(_literal(step))};"
            for step in steps
        ),
        "COMMIT;",
    ]
    return "\n\n".join(parts) + "\n"


async def pending(connection: OurConnection, place: Place) -> tuple[list[Migration], bool]:
    """Returns the steps that the schema lacks, and whether it lacks them all.

    Raises `NewerFormat`, `ForeignFile`, `CannotOpen`.
    """
    cursor = await connection.execute(
        "SELECT to_regclass(%s) IS NOT NULL, current_setting('server_version_num')::int, "
        "current_setting('server_encoding')",
        (f"{quoted(place.schema)}.migrations",),
    )
    row = await cursor.fetchone()
    assert row is not None
    exists, version, encoding = row
    if version < OLDEST_SERVER:
        raise CannotOpen(f"{place} is on PostgreSQL {version // 10_000}; use 14 or newer")
    if encoding != "UTF8":
        raise CannotOpen(
            f"{place}: its encoding is {encoding}, which cannot hold every text; "
            "create the database with ENCODING 'UTF8'"
        )
    if not exists:
        return list(shipped()), True
    applied = await _applied(connection, place)
    known = {step.number: step for step in shipped()}
    if applied and max(applied) > max(known):
        raise NewerFormat(
            f"{place} is at migration {max(applied)}, this everlog knows {max(known)}: it was "
            "migrated by a newer everlog; upgrade this one"
        )
    for number, digest in applied.items():
        if digest != known[number].digest:
            raise ForeignFile(
                f"{place}: its migration {number} is not the one of this everlog; "
                "it belongs to another program, or to a build that was never released"
            )
    return [step for step in shipped() if step.number not in applied], False


async def ensure(connection: OurConnection, place: Place, *, migrate: bool | None) -> None:
    """Brings the schema up to date, or says why not.

    `migrate`: True applies what is missing, False never changes anything; None creates a ledger
    where there is none, and leaves an older one to whoever decides when to migrate it.

    Raises `NewerFormat`, `OlderFormat`, `ForeignFile`, `CannotOpen`.
    """
    missing, all_of_it = await pending(connection, place)
    if not missing:
        return
    if migrate or (migrate is None and all_of_it):
        await apply(connection, place)
        return
    if all_of_it:
        raise CannotOpen(
            f"{place} holds no everlog ledger; run `everlog migrate`, or open with migrate=True"
        )
    raise OlderFormat(
        f"{place} lacks {len(missing)} migration(s), from {missing[0].number} on: run `everlog "
        "migrate`, or open with migrate=True, when no older everlog needs it any more"
    )


async def apply(connection: OurConnection, place: Place) -> list[Migration]:
    """Applies what is missing, all or nothing; returns what was applied.

    Any number of processes may do so at once: each waits for the one before, and finds it done.
    """
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT set_config('lock_timeout', %s, true)", (f"{int(place.timeout_s * 1000)}ms",)
            )
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (place.migration_key,))
            missing, all_of_it = await pending(connection, place)
            if all_of_it:
                await _create_bookkeeping(connection, place)
            for step in missing:
                # Of no values: so it may hold several statements.
                await connection.execute(_filled_in(step.sql, place.schema).encode())
                await connection.execute(
                    _filled_in(_RECORD, place.schema).encode(),
                    (step.number, step.name, step.digest),
                )
    except psycopg.errors.DuplicateTable as error:
        raise ForeignFile(
            f"{place} holds tables of another program ({error.diag.message_primary}); "
            "name a schema of its own: ?schema=..."
        ) from None
    except psycopg.Error as error:
        raise as_opening_error(error, str(place)) from error
    return missing


async def _create_bookkeeping(connection: OurConnection, place: Place) -> None:
    # Only where it is missing: IF NOT EXISTS asks for the right to create even if it exists.
    cursor = await connection.execute(
        "SELECT true FROM pg_namespace WHERE nspname = %s", (place.schema,)
    )
    if await cursor.fetchone() is None:
        await connection.execute(_filled_in(_BOOKKEEPING[0], place.schema).encode())
    await connection.execute(_filled_in(_BOOKKEEPING[1], place.schema).encode())


async def _applied(connection: OurConnection, place: Place) -> dict[int, str]:
    try:
        cursor = await connection.execute(_filled_in(_APPLIED, place.schema).encode())
    except psycopg.errors.UndefinedColumn:
        raise ForeignFile(
            f"{place} has a table `migrations` of another program; name a schema of its own: "
            "?schema=..."
        ) from None
    return dict(await cursor.fetchall())


_BOOKKEEPING = (
    'CREATE SCHEMA IF NOT EXISTS :"schema"',
    """CREATE TABLE :"schema".migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    digest text NOT NULL,
    applied timestamptz NOT NULL DEFAULT now()
)""",
)
_APPLIED = 'SELECT number, digest FROM :"schema".migrations'
_RECORD = 'INSERT INTO :"schema".migrations (number, name, digest) VALUES (%s, %s, %s)'
_RECORD_TEXT = 'INSERT INTO :"schema".migrations (number, name, digest) VALUES ({})'


def _literal(step: Migration) -> str:
    return f"{step.number}, '{step.name}', '{step.digest}'"


def _filled_in(text: str, schema: str) -> str:
    return text.replace(':"schema"', quoted(schema))
