"""The transaction of a `def` handler: fewer ways to the loop, and the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from everlog.ports.checkpoints import Values
from everlog.subscriptions.from_thread import FromThread


class Noting:
    """A transaction that notes what reaches it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    async def execute(self, statement: str, values: Values = ()) -> None:
        if statement == "fail":
            raise LookupError(statement)
        self.seen.append((statement, values))

    async def execute_many(self, statement: str, values: Sequence[Values]) -> None:
        self.seen.append((statement, values))

    async def fetch(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        self.seen.append((statement, values))
        return [(len(self.seen),)]


def handled(handler: Callable[[FromThread, Noting], object], *, eager: bool = False) -> Noting:
    """Returns what a handler's transaction saw, from its begin to its end."""

    async def main() -> Noting:
        tx = Noting()
        there = FromThread(tx, eager=eager)
        await asyncio.to_thread(handler, there, tx)
        there.end()
        await there.carry_out()
        return tx

    return asyncio.run(main())


def test_statements_cross_together_and_in_order() -> None:
    def handler(there: FromThread, tx: Noting) -> None:
        there.execute("a", (1,))
        there.execute("b")
        assert tx.seen == [], "each would be a way to the loop and back"
        assert there.fetch("c") == [(3,)]
        there.execute("d", [2])
        there.execute_many("e", [(3,)])
        there.execute("f", {"by": "name"})
        there.execute("g", (4,))
        assert [statement for statement, _ in tx.seen] == list("abcdef")

    assert [statement for statement, _ in handled(handler).seen] == list("abcdefg")


def test_what_is_to_be_carried_out_at_once_is() -> None:
    def handler(there: FromThread, tx: Noting) -> None:
        there.execute("a", (1,))
        assert tx.seen == [("a", (1,))]
        with pytest.raises(LookupError):
            there.execute("fail", (1,))

    handled(handler, eager=True)


def test_a_statement_that_fails_later_fails_the_handler() -> None:
    with pytest.raises(LookupError):
        handled(lambda there, tx: there.execute("fail", (1,)))


def test_values_are_those_of_the_call() -> None:
    def handler(there: FromThread, tx: Noting) -> None:
        row: list[object] = [1]
        there.execute("a", row)
        row.append(2)
        data = bytearray(b"a")
        there.execute("b", (data,))  # only the adapter copies what is in a row
        assert tx.seen == [("a", (1,)), ("b", (data,))]

    assert handled(handler).seen[0] == ("a", (1,))


def test_what_was_kept_when_the_handler_had_ended_is_told_so() -> None:
    def later(there: FromThread, tx: Noting) -> None:
        there.end()
        with pytest.raises(LookupError):  # as a transaction that has ended
            there.execute("fail", (1,))

    handled(later)
