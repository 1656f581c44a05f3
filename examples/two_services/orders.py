"""The order service: it takes orders, also while it is cut off from everybody else.

`python -m examples.two_services.orders LOG HUB`; its token comes by EVERLOG_TOKEN. Each line of its
input is an order, `ID ITEM ADDRESS`; it says `taken ID` once that is in its own log.
"""

from __future__ import annotations

import asyncio
import os
import sys

from everlog import NEW, EventStore
from examples.two_services.events import EVENTS, OrderPlaced


async def work(log: str, hub: str, token: str) -> None:
    """Takes orders until its input ends."""
    async with EventStore.open(log, events=EVENTS) as store, store.sync(hub, token=token):
        print("working", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            id, item, address = line.split()
            await store.append(f"order-{id}", OrderPlaced(item, address), expect=NEW)
            print("taken", id, flush=True)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], os.environ["EVERLOG_TOKEN"]))
