"""What is PostgreSQL's alone in its checkpoints: trips, locks, lost answers, its sessions."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import psycopg
import pytest

from everlog import migrate, migration_script
from everlog.adapters.postgres import (
    checkpoint_statements,
    checkpointing,
    transacting,
)
from everlog.adapters.postgres import (
    checkpoints as module,
)
from everlog.adapters.postgres.checkpoints import PostgresCheckpoints
from everlog.adapters.postgres.connections import Place, parameters_of
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.errors import (
    LeaseLost,
    LedgerBusy,
    MisusedStore,
    OutcomeUnknown,
    StorageFailed,
    Unreachable,
)
from everlog.ports.checkpoints import Held, Move, Parked
from everlog.testing import PostgresServer
from tests.adapters.databases import ask, role
from tests.adapters.schema import Schema, eventually
from tests.proxies.faults import AnswerLost, ArrivesLate, NeverArrives, Passive
from tests.proxies.relay import Line, Relay
from tests.proxies.wire import READY, Message

NAME = "orders"
INSERT = "INSERT INTO seen (position, stream) VALUES (%s, %s)"
_numbers = itertools.count(1)
T = TypeVar("T")


@pytest.fixture(scope="module")
def database(trusting_postgres: PostgresServer) -> str:
    return trusting_postgres.new_database()


@pytest.fixture(scope="module")
def relay(database: str) -> Iterator[Relay]:
    with Relay(database) as relay:
        yield relay


class Shop:
    """A ledger's schema, where the user has a table `seen`."""

    def __init__(self, database: str, relay: Relay) -> None:
        self.schema = Schema(database, f"shop_{next(_numbers)}")
        self.relay = relay
        self.straight = Place(parameters_of(self._reaching(database)), self.schema.name)
        self.place = replace(self.straight, parameters=parameters_of(self._reaching(relay.url)))

    def _reaching(self, url: str) -> str:
        return f"{url}?options=-csearch_path%3D{self.schema.name}"

    async def make(self) -> None:
        ledger = await self.schema.ledger()
        await ledger.close()
        self.schema.ask("CREATE TABLE {}.seen (position bigint NOT NULL, stream text)")

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncGenerator[PostgresCheckpoints]:
        """Opens the checkpoints, through the relay."""
        checkpoints = await PostgresCheckpoints.open(replace(self.place, **options))
        try:
            yield checkpoints
        finally:
            self.relay.forget()
            await checkpoints.close()

    def seen(self) -> list[int]:
        return [
            position for [position] in self.schema.ask("SELECT position FROM {}.seen ORDER BY 1")
        ]

    def positions(self) -> list[int]:
        rows = self.schema.ask("SELECT position FROM {}.subscription_checkpoints ORDER BY slice")
        return [position for [position] in rows]


@pytest.fixture
def shop(database: str, relay: Relay) -> Iterator[Shop]:
    shop = Shop(database, relay)
    asyncio.run(shop.make())
    yield shop
    relay.forget()


class Trips(Passive):
    """Counts how often a client waits for the server."""

    count = 0

    def from_server(self, line: Line, message: Message) -> Sequence[Message]:
        self.count += message.kind == READY
        return [message]

    async def of(self, call: Awaitable[object]) -> int:
        before = self.count
        await call
        return self.count - before


async def held_by(
    checkpoints: PostgresCheckpoints, *, slices: int = 1, ttl_s: float = 600, worker: str = "w1"
) -> list[Held]:
    await checkpoints.register(NAME, slices=slices, position=0, token=None)
    return list(await checkpoints.claim(NAME, worker, ttl_s=ttl_s, most=slices))


def step(held: Held, after: int, *, before: int = 0) -> Move:
    return Move(held.slice, held.fence, before, after, f"t{after}")


