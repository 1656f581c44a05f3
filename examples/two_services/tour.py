"""The tour: three processes, three logs; one is offline, one is killed, and all become one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from everlog import EventStore
from everlog.server import Pattern, TokenFile
from examples.two_services.carrier import Carrier
from examples.two_services.events import EVENTS, order
from examples.two_services.service import Service

PATIENCE_S = 60.0
DIES_AFTER = 3

Say = Callable[[str], None]


async def tour(hub: str, folder: Path, say: Say) -> None:
    """Tells the story of a few orders.

    `hub`: the URL of the hub's log; those of the services are in `folder`.
    """
    with Carrier() as carrier, ExitStack() as stack:
        site = _Site(hub, folder, carrier, stack)
        await site.begin(say)
        await _together(site, say)
        await _shipping_is_offline(site, say)
        await _the_hub_is_killed(site, say)
        await _closing(site, say)


@dataclass
class _Site:
    hub_url: str
    folder: Path
    carrier: Carrier
    stack: ExitStack
    secret: str = field(default_factory=lambda: secrets.token_hex(32))
    port: int = 0
    tokens: dict[str, str] = field(default_factory=dict[str, str])
    ordered: int = 0

    async def begin(self, say: Say) -> None:
        """Makes the tokens, and starts the hub and the order service."""
        tokens = TokenFile(self.folder / "tokens.json")
        own = [Pattern(prefix="order-")]
        for name in ("orders", "shipping"):
            self.tokens[name] = tokens.create(name, pull=[Pattern()], push=own)
        await self.start_hub()
        self.orders = self._started("orders", self.log("orders"), self.url)
        await asyncio.to_thread(self.orders.hear)
        say(f"A hub offers its log at {self.url}: three processes, each with a log of its own.")

    async def start_hub(self) -> None:
        """Starts the hub; again at the same port."""
        tokens = str(self.folder / "tokens.json")
        self.hub = Service("hub", self.hub_url, str(self.port), tokens, EVERLOG_SECRET=self.secret)
        self.stack.callback(self.hub.kill)
        self.port = int(await asyncio.to_thread(self.hub.hear))

    async def start_shipping(self, *, dies_after: int | None = None) -> None:
        """Starts the shipping service."""
        more = [] if dies_after is None else [str(dies_after)]
        log = self.log("shipping")
        self.shipping = self._started("shipping", log, self.url, self.carrier.url, *more)
        await asyncio.to_thread(self.shipping.hear)

    def _started(self, name: str, *arguments: str) -> Service:
        service = Service(name, *arguments, EVERLOG_TOKEN=self.tokens[name])
        self.stack.callback(service.kill)
        return service

    @property
    def url(self) -> str:
        """Where the hub is."""
        return f"http://127.0.0.1:{self.port}"

    def log(self, name: str) -> str:
        """The URL of a service's log."""
        return "sqlite:///" + quote(str(self.folder / f"{name}.db"))

    async def order(self, count: int) -> None:
        """Has the order service take so many orders."""
        for _ in range(count):
            self.ordered += 1
            self.orders.say(f"{self.ordered} book-{self.ordered} street-{self.ordered}")
            assert await asyncio.to_thread(self.orders.hear) == f"taken {self.ordered}"

    async def look(self, url: str) -> dict[str, dict[str, str]]:
        """Returns what a log knows of each order."""
        async with EventStore.open(url, events=EVENTS) as store:
            known: dict[str, dict[str, str]] = {}
            for number in range(1, self.ordered + 1):
                known[f"order-{number}"] = await store.reduce(order, f"order-{number}") or {}
            return known

    async def statuses(self, url: str) -> dict[str, int]:
        """Returns how many orders are in which state, in a log."""
        counts: dict[str, int] = {}
        for state in (await self.look(url)).values():
            status = state.get("status", "not known")
            counts[status] = counts.get(status, 0) + 1
        return counts


async def _until(holds: Callable[[], Coroutine[Any, Any, bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.05)


async def _all_sent(site: _Site, url: str) -> bool:
    return await site.statuses(url) == {"sent": site.ordered}


async def _together(site: _Site, say: Say) -> None:
    await site.start_shipping()
    await site.order(3)
    await _until(lambda: _all_sent(site, site.log("orders")))
    [state] = [each for name, each in (await site.look(site.log("orders"))).items() if "3" in name]
    say(
        "3 orders are taken. They reach the shipping service through the hub, it packs them, and\n"
        f"  the carrier's numbers come back the same way: order-3 is {state['status']}, "
        f"{state['number']}."
    )


async def _shipping_is_offline(site: _Site, say: Say) -> None:
    site.shipping.stop()
    await site.order(4)
    await _until(lambda: _is_known(site, site.hub_url))
    say(
        "The shipping service is offline. 4 more orders are taken meanwhile: in the hub's log "
        f"{_said(await site.statuses(site.hub_url))},\n"
        f"  in that of the shipping service {_said(await site.statuses(site.log('shipping')))}."
    )
    await site.start_shipping(dies_after=DIES_AFTER)
    code = await asyncio.to_thread(site.shipping.wait)
    say(
        f"It is back, packs, and dies (signal {-code}) in the worst moment: the carrier has "
        f"{len(site.carrier.parcels)} parcels,\n"
        f"  and its own log knows of {(await site.statuses(site.log('shipping'))).get('sent', 0)}."
    )


async def _is_known(site: _Site, url: str) -> bool:
    return "not known" not in await site.statuses(url)


async def _the_hub_is_killed(site: _Site, say: Say) -> None:
    site.hub.kill()
    await site.order(2)
    await site.start_shipping()
    await _until(lambda: _known_is_sent(site))
    say(
        "Now the hub is killed. 2 orders are taken all the same, and the shipping service goes on "
        "with what it has:\n"
        f"  in its log {_said(await site.statuses(site.log('shipping')))}."
    )
    await site.start_hub()
    for url in (site.log("orders"), site.log("shipping"), site.hub_url):
        await _until(partial(_all_sent, site, url))
    say("The hub is back, and so is everything: all 9 orders are sent, in each of the three logs.")


async def _known_is_sent(site: _Site) -> bool:
    counts = await site.statuses(site.log("shipping"))
    return counts.keys() <= {"sent", "not known"}


async def _closing(site: _Site, say: Say) -> None:
    for service in (site.orders, site.shipping, site.hub):
        await asyncio.to_thread(service.stop)
    urls = {
        "hub": site.hub_url,
        "orders": site.log("orders"),
        "shipping": site.log("shipping"),
    }
    states = {name: await site.look(url) for name, url in urls.items()}
    assert states["hub"] == states["orders"] == states["shipping"]
    ids: dict[str, set[str]] = {}
    for name, url in urls.items():
        async with EventStore.open(url, events=EVENTS) as store:
            ids[name] = {record.id async for record in store.read()}
            verification = await store.verify()
            assert verification.ok, verification.problems
    assert ids["hub"] == ids["orders"] == ids["shipping"]
    carrier = site.carrier
    assert len(carrier.parcels) == site.ordered
    again = sum(carrier.calls.values()) - len(carrier.calls)
    say(
        f"{len(ids['hub'])} events are in each log, the same ids, and every fold gives the same.\n"
        f"  {len(carrier.parcels)} parcels left, each once; {again} was handed over again after "
        "the crash, with its old key,\n"
        "  and the carrier knew it. The hub never ran an effect, and neither did the order service."
    )


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items())
