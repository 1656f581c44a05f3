"""The worker of the rolling deployment: effects by name, each of which writes down its call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everlog import EventStore, Projector, Record, event

LEASE_S = 0.5


@event("deploying:ordered")
@dataclass
class Ordered:
    """Something for which effects are owed."""

    number: int


def projector_of(names: Sequence[str], calls: str) -> Projector:
    """Returns a projector with an effect of each name."""
    projector = Projector()
    for name in names:

        @projector.once(Ordered, name=name, idempotent=True)
        async def call(record: Record[Ordered], name: str = name) -> None:
            with Path(calls).open("a") as file:  # noqa: ASYNC230 - one short line
                file.write(f"{name} {record.data.number}\n")

    return projector


async def deploy(
    url: str,
    names: Sequence[str],
    calls: str,
    slices: int,
    say: Callable[[Any], None],
    hear: Callable[[], Awaitable[str]],
) -> None:
    """Works until it is told to stop."""
    async with (
        EventStore.open(url, events=[Ordered]) as store,
        store.subscription(
            "mails", projector_of(names, calls), slices=slices, lease_s=LEASE_S
        ) as subscription,
    ):
        say("started")
        await hear()
        await subscription.stop()
        say("stopped")
