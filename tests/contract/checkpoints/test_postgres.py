"""The checkpoints in PostgreSQL keep the whole contract, on the newest server and on older ones."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from everlog.adapters.postgres.checkpoints import PostgresCheckpoints
from everlog.adapters.postgres.connections import Pooler
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.ports.checkpoints import Checkpoints
from everlog.testing import PostgresServer
from tests.contract.checkpoints.suite import SharedCheckpointsContract
from tests.contract.on_schemas import OnSchemas, OnTheNewest
from tests.postgres_schemas import Schemas
from tests.proxies.pooling import PoolingProxy


@pytest.fixture(scope="module")
def schemas(each_postgres: PostgresServer) -> Iterator[Schemas]:
    with closing(Schemas(each_postgres.new_database())) as schemas:
        yield schemas


@pytest.fixture(scope="module")
def proxy(trusting_postgres: PostgresServer) -> Iterator[PoolingProxy]:
    with PoolingProxy(trusting_postgres.new_database(), size=8) as proxy:
        yield proxy
        assert proxy.swaps > proxy.transactions / 2


class InPostgres:
    """Of one schema for each place, with a table of the user's own in it."""

    def schema_of(self, place: Path) -> str:
        raise NotImplementedError

    def sql(self, place: Path, statement: str) -> str:
        statement = re.sub(r":(\w+)", r"%(\1)s", statement).replace("?", "%s")
        # The tables of a schema are emptied and used again: see `Schemas`.
        statement = statement.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS")
        statement = statement.replace("INTEGER", "bigint")  # fences are written to it, too
        return re.sub(r"\bseen\b", f"{self.schema_of(place)}.seen", statement)


async def opened(url: str, schema: str, pooler: Pooler) -> Checkpoints:
    """Opens the checkpoints of the ledger in a schema, which is made if need be."""
    ledger = await PostgresLedger.open(url, schema=schema, pooler=pooler)
    await ledger.close()
    return await PostgresCheckpoints.open(ledger.place)


class OnOneServer(OnSchemas, InPostgres):
    pooler: Pooler = "none"

    async def open_checkpoints(self, place: Path) -> Checkpoints:
        return await opened(self.url, self.schema_of(place), self.pooler)


class TestPostgres(OnOneServer, SharedCheckpointsContract):
    pass


@pytest.mark.once
class TestPostgresWithoutPreparing(OnTheNewest, OnOneServer, SharedCheckpointsContract):
    """On the newest server alone: what is asked is the same, and older ones get it from above."""

    pooler = "transaction"


@pytest.mark.once
class TestPostgresPooled(InPostgres, SharedCheckpointsContract):
    """Behind a proxy that gives each transaction another backend, with what others left there."""

    @pytest.fixture(autouse=True)
    def bind(self, proxy: PoolingProxy) -> None:
        self.url = proxy.url

    def schema_of(self, place: Path) -> str:
        return "c" + hashlib.sha256(str(place).encode()).hexdigest()[:20]

    async def open_checkpoints(self, place: Path) -> Checkpoints:
        return await opened(self.url, self.schema_of(place), "transaction")
