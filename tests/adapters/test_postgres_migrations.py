"""Migrations: who comes at once, what breaks, which everlog: the whole schema, or none of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from everlog import (
    CannotOpen,
    EventStore,
    InvalidInput,
    Migration,
    blocking,
    migrate,
    migration_script,
)
from everlog.adapters.postgres import schema, steps
from everlog.adapters.postgres.connections import Place
from everlog.adapters.postgres.migrating import require_server
from everlog.errors import ForeignFile, InvalidUrl, NewerFormat, OlderFormat
from everlog.testing import PostgresServer
from everlog.testing.postgresql.binaries import binaries_of_the_wheel
from tests.adapters.databases import (
    LOCK,
    NOTHING,
    ask,
    encoded,
    picture,
    role,
    strike_at,
    until,
    waiting_for_lock,
)
from tests.scenarios.processes import Process, environment
from tests.store.programs import EVENTS, Data


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


NEXT = len(steps.shipped()) + 1
LATER = steps.Shipped(
    NEXT,
    "colours",
    'ALTER TABLE :"schema".registers ADD COLUMN colour text;\n'
    'CREATE TABLE :"schema".colours (name text PRIMARY KEY);\n',
)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Generator[pytest.MonkeyPatch]:
    """This everlog ships one more migration; `newer.undo()` makes it the older one again."""
    with monkeypatch.context() as patch:
        ship_one_more(patch)
        yield patch


def ship_one_more(patch: pytest.MonkeyPatch) -> None:
    """Makes this everlog a newer one, as it will be when it has one more migration."""
    shipped = (*steps.shipped(), LATER)
    patch.setattr(steps, "shipped", lambda: shipped)


async def use(url: str, **options: Any) -> str:
    """Opens a store, appends and reads; returns who the ledger is."""
    async with EventStore.open(url, events=EVENTS, **options) as store:
        await store.append("thing-1", Data("first"), relations=["group"])
        assert (await store.verify()).ok
        return (await store.info()).ledger


def refused(url: str, kind: type[CannotOpen], *says: str, **options: Any) -> None:
    """Asserts that opening is refused with exactly this error, and changes nothing."""
    before = picture(url)
    with pytest.raises(kind) as caught:
        asyncio.run(use(url, **options))
    assert type(caught.value) is kind
    for words in says:
        assert words in str(caught.value)
    assert picture(url) == before


# --- who decides ---


def test_a_ledger_is_created_where_there_is_none_unless_that_is_forbidden(url: str) -> None:
    refused(url, CannotOpen, "run `everlog migrate`", "migrate=True", migrate=False)
    assert picture(url) == NOTHING
    ledger = asyncio.run(use(url))
    assert asyncio.run(use(url, migrate=False)) == ledger


def test_a_dry_run_and_the_script_change_nothing_and_say_what_a_migration_then_does(
    url: str,
) -> None:
    dry = asyncio.run(migrate(url, dry_run=True))
    script = asyncio.run(migration_script(url))
    assert picture(url) == NOTHING
    assert [(step.number, step.name) for step in dry] == [
        (1, "ledger"),
        (2, "subscriptions"),
        (3, "sync"),
    ]
    assert all(step.sql in script for step in dry)
    assert asyncio.run(migrate(url)) == dry
    assert asyncio.run(migrate(url)) == asyncio.run(migrate(url, dry_run=True)) == []
    assert asyncio.run(migration_script(url)) == ""
    applied = ask(url, "SELECT number, name, digest FROM everlog.migrations ORDER BY number")
    assert dry == [
        Migration(number, name, step.sql, digest)
        for (number, name, digest), step in zip(applied, dry, strict=True)
    ]


def test_the_blocking_face_migrates_too(url: str) -> None:
    applied = [step.name for step in blocking.migrate(url, schema="other")]
    assert applied == ["ledger", "subscriptions", "sync"]
    assert blocking.migration_script(url, schema="other") == ""
    assert picture(url) == NOTHING
    assert picture(url, "other") != NOTHING


def test_an_older_ledger_is_migrated_only_by_who_asks_for_it(url: str) -> None:
    ledger = asyncio.run(use(url))
    with pytest.MonkeyPatch.context() as patch:
        ship_one_more(patch)
        for options in ({}, {"migrate": None}, {"migrate": False}):
            refused(
                url, OlderFormat, f"lacks 1 migration(s), from {NEXT} on", "migrate=True", **options
            )
        before = picture(url)
        [lacking] = asyncio.run(migrate(url, dry_run=True))
        script = asyncio.run(migration_script(url))
        assert (lacking.number, lacking.name) == (NEXT, "colours")
        assert f"-- {NEXT:04} colours" in script
        assert "0001 ledger" not in script
        assert picture(url) == before

        assert asyncio.run(use(url, migrate=True)) == ledger
        assert asyncio.run(use(url)) == ledger, "and goes on"
        assert ask(url, "SELECT count(*), max(position) FROM everlog.records") == [(3, 3)]
        assert ask(url, "SELECT count(*) FROM everlog.colours") == [(0,)]


LATER_TABLES = {
    *(
        f"subscription_{what}"
        for what in ("checkpoints", "effects", "handlers", "leases", "parked", "workers")
    ),
    *("sync_entries", "sync_held", "sync_upstreams", "unfolded"),
}
"""Those that the first migration does not make."""


def test_a_ledger_from_before_subscriptions_keeps_its_records_and_gets_their_tables(
    url: str,
) -> None:
    ledger = asyncio.run(use(url))
    for table in LATER_TABLES:
        ask(url, f"DROP TABLE everlog.{table}")
    ask(url, "ALTER TABLE everlog.ledger_head DROP COLUMN unfoldings")
    ask(url, "DELETE FROM everlog.migrations WHERE number > 1")
    columns = "ledger, node, epoch, position, chain, clock, newest_created, newest_id"
    head = ask(url, f"SELECT {columns} FROM everlog.ledger_head")
    refused(url, OlderFormat, "lacks 2 migration(s), from 2 on", "everlog migrate")
    things, rows = picture(url)
    applied = asyncio.run(migrate(url))
    assert [step.name for step in applied] == ["subscriptions", "sync"]
    now, held = picture(url)
    assert {*things} < {*now}
    new = {name for kind, name, _ in now if kind == "r"} - {*rows}
    assert new == LATER_TABLES
    changed = {"migrations", "ledger_head"}
    assert {table: held[table] for table in {*rows} - changed} == {
        table: rows[table] for table in {*rows} - changed
    }
    assert ask(url, f"SELECT {columns} FROM everlog.ledger_head") == head
    assert asyncio.run(use(url, migrate=False)) == ledger


def test_a_newer_ledger_is_refused_and_not_touched(url: str, newer: pytest.MonkeyPatch) -> None:
    asyncio.run(use(url))
    newer.undo()
    for options in ({}, {"migrate": None}, {"migrate": False}, {"migrate": True}):
        refused(url, NewerFormat, f"at migration {NEXT}", f"knows {NEXT - 1}", "upgrade", **options)
    before = picture(url)
    for call in (migrate(url), migrate(url, dry_run=True), migration_script(url)):
        with pytest.raises(NewerFormat):
            asyncio.run(call)
    assert picture(url) == before


def test_ledgers_without_migrations_need_none_and_are_not_made(tmp_path: Path) -> None:
    for url in ("memory:", f"sqlite:///{tmp_path}/log.db", tmp_path / "log.db"):
        assert asyncio.run(migrate(url)) == []
        assert asyncio.run(migrate(url, dry_run=True)) == []
        assert asyncio.run(migration_script(url, whole=True)) == ""
    assert list(tmp_path.iterdir()) == []
    for wrong in ("nonsense:", "sqlite:users.db", "postgresql://h/d?schema=A"):
        with pytest.raises(InvalidUrl):
            asyncio.run(migrate(wrong))


# --- many at once ---


def test_sixteen_openers_in_four_processes_make_one_ledger_of_an_empty_database(url: str) -> None:
    with ExitStack() as stack:
        processes = [stack.enter_context(Process("open_many", url=url, count=4)) for _ in range(4)]
        assert [process.hear() for process in processes] == ["ready"] * 4
        for process in processes:
            process.say("go")
        told = [who for process in processes for who in process.hear()]
        assert [process.wait() for process in processes] == [0] * 4
    assert len(told) == 16
    assert len({*map(tuple, told)}) == 1, "one ledger, one epoch, one node"
    assert ask(url, "SELECT ledger, epoch, node FROM everlog.ledger_head") == [tuple(told[0])]


def migrate_at_once(url: str, times: int) -> list[list[Migration] | BaseException]:
    """Migrates so many times at once; returns how each ended."""

    async def main() -> list[list[Migration] | BaseException]:
        calls = (migrate(url) for _ in range(times))
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(main())


def test_of_sixteen_migrations_at_once_one_applies_each_step(url: str) -> None:
    ended = migrate_at_once(url, 16)
    assert sorted(map(str, ended))[1:] == ["[]"] * 15, "and the first, that of who applied it"
    # Without the lock, the same goes wrong: this test can fail.
    with pytest.MonkeyPatch.context() as patch:
        bare = schema.LOCK_AND_SET.replace("pg_advisory_xact_lock(%(key)s)", "%(key)s")
        assert bare != schema.LOCK_AND_SET
        patch.setattr(schema, "LOCK_AND_SET", bare)
        for _ in range(20):  # it needs two at the same moment
            ask(url, "DROP SCHEMA everlog CASCADE")
            if any(isinstance(one, CannotOpen) for one in migrate_at_once(url, 16)):
                break
        else:
            pytest.fail("sixteen migrations without a lock went well twenty times")


def test_a_program_with_defaults_of_its_own_migrates_alike(url: str) -> None:
    # A snapshot taken before the lock would show no ledger, and a step would run twice.
    for setting in (
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = 'on'",
        "synchronous_commit = 'off'",
        "statement_timeout = '20s'",
        "client_encoding = 'LATIN1'",
        "search_path = ''",
        "default_transaction_read_only = 'on'",
    ):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                f"ALTER DATABASE {connection.info.dbname} SET {setting}".encode()  # sql: a test's
            )
    ended = migrate_at_once(f"{url}?pooler=transaction", 16)
    assert sorted(map(str, ended))[1:] == ["[]"] * 15, "and the first, that of who applied it"
    asyncio.run(use(url, pooler="transaction"))
    asyncio.run(use(url))


@pytest.mark.parametrize("which", ["migration_key", "lock_key"])
def test_a_migration_waits_for_others_and_for_commits_and_not_for_ever(
    url: str, which: str
) -> None:
    key = getattr(Place({}), which)
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
        with pytest.raises(CannotOpen, match=r"lock timeout.*another process .*timeout_s"):
            asyncio.run(migrate(url, timeout_s=0.05))
        with pytest.raises(CannotOpen, match="lock timeout"):
            asyncio.run(migrate(url, timeout_s=0))  # at once, not for ever
    assert picture(url) == NOTHING
    assert len(asyncio.run(migrate(url, timeout_s=0.05))) == len(steps.shipped())


# --- broken off ---


def test_a_migration_that_is_ended_at_any_of_its_statements_leaves_nothing(url: str) -> None:
    struck = 0
    while True:
        strike_at(url, struck + 1)
        [ended] = migrate_at_once(url, 1)
        if not isinstance(ended, BaseException):
            break
        assert isinstance(ended, CannotOpen)
        assert "terminating connection" in str(ended)
        assert picture(url) == NOTHING
        struck += 1
    assert struck == 17 + 8 + 9, "every CREATE and ALTER of the migrations"
    asyncio.run(use(url, migrate=False))


def test_a_later_migration_that_is_ended_at_any_statement_leaves_the_older_ledger(
    url: str, newer: pytest.MonkeyPatch
) -> None:
    newer.undo()
    ledger = asyncio.run(use(url))
    before = picture(url)
    ship_one_more(newer)
    for struck in (1, 2):
        strike_at(url, struck)
        with pytest.raises(CannotOpen, match="terminating connection"):
            asyncio.run(use(url, migrate=True))
        assert picture(url) == before
    strike_at(url, 3)
    assert asyncio.run(use(url, migrate=True)) == ledger
    assert ask(url, "SELECT max(number) FROM everlog.migrations") == [(NEXT,)]


@pytest.mark.parametrize("statement", [1, 7, 15, 20])
def test_a_process_killed_in_the_middle_of_a_migration_leaves_nothing(
    url: str, statement: int
) -> None:
    strike_at(url, statement, wait=True)
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        command = [sys.executable, "-m", "everlog", "migrate"]
        process = subprocess.Popen(command, env=environment(EVERLOG_URL=url))
        try:
            until(lambda: waiting_for_lock(url), "the migration in its middle")
            [backend] = waiting_for_lock(url)
        finally:
            process.kill()
            process.wait()
        assert picture(url) == NOTHING
    gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    until(lambda: ask(url, gone, backend) == [(0,)], "the end of what it began")
    assert picture(url) == NOTHING
    strike_at(url, 0)
    asyncio.run(use(url))


def test_a_migration_that_is_cancelled_leaves_nothing(url: str) -> None:
    strike_at(url, 7, wait=True)

    async def main() -> None:
        task = asyncio.create_task(migrate(url))
        await asyncio.to_thread(until, lambda: waiting_for_lock(url), "the migration")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        asyncio.run(main())
        until(lambda: not waiting_for_lock(url), "the end of what it began")
    assert picture(url) == NOTHING
    strike_at(url, 0)
    asyncio.run(use(url))


def test_a_server_killed_in_the_middle_of_a_migration_has_nothing_of_it(
    durable_postgres: PostgresServer,
) -> None:
    url = durable_postgres.new_database()
    strike_at(url, 12, wait=True)
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        command = [sys.executable, "-m", "everlog", "migrate"]
        with subprocess.Popen(
            command, env=environment(EVERLOG_URL=url), stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                until(lambda: waiting_for_lock(url), "the migration in its middle")
                durable_postgres.kill()
                _, said = process.communicate(timeout=60)
            finally:
                process.kill()
                durable_postgres.start()
    assert process.returncode == 1
    assert said.startswith("everlog: schema 'everlog' of database")
    assert said.count("\n") == 1
    assert picture(url) == NOTHING
    strike_at(url, 0)
    ledger = asyncio.run(use(url))
    durable_postgres.kill()
    durable_postgres.start()
    assert asyncio.run(use(url, migrate=False)) == ledger


# --- what is there already ---

FOREIGN: dict[str, LiteralString] = {
    "a table": "CREATE TABLE everlog.records (name text)",
    "a view": "CREATE VIEW everlog.ledger_head AS SELECT 1 AS one",
    "an index": "CREATE TABLE everlog.t (n int); CREATE INDEX records_late ON everlog.t (n)",
    "a type": "CREATE TYPE everlog.snapshots AS ENUM ('a')",
    "a function": "CREATE FUNCTION everlog.records_are_never_changed() RETURNS int "
    "LANGUAGE sql AS 'SELECT 1'",
    "migrations of another kind": "CREATE TABLE everlog.migrations (id int, migration text)",
    "migrations by name": "CREATE TABLE everlog.migrations (number text, digest text); "
    "INSERT INTO everlog.migrations VALUES ('0001_users', 'abc')",
    "migrations by number": "CREATE TABLE everlog.migrations (number int, digest text); "
    "INSERT INTO everlog.migrations VALUES (1, 'abc')",
    "a sequence": "CREATE SEQUENCE everlog.migrations",
    "an index that is called migrations": "CREATE TABLE everlog.t (n int); "
    "CREATE INDEX migrations ON everlog.t (n)",
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("options", [{}, {"migrate": True}], ids=["open", "migrate"])
def test_a_schema_of_another_program_is_refused_and_not_touched(
    url: str, what: str, options: dict[str, Any]
) -> None:
    ask(url, "CREATE SCHEMA everlog")
    ask(url, FOREIGN[what])
    refused(url, ForeignFile, "another program", **options)


def test_a_migration_that_is_not_the_one_that_was_shipped_is_refused(url: str) -> None:
    asyncio.run(use(url))
    ask(url, "UPDATE everlog.migrations SET digest = repeat('0', 64)")
    for options in ({}, {"migrate": True}, {"migrate": False}):
        refused(url, ForeignFile, "its migration 1 is not the one of this everlog", **options)


def test_a_gap_in_what_was_applied_is_refused(url: str, newer: pytest.MonkeyPatch) -> None:
    asyncio.run(use(url))
    ask(url, "DELETE FROM everlog.migrations WHERE number = 1")
    refused(url, ForeignFile, "its migration 1", migrate=True)


def test_a_schema_restored_without_its_data_is_refused(url: str) -> None:
    asyncio.run(use(url))
    ask(url, "DELETE FROM everlog.ledger_head")
    refused(url, CannotOpen, "lost its head", "restore it whole")
    ask(url, "DELETE FROM everlog.migrations")
    refused(url, CannotOpen, "lost the list of its migrations", "restore it whole", migrate=True)


def test_an_empty_schema_and_others_beside_it_are_no_hindrance(url: str) -> None:
    ask(url, "CREATE SCHEMA everlog")
    ask(url, "CREATE TABLE public.records (name text)")
    one, other = asyncio.run(use(url)), asyncio.run(use(url, schema="everlog_2"))
    assert one != other
    assert ask(url, "SELECT count(*) FROM public.records") == [(0,)]


# --- roles ---


def test_a_role_that_may_create_nothing_is_told_who_may(url: str) -> None:
    with role(url) as (_, theirs):
        with pytest.raises(CannotOpen) as caught:
            asyncio.run(use(theirs))
        for words in ("permission denied", "a role that may create", "everlog migrate"):
            assert words in str(caught.value)
        assert picture(url) == NOTHING
        asyncio.run(migrate(url))
        before = picture(url)
        with pytest.raises(CannotOpen) as caught:
            asyncio.run(use(theirs))
        for words in ("permission denied for schema everlog", "USAGE", "--grant-to"):
            assert words in str(caught.value)
        assert picture(url) == before


def test_the_owner_of_a_schema_needs_no_right_to_create_others(url: str) -> None:
    with role(url) as (name, theirs):
        ask(url, f"CREATE SCHEMA everlog AUTHORIZATION {name}")
        asyncio.run(use(theirs))
    with role(url) as (name, theirs):
        ask(url, f"CREATE SCHEMA everlog AUTHORIZATION {name}")
        assert psql(theirs, asyncio.run(migration_script(theirs))).returncode == 0
        asyncio.run(use(theirs, migrate=False))


def test_no_session_bends_what_the_guard_of_records_compares_by(url: str) -> None:
    asyncio.run(use(url))
    with role(url) as (name, theirs):
        ask(url, f"GRANT ALL ON SCHEMA everlog TO {name}")
        ask(url, f"GRANT ALL ON ALL TABLES IN SCHEMA everlog TO {name}")
        ask(url, f"CREATE SCHEMA evil AUTHORIZATION {name}")
        with psycopg.connect(theirs) as connection:
            for type in ("bigint", "text", "bytea"):
                connection.execute(
                    f"CREATE FUNCTION evil.same({type}, {type}) RETURNS bool LANGUAGE sql "
                    "IMMUTABLE AS 'SELECT true'; CREATE OPERATOR evil.= "
                    f"(LEFTARG = {type}, RIGHTARG = {type}, FUNCTION = evil.same)".encode()
                )
            connection.execute("SET search_path = evil, pg_catalog")
            with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
                connection.execute(
                    "UPDATE everlog.records SET nonce = NULL, data = NULL, meta = NULL, "
                    "stream = 'another', position = 7"
                )


# --- by hand ---


def psql(url: str, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a script as a database administrator does."""
    program = str(binaries_of_the_wheel() / "psql")
    command = [program, "-X", "-q", *options, "-f", "-", url]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False)


