"""A schema that was used and emptied is to the next test as a new one."""

import asyncio
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from everlog import EventStore, Record, reducer
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.testing import PostgresServer
from everlog.testing.contract.events import EVENTS, Noted
from tests.postgres_schemas import Schemas

TABLES = ["records", "registers", "relations", "relation_revisions", "snapshots"]


@reducer("counted", initial=int)
def counted(state: int, record: Record[Any]) -> int:
    return state + 1


async def use(url: str, schema: str) -> None:
    """Leaves something in every table."""
    async with EventStore(await PostgresLedger.open(url, schema=schema), events=EVENTS) as store:
        await store.append("a", Noted(1), relations=["r"])
        await store.snapshots.create(counted, "a")


def facts_of(url: str, schema: str) -> tuple[list[object], dict[str, object]]:
    """Returns who a ledger is, and all else that its schema holds and refuses."""
    with psycopg.connect(url) as connection:

        def rows_of(table: str) -> list[tuple[object, ...]]:
            statement = SQL("SELECT * FROM {}.{}").format(Identifier(schema), Identifier(table))
            return connection.execute(statement).fetchall()  # sql: both names are quoted

        triggers = connection.execute(
            "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = %s::regclass ORDER BY 1",
            [f"{schema}.records"],
        ).fetchall()
        [[_, ledger, node, epoch, *head]] = rows_of("ledger_head")
        facts: dict[str, object] = {table: rows_of(table) for table in TABLES}
        return [ledger, node, epoch], facts | {"head": head, "triggers": triggers}


def test_an_emptied_schema_is_as_good_as_new_and_another_ledger(
    postgres_server: PostgresServer,
) -> None:
    async def make(schema: str) -> None:
        await (await PostgresLedger.open(schemas.url, schema=schema)).close()

    with closing(Schemas(postgres_server.new_database())) as schemas:
        asyncio.run(make(schema := schemas.take()))
        was, new = facts_of(schemas.url, schema)
        asyncio.run(use(schemas.url, schema))
        _, used = facts_of(schemas.url, schema)
        assert [table for table in TABLES if not used[table]] == []
        schemas.give_back(schema)
        assert schemas.take() == schema
        identity, emptied = facts_of(schemas.url, schema)
        assert emptied == new
        assert len({*was, *identity}) == 6


def test_a_schema_in_use_is_not_given_to_another(postgres_server: PostgresServer) -> None:
    with closing(Schemas(postgres_server.new_database())) as schemas:
        assert len({schemas.take() for _ in range(3)}) == 3
        schemas.give_back("there_is_no_ledger_here")
        assert schemas.take() != "there_is_no_ledger_here"


def test_a_transaction_that_was_left_open_is_told_of(postgres_server: PostgresServer) -> None:
    with closing(Schemas(postgres_server.new_database(), patience_ms=100)) as schemas:
        asyncio.run(use(schemas.url, schema := schemas.take()))
        with psycopg.connect(schemas.url) as left_open:
            left_open.execute(f"LOCK TABLE {schema}.relations".encode())
            with pytest.raises(psycopg.errors.LockNotAvailable):
                schemas.give_back(schema)
