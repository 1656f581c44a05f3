"""Everything that goes wrong at once, and a judge who knows what each caller was told."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg

from everlog import EventStore, OutcomeUnknown, to
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.errors import StorageError
from everlog.ports.ledger import Ledger, Outcome, Request
from everlog.subscriptions.projector import Appended
from everlog.testing import PostgresServer
from tests.proxies.faults import AnswerLost, ArrivesLate, CutAfterBytes, NeverArrives
from tests.scenarios.postgres.site import EVENTS, Noted, Site, eventually, sound
from tests.store.stopping import MODES

STORES = 3
LANES = 8
"""Callers of each store."""
READERS = 3
STREAMS = 5
ENDING_S = 60.0
"""How long callers may take to be answered once nothing goes wrong any more."""

DECISIVE = r"(?s)^COMMIT|pg_advisory_xact_lock.*INSERT INTO"
"""What makes an append last: a COMMIT, or the one statement of a store that is alone."""

HARMS = (
    *("terminate", "cut", "cut_somewhere", "lose", "lose", "delay", "stall", "refuse"),
    "kill",
)
"""What is done, in no order: the methods of `Chaos`. Killing has a schedule of its own."""

Ids = Callable[["Call", int], list[str]]
"""Gives the ids for an attempt of a call."""


@dataclass
class Call:
    """An append that is repeated until it is answered, or until its caller has had enough."""

    name: str
    number: int
    ids: list[str]
    joined: bool
    """Whether the events commit with a row of the caller's own."""
    surely_not: bool = True
    """Whether the caller was told, of each attempt so far, that nothing was written."""


def with_the_same_ids(call: Call, attempt: int) -> list[str]:
    return call.ids


def with_new_ids(call: Call, attempt: int) -> list[str]:
    """A caller who does not keep the ids."""
    return [f"{id}-{attempt}" for id in call.ids]


class Witness:
    """A ledger of whose commits it is known which ended in an unknown outcome."""

    def __init__(self, ledger: Ledger, unknown: set[str]) -> None:
        """`unknown`: where the ids of their events are added."""
        self._ledger = ledger
        self._unknown = unknown

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        try:
            return await self._ledger.commit(requests)
        except OutcomeUnknown as error:
            self._unknown.update(error.ids)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    @property
    def as_ledger(self) -> Ledger:
        """This, as what it stands in for."""
        return cast(Ledger, self)


