"""The contract again, by a role that may do what `everlog migrate --print --grant-to` grants it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from everlog import migrate, migration_script
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing import PostgresServer
from everlog.testing.contract import LedgerContract
from everlog.testing.contract.importing import Importing
from everlog.testing.contract.relating import Relating
from everlog.testing.contract.snapshotting import Snapshotting
from tests.adapters.databases import ask, role
from tests.postgres_schemas import Schemas


@pytest.fixture(scope="module")
def granted(postgres_server: PostgresServer) -> Iterator[tuple[Schemas, str, str]]:
    url = postgres_server.new_database()
    with role(url) as (name, theirs), closing(Schemas(url)) as schemas:
        yield schemas, name, theirs


class TestPostgresAsAGrantedRole(LedgerContract, Importing, Relating, Snapshotting):
    names: dict[Path, str]

    @pytest.fixture(autouse=True)
    def bind(self, granted: tuple[Schemas, str, str]) -> Iterator[None]:
        self.schemas, self.role, self.theirs = granted
        self.names = {}
        yield
        self.schemas.give_back(*self.names.values())

    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        if place not in self.names:
            schema = self.names[place] = self.schemas.take()
            await migrate(self.schemas.url, schema=schema)
            script = await migration_script(self.schemas.url, schema=schema, grant_to=self.role)
            ask(self.schemas.url, script)
        schema = self.names[place]
        return await PostgresLedger.open(self.theirs, schema=schema, seams=seams, migrate=False)
