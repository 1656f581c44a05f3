"""SQLite's checkpoints keep the contract: in a file, under our lock of checkpoints, in memory, and
in the log's own file.
"""

import sqlite3
from pathlib import Path

import pytest

from everlog.adapters.sqlite.checkpoints import SqliteCheckpoints
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.ports.checkpoints import Checkpoints
from tests.contract.checkpoints.suite import (
    CheckpointsContract,
    Scene,
    SharedCheckpointsContract,
    checkpoints_test,
)


class TestSqliteFile(SharedCheckpointsContract):
    async def open_checkpoints(self, place: Path) -> Checkpoints:
        # Without the side file's lock, which would hide a missing one of SQLite's.
        return await SqliteCheckpoints.open(f"{place}.views.db", guard_checkpoints=False)


class TestSqliteFileUnderALock(SharedCheckpointsContract):
    async def open_checkpoints(self, place: Path) -> Checkpoints:
        return await SqliteCheckpoints.open(f"{place}.views.db", guard_checkpoints=True)


class TestSqliteSameFile(SharedCheckpointsContract):
    guard_checkpoints = False

    async def open_checkpoints(self, place: Path) -> Checkpoints:
        ledger = await SqliteLedger.open(
            f"{place}.db", guard_checkpoints=self.guard_checkpoints, timeout_s=30
        )
        await ledger.close()
        # Some of these tests take their time on purpose; the limit has tests of its own.
        return await SqliteCheckpoints.open_in_ledger(ledger.place, limit_s=60)

    @checkpoints_test
    async def test_an_eager_statement_that_fails_is_told_where_it_stands(
        self, scene: Scene
    ) -> None:
        """It is told by the end: to carry it out at once would keep appends waiting."""
        done: list[int] = []
        with pytest.raises(sqlite3.IntegrityError, match="position"):
            async with scene.checkpoints.transaction() as transaction:
                transaction.eager()
                for position in (1, None, 3):
                    await transaction.tx.execute(scene.insert, (position, "a"))
                    done.append(position or 0)
        assert done == [1, 0, 3]
        assert await scene.seen() == []


class TestSqliteSameFileUnderALock(TestSqliteSameFile):
    guard_checkpoints = True


class TestSqliteMemory(CheckpointsContract):
    async def open_checkpoints(self, place: Path) -> Checkpoints:
        return await SqliteCheckpoints.open(None)
