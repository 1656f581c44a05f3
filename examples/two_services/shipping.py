"""The shipping service: it packs what was ordered, and hands each parcel to the carrier, once.

`python -m examples.two_services.shipping LOG HUB CARRIER [DIES_AFTER]`; its token comes by
EVERLOG_TOKEN.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

from everlog import EventStore, Outcome, Projector, Record
from examples.two_services.carrier import hand_over
from examples.two_services.events import EVENTS, OrderPlaced, ParcelPacked, ParcelSent


def packing(store: EventStore) -> Projector:
    """Returns what packs an order when it comes. It may come again: a parcel has the order's id."""
    projector = Projector()

    @projector.all(OrderPlaced)
    async def pack(record: Record[OrderPlaced]) -> None:
        parcel = ParcelPacked(record.data.address)
        await store.append(record.stream, parcel, ids=[f"parcel-{record.id}"])

    return projector


def sending(carrier: str, *, dies_after: int | None = None) -> Projector:
    """Returns the effect. It belongs to the log in which the parcel was packed, and to no other.

    `dies_after`: so many, and its process is gone in the worst moment: the carrier has the parcel,
    and nobody here knows.
    """
    projector = Projector()
    sent = 0

    async def noted(record: Record[Any], number: str, outcome: Outcome) -> None:
        outcome.append(record.stream, ParcelSent(number))

    @projector.once(ParcelPacked, name="send", idempotent=True, on_success=noted)
    def send(record: Record[ParcelPacked]) -> str:
        nonlocal sent
        number = hand_over(carrier, record.idempotency_key, record.data.address)
        sent += 1
        if sent == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    return projector


async def work(log: str, hub: str, token: str, carrier: str, dies_after: int | None) -> None:
    """Works until its input ends."""
    async with (
        EventStore.open(log, events=EVENTS) as store,
        store.sync(hub, token=token, prefix="order-"),
        store.subscription("packing", packing(store), from_="beginning", lease_s=1.0),
        store.subscription(
            "sending",
            sending(carrier, dies_after=dies_after),
            from_="beginning",
            lease_s=1.0,
            effects_at_once=1,  # so that the story is the same each time
        ),
    ):
        print("working", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    dies_after = int(sys.argv[4]) if len(sys.argv) > 4 else None
    token = os.environ["EVERLOG_TOKEN"]
    asyncio.run(work(sys.argv[1], sys.argv[2], token, sys.argv[3], dies_after))