async def handle(
    checkpoints: PostgresCheckpoints, held: Held, position: int, statement: str = INSERT
) -> None:
    """Handles a record: writes, and moves from the one before."""
    async with checkpoints.transaction() as transaction:
        await transaction.tx.execute(statement, (position, "a"))
        await transaction.move(NAME, [step(held, position, before=position - 1)])


# --- trips ---


def test_a_batch_is_two_trips_however_much_is_written(shop: Shop) -> None:
    async def batch(checkpoints: PostgresCheckpoints, held: Sequence[Held], before: int) -> None:
        async with checkpoints.transaction() as transaction:
            for number in range(100):
                await transaction.tx.execute(INSERT, (number, "a"))
                await transaction.tx.execute("UPDATE seen SET stream = 'b'")
            await transaction.tx.execute_many(INSERT, [(number, "c") for number in range(100)])
            await transaction.park([Parked(NAME, 0, 1, "a", "i", "parked", 1, None, "")])
            await transaction.unpark(NAME, 7)
            moves = [step(each, before + 1, before=before) for each in held]
            await transaction.move(NAME, moves)

    async def look(checkpoints: PostgresCheckpoints, held: Sequence[Held]) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(INSERT, (1, "a"))
            await transaction.tx.fetch("SELECT 1")
            await transaction.move(NAME, [step(each, 3, before=2) for each in held])

    async def nothing(checkpoints: PostgresCheckpoints) -> None:
        async with checkpoints.transaction():
            pass

    async def main() -> None:
        async with shop.open() as checkpoints:
            held = await held_by(checkpoints, slices=3)
            await batch(checkpoints, held, 0)  # connects
            trips = shop.relay.plan(Trips())
            assert await trips.of(batch(checkpoints, held, 1)) == 2
            assert await trips.of(look(checkpoints, held)) == 3
            assert await trips.of(nothing(checkpoints)) == 0
            fences = {each.slice: each.fence for each in held}
            for call in (
                checkpoints.register(NAME, slices=3, position=0, token=None),
                checkpoints.claim(NAME, "w2", ttl_s=60, most=9),
                checkpoints.renew(NAME, "w1", fences, ttl_s=60),
                checkpoints.attempt(NAME, 0, held[0].fence, 4),
                checkpoints.due(NAME, [0, 1, 2]),
                checkpoints.parked(),
                checkpoints.statuses(),
                checkpoints.workers(NAME),
                checkpoints.release(NAME, fences),
            ):
                assert await trips.of(call) == 1

    asyncio.run(main())
    assert shop.positions() == [3, 3, 3]


# --- what was lost ---


