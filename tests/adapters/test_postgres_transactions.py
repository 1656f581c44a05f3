"""Events and the tables of a program take effect together, or neither does."""

# A block is what raises in these tests.
# ruff: noqa: PT012

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from everlog import (
    NEW,
    IdConflict,
    InvalidInput,
    PartialRetry,
    Transaction,
    WrongVersion,
    to,
)
from everlog.errors import EventValidationError, StoreClosed, TooLarge
from everlog.subscriptions.projector import Appended
from tests.adapters.shop import (
    CONNECTIONS,
    Connect,
    Shop,
    Theirs,
    at_rest,
    eventually,
    execute,
    order,
)
from tests.store.watched import Noted, Notes, Said, numbers, run

# --- both, or neither ---------------------------------------------------------------------------


def test_rows_and_events_are_there_when_the_block_has_ended_and_not_before(
    shop: Shop, connect: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, connect(shop.dsn) as connection:
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                tx.append("a", Noted(1), ids=["one"])
                assert (tx.records, shop.orders, shop.ids()) == ([], [], [])
            assert [(r.position, r.version, r.id) for r in tx.records] == [(1, 1, "one")]
            assert (shop.orders, shop.ids()) == ([1], ["one"])
            assert at_rest(connection)
            assert not tx.is_retry
            assert await numbers(store) == [1]
            assert (await store.verify()).ok

    run(main)


class Changed(Exception):
    """What a block raises when it changes its mind."""


def test_neither_is_there_when_the_block_raises(shop: Shop, connect: Connect) -> None:
    async def main() -> None:
        async with shop.store() as store, connect(shop.dsn) as connection:
            tx = store.transaction(connection)
            with pytest.raises(Changed):
                async with tx:
                    await order(connection, 1)
                    tx.append("a", Noted(1))
                    raise Changed
            assert (tx.records, shop.orders, shop.ids()) == ([], [], [])
            assert at_rest(connection)
            async with store.transaction(connection) as tx:  # it can be used again at once
                await order(connection, 2)
                tx.append("a", Noted(2), expect=NEW)
            assert (shop.orders, len(shop.ids())) == ([2], 1)

    run(main)


def test_neither_is_there_when_the_log_refuses_the_events(shop: Shop, connect: Connect) -> None:
    async def main() -> None:
        async with shop.store() as store, connect(shop.dsn) as connection:
            await store.append("a", Noted(1), ids=["one"])
            refusals: list[tuple[type[Exception], dict[str, Any]]] = [
                (WrongVersion, {"expect": NEW}),
                (IdConflict, {"ids": ["one"]}),
            ]
            for kind, options in refusals:
                tx = store.transaction(connection)
                with pytest.raises(kind):
                    async with tx:
                        await order(connection, 1)
                        tx.append("b", Noted(2))
                        tx.append("a", Noted(2), **options)
                assert tx.records == []
                assert (shop.orders, shop.ids()) == ([], ["one"])
                assert at_rest(connection)
            assert await store.append("b", Noted(2))  # the ledger's lock is free
            assert shop.locks() == 0

    run(main)


def test_of_an_event_that_is_wrong_in_itself_the_block_hears_at_once(shop: Shop) -> None:
    wrong: Any = "one"

    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                with pytest.raises(EventValidationError):
                    tx.append("a", Noted(wrong))
                with pytest.raises(InvalidInput, match="nothing to append"):
                    tx.append("a")
                tx.append("a", Noted(2), ids=["two"])
            assert (shop.orders, shop.ids()) == ([1], ["two"])

    run(main)


def test_what_is_true_of_one_append_is_true_of_all_that_a_block_appends(shop: Shop) -> None:
    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
            with pytest.raises(InvalidInput, match="stands twice"):
                async with store.transaction(connection) as tx:
                    tx.append("a", Noted(1), ids=["one"])
                    tx.append("b", Noted(1), ids=["one"])
            with pytest.raises(TooLarge):
                async with store.transaction(connection) as tx:
                    await order(connection, 1)
                    for start in range(0, 10_001, 73):
                        tx.append("a", *[Noted(n) for n in range(start, start + 73)])
            assert (shop.orders, shop.ids()) == ([], [])
            assert at_rest(connection)

    run(main)


def test_a_block_appends_to_several_streams_in_order_each_expecting_what_came_before(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, either(shop.dsn) as connection:
            async with store.transaction(connection) as tx:
                tx.append("a", Noted(1), Noted(2), expect=NEW, relations=["group"])
                tx.append_many([to("b", Said("x"), relations=["group"]), to("a", Noted(3))])
                tx.append("a", Noted(4), expect=3)
            assert [(r.position, r.stream, r.version) for r in tx.records] == [
                (1, "a", 1),
                (2, "a", 2),
                (3, "b", 1),
                (4, "a", 3),
                (5, "a", 4),
            ]
            assert await store.relations.streams_of("group") == ["a", "b"]
            assert (await store.verify()).ok

    run(main)


def test_a_block_appends_so_many_events_that_they_are_copied(shop: Shop, either: Connect) -> None:
    async def main() -> None:
        async with shop.store() as store, either(shop.dsn) as connection:
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                tx.append("a", *map(Noted, range(2_500)))
            assert len(tx.records) == 2_500
            assert shop.orders == [1]
            assert await numbers(store) == list(range(2_500))
            assert (await store.verify()).ok

    run(main)


def test_a_block_that_appends_nothing_commits_the_tables(shop: Shop, connect: Connect) -> None:
    async def main() -> None:
        async with shop.store() as store, connect(shop.dsn) as connection:
            async with store.transaction(connection) as tx:
                await order(connection, 1)
            assert (tx.records, tx.is_retry) == ([], False)
            async with store.transaction(connection):
                pass
            assert (shop.orders, shop.ids()) == ([1], [])
            assert at_rest(connection)

    run(main)


def test_transactions_of_one_store_and_its_own_appends_take_turns(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store:

            async def buy(number: int) -> None:
                async with either(shop.dsn) as connection, store.transaction(connection) as tx:
                    await order(connection, number)
                    tx.append(f"s{number % 3}", Noted(number))

            tasks: list[Any] = [buy(number) for number in range(20)]
            tasks += [store.append(f"s{number % 3}", Noted(number)) for number in range(20, 60)]
            await asyncio.gather(*tasks)
            assert shop.orders == list(range(20))
            assert sorted(await numbers(store)) == list(range(60))
            assert len(shop.ids()) == 60
            assert (await store.verify()).ok

    run(main)


# --- once, however often it is tried ------------------------------------------------------------


def test_a_block_that_is_run_again_with_its_ids_changes_no_table_twice(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        told: list[str] = []
        async with shop.store() as store, either(shop.dsn) as connection:
            store.on_appended(lambda appended: told.extend(r.id for r in appended.records))
            await order(connection, 1)
            await execute(connection, "UPDATE orders SET note = 'x'")
            await execute(connection, "COMMIT")
            seen: list[object] = []
            for _ in range(3):
                async with store.transaction(connection) as tx:
                    await execute(connection, "UPDATE orders SET note = note || 'x'")
                    tx.append("a", Noted(1), expect=NEW, ids=["message"])
                seen.append((tx.is_retry, [(r.position, r.id) for r in tx.records]))
                assert at_rest(connection)
            assert seen == [(again, [(1, "message")]) for again in (False, True, True)]
            [[note]] = shop.direct.execute("SELECT note FROM orders").fetchall()
            assert note == "xx"
            assert told == ["message"]

    run(main)


def test_a_block_of_which_some_events_are_stored_and_some_are_not_is_refused(shop: Shop) -> None:
    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
            await store.append("a", Noted(1), ids=["one"])
            with pytest.raises(PartialRetry) as partial:
                async with store.transaction(connection) as tx:
                    await order(connection, 1)
                    tx.append("a", Noted(1), ids=["one"])
                    tx.append("a", Noted(2), ids=["two"])
            assert (partial.value.known, partial.value.unknown) == (("one",), ("two",))
            assert (shop.orders, shop.ids()) == ([], ["one"])

    run(main)


# --- aggregates ---------------------------------------------------------------------------------


def test_an_aggregate_is_saved_with_the_tables_and_stays_as_it_was_without_them(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, either(shop.dsn) as connection:
            one, two = store.new(Notes, id="one"), store.new(Notes, id="two")
            one.push(Noted(1)).push(Noted(2))
            two.push(Noted(3))
            with pytest.raises(Changed):
                async with store.transaction(connection) as tx:
                    tx.save(one, two)
                    raise Changed
            assert (len(one.log.pending), len(two.log.pending)) == (2, 1)
            await store.append("two", Noted(9))
            with pytest.raises(WrongVersion):
                async with store.transaction(connection) as tx:
                    tx.save(one, two)
            assert (len(one.log.pending), len(two.log.pending)) == (2, 1)
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                tx.save(one)
                tx.save()  # nothing, and what has nothing to be saved, is nothing to do
                assert one.log.is_dirty
                one.push(Noted(4))  # not given to the transaction any more
            assert (one.log.version, [r.data.number for r in one.log.pending]) == (2, [4])
            await one.save()
            assert await numbers(store, "one") == [1, 2, 4]
            assert shop.orders == [1]

    run(main)


def test_an_aggregate_whose_outcome_was_not_known_is_saved_once(shop: Shop) -> None:
    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
            notes = store.new(Notes, id="one").push(Noted(1))
            [pending] = notes.log.pending
            await store.append("one", Noted(1), ids=[pending.id])  # as a first try that was lost
            async with store.transaction(connection) as tx:
                await order(connection, 1)
                tx.save(notes)
            assert (tx.is_retry, shop.orders) == (True, [])
            assert (notes.log.version, notes.log.is_dirty) == (1, False)

    run(main)


def test_two_aggregates_of_a_stream_are_refused(shop: Shop) -> None:
    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
            one, other = (store.new(Notes, id="one").push(Noted(n)) for n in (1, 2))
            async with store.transaction(connection) as tx:
                with pytest.raises(InvalidInput, match="one of a stream"):
                    tx.save(one, other)
                tx.save(one)
                with pytest.raises(InvalidInput, match="one of a stream"):
                    tx.save(other)
                with pytest.raises(InvalidInput, match="once"):
                    tx.save(one)
            assert await numbers(store) == [1]
            assert (one.log.is_dirty, other.log.is_dirty) == (False, True)

    run(main)


# --- hooks --------------------------------------------------------------------------------------


def test_hooks_are_told_after_the_commit_in_one_order_with_the_stores_own_appends(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        told: list[int] = []

        def tell(appended: Appended) -> None:
            told.extend(record.position for record in appended.records)
            assert len(shop.ids()) >= told[-1], "it was told of what is not there"

        async with shop.store() as store:
            store.on_appended(tell)

            async def buy(number: int) -> None:
                async with either(shop.dsn) as connection, store.transaction(connection) as tx:
                    await order(connection, number)
                    tx.append("a", Noted(number), Noted(number))
                assert {r.position for r in tx.records} <= set(told), "it returned before its hooks"

            await asyncio.gather(*map(buy, range(8)))
            tasks: list[Any] = [*map(buy, range(8, 16))]
            tasks += [store.append("a", Noted()) for _ in range(8)]
            await asyncio.gather(*tasks)
        assert told == list(range(1, 41))

    run(main)


def test_no_hook_is_told_where_it_was_not_wanted(shop: Shop) -> None:
    async def main() -> None:
        told: list[Appended] = []
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
            store.on_appended(told.append)
            async with store.transaction(connection, emit=False) as tx:
                tx.append("a", Noted(1))
            with pytest.raises(Changed):
                async with store.transaction(connection) as tx:
                    tx.append("a", Noted(2))
                    raise Changed
        assert told == []

    run(main)


def test_a_hook_has_a_transaction_of_its_own_while_appends_wait_for_it(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store:

            async def answer(appended: Appended) -> None:
                for record in appended.records:
                    if record.type == "noted":
                        async with (
                            either(shop.dsn) as connection,
                            store.transaction(connection) as tx,
                        ):
                            await order(connection, record.data.number)
                            tx.append("answers", Said(str(record.data.number)))

            store.on_appended(answer)
            await asyncio.gather(*(store.append("a", Noted(number)) for number in range(5)))
            async with either(shop.dsn) as connection, store.transaction(connection) as tx:
                tx.append("a", Noted(5))
            await store.drained()
            assert shop.orders == list(range(6))
            said = [record.data.text async for record in store.read("answers")]
            assert sorted(said) == list("012345")

    run(main)


def test_what_a_hook_appends_is_caused_by_what_it_was_told(shop: Shop) -> None:
    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:

            async def answer(appended: Appended) -> None:
                [record] = appended.records
                if record.type == "noted":
                    await store.append("answers", Said("so"))

            store.on_appended(answer)
            async with store.transaction(connection) as tx:
                tx.append("a", Noted(1))
            await store.drained()
            [cause] = tx.records
            [answered] = [record async for record in store.read("answers")]
            assert (answered.correlation, answered.causation) == (cause.id, cause.id)

    run(main)


# --- the life of a block ------------------------------------------------------------------------


def test_a_transaction_is_used_once_and_only_inside_of_its_block(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, either(shop.dsn) as connection:
            tx = store.transaction(connection)

            def refused(tx: Transaction) -> None:
                calls: list[Callable[[], None]] = [
                    lambda: tx.append("a", Noted(1)),
                    lambda: tx.append_many([to("a", Noted(1))]),
                    lambda: tx.save(store.new(Notes).push(Noted(1))),
                ]
                for call in calls:
                    with pytest.raises(InvalidInput, match="not open"):
                        call()

            refused(tx)
            async with tx:
                tx.append("a", Noted(1))
            refused(tx)
            with pytest.raises(InvalidInput, match="used once"):
                async with tx:
                    pass
            assert at_rest(connection)
            assert len(shop.ids()) == 1

    run(main)


def test_two_tasks_do_not_begin_one_transaction(shop: Shop) -> None:
    async def main() -> None:
        async with shop.store() as store, CONNECTIONS["async"](shop.dsn) as connection:
            tx = store.transaction(connection)
            begun = await asyncio.gather(tx.__aenter__(), tx.__aenter__(), return_exceptions=True)
            assert [type(outcome) for outcome in begun] == [Transaction, InvalidInput]
            await tx.__aexit__(None, None, None)

    run(main)


def test_a_block_that_ends_when_the_store_is_closed_is_rolled_back(
    shop: Shop, connect: Connect
) -> None:
    async def main() -> None:
        async with connect(shop.dsn) as connection:
            store = await shop.store()
            tx = store.transaction(connection)
            with pytest.raises(StoreClosed):
                async with tx:
                    await order(connection, 1)
                    tx.append("a", Noted(1))
                    await store.close()
            assert (tx.records, shop.orders, shop.ids()) == ([], [], [])
            assert at_rest(connection)

    run(main)


def test_a_store_that_is_closed_waits_for_the_transactions_that_are_being_committed(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with either(shop.dsn) as one, either(shop.dsn) as other:
            store = await shop.store()

            async def buy(connection: Theirs, number: int) -> None:
                async with store.transaction(connection) as tx:
                    await order(connection, number)
                    tx.append("a", Noted(number))

            with shop.locked(store):
                buying = [asyncio.create_task(buy(one, 1)), asyncio.create_task(buy(other, 2))]
                await eventually(lambda: shop.locks(granted=False) > 0)
                appending = asyncio.create_task(store.append("a", Noted(3)))
                closing = asyncio.create_task(store.close())
                await asyncio.sleep(0.01)
                assert not closing.done()
            ending: list[asyncio.Task[Any]] = [*buying, appending, closing]
            await asyncio.gather(*ending)
            assert (shop.orders, len(shop.ids())) == ([1, 2], 3)

    run(main)


def test_followers_are_woken_by_what_is_committed_in_a_transaction(
    shop: Shop, either: Connect
) -> None:
    async def main() -> None:
        async with shop.store() as store, shop.store() as another, either(shop.dsn) as connection:
            here = asyncio.create_task(store.ledger.wait(0, timeout_s=20))
            there = asyncio.create_task(another.ledger.wait(0, timeout_s=20))
            async with store.transaction(connection) as tx:
                tx.append("a", Noted(1))
            assert await here == await there == 1

    run(main)
