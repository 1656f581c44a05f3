"""The programs of the rebuild scenario: a live version, and one that is to take its place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from everlog import EventStore, Projector, Record, Tx
from everlog.errors import OtherVersion
from tests.scenarios.working import Added

LEASE_S = 0.25

TABLES = [
    "CREATE TABLE IF NOT EXISTS rows_1 (position bigint, stream text, number bigint)",
    "CREATE TABLE IF NOT EXISTS rows_2 (position bigint, stream text, number bigint)",
    "CREATE TABLE IF NOT EXISTS shown (version bigint)",
]


def projector_of(kind: str, version: int, pause_s: float) -> Projector:
    """Returns what writes every record down: one that is written twice stands there twice."""
    marks = "%s, %s, %s" if kind == "postgres" else "?, ?, ?"
    projector = Projector()

    @projector.all(Added)
    async def add(record: Record[Added], tx: Tx) -> None:
        await tx.execute(
            f"INSERT INTO rows_{version} VALUES ({marks})",
            (record.position, record.stream, record.data.number),
        )
        if pause_s:
            await asyncio.sleep(pause_s)

    return projector


async def run_version(url: str, kind: str, version: int, say: Callable[[Any], None]) -> None:
    """Runs a version until it is killed, or another one is live."""
    async with EventStore.open(url, events=[Added]) as store:
        projector = projector_of(kind, version, 0.0)
        try:
            async with store.subscription(
                "view", projector, version=version, lease_s=LEASE_S
            ) as subscription:
                say("running")
                await subscription.wait()
        except OtherVersion as error:
            say(error.live)


async def rebuild(
    url: str, kind: str, pause_s: float, swap_s: float, say: Callable[[Any], None]
) -> None:
    """Brings version 2 in; says how far it is. `swap_s`: how long the transaction is open."""

    async def swap(tx: Tx) -> None:
        say("swapping")
        await tx.execute("UPDATE shown SET version = 2")
        if swap_s:
            await tx.fetch("SELECT 1")
            await asyncio.sleep(swap_s)

    async with EventStore.open(url, events=[Added]) as store:
        projector = projector_of(kind, 2, pause_s)
        try:
            async with store.rebuild(
                "view", projector, version=2, swap=swap, lease_s=LEASE_S
            ) as rebuild:
                while (progress := await rebuild.progress()).fraction < 0.99:
                    say(progress.position)
                    await asyncio.sleep(0.01)
                await rebuild.swap()
                say("swapped")
        except OtherVersion:
            say("swapped")