STRICT = ("-v", "ON_ERROR_STOP=1")


def test_the_script_makes_by_psql_what_a_migration_makes(each_postgres: PostgresServer) -> None:
    by_hand, by_itself = each_postgres.new_database(), each_postgres.new_database()
    whole = asyncio.run(migration_script("postgresql://", whole=True))
    assert whole == asyncio.run(migration_script(by_hand))
    done = psql(by_hand, whole, *STRICT)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    asyncio.run(migrate(by_itself))
    things, rows = picture(by_hand)
    assert things == picture(by_itself)[0]
    assert {table: len(held) for table, held in rows.items() if held} == {
        "ledger_head": 1,
        "migrations": len(steps.shipped()),
    }
    asyncio.run(use(by_hand, migrate=False))


def test_the_script_of_a_later_migration_brings_an_older_ledger_up_to_date(
    url: str, newer: pytest.MonkeyPatch
) -> None:
    whole = asyncio.run(migration_script(url))
    newer.undo()
    ledger = asyncio.run(use(url))
    ship_one_more(newer)
    before = picture(url)
    assert psql(url, whole, *STRICT).returncode == 3, "what is there already is not made again"
    assert psql(url, whole).returncode == 0, "so says psql, where it is not told to stop"
    assert picture(url) == before
    assert psql(url, asyncio.run(migration_script(url)), *STRICT).returncode == 0
    assert asyncio.run(use(url, migrate=False)) == ledger


