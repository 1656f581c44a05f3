"""A database of its own for each file of tests, on a server that trusts whoever connects."""

from collections.abc import Generator

import pytest

from everlog.testing import PostgresServer, postgres
from everlog.testing.postgresql.binaries import binaries_of_the_wheel


@pytest.fixture(scope="session")
def trusting_server() -> Generator[PostgresServer]:
    """A server of our own, whatever server the other tests are to use: that may want a password."""
    with postgres(binaries=binaries_of_the_wheel()) as server:
        yield server


@pytest.fixture(scope="module")
def server(trusting_server: PostgresServer) -> str:
    """The URL of an empty database."""
    return trusting_server.new_database()
