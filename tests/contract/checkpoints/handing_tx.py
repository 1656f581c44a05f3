"""What handlers write with: their statements, in order, all of them or none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from everlog.errors import EverlogError, MisusedStore
from everlog.ports.checkpoints import Tx
from tests.contract.checkpoints.scene import NAME, Binding, Scene, checkpoints_test, step

CONTROL = [
    "BEGIN",
    "begin immediate",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT mine",
    "RELEASE mine",
    "ROLLBACK TO mine",
    " \n\tCOMMIT;",
    "-- a comment\nCOMMIT",
    "/* a comment */ COMMIT",
    "/**/--\n/* -- */\n rollback",
    ";COMMIT",
]
"""Statements that would begin or end a transaction."""


class HandingTx(Binding):
    """execute, execute_many, fetch, eager."""

    @checkpoints_test
    async def test_a_query_sees_all_that_was_executed_before(self, scene: Scene) -> None:
        async with scene.checkpoints.transaction() as transaction:
            tx = transaction.tx
            await tx.execute(scene.insert, (1, "a"))
            assert await tx.fetch(scene.select) == [(1,)]
            await tx.execute(scene.insert, (2, "b"))
            await tx.execute(scene.insert, (3, "b"))
            one = scene.sql("SELECT position, stream FROM seen WHERE position = ?")
            assert await tx.fetch(one, (3,)) == [(3, "b")]
            assert await tx.fetch(one, (4,)) == []
        assert await scene.seen() == [1, 2, 3]

    @pytest.mark.parametrize("eager", [False, True])
    @checkpoints_test
    async def test_statements_are_carried_out_in_their_order(
        self, scene: Scene, eager: bool
    ) -> None:
        add = scene.sql("UPDATE seen SET position = position + ?")
        times = scene.sql("UPDATE seen SET position = position * ?")
        async with scene.checkpoints.transaction() as transaction:
            if eager:
                transaction.eager()
            tx = transaction.tx
            await tx.execute(scene.insert, (1, None))
            await tx.execute(times, (3,))  # 3
            await tx.execute(add, (2,))  # 5
            await tx.execute(add, (5,))  # 10
            await tx.execute_many(times, [(2,), (2,)])  # 40
            await tx.execute(add, (1,))  # 41
            await tx.execute(scene.sql("DELETE FROM seen WHERE position <> 41"))
        assert await scene.seen() == [41]

    @pytest.mark.parametrize("eager", [False, True])
    @checkpoints_test
    async def test_many_values_are_many_rows(self, scene: Scene, eager: bool) -> None:
        async with scene.checkpoints.transaction() as transaction:
            if eager:
                transaction.eager()
            tx = transaction.tx
            await tx.execute_many(scene.insert, [(number, "a") for number in range(2000)])
            await tx.execute_many(scene.insert, [])
            for number in range(2000, 3000):
                await tx.execute(scene.insert, (number, "b"))
        assert await scene.seen() == list(range(3000))

    @checkpoints_test
    async def test_values_can_be_named(self, scene: Scene) -> None:
        insert = scene.sql("INSERT INTO seen (position, stream) VALUES (:position, :stream)")
        async with scene.checkpoints.transaction() as transaction:
            tx = transaction.tx
            await tx.execute(insert, {"position": 1, "stream": "a"})
            await tx.execute(insert, {"stream": "b", "position": 2})
            await tx.execute_many(insert, [{"position": number, "stream": ""} for number in (3, 4)])
            query = scene.sql("SELECT stream FROM seen WHERE position = :position")
            assert await tx.fetch(query, {"position": 2}) == [("b",)]
        assert await scene.seen() == [1, 2, 3, 4]

    @checkpoints_test
    async def test_values_are_those_of_the_call_whatever_becomes_of_them(
        self, scene: Scene
    ) -> None:
        insert = scene.sql("INSERT INTO seen (position, stream) VALUES (:position, :stream)")
        async with scene.checkpoints.transaction() as transaction:
            values: list[Any] = [1, "a"]
            await transaction.tx.execute(scene.insert, values)
            named = {"position": 2, "stream": "b"}
            await transaction.tx.execute(insert, named)
            many = [[3, "c"], [4, "d"]]
            await transaction.tx.execute_many(scene.insert, many)
            values[0] = named["position"] = many[0][0] = 99
            many.clear()
        assert await scene.seen() == [1, 2, 3, 4]

    @checkpoints_test
    async def test_what_a_statement_gives_is_dropped_by_execute(self, scene: Scene) -> None:
        insert = scene.sql("INSERT INTO seen (position) VALUES (?) RETURNING position")
        async with scene.checkpoints.transaction() as transaction:
            tx = transaction.tx
            await tx.execute(scene.select)
            for number in (1, 2, 3):
                await tx.execute(insert, (number,))
            assert await tx.fetch(insert, (4,)) == [(4,)]
        assert await scene.seen() == [1, 2, 3, 4]

    @checkpoints_test
    async def test_a_statement_that_fails_is_told_by_the_end_of_the_block_and_leaves_nothing(
        self, scene: Scene
    ) -> None:
        [held] = await scene.held()
        with pytest.raises(Exception, match="position") as raised:
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await transaction.tx.execute(scene.insert, (None, "b"))
                await transaction.tx.execute(scene.insert, (3, "c"))
                await transaction.move(NAME, [step(held, 3)])
        assert not isinstance(raised.value, EverlogError), "it is the driver's own"
        assert await scene.seen() == []
        assert await scene.positions() == [0]

    @checkpoints_test
    async def test_a_statement_that_fails_without_a_query_or_a_move_is_told_by_the_end(
        self, scene: Scene
    ) -> None:
        with pytest.raises(Exception, match="nowhere"):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                await transaction.tx.execute("INSERT INTO nowhere VALUES (1)")
        assert await scene.seen() == []

    @checkpoints_test
    async def test_an_eager_statement_that_fails_is_told_where_it_stands(
        self, scene: Scene
    ) -> None:
        done: list[int] = []
        with pytest.raises(Exception, match="position"):
            async with scene.checkpoints.transaction() as transaction:
                transaction.eager()
                for position in (1, None, 3):
                    await transaction.tx.execute(scene.insert, (position, "a"))
                    done.append(position or 0)
        assert done == [1]
        assert await scene.seen() == []

    @checkpoints_test
    async def test_what_was_executed_before_is_carried_out_before_what_is_eager(
        self, scene: Scene
    ) -> None:
        async with scene.checkpoints.transaction() as transaction:
            await transaction.tx.execute(scene.insert, (1, "a"))
            transaction.eager()
            await transaction.tx.execute(scene.sql("UPDATE seen SET position = 2"))
        assert await scene.seen() == [2]

    @pytest.mark.parametrize("eager", [False, True])
    @checkpoints_test
    async def test_a_handler_that_catches_a_failure_commits_nothing_all_the_same(
        self, scene: Scene, eager: bool
    ) -> None:
        [held] = await scene.held()
        with pytest.raises(Exception, match="position") as raised:
            async with scene.checkpoints.transaction() as transaction:
                if eager:
                    transaction.eager()
                tx = transaction.tx
                await tx.execute(scene.insert, (1, "a"))
                with pytest.raises(Exception, match="position"):
                    await tx.execute(scene.insert, (None, "b"))
                    await tx.fetch(scene.select)
                with pytest.raises(Exception, match="position"):
                    await tx.fetch(scene.select)
                with pytest.raises(Exception, match="position"):
                    await transaction.move(NAME, [step(held, 1)])
        assert not isinstance(raised.value, AssertionError), "which tells of the position, too"
        assert await scene.seen() == []
        assert await scene.positions() == [0]

    @checkpoints_test
    async def test_values_of_a_wrong_kind_are_told_at_once(self, scene: Scene) -> None:
        wrong: Any
        for wrong in ("ab", b"ab", 5, None, {1, 2}, iter([1, 2])):
            with pytest.raises(TypeError):
                async with scene.checkpoints.transaction() as transaction:
                    await transaction.tx.execute(scene.insert, wrong)
            with pytest.raises(TypeError):
                async with scene.checkpoints.transaction() as transaction:
                    await transaction.tx.execute_many(scene.insert, [(1, "a"), wrong])
            with pytest.raises(TypeError):
                async with scene.checkpoints.transaction() as transaction:
                    await transaction.tx.fetch(scene.select, wrong)
        not_text: Any = 5
        with pytest.raises(TypeError):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(not_text)
        assert await scene.seen() == []

    @pytest.mark.parametrize("eager", [False, True])
    @checkpoints_test
    async def test_a_value_that_the_database_does_not_take_fails_the_transaction(
        self, scene: Scene, eager: bool
    ) -> None:
        for wrong in (object(), 2**70):
            with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever the driver says
                async with scene.checkpoints.transaction() as transaction:
                    if eager:
                        transaction.eager()
                    await transaction.tx.execute(scene.insert, (1, "a"))
                    await transaction.tx.execute(scene.insert, (wrong, "b"))
            assert not isinstance(raised.value, EverlogError)
        assert await scene.seen() == []

    @pytest.mark.parametrize("control", CONTROL)
    @checkpoints_test
    async def test_a_handler_neither_begins_nor_ends_a_transaction(
        self, scene: Scene, control: str
    ) -> None:
        for how in ("execute", "execute_many", "fetch"):
            with pytest.raises(MisusedStore):
                async with scene.checkpoints.transaction() as transaction:
                    tx = transaction.tx
                    await tx.execute(scene.insert, (1, "a"))
                    if how == "execute":
                        await tx.execute(control)
                    elif how == "execute_many":
                        await tx.execute_many(control, [()])
                    else:
                        await tx.fetch(control)
            assert await scene.seen() == []

    @checkpoints_test
    async def test_a_refused_statement_is_not_forgotten_by_whoever_catches_it(
        self, scene: Scene
    ) -> None:
        with pytest.raises(MisusedStore):
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (1, "a"))
                with pytest.raises(MisusedStore):
                    await transaction.tx.execute("COMMIT")
        assert await scene.seen() == []

    @checkpoints_test
    async def test_a_transaction_is_not_to_be_kept(self, scene: Scene) -> None:
        kept: list[Tx] = []
        async with scene.checkpoints.transaction() as transaction:
            kept.append(transaction.tx)
            await transaction.tx.execute(scene.insert, (1, "a"))
        with pytest.raises(ZeroDivisionError):
            async with scene.checkpoints.transaction() as transaction:
                kept.append(transaction.tx)
                raise ZeroDivisionError
        for tx in kept:
            with pytest.raises(MisusedStore):
                await tx.execute(scene.insert, (2, "a"))
            with pytest.raises(MisusedStore):
                await tx.execute_many(scene.insert, [(2, "a")])
            with pytest.raises(MisusedStore):
                await tx.fetch(scene.select)
        with pytest.raises(MisusedStore):
            await transaction.move(NAME, [])
        assert await scene.seen() == [1]

    @checkpoints_test
    async def test_a_transaction_without_statements_is_one(self, scene: Scene) -> None:
        async with scene.checkpoints.transaction():
            pass
        with pytest.raises(ZeroDivisionError):
            async with scene.checkpoints.transaction():
                raise ZeroDivisionError
        assert await scene.seen() == []

    @checkpoints_test
    async def test_many_tasks_of_a_handler_share_its_transaction(self, scene: Scene) -> None:
        async with scene.checkpoints.transaction() as transaction:
            tx = transaction.tx

            async def write(number: int) -> None:
                await tx.execute(scene.insert, (number, "a"))
                assert (number,) in await tx.fetch(scene.select)

            await asyncio.gather(*(write(number) for number in range(20)))
        assert await scene.seen() == list(range(20))

    @checkpoints_test
    async def test_transactions_at_the_same_time_are_all_committed(self, scene: Scene) -> None:
        held = await scene.held(slices=8)

        async def write(number: int) -> None:
            async with scene.checkpoints.transaction() as transaction:
                await transaction.tx.execute(scene.insert, (number, "a"))
                await transaction.tx.fetch(scene.select)
                await asyncio.sleep(0)
                await transaction.tx.execute(scene.insert, (number, "b"))
                await transaction.move(NAME, [step(held[number], 1)])

        await asyncio.gather(*(write(number) for number in range(8)))
        assert await scene.positions() == [1] * 8
        assert await scene.seen() == [number for number in range(8) for _ in "ab"]
