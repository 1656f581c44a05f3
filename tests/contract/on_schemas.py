"""What binds a contract to PostgreSQL: a schema for each place, of the fixture `schemas`."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing import PostgresServer
from tests.postgres_schemas import Schemas


class OnSchemas:
    """To be inherited from first. The module has the fixture, or the class is `OnTheNewest`."""

    url: str
    names: dict[Path, str]
    """The schemas of this test's places."""

    @pytest.fixture(autouse=True)
    def bind(self, schemas: Schemas) -> Iterator[None]:
        self.url, self.names, self._take = schemas.url, {}, schemas.take
        yield
        schemas.give_back(*self.names.values())

    def schema_of(self, place: Path) -> str:
        """Returns the schema of a place: nobody else's, and the same for the same place."""
        if place not in self.names:
            self.names[place] = self._take()
        return self.names[place]

    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        return await PostgresLedger.open(self.url, schema=self.schema_of(place), seams=seams)


class OnTheNewest(OnSchemas):
    """On the newest server alone, whatever others its module has."""

    @pytest.fixture(scope="class")
    @classmethod
    def schemas(cls, postgres_server: PostgresServer) -> Iterator[Schemas]:
        with closing(Schemas(postgres_server.new_database())) as schemas:
            yield schemas
