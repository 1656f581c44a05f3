"""Workers in several processes share checkpoints in one file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from everlog.adapters.sqlite.checkpoints import SqliteCheckpoints
from tests.scenarios.processes import Process


def prepare(path: Path, slices: int) -> None:
    async def work(checkpoints: SqliteCheckpoints) -> None:
        await checkpoints.register("orders", slices=slices, position=0, token=None)
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute("CREATE TABLE seen (slice INTEGER, position INTEGER)")

    on(path, work)


def on(path: Path, work: Callable[[SqliteCheckpoints], Awaitable[None]]) -> None:
    """Does something with the checkpoints of a file, and closes them."""

    async def main() -> None:
        checkpoints = await SqliteCheckpoints.open(str(path))
        try:
            await work(checkpoints)
        finally:
            await checkpoints.close()

    asyncio.run(main())


def run_all(program: str, workers: int, **arguments: Any) -> list[Any]:
    """Runs a program as several processes that begin together; returns what each says."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(Process(program, worker=f"w{number}", **arguments))
            for number in range(workers)
        ]
        for process in processes:
            assert process.hear() == "ready"
        for process in processes:
            process.say("go on")
        said = [process.hear() for process in processes]
        assert [process.wait() for process in processes] == [0] * workers
    return said


def rows(path: Path) -> list[tuple[int, int]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT slice, position FROM seen ORDER BY 1, 2").fetchall()


def test_two_processes_that_claim_at_the_same_time_get_each_slice_once(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"
    prepare(path, slices=64)
    taken = run_all("claim_slices", 2, path=str(path), most=64)
    print([len(each) for each in taken])
    assert sorted(taken[0] + taken[1]) == list(range(64))


def test_processes_that_take_slices_from_each_other_all_the_time_move_each_step_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "app.views.db"
    prepare(path, slices=3)
    moved = run_all("fight_for_slices", 2, path=str(path), rounds=60)
    print(moved)
    positions: list[int] = []

    async def look(checkpoints: SqliteCheckpoints) -> None:
        positions.extend(status.position for status in await checkpoints.statuses())

    on(path, look)
    assert sum(positions) == sum(moved)
    assert rows(path) == [
        (slice, each) for slice, position in enumerate(positions) for each in range(1, position + 1)
    ]


def test_a_worker_killed_in_its_transaction_leaves_a_try_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "app.views.db"
    prepare(path, slices=1)
    with Process("die_in_a_transaction", path=str(path)) as process:
        assert process.hear() == 1
        process.kill()

    async def take_over(checkpoints: SqliteCheckpoints) -> None:
        [held] = await checkpoints.claim("orders", "next", ttl_s=60, most=1)
        assert held.position == 0
        assert not held.clean
        assert await checkpoints.attempt("orders", held.slice, held.fence, 1) == 2

    on(path, take_over)
    assert rows(path) == []
