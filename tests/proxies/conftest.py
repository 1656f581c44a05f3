"""A database of its own for each file of tests."""

import pytest

from everlog.testing import PostgresServer


@pytest.fixture(scope="module")
def server(trusting_postgres: PostgresServer) -> str:
    """The URL of an empty database."""
    return trusting_postgres.new_database()
