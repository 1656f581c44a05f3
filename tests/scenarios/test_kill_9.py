"""Writers are killed at random moments, and nothing that was acknowledged is lost or halved."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.errors import LedgerBusy
from tests.scenarios.processes import Process
from tests.scenarios.programs import EVENTS, Moved

KILLS = 50


def test_a_writer_killed_50_times_at_random_moments_loses_and_halves_nothing(
    tmp_path: Path, rng: random.Random
) -> None:
    path = tmp_path / "log.db"
    acknowledged: list[list[str]] = []
    unheard: set[str] = set()
    between = 0
    for kill in range(KILLS):
        heard = _write_and_kill(path, rng, process=kill)
        acknowledged += heard
        problems, stored = _judge(path, acknowledged)
        assert problems == [], f"after kill {kill + 1}"
        silent = stored - {id for call in acknowledged for id in call} - unheard
        between += bool(silent)
        unheard |= silent
        if kill % 10 == 9:
            asyncio.run(_verify_and_go_on(path, acknowledged))
    print(f"{len(acknowledged)} calls acknowledged in {KILLS} lives, {between} ended in between")
    assert len(acknowledged) > KILLS
    assert between, "no kill ever hit between a commit and its acknowledgement"


def test_a_lost_acknowledged_event_and_a_halved_call_are_noticed(
    tmp_path: Path, rng: random.Random
) -> None:
    path = tmp_path / "log.db"
    acknowledged: list[list[str]] = []
    while not any(len(call) > 1 for call in acknowledged):
        acknowledged += _write_and_kill(path, rng, process=len(acknowledged), at_least=8)
    assert _judge(path, acknowledged)[0] == []
    assert _judge(path, [*acknowledged, ["never-stored"]])[0] == ["never-stored is lost"]

    many = next(call for call in acknowledged if len(call) > 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER records_are_never_deleted")
        connection.execute("DELETE FROM records WHERE id = ?", (many[0],))
    problems, _ = _judge(path, acknowledged)
    assert f"{many[0]} is lost" in problems
    assert any("halved" in problem for problem in problems)

    async def verify() -> bool:
        async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
            return (await store.verify()).ok

    assert not asyncio.run(verify())


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are of POSIX")
@pytest.mark.parametrize("fork", [False, True], ids=["alone", "with a forked child alive"])
def test_a_writer_killed_in_a_checkpoint_leaves_no_lock_behind(tmp_path: Path, fork: bool) -> None:
    path = tmp_path / "log.db"
    with Process("hold_lock", path=str(path), fork=fork, planted=False) as process:
        child: int = process.hear()
        assert (child > 0) is fork
        with pytest.raises(LedgerBusy):  # it is held indeed, while its holder lives
            asyncio.run(_append(path, timeout_s=0.2))
        process.kill()
        if fork:
            os.kill(child, 0)  # alive
        # What was committed before the checkpoint is there, and the next writer goes on.
        assert asyncio.run(_append(path, timeout_s=3)) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are of POSIX")
def test_a_child_that_kept_the_lock_would_be_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with Process("hold_lock", path=str(path), fork=True, planted=True) as process:
        assert process.hear() > 0
        process.kill()
        with pytest.raises(LedgerBusy):
            asyncio.run(_append(path, timeout_s=0.5))


def _write_and_kill(
    path: Path, rng: random.Random, *, process: int, at_least: int = 0
) -> list[list[str]]:
    """Lets a writer live for a random while; returns what it acknowledged, call by call."""
    heard: list[list[str]] = []
    with Process("write", path=str(path), process=process, seed=f"{rng.random()}") as writer:
        # Every fifth is killed while it starts: while it creates, opens or recovers the file.
        young = not at_least and process % 5 == 0
        for _ in range(0 if young else max(at_least, rng.randrange(1, 60))):
            call = writer.hear()
            assert call is not None, "the writer ended by itself"
            heard.append(call)
        # A moment to be hit in, and nothing that is waited for.
        time.sleep(rng.uniform(0, 0.5) if young else rng.uniform(0, 0.005))
        writer.kill()
        while (call := writer.hear()) is not None:  # acknowledged, and not yet read
            heard.append(call)
    return heard


def _judge(path: Path, acknowledged: list[list[str]]) -> tuple[list[str], set[str]]:
    """Returns what is wrong in the file, seen by SQLite alone, and the ids stored in it."""
    if not path.exists() or path.stat().st_size == 0:
        return ["the file is gone"] if acknowledged else [], set()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        [tables] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:  # killed before it was set up
            return ["the tables are gone"] if acknowledged else [], set()
        rows: list[tuple[int, str, int, int]] = connection.execute(
            "SELECT position, id, data ->> 'process', data ->> 'number' FROM records"
            " ORDER BY position"
        ).fetchall()
    problems: list[str] = []
    stored = {id for _, id, _, _ in rows}
    problems += [f"{id} is lost" for call in acknowledged for id in call if id not in stored]
    if [position for position, *_ in rows] != list(range(1, len(rows) + 1)):
        problems.append("the positions have holes")
    for (process, number), count in Counter((row[2], row[3]) for row in rows).items():
        if process >= 0 and count != number % 100:
            problems.append(f"call {number} of {process} is halved: {count} of {number % 100}")
    return problems, stored


async def _verify_and_go_on(path: Path, acknowledged: list[list[str]]) -> None:
    async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
        verification = await store.verify()
        assert verification.ok, verification.problems
        [record] = await store.append("stream-0", Moved(-1, 0))
        assert record.position == verification.records + 1
        acknowledged.append([record.id])


async def _append(path: Path, *, timeout_s: float) -> int:
    # The side file is used where this SQLite needs it, or where it is asked for, as here.
    ledger = await SqliteLedger.open(str(path), timeout_s=timeout_s, guard_checkpoints=True)
    store = EventStore(ledger, events=EVENTS)
    try:
        [record] = await store.append("stream", Moved(1, 1))
        verification = await store.verify()
        assert verification.ok, verification.problems
        return record.position
    finally:
        await store.close()
