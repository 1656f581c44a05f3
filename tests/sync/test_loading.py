"""Which streams only a hub appends to is looked up by the first append, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from everlog import EventStore
from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.memory.upstreams import MemoryUpstreams
from everlog.core.taking import UpstreamState
from everlog.errors import LedgerBusy, NotSupported, Offline
from tests.store.watched import Noted


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(main())


class Slow(MemoryLedger):
    """A ledger that tells of its hubs when it may, or raises."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.may = asyncio.Event()
        self.may.set()
        self.failure: Exception | None = None

    @property
    def upstreams(self) -> MemoryUpstreams:
        ledger, tables = self, self._open

        class Upstreams(MemoryUpstreams):
            async def states(self) -> Sequence[UpstreamState]:
                ledger.asked += 1
                await ledger.may.wait()
                if ledger.failure is not None:
                    raise ledger.failure
                return await super().states()

        return Upstreams(tables)


@asynccontextmanager
async def edge_of(ledger: MemoryLedger) -> AsyncGenerator[None]:
    """Has a ledger know a hub."""
    async with (
        EventStore.open("memory:", events=[Noted], strict=["order-"]) as hub,
        EventStore(ledger, events=[Noted]) as store,
    ):
        await store.sync(hub).once()
        yield


def test_a_store_over_a_ledger_that_is_open_already_knows_which_streams_are_strict() -> None:
    async def main() -> None:
        ledger = Slow()
        async with edge_of(ledger):
            store = EventStore(ledger, events=[Noted])
            for _ in range(2):
                with pytest.raises(Offline):
                    await store.append("order-1", Noted(1))
            await store.append("free", Noted(1))
            assert ledger.asked == 1
            assert (await store.info()).position == 1

    run(main)


def test_a_failure_is_that_of_the_append_which_looks_and_the_next_looks_again() -> None:
    async def main() -> None:
        ledger = Slow()
        async with edge_of(ledger):
            store = EventStore(ledger, events=[Noted])
            ledger.failure = LedgerBusy("busy")
            with pytest.raises(LedgerBusy):
                await store.append("order-1", Noted(1))
            assert (await store.info()).position == 0
            ledger.failure = None
            with pytest.raises(Offline):
                await store.append("order-1", Noted(1))

    run(main)


def test_what_a_hub_has_said_meanwhile_is_not_undone_by_what_was_looked_up() -> None:
    async def main() -> None:
        ledger = Slow()
        async with edge_of(ledger):
            store = EventStore(ledger, events=[Noted])
            ledger.may.clear()
            appending = asyncio.ensure_future(store.append("order-1", Noted(1)))
            await asyncio.sleep(0)
            hub = next(iter(vars(ledger)["_tables"].copies))
            vars(store)["_forwarding"].learn(hub, ())
            ledger.may.set()
            await appending

    run(main)


def test_appends_that_wait_for_the_first_look_are_made_in_their_order() -> None:
    async def main() -> None:
        ledger = Slow()
        store = EventStore(ledger, events=[Noted])
        ledger.may.clear()
        first = [asyncio.ensure_future(store.append("a", Noted(n))) for n in range(5)]
        await asyncio.sleep(0)
        first[1].cancel()
        ledger.may.set()
        await first[0]
        last = asyncio.ensure_future(store.append("a", Noted(5)))
        done = await asyncio.gather(*first, last, return_exceptions=True)
        assert isinstance(done[1], asyncio.CancelledError)
        records = await store.read("a").to_list()
        assert [record.data.number for record in records] == [0, 2, 3, 4, 5]
        assert ledger.asked == 1
        await store.close()

    run(main)


def test_who_is_cancelled_while_it_looks_leaves_that_to_the_next() -> None:
    async def main() -> None:
        ledger = Slow()
        store = EventStore(ledger, events=[Noted])
        ledger.may.clear()
        appending = asyncio.ensure_future(store.append("a", Noted(1)))
        await asyncio.sleep(0)
        appending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await appending
        ledger.may.set()
        await store.append("a", Noted(2))
        assert ledger.asked == 2
        await store.close()

    run(main)


def test_who_is_in_step_with_a_hub_that_has_strict_streams_is_nobodys_hub() -> None:
    async def main() -> None:
        async with (
            EventStore.open("memory:", events=[Noted], strict=["order-"]) as top,
            EventStore.open("memory:", events=[Noted]) as middle,
            EventStore.open("memory:", events=[Noted]) as leaf,
            EventStore.open("memory:", events=[Noted]) as late,
        ):
            await leaf.append("a", Noted(1))
            early = leaf.sync(middle)
            assert (await early.once()).in_step  # nobody can know by then
            await middle.sync(top).once()
            await leaf.append("order-1", Noted(2), ids=["e2"])
            top_id = (await top.info()).ledger
            for sync in (early, late.sync(middle), late.sync(EventStore(middle.ledger))):
                with pytest.raises(NotSupported, match=f"hub {top_id}.*'order-'"):
                    await sync.once()
            assert await middle.find("e2") is None
            done = await leaf.sync(top).once()
            assert (done.held, done.in_step) == (1, True)

    run(main)
