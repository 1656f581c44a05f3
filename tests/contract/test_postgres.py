"""The PostgreSQL ledger keeps the whole contract, on the newest server and on older ones.

Without prepared statements on the newest alone: what is asked is the same, and older ones get it
from `TestPostgres`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing import PostgresServer
from everlog.testing.contract import LedgerContract, StoreContract
from tests.contract.on_schemas import OnSchemas, OnTheNewest
from tests.postgres_schemas import Schemas


@pytest.fixture(scope="module")
def schemas(each_postgres: PostgresServer) -> Iterator[Schemas]:
    with closing(Schemas(each_postgres.new_database())) as schemas:
        yield schemas


class TestPostgres(OnSchemas, StoreContract):
    def attacks(self, ledger: Ledger) -> Mapping[str, Callable[[], object]]:
        assert isinstance(ledger, PostgresLedger)
        schema = ledger.place.schema

        def attack(statement: str) -> Callable[[], object]:
            def run() -> None:
                with psycopg.connect(self.url) as connection:
                    connection.execute(statement.replace("records", f"{schema}.records").encode())

            return run

        return {statement: attack(statement) for statement in ATTACKS}


@pytest.mark.once
class TestPostgresWithoutPreparing(OnTheNewest, LedgerContract):
    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        return await PostgresLedger.open(
            self.url, schema=self.schema_of(place), seams=seams, pooler="transaction"
        )


ATTACKS = [
    "DELETE FROM records",
    "DELETE FROM records WHERE position = 3",
    "TRUNCATE records",
    "TRUNCATE records CASCADE",
    "UPDATE records SET data = '2' WHERE position = 1",
    "UPDATE records SET flags = 2",
    "UPDATE records SET position = position + 10",
    "UPDATE records SET chain = '\\x00'",
    "UPDATE records SET data = NULL",
    "UPDATE records SET data = NULL, meta = NULL, nonce = NULL, hash = '\\x00'",
    "UPDATE records SET data = NULL, meta = NULL, nonce = NULL, size = 0",
    "SET session_replication_role = replica; DELETE FROM records",
    "SET session_replication_role = replica; UPDATE records SET data = '2'",
    "SET session_replication_role = replica; TRUNCATE records",
    "INSERT INTO records SELECT * FROM records WHERE position = 2",
    "INSERT INTO records SELECT * FROM records WHERE position = 2"
    " ON CONFLICT (id) DO UPDATE SET data = '2'",
    "MERGE INTO records AS r USING (VALUES (2)) AS v(p) ON r.position = v.p"
    " WHEN MATCHED THEN DELETE",
]
