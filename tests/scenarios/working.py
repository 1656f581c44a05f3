"""The worker of the hand-over scenario: a read model that shows each repeat, loss, inversion."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from everlog import EventStore, Projector, Record, Tx, event, retry


@event("work:added")
@dataclass
class Added:
    """So much was added to a stream's total."""

    number: int


DEADLY = -1
"""A record with this number kills whoever handles it."""


def tables(kind: str) -> list[str]:
    """Returns what makes the tables of the read model."""
    number = (
        "bigint GENERATED ALWAYS AS IDENTITY"
        if kind == "postgres"
        else "INTEGER PRIMARY KEY AUTOINCREMENT"
    )
    return [
        "CREATE TABLE IF NOT EXISTS handled "
        f"(nr {number}, position bigint, stream text, by bigint)",
        "CREATE TABLE IF NOT EXISTS totals (stream text PRIMARY KEY, total bigint)",
    ]


def projector_of(kind: str, pause_s: float, rng: random.Random) -> Projector:
    """Returns what adds up every stream, and writes down who handled what."""
    mark = "%s" if kind == "postgres" else "?"
    projector = Projector()

    @projector.all(Added)
    async def add(record: Record[Added], tx: Tx) -> None:
        if record.data.number == DEADLY:
            os._exit(9)
        # Adding is not idempotent: a record that is applied twice shows for ever.
        await tx.execute(
            f"INSERT INTO totals VALUES ({mark}, {mark}) ON CONFLICT (stream) "
            "DO UPDATE SET total = totals.total + excluded.total",
            (record.stream, record.data.number),
        )
        await tx.execute(
            f"INSERT INTO handled (position, stream, by) VALUES ({mark}, {mark}, {mark})",
            (record.position, record.stream, os.getpid()),
        )
        if rng.random() < 0.05:
            await asyncio.sleep(rng.random() * pause_s)

    return projector


async def work(
    url: str,
    kind: str,
    slices: int,
    lease_s: float,
    pause_s: float,
    tries: int,
    say: Callable[[Any], None],
) -> None:
    """Works on the subscription until it is killed."""
    projector = projector_of(kind, pause_s, random.Random(os.getpid()))
    async with (
        EventStore.open(url, events=[Added]) as store,
        store.subscription(
            "totals", projector, slices=slices, lease_s=lease_s, on_error=retry(tries, first_s=0.05)
        ) as subscription,
    ):
        say("working")
        await subscription.wait()


def plant(kind: str) -> None:
    """Takes fence and position out of what moves a checkpoint: who has lost it commits as well."""
    if kind == "postgres":
        from everlog.adapters.postgres import checkpoint_statements as statements

        without = statements.MOVE.replace("AND fence = %(fence)s", "")
        without = without.replace("AND position = %(before)s", "")
        assert without.count("%(") < statements.MOVE.count("%(")
        setattr(statements, "MOVE", without)  # noqa: B010
    else:
        from everlog.adapters.sqlite import views_schema

        without = views_schema.MOVE.replace("AND fence = :fence AND worker IS NOT NULL", "")
        without = without.replace("AND position = :before", "")
        assert without.count(":") < views_schema.MOVE.count(":")
        setattr(views_schema, "MOVE", without)  # noqa: B010
