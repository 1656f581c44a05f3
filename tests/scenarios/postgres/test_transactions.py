"""Whatever happens to a transaction of a program, its tables and its events do not come apart.

The program is called off, or an administrator ends connections, at any await; each of its
statements fails, or its connection is cut in front of it or behind it. Each time order and events
are both there or neither is, the connection is at rest or closed when the caller hears of it, and
buying again with the same ids makes it so, once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from everlog import OutcomeUnknown, Transaction
from everlog.adapters.postgres import theirs
from everlog.errors import StorageFailed
from tests.proxies.faults import (
    COMMIT,
    AnswerLost,
    ArrivesLate,
    AtStatement,
    CutAfterMessages,
    Fails,
    NeverArrives,
)
from tests.scenarios.postgres.buying import KINDS, NAME, Shop, ids_of, used_by_nobody
from tests.scenarios.postgres.site import Noted, Site, eventually, sound
from tests.scenarios.postgres.stepping import Steps
from tests.store.stopping import MODES

TERMINATED = {
    "the connection is ended": (NAME,),
    "all connections are ended": (NAME, "everlog"),
}
"""Whose connections an administrator ends, by what it is called."""


@pytest.fixture(params=KINDS)
def shop(site: Site, request: pytest.FixtureRequest) -> Shop:
    return Shop(site, request.param)


# --- called off at any await --------------------------------------------------------------------


async def at_every_await(shop: Shop, mode: str, *, company: bool) -> Counter[str]:
    """Calls a block off at each of its awaits; returns how often what was the case."""
    counted: Counter[str] = Counter()
    steps = Steps()
    async with shop.store() as store:
        async with shop.connected() as connection:
            await shop.buy(store, connection, "undisturbed")
        nth = missed = 0
        while missed < 2:
            nth += 1
            name = f"n{nth}"
            async with shop.connected() as connection:
                others = [f"{name}{where}" for where in ("before", "beside")] if company else []
                calls = [asyncio.create_task(store.append(n, Noted(0))) for n in others]
                if company:
                    await asyncio.sleep(0)
                call = partial(shop.buy, store, connection, name)
                task = await called_off(shop, steps, nth, mode, call)
                can_go_on = await used_by_nobody(connection)
                there = shop.there(name)
                missed = 0 if steps.acted else missed + 1
                steps.off()
                await asyncio.gather(*calls)
                counted[what(task, there)] += 1
                if can_go_on:
                    again = await shop.buy(store, connection, name)
                    assert again.is_retry is there
            await shop.made_so(store, name, there=shop.there(name))
            await store.drained()
            assert shop.told == shop.site.ids(), "a hook was not told once, in order"
        await sound(store)
    counted["awaits"] = nth
    return counted


def what(task: asyncio.Task[Transaction], there: bool) -> str:
    """Says what became of a call; asserts that its caller was told nothing that is not so."""
    if not task.cancelled() and task.exception() is None:
        assert there, "it was told that it is there"
        assert [record.id for record in task.result().records]
        return "answered"
    if not task.cancelled() and isinstance(task.exception(), StorageFailed):
        assert not there, "it was told that it is not there"
    return "there" if there else "not there"


async def called_off(
    shop: Shop, steps: Steps, nth: int, mode: str, call: Callable[[], Awaitable[Transaction]]
) -> asyncio.Task[Transaction]:
    """Returns a call's task at its end, after the n-th await from where it began was hit."""
    acts: list[Callable[[], object]] = []

    def begun() -> Awaitable[Transaction]:
        steps.at(nth, acts[0])
        return call()

    async def caller() -> Transaction:
        return await begun()

    if mode in TERMINATED:
        task = asyncio.create_task(caller())
        acts.append(lambda: shop.terminate(*TERMINATED[mode]))
    else:
        task, call_off = MODES[mode](begun)
        acts.append(lambda: None if task.done() else call_off())
    await asyncio.wait([task])
    return task


@pytest.mark.parametrize("company", [False, True], ids=["alone", "in company"])
@pytest.mark.parametrize("mode", ["cancelled", "timed out", *TERMINATED])
def test_a_block_that_is_called_off_at_any_await_leaves_both_or_neither_and_a_free_connection(
    shop: Shop, mode: str, company: bool
) -> None:
    counted = asyncio.run(at_every_await(shop, mode, company=company))
    print(f"{mode}: {dict(counted)}")
    assert counted["awaits"] > 10
    assert counted["not there"] > 0
    assert counted["answered"] > 0
    if mode in MODES:
        assert counted["there"] > 0


def test_a_block_that_is_called_off_while_it_waits_for_its_turn_does_not_wait_for_it(
    shop: Shop,
) -> None:
    async def main() -> None:
        async with shop.store() as store, shop.connected() as connection:
            with psycopg.connect(shop.site.database) as holder:
                key = store.ledger.place.lock_key  # type: ignore[attr-defined]
                holder.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
                appending = asyncio.create_task(store.append("a", Noted(1)))
                await eventually(lambda: shop.site.waiting_for_a_lock() == 1, "an append waits")
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await shop.buy(store, connection, "late")
                assert await used_by_nobody(connection)
            await appending
            assert not shop.there("late")
            await shop.made_so(store, "late", there=False)

    asyncio.run(main())


# --- each statement fails, or its connection is lost --------------------------------------------

