"""Programs of workers that share checkpoints in a file."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress

from everlog.adapters.sqlite.checkpoints import SqliteCheckpoints
from everlog.errors import LeaseLost
from everlog.ports.checkpoints import Move

INSERT = "INSERT INTO seen (slice, position) VALUES (?, ?)"


async def claim_slices(path: str, worker: str, most: int) -> None:
    """Takes slices, one after the other, up to so many; says which."""
    checkpoints = await SqliteCheckpoints.open(path)
    await _told_to_go_on()
    taken: list[int] = []
    for _ in range(most):
        held = await checkpoints.claim("orders", worker, ttl_s=600, most=1)
        taken += [each.slice for each in held]
    _say(taken)
    await checkpoints.close()


async def fight_for_slices(path: str, worker: str, rounds: int) -> None:
    """Takes slices under leases that run out at once, and moves what it took; says how often."""
    checkpoints = await SqliteCheckpoints.open(path)
    await _told_to_go_on()
    moved = 0
    for _ in range(rounds):
        for held in await checkpoints.claim("orders", worker, ttl_s=0, most=2):
            with suppress(LeaseLost):
                async with checkpoints.transaction() as transaction:
                    after = held.position + 1
                    await transaction.tx.execute(INSERT, (held.slice, after))
                    move = Move(held.slice, held.fence, held.position, after, None)
                    await transaction.move("orders", [move])
                moved += 1
    _say(moved)
    await checkpoints.close()


async def die_in_a_transaction(path: str) -> None:
    """Writes and moves, says so before the commit, and waits to be killed."""
    checkpoints = await SqliteCheckpoints.open(path)
    [held] = await checkpoints.claim("orders", "dying", ttl_s=0, most=1)
    tries = await checkpoints.attempt("orders", held.slice, held.fence, 1)
    async with checkpoints.transaction() as transaction:
        await transaction.tx.execute_many(INSERT, [(0, number) for number in range(20_000)])
        move = Move(held.slice, held.fence, 0, 1, None)
        await transaction.move("orders", [move])
        _say(tries)
        await asyncio.sleep(600)


def _say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def _told_to_go_on() -> None:
    _say("ready")
    await asyncio.to_thread(sys.stdin.readline)
