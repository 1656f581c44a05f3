"""The contract again, behind a proxy that pools by transaction and swaps backends."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing import PostgresServer
from everlog.testing.contract import LedgerContract, StoreContract
from tests.proxies.pooling import PoolingProxy


@pytest.fixture(scope="class")
def pooler(
    trusting_postgres: PostgresServer, request: pytest.FixtureRequest
) -> Iterator[PoolingProxy]:
    bound: type[Pooled] = request.cls
    url = trusting_postgres.new_database()
    with PoolingProxy(url, size=4, forgets=bound.forgets) as pooler:
        yield pooler
        print(f"{pooler.transactions} transactions, {pooler.swaps} with another backend")
        assert pooler.swaps > pooler.transactions / 2


class Pooled:
    """What binds a contract to a proxy."""

    forgets: bool
    """Whether a backend forgets a session after each transaction, or keeps what was left there."""
    url: str

    @pytest.fixture(autouse=True)
    def bind(self, pooler: PoolingProxy) -> None:
        self.url = pooler.url

    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        schema = "c" + hashlib.sha256(str(place).encode()).hexdigest()[:20]
        return await PostgresLedger.open(self.url, schema=schema, seams=seams, pooler="transaction")


class TestPostgresPooled(Pooled, StoreContract):
    forgets = False


class TestPostgresPooledAndForgotten(Pooled, LedgerContract):
    forgets = True
