"""What a test of the adapter asks for: a shop or a schema of its own, and connections."""

import itertools
from collections.abc import Iterator

import pytest

from everlog.testing import PostgresServer
from tests.adapters.schema import Schema
from tests.adapters.shop import BOTH, CONNECTIONS, Connect, Shop

_numbers = itertools.count(1)


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


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> str:
    """The URL of a database that has its files to itself."""
    return postgres_server.new_database()


@pytest.fixture
def schema(database: str) -> Schema:
    """A schema that does not exist yet."""
    return Schema(database, f"test_{next(_numbers)}")
