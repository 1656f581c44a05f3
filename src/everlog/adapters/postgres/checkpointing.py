"""`Checkpointing`: handlers' writes, checkpoints and parked records, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import psycopg

from everlog.adapters.postgres import checkpoint_statements as statements
from everlog.adapters.postgres import schema
from everlog.adapters.postgres.connections import Place
from everlog.adapters.postgres.executing import Run, Script, Statement
from everlog.adapters.postgres.failures import as_storage_error
from everlog.adapters.postgres.transacting import Transaction
from everlog.errors import LeaseLost, OutcomeUnknown
from everlog.ports.checkpoints import Move, Parked, Values
from everlog.ports.effects import Effect


class Moved(NamedTuple):
    """What a transaction has made of one checkpoint, if it has committed."""

    name: str
    move: Move
    moves: int


class PostgresTx:
    """What handlers write with: see `everlog.ports.checkpoints.Tx`."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def execute(self, statement: str, values: Values = ()) -> None:
        await self._transaction.execute_many(statement, [values])

    async def execute_many(self, statement: str, values: Sequence[Values]) -> None:
        await self._transaction.execute_many(statement, values)

    async def fetch(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        return await self._transaction.fetch(statement, values)


class PostgresCheckpointing:
    """One transaction of a worker: see `everlog.ports.checkpoints.Checkpointing`."""

    def __init__(
        self,
        at: Place,
        transaction: Transaction,
        settle: Callable[[Moved], Awaitable[bool]],
    ) -> None:
        self._place = at
        self._transaction = transaction
        self._settle = settle
        self._tx = PostgresTx(transaction)
        self._kept: list[Statement] = []
        """What sets records aside, or owes effects: sent behind the next move, or at the end."""
        self._moved: Moved | None = None

    @property
    def tx(self) -> PostgresTx:
        return self._tx

    @property
    def failure(self) -> Exception | None:
        return self._transaction.failure

    @property
    def is_waiting(self) -> bool:
        return self._transaction.is_waiting

    def eager(self) -> None:
        self._transaction.eager = True

    def full(self) -> bool:
        return False  # appends do not wait for it

    async def move(self, name: str, moves: Sequence[Move]) -> None:
        # In one order, so that two never wait for each other.
        moves = sorted(moves)
        kept, self._kept = self._kept, []
        asked = [*(self._moving(name, move) for move in moves), *kept]
        ending = any(move.before != move.after for move in moves)
        answers = await self._transaction.ask(asked, ending=ending)
        for move, rows in zip(moves, answers, strict=False):
            if not rows:
                lost = lease_lost(name, move.slice)
                self._transaction.fail(lost)
                raise lost
            self._moved = Moved(name, move, rows[0][0])

    def _moving(self, name: str, move: Move) -> Statement:
        template = statements.HOLD if move.before == move.after else statements.MOVE
        values = {"name": name, "mark": self._transaction.mark, **move._asdict()}
        return Statement(template, values)

    async def park(self, parked: Sequence[Parked]) -> None:
        self._transaction.check()
        for one in sorted(parked, key=lambda one: (one.name, one.position)):
            self._kept.append(Statement(statements.UPSERT_PARKED, self._row(one)))

    def _row(self, one: Parked | Effect) -> Mapping[str, object]:
        """Returns the values of what is stored."""
        return asdict(one) | {
            "due_s": None if one.due_s is None else float(one.due_s),
            "error": storable(one.error),
            "mark": self._transaction.mark,
        }

    async def unpark(self, name: str, position: int) -> None:
        self._transaction.check()
        values = {"name": name, "position": position, "mark": self._transaction.mark}
        self._kept.append(Statement(statements.DELETE_PARKED, values))

    async def swap(
        self,
        name: str,
        *,
        fences: Mapping[int, int],
        rebuilt: str,
        rebuilt_fences: Mapping[int, int],
        kept: str,
    ) -> None:
        forget = {"after": kept, "mark": self._transaction.mark}
        for before, after, expected, first in (
            (name, kept, fences, [Statement(each, forget) for each in statements.FORGET]),
            (rebuilt, name, rebuilt_fences, []),
        ):
            values = {
                "before": before,
                "after": after,
                "above": kept,
                "fences": json_of(expected),
                "mark": self._transaction.mark,
            }
            asked = [
                *first,
                Statement(statements.RENAME, values),
                Statement(statements.RENAME_PARKED, values),
                Statement(statements.FORGET_WORKERS, values),
            ]
            renamed = (await self._transaction.ask(asked, ending=True))[len(first)]
            if not renamed or len(renamed) != renamed[0][0]:
                lost = LeaseLost(
                    f"subscription {before!r} is not held any more: another worker has taken "
                    "slices of it over; nothing was swapped, do it again"
                )
                self._transaction.fail(lost)
                raise lost

    async def owe(self, effects: Sequence[Effect]) -> None:
        self._transaction.check()
        for one in sorted(effects, key=lambda one: (one.name, one.position, one.handler)):
            self._kept.append(Statement(statements.INSERT_EFFECT, self._row(one)))

    async def begin_handlers(self, name: str, handlers: Collection[str], *, position: int) -> None:
        self._transaction.check()
        values = {"name": name, "handlers": json.dumps(sorted(handlers)), "position": position}
        values["mark"] = self._transaction.mark
        self._kept.append(Statement(statements.BEGIN_HANDLERS, values))

    async def commit(self) -> None:
        """Commits. Where the answer is lost, finds out what became of it.

        Raises `OutcomeUnknown` if that cannot be told.
        """
        if self._kept:
            await self.move("", [])
        try:
            await self._transaction.commit()
        except psycopg.Error as error:
            if not self._transaction.is_lost:
                raise
            await self._transaction.let_go()
            failure = as_storage_error(error, str(self._place))
            if self._moved is None:
                raise OutcomeUnknown((), of_checkpoint=True) from failure
            if not await self._settle(self._moved):
                raise failure from error


def has_committed(at: Place, moved: Moved) -> Script[bool]:
    """Tells whether a transaction whose answer was lost has committed, when it is over.

    Raises `OutcomeUnknown` if it cannot be told any more.
    """
    move = moved.move
    values = at.patience | {"mark": "", "name": moved.name, "slice": move.slice}
    _, _, rows, _ = yield Run(
        [
            Statement(schema.BEGIN),
            Statement(statements.SET, values),
            Statement(statements.SELECT_MOVED, values),
            Statement(schema.ROLLBACK),
        ]
    )
    if not rows:
        raise OutcomeUnknown((), of_checkpoint=True)
    [[fence, moves, position]] = rows
    if fence == move.fence:
        return bool(moves >= moved.moves)
    # Another one has it since, and may have got there by itself.
    if position < move.after:
        return False
    raise OutcomeUnknown((), of_checkpoint=True)


def lease_lost(name: str, slice: int) -> LeaseLost:
    """Returns the error of who does not hold a slice any more."""
    return LeaseLost(
        f"slice {slice} of subscription {name!r} is held by another worker now, or was moved: its "
        "lease had run out; nothing was committed, go on with what is claimed next"
    )


def json_of(fences: Mapping[int, int]) -> str:
    """Returns fences by slice as the statements take them."""
    return json.dumps([{"slice": slice, "fence": fence} for slice, fence in sorted(fences.items())])


def storable(error: str) -> str:
    """Returns an error in words that PostgreSQL can store, whatever is in it."""
    error = error.replace("\0", "\N{SYMBOL FOR NULL}")
    return error.encode("utf-8", "backslashreplace").decode()
