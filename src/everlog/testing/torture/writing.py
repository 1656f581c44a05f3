"""A process that writes: several tasks side by side, each doing at random what programs do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from random import Random
from typing import Any

from everlog import NEW, EventStore, Record, to
from everlog.testing.torture.events import OWN, Call
from everlog.testing.torture.journal import Journal
from everlog.testing.torture.mischief import TRANSACTIONS
from everlog.testing.torture.performing import Performer, opened
from everlog.testing.torture.plan import Plan, Role
from everlog.testing.torture.transactions import Transactions
from everlog.testing.torture.voice import Voice

STORES = 4
"""Of every other process, at most; the others have one."""


async def write(role: Role, voice: Voice) -> None:
    """Writes from "go" to "stop", with one store for all lanes or with several."""
    journal, rng = Journal(role.file("journal")), role.rng
    async with AsyncExitStack() as stack:
        stores: list[EventStore] = []
        for number in range(role.lanes):
            if number == 0 or (role.number % 2 and number < STORES):
                stores.append(await stack.enter_async_context(await opened(role.plan, journal)))
        lanes = [
            Lane(role.plan, f"{role.number}.{n}", stores[n % len(stores)], journal, rng)
            for n in range(role.lanes)
        ]
        voice.say("ready")
        await voice.hear()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(lane.run(stop))
            await voice.hear()
            stop.set()
        for lane in lanes:
            await lane.close()
    journal.close()
    voice.say("done")


class Lane:
    """One writer."""

    def __init__(
        self, plan: Plan, name: str, store: EventStore, journal: Journal, rng: Random
    ) -> None:
        self._plan = plan
        self._name = name
        self._store = store
        self._journal = journal
        self._rng = rng
        self._performer = Performer(plan, journal, rng)
        self._calls = 0
        self._deeds: dict[Callable[[], Awaitable[None]], float] = {
            self.append_one: 35,
            self.append_some: 15,
            self.append_to_many_streams: 10,
            self.append_a_batch: 8,
            self.append_as_expected: 20,
            self.begin_a_stream: 5,
            self.take_in: 5,
        }
        self._transactions: Transactions | None = None
        if TRANSACTIONS in plan.mischief:
            self._transactions = Transactions(plan, store, rng, journal.counted)
            self._deeds[self.append_in_a_transaction] = 10

    async def run(self, stop: asyncio.Event) -> None:
        """Does one thing after another, until it is told to stop."""
        deeds, weights = list(self._deeds), list(self._deeds.values())
        while not stop.is_set():
            [deed] = self._rng.choices(deeds, weights)
            await deed()

    async def close(self) -> None:
        """Closes what is its own."""
        if self._transactions is not None:
            await self._transactions.close()

    # --- what writers do ---

    async def append_one(self) -> None:
        """One event, whatever the stream is."""
        await self._append(self.call(1))

    async def append_some(self) -> None:
        """Several events to one stream."""
        await self._append(self.call(self._rng.randint(2, 5)))

    async def append_to_many_streams(self) -> None:
        """Several events, each to any stream."""
        await self._append_many(self.call(self._rng.randint(2, 8), streams=8))

    async def append_a_batch(self) -> None:
        """Many events to many streams."""
        await self._append_many(self.call(self._rng.randint(20, 80), streams=60))

    async def append_as_expected(self) -> None:
        """One event at the version that was just read: others do the same."""
        call = self.call(1)
        [stream] = call.streams

        async def attempt() -> list[Record[Any]]:
            last = await self._store.read(stream, backwards=True, limit=1).first()
            expect = 0 if last is None else last.version
            return await self._store.append(stream, *call.events, ids=call.ids, expect=expect)

        await self._performer.perform(call, attempt)

    async def begin_a_stream(self) -> None:
        """Events to a stream that must be new."""
        call = self.call(self._rng.randint(1, 3), new=True)
        stream = call.streams[0]

        async def attempt() -> list[Record[Any]]:
            records = await self._store.append(stream, *call.events, ids=call.ids, expect=NEW)
            if [record.version for record in records] != [*range(1, len(records) + 1)]:
                self._journal.problem(f"a new stream {stream} does not begin at 1")
            return records

        await self._performer.perform(call, attempt)

    async def take_in(self) -> None:
        """Records that were made elsewhere, all or nothing."""
        # Few, or so many that an adapter may choose another way to write them.
        call = self.call(self._rng.choice((1, 5, 30, 300)), streams=3)
        # Made once: they keep their nonces, and so are the same records at every attempt.
        records = [
            self._store.past(stream, hit, created=datetime.now(UTC), id=id)
            for stream, hit, id in zip(call.streams, call.events, call.ids, strict=True)
        ]

        async def attempt() -> list[Record[Any]]:
            await self._store.import_records(records)
            return []  # an import does not tell where they are

        await self._performer.perform(call, attempt)

    async def append_in_a_transaction(self) -> None:
        """Events, and a row of a table that is the user's own."""
        transactions = self._transactions
        assert transactions is not None
        call = self.call(self._rng.randint(1, 4), streams=3, mark=OWN)
        await self._performer.perform(call, lambda: transactions.attempt(call))

    # --- how they do it ---

    def call(self, of: int, *, streams: int = 1, new: bool = False, mark: str = "") -> Call:
        """Returns a new call of so many events, to so many streams at most."""
        self._calls += 1
        plan, name = self._plan, f"{self._plan.run}.{self._name}.{self._calls}{mark}"
        if new:
            return Call(name, [name] * of)
        among = [f"{plan.run}-{self._rng.randrange(plan.streams)}" for _ in range(streams)]
        return Call(name, [self._rng.choice(among) for _ in range(of)])

    async def _append(self, call: Call) -> None:
        stream = call.streams[0]
        await self._performer.perform(
            call, lambda: self._store.append(stream, *call.events, ids=call.ids)
        )

    async def _append_many(self, call: Call) -> None:
        items = [
            to(stream, hit, id=id)
            for stream, hit, id in zip(call.streams, call.events, call.ids, strict=True)
        ]
        await self._performer.perform(call, lambda: self._store.append_many(items))
