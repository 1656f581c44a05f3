"""The service: a process that keeps the balances, and sends the payments.

`python -m examples.bank.service URL OTHER_BANK [DIES_AFTER]`
"""

from __future__ import annotations

import asyncio
import sys

from everlog import EventStore
from examples.bank import balances, payments
from examples.bank.events import EVENTS


async def serve(url: str, other_bank: str, dies_after: int | None) -> None:
    """Works until its input ends."""
    mark = "%s" if url.startswith("postgres") else "?"
    async with (
        EventStore.open(url, events=EVENTS) as store,
        store.subscription("balances", balances.projector(mark), lease_s=1.0),
        store.subscription(
            "payments",
            payments.projector(other_bank, dies_after=dies_after),
            from_="beginning",  # and those that were ordered before it first ran
            lease_s=1.0,
        ),
    ):
        print("working", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    dies_after = int(sys.argv[3]) if len(sys.argv) > 3 else None
    asyncio.run(serve(sys.argv[1], sys.argv[2], dies_after))