DISTURBANCES: dict[str, Callable[[str, int], AtStatement]] = {
    "40001": lambda statement, nth: Fails("40001", statement, nth=nth),
    "40P01": lambda statement, nth: Fails("40P01", statement, nth=nth),
    "57014": lambda statement, nth: Fails("57014", statement, nth=nth),  # its time-out
    "it never arrives": lambda statement, nth: NeverArrives(statement, nth=nth),
    "its answer is lost": lambda statement, nth: AnswerLost(statement, nth=nth),
    "the line is cut behind a message of the client's": (
        lambda statement, nth: CutAfterMessages("client", nth)  # type: ignore[return-value]
    ),
    "the line is cut behind a message of the server's": (
        lambda statement, nth: CutAfterMessages("server", nth)  # type: ignore[return-value]
    ),
}


FOUND_OUT = ("its answer is lost", "the line is cut behind a message of the server's")


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_block_that_is_disturbed_at_any_statement_leaves_both_or_neither_and_says_which(
    shop: Shop, disturbance: str
) -> None:
    async def main() -> None:
        hit: list[str] = []
        counted: Counter[str] = Counter()
        async with shop.store() as store:
            while True:
                name = f"n{len(hit) + 1}"
                async with shop.connected() as connection:
                    fault = shop.site.relay.plan(DISTURBANCES[disturbance]("", len(hit) + 1))
                    outcome = await _outcome(shop.buy(store, connection, name))
                    shop.site.relay.forget()
                    await used_by_nobody(connection)
                there = shop.there(name)
                assert there is isinstance(outcome, Transaction), outcome
                assert isinstance(outcome, (Transaction, StorageFailed, psycopg.Error)), outcome
                counted[type(outcome).__name__] += 1
                await shop.made_so(store, name, there=there)
                assert shop.told == shop.site.ids()
                if not fault.happened:
                    break
                hit.append(fault.sql or "a message")
                assert len(hit) < 200
            await sound(store)
        print(f"{dict(counted)} at {hit}")
        assert counted["StorageFailed"] > 0
        if disturbance in FOUND_OUT:
            assert counted["Transaction"] > 1, "one of them had committed, and that was found out"
        for part in ("INSERT", "pg_advisory_xact_lock", "COMMIT"):
            assert fault.sql is None or any(part in sql for sql in hit), hit

    asyncio.run(main())


async def _outcome(call: Awaitable[Transaction]) -> Transaction | Exception:
    try:
        return await call
    except Exception as error:
        return error


# --- the answer to a COMMIT ---------------------------------------------------------------------


@pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "is dropped"])
def test_a_commit_that_is_still_under_way_when_its_connection_is_lost_is_waited_for(
    shop: Shop, arrives: bool
) -> None:
    async def main() -> None:
        async with shop.store() as store, shop.connected() as connection:
            fault = shop.site.relay.plan(ArrivesLate(COMMIT))
            buying = asyncio.create_task(_outcome(shop.buy(store, connection, "late")))
            await fault.wait()
            await eventually(
                lambda: shop.site.waiting_for_a_lock() == 1, "the store waits for the lock"
            )
            assert not buying.done()
            if arrives:
                assert await asyncio.to_thread(fault.deliver) == "COMMIT"
            else:
                await asyncio.to_thread(fault.drop)
            outcome = await buying
            assert shop.there("late") is arrives
            if arrives:
                assert isinstance(outcome, Transaction)
                assert [record.id for record in outcome.records] == ids_of("late")
            else:
                assert isinstance(outcome, StorageFailed)
                assert "run it again" in str(outcome)
            assert shop.told == shop.site.ids()
            await shop.made_so(store, "late", there=arrives)

    asyncio.run(main())


@pytest.mark.parametrize("arrives", [True, False], ids=["arrives", "is dropped"])
def test_where_it_cannot_be_found_out_the_outcome_is_unknown_until_the_block_is_run_again(
    shop: Shop, arrives: bool
) -> None:
    async def main() -> None:
        async with shop.store(timeout_s=0.2) as store, shop.connected() as connection:
            fault = shop.site.relay.plan(ArrivesLate(COMMIT))
            with pytest.raises(OutcomeUnknown) as unknown:  # its lock is held for all that time
                await shop.buy(store, connection, "far")
            assert list(unknown.value.ids) == ids_of("far")
            assert shop.told == []
            shop.site.relay.forget()
            if arrives:
                await asyncio.to_thread(fault.deliver)
            else:
                await asyncio.to_thread(fault.drop)
            there = shop.there("far")  # on a slow machine the server had given it up before
            assert arrives or not there
            await shop.made_so(store, "far", there=there)
            assert shop.told == ([] if there else ids_of("far"))
            await sound(store)

    asyncio.run(main())


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_connection_that_goes_silent_in_its_commit_does_not_hold_up_the_store(
    shop: Shop, side: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(theirs, "STALLED_S", 0.3)

    async def main() -> None:
        async with shop.store(timeout_s=1) as store, shop.connected() as connection:
            stalling = shop.site.relay.plan(_Stalls(shop.site, side))
            buying = asyncio.create_task(_outcome(shop.buy(store, connection, "silent")))
            await stalling.wait()
            async with asyncio.timeout(20):
                [record] = await store.append("other", Noted(1))
                outcome = await buying
            shop.site.relay.resume()
            shop.site.relay.forget()
            there = shop.there("silent")
            assert there is isinstance(outcome, Transaction)
            assert record.position == (3 if there else 1)
            await shop.made_so(store, "silent", there=there)

    asyncio.run(main())


class _Stalls(AtStatement):
    """Holds back everything from the COMMIT on, of one side."""

    def __init__(self, site: Site, side: Any) -> None:
        super().__init__(COMMIT)
        self._site = site
        self._side = side

    def from_client(self, line: Any, message: Any) -> Any:
        if self._hits(line):
            self._site.relay._flows[self._side].clear()  # in the relay's own thread
            self._happens()
        return [message]
