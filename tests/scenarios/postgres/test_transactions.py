"""Whatever happens to a transaction of a program, its tables and its events do not come apart.

The program is called off, or an administrator ends connections, at any await; each of its
statements fails, or its connection is cut in front of it or behind it. Each time order and events
are both there or neither is, the connection is at rest or closed when the caller hears of it, and
buying again with the same ids makes it so, once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import psycopg
import pytest

from everlog import EventStore, OutcomeUnknown, StorageError, Transaction
from everlog.adapters.postgres import theirs
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.adapters.postgres.theirs import TheirConnection
from everlog.errors import InvalidInput, StorageFailed
from everlog.testing import PostgresServer
from tests.proxies.faults import (
    ANY,
    COMMIT,
    AnswerLost,
    ArrivesLate,
    AtStatement,
    CutAfterMessages,
    Fails,
    NeverArrives,
    Passive,
)
from tests.proxies.relay import Cut, Line, Relay, Side
from tests.proxies.wire import READY, Message, error
from tests.scenarios.postgres.buying import KINDS, NAME, Shop, execute, ids_of, used_by_nobody
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


@pytest.mark.parametrize(
    ("mode", "company"),
    [
        ("cancelled", False),
        ("cancelled", True),
        ("timed out", True),
        *((mode, False) for mode in TERMINATED),
    ],
)
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
                assert isinstance(store.ledger, PostgresLedger)
                key = store.ledger.place.lock_key
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


def test_hooks_are_told_of_a_transaction_behind_an_append_that_has_committed_before_it(
    shop: Shop,
) -> None:
    # Here the store is behind the relay: that its append has committed, it has not heard yet.
    async def main() -> None:
        async with (
            shop.store_at(shop.site.url(pooler="transaction")) as store,
            shop.connected(straight=True) as connection,
        ):
            await store.info()
            shop.site.relay.plan(AnswersAreHeld(shop.site.relay))
            appending = asyncio.create_task(store.append("a", Noted(1), ids=["first"]))
            await eventually(lambda: len(shop.site.ids()) == 1, "the append has committed")
            buying = asyncio.create_task(shop.buy(store, connection, "second"))
            await asyncio.wait([buying], timeout=0.3)
            waited = not buying.done()
            shop.site.relay.forget()
            shop.site.relay.resume()
            await asyncio.gather(appending, buying)
            assert shop.told == shop.site.ids() == ["first", *ids_of("second")]
            assert waited, "it did not wait for its turn"

    asyncio.run(main())


class AnswersAreHeld(AtStatement):
    """Holds back what servers say from a COMMIT on, until the relay is resumed."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(COMMIT)
        self._relay = relay

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        if self._hits(line):
            self._relay.stall_here("server")
            self._happens()
        return [message]


# --- each statement fails, or its connection is lost --------------------------------------------

DISTURBANCES: dict[str, Callable[[int], Passive]] = {
    "40001": lambda nth: Fails("40001", ANY, nth=nth),
    "40P01": lambda nth: Fails("40P01", ANY, nth=nth),
    "its time is up": lambda nth: Fails("57014", ANY, nth=nth),
    "it never arrives": lambda nth: NeverArrives(ANY, nth=nth),
    "its answer is lost": lambda nth: AnswerLost(ANY, nth=nth),
    "the line is cut behind the client's message": lambda nth: CutAfterMessages("client", nth),
    "the line is cut behind the server's message": lambda nth: CutAfterMessages("server", nth),
}
FOUND_OUT = ("its answer is lost", "the line is cut behind the server's message")


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
                    fault = shop.site.relay.plan(DISTURBANCES[disturbance](len(hit) + 1))
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
        async with shop.store(timeout_s=1) as store, shop.connected() as connection:
            fault = shop.site.relay.plan(ArrivesLate(COMMIT))
            with pytest.raises((OutcomeUnknown, StorageFailed)) as caught:
                await shop.buy(store, connection, "far")
            if isinstance(caught.value, StorageFailed):
                # On a slow machine the server has given it up, which was seen: its lock was free.
                assert not shop.there("far")
                shop.site.relay.forget()
                await shop.made_so(store, "far", there=False)
                return
            assert isinstance(caught.value, OutcomeUnknown)
            assert list(caught.value.ids) == ids_of("far")
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
    shop: Shop, side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(theirs, "STALLED_S", 0.3)

    async def main() -> None:
        async with shop.store(timeout_s=1) as store, shop.connected() as connection:
            stalling = shop.site.relay.plan(GoesSilent(side))
            buying = asyncio.create_task(_outcome(shop.buy(store, connection, "silent")))
            await stalling.wait()
            async with asyncio.timeout(20):
                [record] = await store.append("other", Noted(1))
                outcome = await buying
            shop.site.relay.forget()
            there = shop.there("silent")
            assert there is isinstance(outcome, Transaction)
            assert record.position == (3 if there else 1)
            await shop.made_so(store, "silent", there=there)

    asyncio.run(main())


def test_a_connection_that_was_lost_in_the_block_is_told_as_such_at_its_end(shop: Shop) -> None:
    async def main() -> None:
        async with shop.store() as store, shop.connected() as connection:
            with pytest.raises(StorageFailed, match="was lost"):  # noqa: PT012 - the block raises
                async with store.transaction(connection) as tx:
                    tx.append("a", Noted(1))
                    shop.terminate(NAME)
                    with pytest.raises(psycopg.OperationalError):
                        await execute(connection, "SELECT 1")
            with pytest.raises(StorageFailed, match="was lost"):
                await shop.buy(store, connection, "again")
        assert shop.site.ids() == []

    asyncio.run(main())


