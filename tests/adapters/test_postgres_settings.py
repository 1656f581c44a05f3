"""What a commit needs of its transaction it has, whatever the server's own settings are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from everlog import EventStore, Record, reducer, to
from everlog.adapters.postgres.writing import COPY_FROM
from everlog.testing import PostgresServer
from tests.adapters.schema import Schema
from tests.store.watched import Noted

CARELESS = {
    "synchronous_commit": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "default_transaction_read_only": "on",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""What a database may say to whoever connects."""

WANTED = ("on", "read committed", "off", "7s", "7s")
"""What a commit sees of it, where a store has `timeout_s=7`."""

# Wherever a transaction of ours writes, what it sees is kept.
_SEEN = """
CREATE TABLE {}.seen (sync text, isolation text, read_only text, lock text, idle text);
CREATE FUNCTION {}.see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {}.seen SELECT current_setting('synchronous_commit'),
        current_setting('transaction_isolation'), current_setting('transaction_read_only'),
        current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout');
    RETURN NULL;
END $$;
CREATE TRIGGER see AFTER UPDATE ON {}.ledger_head EXECUTE FUNCTION {}.see();
CREATE TRIGGER see AFTER INSERT ON {}.relations EXECUTE FUNCTION {}.see();
CREATE TRIGGER see AFTER INSERT ON {}.snapshots EXECUTE FUNCTION {}.see()
"""


@reducer("counted", initial=int)
def counted(state: int, record: Record[Any]) -> int:
    return state + 1


async def one(store: EventStore) -> object:
    return await store.append("a", Noted())


async def some(store: EventStore) -> object:
    return await store.append("a", Noted(), Noted())


async def many(store: EventStore) -> object:
    return await store.append("a", *[Noted()] * COPY_FROM)


async def imported(store: EventStore) -> object:
    number = (await store.info()).position
    past = store.past("p", Noted(), created=f"{number:012x}0000" + "a" * 16)
    return await store.import_records([past])


async def related(store: EventStore) -> object:
    return await store.relations.add(f"r{(await store.info()).position}", "a")


async def with_relations(store: EventStore) -> object:
    return await store.append_many([to("b", Noted(), relations=["q"])])


async def snapshot(store: EventStore) -> object:
    return await store.snapshots.create(counted, "a")


Write = Callable[[EventStore], Awaitable[object]]

WRITES: dict[str, Write] = {
    "one event": one,
    "one event by a guess": one,
    "some events": some,
    "many events": many,
    "some events by a guess": some,
    "an import": imported,
    "relations": related,
    "an event with relations": with_relations,
    "a snapshot": snapshot,
}


@pytest.fixture
def careless(postgres_server: PostgresServer) -> Schema:
    """A schema in a database that sets what a commit must not have."""
    return Schema(postgres_server.new_database(), "careless")


def set_in_database(schema: Schema, settings: dict[str, str]) -> None:
    [[name]] = schema.ask("SELECT current_database()")
    for setting, value in settings.items():
        schema.ask(f"ALTER DATABASE {name} SET {setting} = '{value}'")


@pytest.mark.parametrize("pooler", ["none", "transaction"])
def test_every_commit_is_durable_and_in_a_transaction_as_it_needs_one(
    careless: Schema, pooler: str
) -> None:
    async def main() -> None:
        async with careless.store():
            careless.ask(_SEEN)
        set_in_database(careless, CARELESS)
        async with careless.store(pooler=pooler, timeout_s=7) as store:
            for _ in range(2):
                for name, write in WRITES.items():
                    await write(store)
                    seen = careless.ask("SELECT * FROM {}.seen")
                    assert seen, name
                    assert set(seen) == {WANTED}, name
                    careless.ask("DELETE FROM {}.seen")

    asyncio.run(main())


def test_a_server_does_not_wait_for_hours_for_who_is_gone_without_a_word(careless: Schema) -> None:
    async def main() -> None:
        async with careless.store() as store:
            careless.ask(
                "CREATE TABLE {}.kept AS SELECT '' AS name, '' AS value WHERE false;"
                "CREATE FUNCTION {}.keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "INSERT INTO {}.kept SELECT name, current_setting(name) FROM pg_settings "
                "WHERE name LIKE 'tcp_keepalives_%'; RETURN NULL; END $$;"
                "CREATE TRIGGER keep AFTER UPDATE ON {}.ledger_head EXECUTE FUNCTION {}.keep()"
            )
            await one(store)
        assert dict(careless.ask("SELECT name, value FROM {}.kept")) == {
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "4",
        }

    asyncio.run(main())


def test_so_are_events_in_somebody_elses_transaction(careless: Schema) -> None:
    async def main() -> None:
        async with careless.store(timeout_s=7) as store:
            careless.ask(_SEEN)
            set_in_database(careless, CARELESS)
            async with await psycopg.AsyncConnection.connect(careless.database) as connection:
                await connection.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
                await connection.set_read_only(False)
                await connection.set_deferrable(False)
                async with store.transaction(connection) as transaction:
                    transaction.append("a", Noted())
            assert careless.ask("SELECT * FROM {}.seen") == [WANTED]

    asyncio.run(main())


def test_a_stronger_promise_of_the_server_stays(careless: Schema) -> None:
    async def main() -> None:
        async with careless.store():
            careless.ask(_SEEN)
        set_in_database(careless, {"synchronous_commit": "remote_apply"})
        for pooler in ("none", "transaction"):
            async with careless.store(pooler=pooler) as store:
                await one(store)
        assert {sync for sync, *_ in careless.ask("SELECT * FROM {}.seen")} == {"remote_apply"}

    asyncio.run(main())
