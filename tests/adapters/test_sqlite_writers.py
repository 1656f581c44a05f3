"""One writer at a time: what it reads under its lock is what it writes on."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.adapters.sqlite.connections import Place, connect_reader
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.errors import LedgerBusy
from tests.store.stopping import AFTER_BEGIN, COMMIT_SENT, stopping
from tests.store.watched import Noted, run


def test_nobody_else_gets_in_between_what_a_writer_reads_and_what_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the side file's lock, which would hide a missing one of SQLite's.
    path = tmp_path / "log.db"

    async def main() -> None:
        async with (
            stopping("sqlite", path, monkeypatch, guard_checkpoints=False) as (ledger, stops),
            EventStore(ledger, events=[Noted]) as store,
        ):
            held = stops.at(AFTER_BEGIN)
            appending = asyncio.create_task(store.append("a", Noted(1), ids=["first"]))
            await held.reached()
            other = await SqliteLedger.open(str(path), timeout_s=0.02, guard_checkpoints=False)
            async with EventStore(other, events=[Noted]) as another:
                try:
                    with pytest.raises(LedgerBusy):
                        await another.append("a", Noted(2), ids=["second"])
                finally:
                    held.release()
                [first] = await appending
                [second] = await another.append("a", Noted(2), ids=["second"])
            assert [(r.position, r.version) for r in (first, second)] == [(1, 1), (2, 2)]
            assert (await store.verify()).ok

    run(main)


def test_no_commit_runs_beside_whoever_holds_the_side_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.db"

    async def main() -> None:
        async with (
            stopping("sqlite", path, monkeypatch, guard_checkpoints=True, timeout_s=0.02) as (
                ledger,
                stops,
            ),
            EventStore(ledger, events=[Noted]) as store,
        ):
            side = FileLock(f"{path}-lock")
            with side.held(1), pytest.raises(LedgerBusy):  # as while another checkpoints
                await store.append("a", Noted(1))
            held = stops.at(COMMIT_SENT)
            appending = asyncio.create_task(store.append("a", Noted(2)))
            await held.reached()
            try:
                with pytest.raises(LedgerBusy), side.held(0.02):  # as whoever would checkpoint
                    pass
            finally:
                held.release()
            await appending
            side.close()

    run(main)


def test_a_connection_that_reads_cannot_write(tmp_path: Path) -> None:
    async def main() -> None:
        ledger = await SqliteLedger.open(str(tmp_path / "log.db"))
        place = Place(ledger.path, "full", 1.0, checkpoints_race=True)
        with closing(connect_reader(place)) as reader:
            assert reader.execute("SELECT count(*) FROM records").fetchone() == (0,)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM relations")
        await ledger.close()

    run(main)
