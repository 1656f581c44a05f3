"""What is wrong about a PostgreSQL ledger is named with a way out, and nothing is written."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from everlog import (
    CannotOpen,
    EventStore,
    EverlogError,
    StorageError,
    blocking,
    migrate,
    migration_script,
    to,
)
from everlog.adapters.postgres.connections import Place
from everlog.errors import InvalidUrl, LedgerBusy, StorageFailed, TooLarge, Unreachable
from everlog.testing import PostgresServer, postgres
from tests.adapters.databases import NOTHING, as_user, ask, encoded, picture, role
from tests.scenarios.processes import environment
from tests.store.programs import EVENTS, Data, names

T = TypeVar("T")


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    """A database with nothing in it, for what is refused before anything is made."""
    return postgres_server.new_database()


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture(scope="module")
def guarded() -> Generator[PostgresServer]:
    """A server that asks for a password."""
    with postgres(password="s3cret") as server:
        yield server


def not_opened(url: str, kind: type[EverlogError], *says: str, **options: Any) -> EverlogError:
    """Asserts that a store is not opened, by exactly this error, whichever way it is tried."""

    async def main() -> EverlogError:
        with pytest.raises(kind) as caught:
            await EventStore.open(url, events=EVENTS, **options)
        assert type(caught.value) is kind
        with pytest.raises(kind) as again:
            await migrate(url, **options)
        assert str(again.value) == str(caught.value)
        return caught.value

    error = asyncio.run(main())
    with pytest.raises(kind):
        blocking.EventStore.open(url, events=EVENTS, **options)
    for words in says:
        assert words in str(error)
    return error


# --- servers that cannot be reached, or do not let in ---


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_server_that_is_not_there_is_named_with_its_address() -> None:
    port = unused_port()
    where = f"schema 'audit' of database 'app' on 127.0.0.1:{port}"
    url = f"postgresql://me:s3cret@127.0.0.1:{port}/app?schema=audit"
    error = not_opened(url, CannotOpen, where, "refused", "check that PostgreSQL runs there")
    assert "s3cret" not in str(error)


def test_a_host_that_nobody_knows_is_named() -> None:
    not_opened("postgresql://nowhere.invalid/app", CannotOpen, "'nowhere.invalid'", "check that")


def test_a_server_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"postgresql://127.0.0.1:{port}/app?connect_timeout=2"

        async def main() -> None:
            with pytest.raises(CannotOpen, match="timeout expired"):
                await EventStore.open(url)

        asyncio.run(main())


def test_an_address_from_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = str(unused_port())
    for name, value in (("HOST", "127.0.0.1"), ("PORT", port), ("DATABASE", "app"), ("USER", "me")):
        monkeypatch.setenv(f"PG{name}", value)
    not_opened("postgresql://", CannotOpen, f"of database 'app' on 127.0.0.1:{port}")
    monkeypatch.delenv("PGDATABASE")
    not_opened("postgresql://", CannotOpen, f"of database 'me' on 127.0.0.1:{port}")


def test_a_wrong_password_is_told_from_a_missing_one_and_neither_is_shown(
    guarded: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = guarded.new_database()
    hint = "check user and password in the URL, or in PGPASSWORD or ~/.pgpass"
    wrong = as_user(url, "postgres", "wr0ng-s3cret")
    error = not_opened(wrong, CannotOpen, "authentication failed for user", hint)
    assert "s3cret" not in str(error)
    not_opened(as_user(url, "nobody", "wr0ng"), CannotOpen, 'user "nobody"', hint)
    bare = url.replace(":s3cret@", "@")
    not_opened(bare, CannotOpen, "no password supplied", hint)
    monkeypatch.setenv("PGPASSWORD", "wr0ng-s3cret")
    error = not_opened(bare, CannotOpen, "authentication failed", hint)
    assert "s3cret" not in str(error)
    assert picture(url) == NOTHING
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    asyncio.run(opened(bare))


def test_a_password_of_any_characters_works(guarded: PostgresServer) -> None:
    wild = "a:b/c@d?e=f&schema=g#h%20 é'\"\\"
    url = guarded.new_database()
    with role(url, "SUPERUSER") as (name, _), psycopg.connect(url, autocommit=True) as connection:
        alter = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(alter.format(sql.Identifier(name), sql.Literal(wild)))
        asyncio.run(opened(as_user(url, name, wild)))
        raw = url.replace("postgres:s3cret@", f"{name}:{quote(wild, safe='?=&#')}@")
        asyncio.run(opened(raw, schema="other"))


async def opened(url: str, **options: Any) -> None:
    async with EventStore.open(url, events=EVENTS, **options) as store:
        await store.append("thing-1", Data("x"))


def test_a_database_that_does_not_exist_is_named(database: str) -> None:
    url = f"{database}_not"
    name = url.rpartition("/")[2]
    not_opened(url, CannotOpen, f'database "{name}" does not exist', "create the database first")


def test_a_database_that_a_role_may_not_connect_to_is_told_as_that(url: str) -> None:
    name = url.rpartition("/")[2]
    ask(url, f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    with role(url) as (_, theirs):
        not_opened(theirs, CannotOpen, "permission denied for database", "CONNECT")


def test_a_server_without_a_connection_left_is_told_as_that() -> None:
    settings = {"max_connections": "3", "superuser_reserved_connections": "0"}
    with postgres(settings=settings) as server:
        url = server.new_database()
        taken = [psycopg.connect(url) for _ in range(3)]
        try:
            not_opened(url, CannotOpen, "too many", "raise max_connections")
        finally:
            for connection in taken:
                connection.close()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_of_an_encoding_that_cannot_hold_every_text_is_refused(
    database: str, encoding: Any
) -> None:
    with encoded(database, encoding) as theirs:
        not_opened(theirs, CannotOpen, f"its encoding is {encoding}", "ENCODING 'UTF8'")
        assert picture(theirs) == NOTHING


def test_text_of_any_language_is_kept_whatever_a_client_is_set_to(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")

    async def main() -> None:
        async with EventStore.open(f"{url}?client_encoding=SQL_ASCII", events=EVENTS) as store:
            await store.append("ding-ß", Data("žluťoučký 馬 🐎"))
            [record] = [record async for record in store.read()]
            assert (record.stream, record.data) == ("ding-ß", Data("žluťoučký 馬 🐎"))

    asyncio.run(main())


# --- options ---

WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "migrate=maybe": ("?migrate=maybe", {}, "migrate='maybe' is not known; use true or false"),
    "migrate of another type": ("", {"migrate": 1}, "use True, False or None"),
    "readers=0": ("?readers=0", {}, "readers=0 must be from 1 to 1000"),
    "readers=many": ("?readers=many", {}, "readers='many' is no whole number"),
    "readers=None": ("", {"readers": None}, "readers=None is no whole number"),
    "pooler=x": ("?pooler=x", {}, "pooler='x' is not known; use 'none' or 'transaction'"),
    "timeout_s": ("?timeout_s=nan", {}, "timeout_s=nan must be from 0 to 86400 seconds"),
    "an option of SQLite": ("", {"durability": "full"}, "knows no option 'durability'"),
    "an option that is none": ("", {"password": "s3cret"}, "knows no option 'password'"),
    "what libpq does not know": ("?colour=red", {}, "only those that libpq knows"),
    "what is no pair": ("?colour", {}, "cannot be understood"),
    "a schema twice": ("?schema=one&schema=two", {}, "says schema twice"),
    "the same schema twice": ("?schema=one&sslmode=disable&schema=one", {}, "says schema twice"),
    "a schema in capitals": ("?schema=Audit", {}, "schema='Audit' cannot be the name"),
    "a schema with a digit first": ("?schema=1st", {}, "no digit first"),
    "a schema with a quote": ("?schema=a%22b", {}, "cannot be the name of a schema"),
    "a schema with an apostrophe": ("", {"schema": "a'; DROP TABLE x; --"}, "cannot be the name"),
    "a schema with a hyphen": ("?schema=my-app", {}, "lower-case letters, digits and _"),
    "a schema with a point": ("?schema=public.app", {}, "cannot be the name"),
    "a schema in another script": ("?schema=%C3%A9t%C3%A9", {}, "cannot be the name"),
    "a schema with digits of another script": ("", {"schema": "a\u0661"}, "cannot be the name"),
    "a schema with a line break": ("", {"schema": "app\n"}, "cannot be the name"),
    "a schema with NUL": ("", {"schema": "a\x00"}, "cannot be the name"),
    "a schema of 64": ("", {"schema": "x" * 64}, "63 at most"),
    "an empty schema": ("?schema=", {}, "cannot be the name"),
    "no schema": ("", {"schema": None}, "cannot be the name"),
    "a schema of PostgreSQL": ("?schema=pg_catalog", {}, "PostgreSQL's own"),
    "another schema of PostgreSQL": ("?schema=information_schema", {}, "PostgreSQL's own"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_option_is_named_and_nothing_is_made(database: str, case: str) -> None:
    query, options, says = WRONG[case]
    listed = "SELECT nspname FROM pg_namespace ORDER BY 1"
    before = ask(database, listed)
    error = not_opened(database + query, InvalidUrl, says, **options)
    assert "s3cret" not in str(error)
    assert len(str(error)) < 300
    assert ask(database, listed) == before


def test_an_argument_is_stronger_than_what_the_url_says(url: str) -> None:
    asyncio.run(opened(f"{url}?schema=one&migrate=false", schema="two", migrate=None))
    assert picture(url, "one") == NOTHING


@pytest.mark.parametrize("schema", ["select", "user", "table", "public", "_", "a1_", "x" * 63])
def test_a_schema_with_an_unusual_name_works_like_any_other(url: str, schema: str) -> None:
    async def main() -> None:
        async with EventStore.open(url, events=EVENTS, schema=schema) as store:
            await store.append("thing-1", Data("x"), relations=["group"])
            await store.snapshots.create(names, "thing-1")
            assert await store.reduce(names, relation="group") == ["x"]
            assert (await store.verify()).ok

    asyncio.run(main())
    script = asyncio.run(migration_script(url, schema=schema, grant_to="app"))
    assert f'GRANT USAGE ON SCHEMA "{schema}" TO "app"' in script


# --- the driver ---


@pytest.mark.parametrize("missing", ["psycopg", "psycopg_pool"])
def test_without_the_driver_it_is_said_what_to_install(missing: str) -> None:
    program = (
        f"import asyncio, sys; sys.modules[{missing!r}] = None\n"
        "import everlog\n"
        "async def main():\n"
        "    calls = (everlog.EventStore.open, everlog.migrate, everlog.migration_script)\n"
        "    for call in calls:\n"
        "        try:\n"
        "            await call('postgresql://me:s3cret@127.0.0.1:1/app')\n"
        "        except everlog.errors.NotSupported as error:\n"
        "            print(error)\n"
        "    async with everlog.EventStore.open('memory:'):\n"
        "        print('memory')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    *told, last = done.stdout.splitlines()
    assert last == "memory"
    assert len(told) == 3
    for line in told:
        assert missing in line
        assert line.endswith("pip install 'everlog[postgres]'")


# --- roles that may not do everything ---

Call = Callable[[EventStore], Awaitable[object]]

WRITES: dict[str, Call] = {
    "append": lambda store: store.append("thing-1", Data("more")),
    "append a batch": lambda store: store.append("thing-1", *(Data(f"{n}") for n in range(200))),
    "append_many": lambda store: store.append_many([to("a", Data("x")), to("b", Data("y"))]),
    "append with a relation": lambda store: store.append("a", Data("x"), relations=["other"]),
    "relations.add": lambda store: store.relations.add("other", "thing-1"),
    "relations.remove": lambda store: store.relations.remove("group", "thing-1"),
    "snapshots.create": lambda store: store.snapshots.create(names, "thing-1"),
}


@pytest.mark.parametrize("pooler", ["none", "transaction"])
def test_a_role_that_may_only_read_reads_and_is_told_what_to_grant(url: str, pooler: str) -> None:
    asyncio.run(opened(url))

    async def main(theirs: str, grants: str) -> None:
        async with (
            EventStore.open(url, events=EVENTS) as owner,
            EventStore.open(theirs, events=EVENTS, pooler=pooler) as store,
        ):
            await owner.relations.add("group", "thing-1")
            before = picture(url)
            for what, write in WRITES.items():
                with pytest.raises(StorageFailed) as caught:
                    await write(store)
                for words in ("permission denied", "nothing was written", "USAGE", "INSERT"):
                    assert words in str(caught.value), what
                assert "everlog migrate --print --grant-to ROLE" in str(caught.value)
            assert picture(url) == before
            assert await store.reduce(names, relation="group") == ["x"]
            assert (await store.verify()).ok
            following = asyncio.create_task(store.ledger.wait(1, timeout_s=30))
            await owner.append("thing-1", Data("y"))
            assert await following == 2
            ask(url, grants)
            for write in WRITES.values():
                await write(store)
            assert (await store.verify()).ok

    with role(url) as (name, theirs):
        ask(url, f"GRANT USAGE ON SCHEMA everlog TO {name}")
        ask(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA everlog TO {name}")
        all_of_them = "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA everlog"
        asyncio.run(main(theirs, f"GRANT {all_of_them} TO {name}"))


@pytest.mark.parametrize(
    "lacking",
    [
        "INSERT ON everlog.records",
        "UPDATE ON everlog.ledger_head",
        "INSERT ON everlog.registers",
        "UPDATE ON everlog.registers",
    ],
)
def test_a_role_that_lacks_one_right_of_those_granted_writes_nothing(
    url: str, lacking: str
) -> None:
    asyncio.run(opened(url))
    with role(url) as (name, theirs):
        for line in asyncio.run(migration_script(url, grant_to=name)).splitlines():
            if line.startswith("GRANT"):
                ask(url, line)
        asyncio.run(opened(theirs))
        ask(url, f"REVOKE {lacking} FROM {name}")
        before = picture(url)
        with pytest.raises(StorageFailed, match="permission denied"):
            asyncio.run(opened(theirs))
        assert picture(url) == before


# --- events ---


def test_an_oversized_event_is_refused_and_the_largest_is_kept(url: str) -> None:
    largest = 1_048_576 - len('{"count":0,"name":""}') - len("null")

    async def main() -> None:
        async with EventStore.open(url, events=EVENTS) as store:
            await store.append("thing-1", Data("first"))
            before = picture(url)
            for text in ("x" * (2**20), "é" * 2**19, "\x01" * (2**18)):
                with pytest.raises(TooLarge, match="the limit is 1,048,576"):
                    await store.append("thing-1", Data(text))
                with pytest.raises(TooLarge):
                    await store.append("thing-1", Data("small"), Data(text))
            assert picture(url) == before
            for text in ("x" * largest, "é" * (largest // 2), '"' * (largest // 2)):
                await store.append("thing-2", Data(text))
                last = await store.read(backwards=True, limit=1).first()
                assert last is not None
                assert last.data == Data(text)
            assert (await store.verify()).ok

    asyncio.run(main())


# --- a server that goes away, or is held up ---


def test_a_server_that_is_gone_is_named_and_found_again(durable_postgres: PostgresServer) -> None:
    url = durable_postgres.new_database()

    async def main() -> None:
        async with EventStore.open(url, events=EVENTS, timeout_s=0.3) as store:
            await store.append("thing-1", Data("first"))
            durable_postgres.stop()
            try:
                calls: dict[str, Call] = {**WRITES, "info": lambda store: store.info()}
                for what, call in calls.items():
                    with pytest.raises(StorageError) as caught:
                        await call(store)
                    if what.startswith("append"):  # others read first, and may wait for the pool
                        assert isinstance(caught.value, Unreachable)
                    assert "cannot be reached" in str(caught.value), what
                    assert f":{durable_postgres.url.rpartition(':')[2].partition('/')[0]}" in str(
                        caught.value
                    )
            finally:
                durable_postgres.start()
            async with asyncio.timeout(60):
                await persistently(lambda: store.append("thing-1", Data("second"), expect=1))
                stored = await persistently(lambda: store.read().to_list())
            assert [record.data for record in stored] == [Data("first"), Data("second")]

    asyncio.run(main())


async def persistently(call: Callable[[], Awaitable[T]]) -> T:
    """Tries until it is done, as the server may still be starting."""
    while True:
        with suppress(StorageError):
            return await call()


def test_a_lock_that_another_holds_for_too_long_is_told_as_that(url: str) -> None:
    async def main() -> None:
        async with EventStore.open(url, events=EVENTS, timeout_s=0.05) as store:
            await store.append("thing-1", Data("first"))
            with psycopg.connect(url) as holder:
                holder.execute("SELECT pg_advisory_xact_lock(%s)", (Place({}).lock_key,))
                with pytest.raises(LedgerBusy, match=r"another process for too long.*timeout_s"):
                    await store.append("thing-1", Data("second"))
            await store.append("thing-1", Data("second"), expect=1)

    asyncio.run(main())