def test_a_server_that_ends_the_connection_behind_its_answer_to_a_commit_has_committed(
    shop: Shop,
) -> None:
    # What the driver raises is the last thing that it has heard.
    async def main() -> None:
        async with shop.store() as store, shop.connected() as connection:
            fault = shop.site.relay.plan(EndedBehindIt(COMMIT))
            tx = await shop.buy(store, connection, "just")
            await fault.wait()
            assert [record.id for record in tx.records] == ids_of("just")
            assert shop.there("just")
            assert shop.told == ids_of("just")

    asyncio.run(main())


class EndedBehindIt(AtStatement):
    """Has the server say behind its answer to a statement that an administrator ends it."""

    _line: Line | None = None

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        if self._hits(line):
            self._line = line
        return [message]

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        if line is self._line and message.kind == READY:
            self._happens()
            raise Cut(passing=error("57P01", "ended", severity="FATAL").encoded())
        return [message]


class GoesSilent(AtStatement):
    """Swallows a COMMIT and what comes behind it, or what the server answers."""

    _line: Line | None = None

    def __init__(self, side: Side) -> None:
        super().__init__(COMMIT)
        self._side: Side = side

    def from_client(self, line: Line, message: Message) -> Sequence[Message]:
        if self._hits(line):
            self._line = line
            self._happens()
        return [] if line is self._line and self._side == "client" else [message]

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        return [] if line is self._line and self._side == "server" else [message]


# --- the server itself --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_transactions_of_a_server_that_is_killed_are_there_once_when_they_have_been_run_again(
    durable_postgres: PostgresServer, kind: str
) -> None:
    database = durable_postgres.new_database()
    names = [f"order-{number}" for number in range(150)]
    tries: Counter[str] = Counter()

    def sold(done: asyncio.Event, enough: int) -> bool:
        return done.is_set() or len(tries) >= enough

    async def kill(done: asyncio.Event) -> int:
        kills = 0
        while not done.is_set() and kills < 4:
            enough = len(tries) + 15
            await eventually(partial(sold, done, enough), "some are sold")
            await asyncio.to_thread(durable_postgres.kill)
            await asyncio.to_thread(durable_postgres.start)
            kills += 1
        return kills

    async def sell(shop: Shop, store: EventStore, stock: list[str]) -> None:
        while stock:
            name = stock.pop()
            while True:
                tries[name] += 1
                assert tries[name] < 1000
                try:
                    async with shop.connected() as connection:
                        await shop.buy(store, connection, name)
                    break
                except (StorageError, psycopg.Error):
                    await asyncio.sleep(0.1)  # it may be down for a moment

    async def main() -> None:
        with Relay(database) as relay, Site(relay, database, "killed") as site:
            shop = Shop(site, kind)
            async with shop.store() as store:
                done, stock = asyncio.Event(), list(names)
                killing = asyncio.create_task(kill(done))
                await asyncio.gather(*(sell(shop, store, stock) for _ in range(4)))
                done.set()
                print(f"{await killing} kills, {max(tries.values())} tries at most")
                with Site(relay, database, "killed") as site:  # whose own connection was lost, too
                    shop.site = site
                    assert all(map(shop.there, names))
                    assert len(site.ids()) == 2 * len(names)
                await sound(store)
        assert sum(tries.values()) > len(names), "nothing was ever lost"

    asyncio.run(main())


# --- tests of the tests --------------------------------------------------------------------------


async def _at_once(work: Any, *, leave: object = None) -> Any:
    """Waits for something, and goes away when it is cancelled."""
    return await work


def test_a_caller_who_does_not_stay_until_the_commit_is_over_is_seen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everlog.store.writing.to_its_end", _at_once)
    monkeypatch.setattr(theirs, "to_its_end", _at_once)
    # By what is stored, or by the next block, whose connection is in the middle of something.
    with pytest.raises((AssertionError, InvalidInput)):
        asyncio.run(at_every_await(shop, "cancelled", company=False))


@pytest.mark.parametrize("guess", [True, False], ids=["as committed", "as rolled back"])
def test_a_lost_commit_that_is_taken_for_one_or_the_other_without_a_look_is_seen(
    shop: Shop, guess: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def guessed(*_: object) -> bool:
        return guess

    monkeypatch.setattr(PostgresLedger, "_settle", guessed)

    async def main() -> None:
        async with shop.store() as store, shop.connected() as connection:
            shop.site.relay.plan(NeverArrives(COMMIT) if guess else AnswerLost(COMMIT))
            outcome = await _outcome(shop.buy(store, connection, "lost"))
            assert shop.there("lost") is isinstance(outcome, Transaction)

    with pytest.raises(AssertionError):
        asyncio.run(main())


def test_tables_that_are_written_twice_by_a_retry_are_seen(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def commit(self: TheirConnection) -> None:
        if self.in_transaction:
            await self.commit()

    monkeypatch.setattr(TheirConnection, "roll_back", commit)

    async def main() -> None:
        async with shop.store() as store, shop.connected() as connection:
            await shop.buy(store, connection, "twice")
            await shop.buy(store, connection, "twice")
            shop.there("twice")

    with pytest.raises(AssertionError, match="of order and events"):
        asyncio.run(main())
