"""The hub: a process that offers its log to both services.

`python -m examples.two_services.hub URL PORT TOKENS`; the secret of its receipts comes by
EVERLOG_SECRET, and is kept outside of the log.
"""

from __future__ import annotations

import asyncio
import os
import sys

from everlog import EventStore
from everlog.server import TokenFile, serve


async def offer(url: str, port: int, tokens: str, secret: bytes) -> None:
    """Offers the log until its input ends."""
    async with (
        EventStore.open(url) as store,  # of events it knows nothing, and need not
        serve(store, port=port, tokens=TokenFile(tokens), secret=secret) as server,
    ):
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    secret = bytes.fromhex(os.environ["EVERLOG_SECRET"])
    asyncio.run(offer(sys.argv[1], int(sys.argv[2]), sys.argv[3], secret))