def test_a_commit_whose_answer_was_lost_has_committed_and_nobody_hears_of_it(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            await handle(checkpoints, held, 1)
            lost = shop.relay.plan(AnswerLost(nth=1))
            await handle(checkpoints, held, 2)
            assert lost.happened
            await handle(checkpoints, held, 3)

    asyncio.run(main())
    assert (shop.seen(), shop.positions()) == ([1, 2, 3], [3])


def test_a_commit_that_never_arrived_has_not_committed_and_is_told(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            await handle(checkpoints, held, 1)
            shop.relay.plan(NeverArrives())
            with pytest.raises(Unreachable):
                await handle(checkpoints, held, 2)
            assert shop.positions() == [1]
            await handle(checkpoints, held, 2)

    asyncio.run(main())
    assert (shop.seen(), shop.positions()) == ([1, 2], [2])


@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_that_is_still_under_way_is_waited_for(shop: Shop, arrives: bool) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            await handle(checkpoints, held, 1)
            late = shop.relay.plan(ArrivesLate())
            handling = asyncio.create_task(handle(checkpoints, held, 2))
            await late.wait()
            await eventually(lambda: shop.schema.waiting() > 0, "somebody waits for its end")
            assert not handling.done()
            if arrives:
                assert await asyncio.to_thread(late.deliver) == "COMMIT"
                await handling
            else:
                await asyncio.to_thread(late.drop)
                with pytest.raises(Unreachable):
                    await handling

    asyncio.run(main())
    assert shop.seen() == ([1, 2] if arrives else [1])
    assert shop.positions() == [2 if arrives else 1]


def test_a_commit_that_does_not_end_is_not_known(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open(timeout_s=0.3) as checkpoints:
            [held] = await held_by(checkpoints)
            late = shop.relay.plan(ArrivesLate())
            with pytest.raises(OutcomeUnknown, match="Do not repeat it"):
                await handle(checkpoints, held, 1)
            assert await asyncio.to_thread(late.deliver) == "COMMIT"

    asyncio.run(main())
    assert (shop.seen(), shop.positions()) == ([1], [1])


@pytest.mark.parametrize("moves_on", [True, False])
def test_a_lost_commit_that_another_has_gone_on_from_is_not_taken_for_ones_own(
    shop: Shop, moves_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = checkpointing.has_committed

    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints, ttl_s=0)

            def late(*asked: Any) -> Any:
                # Before it can be asked another has claimed the slice, and got as far by itself.
                with psycopg.connect(shop.schema.database) as connection:
                    connection.execute(
                        f"UPDATE {shop.schema.name}.subscription_checkpoints SET fence = fence + 1,"
                        f" moves = moves + 1, position = {1 if moves_on else 0}".encode()
                    )
                return settle(*asked)

            monkeypatch.setattr(module, "has_committed", late)
            shop.relay.plan(NeverArrives())
            says = "Do not repeat it" if moves_on else "."
            with pytest.raises(OutcomeUnknown if moves_on else Unreachable, match=says):
                await handle(checkpoints, held, 1)

    asyncio.run(main())
    assert shop.seen() == []


def test_a_fence_that_was_held_only_tells_of_a_lost_commit_too(shop: Shop) -> None:
    async def hold(checkpoints: PostgresCheckpoints, held: Held) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.move(NAME, [step(held, 0)])
            await transaction.tx.execute(INSERT, (1, "a"))

    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            lost = shop.relay.plan(AnswerLost())
            await hold(checkpoints, held)
            assert lost.happened
            shop.relay.plan(NeverArrives())
            with pytest.raises(Unreachable):
                await hold(checkpoints, held)

    asyncio.run(main())
    assert shop.seen() == [1]


def test_a_lost_commit_without_a_checkpoint_is_not_known(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            shop.relay.plan(AnswerLost())
            with pytest.raises(OutcomeUnknown):
                async with checkpoints.transaction() as transaction:
                    await transaction.tx.execute(INSERT, (1, "a"))

    asyncio.run(main())


@pytest.mark.parametrize("fault", [AnswerLost, NeverArrives])
def test_bookkeeping_that_was_lost_is_done_again_and_counts_once(
    shop: Shop, fault: Callable[[], AnswerLost | NeverArrives]
) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            lost: list[AnswerLost | NeverArrives] = []

            def lose() -> None:
                lost.append(shop.relay.plan(fault()))

            lose()
            assert await checkpoints.register(NAME, slices=3, position=0, token=None) == 3
            lose()
            held = await checkpoints.claim(NAME, "w1", ttl_s=600, most=2)
            assert [each.slice for each in held] == [0, 1]
            for tries in (1, 2):
                lose()
                assert await checkpoints.attempt(NAME, 0, held[0].fence, 5) == tries
            fences = {each.slice: each.fence for each in held}
            lose()
            assert await checkpoints.renew(NAME, "w1", fences, ttl_s=600) == {0, 1}
            lose()
            await checkpoints.release(NAME, fences)
            lose()
            assert await checkpoints.remove(NAME)
            assert all(each.happened for each in lost)

    asyncio.run(main())


def test_a_backend_that_is_ended_in_a_transaction_leaves_nothing_of_it(shop: Shop) -> None:
    async def end(checkpoints: PostgresCheckpoints, held: Held, *, moved: bool) -> None:
        async with checkpoints.transaction() as transaction:
            [[pid]] = await transaction.tx.fetch("SELECT pg_backend_pid()")
            await transaction.tx.execute(INSERT, (1, "a"))
            if moved:
                await transaction.move(NAME, [step(held, 1)])
            shop.schema.ask(f"SELECT pg_terminate_backend({pid})")
            if not moved:
                await transaction.move(NAME, [step(held, 1)])

    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            for moved in (False, True):
                with pytest.raises(Unreachable):
                    await end(checkpoints, held, moved=moved)
                assert (shop.seen(), shop.positions()) == ([], [0])
            await handle(checkpoints, held, 1)

    asyncio.run(main())
    assert shop.seen() == [1]


def test_connections_that_were_lost_while_nobody_used_them_are_noticed_by_nobody(
    shop: Shop,
) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            for position in (1, 2, 3):
                await handle(checkpoints, held, position)
                assert shop.relay.cut() > 0
                assert len(await checkpoints.workers(NAME)) == 1

    asyncio.run(main())
    assert shop.seen() == [1, 2, 3]


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(shop: Shop) -> None:
    async def stop_before_the_commit(checkpoints: PostgresCheckpoints, held: Held) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(INSERT, (1, "a"))
            await transaction.move(NAME, [step(held, 1)])
            shop.relay.stall()

    async def main() -> None:
        async with shop.open(timeout_s=0.5) as checkpoints:
            [held] = await held_by(checkpoints)
            try:
                async with asyncio.timeout(20):
                    with pytest.raises(OutcomeUnknown):
                        await stop_before_the_commit(checkpoints, held)
                    for call in (
                        checkpoints.statuses(),
                        checkpoints.renew(NAME, "w1", {0: held.fence}, ttl_s=60),
                        handle(checkpoints, held, 1),
                    ):
                        with pytest.raises(StorageFailed):
                            await call
            finally:
                shop.relay.resume()
            position = (await checkpoints.statuses())[0].position
            await handle(checkpoints, held, position + 1)

    asyncio.run(main())
    assert shop.seen() == list(range(1, shop.positions()[0] + 1))


# --- locks ---


async def at_once(call: Coroutine[Any, Any, T]) -> T:
    """Returns what a call does, which must not wait for anybody."""
    task = asyncio.create_task(call)
    await asyncio.wait([task], timeout=10)
    if not task.done():
        task.cancel()
        pytest.fail("it waits")
    return task.result()


def test_who_claims_or_renews_does_not_wait_for_a_transaction(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints, shop.open() as other:
            held = await held_by(checkpoints, slices=2, ttl_s=0)
            fences = {each.slice: each.fence for each in held}
            async with checkpoints.transaction() as transaction:
                await transaction.move(NAME, [step(held[0], 0)])
                taken = await at_once(other.claim(NAME, "w2", ttl_s=600, most=2))
                assert [each.slice for each in taken] == [1], "the other one is in use"
                assert await at_once(checkpoints.renew(NAME, "w1", fences, ttl_s=0)) == {0}
                assert await at_once(checkpoints.attempt(NAME, 0, held[0].fence, 1)) == 1
                await transaction.move(NAME, [step(held[0], 1)])
            [new] = await other.claim(NAME, "w2", ttl_s=600, most=2)
            assert (new.slice, new.position, new.token) == (0, 1, "t1")
            with pytest.raises(LeaseLost):
                await handle(checkpoints, held[0], 2)

    asyncio.run(main())


def test_workers_that_claim_move_and_let_go_at_once_never_deadlock_or_share(shop: Shop) -> None:
    async def work(checkpoints: PostgresCheckpoints, worker: str, until: float) -> int:
        moved = 0
        while time.monotonic() < until:
            held = await checkpoints.claim(NAME, worker, ttl_s=0.02, most=3)
            try:
                async with checkpoints.transaction() as transaction:
                    for each in held:
                        await transaction.tx.execute(INSERT, (each.position + 1, str(each.slice)))
                    moves = [step(each, each.position + 1, before=each.position) for each in held]
                    await transaction.move(NAME, moves[::-1])
            except LeaseLost:
                continue
            moved += len(held)
            fences = {each.slice: each.fence for each in held}
            await checkpoints.renew(NAME, worker, fences, ttl_s=0.02)
            await checkpoints.release(NAME, fences)
        return moved

    async def main() -> int:
        async with shop.open() as one, shop.open() as other:
            await one.register(NAME, slices=5, position=0, token=None)
            until = time.monotonic() + 2
            workers = [work((one, other)[n % 2], f"w{n}", until) for n in range(6)]
            return sum(await asyncio.gather(*workers))

    [[before]] = shop.schema.ask(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    moved = asyncio.run(main())
    [[after]] = shop.schema.ask(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert moved > 20
    assert sum(shop.positions()) == moved
    rows = shop.schema.ask("SELECT stream, position FROM {}.seen")
    assert len({*rows}) == len(rows) == moved, "each step once"
    assert before == after


def test_a_lock_of_a_users_table_is_not_waited_for_for_ever(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open(timeout_s=0.2) as checkpoints:
            [held] = await held_by(checkpoints)
            with psycopg.connect(shop.schema.database) as connection:
                connection.execute(f"LOCK TABLE {shop.schema.name}.seen".encode())
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    await handle(checkpoints, held, 1)
            with psycopg.connect(shop.schema.database) as connection:
                table = f"{shop.schema.name}.subscription_checkpoints"
                connection.execute(f"SELECT * FROM {table} FOR UPDATE".encode())
                with pytest.raises(LedgerBusy):
                    await handle(checkpoints, held, 1)
            await handle(checkpoints, held, 1)

    asyncio.run(main())


# --- sessions ---


@pytest.mark.parametrize("pooler", ["none", "transaction"])
def test_a_transaction_is_durable_and_read_committed_whatever_the_defaults_are(
    shop: Shop, pooler: str
) -> None:
    options = (
        "-c synchronous_commit=off -c default_transaction_isolation=serializable "
        "-c default_transaction_read_only=on"
    )

    async def main() -> None:
        parameters = {**shop.place.parameters, "options": options}
        async with shop.open(parameters=parameters, pooler=pooler) as checkpoints:
            async with checkpoints.transaction() as transaction:
                show = (
                    "SELECT current_setting('synchronous_commit'), "
                    "current_setting('transaction_isolation'), "
                    "current_setting('transaction_read_only'), "
                    "current_setting('idle_in_transaction_session_timeout'), "
                    "current_setting('enable_seqscan'), current_setting('plan_cache_mode')"
                )
                [found] = await transaction.tx.fetch(show)
            assert found == ("on", "read committed", "off", "5min", "on", "auto")
            assert await checkpoints.register(NAME, slices=1, position=0, token=None) == 1

    asyncio.run(main())


def test_who_stops_behind_its_last_step_does_not_hold_a_slice_for_long(shop: Shop) -> None:
    async def main() -> None:
        idle = "SELECT current_setting('idle_in_transaction_session_timeout')"
        async with shop.open(timeout_s=2) as checkpoints:
            [held] = await held_by(checkpoints)
            async with checkpoints.transaction() as transaction:
                assert await transaction.tx.fetch(idle) == [("20s",)]
                await transaction.move(NAME, [step(held, 0)])
                assert await transaction.tx.fetch(idle) == [("20s",)], "handlers come behind it"
                await transaction.move(NAME, [step(held, 1)])
                assert await transaction.tx.fetch(idle) == [("2s",)]

    asyncio.run(main())


def test_what_was_not_awaited_ends_with_the_transaction(shop: Shop) -> None:
    left: list[asyncio.Task[object]] = []

    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            for round in range(30):
                async with checkpoints.transaction() as transaction:
                    await transaction.tx.execute(INSERT, (round, "a"))
                    for _ in range(3):
                        fetch = transaction.tx.fetch("SELECT pg_sleep(0.001)")
                        left.append(asyncio.create_task(fetch))
                    for _ in range(round):
                        await asyncio.sleep(0)
                    await transaction.move(NAME, [step(held, round + 1, before=round)])
            await asyncio.wait(left)
            for task in left:
                assert task.exception() is None or isinstance(task.exception(), MisusedStore)

    asyncio.run(main())
    assert (shop.seen(), shop.positions()) == (list(range(30)), [30])


def test_handlers_have_the_drivers_own_ways_with_values(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints, checkpoints.transaction() as transaction:
            fetch = transaction.tx.fetch
            assert await fetch("SELECT left(%s, %s)", ("abc", 2)) == [("ab",)]
            assert await fetch("SELECT '[1]'::jsonb, '5%'") == [([1], "5%")]
            assert await fetch("SELECT %(a)s::int[]", {"a": [1, 2]}) == [([1, 2],)]

    asyncio.run(main())


ENDINGS = ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("how", ["execute", "fetch", "eager"])
def test_a_transaction_that_a_handler_ends_all_the_same_moves_no_checkpoint(
    shop: Shop, ending: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Should a statement ever not be seen to be one.
    monkeypatch.setattr(transacting, "_CONTROL", re.compile("nothing"))

    async def work(checkpoints: PostgresCheckpoints, held: Held) -> None:
        async with checkpoints.transaction() as transaction:
            if how == "eager":
                transaction.eager()
            if how == "fetch":
                await transaction.tx.fetch("SELECT 1")
            await transaction.park([Parked(NAME, 0, 9, "a", "i", "parked", 1, None, "")])
            await transaction.tx.execute(ending)
            await transaction.move(NAME, [step(held, 1)])

    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            with pytest.raises(MisusedStore, match="has ended the transaction"):
                await work(checkpoints, held)
            assert not await checkpoints.parked()
            await handle(checkpoints, held, 1)

    asyncio.run(main())
    assert shop.positions() == [1]


async def run(checkpoints: PostgresCheckpoints, statement: str, *before: str) -> None:
    values = (1, 2) if "%" in statement else ()
    async with checkpoints.transaction() as transaction:
        for one in before:
            await transaction.tx.execute(one)
        if before:
            await transaction.tx.fetch(statement, values)
        else:
            await transaction.tx.execute(statement, values)


def test_what_only_looks_like_the_end_of_a_transaction_is_run(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            for statement in (
                "/* a */ SELECT CASE WHEN true THEN 1 /* b */ END",
                "-- commit\nSELECT 1 -- end\n",
                "/* /* commit */ commit */ SELECT 1",
                "PREPARE statement AS SELECT 1",
            ):
                await run(checkpoints, statement)
            for ended in ("/* a /* b */ */ COMMIT", "-- a\n;;/**/ End", "prepare  transaction 'a'"):
                with pytest.raises(MisusedStore, match="must not run"):
                    await run(checkpoints, ended)

    asyncio.run(main())


def test_what_is_no_answer_of_a_handlers_statement_is_told_as_it_is(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            for statement, kind in (
                ("SELECT 1/0", psycopg.errors.DivisionByZero),
                ("DO $$ BEGIN COMMIT; END $$", psycopg.errors.InvalidTransactionTermination),
                ("SELECT 1; COMMIT", psycopg.errors.SyntaxError),
                ("VACUUM", psycopg.errors.ActiveSqlTransaction),
                ("SELECT %s", psycopg.ProgrammingError),
            ):
                for before in ((), ("INSERT INTO seen VALUES (1)",)):
                    with pytest.raises(kind):
                        await run(checkpoints, statement, *before)

    asyncio.run(main())
    assert shop.seen() == []


def test_what_is_deferred_to_the_commit_is_told_as_it_is(shop: Shop) -> None:
    shop.schema.ask("ALTER TABLE {}.seen ADD UNIQUE (position) DEFERRABLE INITIALLY DEFERRED")

    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            await handle(checkpoints, held, 1)
            with pytest.raises(psycopg.errors.UniqueViolation):
                await again(checkpoints, held)

    async def again(checkpoints: PostgresCheckpoints, held: Held) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.execute(INSERT, (1, "a"))
            await transaction.move(NAME, [step(held, 2, before=1)])

    asyncio.run(main())
    assert (shop.seen(), shop.positions()) == ([1], [1])


def test_every_error_can_be_stored(shop: Shop) -> None:
    odd = "a\0b\ud800\U0001f600"

    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            async with checkpoints.transaction() as transaction:
                await transaction.park([Parked(NAME, 0, 1, "a", "i", "parked", 1, None, odd)])
            await checkpoints.release(NAME, {0: held.fence}, error=odd)
            [status], [parked] = await checkpoints.statuses(), await checkpoints.parked()
            assert status.error == parked.error == "a\u2400b\\ud800\U0001f600"

    asyncio.run(main())


def test_who_is_called_off_again_and_again_leaves_as_many_connections_as_there_may_be(
    shop: Shop,
) -> None:
    async def main() -> None:
        async with shop.open() as checkpoints:
            [held] = await held_by(checkpoints)
            position = 0
            for steps in range(120):
                handling = asyncio.create_task(handle(checkpoints, held, position + 1))
                for _ in range(steps % 40):
                    await asyncio.sleep(0)
                handling.cancel()
                await asyncio.wait([handling])
                [position] = shop.positions()
            await asyncio.gather(*(checkpoints.workers(NAME) for _ in range(9)))
            idle = (
                "SELECT count(*) FILTER (WHERE state <> 'idle'), count(*) FROM pg_stat_activity "
                "WHERE application_name = 'everlog' AND datname = current_database()"
            )
            await eventually(
                lambda: shop.schema.ask(idle)[0][0] == 0 and shop.schema.ask(idle)[0][1] <= 6,
                "nothing is open",
            )
            # All that may be lent can be lent: none was lost on the way.
            async with asyncio.timeout(20):
                await asyncio.gather(*(look(checkpoints) for _ in range(8)))
        await eventually(lambda: shop.schema.connections() == 0, "all were closed")

    async def look(checkpoints: PostgresCheckpoints) -> None:
        async with checkpoints.transaction() as transaction:
            await transaction.tx.fetch("SELECT pg_sleep(0.01)")

    asyncio.run(main())
    assert shop.seen() == list(range(1, shop.positions()[0] + 1))


def test_bookkeeping_goes_on_while_all_handlers_take_their_time(shop: Shop) -> None:
    async def main() -> None:
        async with shop.open(timeout_s=0.5) as checkpoints:
            [held] = await held_by(checkpoints)
            begun, over = asyncio.Barrier(5), asyncio.Event()

            async def long() -> None:
                async with checkpoints.transaction() as transaction:
                    await transaction.tx.fetch("SELECT 1")
                    await begun.wait()
                    await over.wait()

            handlers = [asyncio.create_task(long()) for _ in range(4)]
            await begun.wait()
            assert await checkpoints.renew(NAME, "w1", {0: held.fence}, ttl_s=60) == {0}
            over.set()
            await asyncio.gather(*handlers)

    asyncio.run(main())


def test_a_ledger_and_its_checkpoints_are_opened_apart(shop: Shop) -> None:
    async def main() -> None:
        ledger = await PostgresLedger.open(shop.schema.database, schema=shop.schema.name)
        checkpoints = await PostgresCheckpoints.open(ledger.place)
        await ledger.close()
        assert await checkpoints.register(NAME, slices=2, position=0, token=None) == 2
        await checkpoints.close()

    asyncio.run(main())


def test_a_role_that_was_granted_what_a_program_needs_can_run_subscriptions(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()

    async def main(name: str, theirs: str) -> None:
        await migrate(url)
        ask(url, await migration_script(url, grant_to=name))
        checkpoints = await PostgresCheckpoints.open(Place(parameters_of(theirs)))
        [held] = await held_by(checkpoints)
        async with checkpoints.transaction() as transaction:
            await transaction.park([Parked(NAME, 0, 1, "a", "i", "parked", 1, None, "")])
            await transaction.move(NAME, [step(held, 1)])
        assert await checkpoints.attempt(NAME, 0, held.fence, 2) == 1
        assert await checkpoints.renew(NAME, "w1", {0: held.fence}, ttl_s=60) == {0}
        assert await checkpoints.retry(NAME, stream=None, position=None) == 1
        assert await checkpoints.drop(NAME, stream=None, position=None) == 1
        await checkpoints.release(NAME, {0: held.fence})
        assert len(await checkpoints.statuses()) == len(await checkpoints.parked()) == 1
        assert await checkpoints.remove(NAME)
        await checkpoints.close()

    with role(url) as (name, theirs):
        asyncio.run(main(name, theirs))


def test_a_role_without_rights_is_told_that_it_is_the_place(shop: Shop) -> None:
    async def main(theirs: str) -> None:
        place = Place(parameters_of(theirs), shop.schema.name)
        checkpoints = await PostgresCheckpoints.open(place)
        with pytest.raises(StorageFailed, match=r"permission denied.*--grant-to"):
            await checkpoints.statuses()
        with pytest.raises(StorageFailed, match="permission denied"):
            await handle(checkpoints, Held(0, 1, 0, None, clean=True), 1, "SELECT %s, %s")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await run(checkpoints, f"SELECT * FROM {shop.schema.name}.seen")
        await checkpoints.close()

    with role(shop.schema.database) as (_, theirs):
        asyncio.run(main(theirs))


def test_the_first_of_each_stream_is_found_however_many_wait_behind_it(shop: Shop) -> None:
    shop.schema.ask(
        "INSERT INTO {}.subscription_parked (name, slice, position, stream, id, status, tries, "
        "error) SELECT 'orders', 0, n, 's' || n % 3, n, 'behind', 0, '' "
        "FROM generate_series(1, 60000) AS n"
    )
    shop.schema.ask("ANALYZE {}.subscription_parked")

    async def main() -> None:
        async with shop.open() as checkpoints:
            assert [each.position for each in await checkpoints.due(NAME, [0])] == [1, 2, 3]

    asyncio.run(main())
    explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
    statement = checkpoint_statements.SELECT_DUE.replace("{schema}", shop.schema.name)
    with psycopg.connect(shop.schema.database) as connection:
        cursor = psycopg.ClientCursor(connection)
        found = cursor.execute((explain + statement).encode(), {"name": NAME, "slices": "0"})
        [[[plan]]] = found.fetchall()
    assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 60


def test_a_claim_waits_for_one_that_is_not_committed_yet(shop: Shop) -> None:
    """Neither would see what the other takes, and both might have other handlers."""

    async def main() -> None:
        async with shop.open() as checkpoints:
            await checkpoints.register(NAME, slices=2, position=0, token=None)
            leases = f"{shop.schema.name}.subscription_leases"
            key = shop.straight.claims_key(NAME)
            async with await psycopg.AsyncConnection.connect(shop.schema.database) as other:
                await other.execute("SELECT pg_advisory_xact_lock(%s)", [key])
                update = (
                    f"UPDATE {leases} SET worker = 'w1#old', until = now() + interval '1 hour' "
                    "WHERE slice = 0"
                )
                await other.execute(update.encode())
                claim = checkpoints.claim(NAME, "w2#new", ttl_s=600, most=2)
                claiming = asyncio.create_task(claim)
                await asyncio.wait([claiming], timeout=0.5)
                await other.commit()
            assert not await claiming

    asyncio.run(main())
