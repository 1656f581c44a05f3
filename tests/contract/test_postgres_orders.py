"""The contract again, in a database that orders text as a dictionary does, where there is one.

The programs in the wheel know no dictionary; those of a distribution do. What the catalogue says of
it tells on every server: `tests/adapters/test_postgres_orders.py`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest

from everlog.testing import PostgresServer, postgres
from everlog.testing.contract.folding import Folding
from everlog.testing.contract.reading import ReadingRecords
from everlog.testing.contract.relating import Relating
from tests.contract.on_schemas import OnSchemas
from tests.postgres_fixtures import OLDER, tell
from tests.postgres_schemas import Schemas


@pytest.fixture(scope="module")
def schemas(request: pytest.FixtureRequest) -> Iterator[Schemas]:
    with ExitStack() as stack:
        binaries = next((OLDER[major] for major in OLDER if int(major) >= 15), None)
        server = stack.enter_context(postgres(binaries=binaries))
        tell(request.config, "test_postgres_orders", server)
        yield stack.enter_context(closing(Schemas(another_order(server))))


def another_order(server: PostgresServer) -> str:
    """Returns the URL of a database, in the order of a dictionary if the server has one."""
    with psycopg.connect(server.url) as connection:
        known = connection.execute("SELECT FROM pg_collation WHERE collprovider = 'i'").fetchall()
    url = server.new_database(provider="icu", locale="en-US") if known else server.new_database()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 'a' < 'B'").fetchone() == (bool(known),)
    return url


class TestPostgresInTheOrderOfADictionary(OnSchemas, ReadingRecords, Folding, Relating):
    pass
