"""The SQLite ledger keeps the whole contract, as it is by default and as it may be set."""

import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from everlog.adapters.sqlite.connections import checkpoints_race
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing.contract import LedgerContract, StoreContract


class TestSqlite(StoreContract):
    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        return await SqliteLedger.open(str(place), seams=seams)

    def attacks(self, ledger: Ledger) -> Mapping[str, Callable[[], object]]:
        assert isinstance(ledger, SqliteLedger)
        path = ledger.path

        def attack(statement: str) -> Callable[[], object]:
            def run() -> None:
                connection = sqlite3.connect(path)
                try:
                    with connection:
                        connection.execute(statement)
                finally:
                    connection.close()

            return run

        return {statement: attack(statement) for statement in ATTACKS}


@pytest.mark.once
class TestSqliteRelaxed(LedgerContract):
    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        return await SqliteLedger.open(str(place), seams=seams, durability="relaxed")


@pytest.mark.once
class TestSqliteWithTheOtherCheckpoints(LedgerContract):
    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        other = not checkpoints_race(sqlite3.sqlite_version_info)
        return await SqliteLedger.open(str(place), seams=seams, guard_checkpoints=other)


ATTACKS = [
    "DELETE FROM records",
    "DELETE FROM records WHERE position = 3",
    "UPDATE records SET data = '2' WHERE position = 1",
    "UPDATE records SET flags = 2",
    "UPDATE records SET position = position + 10",
    "UPDATE records SET chain = x'00'",
    "UPDATE records SET data = NULL",
    "UPDATE records SET data = NULL, meta = NULL, nonce = NULL, hash = x'00'",
    "INSERT OR REPLACE INTO records SELECT * FROM records WHERE position = 2",
    "REPLACE INTO records SELECT 2, 1, 'new', 's', type, schema, register, origin, correlation,"
    " causation, created, recorded, flags, nonce, data, meta, hash, chain, late FROM records"
    " WHERE position = 1",
    "UPDATE OR REPLACE records SET position = 1 WHERE position = 2",
    "INSERT OR REPLACE INTO records SELECT 4, 1, id, 's', type, schema, register, origin,"
    " correlation, causation, created, recorded, flags, nonce, data, meta, hash, chain, late"
    " FROM records WHERE position = 1",
]