def test_the_script_waits_for_whoever_migrates(url: str) -> None:
    script = asyncio.run(migration_script(url))
    strike_at(url, 3, wait=True)
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (LOCK,))

        async def main() -> None:
            opening = asyncio.create_task(use(url))
            await asyncio.to_thread(until, lambda: waiting_for_lock(url), "the migration")
            by_hand = asyncio.create_task(asyncio.to_thread(psql, url, script, *STRICT))
            waiting = (
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'psql' "
                "AND wait_event = 'advisory' AND datname = current_database()"
            )
            await asyncio.to_thread(until, lambda: ask(url, waiting), "psql, waiting")
            await asyncio.to_thread(holder.execute, "SELECT pg_advisory_unlock(4711)")
            await opening
            assert (await by_hand).returncode == 3

        asyncio.run(main())
    asyncio.run(use(url, migrate=False))


def test_a_script_for_a_database_that_cannot_hold_every_text_does_nothing(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    with encoded(url, "SQL_ASCII") as ascii_url:
        done = psql(ascii_url, asyncio.run(migration_script(url)), *STRICT)
        assert done.returncode == 3
        assert "SQL_ASCII cannot hold every text" in done.stderr
        assert picture(ascii_url) == NOTHING


def test_a_script_grants_a_role_what_it_needs_and_no_more(url: str) -> None:
    with role(url) as (name, theirs):
        script = asyncio.run(migration_script(url, grant_to=name))
        assert psql(url, script, *STRICT).returncode == 0
        asyncio.run(use(theirs))
        for statement in (
            "UPDATE everlog.records SET flags = 0",
            "UPDATE everlog.records SET hash = ''",
            "DELETE FROM everlog.records",
            "TRUNCATE everlog.records",
            "DELETE FROM everlog.ledger_head",
            "DELETE FROM everlog.registers",
            "DELETE FROM everlog.migrations",
            "CREATE TABLE everlog.mine (n int)",
            "ALTER TABLE everlog.records DISABLE TRIGGER ALL",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                ask(theirs, statement)
        again = asyncio.run(migration_script(url, grant_to=name))
        assert "CREATE" not in again
        assert psql(url, again, *STRICT).returncode == 0, "what is granted may be granted again"


@pytest.mark.parametrize("wrong", ["", "x" * 64, "é" * 32, "a\nb", "a\x00b", "\ud800"])
def test_what_can_be_no_role_is_granted_nothing(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="name of the role"):
        asyncio.run(migration_script("postgresql://", whole=True, grant_to=wrong))


def test_the_name_of_a_role_is_quoted(url: str) -> None:
    wild = 'x"; DROP SCHEMA everlog CASCADE; --'
    asyncio.run(use(url))
    script = asyncio.run(migration_script(url, grant_to=wild))
    assert psql(url, script, *STRICT).returncode == 3
    assert picture(url) != NOTHING


# --- the server ---


def test_a_server_that_is_too_old_and_an_encoding_that_is_too_small_are_refused() -> None:
    place = Place({"host": "db", "dbname": "app"})
    require_server(place, version=140_000, encoding="UTF8")
    with pytest.raises(CannotOpen, match="on PostgreSQL 13; use 14 or newer"):
        require_server(place, version=130_022, encoding="UTF8")
    with pytest.raises(CannotOpen, match=r"LATIN1.*ENCODING 'UTF8'"):
        require_server(place, version=180_000, encoding="LATIN1")


# --- what is shipped ---


def test_steps_are_numbered_from_one_without_a_gap_and_are_plain_ascii() -> None:
    shipped = steps.shipped()
    assert [step.number for step in shipped] == list(range(1, len(shipped) + 1))
    for step in shipped:
        assert step.text.isascii(), "so it is the same in every encoding of a terminal or client"
        [filled] = steps.steps_for("everlog", [step])
        assert ':"' not in filled.sql
        assert ":'" not in filled.sql


def test_a_wheel_has_the_steps_and_the_command(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    program = (
        "import everlog, sys; from everlog.adapters.postgres import steps;"
        "from importlib.metadata import distribution as d;"
        "[command] = d('everlog').entry_points.select(group='console_scripts');"
        "print(everlog.__file__, command.load().__module__, len(steps.shipped()));"
        "print(steps.script(steps.Place({}), [], grant_to='app'))"
    )
    path = os.pathsep.join(
        [str(wheel), *(entry for entry in sys.path if entry.endswith("-packages"))]
    )
    done = subprocess.run(
        [sys.executable, "-P", "-S", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    place, command, count = done.stdout.splitlines()[0].split()
    assert place.startswith(str(wheel))
    assert (command, count) == ("everlog.cli.command_line", str(len(steps.shipped())))
    assert 'GRANT SELECT, INSERT ON "everlog".records TO "app";' in done.stdout
