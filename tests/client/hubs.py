"""Hubs on this machine, for what connects to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from everlog import EventStore
from everlog.server import Limits, serve
from tests.proxies.plain import Plain

LIMITS = Limits(
    requests_per_s=100_000.0,
    address_requests_per_s=100_000.0,
    header_s=60.0,
    body_s=60.0,
    write_s=60.0,
)
"""So that no test fails because a machine is slow, or fast."""


@dataclass
class Served:
    """A hub, and what stands before it."""

    url: str
    port: int
    proxy: Plain

    @property
    def asked(self) -> Counter[str]:
        """How often each path was asked for."""
        return self.proxy.asked


@asynccontextmanager
async def serving(
    store: EventStore,
    *,
    port: int = 0,
    keeps_events_back: bool = False,
    **options: Any,
) -> AsyncGenerator[Served]:
    """Offers a store as a hub while the block runs; `port`: that of the hub itself."""
    async with serve(store, port=port, limits=LIMITS, **options) as server:
        with Plain(server.port, keeps_events_back=keeps_events_back) as proxy:
            yield Served(proxy.url, server.port, proxy)