@dataclass
class Chaos:
    """Callers of a few stores, and what happens to their server and its connections meanwhile."""

    server: PostgresServer
    site: Site
    rng: random.Random
    ids: Ids = with_the_same_ids
    harms: Sequence[str] = HARMS
    wanted: Sequence[str] = ()
    """What has to happen at least once."""
    name: str = ""
    """Which run of several on the same place this is."""
    acknowledged: list[Call] = field(default_factory=list[Call])
    given_up: list[Call] = field(default_factory=list[Call])
    told: Counter[str] = field(default_factory=Counter[str])
    """How often the hooks of all stores were told of an event."""
    unknown: set[str] = field(default_factory=set[str])
    """The events of which a ledger could not tell what became of them."""
    figures: Counter[str] = field(default_factory=Counter[str])
    _calls: int = 0
    _over: bool = False

    async def run(self, seconds: float) -> list[str]:
        """Lets it all happen for so long; returns what was wrong at the end."""
        self.site.direct.execute("CREATE TABLE IF NOT EXISTS theirs (name text)")
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(self._store(n)) for n in range(STORES)]
            harm = asyncio.create_task(self._harm(seconds))
            callers = [
                asyncio.create_task(self._caller(store)) for store in stores for _ in range(LANES)
            ]
            await asyncio.wait([harm, *callers], return_when=asyncio.FIRST_EXCEPTION)
            if not harm.done():  # a caller failed
                harm.cancel()
            async with asyncio.timeout(ENDING_S):
                await asyncio.gather(harm, *callers)
                for store in stores:
                    await store.drained()
            problems = self._judge()
            for store in stores:
                await self._recovered(store)
                await sound(store)
                read = [record.id async for record in store.read()]
                if read != self.site.ids():
                    problems.append("a store reads something else than what is stored")
            await self._as_it_was()
        await eventually(lambda: not self.site.backends(), "no connection is left")
        return problems

    # --- callers ---

    @asynccontextmanager
    async def _store(self, number: int) -> AsyncGenerator[EventStore]:
        ledger = await PostgresLedger.open(
            self.site.relay.url,
            schema=self.site.schema,
            readers=READERS,
            # One soon loses patience, and one does without what belongs to a session.
            timeout_s=0.3 if number == 1 else 5,
            pooler="transaction" if number == 2 else "none",
        )
        witness = Witness(ledger, self.unknown)

        async def tell(appended: Appended) -> None:
            self.told.update(record.id for record in appended.records)

        async with EventStore(witness.as_ledger, events=EVENTS) as store:
            store.on_appended(tell)
            yield store

    async def _caller(self, store: EventStore) -> None:
        while not self._over:
            self._calls += 1
            count = self.rng.choice((1, 1, 2, 5))
            name = f"{self.name}{self._calls}"
            ids = [f"{name}-{index}" for index in range(count)]
            call = Call(name, self._calls, ids, joined=self.rng.random() < 0.2)
            attempt = 1
            while not await self._answered(store, call, attempt):
                attempt += 1
                if self.rng.random() < 0.15 and not self._over:
                    self.given_up.append(call)
                    break
            else:
                self.acknowledged.append(call)
                # Reading goes on beside: it takes connections, and is cut off as well.
                with suppress(StorageError):
                    await store.read(
                        limit=20, after=max(0, 10 * len(self.acknowledged) // 11)
                    ).to_list()

    async def _append(self, store: EventStore, call: Call, ids: list[str]) -> list[str]:
        number = call.number
        items = [to(f"s{(number + i) % STREAMS}", Noted(number), id=id) for i, id in enumerate(ids)]
        if not call.joined:
            return [record.id for record in await store.append_many(items)]
        url = self.site.relay.url
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=5) as connection:
            async with store.transaction(connection) as tx:
                await connection.execute("INSERT INTO theirs VALUES (%s)", (call.name,))
                tx.append_many(items)
            return [record.id for record in tx.records]

    async def _answered(self, store: EventStore, call: Call, attempt: int) -> bool:
        mode = self.rng.choice(["cancelled", "timed out"])
        ids = self.ids(call, attempt)
        task, call_off = MODES[mode](lambda: self._append(store, call, ids))
        if self.rng.random() < 0.3 and not self._over:
            await asyncio.sleep(0)  # it begins: a timeout that was not entered cannot expire
            delay_s = self.rng.choice((0, 0.002, 0.02))
            loop = asyncio.get_running_loop()
            loop.call_later(delay_s, lambda: None if task.done() else call_off())
        await asyncio.wait([task])
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            assert task.result() == ids
            return True
        if isinstance(error, (asyncio.CancelledError, TimeoutError, OutcomeUnknown)):
            call.surely_not = False
        elif not isinstance(error, (StorageError, psycopg.OperationalError)):
            raise error
        self.figures[type(error).__name__] += 1
        await asyncio.sleep(self.rng.uniform(0, 0.02))  # who is refused does not ask at once again
        return False

    # --- harm ---

    async def _harm(self, seconds: float) -> None:
        begun = time.monotonic()
        others = [harm for harm in self.harms if harm != "kill"]
        # So that even a short one has some.
        kill_at = 0.25 * seconds if "kill" in self.harms else seconds
        try:
            # On a busy machine little happens in the time: then longer, within bounds.
            while (now := time.monotonic() - begun) < seconds or (
                now < 4 * seconds and any(self.figures[figure] == 0 for figure in self.wanted)
            ):
                if now > kill_at:
                    await self._kill()
                    kill_at = time.monotonic() - begun + self.rng.uniform(1, 3)
                elif others:
                    await getattr(self, f"_{self.rng.choice(others)}")()
                # So long nothing goes wrong.
                await asyncio.sleep(self.rng.uniform(0, 0.15))
        finally:
            self.site.relay.forget()
            self.site.relay.resume()
            self.site.relay.accept()
            await asyncio.to_thread(self.server.start)
            self._over = True

    async def _kill(self) -> None:
        """Ends the server as `kill -9` does, and starts it again."""
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(self.rng.uniform(0, 0.2))
        await asyncio.to_thread(self.server.start)
        self.figures["server killed"] += 1

    async def _terminate(self) -> None:
        """Ends one connection, as an administrator does."""

        def terminate() -> None:
            with psycopg.connect(self.site.database, autocommit=True) as connection:
                pids = [
                    pid
                    for [pid] in connection.execute(
                        "SELECT pid FROM pg_stat_activity WHERE application_name = 'everlog'"
                        " AND datname = current_database() ORDER BY pid"
                    ).fetchall()
                ]
                if pids:
                    chosen = self.rng.choice(pids)
                    connection.execute("SELECT pg_terminate_backend(%s)", (chosen,))
                    self.figures["backend terminated"] += 1

        with suppress(psycopg.OperationalError):
            await asyncio.to_thread(terminate)

    async def _cut(self) -> None:
        self.figures["line cut"] += self.site.relay.cut()

    async def _cut_somewhere(self) -> None:
        side = self.rng.choice(("client", "server"))
        fault = self.site.relay.plan(
            CutAfterBytes("client" if side == "client" else "server", self.rng.randrange(1, 5_000))
        )
        await asyncio.sleep(self.rng.uniform(0, 0.1))
        self.figures["line cut"] += fault.happened

    async def _lose(self) -> None:
        """Lets some commit not arrive, or its answer be lost."""
        kind = self.rng.choice((NeverArrives, AnswerLost))
        fault = self.site.relay.plan(kind(DECISIVE, nth=self.rng.randrange(1, 10)))
        await asyncio.sleep(self.rng.uniform(0, 0.3))
        self.figures["commit or answer lost"] += fault.happened

    async def _delay(self) -> None:
        """Lets some commit arrive when its client is gone."""
        fault = self.site.relay.plan(ArrivesLate(DECISIVE))
        await asyncio.sleep(self.rng.uniform(0, 0.2))
        self.site.relay.forget()
        if fault.happened:
            self.figures["commit arrived late"] += 1
            await asyncio.to_thread(self.rng.choice((fault.deliver, fault.drop)))

    async def _stall(self) -> None:
        self.site.relay.stall()
        await asyncio.sleep(self.rng.uniform(0, 0.2))
        self.site.relay.resume()
        self.figures["stalled"] += 1

    async def _refuse(self) -> None:
        self.site.relay.refuse()
        if self.rng.random() < 0.5:
            await self._cut()
        await asyncio.sleep(self.rng.uniform(0, 0.3))
        self.site.relay.accept()
        self.figures["refused for a while"] += 1

    # --- judging ---

    def _judge(self) -> list[str]:
        """Returns what is wrong, seen by the server alone."""
        self.site.reconnect()
        stored = [id for id in self.site.ids() if id.startswith(self.name)]
        counted = Counter(stored)
        problems = [f"{id} is there {count} times" for id, count in counted.items() if count > 1]
        for call in self.acknowledged:
            missing = [id for id in call.ids if id not in counted]
            problems += [f"{id} was acknowledged and is not there" for id in missing]
            for id in call.ids:
                times = self.told[id]
                # Where a ledger could not tell, nobody was told, and a retry finds it there.
                if times != 1 and not (times == 0 and id in self.unknown):
                    problems.append(f"a hook was told of {id} {times} times")
        for call in self.given_up:
            there = [id for id in call.ids if id in counted]
            if there and there != call.ids:
                problems.append(f"call {call.name} is there in part")
            if there and call.surely_not:
                problems.append(f"of {call.name} nothing was written, it was said, and it is there")
            problems += [f"a hook was told twice of {id}" for id in there if self.told[id] > 1]
        theirs = Counter(self.site.values("SELECT name FROM theirs"))
        for call in (*self.acknowledged, *self.given_up):
            wanted = int(call.joined and call.ids[0] in counted)
            if theirs[call.name] != wanted:
                problems.append(f"{theirs[call.name]} rows of {call.name} and not {wanted}")
        known = {id for call in (*self.acknowledged, *self.given_up) for id in call.ids}
        problems += [f"{id} is of no call" for id in counted if id not in known]
        problems += [f"a hook was told of {id}, which is not there" for id in self.told - counted]
        self.figures["acknowledged"] = sum(len(call.ids) for call in self.acknowledged)
        self.figures["given up"] = len(self.given_up)
        self.figures["given up, and there"] = sum(call.ids[0] in counted for call in self.given_up)
        self.figures["events"] = len(stored)
        self.figures["rows of their own"] = theirs.total()
        return problems

    async def _recovered(self, store: EventStore) -> None:
        """Returns when all connections that read are there again."""
        async with asyncio.timeout(ENDING_S):
            while True:
                try:
                    await asyncio.gather(*(store.read().first() for _ in range(2 * READERS)))
                except StorageError:
                    continue
                return

    async def _as_it_was(self) -> None:
        """Asserts that each store has its few connections, and nothing is open in any."""
        most = STORES * (1 + READERS)
        await eventually(
            lambda: 0 < len(self.site.backends()) <= most,
            "there are no more connections than before",
        )
        await eventually(
            lambda: not any(open for _, _, open in self.site.backends()), "no transaction is open"
        )
        self.figures["connections"] = len(self.site.backends())
