"""Transactions over connections that others hand out: SQLAlchemy, a pool, a proxy that pools."""

# A block is what raises in these tests.
# ruff: noqa: PT012

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from everlog import EventStore, InvalidInput, WrongVersion
from everlog.testing import PostgresServer
from tests.adapters.shop import EVENTS, Shop
from tests.proxies.pooling import PoolingProxy
from tests.store.watched import Noted, run


class Base(DeclarativeBase): ...


class Order(Base):
    __tablename__ = "orders"
    number: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str | None]


@asynccontextmanager
async def engine_of(shop: Shop, **options: Any) -> AsyncGenerator[AsyncEngine]:
    url = shop.dsn.replace("postgresql:", "postgresql+psycopg:")
    engine = create_async_engine(url, **options)
    try:
        yield engine
    finally:
        await engine.dispose()


@pytest.mark.parametrize("level", ["READ COMMITTED", "READ UNCOMMITTED", "AUTOCOMMIT"])
def test_the_connection_below_sqlalchemys_is_joined_whether_it_commits_by_itself_or_not(
    shop: Shop, level: str
) -> None:
    async def main() -> None:
        async with shop.store() as store, engine_of(shop, isolation_level=level) as engine:
            for number in range(1, 4):  # the same connection each time, out of its pool
                async with engine.connect() as connection:
                    driver = (await connection.get_raw_connection()).driver_connection
                    with pytest.raises(WrongVersion):
                        async with store.transaction(driver) as tx:
                            await connection.execute(text("INSERT INTO orders VALUES (9)"))
                            tx.append("a", Noted(9), expect=7)
                    async with store.transaction(driver) as tx:
                        await connection.execute(text(f"INSERT INTO orders VALUES ({number})"))
                        tx.append("a", Noted(number))
            assert (shop.orders, len(shop.ids())) == ([1, 2, 3], 3)

    run(main)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_engine_whose_transactions_events_cannot_join_is_refused(shop: Shop, level: str) -> None:
    async def main() -> None:
        async with (
            shop.store() as store,
            engine_of(shop, isolation_level=level) as engine,
            engine.connect() as connection,
        ):
            driver = (await connection.get_raw_connection()).driver_connection
            with pytest.raises(InvalidInput, match=level):
                async with store.transaction(driver):
                    pass
            with pytest.raises(InvalidInput, match=r"get_raw_connection\(\)"):
                store.transaction(connection)

    run(main)


def test_what_is_added_to_a_session_and_flushed_in_the_block_is_committed_with_it(
    shop: Shop,
) -> None:
    async def main() -> None:
        async with shop.store() as store, engine_of(shop) as engine:
            for fails in (True, False):
                async with AsyncSession(engine) as session:
                    raw = await (await session.connection()).get_raw_connection()
                    try:
                        async with store.transaction(raw.driver_connection) as tx:
                            session.add(Order(number=1))
                            tx.append("a", Noted(1))
                            await session.flush()
                            if fails:
                                raise ZeroDivisionError
                    except ZeroDivisionError:
                        assert (shop.orders, shop.ids()) == ([], [])
                    else:
                        await session.commit()
            async with AsyncSession(engine) as session:
                found = await session.get(Order, 1)
                assert found is not None
            assert (shop.orders, len(shop.ids())) == ([1], 1)

    run(main)


def test_connections_of_a_pool_are_joined_and_come_back_to_it_at_rest(shop: Shop) -> None:
    async def main() -> None:
        async with (
            shop.store() as store,
            AsyncConnectionPool(shop.dsn, min_size=1, max_size=2, open=False) as pool,
        ):

            async def buy(number: int) -> None:
                async with pool.connection() as connection, store.transaction(connection) as tx:
                    await connection.execute("INSERT INTO orders VALUES (%s)", (number,))
                    tx.append("a", Noted(number))
                    if number % 3 == 0:
                        raise ZeroDivisionError

            ends = await asyncio.gather(*map(buy, range(12)), return_exceptions=True)
            assert [type(end) for end in ends].count(ZeroDivisionError) == 4
            assert shop.orders == [n for n in range(12) if n % 3]
            assert len(shop.ids()) == 8
            assert pool.get_stats().get("returns_bad", 0) == 0
            assert pool.get_stats()["pool_size"] <= 2

    run(main)


@pytest.mark.parametrize("forgets", [False, True], ids=["sessions stay", "sessions are forgotten"])
def test_a_transaction_is_joined_through_a_proxy_that_pools_by_transaction(
    trusting_postgres: PostgresServer, forgets: bool
) -> None:
    shop = Shop(trusting_postgres.new_database())

    async def main() -> None:
        with PoolingProxy(shop.dsn, size=3, forgets=forgets) as proxy:
            url = f"{proxy.url}?schema={shop.schema}&pooler=transaction"
            async with EventStore.open(url, events=EVENTS) as store:

                async def buy(number: int) -> None:
                    connecting = psycopg.AsyncConnection.connect(proxy.url, prepare_threshold=None)
                    async with await connecting as connection:
                        for index in range(number, number + 5):
                            async with store.transaction(connection) as tx:
                                await connection.execute("INSERT INTO orders VALUES (%s)", [index])
                                tx.append("a", Noted(index), ids=[f"order-{index}"])
                            assert [record.id for record in tx.records] == [f"order-{index}"]
                            await store.append("b", Noted(index))

                await asyncio.gather(*(buy(number) for number in range(0, 30, 5)))
                assert shop.orders == list(range(30))
                assert len(shop.ids()) == 60
                assert (await store.verify()).ok

    try:
        run(main)
    finally:
        shop.close()
