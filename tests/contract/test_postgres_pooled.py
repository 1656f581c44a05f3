"""The contract again, behind a proxy that pools by transaction and swaps backends."""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.errors import StorageFailed
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing import PostgresServer
from everlog.testing.contract import LedgerContract, StoreContract
from tests.proxies.pooling import PoolingProxy
from tests.store.watched import Noted


@pytest.fixture(scope="class")
def pooler(
    trusting_postgres: PostgresServer, request: pytest.FixtureRequest
) -> Iterator[PoolingProxy]:
    bound: type[Pooled] = getattr(request, "cls")  # noqa: B009 - of no type that is known
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


def test_without_being_told_of_the_proxy_a_store_does_not_get_far(
    trusting_postgres: PostgresServer,
) -> None:
    async def main(pooler: str) -> None:
        url = f"{proxy.url}?schema=here&timeout_s=1&pooler={pooler}"
        async with EventStore.open(url, events=[Noted]) as store:
            for number in range(10):
                await store.append("a", Noted(number))
                assert len(await store.read().to_list()) == number + 1

    with PoolingProxy(trusting_postgres.new_database()) as proxy:
        asyncio.run(main("transaction"))
    with (
        PoolingProxy(trusting_postgres.new_database()) as proxy,
        pytest.raises(StorageFailed, match="prepared statement"),
    ):
        asyncio.run(main("none"))
