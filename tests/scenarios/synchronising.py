"""Processes that write to one of two ledgers, or keep them in step, until they are killed."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from typing import Any

from everlog import EventStore, Projector, Record, event, reducer, to
from everlog.errors import CannotOpen, StorageError

STREAMS = 7
LEASE_S = 0.3
LONGEST_S = 100.0
"""So long, in seconds, a process lives that nobody kills."""


@event("synchronising:noted", register="noted")
@dataclass
class Noted:
    """Something that was written in one of the two."""

    by: str
    number: int


@event("synchronising:counted", register="noted")
@dataclass
class Counted:
    """Something else that writes the same."""

    number: int


EVENTS = [Noted, Counted]


@reducer("synchronising", initial=list[Any])
def numbers(state: list[Any], record: Record[Any]) -> list[Any]:
    """Everything, in the order of folds."""
    return [*state, [record.type, record.data.number]]


def mailing(ledger: str, receiver: str) -> Projector:
    """Returns an effect of each note; `receiver`: the file in which its calls are kept."""
    projector = Projector()

    @projector.once(Noted, name="mail", idempotent=True)
    def mail(record: Record[Noted]) -> None:
        with closing(sqlite3.connect(receiver, timeout=30)) as file, file:
            file.execute("INSERT INTO calls VALUES (?, ?)", (record.idempotency_key, ledger))

    return projector


async def effects_left(store: EventStore) -> int:
    """Returns how many effects go on by themselves: what may have happened is called again, too."""
    [status] = await store.subscriptions.status()
    return status.pending_effects + status.ambiguous_effects


async def opened(url: str) -> EventStore:
    """Opens a store, as soon as its server is there."""
    while True:
        try:
            return await EventStore.open(url, events=EVENTS)
        except CannotOpen:
            await asyncio.sleep(0.05)


async def write_notes(say: Callable[[object], None], url: str, by: str, seed: str) -> None:
    """Appends for ever, and says each time what has been acknowledged."""
    rng = random.Random(seed)
    number = 0
    async with asyncio.timeout(LONGEST_S), await opened(url) as store:
        while True:
            items: list[Any] = []
            for _ in range(rng.choice((1, 1, 3))):
                number += 1
                noted = Noted(by, number) if rng.random() < 0.7 else Counted(number)
                items.append(to(f"s-{rng.randrange(STREAMS)}", noted))
            try:
                records = await store.append_many(items)
            except StorageError:
                await asyncio.sleep(0.05)  # nobody was told that it was written
                continue
            say([record.id for record in records])
            await asyncio.sleep(rng.uniform(0, 0.004))


async def be_an_edge(
    say: Callable[[object], None], edge: str, hub: str, receiver: str, by: str, seed: str
) -> None:
    """Appends for ever, has the effects of its own events, and is kept in step with a hub far away.

    It says each time what has been acknowledged here.
    """
    rng = random.Random(seed)
    number = 0
    async with asyncio.timeout(LONGEST_S), await opened(edge) as store:
        projector = mailing(store.ledger.identity.ledger, receiver)
        async with (
            store.subscription("mail", projector, from_="beginning", lease_s=LEASE_S),
            store.sync(hub),
        ):
            while True:
                number += 1
                noted = Noted(by, number) if rng.random() < 0.7 else Counted(number)
                [record] = await store.append(f"s-{rng.randrange(STREAMS)}", noted)
                say([record.id])
                await asyncio.sleep(rng.uniform(0, 0.1))


async def keep_in_step(say: Callable[[object], None], edge: str, hub: str, receiver: str) -> None:
    """Keeps two ledgers in step, and has the effects of both."""
    async with asyncio.timeout(LONGEST_S), AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(await opened(url)) for url in (edge, hub)]
        for store in stores:
            projector = mailing(store.ledger.identity.ledger, receiver)
            subscription = store.subscription("mail", projector, from_="beginning", lease_s=LEASE_S)
            await stack.enter_async_context(subscription)
        sync = await stack.enter_async_context(stores[0].sync(stores[1]))
        say("begun")
        await sync.in_step(timeout_s=None)
        say("in step")
        while True:
            await asyncio.sleep(0.2)
            say(json.loads(json.dumps((await sync.status()).position)))
