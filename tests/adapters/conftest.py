"""A shop of its own for every test that asks for one, and how a program comes by a connection."""

from collections.abc import Iterator

import pytest

from everlog.testing import PostgresServer
from tests.adapters.shop import BOTH, CONNECTIONS, Connect, Shop


@pytest.fixture(scope="module")
def dsn(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


@pytest.fixture
def shop(dsn: str) -> Iterator[Shop]:
    shop = Shop(dsn)
    yield shop
    shop.close()


@pytest.fixture(params=CONNECTIONS)
def connect(request: pytest.FixtureRequest) -> Connect:
    """Each way in which a program may come by a connection."""
    return CONNECTIONS[request.param]


@pytest.fixture(params=BOTH)
def either(request: pytest.FixtureRequest) -> Connect:
    """An async connection, and a blocking one."""
    return BOTH[request.param]
