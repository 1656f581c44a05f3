"""The schemas in which the stores on PostgreSQL live."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from everlog.testing import PostgresServer
from tests.differential.triplets import Triplets
from tests.postgres_schemas import Schemas


@pytest.fixture(scope="session", autouse=True)
def schemas(postgres_server: PostgresServer) -> Iterator[None]:
    with closing(Schemas(postgres_server.new_database())) as Triplets.schemas:
        yield
