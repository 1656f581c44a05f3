"""Migrations: from what a schema holds to what this everlog needs, under a lock, all or nothing."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import IsolationLevel, errors

from everlog.adapters.postgres import schema, steps
from everlog.adapters.postgres.connections import Place, first_connection, parameters_of
from everlog.adapters.postgres.executing import Executor, OurConnection, ask
from everlog.adapters.postgres.failures import as_opening_error, first_line
from everlog.adapters.postgres.schema import OLDEST_SERVER
from everlog.errors import CannotOpen, ForeignFile, NewerFormat, OlderFormat
from everlog.ports.migration import Migration


async def migrate(url: str, *, dry_run: bool, **options: Any) -> list[Migration]:
    """Applies what a schema lacks; returns it, as does a dry run, which changes nothing.

    Raises `InvalidUrl`, `CannotOpen`, `ForeignFile` or `NewerFormat`.
    """
    place = Place(parameters_of(url), **options)
    connection = await first_connection(place)
    try:
        return await (pending if dry_run else apply)(connection, place)
    except psycopg.Error as error:
        raise as_opening_error(error, str(place)) from error
    finally:
        await connection.close()


async def script(url: str, *, whole: bool, grant_to: str | None, **options: Any) -> str:
    """Returns what a schema lacks as a script for psql; the whole of it without asking a server."""
    place = Place(parameters_of(url), **options)
    if whole:
        lacking = steps.steps_for(place.schema, steps.shipped())
    else:
        lacking = await migrate(url, dry_run=True, **options)
    return steps.script(place, lacking, grant_to=grant_to)


async def ensure(connection: OurConnection, place: Place, *, migrate: bool | None) -> None:
    """Brings the schema up to date, or says why not.

    `migrate`: True applies what is missing, False never changes anything; None creates a ledger
    where there is none, and leaves an older one to whoever decides when to migrate it.

    Raises `NewerFormat`, `OlderFormat`, `ForeignFile`, `CannotOpen`.
    """
    lacking = await pending(connection, place)
    if not lacking:
        return
    is_empty = len(lacking) == len(steps.shipped())
    if migrate or (migrate is None and is_empty):
        await apply(connection, place)
        return
    if is_empty:
        raise CannotOpen(
            f"{place} holds no everlog ledger; run `everlog migrate`, or open with migrate=True"
        )
    raise OlderFormat(
        f"{place} lacks {len(lacking)} migration(s), from {lacking[0].number} on: run `everlog "
        "migrate`, or open with migrate=True, when no older everlog needs it any more"
    )


async def pending(connection: OurConnection, place: Place) -> list[Migration]:
    """Returns the steps that the schema lacks.

    Raises `NewerFormat`, `ForeignFile`, `CannotOpen`.
    """
    found = await Executor(place.schema).run(
        connection, ask(schema.SELECT_SERVER, {"schema": place.schema})
    )
    [[version, encoding, exists]] = found
    require_server(place, version=version, encoding=encoding)
    shipped = steps.shipped()
    if not exists:
        return steps.steps_for(place.schema, shipped)
    applied = await _applied(connection, place)
    known = {step.number: step for step in shipped}
    newest = max(applied)
    if newest > max(known):
        raise NewerFormat(
            f"{place} is at migration {newest}, this everlog knows {max(known)}: it was "
            "migrated by a newer everlog; upgrade this one"
        )
    for number in known:
        if number <= newest and applied.get(number) != known[number].digest:
            raise ForeignFile(
                f"{place}: its migration {number} is not the one of this everlog; "
                "it belongs to another program, or to a build that was never released"
            )
    return steps.steps_for(place.schema, [step for step in shipped if step.number > newest])


def require_server(place: Place, *, version: int, encoding: str) -> None:
    """Raises `CannotOpen` for a server or database that a ledger cannot be in."""
    if version < OLDEST_SERVER:
        raise CannotOpen(
            f"{place} is on PostgreSQL {version // 10_000}; use {OLDEST_SERVER // 10_000} or newer"
        )
    if encoding != "UTF8":
        raise CannotOpen(
            f"{place}: its encoding is {encoding}, which cannot hold every text; "
            "create the database with ENCODING 'UTF8'"
        )


async def apply(connection: OurConnection, place: Place) -> list[Migration]:
    """Applies what is missing, all or nothing; returns what was applied.

    Any number of processes may do so at once: each waits for the one before, and finds it done.
    """
    # Whatever the defaults of a role are: what is seen under the lock is what was there before it.
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
    await connection.set_read_only(False)
    try:
        async with connection.transaction():
            # No limit for queries of a program ends a step; waiting for a lock has its own.
            await connection.execute("SELECT set_config('statement_timeout', '0', true)")
            # The lock of commits, too: a step and a commit would take tables in different orders.
            for key in (place.migration_key, place.lock_key):
                await connection.execute(schema.LOCK_AND_SET, {**place.patience, "key": key})
            lacking = await pending(connection, place)
            connection.silence_s = None  # a step takes as long as it takes
            for step in lacking:
                # Without values and not prepared: so it may hold several statements.
                await connection.execute(step.sql.encode(), prepare=False)
            connection.silence_s = place.silence_s
    except (errors.DuplicateTable, errors.DuplicateObject, errors.DuplicateFunction) as error:
        raise ForeignFile(
            f"{place} holds something of another program ({first_line(error)}); "
            "name a schema of its own: ?schema=..."
        ) from None
    except psycopg.Error as error:
        raise as_opening_error(error, str(place)) from error
    return lacking


async def _applied(connection: OurConnection, place: Place) -> dict[int, str]:
    """Returns the digests of the steps that were applied, by number: of one at least."""
    foreign = ForeignFile(
        f"{place} has `migrations` of another program; name a schema of its own: ?schema=..."
    )
    try:
        rows = await Executor(place.schema).run(connection, ask(schema.SELECT_MIGRATIONS))
    except (errors.UndefinedColumn, errors.WrongObjectType):
        raise foreign from None
    if not all(isinstance(number, int) for number, _ in rows):
        raise foreign
    if not rows:
        raise CannotOpen(
            f"{place} has lost the list of its migrations, as where a dump was restored without "
            "its data; restore it whole, or name another schema: ?schema=..."
        )
    return dict(rows)
